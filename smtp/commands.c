#include "smtp/inside.h"

#include <assert.h>

static const char dot[DOT_SIZE] = {'.', '\r', '\n'};

enum smtp_stage session_next_stage(const struct smtp_session *s, int *which_out)
{
    *which_out = 0;
    for (int i = 0; i < 2; i++)
        if (s->pair[i].busy && s->pair[i].next != NOTHING) {
            *which_out = i;
            bool reset = s->pair[i].next == SMTP_MAIL && s->reset_due;
            return reset ? SMTP_RSET : s->pair[i].next;
        }
    if (s->finishing)
        return SMTP_QUIT;
    if (s->params->paced && s->reset_due)
        return SMTP_RSET;
    return s->due;
}

/* RFC 2920 3.1: EHLO, DATA, QUIT and others end a group; a body may open the next one.
 */
static bool may_write(struct smtp_session *s, enum smtp_stage stage)
{
    if (stage == NOTHING || s->handshake)
        return false;
    if (s->ring_n == 0) /* codes rule 6: not before what nobody asked for is read */
        return !reply_unfinished(&s->parser);
    if (!s->offers.pipelining || s->params->pipelining == SMTP_PIPELINING_OFF ||
        stage == SMTP_QUIT)
        return false;
    switch ((enum smtp_stage)session_owed(s, s->ring_n - 1)->stage) {
    case SMTP_RSET:
    case SMTP_MAIL:
        return true;
    case SMTP_RCPT: /* without DATA the group ends here: what follows is another's */
        return stage == SMTP_RCPT || stage == SMTP_DATA;
    case SMTP_END:
        return s->params->pipelining == SMTP_PIPELINING_AUTO;
    case SMTP_OPENING:
    case SMTP_HELO:
    case SMTP_STARTTLS:
    case SMTP_AUTH:
    case SMTP_DATA:
    case SMTP_BODY:
    case SMTP_QUIT:
    case SMTP_STAGE_COUNT:
        break;
    }
    return false;
}

static char *put(char *p, const char *text, size_t n)
{
    memcpy(p, text, n);
    return p + n;
}
#define PUT(p, literal) put((p), (literal), sizeof(literal) - 1)

static char *put_size(char *p, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    return put(p, digits + at, sizeof digits - at);
}

/* RFC 3030 2. */
static void write_chunk_line(struct smtp_session *s, size_t size)
{
    char *p = PUT(s->chunk_line, "BDAT ");
    p = put_size(p, size);
    p = PUT(p, " LAST\r\n");
    s->chunk_line_n = (size_t)(p - s->chunk_line);
    s->chunk_line_at = 0;
}

static void write_body(struct smtp_session *s, struct exchange *x, int64_t now_us)
{
    assert(s->text.n == 0 && s->pieces_n == 0);
    session_begin_body_clock(s, now_us);
    size_t size = 0;
    if (x->t) { /* else the lone dot that ends a body nobody gets */
        for (int i = 0; i < x->t->body_n; i++)
            size += x->t->body[i].iov_len;
        assert(size == x->t->body_size);
        s->piece = x->t->body;
        s->pieces_n = x->t->body_n;
        s->piece_at = 0;
    }
    if (session_chunks(s)) {
        write_chunk_line(s, size);
        s->composed += s->chunk_line_n + size;
        x->body_end = s->composed - 1;
    } else {
        s->dot_at = 0;
        x->body_end = s->composed + size;
        s->composed = x->body_end + DOT_SIZE;
    }
    x->next = NOTHING;
    session_push(s, SMTP_END, 0, now_us);
}

static char *put_mail(const struct smtp_session *s, const struct exchange *x, char *p)
{
    size_t sender_n = strlen(x->t->sender);
    assert(sender_n < COMMAND_MAX / 2);
    p = PUT(p, "MAIL FROM:<");
    p = put(p, x->t->sender, sender_n);
    p = PUT(p, ">");
    if (!s->offers.size)
        return p;
    p = PUT(p, " SIZE=");
    return put_size(p, x->t->body_size - x->t->dots);
}

static char *put_rcpt(const struct smtp_recipient *r, char *p)
{
    assert(r->address_n > 0 && r->address_n < COMMAND_MAX / 2);
    p = PUT(p, "RCPT TO:<");
    p = put(p, r->address, r->address_n);
    return PUT(p, ">");
}

static char *put_hello(const struct smtp_session *s, char *p)
{
    size_t name_n = strlen(s->params->helo_name);
    assert(name_n < COMMAND_MAX / 2);
    p = s->plain ? PUT(p, "HELO ") : PUT(p, "EHLO ");
    return put(p, s->params->helo_name, name_n);
}

/* The end of one command line. Nothing that came from a list, a template or the
 * settings may ever begin a command of its own. */
static void finish_line(struct smtp_session *s, char *p)
{
    char *line = s->text.p + s->text.n;
    bool clean = true;
    for (const char *c = line; c < p; c++)
        clean &= (unsigned char)*c >= ' ' && *c != 0x7f;
    assert(clean);
    p = PUT(p, "\r\n");
    s->text.n += (size_t)(p - line);
    s->composed += (size_t)(p - line);
}

/* Every command of the dialogue. False: nothing may be written now. */
static bool write_one(struct smtp_session *s, int64_t now_us)
{
    int which;
    enum smtp_stage stage = session_next_stage(s, &which);
    if (!may_write(s, stage))
        return false;
    struct exchange *x = &s->pair[which];
    int recipient = 0;
    buf_reserve(&s->text, stage == SMTP_AUTH ? AUTH_LINE_MAX + 2 : COMMAND_MAX);
    char *p = s->text.p + s->text.n;
    switch (stage) {
    case SMTP_HELO:
        p = put_hello(s, p);
        s->due = NOTHING;
        s->parser.on_line = s->plain ? NULL : session_on_capability;
        break;
    case SMTP_STARTTLS:
        p = PUT(p, "STARTTLS");
        s->due = NOTHING;
        s->handshake_us = now_us;
        break;
    case SMTP_AUTH:
        p = session_put_auth(s, p);
        s->due = NOTHING;
        s->auth_line++;
        break;
    case SMTP_RSET:
        p = PUT(p, "RSET");
        s->reset_due = false;
        break;
    case SMTP_MAIL:
        p = put_mail(s, x, p);
        x->behind_dot = s->ring_n > 0 && session_owed(s, 0)->stage == SMTP_END;
        x->next = SMTP_RCPT;
        break;
    case SMTP_RCPT:
        recipient = x->written++;
        p = put_rcpt(&x->t->recipients[recipient], p);
        if (x->written == x->recipients_n)
            x->next = session_chunks(s) ? NOTHING : SMTP_DATA;
        break;
    case SMTP_DATA:
        p = PUT(p, "DATA");
        x->next = NOTHING;
        break;
    case SMTP_BODY:
        write_body(s, x, now_us);
        return true;
    case SMTP_QUIT:
        p = PUT(p, "QUIT");
        break;
    case SMTP_OPENING:
    case SMTP_END:
    case SMTP_STAGE_COUNT:
        assert(false); /* no command has this stage */
    }
    finish_line(s, p);
    session_push(s, stage, recipient, now_us);
    return true;
}

int smtp_session_output(struct smtp_session *s, struct iovec *iov, int max,
                        int64_t now_us)
{
    if (s->over)
        return 0;
    while (write_one(s, now_us))
        ;
    int n = 0;
    if (s->chunk_line_at < s->chunk_line_n && n < max)
        iov[n++] = (struct iovec){s->chunk_line + s->chunk_line_at,
                                  s->chunk_line_n - s->chunk_line_at};
    size_t skip = s->piece_at;
    for (int i = 0; i < s->pieces_n && n < max; i++, skip = 0)
        if (s->piece[i].iov_len > skip)
            iov[n++] = (struct iovec){(char *)s->piece[i].iov_base + skip,
                                      s->piece[i].iov_len - skip};
    if (s->dot_at < DOT_SIZE && n < max)
        iov[n++] =
            (struct iovec){(char *)(uintptr_t)dot + s->dot_at, DOT_SIZE - s->dot_at};
    if (s->text_at < s->text.n && n < max)
        iov[n++] = (struct iovec){s->text.p + s->text_at, s->text.n - s->text_at};
    return n;
}

static void body_is_sent(struct smtp_session *s, int64_t now_us)
{
    const struct command *c = session_owed(s, 0);
    s->body_clock.sent_us = now_us;
    if (s->pair[0].t)
        session_note_time(&s->pair[0].t->timings, SMTP_BODY, now_us - c->since_us);
    int64_t end_us = now_us + s->params->limit_us[SMTP_END];
    if (end_us < s->deadline_us)
        s->deadline_us = end_us;
}

/* Of *n bytes that were sent, take those from *at on. Is all up to size gone? */
static bool advance(size_t *at, size_t size, size_t *n)
{
    size_t left = size - *at;
    size_t k = *n < left ? *n : left;
    *at += k;
    *n -= k;
    return *at == size;
}

void smtp_session_sent(struct smtp_session *s, size_t n, int64_t now_us)
{
    if (s->over)
        return;
    uint64_t before = s->sent;
    s->sent += n;
    assert(s->sent <= s->composed);
    if (s->ring_n > 0) {
        const struct command *c = session_owed(s, 0);
        if (c->stage == SMTP_END && before < c->end && c->end <= s->sent)
            body_is_sent(s, now_us);
    }
    if (!advance(&s->chunk_line_at, s->chunk_line_n, &n))
        return;
    while (s->pieces_n > 0) {
        if (!advance(&s->piece_at, s->piece->iov_len, &n))
            return;
        s->piece++;
        s->pieces_n--;
        s->piece_at = 0;
    }
    if (!advance(&s->dot_at, DOT_SIZE, &n))
        return;
    s->text_at += n;
    if (s->text_at == s->text.n) {
        buf_reset(&s->text);
        s->text_at = 0;
    }
}

bool smtp_session_is_secret(const struct smtp_session *s)
{
    return s->text_at < s->text.n && s->ring_n > 0 &&
           s->ring[s->ring_first].stage == SMTP_AUTH;
}
