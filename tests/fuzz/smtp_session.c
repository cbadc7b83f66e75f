/* A session against a server that says and does anything. The input is a small program:
 * each byte an act, some with an argument or the words of the server behind it.
 *
 * Promises: each recipient that was lent is settled exactly once; none is delivered
 * without a 2xx read after its whole body and dot had left; nothing but our own
 * commands and bodies is written; a chunk has as many bytes as it says, and a session
 * that has said BDAT never says DATA; a session that is over stays so; every text is
 * clean.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "smtp/session.h"
#include "smtp/verdict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { TRANSACTIONS = 24, EACH = 4, OUT_MAX = 1 << 16 };

struct world {
    const uint8_t *p, *end; /* the program */
    struct smtp_params params;
    struct smtp_session *s;
    int64_t now_us;
    bool over, wants_tls;

    struct smtp_transaction t[TRANSACTIONS];
    struct smtp_recipient r[TRANSACTIONS][EACH];
    char body[TRANSACTIONS][32]; /* each names its transaction */
    struct iovec pieces[TRANSACTIONS][2];
    bool settled[TRANSACTIONS];
    bool body_left[TRANSACTIONS];  /* its body and its dot were written */
    bool good_since[TRANSACTIONS]; /* a line 2xx was heard behind its dot */
    int t_n;

    char out[OUT_MAX]; /* all that was written */
    size_t out_n, looked;
    long body_now;    /* whose body is being written; -1: nobody's */
    size_t chunk_end; /* in out: where the chunk under way ends; 0: none is */
    bool chunks;      /* BDAT was said */
};

static unsigned take(struct world *w)
{
    return w->p < w->end ? *w->p++ : 0;
}

/* bob and s3cret!! in base64, by themselves and as AUTH PLAIN wants them. */
#define USER     "Ym9i"
#define PASSWORD "czNjcmV0ISE="
#define PLAIN    "AGJvYgBzM2NyZXQhIQ=="

static void check_text(const struct world *w, const struct smtp_result *r)
{
    const char *text = r->reply.text;
    assert(strlen(text) == r->reply.text_n && utf8_valid(span_of(text)));
    for (const char *c = text; *c; c++)
        assert((unsigned char)*c >= ' ' && *c != 0x7f);
    if (w->params.auth_user && !smtp_session_greeted(w->s))
        assert(!strstr(text, "s3cret!!"));
}

static void check_settled(struct world *w, struct smtp_transaction *t)
{
    long i = t - w->t;
    assert(i >= 0 && i < w->t_n && !w->settled[i]);
    w->settled[i] = true;
    for (int k = 0; k < t->recipients_n; k++) {
        const struct smtp_result *r = &t->recipients[k].result;
        assert(t->recipients[k].done && r->how != SMTP_HOW_NONE);
        check_text(w, r);
        struct verdict v = verdict_of_result(r, true, NULL);
        if (v.outcome == OUTCOME_DELIVERED)
            assert(w->body_left[i] && w->good_since[i]);
        if (r->dot_left)
            assert(w->body_left[i]);
        bool unknown = r->stage == SMTP_END && r->reply.code >= 500; /* BDAT is */
        if (r->how == SMTP_HOW_UNTRIED && r->stage != SMTP_RCPT)     /* 452, 552 */
            assert(!w->body_left[i] || (unknown && smtp_session_wants_data(w->s)));
    }
}

static void fetch(struct world *w)
{
    unsigned signals;
    while ((signals = smtp_session_take(w->s))) {
        assert(!w->over);
        struct smtp_transaction *t;
        while ((t = smtp_session_settled(w->s)))
            check_settled(w, t);
        if (signals & SMTP_OVER)
            w->over = true;
        if (signals & SMTP_READY)
            assert(smtp_session_ready(w->s));
        w->wants_tls |= (signals & SMTP_WANTS_TLS) != 0;
    }
}

/* Every line that left is one of ours. */
static void look_at_output(struct world *w)
{
    static const char *const ours[] = {
        "EHLO me", "HELO me", "MAIL FROM:<a@b>", "RCPT TO:", "DATA",  "BDAT ", "RSET",
        "QUIT",    ".",       "body ",           "STARTTLS", "AUTH ", USER,    PASSWORD,
        PLAIN};
    for (;;) {
        char *line = w->out + w->looked;
        char *lf = memchr(line, '\n', w->out_n - w->looked);
        if (!lf)
            return;
        assert(lf > line && lf[-1] == '\r');
        bool known = false;
        for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
            known |= strncmp(line, ours[i], strlen(ours[i])) == 0;
        assert(known);
        size_t after = (size_t)(lf - w->out) + 1;
        assert(strncmp(line, "DATA", 4) != 0 || !w->chunks);
        if (strncmp(line, "BDAT ", 5) == 0) {
            char *last;
            w->chunk_end = after + strtoul(line + 5, &last, 10);
            w->chunks = true;
            assert(strncmp(last, " LAST\r\n", 7) == 0);
        } else if (strncmp(line, "body ", 5) == 0) {
            w->body_now = strtol(line + 5, NULL, 10);
            if (w->chunk_end) {
                assert(after == w->chunk_end);
                w->body_left[w->body_now] = true;
                w->chunk_end = 0;
                w->body_now = -1;
            }
        } else if (line[0] == '.') {
            if (w->body_now >= 0)
                w->body_left[w->body_now] = true;
            w->body_now = -1;
        }
        w->looked = after;
    }
}

static void write_out(struct world *w, size_t most)
{
    struct iovec iov[8];
    int n = smtp_session_output(w->s, iov, 1 + (int)(most % 8), w->now_us);
    assert(!w->over || n == 0);
    size_t taken = 0;
    for (int i = 0; i < n && taken < most; i++) {
        size_t k = iov[i].iov_len < most - taken ? iov[i].iov_len : most - taken;
        assert(w->out_n + k < OUT_MAX);
        memcpy(w->out + w->out_n, iov[i].iov_base, k);
        w->out_n += k;
        taken += k;
    }
    look_at_output(w);
    smtp_session_sent(w->s, taken, w->now_us);
}

static void submit(struct world *w, unsigned how)
{
    if (!smtp_session_ready(w->s) || w->t_n == TRANSACTIONS)
        return;
    int i = w->t_n++;
    size_t size = (size_t)snprintf(w->body[i], sizeof w->body[i], "body %d\r\n", i);
    w->pieces[i][0] = (struct iovec){w->body[i], 3};
    w->pieces[i][1] = (struct iovec){w->body[i] + 3, size - 3};
    w->t[i] = (struct smtp_transaction){
        .sender = "a@b",
        .recipients = w->r[i],
        .recipients_n = 1 + (int)(how % EACH),
        .body = w->pieces[i],
        .body_n = 2,
        .body_size = size,
        .dotted = smtp_session_wants_dots(w->s),
    };
    for (int k = 0; k < EACH; k++) {
        w->r[i][k].address = "b@x";
        w->r[i][k].address_n = 3;
    }
    smtp_session_submit(w->s, &w->t[i], w->now_us);
}

static struct smtp_wire wire(struct world *w)
{
    unsigned unacknowledged = take(w);
    return (struct smtp_wire){unacknowledged, unacknowledged & take(w)};
}

static const char *const phrases[] = {
    "220 hi\r\n",       "250 ok\r\n",         "250-PIPELINING\r\n",
    "250-SIZE 9\r\n",   "354 go\r\n",         "550 5.1.1 no\r\n",
    "421 bye\r\n",      "452 full\r\n",       "250-x\r\n",
    "503 no\r\n",       "500 what\r\n",       "250 PIPELINING\r\n",
    "250-STARTTLS\r\n", "250-AUTH PLAIN\r\n", "250-AUTH LOGIN\r\n",
    "334 x\r\n",        "235 ok\r\n",         "250-LIMITS MAILMAX=3 RCPTMAX=2\r\n",
    "535 s3cret!!\r\n", "250-CHUNKING\r\n",   "502 what\r\n",
    "250 2.1.5 ok\r\n",
};
enum { PHRASES = sizeof phrases / sizeof phrases[0] };

static void hear(struct world *w, const char *text, size_t n)
{
    for (int i = 0; i < w->t_n; i++)
        w->good_since[i] |= w->body_left[i] && memchr(text, '2', n);
    char *copy = mem_alloc(n);
    memcpy(copy, text, n);
    smtp_session_receive(w->s, copy, n, w->now_us);
    free(copy);
}

static void act(struct world *w, unsigned verb)
{
    switch (verb >> 4) {
    case 0: /* the server's own words */
    {
        size_t n = verb & 15, left = (size_t)(w->end - w->p);
        n = n < left ? n : left;
        hear(w, (const char *)w->p, n);
        w->p += n;
        break;
    }
    case 1:
        submit(w, verb);
        break;
    case 2:
        write_out(w, verb & 15);
        break;
    case 3:
        write_out(w, SIZE_MAX);
        break;
    case 4:
        w->now_us += (int64_t)(verb & 15) * 30 * 1000000;
        smtp_session_expire(w->s, w->now_us, wire(w));
        break;
    case 5:
        if (verb == 0x50 || verb == 0x51)
            smtp_session_lost(w->s, "lost\r\n\xff", verb & 1, wire(w), w->now_us);
        else if (verb == 0x52)
            smtp_session_tls_failed(w->s, "failed\r\n", w->now_us);
        else if (verb == 0x53)
            smtp_session_wire(w->s, wire(w));
        else if (w->wants_tls)
            smtp_session_secured(w->s, w->now_us);
        w->wants_tls &= verb < 0x54;
        break;
    case 6:
        if (verb == 0x60)
            smtp_session_finish(w->s, w->now_us);
        else if (verb == 0x61)
            smtp_session_stop(w->s, w->now_us);
        break;
    default: {
        const char *phrase = phrases[verb % PHRASES];
        hear(w, phrase, strlen(phrase));
        if (verb & 1)
            write_out(w, SIZE_MAX);
    }
    }
    fetch(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct world *w = mem_zero(1, sizeof *w);
    w->p = data;
    w->end = data + n;
    w->body_now = -1;
    w->params.helo_name = "me";
    unsigned settings = take(w);
    w->params.pipelining = settings % 3;
    w->params.tls = settings / 3 % 3;
    w->params.chunking = settings & 16;
    w->params.auth_user = settings & 32 ? "bob" : NULL;
    w->params.auth_password = "s3cret!!";
    w->params.auth_clear = settings & 64;
    w->params.session_limit_us = settings & 128 ? 400000000 : 0;
    for (int i = 0; i < SMTP_STAGE_COUNT; i++)
        w->params.limit_us[i] = (int64_t)smtp_stages[i].limit_ms * 1000;
    w->s = smtp_session_create(&w->params, 0);
    while (w->p < w->end)
        act(w, take(w));
    /* The end of every connection: nobody stays undecided. */
    smtp_session_lost(w->s, "end", false, (struct smtp_wire){0}, w->now_us);
    fetch(w);
    assert(w->over);
    for (int i = 0; i < w->t_n; i++)
        assert(w->settled[i]);
    check_text(w, smtp_session_fate(w->s));
    check_text(w, smtp_session_epilogue(w->s));
    smtp_session_destroy(w->s);
    free(w);
    return 0;
}
