#include "engine/connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "engine/socket.h"

enum {
    WRITE_PIECES_MAX = 128,
    IDLE_US = 2 * 1000 * 1000, /* a connection without rows waits so long for more */
    SLOTS = 2,                 /* a transaction in flight and the next one behind it */
};

/* A row on its way: its transaction and all that this points to. */
struct slot {
    uint32_t row; /* 0: free */
    struct smtp_transaction transaction;
    struct smtp_recipient recipient;
    struct recipient fields;
    struct rendering rendering;
};

struct connection {
    struct worker *worker;
    struct task *task; /* the targets live in it */
    uint32_t number;
    int target;      /* the one being tried or talked to */
    int fd;          /* -1: none */
    uv_poll_t *poll; /* of fd; frees itself when closed */
    int polled;      /* events asked for */
    uv_timer_t timer;
    int64_t timer_us;         /* when it fires; INT64_MAX: not started */
    int64_t connect_began_us; /* while connecting, else 0 */
    int32_t connect_us;
    int64_t idle_until_us;     /* INT64_MAX: not idle */
    struct smtp_params params; /* the session's */
    struct smtp_session *session;
    uint32_t *rows; /* lent, not begun: rows[rows_head … rows_n) */
    uint32_t rows_head, rows_n, rows_cap;
    uint32_t left; /* messages it may still begin; UINT32_MAX: no limit */
    bool last;     /* no more rows will come */
    bool finishing;
    bool trouble;     /* a transaction was lost or cut short: no clean end */
    bool group;       /* a session wished for pipelining = group */
    bool begun_first; /* the first row's timings have dns= and connect= */
    struct slot slots[SLOTS];
};

static void drive(struct connection *c);
static void try_target(struct connection *c);

static int64_t now_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

/* ---- reports ----------------------------------------------------------------------
 */

static void report_row(struct connection *c, enum event_kind kind, uint32_t row)
{
    struct event e = {.kind = kind, .connection = c->number, .row = row};
    report_add(&c->worker->report, &e, (struct span){0}, (struct span){0},
               (struct span){0});
}

static void return_rows(struct connection *c)
{
    while (c->rows_n >
           c->rows_head) /* the last first: they go to the front of the FIFO */
        report_row(c, EVENT_RETURNED, c->rows[--c->rows_n]);
}

static struct span host_words(const struct smtp_result *r)
{
    return (struct span){r->reply.text, r->reply.text_n};
}

static int last_target(const struct connection *c)
{
    return c->target < c->task->targets_n ? c->target : c->task->targets_n - 1;
}

/* A result of the row in `slot`, or, with slot NULL, of the row that was to go first.
 */
static void report_settled(struct connection *c, const struct slot *slot, uint32_t row,
                           const struct verdict *verdict, struct span words)
{
    struct event e = {
        .kind = EVENT_SETTLED,
        .connection = c->number,
        .row = row,
        .target = last_target(c),
        .verdict = *verdict,
        .dns_us = -1,
        .connect_us = -1,
    };
    struct span email = {0}, id = {0};
    if (slot) {
        e.timings = slot->transaction.timings;
        e.reused = slot->transaction.reused;
        email = (struct span){slot->fields.address.text, slot->fields.address.n};
        id = span_of(slot->rendering.message_id);
    } else {
        memset(&e.timings, 0xff, sizeof e.timings);
    }
    if (!c->begun_first) {
        c->begun_first = true;
        e.dns_us = c->task->dns_us;
        e.connect_us = c->connect_us;
        if (c->session) {
            const struct smtp_timings *opening = smtp_session_timings(c->session);
            e.timings.us[SMTP_OPENING] = opening->us[SMTP_OPENING];
            e.timings.us[SMTP_HELO] = opening->us[SMTP_HELO];
        }
    }
    report_add(&c->worker->report, &e, email, id, words);
}

/* ---- the end ----------------------------------------------------------------------
 */

static void on_poll_closed(uv_handle_t *handle)
{
    free(handle);
}

static void close_socket(struct connection *c)
{
    if (c->fd < 0)
        return;
    uv_close((uv_handle_t *)c->poll, on_poll_closed);
    close(c->fd);
    c->poll = NULL;
    c->fd = -1;
    c->polled = 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    for (int i = 0; i < SLOTS; i++) {
        rendering_finish(&c->slots[i].rendering);
        recipient_finish(&c->slots[i].fields);
    }
    free(c->rows);
    free(c->task);
    free(c);
}

static void end_session(struct connection *c)
{
    if (!c->session)
        return;
    const struct smtp_result *epilogue = smtp_session_epilogue(c->session);
    if (epilogue->how != SMTP_HOW_NONE) {
        struct event e = {.kind = EVENT_EPILOGUE,
                          .connection = c->number,
                          .target = c->target,
                          .verdict = verdict_of_result(epilogue, true)};
        report_add(&c->worker->report, &e, (struct span){0}, (struct span){0},
                   host_words(epilogue));
    }
    c->group = c->group || smtp_session_wants_group(c->session);
    smtp_session_destroy(c->session);
    c->session = NULL;
}

/* why and words say what a CLOSED_FAILED failed with; else NULL and nothing. */
static void close_as(struct connection *c, enum close_kind how,
                     const struct verdict *why, struct span words)
{
    end_session(c);
    close_socket(c);
    return_rows(c);
    struct event e = {.kind = EVENT_CLOSED,
                      .connection = c->number,
                      .target = last_target(c),
                      .closed = how,
                      .group = c->group};
    if (why)
        e.verdict = *why;
    report_add(&c->worker->report, &e, (struct span){0}, (struct span){0}, words);
    c->worker->connections[c->number] = NULL;
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

static void close_connection(struct connection *c, enum close_kind how)
{
    close_as(c, how, NULL, (struct span){0});
}

/* No target let us send MAIL: the attempt of the one row that was to go first; the
 * others go back (codes rule 18). */
static void fail(struct connection *c, const struct verdict *verdict, struct span words)
{
    if (c->rows_n > c->rows_head)
        report_settled(c, NULL, c->rows[c->rows_head++], verdict, words);
    close_as(c, CLOSED_FAILED, verdict, words);
}

/* This target failed before MAIL: the next one within the attempt, or the end. */
static void target_failed(struct connection *c, const struct verdict *verdict,
                          struct span words)
{
    bool more =
        verdict->next_host && !c->finishing && c->target + 1 < c->task->targets_n;
    if (!more) {
        fail(c, verdict, words);
        return;
    }
    end_session(c);
    close_socket(c);
    c->target++;
    try_target(c);
}

/* ---- time -------------------------------------------------------------------------
 */

static void on_timer(uv_timer_t *timer);

/* The timer is moved only to an earlier time: when it fires early it looks again. */
static void set_timer(struct connection *c, int64_t now)
{
    int64_t deadline = c->idle_until_us;
    if (c->connect_began_us)
        deadline = c->connect_began_us + c->worker->params->connect_limit_us;
    else if (c->session && smtp_session_deadline(c->session) < deadline)
        deadline = smtp_session_deadline(c->session);
    if (deadline >= c->timer_us || deadline == INT64_MAX)
        return;
    c->timer_us = deadline;
    int64_t wait_ms = deadline > now ? (deadline - now + 999) / 1000 : 0;
    uv_update_time(c->worker->loop);
    uv_timer_start(&c->timer, on_timer, (uint64_t)wait_ms, 0);
}

static void connect_failed(struct connection *c, bool timed_out, const char *words)
{
    c->connect_us = (int32_t)(now_us() - c->connect_began_us);
    c->connect_began_us = 0;
    struct verdict v =
        verdict_of_code(601, timed_out ? "connect-timeout" : "connect", true);
    v.next_host = true;
    target_failed(c, &v, span_of(words));
}

static void on_timer(uv_timer_t *timer)
{
    struct connection *c = timer->data;
    int64_t now = now_us();
    c->timer_us = INT64_MAX;
    if (c->connect_began_us) {
        if (now - c->connect_began_us >= c->worker->params->connect_limit_us) {
            connect_failed(c, true, "connection timed out");
            return;
        }
    } else if (c->session) {
        if (now >= smtp_session_deadline(c->session))
            smtp_session_expire(c->session, now, socket_wire(c->fd));
        if (now >= c->idle_until_us)
            c->last = true;
        drive(c);
        return;
    }
    set_timer(c, now);
}

/* ---- rows -------------------------------------------------------------------------
 */

static struct slot *free_slot(struct connection *c)
{
    for (int i = 0; i < SLOTS; i++)
        if (c->slots[i].row == 0)
            return &c->slots[i];
    assert(false); /* the session holds at most two transactions */
    return NULL;
}

/* Read and render the row. false: it was settled with its own code, nothing was sent.
 */
static bool prepare_row(struct connection *c, struct slot *slot, uint32_t row)
{
    const struct worker_params *p = c->worker->params;
    struct fault f = {0};
    const char *why;
    rendering_reset(&slot->rendering);
    if (!recipients_read(p->list, row, &slot->fields, &f)) {
        struct verdict v = verdict_of_code(f.code, "queue", false);
        report_settled(c, NULL, row, &v, span_of(f.words));
        return false;
    }
    assert(slot->fields.code == 0);
    struct template_row fields = {row, slot->fields.fields, slot->fields.address.text};
    if (!template_render(p->template, &fields, &slot->rendering, &why)) {
        struct verdict v = verdict_of_code(800, "addr", false);
        report_settled(c, slot, row, &v, span_of(why));
        return false;
    }
    slot->row = row;
    slot->recipient = (struct smtp_recipient){
        .address = slot->fields.address.text,
        .address_n = slot->fields.address.n,
    };
    slot->transaction = (struct smtp_transaction){
        .sender = p->sender,
        .recipients = &slot->recipient,
        .recipients_n = 1,
        .body = slot->rendering.pieces,
        .body_n = slot->rendering.pieces_n,
        .body_size = slot->rendering.size,
    };
    link_init(&slot->transaction.link);
    return true;
}

static void settle(struct connection *c)
{
    for (struct smtp_transaction *t; (t = smtp_session_settled(c->session));) {
        struct slot *slot = CONTAINER_OF(t, struct slot, transaction);
        const struct smtp_result *r = &slot->recipient.result;
        struct verdict v = verdict_of_result(r, true);
        if (r->how == SMTP_HOW_LOST || r->how == SMTP_HOW_TIMEOUT ||
            r->how == SMTP_HOW_GARBAGE ||
            (r->how == SMTP_HOW_REPLY && r->reply.code == 421))
            c->trouble = true;
        report_settled(c, slot, slot->row, &v, host_words(r));
        slot->row = 0;
    }
}

static void begin_rows(struct connection *c, int64_t now)
{
    while (smtp_session_ready(c->session) && c->left > 0 && c->rows_head < c->rows_n) {
        struct slot *slot = free_slot(c);
        if (!prepare_row(c, slot, c->rows[c->rows_head++]))
            continue;
        if (c->left != UINT32_MAX)
            c->left--;
        smtp_session_submit(c->session, &slot->transaction, now);
        settle(c); /* larger than the server takes: decided already */
    }
    bool empty = c->rows_head == c->rows_n;
    if ((empty && c->last) || c->left == 0)
        smtp_session_finish(c->session, now);
    bool idle = empty && smtp_session_ready(c->session) && c->slots[0].row == 0 &&
                c->slots[1].row == 0;
    if (!idle)
        c->idle_until_us = INT64_MAX;
    else if (c->idle_until_us == INT64_MAX)
        c->idle_until_us = now + IDLE_US;
}

/* ---- bytes ------------------------------------------------------------------------
 */

static void on_event(uv_poll_t *poll, int status, int events);

static void poll_for(struct connection *c, int events)
{
    if (c->polled == events)
        return;
    c->polled = events;
    uv_poll_start(c->poll, events, on_event);
}

static void lost(struct connection *c, int error)
{
    const char *words =
        error ? strerrordesc_np(error) : "connection closed by the peer";
    smtp_session_lost(c->session, words ? words : "connection lost", error == ETIMEDOUT,
                      socket_wire(c->fd), now_us());
}

/* Write what the session has. false: the kernel takes no more now. */
static bool write_out(struct connection *c)
{
    struct iovec pieces[WRITE_PIECES_MAX];
    for (;;) {
        int n = smtp_session_output(c->session, pieces, WRITE_PIECES_MAX, now_us());
        if (n == 0)
            return true;
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)n};
        ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            /* Broken: reading comes to the same end, after what the peer still said. */
            return errno != EAGAIN && errno != EWOULDBLOCK;
        smtp_session_sent(c->session, (size_t)sent, now_us());
    }
}

static void session_over(struct connection *c)
{
    const struct smtp_result *fate = smtp_session_fate(c->session);
    if (smtp_session_greeted(c->session) || fate->how == SMTP_HOW_NONE ||
        fate->how == SMTP_HOW_UNTRIED) {
        close_connection(c, c->trouble ? CLOSED_LOST : CLOSED_CLEAN);
        return;
    }
    struct verdict v = verdict_of_result(fate, true);
    char words[REPLY_TEXT_MAX + 1]; /* the fate goes with its session */
    memcpy(words, fate->reply.text, sizeof words);
    target_failed(c, &v, (struct span){words, fate->reply.text_n});
}

/* Everything that follows from what the session has read or was told. The only place
 * where a session ends. */
static void drive(struct connection *c)
{
    int64_t now = now_us();
    unsigned signals;
    do {
        signals = smtp_session_take(c->session);
        if (signals & SMTP_SETTLED)
            settle(c);
        if (signals & SMTP_OVER) {
            session_over(c);
            return;
        }
        begin_rows(c, now);
    } while (signals);
    poll_for(c, write_out(c) ? UV_READABLE : UV_READABLE | UV_WRITABLE);
    set_timer(c, now);
}

/* Read all that is there. Returns 0, or -1 at the end, with the errno (0: EOF) in
 * *error. */
static int read_in(struct connection *c, int *error)
{
    for (;;) {
        ssize_t n = recv(c->fd, c->worker->read_buffer, WORKER_READ_MAX, 0);
        if (n > 0) {
            smtp_session_receive(c->session, c->worker->read_buffer, (size_t)n,
                                 now_us());
            if (n < WORKER_READ_MAX)
                return 0;
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        *error = n < 0 ? errno : 0;
        return -1;
    }
}

static void connected(struct connection *c)
{
    int64_t now = now_us();
    c->connect_us = (int32_t)(now - c->connect_began_us);
    c->connect_began_us = 0;
    c->params = c->worker->params->smtp;
    if (c->task->group && c->params.pipelining == SMTP_PIPELINING_AUTO)
        c->params.pipelining = SMTP_PIPELINING_GROUP;
    c->session = smtp_session_create(&c->params, now);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct connection *c = poll->data;
    int error = status < 0 ? -status : 0;
    if (c->connect_began_us) {
        socklen_t n = sizeof error;
        if (!error)
            getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n);
        if (error) {
            connect_failed(c, error == ETIMEDOUT, socket_words(error));
            return;
        }
        connected(c);
    } else if (events & UV_READABLE || status < 0) {
        if (read_in(c, &error) < 0)
            lost(c, error);
    }
    drive(c);
}

/* ---- connecting -------------------------------------------------------------------
 */

static void no_socket(struct connection *c, int error)
{
    c->connect_began_us = 0;
    struct verdict v = verdict_of_code(609, "socket", false);
    fail(c, &v, span_of(socket_words(error)));
}

static void try_target(struct connection *c)
{
    const struct worker_params *p = c->worker->params;
    const struct target *target = &c->task->targets[c->target];
    c->connect_began_us = now_us();
    if (deny_match(p->deny, &target->address)) { /* the last look before connect() */
        connect_failed(c, false, "address is in deny_destinations");
        return;
    }
    int error;
    bool ours;
    int fd = socket_connect(&target->address, p->port, &error, &ours);
    if (fd < 0) {
        if (ours)
            no_socket(c, error);
        else
            connect_failed(c, error == ETIMEDOUT, socket_words(error));
        return;
    }
    uv_poll_t *poll = mem_alloc(sizeof *poll);
    int failed = uv_poll_init_socket(c->worker->loop, poll, fd);
    assert(!failed);
    poll->data = c;
    c->poll = poll;
    c->fd = fd;
    poll_for(c, UV_WRITABLE); /* also when it is connected already */
    set_timer(c, c->connect_began_us);
}

/* ---- verbs ------------------------------------------------------------------------
 */

void connection_open(struct worker *w, struct task *task)
{
    struct connection *c = mem_zero(1, sizeof *c);
    c->worker = w;
    c->task = task;
    c->number = task->connection;
    c->fd = -1;
    c->connect_us = -1;
    c->timer_us = c->idle_until_us = INT64_MAX;
    c->left = task->messages ? task->messages : UINT32_MAX;
    uv_timer_init(w->loop, &c->timer);
    c->timer.data = c;
    w->connections[c->number] = c;
    c->last = task->last;
    c->rows_cap = (uint32_t)task->rows_n;
    c->rows_n = (uint32_t)task->rows_n;
    c->rows = mem_alloc(c->rows_cap * sizeof *c->rows);
    memcpy(c->rows, task->rows, c->rows_n * sizeof *c->rows);
    try_target(c);
}

void connection_lend(struct connection *c, const struct task *task)
{
    uint32_t n = (uint32_t)task->rows_n;
    uint32_t waiting = c->rows_n - c->rows_head;
    memmove(c->rows, c->rows + c->rows_head, waiting * sizeof *c->rows);
    c->rows_head = 0;
    c->rows_n = waiting;
    if (waiting + n > c->rows_cap) {
        c->rows_cap = (waiting + n) * 2;
        c->rows = mem_resize(c->rows, c->rows_cap, sizeof *c->rows);
    }
    memcpy(c->rows + waiting, task->rows, n * sizeof *c->rows);
    c->rows_n += n;
    c->last = c->last || task->last;
    if (c->finishing)
        return_rows(c);
    else if (c->session)
        drive(c);
}

void connection_recall(struct connection *c)
{
    bool greeted = c->session && smtp_session_greeted(c->session);
    if (!greeted && c->rows_n > c->rows_head) {
        /* Not there yet: the first row stays, it is the one that the attempt is for. A
         * connection without rows would QUIT when a slow greeting comes at last. */
        uint32_t first = c->rows[c->rows_head++];
        return_rows(c);
        c->rows[--c->rows_head] = first;
        c->rows_n = c->rows_head + 1;
        return;
    }
    return_rows(c);
}

void connection_finish(struct connection *c)
{
    c->finishing = true;
    c->last = true;
    return_rows(c);
    if (c->session) {
        smtp_session_stop(c->session, now_us());
        drive(c);
    } else {
        close_connection(c, CLOSED_CLEAN);
    }
}

void connection_abort(struct connection *c)
{
    c->finishing = true;
    return_rows(c);
    if (c->session) {
        smtp_session_lost(c->session, "stopped by us", false, socket_wire(c->fd),
                          now_us());
        drive(c);
    } else {
        close_connection(c, CLOSED_CLEAN);
    }
}
