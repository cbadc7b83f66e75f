#include "engine/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

struct held_task {
    struct held_task *next;
    struct mailbox *to;
    struct task *task;
};

static void batch_init(struct journal_batch *b)
{
    *b = (struct journal_batch){0};
    b->tail = &b->tasks;
}

void journal_init(struct journal *j, uv_loop_t *loop, struct attempts *attempts,
                  struct flight *flight, void (*posted)(void *arg, uint32_t connection),
                  void *posted_arg)
{
    *j = (struct journal){.attempts = attempts,
                          .flight = flight,
                          .beside = -1,
                          .loop = loop,
                          .posted = posted,
                          .posted_arg = posted_arg};
    batch_init(&j->next);
    batch_init(&j->under_way);
}

static void free_batch(struct journal_batch *b)
{
    struct held_task *next;
    for (struct held_task *h = b->tasks; h; h = next) {
        next = h->next;
        free(h->task);
        free(h);
    }
    free(b->entries);
}

void journal_finish(struct journal *j)
{
    free_batch(&j->next);
    free_batch(&j->under_way);
}

/* "5-9,12": rows as they come, runs put together. */
static void add_ranges(struct buf *b, const struct task *task)
{
    for (int i = 0; i < task->rows_n;) {
        int end = i + 1;
        while (end < task->rows_n && task->rows[end].row == task->rows[end - 1].row + 1)
            end++;
        if (i)
            buf_add_char(b, ',');
        buf_add_u64(b, task->rows[i].row);
        if (end - i > 1) {
            buf_add_char(b, '-');
            buf_add_u64(b, task->rows[end - 1].row);
        }
        i = end;
    }
}

static void log_lease(struct journal *j, const struct task *task, const char *site,
                      const char *source, int64_t now_ms)
{
    struct attempt line;
    struct buf ranges = {0};
    add_ranges(&ranges, task);
    attempt_init(&line);
    line.time_ms = now_ms;
    line.outcome = OUTCOME_LEASE;
    line.site = span_of(site);
    line.source = span_of(source);
    line.message = buf_span(&ranges);
    attempts_append(j->attempts, &line);
    buf_finish(&ranges);
}

void journal_lend(struct journal *j, struct task *task, const char *site,
                  const char *source, int64_t now_ms, struct mailbox *to)
{
    if (task->rows_n > 0)
        log_lease(j, task, site, source, now_ms);
    /* Also what lends nothing waits, behind what was said before it. */
    struct held_task *h = mem_alloc(sizeof *h);
    *h = (struct held_task){NULL, to, task};
    *j->next.tail = h;
    j->next.tail = &h->next;
}

void journal_settled(struct journal *j, uint32_t entry)
{
    struct journal_batch *b = &j->next;
    if (b->entries_n == b->entries_cap) {
        b->entries_cap = b->entries_cap ? 2 * b->entries_cap : 1024;
        b->entries = mem_resize(b->entries, b->entries_cap, sizeof *b->entries);
    }
    b->entries[b->entries_n++] = entry;
}

static void post_tasks(struct journal *j, struct journal_batch *b)
{
    struct held_task *next;
    for (struct held_task *h = b->tasks; h; h = next) {
        next = h->next;
        j->posted(j->posted_arg, h->task->connection);
        mailbox_post(h->to, &h->task->mail);
        free(h);
    }
    b->tasks = NULL;
    b->tail = &b->tasks;
}

/* What waited for this sync is safe. */
static void release(struct journal *j, struct journal_batch *b)
{
    post_tasks(j, b);
    for (uint32_t i = 0; i < b->entries_n; i++)
        flight_give_back(j->flight, b->entries[i]);
    b->entries_n = 0;
}

static void sync_log(uv_work_t *work)
{
    struct journal *j = work->data;
    if (j->beside >= 0 && fdatasync(j->beside) != 0)
        fault_set(&j->sync_fault, -20, "cannot sync what warm-ups have drawn: %s",
                  strerror(errno));
    else
        attempts_sync(j->attempts, &j->sync_fault);
}

static void on_synced(uv_work_t *work, int status)
{
    struct journal *j = work->data;
    (void)status;
    j->syncing = false;
    if (j->sync_fault.code) {
        j->fault = j->sync_fault;
        return;
    }
    release(j, &j->under_way);
}

bool journal_turn(struct journal *j, int64_t now_us, int64_t *again_us)
{
    *again_us = INT64_MAX;
    if (j->fault.code || !attempts_write(j->attempts, &j->fault))
        return false;
    if (j->syncing)
        return true;
    uint64_t lines = attempts_lines(j->attempts);
    if (lines == j->synced_lines) {
        release(j, &j->next); /* nothing new was written: all is on disk */
        return true;
    }
    if (now_us - j->sync_began_us < JOURNAL_PAUSE_US) {
        *again_us = j->sync_began_us + JOURNAL_PAUSE_US;
        return true;
    }
    j->sync_began_us = now_us;
    j->synced_lines = lines;
    struct journal_batch empty = j->under_way; /* keeps its memory */
    j->under_way = j->next;
    if (!j->under_way.tasks)
        j->under_way.tail = &j->under_way.tasks;
    empty.tasks = NULL;
    empty.tail = NULL;
    j->next = empty;
    j->next.tail = &j->next.tasks;
    j->syncing = true;
    j->sync.data = j;
    uv_queue_work(j->loop, &j->sync, sync_log, on_synced);
    return true;
}

bool journal_holds(const struct journal *j)
{
    return j->next.tasks || j->under_way.tasks;
}

void journal_let_go(struct journal *j)
{
    post_tasks(j, &j->under_way);
    post_tasks(j, &j->next);
}
