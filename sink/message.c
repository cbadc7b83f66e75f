/* A message on its way in: behind 354 up to its dot, or in chunks (RFC 3030). */
#include "sink/inside.h"

#include "sink/command.h"

enum { HEADER_KEPT_MAX = 8 * 1024 };

void message_begin(struct sink_server *s)
{
    s->scan = (struct data_scan){0};
    s->header_done = false;
    buf_reset(&s->header);
    buf_reset(&s->kept);
}

/* A transaction whose message was refused is over; but with a strict mood's chunk it is
 * not before RSET. */
static void refuse(struct sink_server *s, const char *words)
{
    server_reply(s, words);
    if (s->chunks && s->mood->chunking == CHUNKING_STRICT)
        s->chunk_failed = true;
    else
        server_forget_transaction(s);
}

static bool keep(struct sink_server *s)
{
    if (s->chunks)
        return world_keep(s->world, buf_span(&s->kept));
    struct buf plain = {0};
    data_unstuff(&plain, (struct span){s->kept.p, s->kept.n - DATA_END_BYTES});
    bool kept = world_keep(s->world, buf_span(&plain));
    buf_finish(&plain);
    return kept;
}

/* The message is here, and was not refused before. */
static void message_over(struct sink_server *s)
{
    const struct mood *m = s->mood;
    struct sink_counts *counts = &s->world->counts;
    uint64_t size = s->scan.bytes;
    if (!s->chunks)
        size -= s->scan.stuffed + DATA_END_BYTES;
    int recipients = s->recipients;
    counts->bare += s->scan.bare;
    s->state = STATE_COMMAND;
    if (s->scan.bytes > SINK_SIZE_MAX) {
        refuse(s, "552 5.3.4 message too big");
    } else if (server_hit(span_of(s->rcpts.p), m->filter_percent, 32)) {
        counts->refused++;
        refuse(s, m->filter_reply);
    } else if (s->world->keep_dir && !keep(s)) {
        refuse(s, "451 4.3.0 message cannot be stored");
        return;
    } else {
        world_record(s->world, &(struct world_message){
                                   .sender = buf_span(&s->sender),
                                   .recipients = buf_span(&s->rcpts),
                                   .message_id = data_message_id(buf_span(&s->header)),
                                   .bytes = size,
                                   .peer = buf_span(&s->peer),
                                   .helo = buf_span(&s->helo),
                                   .now_us = s->now_us,
                               });
        s->record_wanted = s->world->record_added;
        counts->messages++;
        counts->recipients += (uint64_t)recipients;
        counts->bytes += size;
        s->messages++;
        buf_add_str(&s->out, "250 2.0.0 accepted as ");
        buf_add_u64(&s->out, counts->messages);
        server_reply(s, "");
        counts->chunked += s->chunks;
        server_forget_transaction(s);
    }
    if (m->close_after && !m->close_reply && s->messages >= m->close_after)
        server_close(s);
}

/* Gather the header until its blank line, for the record. */
static void gather_header(struct sink_server *s, struct span data)
{
    size_t from = s->header.n > 3 ? s->header.n - 3 : 0;
    size_t room = HEADER_KEPT_MAX - s->header.n;
    buf_add(&s->header, data.p, data.n < room ? data.n : room);
    const char *blank = memmem(s->header.p + from, s->header.n - from, "\r\n\r\n", 4);
    if (blank)
        s->header.n = (size_t)(blank + 2 - s->header.p);
    s->header_done = blank || s->header.n == HEADER_KEPT_MAX;
}

static void gather(struct sink_server *s, struct span data)
{
    if (s->world->record_fd >= 0 && !s->header_done)
        gather_header(s, data);
    if (s->world->keep_dir && s->scan.bytes <= SINK_SIZE_MAX)
        buf_add_span(&s->kept, data);
}

const char *message_take_data(struct sink_server *s, const char *p, const char *end)
{
    bool ended;
    size_t n = data_scan(&s->scan, p, (size_t)(end - p), &ended);
    gather(s, (struct span){p, n});
    if (ended)
        message_over(s);
    return p + n;
}

/* ---- chunks ---- */

/* "BDAT SIZE [LAST]" behind its first word. */
static bool read_chunk(struct span rest, uint64_t *size_out, bool *last_out)
{
    enum { DIGITS_MAX = 12 };
    uint64_t size = 0;
    command_spaces(&rest);
    size_t n = 0;
    for (; n < rest.n && rest.p[n] >= '0' && rest.p[n] <= '9' && n < DIGITS_MAX; n++)
        size = size * 10 + (uint64_t)(rest.p[n] - '0');
    struct span word = {rest.p + n, rest.n - n};
    *size_out = size;
    *last_out = span_equal_nocase(span_trim(word), SPAN("LAST"));
    return n > 0 && (*last_out ? *word.p == ' ' : !span_trim(word).n);
}

/* Its octets were read; only now it is answered (RFC 3030 2). */
static void chunk_over(struct sink_server *s)
{
    s->state = STATE_COMMAND;
    if (s->chunk_refusal) {
        refuse(s, s->chunk_refusal);
    } else if (s->chunk_last) {
        message_over(s);
    } else {
        server_reply(s, "250 2.0.0 chunk taken");
    }
}

void message_bdat(struct sink_server *s, struct span rest)
{
    if (s->mood->chunking == CHUNKING_NONE || s->mood->chunking == CHUNKING_UNKNOWN) {
        server_reply_bad(s, "502 5.5.1 command not implemented");
        return;
    }
    if (!read_chunk(rest, &s->chunk_left, &s->chunk_last)) {
        server_reply_bad(s, "501 5.5.4 syntax: BDAT size [LAST]");
        return;
    }
    s->chunk_refusal = !s->mail_open     ? "503 5.5.1 MAIL first"
                       : s->chunk_failed ? "503 5.5.1 RSET first"
                       : !s->recipients  ? "554 5.5.1 no valid recipients"
                                         : NULL;
    s->world->counts.bad_commands += s->chunk_refusal != NULL;
    if (!s->chunks)
        message_begin(s);
    s->chunks = true;
    s->state = STATE_CHUNK;
    if (!s->chunk_left)
        chunk_over(s);
}

const char *message_take_chunk(struct sink_server *s, const char *p, const char *end)
{
    size_t n = (size_t)(end - p) < s->chunk_left ? (size_t)(end - p) : s->chunk_left;
    for (size_t at = 0; at < n;) {
        bool ended; /* a line with a dot is a line like others */
        at += data_scan(&s->scan, p + at, n - at, &ended);
        if (ended)
            s->scan.at = DATA_LINE_START;
    }
    if (!s->chunk_refusal)
        gather(s, (struct span){p, n});
    s->chunk_left -= n;
    if (!s->chunk_left)
        chunk_over(s);
    return p + n;
}
