#include <assert.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "base/transcript.h"
#include "sink/data.h"
#include "sink/scenario.h"

enum {
    GAP_US = 1000,       /* between two pieces of output that is cut */
    CUT_BYTES_MAX = 256, /* so much of what is said at once is cut finely, the rest … */
    CUT_REST = 4000,     /* … into pieces like this: nobody waits for a megabyte */
    RANDOM_PIECE_MAX = 40,
    COMPLAINT_TEXT_MAX = 200,
};

struct player {
    const struct scenario *scenario;
    int connection;
    int at, end; /* acts still to do */
    enum scenario_cut cut;
    struct rng rng;

    struct buf in; /* heard, not yet understood, from in_at on */
    size_t in_at;
    bool in_body;
    struct data_scan scan;
    bool chunk; /* BDAT was heard: its body has an end without a dot */
    uint64_t chunk_left;
    bool peer_gone;
    size_t pace; /* bytes to read at once */
    int64_t pace_us, read_due_us;

    struct buf out; /* said, not yet sent (under TLS: encrypted), from out_at on */
    size_t out_at;
    size_t burst; /* bytes sent of what is said at once */
    struct tls_context *tls_context;
    struct tls *tls; /* NULL: in clear */
    int64_t slow_us, piece_due_us;

    int64_t wait_until_us; /* 0: not waiting */
    enum player_end ends;
    bool shut;
    struct buf complaint;
};

/* ---- complaints ---- */

static void complain(struct player *p, const char *got, struct span bytes)
{
    const struct act *act = p->at < p->end ? &p->scenario->acts[p->at] : NULL;
    if (p->complaint.n)
        return;
    buf_printf(&p->complaint, "%s: connection %d: ", p->scenario->name, p->connection);
    if (act && act->kind == ACT_HEAR)
        buf_printf(&p->complaint, "line %d: expected \"C: %.*s\", ", act->line,
                   (int)act->text.n, act->text.p);
    else if (act)
        buf_printf(&p->complaint, "line %d: ", act->line);
    buf_add_str(&p->complaint, got);
    if (bytes.n) {
        buf_add_str(&p->complaint, " \"");
        text_clean(&p->complaint, bytes, COMPLAINT_TEXT_MAX);
        buf_add_char(&p->complaint, '"');
    }
    p->at = p->end;
    p->ends = PLAYER_CLOSE;
}

/* ---- hearing ---- */

static struct span heard(const struct player *p)
{
    if (!p->in.p) /* nothing was heard yet */
        return (struct span){0};
    return (struct span){p->in.p + p->in_at, p->in.n - p->in_at};
}

static void drop_heard(struct player *p, size_t n)
{
    p->in_at += n;
    if (p->in_at == p->in.n) {
        buf_reset(&p->in);
        p->in_at = 0;
    }
}

/* Nothing more to hear of now: true when nothing more will ever come. */
static bool must_give_up(struct player *p)
{
    if (p->peer_gone)
        complain(p, "the connection is gone; heard", heard(p));
    else if (heard(p).n >= SCENARIO_INPUT_MAX)
        complain(p, "got no end of it:", heard(p));
    return p->complaint.n > 0;
}

/* RFC 3030 2: how long the body is that follows. */
static void mind_chunk(struct player *p, struct span line)
{
    p->chunk = span_starts_nocase(line, SPAN("BDAT "));
    p->chunk_left = 0;
    for (size_t i = 5; p->chunk && i < line.n && line.p[i] >= '0' && line.p[i] <= '9';
         i++)
        p->chunk_left = p->chunk_left * 10 + (uint64_t)(line.p[i] - '0');
}

static bool hear_chunk(struct player *p)
{
    size_t n = heard(p).n < p->chunk_left ? heard(p).n : p->chunk_left;
    if (n)
        drop_heard(p, n);
    p->chunk_left -= n;
    if (p->chunk_left)
        must_give_up(p);
    return !p->chunk_left;
}

static bool hear_line(struct player *p, const struct act *act)
{
    struct span in = heard(p);
    const char *crlf = in.n ? memmem(in.p, in.n, "\r\n", 2) : NULL;
    if (!crlf) {
        must_give_up(p);
        return false;
    }
    struct span line = {in.p, (size_t)(crlf - in.p)};
    if (!transcript_match(act->text, line)) {
        complain(p, "got", line.n ? line : SPAN("\r\n"));
        return false;
    }
    mind_chunk(p, line);
    drop_heard(p, line.n + 2);
    return true;
}

/* A message, of any length, up to the line with the dot, which stays to be heard; or
 * the whole chunk behind a BDAT. */
static bool hear_body(struct player *p)
{
    struct span in = heard(p);
    bool ended = false;
    if (p->chunk)
        return hear_chunk(p);
    if (!p->in_body)
        p->scan = (struct data_scan){0};
    p->in_body = true;
    size_t n = in.n ? data_scan(&p->scan, in.p, in.n, &ended) : 0;
    drop_heard(p, n);
    if (!ended) {
        must_give_up(p);
        return false;
    }
    p->in_body = false;
    struct buf rest = {0};
    buf_add_str(&rest, ".\r\n");
    buf_add_span(&rest, heard(p));
    buf_finish(&p->in);
    p->in = rest;
    p->in_at = 0;
    return true;
}

static bool hear_any(struct player *p)
{
    if (!heard(p).n) {
        must_give_up(p);
        return false;
    }
    drop_heard(p, heard(p).n);
    return true;
}

/* ---- acting ---- */

static void say_garbage(struct player *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_add_char(&p->out, (char)(rng_next(&p->rng) >> 32));
}

static bool wait_over(struct player *p, const struct act *act, int64_t now_us)
{
    if (!p->wait_until_us)
        p->wait_until_us = now_us + act->us;
    if (now_us < p->wait_until_us)
        return false;
    p->wait_until_us = 0;
    return true;
}

/* Decrypt what has come. */
static void hear_cipher(struct player *p, const char *data, size_t n)
{
    char plain[4096];
    if (n)
        tls_receive(p->tls, data, n);
    for (size_t k; (k = tls_read(p->tls, plain, sizeof plain)) > 0;)
        buf_add(&p->in, plain, k);
    if (tls_state(p->tls) == TLS_FAILED)
        complain(p, "TLS:", span_of(tls_words(p->tls)));
}

static bool shake_hands(struct player *p)
{
    if (!p->tls) {
        assert(p->tls_context);
        p->tls = tls_server(p->tls_context);
        struct buf early = p->in; /* a ClientHello may be here already */
        p->in = (struct buf){0};
        hear_cipher(p, early.p + p->in_at, early.n - p->in_at);
        p->in_at = 0;
        buf_finish(&early);
    }
    if (tls_state(p->tls) == TLS_HANDSHAKE)
        must_give_up(p);
    return tls_state(p->tls) == TLS_OPEN;
}

static bool all_said(const struct player *p)
{
    return p->out_at == p->out.n && !(p->tls && tls_output(p->tls).n);
}

/* Do one act; false: it is not done yet. All but the saying waits until what was said
 * has left. */
static bool do_act(struct player *p, const struct act *act, int64_t now_us)
{
    bool said = all_said(p);
    switch (act->kind) {
    case ACT_SAY:
        buf_add_span(&p->out, act->text);
        return true;
    case ACT_GARBAGE:
        say_garbage(p, act->n);
        return true;
    case ACT_HEAR:
        return hear_line(p, act);
    case ACT_HEAR_BODY:
        return hear_body(p);
    case ACT_ANY:
        return hear_any(p);
    case ACT_QUIET:
        if (heard(p).n) {
            complain(p, "the client talks out of turn:", heard(p));
            return false;
        }
        return said && wait_over(p, act, now_us);
    case ACT_WAIT:
        return said && wait_over(p, act, now_us);
    case ACT_READ:
        p->pace = act->n;
        p->pace_us = act->us;
        p->read_due_us = 0;
        return said;
    case ACT_SLOW:
        if (said)
            p->slow_us = act->us;
        return said;
    case ACT_SHUTDOWN:
        p->shut = said;
        return said;
    case ACT_TLS:
        return (said || p->tls) && shake_hands(p);
    case ACT_TLS_CLOSE:
        if (said && p->tls)
            tls_close(p->tls);
        return said;
    case ACT_CLOSE:
    case ACT_RESET:
        if (said)
            p->ends = act->kind == ACT_CLOSE ? PLAYER_CLOSE : PLAYER_RESET;
        return said;
    case ACT_COUNT:
        break;
    }
    assert(false);
    return false;
}

static void play(struct player *p, int64_t now_us)
{
    while (p->at < p->end && p->ends == PLAYER_PLAYS &&
           do_act(p, &p->scenario->acts[p->at], now_us))
        p->at++;
    if (p->ends == PLAYER_PLAYS && p->at == p->end && heard(p).n)
        complain(p, "nothing more was expected, got", heard(p));
}

/* ---- public ---- */

struct player *player_create(const struct scenario *s, int connection,
                             enum scenario_cut cut, struct tls_context *tls,
                             int64_t now_us)
{
    struct player *p = mem_zero(1, sizeof *p);
    int section = connection < s->sections_n ? connection - 1 : s->sections_n - 1;
    p->scenario = s;
    p->connection = connection;
    p->at = s->sections[section];
    p->end = s->sections[section + 1];
    p->cut = s->hold ? SCENARIO_WHOLE : cut;
    p->tls_context = tls;
    p->pace = SIZE_MAX;
    p->rng.state = hash_bytes(s->name, strlen(s->name)) + (uint64_t)connection;
    play(p, now_us);
    return p;
}

void player_free(struct player *p)
{
    if (!p)
        return;
    tls_free(p->tls);
    buf_finish(&p->in);
    buf_finish(&p->out);
    buf_finish(&p->complaint);
    free(p);
}

void player_receive(struct player *p, const char *data, size_t n, int64_t now_us)
{
    if (p->tls)
        hear_cipher(p, data, n);
    else
        buf_add(&p->in, data, n);
    p->read_due_us = now_us + p->pace_us;
    play(p, now_us);
}

void player_lost(struct player *p, int64_t now_us)
{
    p->peer_gone = true;
    play(p, now_us);
    if (p->ends == PLAYER_PLAYS)
        p->ends = PLAYER_CLOSE;
}

/* How much of n bytes to send in one write. */
static size_t piece(struct player *p, size_t n)
{
    size_t max = CUT_REST;
    if (p->slow_us)
        return p->tls ? n : 1;
    if (p->cut == SCENARIO_WHOLE)
        return n;
    if (p->burst < CUT_BYTES_MAX)
        max = p->cut == SCENARIO_BYTES ? 1 : 1 + rng_below(&p->rng, RANDOM_PIECE_MAX);
    return n < max ? n : max;
}

/* Slowness is of plaintext: each byte is a record of its own. */
static void encrypt(struct player *p)
{
    size_t n = p->out.n - p->out_at;
    if (n && p->slow_us && tls_output(p->tls).n == 0)
        n = 1;
    else if (p->slow_us)
        return;
    struct iovec plain = {p->out.p + p->out_at, n};
    if (n)
        p->out_at += tls_write(p->tls, &plain, 1);
}

struct span player_output(struct player *p, int64_t now_us)
{
    play(p, now_us);
    if (now_us < p->piece_due_us || p->peer_gone)
        return (struct span){0};
    struct span out = {0};
    if (p->out.n > p->out_at) /* before the first word there is no buffer */
        out = (struct span){p->out.p + p->out_at, p->out.n - p->out_at};
    if (p->tls) {
        encrypt(p);
        out = tls_output(p->tls);
    }
    if (out.n)
        out.n = piece(p, out.n);
    return out;
}

void player_sent(struct player *p, size_t n, int64_t now_us)
{
    int64_t gap = p->slow_us ? p->slow_us : p->cut == SCENARIO_WHOLE ? 0 : GAP_US;
    p->burst += n;
    if (p->tls)
        tls_sent(p->tls, n);
    else
        p->out_at += n;
    assert(p->out_at <= p->out.n);
    p->piece_due_us = now_us + gap;
    if (p->out_at == p->out.n) {
        buf_reset(&p->out);
        p->out_at = 0;
    }
    if (all_said(p))
        p->burst = 0;
    play(p, now_us);
}

size_t player_appetite(const struct player *p, int64_t now_us)
{
    if (now_us < p->read_due_us || heard(p).n >= SCENARIO_INPUT_MAX)
        return 0;
    return p->pace;
}

int64_t player_deadline(const struct player *p, int64_t now_us)
{
    int64_t deadline = INT64_MAX;
    const int64_t times[] = {
        p->wait_until_us,
        all_said(p) ? 0 : p->piece_due_us,
        p->pace ? p->read_due_us : 0,
    };
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        if (times[i] > now_us && times[i] < deadline)
            deadline = times[i];
    return deadline;
}

enum player_end player_end(struct player *p)
{
    if (p->ends == PLAYER_PLAYS && p->shut) {
        p->shut = false;
        return PLAYER_SHUT;
    }
    return p->ends;
}

const char *player_complaint(struct player *p)
{
    return p->complaint.n ? buf_cstr(&p->complaint) : NULL;
}
