#include "engine/post.h"

#include <assert.h>

#include "base/mem.h"

enum { REPORT_FIRST = 16 * 1024, EVENT_ALIGN = 16 };
_Static_assert(offsetof(struct report, events) % 8 == 0, "events must be aligned");

struct task *task_create(enum task_kind kind)
{
    struct task *task = mem_zero(1, sizeof *task);
    task->kind = kind;
    return task;
}

struct task *task_from_order(const struct order *order, struct flight *flight)
{
    static const enum task_kind kinds[] = {
        [ORDER_OPEN] = TASK_OPEN,
        [ORDER_MORE] = TASK_MORE,
        [ORDER_RECALL] = TASK_RECALL,
        [ORDER_STOP] = TASK_STOP,
    };
    size_t rows_size = (size_t)order->rows_n * sizeof(struct lent);
    size_t targets_at = (sizeof(struct task) + rows_size + 15) & ~(size_t)15;
    size_t gates_at = targets_at + (size_t)order->targets_n * sizeof(struct target);
    size_t gates_size = (size_t)order->gates_n * sizeof(struct gate *);
    size_t names_at = gates_at + 2 * gates_size, size = names_at;
    for (int i = 0; i < order->targets_n; i++)
        size += strlen(order->targets[i].host) + 1;
    struct task *task = mem_alloc(size);
    *task = (struct task){
        .kind = kinds[order->kind],
        .connection = order->connection,
        .avoid = order->avoid,
        .last = order->last,
        .source = order->source,
        .messages = order->messages,
        .gates_n = order->gates_n,
        .connect_gates = (struct gate **)((char *)task + gates_at),
        .mail_gates = (struct gate **)((char *)task + gates_at + gates_size),
        .dns_us = order->dns_us,
        .targets_n = order->targets_n,
        .targets = (struct target *)((char *)task + targets_at),
        .rows_n = order->rows_n,
    };
    for (int i = 0; i < order->rows_n; i++)
        task->rows[i] =
            (struct lent){order->rows[i], flight_take(flight, order->rows[i])};
    if (order->gates_n) {
        memcpy(task->connect_gates, order->connect_gates, gates_size);
        memcpy(task->mail_gates, order->mail_gates, gates_size);
    }
    char *names = (char *)task + names_at;
    for (int i = 0; i < order->targets_n; i++) {
        size_t n = strlen(order->targets[i].host) + 1;
        memcpy(names, order->targets[i].host, n);
        task->targets[i] = (struct target){order->targets[i].address, names};
        names += n;
    }
    return task;
}

struct event *report_add(struct report **report, const struct event *event,
                         const struct event_texts *texts)
{
    size_t size = sizeof *event;
    for (int i = 0; texts && i < EVENT_TEXTS; i++)
        size += texts->text[i].n;
    size = (size + EVENT_ALIGN - 1) & ~(size_t)(EVENT_ALIGN - 1);
    struct report *r = *report;
    if (!r || r->cap - r->n < size) {
        size_t n = r ? r->n : 0;
        size_t cap = r ? r->cap * 2 + size : REPORT_FIRST + size;
        r = mem_resize(r, sizeof *r + cap, 1);
        r->n = n;
        r->cap = cap;
        *report = r;
    }
    struct event *e = (struct event *)(void *)(r->events + r->n);
    *e = *event;
    e->size = (uint32_t)size;
    char *p = e->text;
    for (int i = 0; i < EVENT_TEXTS; i++) {
        struct span text = texts ? texts->text[i] : (struct span){0};
        assert(text.n <= UINT16_MAX);
        e->text_n[i] = (uint16_t)text.n;
        if (text.n)
            memcpy(p, text.p, text.n);
        p += text.n;
    }
    r->n += size;
    return e;
}

struct span event_text(const struct event *event, enum event_text which)
{
    const char *p = event->text;
    for (int i = 0; i < (int)which; i++)
        p += event->text_n[i];
    return (struct span){p, event->text_n[which]};
}

const struct event *report_next(const struct report *report, const struct event *before)
{
    size_t at =
        before ? (size_t)((const char *)before - report->events) + before->size : 0;
    return at < report->n ? (const struct event *)(const void *)(report->events + at)
                          : NULL;
}
