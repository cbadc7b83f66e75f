#include "smtp/inside.h"

#include <assert.h>

/* A line of the EHLO reply (RFC 5321 4.1.1.1); the first one names the server. */
void session_on_capability(void *arg, const char *line, size_t n, bool first)
{
    struct smtp_session *s = arg;
    if (first)
        return;
    struct span rest = span_trim((struct span){line, n});
    struct span keyword = {rest.p, 0};
    while (keyword.n < rest.n && rest.p[keyword.n] != ' ' && rest.p[keyword.n] != '\t')
        keyword.n++;
    if (span_equal_nocase(keyword, SPAN("PIPELINING")))
        s->offers_pipelining = true;
    if (!span_equal_nocase(keyword, SPAN("SIZE")))
        return;
    /* RFC 1870 4: 0 or nothing is no limit; so is nonsense, or too big a number. */
    s->offers_size = true;
    s->size_max = 0;
    struct span size = span_trim((struct span){rest.p + keyword.n, rest.n - keyword.n});
    uint64_t v = 0;
    for (size_t i = 0; i < size.n; i++)
        if (size.p[i] < '0' || size.p[i] > '9' || __builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(size.p[i] - '0'), &v))
            return;
    s->size_max = v;
}

static void exchange_over(struct smtp_session *s)
{
    assert(!s->pair[0].t);
    s->pair[0] = s->pair[1];
    s->pair[1] = (struct exchange){.next = NOTHING};
}

static void on_hello(struct smtp_session *s, bool good, const struct smtp_result *why)
{
    s->parser.on_line = NULL;
    int code = why->reply.code;
    if (good) {
        s->greeted = true;
        return;
    }
    s->offers_pipelining = s->offers_size = false;
    s->size_max = 0;
    if (!s->plain && (code == 500 || code == 501 || code == 502 || code == 504 ||
                      code == 550)) { /* 550: Exim falls back on it as well */
        s->plain = s->hello_due = true;
        return;
    }
    result_copy(&s->fate, why);
    s->finishing = true;
}

static void on_mail(struct smtp_session *s, bool good, const struct smtp_result *why)
{
    struct exchange *x = &s->pair[0];
    x->mail_answered = true;
    x->mail_good = good;
    if (good || !x->t)
        return;
    int code = why->reply.code;
    if ((code == 555 || code == 501) && s->offers_size)
        s->offers_size =
            false; /* RFC 5321 4.1.1.11: turn_back says MAIL again, plainly */
    else
        session_decide_rest(s, x, why);
}

static void on_rcpt(struct smtp_session *s, int i, bool good,
                    const struct smtp_result *why)
{
    struct exchange *x = &s->pair[0];
    if (good)
        x->accepted++;
    if (good || !x->t || !x->mail_good)
        return;
    /* RFC 5321 4.5.3.1.10: behind an accepted one these mean "too many". */
    int code = why->reply.code;
    if (x->accepted > 0 && (code == 452 || code == 552)) {
        struct smtp_result untried;
        result_set(&untried, SMTP_HOW_UNTRIED, why->stage, &why->reply);
        session_decide(s, x, i, &untried);
    } else {
        session_decide(s, x, i, why);
    }
}

static void on_data(struct smtp_session *s, bool good, const struct smtp_result *why)
{
    struct exchange *x = &s->pair[0];
    x->behind_dot = false;
    x->data_good = good;
    if (!x->t || !x->mail_good)
        return; /* an echo; turn_back knows what to do */
    if (good)
        x->next = SMTP_BODY;
    else
        session_decide_rest(s, x, why);
}

static void on_end(struct smtp_session *s, const struct smtp_result *why)
{
    if (s->pair[0].t)
        session_decide_rest(s, &s->pair[0], why);
    exchange_over(s);
}

void session_turn_back(struct smtp_session *s)
{
    struct exchange *x = &s->pair[0];
    if (s->over || s->ring_n > 0 || !x->busy)
        return;
    if (x->t && (x->mail_good || !x->mail_answered))
        return; /* somebody is still to be served */
    if (x->data_good && !x->mail_good && (x->accepted > 0 || x->t)) {
        session_end_garbage(s, SMTP_DATA, "a body wanted although MAIL was refused",
                            &s->parser.reply);
    } else if (x->data_good && x->accepted > 0) {
        /* Stopped meanwhile: a dot would send those accepted an empty message. */
        session_end_quietly(s);
    } else if (x->data_good) {
        /* RFC 2920 3.1: 354 without a recipient wants a dot; what follows is void. */
        x->next = SMTP_BODY;
        s->reset_due = true;
    } else if (x->t) {
        session_exchange_begin(x, x->t); /* SIZE= was refused: again without it */
    } else {
        s->reset_due |= x->mail_good;
        exchange_over(s);
    }
}

/* A reply to what has not left us. Two make sense: goodbye (421, RFC 5321 3.8), and a
 * refusal of the body that is under way. */
static void on_unasked(struct smtp_session *s, const struct reply *reply)
{
    bool sending;
    enum smtp_stage stage = session_stage_now(s, &sending);
    if (stage == SMTP_BODY)
        stage = SMTP_END;
    if (reply->code == 421 || (stage == SMTP_END && reply->code >= 400)) {
        struct smtp_result why;
        result_set(&why, SMTP_HOW_REPLY, stage, reply);
        session_end(s, &why);
    } else {
        session_end_garbage(s, stage, "nothing had asked for this reply", reply);
    }
}

/* Every meaning of a reply. */
void session_on_reply(struct smtp_session *s, const struct reply *reply, int64_t now_us)
{
    if (s->ring_n == 0 || session_owed(s, 0)->end > s->sent) {
        on_unasked(s, reply);
        return;
    }
    enum smtp_stage stage = session_owed(s, 0)->stage;
    int digit = reply->code / 100;
    bool good = digit == smtp_stages[stage].want;
    if (!good && digit < 4) {
        session_end_garbage(s, stage, "this reply cannot be here", reply);
        return;
    }
    struct smtp_result why;
    result_set(&why, SMTP_HOW_REPLY, stage, reply);
    if (reply->code == 421 && stage != SMTP_QUIT) {
        session_end(s, &why);
        return;
    }

    struct command c = session_pop(s, now_us);
    struct smtp_transaction *t = s->pair[0].t;
    int64_t since_us = stage == SMTP_END ? s->body_sent_us : c.since_us;
    if (t)
        session_note_time(&t->timings, stage, now_us - since_us);
    else if (!s->greeted)
        session_note_time(&s->timings, stage, now_us - since_us);
    switch (stage) {
    case SMTP_OPENING:
        if (good) {
            s->hello_due = true;
        } else {
            result_copy(&s->fate, &why);
            s->finishing = true;
        }
        break;
    case SMTP_HELO:
        on_hello(s, good, &why);
        break;
    case SMTP_MAIL:
        on_mail(s, good, &why);
        break;
    case SMTP_RCPT:
        on_rcpt(s, c.recipient, good, &why);
        break;
    case SMTP_DATA:
        on_data(s, good, &why);
        break;
    case SMTP_END:
        on_end(s, &why);
        break;
    case SMTP_RSET:
        if (!good)
            session_end(s, &why);
        break;
    case SMTP_QUIT:
        if (!good)
            result_copy(&s->epilogue, &why);
        session_end_quietly(s);
        break;
    case SMTP_BODY:
    case SMTP_STAGE_COUNT:
        assert(false); /* no reply has this stage */
    }
    session_turn_back(s);
}
