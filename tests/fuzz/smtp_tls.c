/* Strangers' bytes into both ends of a TLS pipe. Byte 0 chooses: rubbish into a fresh
 * client or server, which may never be open behind it; or a true dialogue of two pipes
 * with one wound in its ciphertext, of which nothing may be read but a beginning of
 * what was said. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "smtp/tls.h"

enum { HEAD = 8, OUTPUT_LIMIT = 2 * TLS_PENDING_MAX, ROUNDS_MAX = 64 };

static struct tls_context *client_context, *server_context;

static void check(const struct tls *t)
{
    const char *words = tls_words(t);
    assert(tls_output(t).n <= OUTPUT_LIMIT);
    assert((tls_state(t) == TLS_FAILED) == (*words != '\0'));
    for (; *words; words++)
        assert(*words >= ' ' && *words <= '~');
    if (tls_state(t) == TLS_HANDSHAKE)
        assert(!*tls_name(t));
}

static void rubbish(struct tls *t, struct span in, size_t piece)
{
    char plain[256] = "x";
    for (size_t at = 0; at < in.n; at += piece) {
        size_t n = piece < in.n - at ? piece : in.n - at;
        char *copy = malloc(n);
        assert(copy);
        memcpy(copy, in.p + at, n);
        tls_receive(t, copy, n);
        free(copy);
        assert(tls_read(t, plain, sizeof plain) == 0);
        assert(tls_state(t) == TLS_HANDSHAKE || tls_state(t) == TLS_FAILED);
        check(t);
    }
    struct iovec v = {plain, 1};
    assert(tls_write(t, &v, 1) == 0);
}

/* One side of the dialogue: what it says, and what it has heard. */
struct side {
    struct tls *tls;
    struct span words;
    size_t said;
    struct buf heard;
    uint64_t sent; /* ciphertext bytes */
};

/* The wound: at byte `at` of this side's ciphertext, `in` stands for `cut` bytes. */
struct wound {
    const struct side *of;
    uint64_t at;
    size_t cut;
    struct span in;
};

static bool carry(struct side *from, struct side *to, const struct wound *w)
{
    char plain[300];
    struct iovec v = {(char *)(uintptr_t)from->words.p + from->said,
                      from->words.n - from->said};
    size_t taken = v.iov_len ? tls_write(from->tls, &v, 1) : 0;
    from->said += taken;
    struct span o = tls_output(from->tls);
    if (!o.n)
        return false;
    struct buf wire = {0};
    buf_add_span(&wire, o);
    if (w->of == from && w->at >= from->sent && w->at < from->sent + o.n) {
        size_t at = (size_t)(w->at - from->sent);
        size_t cut = w->cut < o.n - at ? w->cut : o.n - at;
        wire.n = at;
        buf_add_span(&wire, w->in);
        buf_add(&wire, o.p + at + cut, o.n - at - cut);
    }
    from->sent += o.n;
    tls_sent(from->tls, o.n);
    tls_receive(to->tls, wire.n ? wire.p : "", wire.n);
    for (size_t n; (n = tls_read(to->tls, plain, sizeof plain));)
        buf_add(&to->heard, plain, n);
    buf_finish(&wire);
    check(from->tls);
    check(to->tls);
    assert(to->heard.n <= from->said);
    assert(to->heard.n == 0 || memcmp(to->heard.p, from->words.p, to->heard.n) == 0);
    assert(tls_plain_behind(from->tls, UINT64_MAX) == from->said);
    return true;
}

static void dialogue(const uint8_t *head, struct span in)
{
    static char long_words[40000];
    struct side c = {.tls = tls_client(client_context, "mx.example", head[1] & 1, 0),
                     .words = {long_words, sizeof long_words}};
    struct side s = {.tls = tls_server(server_context), .words = SPAN("220 hello\r\n")};
    struct wound w = {
        .of = head[1] & 2 ? &c : &s,
        .at = (uint64_t)head[2] | (uint64_t)head[3] << 8,
        .cut = head[4],
        .in = in,
    };
    for (int i = 0; i < ROUNDS_MAX; i++) {
        bool moved = carry(&c, &s, &w);
        moved = carry(&s, &c, &w) || moved;
        if (!moved)
            break;
    }
    if (head[1] & 1)
        assert(tls_state(c.tls) != TLS_OPEN); /* nobody vouches for the certificate */
    tls_free(c.tls);
    tls_free(s.tls);
    buf_finish(&c.heard);
    buf_finish(&s.heard);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    struct fault f = {0};
    client_context = tls_client_context(&(struct tls_client_params){.min_version = 10});
    server_context = tls_server_context(NULL, NULL, "mx.example", &f);
    assert(client_context && server_context);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < HEAD)
        return 0;
    struct span in = {(const char *)data + HEAD, n - HEAD};
    struct tls *t;
    switch (data[0] % 3) {
    case 0:
        t = tls_client(client_context, "mx.example", data[1] & 1, 0);
        break;
    case 1:
        t = tls_server(server_context);
        break;
    default:
        dialogue(data, in);
        return 0;
    }
    rubbish(t, in, 1u + data[2]);
    tls_free(t);
    return 0;
}
