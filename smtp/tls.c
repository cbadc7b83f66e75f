#include "smtp/tls.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "smtp/tls_certificate.h"

enum {
    RECORD_PLAIN_MAX = 16 * 1024, /* RFC 8446 5.1 */
    RECORD_CIPHER_MAX = RECORD_PLAIN_MAX + 512,
    /* Handshakes and answers to the peer's TLS have this much room behind the bound of
     * tls_write: a peer that does not read and asks on and on fails here. */
    OUTPUT_MAX = TLS_PENDING_MAX + 64 * 1024,
    MARKS_MAX = 128,
    WORDS_MAX = 200,
    NAME_MAX_BYTES = 96,
};

/* A session for the next handshake with the same host from the same source. The key is
 * not only hashed: a session resumed with the wrong host would carry the wrong host's
 * proof. */
struct kept {
    char *key;
    SSL_SESSION *session;
};

struct tls_authorities {
    X509_STORE *store; /* counts its references, and locks itself */
};

struct tls_context {
    SSL_CTX *ssl;
    BIO_METHOD *wire;
    bool weak; /* TLS below 1.2 is allowed */
    int pipes; /* that live */
    struct kept kept[TLS_SESSIONS_MAX];
    char gather[RECORD_PLAIN_MAX]; /* small pieces on their way into one record */
};

/* A record's end: so many plaintext bytes and so many ciphertext bytes up to here. */
struct mark {
    uint64_t plain;
    uint64_t cipher;
};

struct tls {
    struct tls_context *context;
    SSL *ssl;
    bool verify;
    bool opened; /* the handshake was finished */
    bool said_close;
    bool overflow; /* OUTPUT_MAX */
    enum tls_state state;
    char *key; /* of resumption; NULL: a server */

    struct buf in; /* ciphertext that OpenSSL has not taken: in.p[in_at … in.n) */
    size_t in_at;
    struct buf out;
    size_t out_at;

    uint64_t plain;  /* bytes taken by tls_write */
    uint64_t cipher; /* bytes ever put into out */
    struct mark marks[MARKS_MAX];
    int marks_n;

    char words[WORDS_MAX];
    char name[NAME_MAX_BYTES];
};

/* ---- the wire that OpenSSL sees ---- */

static int wire_read(BIO *bio, char *out, int max)
{
    struct tls *t = BIO_get_data(bio);
    size_t have = t->in.n - t->in_at;
    BIO_clear_retry_flags(bio);
    if (!have || max <= 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t n = have < (size_t)max ? have : (size_t)max;
    memcpy(out, t->in.p + t->in_at, n);
    t->in_at += n;
    return (int)n;
}

static int wire_write(BIO *bio, const char *p, int n)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (n <= 0)
        return 0;
    if (t->out.n - t->out_at + (size_t)n > OUTPUT_MAX) {
        t->overflow = true;
        return -1;
    }
    buf_add(&t->out, p, (size_t)n);
    t->cipher += (uint64_t)n;
    return n;
}

static long wire_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH; /* there is nothing to flush */
}

static BIO_METHOD *wire_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "tls pipe");
    if (!m || !BIO_meth_set_read(m, wire_read) || !BIO_meth_set_write(m, wire_write) ||
        !BIO_meth_set_ctrl(m, wire_control))
        die_oom();
    return m;
}

/* ---- words ---- */

static const char *error_text(unsigned long error)
{
    if (ERR_SYSTEM_ERROR(error))
        return strerror(ERR_GET_REASON(error));
    const char *text = error ? ERR_reason_error_string(error) : NULL;
    return text ? text : "unknown error";
}

static void say_words(struct tls *t, const char *what, const char *why)
{
    struct buf b = {0};
    text_clean(&b, span_of(what), WORDS_MAX / 2);
    text_clean(&b, span_of(why), WORDS_MAX - 1 - b.n);
    memcpy(t->words, b.p, b.n);
    t->words[b.n] = '\0';
    buf_finish(&b);
}

static void fail(struct tls *t)
{
    /* The oldest error is the cause, the later ones are its echo; only the judgement of
     * a certificate comes last. */
    unsigned long error = ERR_peek_error();
    unsigned long last = ERR_peek_last_error();
    int alert = ERR_GET_REASON(error) - SSL_AD_REASON_OFFSET;
    long verify = SSL_get_verify_result(t->ssl);
    if (t->overflow)
        say_words(t, "TLS: ", "the peer asks for more than it reads");
    else if (ERR_GET_LIB(last) == ERR_LIB_SSL && verify != X509_V_OK &&
             ERR_GET_REASON(last) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        say_words(t, "certificate: ", X509_verify_cert_error_string(verify));
    else if (ERR_GET_LIB(error) == ERR_LIB_SSL && alert >= 0)
        say_words(t, "TLS alert from the peer: ", SSL_alert_desc_string_long(alert));
    else
        say_words(t, "TLS: ", error_text(error));
    t->state = TLS_FAILED;
    ERR_clear_error();
}

/* ---- sessions for resumption ---- */

static struct kept *kept_place(struct tls_context *c, const char *key)
{
    return &c->kept[hash_bytes(key, strlen(key)) % TLS_SESSIONS_MAX];
}

static void kept_drop(struct kept *k)
{
    free(k->key);
    SSL_SESSION_free(k->session);
    *k = (struct kept){0};
}

/* OpenSSL's callback for each new session or ticket. 1: we keep it. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls *t = SSL_get_app_data(ssl);
    struct kept *k = kept_place(t->context, t->key);
    kept_drop(k);
    *k = (struct kept){mem_strdup(t->key), session};
    return 1;
}

static void offer_session(struct tls *t)
{
    struct kept *k = kept_place(t->context, t->key);
    if (!k->key || strcmp(k->key, t->key) != 0)
        return;
    if (!SSL_SESSION_is_resumable(k->session) || !SSL_set_session(t->ssl, k->session))
        kept_drop(k);
}

/* ---- contexts ---- */

static struct tls_context *context_create(const SSL_METHOD *method)
{
    struct tls_context *c = mem_zero(1, sizeof *c);
    c->ssl = SSL_CTX_new(method);
    c->wire = wire_method();
    if (!c->ssl)
        die_oom();
    SSL_CTX_set_options(c->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* Buffers of OpenSSL live only while they hold something: 32 kB less for each
     * connection that waits, and no slower (measured). */
    SSL_CTX_set_mode(c->ssl,
                     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    return c;
}

static void say_fault(struct fault *f, const char *what, const char *file)
{
    fault_set(f, -7, "%s \"%s\": %s", what, file, error_text(ERR_peek_error()));
    ERR_clear_error();
}

static struct tls_context *refuse(struct tls_context *c, struct fault *f,
                                  const char *what, const char *file)
{
    say_fault(f, what, file);
    tls_context_free(c);
    return NULL;
}

/* Without verify the chain is not even built: nobody would look at the answer. */
static int check_chain(X509_STORE_CTX *store, void *arg)
{
    (void)arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *t = SSL_get_app_data(ssl);
    return t->verify ? X509_verify_cert(store) : 1;
}

struct tls_authorities *tls_authorities_read(const char *ca_file, struct fault *f)
{
    struct tls_authorities *a = mem_zero(1, sizeof *a);
    ERR_clear_error();
    a->store = X509_STORE_new();
    if (!a->store)
        die_oom();
    if (!ca_file || !*ca_file) {
        X509_STORE_set_default_paths(a->store);
    } else if (!X509_STORE_load_file(a->store, ca_file)) {
        say_fault(f, "cannot read certificates from", ca_file);
        tls_authorities_free(a);
        return NULL;
    }
    ERR_clear_error();
    return a;
}

void tls_authorities_free(struct tls_authorities *a)
{
    if (!a)
        return;
    X509_STORE_free(a->store);
    free(a);
}

struct tls_context *tls_client_context(const struct tls_client_params *params)
{
    assert(params->min_version >= 10 && params->min_version <= 13);
    struct tls_context *c = context_create(TLS_client_method());
    ERR_clear_error();
    c->weak = params->min_version < 12;
    SSL_CTX_set_min_proto_version(c->ssl, TLS1_VERSION + (params->min_version - 10));
    SSL_CTX_set_session_cache_mode(c->ssl,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c->ssl, keep_session);
    SSL_CTX_set_cert_verify_callback(c->ssl, check_chain, NULL);
    if (params->authorities)
        SSL_CTX_set1_cert_store(c->ssl, params->authorities->store);
    ERR_clear_error();
    return c;
}

struct tls_context *tls_server_context(const char *cert_file, const char *key_file,
                                       const char *name, struct fault *f)
{
    static const unsigned char id[] = "hikyaku";
    struct tls_context *c = context_create(TLS_server_method());
    ERR_clear_error();
    SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF); /* tickets need none */
    SSL_CTX_set_session_id_context(c->ssl, id, sizeof id - 1);
    if (!cert_file)
        return tls_self_sign(c->ssl, name)
                   ? c
                   : refuse(c, f, "cannot make a certificate for", name);
    if (!key_file)
        key_file = cert_file;
    if (SSL_CTX_use_certificate_chain_file(c->ssl, cert_file) != 1)
        return refuse(c, f, "cannot use the certificate in", cert_file);
    if (SSL_CTX_use_PrivateKey_file(c->ssl, key_file, SSL_FILETYPE_PEM) != 1)
        return refuse(c, f, "cannot use the key in", key_file);
    return c;
}

void tls_context_free(struct tls_context *c)
{
    if (!c)
        return;
    assert(c->pipes == 0);
    for (int i = 0; i < TLS_SESSIONS_MAX; i++)
        kept_drop(&c->kept[i]);
    SSL_CTX_free(c->ssl);
    BIO_meth_free(c->wire);
    free(c);
}

/* ---- the handshake ---- */

static void now_open(struct tls *t)
{
    t->opened = true;
    t->state = TLS_OPEN;
    snprintf(t->name, sizeof t->name, "%s:%s%s", SSL_get_version(t->ssl),
             SSL_get_cipher_name(t->ssl), t->verify ? ":verified" : "");
}

static void shake(struct tls *t)
{
    ERR_clear_error();
    int done = SSL_do_handshake(t->ssl);
    if (done == 1)
        now_open(t);
    else if (SSL_get_error(t->ssl, done) != SSL_ERROR_WANT_READ)
        fail(t);
}

static struct tls *pipe_create(struct tls_context *c)
{
    struct tls *t = mem_zero(1, sizeof *t);
    BIO *bio = BIO_new(c->wire);
    t->context = c;
    t->ssl = SSL_new(c->ssl);
    if (!bio || !t->ssl)
        die_oom();
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    SSL_set_app_data(t->ssl, t);
    c->pipes++;
    return t;
}

struct tls *tls_client(struct tls_context *c, const char *host, bool verify, int source)
{
    struct tls *t = pipe_create(c);
    struct buf key = {0};
    buf_printf(&key, "%d %s %s", source, verify ? "verified" : "any", host);
    t->key = mem_strndup(key.p, key.n);
    buf_finish(&key);
    t->verify = verify;
    /* RFC 6066 3: an address is no server name. */
    if (!X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), host)) {
        SSL_set_tlsext_host_name(t->ssl, host);
        SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        SSL_set1_host(t->ssl, host);
    }
    SSL_set_verify(t->ssl, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (!verify || c->weak)
        SSL_set_security_level(t->ssl, 0);
    SSL_set_connect_state(t->ssl);
    offer_session(t);
    shake(t);
    return t;
}

struct tls *tls_server(struct tls_context *c)
{
    struct tls *t = pipe_create(c);
    SSL_set_accept_state(t->ssl);
    return t;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    /* A connection that was cut makes OpenSSL spoil its session. There is no truncation
     * to fear in a session that is resumed, and servers that only close are common. */
    if (t->opened && t->state != TLS_FAILED)
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    /* A session that may be why the handshake failed is not offered again. */
    if (!t->opened && t->key) {
        struct kept *k = kept_place(t->context, t->key);
        if (k->key && strcmp(k->key, t->key) == 0)
            kept_drop(k);
    }
    t->context->pipes--;
    SSL_free(t->ssl);
    free(t->key);
    buf_finish(&t->in);
    buf_finish(&t->out);
    free(t);
}

/* ---- what a pipe is ---- */

enum tls_state tls_state(const struct tls *t)
{
    return t->state;
}

const char *tls_words(const struct tls *t)
{
    return t->words;
}

const char *tls_name(const struct tls *t)
{
    return t->name;
}

bool tls_resumed(const struct tls *t)
{
    return t->opened && SSL_session_reused(t->ssl);
}

/* ---- bytes ---- */

void tls_receive(struct tls *t, const char *cipher, size_t n)
{
    if (t->state == TLS_CLOSED || t->state == TLS_FAILED)
        return;
    if (t->in_at == t->in.n) {
        buf_reset(&t->in);
        t->in_at = 0;
    } else if (t->in_at >= RECORD_CIPHER_MAX) {
        t->in.n -= t->in_at;
        memmove(t->in.p, t->in.p + t->in_at, t->in.n);
        t->in_at = 0;
    }
    buf_add(&t->in, cipher, n);
    if (t->state == TLS_HANDSHAKE)
        shake(t);
}

size_t tls_read(struct tls *t, char *out, size_t max)
{
    size_t n = 0;
    if (t->state != TLS_OPEN || !max)
        return 0;
    ERR_clear_error();
    int good = SSL_read_ex(t->ssl, out, max, &n);
    if (good)
        return n;
    switch (SSL_get_error(t->ssl, good)) {
    case SSL_ERROR_WANT_READ:
        break;
    case SSL_ERROR_ZERO_RETURN:
        t->state = TLS_CLOSED;
        break;
    default:
        fail(t);
    }
    return 0;
}

/* Remember a record's end. Full: of the older half every second mark goes, so that the
 * answer further back is coarse, and never too low. */
static void add_mark(struct tls *t)
{
    if (t->marks_n == MARKS_MAX) {
        int kept = 0;
        for (int i = 1; i < MARKS_MAX; i += i + 1 < MARKS_MAX / 2 ? 2 : 1)
            t->marks[kept++] = t->marks[i];
        t->marks_n = kept;
    }
    t->marks[t->marks_n++] = (struct mark){t->plain, t->cipher};
}

struct cursor {
    const struct iovec *iov;
    int n;
    size_t at; /* in iov[0] */
};

static struct span take_piece(struct cursor *c, size_t max)
{
    size_t have = c->iov->iov_len - c->at;
    const char *p = have ? (const char *)c->iov->iov_base + c->at : "";
    size_t n = have < max ? have : max;
    c->at += n;
    if (n == have) {
        c->iov++;
        c->n--;
        c->at = 0;
    }
    return (struct span){p, n};
}

/* What goes into the next record: a piece as it lies when it fills one or is the last,
 * else as many as fit, gathered. */
static struct span next_record(struct tls_context *context, struct cursor *c)
{
    if (c->n == 1 || (c->n && c->iov->iov_len - c->at >= RECORD_PLAIN_MAX))
        return take_piece(c, RECORD_PLAIN_MAX);
    size_t n = 0;
    while (c->n && n < RECORD_PLAIN_MAX) {
        struct span piece = take_piece(c, RECORD_PLAIN_MAX - n);
        if (piece.n)
            memcpy(context->gather + n, piece.p, piece.n);
        n += piece.n;
    }
    return (struct span){context->gather, n};
}

size_t tls_write(struct tls *t, const struct iovec *iov, int n)
{
    struct cursor c = {iov, n, 0};
    size_t taken = 0;
    if ((t->state != TLS_OPEN && t->state != TLS_CLOSED) || t->said_close)
        return 0;
    while (t->out.n - t->out_at + RECORD_CIPHER_MAX <= TLS_PENDING_MAX) {
        struct span record = next_record(t->context, &c);
        size_t written = 0;
        if (!record.n)
            break;
        ERR_clear_error();
        int good = SSL_write_ex(t->ssl, record.p, record.n, &written);
        if (!good) {
            /* Half a post-handshake message was read: nothing goes before its rest. */
            if (SSL_get_error(t->ssl, good) != SSL_ERROR_WANT_READ)
                fail(t);
            break;
        }
        assert(written == record.n);
        taken += written;
        t->plain += written;
        add_mark(t);
    }
    return taken;
}

struct span tls_output(const struct tls *t)
{
    return t->out.n > t->out_at
               ? (struct span){t->out.p + t->out_at, t->out.n - t->out_at}
               : (struct span){"", 0};
}

void tls_sent(struct tls *t, size_t n)
{
    assert(n <= t->out.n - t->out_at);
    t->out_at += n;
    if (t->out_at * 2 < t->out.n)
        return;
    t->out.n -= t->out_at;
    if (t->out.n)
        memmove(t->out.p, t->out.p + t->out_at, t->out.n);
    t->out_at = 0;
}

void tls_close(struct tls *t)
{
    if ((t->state != TLS_OPEN && t->state != TLS_CLOSED) || t->said_close)
        return;
    t->said_close = true;
    ERR_clear_error();
    SSL_shutdown(t->ssl);
    ERR_clear_error();
}

uint64_t tls_plain_behind(const struct tls *t, uint64_t cipher)
{
    uint64_t gone = cipher < t->cipher ? t->cipher - cipher : 0;
    int i = t->marks_n;
    while (i > 0 && t->marks[i - 1].cipher > gone)
        i--;
    return t->plain - (i ? t->marks[i - 1].plain : 0);
}
