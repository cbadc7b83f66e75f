#include "sink/server.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sink/command.h"
#include "sink/inside.h"

/* Output up to `end` may leave when `due` has come. */
struct mark {
    uint64_t end;
    int64_t due_us;
};

/* ---- replies ---- */

void server_reply(struct sink_server *s, const char *text)
{
    buf_add_str(&s->out, text);
    buf_add(&s->out, "\r\n", 2);
}

void server_close(struct sink_server *s)
{
    s->state = STATE_CLOSED;
}

void server_reply_bad(struct sink_server *s, const char *text)
{
    s->world->counts.bad_commands++;
    if (++s->bad_commands <= SINK_BAD_COMMANDS_MAX) {
        server_reply(s, text);
        return;
    }
    server_reply(s, "421 4.7.0 too many errors");
    server_close(s);
}

/* Replies made since `before` wait until the mood's delay has passed. */
static void delay_from(struct sink_server *s, size_t before)
{
    if (s->out.n == before)
        return;
    uint64_t end = s->taken + s->out.n;
    if (!s->mood->delay_ms) {
        s->released = end;
        return;
    }
    struct mark m = {end, s->now_us + (int64_t)s->mood->delay_ms * 1000};
    buf_add(&s->marks, &m, sizeof m);
}

static bool next_mark(const struct sink_server *s, struct mark *out)
{
    if (s->marks_at == s->marks.n)
        return false;
    memcpy(out, s->marks.p + s->marks_at, sizeof *out);
    return true;
}

/* ---- what a mood decides ---- */

/* The reply that an otherwise good recipient gets instead of 250; NULL: none. */
static const char *trouble(struct sink_server *s, struct span address)
{
    const struct mood *m = s->mood;
    if (server_hit(address, m->refuse_percent, 0)) {
        s->world->counts.refused++;
        return m->refuse_reply;
    }
    bool deferred = server_hit(address, m->defer_percent, 16);
    if (!deferred && !m->greylist_s)
        return NULL;
    int64_t seen_ms = world_seen_ms(s->world, address, s->now_us);
    if (seen_ms < (int64_t)m->greylist_s * 1000) {
        s->world->counts.deferred++;
        return m->greylist_s ? "450 4.7.1 greylisted, please try again later"
                             : m->defer_reply;
    }
    return NULL;
}

/* ---- commands ---- */

void server_forget_transaction(struct sink_server *s)
{
    s->mail_open = false;
    s->chunks = false;
    s->chunk_failed = false;
    s->recipients = 0;
    buf_reset(&s->sender);
    buf_reset(&s->rcpts);
}

/* What had left before the refusal of a chunk was read is no mistake of the client. */
static bool is_failed(struct sink_server *s)
{
    if (s->chunk_failed)
        server_reply(s, "503 5.5.1 RSET first");
    return s->chunk_failed;
}

static void on_mail(struct sink_server *s, struct span rest)
{
    const struct mood *m = s->mood;
    struct span path;
    if (m->tls_needed && !s->secured) {
        server_reply(s, "530 5.7.0 Must issue STARTTLS first");
        return;
    }
    if (m->auth && !s->auth.done) {
        server_reply(s, "530 5.7.0 Authentication required");
        return;
    }
    command_spaces(&rest);
    if (!command_word(&rest, SPAN("FROM:"))) {
        server_reply_bad(s, "501 5.5.4 syntax: MAIL FROM:<address>");
        return;
    }
    command_spaces(&rest); /* RFC 5321 3.3: not allowed, and common */
    if (!command_path(&rest, &path) || (path.n && !command_address_good(path))) {
        server_reply_bad(s, "501 5.1.7 sender address is none");
        return;
    }
    if (is_failed(s))
        return;
    if (!s->greeted || s->mail_open) {
        server_reply_bad(s, s->greeted ? "503 5.5.1 MAIL already given"
                                       : "503 5.5.1 EHLO or HELO first");
        return;
    }
    if (m->close_after && s->messages >= m->close_after) {
        server_reply(s, m->close_reply);
        server_close(s);
        return;
    }
    const char *wrong = command_mail_parameters(rest, s->extended);
    if (wrong) {
        server_reply_bad(s, wrong);
        return;
    }
    s->mail_open = true;
    buf_add_span(&s->sender, path);
    server_reply(s, "250 2.1.0 sender ok");
}

static void on_rcpt(struct sink_server *s, struct span rest)
{
    struct span path;
    command_spaces(&rest);
    if (!command_word(&rest, SPAN("TO:"))) {
        server_reply_bad(s, "501 5.5.4 syntax: RCPT TO:<address>");
        return;
    }
    command_spaces(&rest);
    /* RFC 5321 4.1.1.3: postmaster is the one address without a domain. */
    if (!command_path(&rest, &path) ||
        !(command_address_good(path) || span_equal_nocase(path, SPAN("postmaster")))) {
        server_reply_bad(s, "501 5.1.3 recipient address is none");
        return;
    }
    if (span_trim(rest).n) {
        server_reply_bad(s, "555 5.5.4 parameter not known");
        return;
    }
    if (is_failed(s))
        return;
    if (!s->mail_open) {
        server_reply_bad(s, "503 5.5.1 MAIL first");
        return;
    }
    if (s->recipients == SINK_RECIPIENTS_MAX ||
        (s->mood->recipients && s->recipients == s->mood->recipients)) {
        server_reply(s, "452 4.5.3 too many recipients");
        return;
    }
    const char *bad = trouble(s, path);
    if (bad) {
        server_reply(s, bad);
        return;
    }
    s->recipients++;
    buf_add_span(&s->rcpts, path);
    buf_add_char(&s->rcpts, '\0');
    server_reply(s, "250 2.1.5 recipient ok");
}

static void on_data(struct sink_server *s, struct span rest)
{
    if (span_trim(rest).n) {
        server_reply_bad(s, "501 5.5.4 DATA takes no words");
        return;
    }
    if (!s->mail_open) {
        server_reply_bad(s, "503 5.5.1 MAIL first");
        return;
    }
    if (!s->recipients) {
        server_reply(s, "554 5.5.1 no valid recipients"); /* RFC 2920 3.1 expects it */
        return;
    }
    if (s->chunks) {
        server_reply_bad(s, "503 5.5.1 BDAT goes on with BDAT"); /* RFC 3030 2 */
        return;
    }
    message_begin(s);
    s->state = STATE_DATA;
    server_reply(s, "354 end data with <CR><LF>.<CR><LF>");
}

static void on_rset(struct sink_server *s, struct span rest)
{
    if (span_trim(rest).n) {
        server_reply_bad(s, "501 5.5.4 RSET takes no words");
        return;
    }
    server_forget_transaction(s);
    server_reply(s, "250 2.0.0 ok");
}

static void on_noop(struct sink_server *s, struct span rest)
{
    (void)rest; /* RFC 5321 4.1.1.9: ignored */
    server_reply(s, "250 2.0.0 ok");
}

static void on_quit(struct sink_server *s, struct span rest)
{
    if (span_trim(rest).n) {
        server_reply_bad(s, "501 5.5.4 QUIT takes no words");
        return;
    }
    server_reply(s, "221 2.0.0 bye");
    server_close(s);
}

static void on_others(struct sink_server *s, struct span rest)
{
    (void)rest;
    server_reply_bad(s, "502 5.5.1 command not implemented");
}

/* clang-format off */
static const struct command {
    struct span verb;
    void (*on)(struct sink_server *s, struct span rest);
} commands[] = {
    {{"MAIL", 4}, on_mail}, {{"RCPT", 4}, on_rcpt}, {{"DATA", 4}, on_data},
    {{"EHLO", 4}, opening_ehlo}, {{"HELO", 4}, opening_helo}, {{"RSET", 4}, on_rset},
    {{"NOOP", 4}, on_noop}, {{"QUIT", 4}, on_quit}, {{"AUTH", 4}, opening_auth},
    {{"VRFY", 4}, on_others}, {{"EXPN", 4}, on_others}, {{"HELP", 4}, on_others},
    {{"BDAT", 4}, message_bdat}, {{"STARTTLS", 8}, opening_starttls},
};
/* clang-format on */

static void on_command(struct sink_server *s, struct span line)
{
    if (!s->out.n)
        s->may_pipeline = s->extended && opening_offers_pipelining(s);
    else if (!s->may_pipeline)
        s->world->counts.early++;
    if (s->auth.step != AUTH_IDLE) {
        opening_auth_line(s, line);
        return;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        struct span rest = line;
        if (command_word(&rest, commands[i].verb) && (!rest.n || *rest.p == ' ')) {
            commands[i].on(s, rest);
            return;
        }
    }
    server_reply_bad(s, "500 5.5.2 command not recognized");
}

/* ---- lines ---- */

static void keep_line(struct sink_server *s, const char *p, size_t n)
{
    if (s->line.n + n > SINK_COMMAND_MAX)
        s->line_long = true;
    else
        buf_add(&s->line, p, n);
    s->line_cr = n && p[n - 1] == '\r';
}

/* RFC 5321 2.3.8: CRLF ends a command, and nothing else does. */
static const char *take_line(struct sink_server *s, const char *p, const char *end)
{
    const char *lf = p;
    for (;; lf++) {
        lf = memchr(lf, '\n', (size_t)(end - lf));
        if (!lf) {
            keep_line(s, p, (size_t)(end - p));
            return end;
        }
        if (lf > p ? lf[-1] == '\r' : s->line_cr)
            break;
    }
    struct span line = {p, (size_t)(lf + 1 - p)};
    if (s->line.n || s->line_long || line.n < 2) {
        keep_line(s, line.p, line.n);
        line = buf_span(&s->line);
    }
    if (s->line_long || line.n > SINK_COMMAND_MAX)
        server_reply_bad(s, "500 5.5.2 line too long");
    else
        on_command(s, (struct span){line.p, line.n - 2});
    buf_reset(&s->line);
    s->line_cr = false;
    s->line_long = false;
    return lf + 1;
}

/* Bytes in a state that knows no lines. */
static const char *take_rest(struct sink_server *s, const char *end)
{
    if (s->state == STATE_TLS) {
        s->world->counts.early++;
    } else if (s->state == STATE_DEAF) {
        server_reply(s, "500 5.5.2 command not recognized");
        server_close(s);
    }
    return end;
}

/* ---- public ---- */

struct sink_server *sink_server_create(struct sink_world *w, const struct mood *mood,
                                       int open_on_mood, int64_t now_us)
{
    struct sink_server *s = mem_zero(1, sizeof *s);
    s->world = w;
    s->mood = mood;
    s->now_us = now_us;
    s->secured = mood->tls_at_once;
    w->counts.connections++;
    w->counts.open++;
    bool crowded = mood->connections && open_on_mood > mood->connections;
    if (crowded || mood->greeting) {
        w->counts.refused_connections++;
        server_reply(s, crowded ? "421 4.7.0 too many connections, try again later"
                                : mood->greeting);
        server_close(s);
    } else {
        buf_add_str(&s->out, "220 ");
        buf_add_str(&s->out, mood->name);
        server_reply(s, ".invalid ESMTP");
    }
    delay_from(s, 0);
    return s;
}

void sink_server_set_peer(struct sink_server *s, struct span address)
{
    buf_reset(&s->peer);
    buf_add_span(&s->peer, address);
}

void sink_server_destroy(struct sink_server *s)
{
    if (!s)
        return;
    s->world->counts.open--;
    buf_finish(&s->line);
    buf_finish(&s->peer);
    buf_finish(&s->helo);
    buf_finish(&s->sender);
    buf_finish(&s->rcpts);
    buf_finish(&s->header);
    buf_finish(&s->kept);
    buf_finish(&s->out);
    buf_finish(&s->marks);
    free(s);
}

void sink_server_receive(struct sink_server *s, const char *data, size_t n,
                         int64_t now_us)
{
    const char *p = data;
    const char *end = data + n;
    size_t before = s->out.n;
    s->now_us = now_us;
    while (p < end && s->state != STATE_CLOSED) {
        if (s->state == STATE_COMMAND)
            p = take_line(s, p, end);
        else if (s->state == STATE_DATA)
            p = message_take_data(s, p, end);
        else if (s->state == STATE_CHUNK)
            p = message_take_chunk(s, p, end);
        else
            p = take_rest(s, end);
    }
    delay_from(s, before);
}

struct span sink_server_output(struct sink_server *s, int64_t now_us)
{
    struct mark m;
    while (next_mark(s, &m) && m.due_us <= now_us) {
        s->released = m.end;
        s->marks_at += sizeof m;
    }
    if (s->marks_at * 2 >= s->marks.n && s->marks_at) {
        s->marks.n -= s->marks_at;
        memmove(s->marks.p, s->marks.p + s->marks_at, s->marks.n);
        s->marks_at = 0;
    }
    if (s->record_wanted > s->world->record_written && !sink_world_flush(s->world))
        return (struct span){"", 0};
    return (struct span){s->out.p, (size_t)(s->released - s->taken)};
}

void sink_server_sent(struct sink_server *s, size_t n)
{
    assert(n <= s->released - s->taken);
    if (!n)
        return;
    memmove(s->out.p, s->out.p + n, s->out.n - n);
    s->out.n -= n;
    s->taken += n;
}

int64_t sink_server_deadline(const struct sink_server *s)
{
    struct mark m;
    return next_mark(s, &m) ? m.due_us : INT64_MAX;
}

bool sink_server_full(const struct sink_server *s)
{
    return s->out.n > SINK_OUTPUT_MAX;
}

bool sink_server_wants_tls(const struct sink_server *s)
{
    return s->state == STATE_TLS && !s->out.n;
}

void sink_server_secured(struct sink_server *s)
{
    s->world->counts.secured++;
    if (s->state != STATE_TLS)
        return; /* TLS from the first byte: there was nothing before it */
    s->state = STATE_COMMAND;
    s->secured = true;
    s->greeted = false;
    s->extended = false;
    s->may_pipeline = false;
}

bool sink_server_over(const struct sink_server *s)
{
    return s->state == STATE_CLOSED && !s->out.n;
}
