/* The TLS pipe against itself and against OpenSSL used plainly, all in memory: a
 * handshake cut anywhere, resumption, whom it trusts, what it says of failures, and
 * which plaintext belongs to which ciphertext. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/rng.h"
#include "smtp/tls.h"

enum { PATH_BYTES = 64, HOUR_S = 60 * 60 };

/* ---- certificates ---- */

struct identity {
    EVP_PKEY *key;
    X509 *certificate;
    char path[PATH_BYTES]; /* PEM of both */
};

static void extend(X509 *x, int nid, const char *value)
{
    X509V3_CTX c;
    X509V3_set_ctx_nodb(&c);
    X509V3_set_ctx(&c, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &c, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

/* names: "DNS:a,DNS:b"; without a colon: an authority of that name. issuer NULL: signed
 * by itself. */
static struct identity sign_identity(const char *names, const struct identity *issuer,
                                     long not_after_s, EVP_PKEY *key, const EVP_MD *md)
{
    static long serial = 1;
    struct identity i = {.key = key, .certificate = X509_new()};
    X509 *x = i.certificate;
    assert_non_null(i.key);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x), -48L * HOUR_S);
    X509_gmtime_adj(X509_getm_notAfter(x), not_after_s);
    X509_set_pubkey(x, i.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)names, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer->certificate : x));
    extend(x, NID_basic_constraints,
           strchr(names, ':') ? "CA:FALSE" : "critical,CA:TRUE");
    if (strchr(names, ':'))
        extend(x, NID_subject_alt_name, names);
    assert_true(X509_sign(x, issuer ? issuer->key : i.key, md) > 0);
    strcpy(i.path, "/tmp/hikyaku-tls-XXXXXX");
    int fd = mkstemp(i.path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, x), 1);
    assert_int_equal(PEM_write_PrivateKey(f, i.key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
    return i;
}

static struct identity make_identity(const char *names, const struct identity *issuer,
                                     long not_after_s)
{
    return sign_identity(names, issuer, not_after_s, EVP_EC_gen("P-256"), EVP_sha256());
}

static void identity_finish(struct identity *i)
{
    unlink(i->path);
    EVP_PKEY_free(i->key);
    X509_free(i->certificate);
}

static struct tls_context *client_context(const char *ca_file, int min_version)
{
    struct fault f = {0};
    struct tls_authorities *a = tls_authorities_read(ca_file, &f);
    assert_string_equal(f.words, "");
    assert_non_null(a);
    struct tls_client_params params = {.authorities = a, .min_version = min_version};
    struct tls_context *c = tls_client_context(&params);
    tls_authorities_free(a); /* the context keeps what it needs */
    return c;
}

static struct tls_context *server_context(const char *file)
{
    struct fault f = {0};
    struct tls_context *c = tls_server_context(file, NULL, "mx.example", &f);
    assert_string_equal(f.words, "");
    assert_non_null(c);
    return c;
}

/* ---- moving bytes ---- */

/* Ciphertext from one pipe to the other in pieces, what comes out added to `out`. */
static bool carry(struct tls *from, struct tls *to, struct rng *rng, uint32_t cut_max,
                  struct buf *out)
{
    char plain[4096];
    struct span o = tls_output(from);
    if (!o.n)
        return false;
    size_t n = rng ? 1 + rng_below(rng, cut_max) : o.n;
    n = n < o.n ? n : o.n;
    char *copy = malloc(n); /* exact: a byte too many is seen by ASan */
    assert_non_null(copy);
    memcpy(copy, o.p, n);
    tls_sent(from, n);
    tls_receive(to, copy, n);
    free(copy);
    for (size_t got; (got = tls_read(to, plain, sizeof plain));)
        buf_add(out, plain, got);
    return true;
}

struct talk {
    struct tls *client, *server;
    struct buf heard_by_client, heard_by_server;
};

static void pump(struct talk *t, struct rng *rng, uint32_t cut_max)
{
    bool moved = true;
    while (moved) {
        moved = carry(t->client, t->server, rng, cut_max, &t->heard_by_server);
        moved = carry(t->server, t->client, rng, cut_max, &t->heard_by_client) || moved;
    }
}

static struct talk meet(struct tls_context *client, struct tls_context *server,
                        const char *host, bool verify)
{
    struct talk t = {tls_client(client, host, verify, 0), tls_server(server), {0}, {0}};
    pump(&t, NULL, 0);
    return t;
}

static void part(struct talk *t)
{
    tls_free(t->client);
    tls_free(t->server);
    buf_finish(&t->heard_by_client);
    buf_finish(&t->heard_by_server);
}

static size_t say(struct tls *t, const char *text)
{
    struct iovec v = {(char *)(uintptr_t)text, strlen(text)};
    return tls_write(t, &v, 1);
}

/* ---- tests ---- */

static void test_a_dialogue_is_the_same_however_it_is_cut(void **state)
{
    (void)state;
    struct tls_context *cc = client_context(NULL, 12);
    struct tls_context *sc = server_context(NULL);
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct rng rng = {seed};
        struct talk t = {
            tls_client(cc, "mx.example", false, 0), tls_server(sc), {0}, {0}};
        assert_int_equal(tls_state(t.client), TLS_HANDSHAKE);
        assert_int_equal(say(t.client, "too early"), 0);
        assert_int_equal(say(t.server, "too early"), 0);
        assert_string_equal(tls_name(t.client), "");
        uint32_t cut = seed == 1 ? 1 : 700;
        pump(&t, seed ? &rng : NULL, cut);
        assert_int_equal(tls_state(t.client), TLS_OPEN);
        assert_int_equal(tls_state(t.server), TLS_OPEN);
        assert_string_equal(tls_name(t.client), "TLSv1.3:TLS_AES_256_GCM_SHA384");
        assert_int_equal(say(t.client, "EHLO me\r\n"), 9);
        pump(&t, seed ? &rng : NULL, cut);
        assert_int_equal(say(t.server, "250-x\r\n"), 7);
        assert_int_equal(say(t.server, "250 y\r\n"), 7);
        pump(&t, seed ? &rng : NULL, cut);
        assert_string_equal(buf_cstr(&t.heard_by_server), "EHLO me\r\n");
        assert_string_equal(buf_cstr(&t.heard_by_client), "250-x\r\n250 y\r\n");
        part(&t);
    }
    tls_context_free(cc);
    tls_context_free(sc);
}

static void test_sessions_are_resumed_by_host(void **state)
{
    (void)state;
    struct identity authority = make_identity("root", NULL, HOUR_S);
    struct identity host =
        make_identity("DNS:a.example,DNS:b.example", &authority, HOUR_S);
    struct tls_context *cc = client_context(authority.path, 12);
    struct tls_context *sc = server_context(host.path);
    static const struct {
        const char *host;
        bool verify, resumed;
    } steps[] = {
        {"a.example", false, false}, {"a.example", false, true},
        {"b.example", false, false}, {"a.example", true, false},
        {"a.example", true, true},   {"a.example", false, true},
        {"b.example", false, true},
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct talk t = meet(cc, sc, steps[i].host, steps[i].verify);
        assert_int_equal(tls_state(t.client), TLS_OPEN);
        assert_int_equal(tls_resumed(t.client), steps[i].resumed);
        assert_int_equal(tls_resumed(t.server), steps[i].resumed);
        assert_int_equal(!!strstr(tls_name(t.client), ":verified"), steps[i].verify);
        assert_int_equal(say(t.client, "x"), 1); /* and no close_notify */
        pump(&t, NULL, 0);
        part(&t);
    }
    /* A server that knows our ticket no more: a full handshake. */
    struct tls_context *other = server_context(host.path);
    struct talk t = meet(cc, other, "a.example", true);
    assert_int_equal(tls_state(t.client), TLS_OPEN);
    assert_false(tls_resumed(t.client));
    part(&t);
    /* From another address of ours we are somebody else. */
    for (int source = 0; source < 3; source++) {
        for (int again = 0; again < 2; again++) {
            t = (struct talk){
                tls_client(cc, "c.example", false, source), tls_server(sc), {0}, {0}};
            pump(&t, NULL, 0);
            assert_int_equal(tls_resumed(t.client), again);
            part(&t);
        }
    }
    /* A handshake that ends early: its session is not offered again. */
    tls_free(tls_client(cc, "b.example", false, 0));
    t = meet(cc, sc, "b.example", false);
    assert_false(tls_resumed(t.client));
    part(&t);
    tls_context_free(other);
    tls_context_free(cc);
    tls_context_free(sc);
    identity_finish(&authority);
    identity_finish(&host);
}

static void test_sessions_are_bounded(void **state)
{
    (void)state;
    struct tls_context *cc = client_context(NULL, 12);
    struct tls_context *sc = server_context(NULL);
    for (int i = 0; i < 3 * TLS_SESSIONS_MAX; i++) {
        char host[32];
        snprintf(host, sizeof host, "h%d.example", i);
        struct talk t = meet(cc, sc, host, false);
        assert_false(tls_resumed(t.client)); /* never another's session */
        part(&t);
    }
    tls_context_free(cc);
    tls_context_free(sc);
}

static void test_whom_verify_trusts(void **state)
{
    (void)state;
    struct identity authority = make_identity("root", NULL, HOUR_S);
    struct identity stranger = make_identity("other", NULL, HOUR_S);
    struct identity forger = make_identity("root", NULL, HOUR_S);
    struct identity good = make_identity(
        "DNS:mx.example,DNS:*.wide.example,IP:192.0.2.1", &authority, HOUR_S);
    struct identity old = make_identity("DNS:mx.example", &authority, -HOUR_S);
    struct identity foreign = make_identity("DNS:mx.example", &stranger, HOUR_S);
    struct identity forged = make_identity("DNS:mx.example", &forger, HOUR_S);
    struct identity alone = make_identity("DNS:mx.example", NULL, HOUR_S);
    const struct {
        const struct identity *server;
        const char *host;
        const char *words; /* "": trusted */
    } cases[] = {
        {&good, "mx.example", ""},
        {&good, "MX.Example", ""},
        {&good, "a.wide.example", ""},
        {&good, "192.0.2.1", ""},
        {&good, "192.0.2.2", "certificate: IP address mismatch"},
        {&good, "b.a.wide.example", "certificate: hostname mismatch"},
        {&good, "mx.example.org", "certificate: hostname mismatch"},
        {&old, "mx.example", "certificate: certificate has expired"},
        {&foreign, "mx.example", "certificate: unable to get local issuer certificate"},
        {&forged, "mx.example", "certificate: certificate signature failure"},
        {&alone, "mx.example", "certificate: self-signed certificate"},
    };
    struct tls_context *cc = client_context(authority.path, 12);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tls_context *sc = server_context(cases[i].server->path);
        bool trusted = !*cases[i].words;
        struct talk t = meet(cc, sc, cases[i].host, true);
        assert_int_equal(tls_state(t.client), trusted ? TLS_OPEN : TLS_FAILED);
        assert_string_equal(tls_words(t.client), cases[i].words);
        assert_string_equal(tls_name(t.client),
                            trusted ? "TLSv1.3:TLS_AES_256_GCM_SHA384:verified" : "");
        if (!trusted) { /* our alert told them */
            assert_int_equal(say(t.client, "x"), 0);
            assert_int_equal(tls_state(t.server), TLS_FAILED);
            assert_non_null(strstr(tls_words(t.server), "TLS alert from the peer: "));
        }
        part(&t);
        t = meet(cc, sc, cases[i].host, false);
        assert_int_equal(tls_state(t.client), TLS_OPEN);
        assert_null(strstr(tls_name(t.client), "verified"));
        part(&t);
        tls_context_free(sc);
    }
    tls_context_free(cc);
    /* With the system's roots nobody of here is known. */
    cc = client_context("", 12);
    struct tls_context *sc = server_context(good.path);
    struct talk t = meet(cc, sc, "mx.example", true);
    assert_string_equal(tls_words(t.client),
                        "certificate: unable to get local issuer certificate");
    part(&t);
    tls_context_free(cc);
    tls_context_free(sc);
    identity_finish(&authority);
    identity_finish(&stranger);
    identity_finish(&forger);
    identity_finish(&forged);
    identity_finish(&good);
    identity_finish(&old);
    identity_finish(&foreign);
    identity_finish(&alone);
}

static void test_files_that_cannot_be_used(void **state)
{
    (void)state;
    struct identity one = make_identity("DNS:mx.example", NULL, HOUR_S);
    struct identity two = make_identity("DNS:mx.example", NULL, HOUR_S);
    struct fault f = {0};
    assert_null(tls_authorities_read("/nowhere", &f));
    assert_int_equal(f.code, -7);
    assert_string_equal(f.words, "cannot read certificates from \"/nowhere\": No such "
                                 "file or directory");
    f = (struct fault){0};
    assert_null(tls_server_context("/dev/null", NULL, NULL, &f));
    assert_int_equal(f.code, -7);
    assert_string_equal(f.words,
                        "cannot use the certificate in \"/dev/null\": no start line");
    f = (struct fault){0};
    assert_null(tls_server_context(one.path, two.path, NULL, &f));
    assert_int_equal(f.code, -7);
    assert_non_null(strstr(f.words, "key values mismatch"));
    identity_finish(&one);
    identity_finish(&two);
}

/* ---- a peer that is plain OpenSSL ---- */

struct raw {
    SSL_CTX *context;
    SSL *ssl;
    BIO *in, *out;
};

static struct raw raw_server(const struct identity *i, int version)
{
    struct raw r = {.context = SSL_CTX_new(TLS_server_method())};
    SSL_CTX_set_security_level(r.context, 0);
    SSL_CTX_set_min_proto_version(r.context, version);
    SSL_CTX_set_max_proto_version(r.context, version);
    assert_int_equal(SSL_CTX_use_certificate(r.context, i->certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(r.context, i->key), 1);
    return r;
}

static void raw_begin(struct raw *r)
{
    r->ssl = SSL_new(r->context);
    r->in = BIO_new(BIO_s_mem());
    r->out = BIO_new(BIO_s_mem());
    SSL_set_bio(r->ssl, r->in, r->out);
    SSL_set_accept_state(r->ssl);
}

/* Both sides until nothing moves; what each side hears. */
static void raw_pump(struct raw *r, struct tls *t, struct buf *by_raw,
                     struct buf *by_us)
{
    char bytes[4096];
    for (bool moved = true; moved;) {
        moved = false;
        struct span o = tls_output(t);
        if (o.n) {
            BIO_write(r->in, o.p, (int)o.n);
            tls_sent(t, o.n);
            moved = true;
        }
        for (int n; (n = SSL_read(r->ssl, bytes, sizeof bytes)) > 0;)
            buf_add(by_raw, bytes, (size_t)n);
        for (int n; (n = BIO_read(r->out, bytes, sizeof bytes)) > 0; moved = true)
            tls_receive(t, bytes, (size_t)n);
        for (size_t n; (n = tls_read(t, bytes, sizeof bytes)) > 0;)
            buf_add(by_us, bytes, n);
    }
    ERR_clear_error();
}

static void test_versions(void **state)
{
    (void)state;
    struct identity id = make_identity("DNS:mx.example", NULL, HOUR_S);
    static const struct {
        int server, min;
        const char *name; /* "": refused */
    } cases[] = {
        {TLS1_3_VERSION, 13, "TLSv1.3:TLS_AES_256_GCM_SHA384"},
        {TLS1_2_VERSION, 12, "TLSv1.2:ECDHE-ECDSA-AES256-GCM-SHA384"},
        {TLS1_2_VERSION, 13, ""},
        {TLS1_1_VERSION, 12, ""},
        {TLS1_1_VERSION, 11, "TLSv1.1:ECDHE-ECDSA-AES256-SHA"},
        {TLS1_VERSION, 10, "TLSv1:ECDHE-ECDSA-AES256-SHA"},
        {TLS1_VERSION, 11, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tls_context *cc = client_context(id.path, cases[i].min);
        struct raw r = raw_server(&id, cases[i].server);
        for (int second = 0; second < 2; second++) {
            struct buf by_raw = {0}, by_us = {0};
            struct tls *t = tls_client(cc, "mx.example", false, 0);
            bool open = *cases[i].name;
            raw_begin(&r);
            raw_pump(&r, t, &by_raw, &by_us);
            assert_int_equal(tls_state(t), open ? TLS_OPEN : TLS_FAILED);
            assert_string_equal(tls_name(t), cases[i].name);
            assert_string_equal(
                tls_words(t), open ? "" : "TLS alert from the peer: protocol version");
            assert_int_equal(tls_resumed(t), open && second);
            assert_int_equal(say(t, "MAIL"), open ? 4 : 0);
            raw_pump(&r, t, &by_raw, &by_us);
            assert_string_equal(buf_cstr(&by_raw), open ? "MAIL" : "");
            tls_free(t);
            SSL_free(r.ssl);
            buf_finish(&by_raw);
            buf_finish(&by_us);
        }
        SSL_CTX_free(r.context);
        tls_context_free(cc);
    }
    identity_finish(&id);
}

/* RFC 7435: a short key, a SHA-1 chain and 1024 bits of Diffie-Hellman are better than
 * clear text, and prove nothing. */
static void test_weak_keys_protect_and_prove_nothing(void **state)
{
    (void)state;
    struct identity root =
        sign_identity("root", NULL, HOUR_S, EVP_RSA_gen(1024), EVP_sha1());
    struct identity id =
        sign_identity("DNS:mx.example", &root, HOUR_S, EVP_RSA_gen(1024), EVP_sha1());
    struct tls_context *cc = client_context(root.path, 12);
    struct raw r = raw_server(&id, TLS1_2_VERSION);
    SSL_CTX_set_dh_auto(r.context, 1);
    assert_int_equal(SSL_CTX_set_cipher_list(r.context, "DHE:@SECLEVEL=0"), 1);
    for (int verify = 0; verify < 2; verify++) {
        struct buf by_raw = {0}, by_us = {0};
        struct tls *t = tls_client(cc, "mx.example", verify, 0);
        raw_begin(&r);
        raw_pump(&r, t, &by_raw, &by_us);
        assert_int_equal(tls_state(t), verify ? TLS_FAILED : TLS_OPEN);
        assert_string_equal(tls_name(t),
                            verify ? "" : "TLSv1.2:DHE-RSA-AES256-GCM-SHA384");
        assert_int_equal(*tls_words(t) != '\0', verify);
        tls_free(t);
        SSL_free(r.ssl);
        buf_finish(&by_raw);
        buf_finish(&by_us);
    }
    SSL_CTX_free(r.context);
    tls_context_free(cc);
    identity_finish(&root);
    identity_finish(&id);
}

/* RFC 5746 and 8446 4.6.3: no second handshake; new keys are made as asked. */
static void test_renegotiation_and_key_update(void **state)
{
    (void)state;
    struct identity id = make_identity("DNS:mx.example", NULL, HOUR_S);
    struct tls_context *cc = client_context(NULL, 12);
    struct buf by_raw = {0}, by_us = {0};
    struct raw r = raw_server(&id, TLS1_2_VERSION);
    struct tls *t = tls_client(cc, "old.example", false, 0);
    raw_begin(&r);
    raw_pump(&r, t, &by_raw, &by_us);
    assert_int_equal(SSL_renegotiate(r.ssl), 1);
    SSL_do_handshake(r.ssl);
    raw_pump(&r, t, &by_raw, &by_us);
    assert_int_equal(tls_state(t), TLS_FAILED); /* OpenSSL takes our no as an end */
    assert_string_equal(tls_words(t), "TLS alert from the peer: handshake failure");
    tls_free(t);
    SSL_free(r.ssl);
    SSL_CTX_free(r.context);

    r = raw_server(&id, TLS1_3_VERSION);
    t = tls_client(cc, "new.example", false, 0);
    raw_begin(&r);
    buf_reset(&by_raw);
    raw_pump(&r, t, &by_raw, &by_us);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(SSL_key_update(r.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_write(r.ssl, "y", 1), 1);
        raw_pump(&r, t, &by_raw, &by_us);
        assert_int_equal(say(t, "x"), 1);
        raw_pump(&r, t, &by_raw, &by_us);
    }
    assert_int_equal(tls_state(t), TLS_OPEN);
    assert_string_equal(buf_cstr(&by_raw), "xxxxx");
    assert_string_equal(buf_cstr(&by_us), "yyyyy");
    tls_free(t);
    SSL_free(r.ssl);
    SSL_CTX_free(r.context);
    tls_context_free(cc);
    buf_finish(&by_raw);
    buf_finish(&by_us);
    identity_finish(&id);
}

static void test_what_is_no_tls(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *words;
    } cases[] = {
        {"250 still here\r\n", 16, "TLS: wrong version number"},
        {"\x15\x03\x03\x00\x02\x02\x28", 7,
         "TLS alert from the peer: handshake failure"},
        {"\x15\x03\x01\x00\x02\x02\x46", 7,
         "TLS alert from the peer: protocol version"},
        {"\x15\x03\x03\x00\x02\x02\xfe", 7, "TLS alert from the peer: unknown"},
        {"\x17\x03\x03\x00\x04xxxx", 9, "TLS: unexpected message"},
        {"\x16\x03\x03\xff\xff", 5, "TLS: packet length too long"},
        {"\x16\x03\x03\x00\x04\x02\x00\x00\x00", 9, "TLS: length mismatch"},
    };
    struct tls_context *cc = client_context(NULL, 12);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tls *t = tls_client(cc, "mx.example", false, 0);
        char out[16];
        for (size_t k = 0; k < cases[i].n; k++)
            tls_receive(t, cases[i].bytes + k, 1);
        assert_int_equal(tls_state(t), TLS_FAILED);
        assert_string_equal(tls_words(t), cases[i].words);
        assert_int_equal(tls_read(t, out, sizeof out), 0);
        assert_int_equal(say(t, "MAIL FROM:<>\r\n"), 0);
        tls_close(t);
        tls_receive(t, "more", 4);
        assert_string_equal(tls_words(t), cases[i].words);
        tls_free(t);
    }
    tls_context_free(cc);
}

/* A byte changed on the way is never plaintext. */
static void test_a_changed_byte_is_a_failure(void **state)
{
    (void)state;
    struct tls_context *cc = client_context(NULL, 12);
    struct tls_context *sc = server_context(NULL);
    for (size_t at = 0; at < 30; at++) {
        struct talk t = meet(cc, sc, "mx.example", false);
        char bytes[64], plain[64];
        assert_int_equal(say(t.server, "250 ok\r\n"), 8);
        struct span o = tls_output(t.server);
        assert_int_equal(o.n, 30);
        memcpy(bytes, o.p, o.n);
        bytes[at] ^= 1;
        tls_receive(t.client, bytes, o.n);
        assert_int_equal(tls_read(t.client, plain, sizeof plain), 0);
        /* A length that grew waits for its bytes. */
        if (at != 4 && at != 3)
            assert_int_equal(tls_state(t.client), TLS_FAILED);
        part(&t);
    }
    tls_context_free(cc);
    tls_context_free(sc);
}

static void test_close_notify(void **state)
{
    (void)state;
    struct tls_context *cc = client_context(NULL, 12);
    struct tls_context *sc = server_context(NULL);
    struct talk t = meet(cc, sc, "mx.example", false);
    /* What came before it is read, what comes behind it is not. */
    assert_int_equal(say(t.client, "QUIT\r\n"), 6);
    tls_close(t.client);
    tls_close(t.client);
    assert_int_equal(say(t.client, "x"), 0);
    pump(&t, NULL, 0);
    assert_string_equal(buf_cstr(&t.heard_by_server), "QUIT\r\n");
    assert_int_equal(tls_state(t.server), TLS_CLOSED);
    tls_receive(t.server, "garbage", 7);
    assert_int_equal(tls_state(t.server), TLS_CLOSED);
    /* The other direction is still open. */
    assert_int_equal(say(t.server, "221 bye\r\n"), 9);
    tls_close(t.server);
    pump(&t, NULL, 0);
    assert_string_equal(buf_cstr(&t.heard_by_client), "221 bye\r\n");
    assert_int_equal(tls_state(t.client), TLS_CLOSED);
    part(&t);
    /* In the handshake there is nothing to close. */
    struct tls *early = tls_client(cc, "mx.example", false, 0);
    size_t before = tls_output(early).n;
    tls_close(early);
    assert_int_equal(tls_output(early).n, before);
    tls_free(early);
    tls_context_free(cc);
    tls_context_free(sc);
}

static void test_a_megabyte_in_pieces(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20, PIECES = 400 };
    struct tls_context *cc = client_context(NULL, 12);
    struct tls_context *sc = server_context(NULL);
    char *data = malloc(SIZE);
    assert_non_null(data);
    struct rng rng = {11};
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)rng_below(&rng, 256);
    struct talk t = meet(cc, sc, "mx.example", false);
    for (size_t at = 0; at < SIZE;) {
        struct iovec v[PIECES];
        size_t end = at;
        int n = 0;
        for (; n < PIECES; n++) { /* small, empty and larger than a record */
            size_t want =
                rng_below(&rng, 10) ? rng_below(&rng, 90) : rng_below(&rng, 40000);
            want = want < SIZE - end ? want : SIZE - end;
            v[n] = (struct iovec){want ? data + end : NULL, want};
            end += want;
        }
        size_t taken = tls_write(t.client, v, n);
        assert_true(taken <= end - at);
        assert_true(taken == end - at || tls_output(t.client).n > TLS_PENDING_MAX / 2);
        assert_true(tls_output(t.client).n <= TLS_PENDING_MAX);
        at += taken;
        for (int i = 0; i < 30; i++)
            carry(t.client, t.server, &rng, 9000, &t.heard_by_server);
    }
    pump(&t, NULL, 0);
    assert_int_equal(t.heard_by_server.n, SIZE);
    assert_memory_equal(t.heard_by_server.p, data, SIZE);
    part(&t);
    free(data);
    tls_context_free(cc);
    tls_context_free(sc);
}

/* For any tail of the ciphertext: what the other side can decrypt of the rest is
 * exactly what tls_plain_behind says is out. */
static void test_marks_tell_what_is_out(void **state)
{
    (void)state;
    enum { RECORDS = 60, TAILS = 40, MESSAGE = 3000 };
    struct tls_context *cc = client_context(NULL, 12);
    struct tls_context *sc = server_context(NULL);
    static char message[MESSAGE];
    memset(message, 'm', sizeof message);
    for (uint64_t seed = 1; seed <= TAILS; seed++) {
        struct rng rng = {seed};
        struct talk t = meet(cc, sc, "mx.example", false);
        assert_int_equal(tls_plain_behind(t.client, 0), 0);
        assert_int_equal(tls_plain_behind(t.client, UINT64_MAX), 0);
        uint64_t plain = 0;
        struct buf wire = {0};
        for (int i = 0; i < RECORDS; i++) {
            struct iovec v = {message, rng_below(&rng, MESSAGE)};
            plain += tls_write(t.client, &v, 1);
            buf_add_span(&wire, tls_output(t.client));
            tls_sent(t.client, tls_output(t.client).n);
        }
        size_t out = rng_below(&rng, (uint32_t)wire.n + 1);
        char bytes[4096];
        uint64_t read = 0;
        tls_receive(t.server, wire.p, out);
        for (size_t n; (n = tls_read(t.server, bytes, sizeof bytes));)
            read += n;
        assert_int_equal(tls_plain_behind(t.client, wire.n - out), plain - read);
        assert_int_equal(tls_plain_behind(t.client, UINT64_MAX), plain);
        /* close_notify is ciphertext of no plaintext. */
        tls_close(t.client);
        size_t close_n = tls_output(t.client).n;
        assert_true(close_n > 0);
        assert_int_equal(tls_plain_behind(t.client, close_n), 0);
        assert_int_equal(tls_plain_behind(t.client, wire.n - out + close_n),
                         plain - read);
        buf_finish(&wire);
        part(&t);
    }
    tls_context_free(cc);
    tls_context_free(sc);
}

/* With thousands of records: never too low, and exact for the newest. */
static void test_old_marks_are_coarse_and_never_low(void **state)
{
    (void)state;
    enum { RECORDS = 3000, EXACT = 64 };
    static uint64_t plain_at[RECORDS + 1], cipher_at[RECORDS + 1];
    struct tls_context *cc = client_context(NULL, 12);
    struct tls_context *sc = server_context(NULL);
    struct talk t = meet(cc, sc, "mx.example", false);
    struct rng rng = {5};
    for (int i = 1; i <= RECORDS; i++) {
        static char message[200];
        struct iovec v = {message, 1 + rng_below(&rng, sizeof message)};
        plain_at[i] = plain_at[i - 1] + tls_write(t.client, &v, 1);
        cipher_at[i] = cipher_at[i - 1] + tls_output(t.client).n;
        tls_sent(t.client, tls_output(t.client).n);
        for (int k = 0; k <= i; k += k < i - EXACT ? 1 + (int)rng_below(&rng, 97) : 1) {
            uint64_t got = tls_plain_behind(t.client, cipher_at[i] - cipher_at[k]);
            if (k >= i - EXACT)
                assert_int_equal(got, plain_at[i] - plain_at[k]);
            else
                assert_true(got >= plain_at[i] - plain_at[k] && got <= plain_at[i]);
        }
    }
    part(&t);
    tls_context_free(cc);
    tls_context_free(sc);
}

/* RFC 8446 4.6.3: a server that asks for new keys on and on, and never reads that we
 * have them. */
static void test_output_is_bounded(void **state)
{
    (void)state;
    struct identity id = make_identity("DNS:mx.example", NULL, HOUR_S);
    struct tls_context *cc = client_context(NULL, 12);
    struct buf by_raw = {0}, by_us = {0};
    struct raw r = raw_server(&id, TLS1_3_VERSION);
    struct tls *t = tls_client(cc, "mx.example", false, 0);
    char bytes[4096];
    raw_begin(&r);
    raw_pump(&r, t, &by_raw, &by_us);
    assert_int_equal(tls_state(t), TLS_OPEN);
    for (int i = 0; i < 20000 && tls_state(t) == TLS_OPEN; i++) {
        assert_int_equal(SSL_key_update(r.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(r.ssl), 1);
        for (int n; (n = BIO_read(r.out, bytes, sizeof bytes)) > 0;)
            tls_receive(t, bytes, (size_t)n);
        assert_int_equal(tls_read(t, bytes, sizeof bytes), 0);
        assert_true(tls_output(t).n <= 2 * TLS_PENDING_MAX);
    }
    assert_int_equal(tls_state(t), TLS_FAILED);
    assert_string_equal(tls_words(t), "TLS: the peer asks for more than it reads");
    assert_true(tls_output(t).n > TLS_PENDING_MAX);
    ERR_clear_error();
    tls_free(t);
    SSL_free(r.ssl);
    SSL_CTX_free(r.context);
    tls_context_free(cc);
    buf_finish(&by_raw);
    buf_finish(&by_us);
    identity_finish(&id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_dialogue_is_the_same_however_it_is_cut),
        cmocka_unit_test(test_sessions_are_resumed_by_host),
        cmocka_unit_test(test_sessions_are_bounded),
        cmocka_unit_test(test_whom_verify_trusts),
        cmocka_unit_test(test_files_that_cannot_be_used),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_weak_keys_protect_and_prove_nothing),
        cmocka_unit_test(test_renegotiation_and_key_update),
        cmocka_unit_test(test_what_is_no_tls),
        cmocka_unit_test(test_a_changed_byte_is_a_failure),
        cmocka_unit_test(test_close_notify),
        cmocka_unit_test(test_a_megabyte_in_pieces),
        cmocka_unit_test(test_marks_tell_what_is_out),
        cmocka_unit_test(test_old_marks_are_coarse_and_never_low),
        cmocka_unit_test(test_output_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
