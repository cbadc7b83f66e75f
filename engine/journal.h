/* The log kept ahead of what is sent: a task that lends rows is posted only after the
 * line of its lease is on disk, so that a crash never leaves a row that may have been
 * sent and that the log does not know of. And an entry of the flight file is free again
 * only after the line of its row's result is on disk.
 *
 * Group commit: lines are written once a turn; fdatasync runs on libuv's thread pool,
 * one at a time, the next beginning when the last ends and there is something to sync.
 * Scheduler's thread only. */
#ifndef ENGINE_JOURNAL_H
#define ENGINE_JOURNAL_H

#include "engine/post.h"
#include "report/attempts.h"

enum { JOURNAL_PAUSE_US = 4000 };

/* What waits for the disk. */
struct journal_batch {
    struct held_task *tasks; /* in order */
    struct held_task **tail;
    uint32_t *entries;
    uint32_t entries_n, entries_cap;
};

struct journal {
    struct attempts *attempts;
    struct flight *flight;
    int beside; /* a file that is synced before the log; -1: none */
    uv_loop_t *loop;
    void (*posted)(void *arg, uint32_t connection);
    void *posted_arg;
    uv_work_t sync;
    bool syncing;
    int64_t sync_began_us;
    uint64_t synced_lines;
    struct fault sync_fault, fault;
    struct journal_batch next,
        under_way; /* for the sync after, and for the present one */
};

/* posted(arg, connection) is called for each task that goes out. */
void journal_init(struct journal *j, uv_loop_t *loop, struct attempts *attempts,
                  struct flight *flight, void (*posted)(void *arg, uint32_t connection),
                  void *posted_arg);
void journal_finish(struct journal *j); /* after the last sync has ended */

/* Log the lease of the task's rows, if it lends any, and post it to the mailbox once
 * that is safe. Tasks to one mailbox keep their order. Takes the task. */
void journal_lend(struct journal *j, struct task *task, const char *site,
                  const char *source, int64_t now_ms, struct mailbox *to);
/* The line with the result of this entry's row was appended. */
void journal_settled(struct journal *j, uint32_t entry);

/* Once a turn: write what was appended, begin a sync if there is need. Syncs are begun
 * at most every JOURNAL_PAUSE_US, for a few lines more a sync cost nobody anything:
 * *again_us says when to call again at the latest (INT64_MAX: no need). False: the log
 * failed (-20 in j->fault), nothing may be sent any more. */
bool journal_turn(struct journal *j, int64_t now_us, int64_t *again_us);
/* Tasks are held: nobody may be told to end before they are posted. */
bool journal_holds(const struct journal *j);
/* The run is over before its time: post what is held. The workers were told before to
 * begin nothing any more, and give the rows back. Flight entries stay as they are:
 * their lines may be lost, and then flight alone knows what became of those rows. */
void journal_let_go(struct journal *j);

#endif
