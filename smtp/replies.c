#include "smtp/inside.h"

#include <assert.h>

/* False: no number, or too big a one. */
static bool read_number(struct span digits, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < digits.n; i++)
        if (digits.p[i] < '0' || digits.p[i] > '9' ||
            __builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(digits.p[i] - '0'), &v))
            return false;
    *out = v;
    return digits.n > 0;
}

/* Cut the first word off. */
static struct span take_word(struct span *rest)
{
    *rest = span_trim(*rest);
    struct span word = {rest->p, 0};
    while (word.n < rest->n && rest->p[word.n] != ' ' && rest->p[word.n] != '\t')
        word.n++;
    rest->p += word.n;
    rest->n -= word.n;
    return word;
}

static void offer_mechanism(struct smtp_session *s, struct span name)
{
    s->offers.auth_plain |= span_equal_nocase(name, SPAN("PLAIN"));
    s->offers.auth_login |= span_equal_nocase(name, SPAN("LOGIN"));
}

/* RFC 9422 4: NAME=NUMBER; what cannot be understood is ignored. */
static void offer_limit(struct smtp_session *s, struct span limit)
{
    const struct span mail = SPAN("MAILMAX="), rcpt = SPAN("RCPTMAX=");
    bool is_mail = span_starts_nocase(limit, mail);
    if (!is_mail && !span_starts_nocase(limit, rcpt))
        return;
    struct span digits = {limit.p + mail.n, limit.n - mail.n};
    read_number(digits, is_mail ? &s->offers.mail_max : &s->offers.rcpt_max);
}

/* A line of the EHLO reply (RFC 5321 4.1.1.1); the first one names the server. */
void session_on_capability(void *arg, const char *line, size_t n, bool first)
{
    struct smtp_session *s = arg;
    if (first)
        return;
    const struct span auth_is = SPAN("AUTH="); /* from before RFC 2554 */
    struct span rest = {line, n};
    struct span keyword = take_word(&rest);
    if (span_equal_nocase(keyword, SPAN("PIPELINING"))) {
        s->offers.pipelining = true;
    } else if (span_equal_nocase(keyword, SPAN("CHUNKING"))) {
        s->offers.chunking = true;
    } else if (span_equal_nocase(keyword, SPAN("STARTTLS"))) {
        s->offers.starttls = true;
    } else if (span_equal_nocase(keyword, SPAN("SIZE"))) {
        /* RFC 1870 4: 0 or nothing is no limit; so is nonsense, or too big a number. */
        s->offers.size = true;
        if (!read_number(span_trim(rest), &s->offers.size_max))
            s->offers.size_max = 0;
    } else if (span_equal_nocase(keyword, SPAN("LIMITS"))) {
        for (struct span w; (w = take_word(&rest)).n > 0;)
            offer_limit(s, w);
    } else if (span_equal_nocase(keyword, SPAN("AUTH")) ||
               span_starts_nocase(keyword, auth_is)) {
        if (keyword.n > auth_is.n)
            offer_mechanism(
                s, (struct span){keyword.p + auth_is.n, keyword.n - auth_is.n});
        for (struct span w; (w = take_word(&rest)).n > 0;)
            offer_mechanism(s, w);
    }
}

static void exchange_over(struct smtp_session *s)
{
    assert(!s->pair[0].t);
    s->pair[0] = s->pair[1];
    s->pair[1] = (struct exchange){.next = NOTHING};
}

static void give_up(struct smtp_session *s, const struct smtp_result *why)
{
    result_copy(&s->fate, why);
    s->finishing = true;
}

static void begin_auth(struct smtp_session *s)
{
    const char *trouble = NULL;
    if (!s->secured && !s->params->auth_clear)
        trouble = "AUTH is not allowed without TLS";
    else if (!s->offers.auth_plain && !s->offers.auth_login)
        trouble = "AUTH PLAIN and AUTH LOGIN are not offered";
    if (trouble)
        session_give_up(s, SMTP_HOW_AUTH, SMTP_AUTH, trouble);
    else
        s->due = SMTP_AUTH;
}

/* Behind a good EHLO, or behind STARTTLS refused: what stands before the first MAIL. */
static void go_on(struct smtp_session *s, bool tls_refused)
{
    bool wants_tls = s->params->tls != SMTP_TLS_NONE && !s->secured && !tls_refused;
    if (wants_tls && s->offers.starttls)
        s->due = SMTP_STARTTLS;
    else if (wants_tls && s->params->tls == SMTP_TLS_REQUIRE)
        session_give_up(s, SMTP_HOW_TLS, SMTP_STARTTLS, "STARTTLS is not offered");
    else if (s->params->auth_user)
        begin_auth(s);
    else
        s->greeted = true;
}

static void on_hello(struct smtp_session *s, bool good, const struct smtp_result *why)
{
    s->parser.on_line = NULL;
    int code = why->reply.code;
    if (good) {
        go_on(s, false);
        return;
    }
    memset(&s->offers, 0, sizeof s->offers);
    if (!s->plain && (code == 500 || code == 501 || code == 502 || code == 504 ||
                      code == 550)) { /* 550: Exim falls back on it as well */
        s->plain = true;
        s->due = SMTP_HELO;
        return;
    }
    give_up(s, why);
}

static void on_starttls(struct smtp_session *s, bool good,
                        const struct smtp_result *why, int64_t now_us)
{
    if (good) {
        s->handshake = true;
        s->deadline_us = now_us + s->params->limit_us[SMTP_STARTTLS];
        s->signals |= SMTP_WANTS_TLS;
    } else if (s->params->tls == SMTP_TLS_REQUIRE) {
        give_up(s, why);
    } else {
        session_note_time(&s->timings, SMTP_STARTTLS, now_us - s->handshake_us);
        go_on(s, true);
    }
}

/* RFC 4954 4: 334 asks for the next line. */
static void on_auth(struct smtp_session *s, const struct smtp_result *why)
{
    int code = why->reply.code;
    if (code < 300)
        s->greeted = true;
    else if (code >= 400)
        give_up(s, why);
    else if (session_auth_goes_on(s))
        s->due = SMTP_AUTH;
    else
        session_end_garbage(s, SMTP_AUTH, "all was said already", &why->reply);
}

static void on_mail(struct smtp_session *s, bool good, const struct smtp_result *why)
{
    struct exchange *x = &s->pair[0];
    x->mail_answered = true;
    x->mail_good = good;
    if (good || !x->t)
        return;
    int code = why->reply.code;
    if ((code == 555 || code == 501) && s->offers.size)
        s->offers.size = false; /* RFC 5321 4.1.1.11: turn_back says it again without */
    else if (code == 503 && x->behind_refused)
        s->reset_due = true; /* and here behind RSET: see on_end */
    else
        session_decide_rest(s, x, why);
}

static void begin_body(struct exchange *x)
{
    x->next = SMTP_BODY;
    x->t->body_due = true;
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

/* Without DATA the body follows the last reply of the envelope, if anybody takes it.
 * And without its reply, who is taken behind a refused MAIL tells that replies have
 * changed places: the refusal may be that of the chunk before. */
static void on_envelope(struct smtp_session *s)
{
    struct exchange *x = &s->pair[0];
    bool swapped = !x->mail_good && x->accepted > 0;
    if (swapped && s->held && !x->behind_refused) {
        session_end_garbage(s, SMTP_RCPT, "a recipient taken although MAIL was refused",
                            &s->parser.reply);
        return;
    }
    x->behind_dot = false;
    if (x->t && x->mail_good)
        begin_body(x);
}

static void on_data(struct smtp_session *s, bool good, const struct smtp_result *why)
{
    struct exchange *x = &s->pair[0];
    x->behind_dot = false;
    x->data_good = good;
    if (!x->t || !x->mail_good)
        return; /* an echo; turn_back knows what to do */
    if (good)
        begin_body(x);
    else
        session_decide_rest(s, x, why);
}

/* A server that says so of BDAT does not know the command, though it offered it. */
static bool is_chunk_unknown(int code)
{
    return code >= 500 && code <= 504;
}

/* Nobody has the message, and the server may have taken its lines for commands: nothing
 * more is said here. It goes by DATA on a new connection. */
static void end_unknown_chunk(struct smtp_session *s, const struct reply *reply)
{
    struct smtp_result why;
    result_set(&why, SMTP_HOW_UNTRIED, SMTP_END, reply);
    s->wants_data = true;
    session_end(s, &why);
}

/* Is this the end of the session? Where every good reply is a 250, one too many would
 * deliver a message: there is no 354 that it would have to be. But 2.1.X (RFC 3463) is
 * said of addresses alone. */
static bool ends_at_chunk(struct smtp_session *s, const struct reply *reply)
{
    if (is_chunk_unknown(reply->code)) {
        end_unknown_chunk(s, reply);
    } else if (reply->enhanced[0] == 2 && reply->enhanced[1] == 1) {
        s->wants_data = true;
        session_end_garbage(s, SMTP_END, "this reply is about an address", reply);
    }
    return s->over;
}

/* Whether a transaction outlives the refusal of its last chunk RFC 3030 leaves open, so
 * RSET comes before the next. If that one's MAIL has left already it may be said to
 * come within a transaction: 503. */
static void on_chunk(struct smtp_session *s, bool good)
{
    s->chunk_known = true;
    if (good)
        return;
    if (s->pair[1].behind_dot)
        s->pair[1].behind_refused = true;
    else
        s->reset_due = true;
}

static void on_end(struct smtp_session *s, bool good, const struct smtp_result *why)
{
    if (session_chunks(s))
        on_chunk(s, good);
    if (s->pair[0].t) {
        if (s->pair[1].behind_dot) /* given out once that is answered as well */
            s->held = s->pair[0].t;
        session_decide_rest(s, &s->pair[0], why);
    }
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
        /* SIZE= was refused, or RSET was wanted: again. */
        session_exchange_begin(x, x->t, x->recipients_n);
    } else {
        s->reset_due |= x->mail_good;
        exchange_over(s);
    }
}

/* Is a body under way, so that a refusal that nothing had asked for may be its own? A
 * chunk that the peer has heard nothing of is not: that would be somebody else's. */
static bool may_be_refused(struct smtp_session *s)
{
    if (!session_chunks(s))
        return true;
    const struct exchange *x = &s->pair[0];
    return s->ring_n > 0 && x->t &&
           session_owed(s, 0)->end - x->t->body_size <=
               session_behind(s, s->wire.unacknowledged);
}

/* A reply to what has not left us. Two make sense: goodbye (421, RFC 5321 3.8), and a
 * refusal of the body that is under way. */
static void on_unasked(struct smtp_session *s, const struct reply *reply)
{
    bool sending;
    enum smtp_stage stage = session_stage_now(s, &sending);
    if (stage == SMTP_BODY)
        stage = SMTP_END;
    bool refuses = stage == SMTP_END && reply->code >= 400 && may_be_refused(s);
    if (refuses && session_chunks(s) && is_chunk_unknown(reply->code)) {
        end_unknown_chunk(s, reply);
    } else if (reply->code == 421 || refuses) {
        struct smtp_result why;
        result_set(&why, SMTP_HOW_REPLY, stage, reply);
        session_end(s, &why);
    } else {
        session_end_garbage(s, stage, "nothing had asked for this reply", reply);
    }
}

/* What has not left us cannot have been answered; and the reply to a dot comes behind
 * the acknowledgement of that dot, so where the kernel is asked, a reply before it is
 * about something else. */
bool session_is_asked(struct smtp_session *s)
{
    if (s->ring_n == 0)
        return false;
    const struct command *c = session_owed(s, 0);
    uint64_t unacknowledged = c->stage == SMTP_END ? s->wire.unacknowledged : 0;
    return c->end <= session_behind(s, unacknowledged);
}

/* Of the transaction, or of the session before its first one; STARTTLS takes until the
 * handshake is done. */
static void note_reply_time(struct smtp_session *s, const struct command *c,
                            int64_t now_us)
{
    enum smtp_stage stage = c->stage;
    struct smtp_transaction *t = s->pair[0].t;
    int64_t since_us = stage == SMTP_END ? s->body_clock.sent_us : c->since_us;
    if (t)
        session_note_time(&t->timings, stage, now_us - since_us);
    else if (!s->greeted && stage != SMTP_STARTTLS)
        session_note_time(&s->timings, stage, now_us - since_us);
}

/* Every meaning of a reply. */
void session_on_reply(struct smtp_session *s, const struct reply *reply, int64_t now_us)
{
    if (!s->asked) {
        on_unasked(s, reply);
        return;
    }
    enum smtp_stage stage = session_owed(s, 0)->stage;
    int digit = reply->code / 100;
    bool good = digit == smtp_stages[stage].want;
    bool asks = stage == SMTP_AUTH && reply->code == 334;
    if (!good && !asks && digit < 4) {
        session_end_garbage(s, stage, "this reply cannot be here", reply);
        return;
    }
    struct smtp_result why;
    result_set(&why, SMTP_HOW_REPLY, stage, reply);
    if (reply->code == 421 && stage != SMTP_QUIT) {
        session_end(s, &why);
        return;
    }

    if (stage == SMTP_END && session_chunks(s) && ends_at_chunk(s, reply))
        return;

    struct command c = session_pop(s, now_us);
    note_reply_time(s, &c, now_us);
    switch (stage) {
    case SMTP_OPENING:
        if (good)
            s->due = SMTP_HELO;
        else
            give_up(s, &why);
        break;
    case SMTP_HELO:
        on_hello(s, good, &why);
        break;
    case SMTP_STARTTLS:
        on_starttls(s, good, &why, now_us);
        break;
    case SMTP_AUTH:
        on_auth(s, &why);
        break;
    case SMTP_MAIL:
        on_mail(s, good, &why);
        break;
    case SMTP_RCPT:
        on_rcpt(s, c.recipient, good, &why);
        if (session_chunks(s) && s->ring_n == 0 && s->pair[0].next == NOTHING)
            on_envelope(s);
        break;
    case SMTP_DATA:
        on_data(s, good, &why);
        break;
    case SMTP_END:
        on_end(s, good, &why);
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
    if (!s->over && s->ring_n == 0)
        session_release(s, NULL);
}
