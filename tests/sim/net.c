/* TCP as a sender sees it, and the servers at its other end. A byte that our kernel
 * took is written, then transmitted as the window allows, then arrives, then is
 * acknowledged: so it is known at each moment what the peer may have. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "world.h"

enum {
    SEND_BUFFER = 16 * 1024,
    DOWN_CUT = 64,          /* bytes of a segment that a server sends */
    RETRANSMISSION_S = 924, /* tcp_retries2: then the kernel gives up */
};

/* ---- flows ---- */

static void flow_push(struct flow *f, int64_t at_us, enum segment_kind kind,
                      const char *data, uint64_t n)
{
    if (f->first + f->n == f->cap) {
        if (f->first > f->n) {
            memmove(f->segments, f->segments + f->first, f->n * sizeof *f->segments);
        } else {
            struct segment *more = mem_alloc((2 * f->cap + 8) * sizeof *more);
            if (f->n)
                memcpy(more, f->segments + f->first, f->n * sizeof *more);
            free(f->segments);
            f->segments = more;
            f->cap = 2 * f->cap + 8;
        }
        f->first = 0;
    }
    if (at_us < f->last_us)
        at_us = f->last_us;
    f->last_us = at_us;
    f->segments[f->first + f->n++] = (struct segment){at_us, n, kind};
    if (data)
        buf_add(&f->bytes, data, n);
}

static const struct segment *flow_head(const struct flow *f)
{
    return f->n ? &f->segments[f->first] : NULL;
}

static bool flow_due(const struct flow *f, int64_t now_us)
{
    return f->n && f->segments[f->first].at_us <= now_us;
}

/* The first segment; its bytes are appended to out. */
static struct segment flow_pop(struct flow *f, struct buf *out)
{
    struct segment s = f->segments[f->first++];
    f->n--;
    if (out && s.kind == SEGMENT_DATA) {
        buf_add(out, f->bytes.p + f->taken, s.n);
        f->taken += s.n;
        if (f->taken == f->bytes.n) {
            buf_reset(&f->bytes);
            f->taken = 0;
        }
    }
    return s;
}

static void flow_finish(struct flow *f)
{
    free(f->segments);
    buf_finish(&f->bytes);
}

/* ---- the truth about what left and what was taken ---- */

/* Its dot, or the last byte of its chunk. */
static void message_left(struct world *w, struct wire *wire)
{
    uint32_t rows[TOGETHER_MAX];
    int count = message_rows(w, wire->line_message, rows);
    for (int k = 0; k < count; k++)
        w->stories[rows[k]].dots++;
    wire->line_message = 0;
}

/* A byte leaves our machine. Whose dot is it? */
static void watch_leaving(struct world *w, struct wire *wire, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (wire->line_n < sizeof wire->line - 1)
            wire->line[wire->line_n++] = p[i];
        /* Its first byte counts: the others may have to wait for a small window. */
        if (wire->connection && wire->line_n == 1 && p[i] == 'M' && !wire->header)
            record_mail(w, wire);
        if (wire->chunk_left && --wire->chunk_left == 0)
            message_left(w, wire);
        if (p[i] != '\n')
            continue;
        wire->line[wire->line_n] = '\0';
        wire->line_n = 0;
        if (!wire->chunk_left)
            sscanf(wire->line, "BDAT %" SCNu64 " LAST\r\n", &wire->chunk_left);
        wire->header = strncmp(wire->line, "From: ", 6) == 0;
        if (strncmp(wire->line, "Message-ID: <", 13) == 0)
            wire->line_message = (uint32_t)strtoul(wire->line + 13, NULL, 10);
        if (strcmp(wire->line, ".\r\n") == 0 && wire->line_message)
            message_left(w, wire);
    }
}

static bool is_for(const struct world *w, uint32_t message, uint32_t row)
{
    uint32_t rows[TOGETHER_MAX];
    for (int i = message_rows(w, message, rows); i > 0; i--)
        if (rows[i - 1] == row)
            return true;
    return false;
}

/* UNIXMS TAB RCPT TAB SENDER TAB MESSAGE-ID TAB BYTES, one line a recipient. */
static void watch_taken(struct world *w, struct wire *wire)
{
    uint64_t messages = sink_world_counts(w->sink)->messages;
    if (messages == w->messages)
        return;
    w->messages = messages;
    promise(sink_world_flush(w->sink), w, "the record can be written");
    char text[4096];
    ssize_t n = pread(w->record_fd, text, sizeof text - 1, 0);
    assert(n > 0 && n < (ssize_t)sizeof text - 1);
    text[n] = '\0';
    if (ftruncate(w->record_fd, 0) != 0 || lseek(w->record_fd, 0, SEEK_SET) != 0)
        abort();
    for (char *line = text; *line; line = strchr(line, '\n') + 1) {
        unsigned row, named;
        int bytes;
        promise(sscanf(line, "%*s	r%u@%*s	%*s	<%u@sim>	%d", &row,
                       &named, &bytes) == 3,
                w, "the record is understood: %s", line);
        promise(is_for(w, named, row), w, "row %u gets its own message, not %u's", row,
                named);
        promise(bytes == sim_message(w, NULL, 0, named, false), w,
                "row %u's message is whole, and as it is", row);
        w->stories[row].accepted++;
        w->stories[row].misled = w->stories[row].misled || wire->misleads;
        wire->taken = named;
        world_log(w, "taken %u %u", row, w->stories[row].accepted);
    }
}

/* A strict server has nothing to complain of; but after a refused MAIL it answers 503
 * to what came with it (RFC 2920 3.1). */
static void watch_manners(const struct world *w, const struct wire *wire,
                          const struct sink_counts *before)
{
    const struct sink_counts *now = sink_world_counts(w->sink);
    /* Who does not know BDAT takes a message for commands. */
    bool excused = wire->shifted || wire->mood.chunking == CHUNKING_UNKNOWN;
    promise(now->bare == before->bare, w, "no bare CR or LF");
    promise(now->early == before->early || excused, w, "no command too early");
    promise(now->bad_commands == before->bad_commands || wire->mood.auth || excused, w,
            "no command that is refused as wrong");
}

/* ---- the far side ---- */

/* When a segment that leaves now is there: what a cut network swallows is sent again
 * some time after it has come back. */
static int64_t arrival(struct world *w, struct wire *wire)
{
    int64_t at = w->now_us + wire->machine->latency_us;
    if (world_is_cut(w, w->now_us) || world_is_cut(w, at))
        at = w->plan->cut_until_us + rng_below(&wire->rng, 100) * SECOND_US;
    return at;
}

static void say(struct world *w, struct wire *wire, enum segment_kind kind,
                const char *data, size_t n)
{
    flow_push(&wire->down, arrival(w, wire), kind, data, n);
}

static void stop_serving(struct wire *wire)
{
    if (!wire->server)
        return;
    sink_server_destroy(wire->server);
    wire->server = NULL;
    wire->machine->open--;
}

static void strike(struct world *w, struct wire *wire)
{
    enum blow fault = wire->fault;
    wire->fault = FAULT_NONE;
    world_log(w, "fault %d", (int)fault);
    char noise[40];
    switch (fault) {
    case FAULT_RESET:
    case FAULT_CLOSE:
        say(w, wire, fault == FAULT_CLOSE ? SEGMENT_FIN : SEGMENT_RST, NULL, 0);
        stop_serving(wire);
        break;
    case FAULT_GONE:
        wire->gone = true;
        stop_serving(wire);
        break;
    case FAULT_PAUSE:
        wire->thaw_us =
            w->now_us + (1 + (int64_t)rng_below(&wire->rng, 1500)) * SECOND_US;
        wire->frozen = true;
        break;
    case FAULT_FREEZE:
        wire->frozen = true;
        break;
    case FAULT_MUTE:
        wire->mute = true;
        break;
    case FAULT_GARBAGE:
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (char)rng_below(&wire->rng, 256);
        say(w, wire, SEGMENT_DATA, noise, 1 + rng_below(&wire->rng, 39));
        break;
    case FAULT_LOSE:
        wire->loses = true;
        break;
    case FAULT_TWICE:
        wire->doubles = true;
        break;
    case FAULT_NONE:
    case FAULT_COUNT:
        abort();
    }
}

static bool strikes_within(const struct wire *wire, bool down, uint64_t from, size_t n)
{
    return wire->fault != FAULT_NONE && wire->fault_down == down &&
           from + n >= wire->fault_at;
}

/* A whole line of its output is lost or doubled. */
static bool shift(struct world *w, struct wire *wire, struct span out)
{
    const char *end = memchr(out.p, '\n', out.n);
    if (!end || (!wire->loses && !wire->doubles))
        return false;
    size_t n = (size_t)(end + 1 - out.p);
    for (int i = 0; i < (wire->doubles ? 2 : 0) && !wire->mute; i++)
        say(w, wire, SEGMENT_DATA, out.p, n);
    /* When a 421 slips into the place of a lost 250, nobody can know; nor, without a
     * 354 among the replies, that there was one too many (docs/session.md). */
    wire->misleads =
        wire->misleads || wire->loses || (wire->doubles && w->plan->smtp.chunking);
    uint32_t rows[TOGETHER_MAX];
    int count = wire->loses && wire->taken ? message_rows(w, wire->taken, rows) : 0;
    for (int i = 0; i < count; i++)
        w->stories[rows[i]].misled = true;
    wire->loses = wire->doubles = false;
    wire->shifted = true;
    wire->said += n;
    sink_server_sent(wire->server, n);
    return true;
}

/* What the server has to say goes on its way. */
static void pull(struct world *w, struct wire *wire)
{
    while (wire->server && !wire->frozen) {
        struct span out = sink_server_output(wire->server, w->now_us);
        if (out.n == 0)
            break;
        if (shift(w, wire, out))
            continue;
        uint32_t max = wire->machine->slow_us ? 1 : DOWN_CUT;
        size_t n = 1 + rng_below(&wire->rng, max);
        n = n < out.n ? n : out.n;
        bool strikes = strikes_within(wire, true, wire->said, n);
        if (strikes)
            n = wire->fault_at > wire->said ? (size_t)(wire->fault_at - wire->said) : 0;
        if (wire->machine->slow_us && wire->down.last_us < w->now_us)
            wire->down.last_us = w->now_us;
        wire->down.last_us += wire->machine->slow_us;
        if (n && !wire->mute)
            say(w, wire, SEGMENT_DATA, out.p, n);
        wire->said += n;
        sink_server_sent(wire->server, n);
        if (strikes)
            strike(w, wire);
    }
    if (wire->server && !wire->frozen && sink_server_over(wire->server)) {
        if (!wire->mute)
            say(w, wire, wire->inbox.n ? SEGMENT_RST : SEGMENT_FIN, NULL, 0);
        stop_serving(wire);
    }
}

/* Its kernel says how far it has come. */
static void acknowledge(struct world *w, struct wire *wire)
{
    uint64_t to = wire->consumed + wire->machine->receive_buffer;
    to = to < wire->arrived ? to : wire->arrived;
    if (wire->gone || to == wire->told)
        return;
    wire->told = to;
    flow_push(&wire->acks, arrival(w, wire), SEGMENT_DATA, NULL, to);
}

/* The server reads what lies in its inbox. */
static void feed(struct world *w, struct wire *wire)
{
    while (wire->inbox.n && wire->server && !wire->frozen) {
        size_t n = wire->inbox.n;
        bool strikes = strikes_within(wire, false, wire->fed, n);
        if (strikes)
            n = wire->fault_at > wire->fed ? (size_t)(wire->fault_at - wire->fed) : 0;
        struct sink_counts before = *sink_world_counts(w->sink);
        sink_server_receive(wire->server, wire->inbox.p, n, w->now_us);
        watch_manners(w, wire, &before);
        watch_taken(w, wire);
        wire->fed += n;
        wire->consumed += n;
        wire->inbox.n -= n;
        memmove(wire->inbox.p, wire->inbox.p + n, wire->inbox.n);
        pull(w, wire);
        if (strikes && wire->server)
            strike(w, wire);
    }
    if (!wire->server)
        buf_reset(&wire->inbox);
    if (wire->inbox_end && !wire->inbox.n)
        stop_serving(wire);
}

static void arrive(struct world *w, struct wire *wire)
{
    struct segment s = flow_pop(&wire->up, &wire->inbox);
    if (wire->gone) {
        buf_reset(&wire->inbox);
        return;
    }
    if (s.kind != SEGMENT_DATA) {
        wire->inbox_end = true; /* what it has it may still read */
        feed(w, wire);
        return;
    }
    if (!wire->server) {
        buf_reset(&wire->inbox);
        say(w, wire, SEGMENT_RST, NULL, 0);
        return;
    }
    wire->arrived += s.n;
    feed(w, wire);
    acknowledge(w, wire);
}

/* ---- our side ---- */

static void transmit(struct world *w, struct wire *wire)
{
    const struct machine *m = wire->machine;
    size_t at = 0;
    while (at < wire->unsent.n && !wire->cut_off) {
        uint64_t flying = wire->transmitted - wire->acknowledged;
        if (flying >= m->window)
            break;
        size_t n = 1 + rng_below(&wire->rng, m->cut);
        n = n < m->window - flying ? n : (size_t)(m->window - flying);
        n = n < wire->unsent.n - at ? n : wire->unsent.n - at;
        watch_leaving(w, wire, wire->unsent.p + at, n);
        flow_push(&wire->up, arrival(w, wire), SEGMENT_DATA, wire->unsent.p + at, n);
        wire->transmitted += n;
        at += n;
    }
    if (at) {
        wire->unsent.n -= at;
        memmove(wire->unsent.p, wire->unsent.p + at, wire->unsent.n);
    }
    if (wire->fin_due && !wire->unsent.n) {
        wire->fin_due = false;
        flow_push(&wire->up, arrival(w, wire), SEGMENT_FIN, NULL, 0);
    }
    bool owed = wire->transmitted > wire->acknowledged && wire->connection;
    if (!owed)
        wire->give_up_us = NEVER;
    else if (wire->give_up_us == NEVER)
        wire->give_up_us = w->now_us + RETRANSMISSION_S * SECOND_US;
}

static void plan_turn(struct world *w, struct wire *wire)
{
    int64_t at = NEVER;
    const struct flow *flows[] = {&wire->up, &wire->down, &wire->acks};
    for (int i = 0; i < 3; i++)
        if (flows[i]->n && flow_head(flows[i])->at_us < at)
            at = flow_head(flows[i])->at_us;
    if (wire->server && !wire->frozen && sink_server_deadline(wire->server) < at)
        at = sink_server_deadline(wire->server);
    if (wire->frozen && wire->server && wire->thaw_us < at)
        at = wire->thaw_us;
    if (wire->connection && wire->give_up_us < at)
        at = wire->give_up_us;
    if (at >= wire->wake_us)
        return;
    wire->wake_us = at;
    events_add(&w->events, at, EVENT_WIRE, wire->number, wire->generation);
}

struct wire *wire_open(struct world *w, struct machine *m, struct connection *c)
{
    if (!w->free_wires_n && w->wires_n == w->wires_cap) {
        w->wires_cap = w->wires_cap ? 2 * w->wires_cap : 64;
        w->wires = mem_resize(w->wires, w->wires_cap, sizeof(struct wire *));
        w->free_wires = mem_resize(w->free_wires, w->wires_cap, sizeof(uint32_t));
    }
    struct wire *wire = mem_zero(1, sizeof *wire);
    wire->number = w->free_wires_n ? w->free_wires[--w->free_wires_n] : w->wires_n++;
    wire->generation = ++w->wire_generations;
    w->wires[wire->number] = wire;
    wire->machine = m;
    wire->rng.state = rng_next(&m->rng);
    wire->connection = c;
    wire->thaw_us = wire->give_up_us = wire->wake_us = NEVER;
    bool later = m->burst_us ? w->now_us / m->burst_us % 2 : w->now_us >= m->turn_us;
    wire->mood = later ? m->later_mood : m->mood;
    if ((int)rng_below(&wire->rng, 100) < m->fault_percent) {
        do
            wire->fault = rng_below(&wire->rng, FAULT_COUNT);
        while (!(m->faults & 1u << wire->fault));
        wire->fault_at = rng_below(&wire->rng, m->fault_bytes);
        wire->fault_down = rng_below(&wire->rng, 2);
    }
    m->open++;
    wire->server = sink_server_create(w->sink, &wire->mood, m->open, w->now_us);
    bool speechless = m->door == DOOR_SPEECHLESS && w->now_us < m->door_until_us;
    if (speechless) {
        wire->frozen = true;
        wire->fault = FAULT_NONE;
    }
    pull(w, wire);
    plan_turn(w, wire);
    return wire;
}

size_t wire_write(struct world *w, struct wire *wire, const struct iovec *pieces, int n)
{
    size_t room = SEND_BUFFER - (size_t)(wire->written - wire->acknowledged);
    size_t taken = 0;
    for (int i = 0; i < n && taken < room; i++) {
        size_t part = pieces[i].iov_len;
        part = part < room - taken ? part : room - taken;
        buf_add(&wire->unsent, pieces[i].iov_base, part);
        taken += part;
    }
    wire->written += taken;
    transmit(w, wire);
    plan_turn(w, wire);
    return taken;
}

struct smtp_wire wire_where(const struct wire *wire)
{
    return (struct smtp_wire){wire->written - wire->acknowledged,
                              wire->written - wire->transmitted};
}

/* As engine/stream.c does: what has not left must not leave any more, for nobody will
 * know what became of it. With linger the kernel goes on alone, as it does when the
 * process has died. */
void wire_close(struct world *w, struct wire *wire, bool linger)
{
    wire->connection = NULL;
    if (wire->unsent.n && linger && !wire->cut_off)
        wire->fin_due = true;
    else if (!wire->cut_off)
        flow_push(&wire->up, arrival(w, wire),
                  wire->unsent.n ? SEGMENT_RST : SEGMENT_FIN, NULL, 0);
    if (!wire->fin_due)
        wire->cut_off = true;
    transmit(w, wire);
    plan_turn(w, wire);
}

void wire_free(struct world *w, struct wire *wire)
{
    stop_serving(wire);
    flow_finish(&wire->up);
    flow_finish(&wire->down);
    flow_finish(&wire->acks);
    buf_finish(&wire->unsent);
    buf_finish(&wire->inbox);
    w->wires[wire->number] = NULL;
    w->free_wires[w->free_wires_n++] = wire->number;
    free(wire);
}

/* What has come back to us. */
static void bring(struct world *w, struct wire *wire)
{
    struct buf data = {0};
    while (flow_due(&wire->down, w->now_us)) {
        buf_reset(&data);
        struct segment s = flow_pop(&wire->down, &data);
        if (!wire->connection)
            continue;
        if (s.kind == SEGMENT_DATA) {
            connection_read(wire->connection, data.p, data.n);
            continue;
        }
        if (s.kind == SEGMENT_RST)
            wire->cut_off = true;
        connection_lost(wire->connection, false,
                        s.kind == SEGMENT_RST ? "Connection reset by peer"
                                              : "connection closed by the peer");
    }
    buf_finish(&data);
}

void wire_turn(struct world *w, struct wire *wire)
{
    wire->wake_us = NEVER;
    bool more_room = false;
    while (flow_due(&wire->acks, w->now_us)) {
        wire->acknowledged = flow_pop(&wire->acks, NULL).n;
        wire->give_up_us = NEVER;
        more_room = true;
    }
    transmit(w, wire);
    if (more_room && wire->connection)
        connection_writable(wire->connection);
    while (flow_due(&wire->up, w->now_us))
        arrive(w, wire);
    if (wire->frozen && wire->server && w->now_us >= wire->thaw_us) {
        wire->frozen = false;
        wire->thaw_us = NEVER;
        feed(w, wire);
        acknowledge(w, wire);
    }
    pull(w, wire);
    bring(w, wire);
    if (wire->connection && w->now_us >= wire->give_up_us)
        connection_lost(wire->connection, true, "Connection timed out");
    bool quiet = !wire->up.n && !wire->unsent.n && !wire->fin_due;
    if (!wire->connection && quiet && (!wire->server || wire->thaw_us == NEVER)) {
        wire_free(w, wire);
        return;
    }
    plan_turn(w, wire);
}
