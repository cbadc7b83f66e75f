#include "engine/worker.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/connection.h"

/* Reports that come one behind another cost a switch of threads each. Leases last much
 * longer than this. */
enum { REPORT_PAUSE_US = 1000 };

static void on_later(uv_timer_t *timer)
{
    (void)timer; /* the prepare handle does the work */
}

/* The loop is about to sleep: post the report, or make sure to wake when its time has
 * come. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct worker *w = prepare->data;
    if (!w->report)
        return;
    int64_t now = (int64_t)(uv_hrtime() / 1000);
    if (now - w->posted_us < REPORT_PAUSE_US) {
        if (!uv_is_active((uv_handle_t *)&w->later))
            uv_timer_start(&w->later, on_later, REPORT_PAUSE_US / 1000, 0);
        return;
    }
    w->posted_us = now;
    mailbox_post(w->scheduler, &w->report->mail);
    w->report = NULL;
}

static struct connection *find(const struct worker *w, uint32_t number)
{
    return number < w->connections_cap ? w->connections[number] : NULL;
}

static void give_back(struct worker *w, const struct task *task)
{
    for (int i = 0; i < task->rows_n; i++) {
        struct event e = {.kind = EVENT_RETURNED,
                          .connection = task->connection,
                          .lent = task->rows[i]};
        report_add(&w->report, &e, NULL);
    }
}

static void open_connection(struct worker *w, struct task *task)
{
    if (w->finishing) {
        give_back(w, task);
        struct event e = {.kind = EVENT_CLOSED,
                          .connection = task->connection,
                          .target = -1,
                          .closed = CLOSED_CLEAN};
        report_add(&w->report, &e, NULL);
        free(task);
        return;
    }
    if (task->connection >= w->connections_cap) {
        uint32_t cap = w->connections_cap ? w->connections_cap : 64;
        while (cap <= task->connection)
            cap *= 2;
        w->connections = mem_resize(w->connections, cap, sizeof(struct connection *));
        for (uint32_t i = w->connections_cap; i < cap; i++)
            w->connections[i] = NULL;
        w->connections_cap = cap;
    }
    assert(!w->connections[task->connection]);
    connection_open(w, task);
}

static void for_all(struct worker *w, void (*verb)(struct connection *c))
{
    for (uint32_t i = 0; i < w->connections_cap; i++)
        if (w->connections[i])
            verb(w->connections[i]);
}

static void end(struct worker *w)
{
    assert(!w->report); /* every connection is over, and its end was reported */
    mailbox_close(&w->inbox);
    uv_close((uv_handle_t *)&w->flush, NULL);
    uv_close((uv_handle_t *)&w->later, NULL);
}

static void deliver(void *owner, struct mail *mail)
{
    struct worker *w = owner;
    struct task *task = CONTAINER_OF(mail, struct task, mail);
    struct connection *c = find(w, task->connection);
    switch (task->kind) {
    case TASK_OPEN:
        open_connection(w, task);
        return;
    case TASK_MORE:
        if (c)
            connection_lend(c, task);
        else
            give_back(w, task);
        break;
    case TASK_RECALL:
        if (c)
            connection_recall(c);
        break;
    case TASK_STOP:
        if (c)
            connection_finish(c);
        break;
    case TASK_FINISH:
        w->finishing = true;
        for_all(w, connection_finish);
        break;
    case TASK_CONTINUE:
        w->finishing = false;
        break;
    case TASK_ABORT:
        w->finishing = true;
        for_all(w, connection_abort);
        break;
    case TASK_END:
        end(w);
        break;
    }
    free(task);
}

void worker_init(struct worker *w, uv_loop_t *loop, const struct worker_params *params,
                 struct mailbox *scheduler)
{
    *w = (struct worker){.params = params, .scheduler = scheduler, .loop = loop};
    w->tls = mem_zero((size_t)params->tls_n, sizeof(struct tls_context *));
    w->cipher_buffer = mem_alloc(WORKER_READ_MAX);
    w->read_buffer = mem_alloc(WORKER_READ_MAX);
    mailbox_init(&w->inbox, loop, deliver, w);
    uv_prepare_init(loop, &w->flush);
    w->flush.data = w;
    uv_prepare_start(&w->flush, on_prepare);
    uv_timer_init(loop, &w->later);
}

void worker_finish(struct worker *w)
{
    for (int i = 0; i < w->params->tls_n; i++)
        tls_context_free(w->tls[i]);
    free(w->tls);
    free(w->cipher_buffer);
    free(w->read_buffer);
    free(w->connections);
    free(w->report);
}

struct tls_context *worker_tls(struct worker *w, int number)
{
    assert(number < w->params->tls_n);
    if (!w->tls[number])
        w->tls[number] = tls_client_context(&w->params->tls[number]);
    return w->tls[number];
}
