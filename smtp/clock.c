#include <assert.h>

#include "smtp/inside.h"

enum {
    MINUTE_US = 60 * 1000 * 1000,
    SLOWEST_US = 1000 * 1000 / 500, /* a byte of the body: 500 a second */
    SLOW_MINUTES = 2,               /* so many of them end it */
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void session_set_deadline(struct smtp_session *s, int64_t now_us)
{
    s->deadline_us = INT64_MAX;
    if (s->ring_n == 0)
        return;
    enum smtp_stage stage = session_owed(s, 0)->stage;
    const int64_t *limit = s->params->limit_us;
    if (stage == SMTP_END) /* the body first: look for its progress */
        s->deadline_us = now_us + least(MINUTE_US, limit[SMTP_BODY]);
    else
        s->deadline_us = now_us + limit[stage];
}

void session_begin_body_clock(struct smtp_session *s, int64_t now_us)
{
    s->body_clock = (struct body_clock){
        .progress_at = s->composed,
        .progress_us = now_us,
        .minute_at = s->composed,
        .minute_us = now_us,
    };
}

/* A minute has passed. One without a byte is the body limit's own matter. One with too
 * few may be a window that was filled and then not emptied for a while; the second one,
 * with none between that was fast enough, is a trickle. */
static bool is_trickling(struct body_clock *b, int64_t now_us)
{
    int64_t gained = (int64_t)(b->progress_at - b->minute_at);
    int64_t due = (now_us - b->minute_us) / SLOWEST_US;
    if (gained >= due)
        b->slow_minutes = 0;
    else if (gained > 0)
        b->slow_minutes++;
    b->minute_us = now_us;
    b->minute_at = b->progress_at;
    return b->slow_minutes == SLOW_MINUTES;
}

/* Body and dot are on their way, and the peer has acknowledged the stream so far. Is it
 * too late? Else the next look is at deadline_us.
 *
 * The body's limit starts anew with each byte acknowledged (RFC 5321 4.5.3.2.5), but
 * bytes that only trickle end it too: a tarpit would hold us for days. When
 * the peer has the dot, it has its time to answer: since we gave the dot away, if the
 * first look thereafter finds it arrived; else since the look that does. */
static bool body_is_late(struct smtp_session *s, uint64_t acknowledged, int64_t now_us)
{
    struct body_clock *b = &s->body_clock;
    const int64_t *limit = s->params->limit_us;
    const struct command *dot = session_owed(s, 0);
    bool sent = dot->end <= s->sent;
    if (sent && dot->end <= acknowledged) {
        if (!b->arrived)
            b->arrived_us = b->late ? now_us : b->sent_us;
        b->arrived = true;
        s->deadline_us = b->arrived_us + limit[SMTP_END];
        return now_us >= s->deadline_us;
    }
    b->late |= sent;
    if (acknowledged > b->progress_at) {
        b->progress_at = acknowledged;
        b->progress_us = now_us;
    } else if (now_us - b->progress_us >= limit[SMTP_BODY]) {
        return true;
    }
    if (now_us - b->minute_us >= MINUTE_US && is_trickling(b, now_us))
        return true;
    s->deadline_us = least(b->progress_us + limit[SMTP_BODY], b->minute_us + MINUTE_US);
    if (sent)
        s->deadline_us = least(s->deadline_us, now_us + limit[SMTP_END]);
    return false;
}

int64_t smtp_session_deadline(const struct smtp_session *s)
{
    return s->over ? INT64_MAX : least(s->deadline_us, s->session_end_us);
}

void smtp_session_expire(struct smtp_session *s, int64_t now_us, struct smtp_wire wire)
{
    if (s->over || now_us < smtp_session_deadline(s))
        return;
    struct smtp_result why = {.how = SMTP_HOW_TIMEOUT};
    session_locate(s, wire, &why);
    const char *words;
    if (now_us >= s->session_end_us) {
        why.how = SMTP_HOW_SESSION_TIMEOUT;
        words = "the time of the whole session is over";
    } else if (s->handshake) {
        why.how = SMTP_HOW_TLS;
        why.timed_out = true;
        words = "no TLS handshake in time";
    } else if (s->ring_n == 0) {
        why.how = SMTP_HOW_GARBAGE;
        words = "half a reply that nothing had asked for";
    } else {
        uint64_t acknowledged = session_behind(s, wire.unacknowledged);
        if (session_owed(s, 0)->stage == SMTP_END &&
            !body_is_late(s, acknowledged, now_us))
            return;
        words = why.sending ? "the peer did not take our bytes in time"
                            : "no reply in time";
    }
    reply_words(&why.reply, words);
    session_break(s, &why);
}
