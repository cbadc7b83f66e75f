/* Any bytes, cut anywhere, at any mood: the receiver must say the same as for one
 * piece, in whole CRLF lines, and accept no more messages than dots or chunks ended.
 * Byte 0 chooses the mood, bytes 1 to 8 the cuts; the rest is what the peer sends. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <strings.h>

#include "base/rng.h"
#include "sink/server.h"

enum { HEAD = 9, STEP_US = 1000 };

static void drain(struct sink_server *s, int64_t now_us, struct buf *out)
{
    struct span o = sink_server_output(s, now_us);
    buf_add_span(out, o);
    sink_server_sent(s, o.n);
}

static struct sink_counts play(const struct mood *m, struct span in, struct rng *rng,
                               struct buf *out)
{
    struct sink_world *w = sink_world_create(-1, NULL);
    struct sink_server *s = sink_server_create(w, m, 1, 0);
    int64_t now_us = 0;
    for (size_t at = 0; at < in.n && !sink_server_over(s);) {
        size_t n = rng ? 1 + rng_below(rng, 1u << rng_below(rng, 8)) : in.n;
        n = n < in.n - at ? n : in.n - at;
        sink_server_receive(s, in.p + at, n, now_us);
        if (!rng || rng_below(rng, 2))
            drain(s, now_us, out);
        at += n;
        now_us += rng ? STEP_US : 0;
    }
    while (sink_server_deadline(s) != INT64_MAX) {
        now_us = sink_server_deadline(s);
        drain(s, now_us, out);
    }
    drain(s, now_us, out);
    assert(sink_server_output(s, now_us).n == 0);
    struct sink_counts counts = *sink_world_counts(w);
    sink_server_destroy(s);
    assert(sink_world_counts(w)->open == 0);
    sink_world_destroy(w);
    return counts;
}

/* Dots that may end a message, and BDATs. */
static uint64_t ends(struct span in)
{
    uint64_t n = 0;
    for (size_t i = 0; i + 4 <= in.n; i++)
        n += strncasecmp(in.p + i, "BDAT", 4) == 0;
    for (const char *p = in.p;
         (p = memmem(p, (size_t)(in.p + in.n - p), "\r\n.\r\n", 5)); p += 3)
        n++;
    return n;
}

static void check_lines(struct span out)
{
    const char *end = out.p + out.n;
    for (const char *p = out.p; p < end;) {
        const char *crlf = memmem(p, (size_t)(end - p), "\r\n", 2);
        assert(crlf && crlf - p >= 4 && crlf - p <= 510); /* RFC 5321 4.5.3.1.5 */
        assert(p[0] >= '2' && p[0] <= '5' && p[1] >= '0' && p[1] <= '5');
        assert(p[2] >= '0' && p[2] <= '9' && (p[3] == ' ' || p[3] == '-'));
        assert(!memchr(p, '\n', (size_t)(crlf - p)));
        p = crlf + 2;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < HEAD)
        return 0;
    struct mood m = sink_moods[data[0] % sink_moods_n];
    m.greylist_s = 0; /* the only thing where time decides about more than when */
    struct rng rng;
    memcpy(&rng.state, data + 1, sizeof rng.state);
    struct span in = {(const char *)data + HEAD, n - HEAD};
    struct buf whole = {0};
    struct buf cut = {0};
    struct sink_counts a = play(&m, in, NULL, &whole);
    struct sink_counts b = play(&m, in, &rng, &cut);
    assert(span_equal(buf_span(&whole), buf_span(&cut)));
    assert(a.messages == b.messages && a.recipients == b.recipients);
    assert(a.bytes == b.bytes && a.bare == b.bare && a.bad_commands == b.bad_commands);
    assert(a.messages + a.bare <= 2 * ends(in) && a.messages <= ends(in));
    assert(a.recipients >= a.messages && a.bytes <= in.n);
    check_lines(buf_span(&whole));
    /* Memory: no byte of input makes more than a fixed piece of output. */
    assert(whole.n <= 200 + 80 * in.n);
    buf_finish(&whole);
    buf_finish(&cut);
    return 0;
}
