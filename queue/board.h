/* What the jobs of one spool have in common, so that a receiver sees one sender,
 * however many jobs that has and however often they are ended and resumed: the file
 * SPOOL/.running (0600), which each running job maps. No job can have its name.
 *
 * A job has a place (a number) as long as it runs, which it holds by the kernel's lock
 * on one byte of the file (an open file description's): that ends with its holder,
 * however it dies. Each path (queue/provider.h) that a job sends by has a slot: the
 * clocks of its gates, how many connections each job has, and what receivers have said.
 * A slot outlives its jobs as long as anything in it is still to come; it may be
 * another's then.
 *
 * Stores into memory and no more: nothing is ever synced. Whoever is killed has stored
 * all; a power loss may lose what was told in the last half minute. Times are on the
 * machine's monotonic clock, µs; after a start of the machine the first job moves them.
 *
 * One thread a handle, but for the clocks. Not for a process that forks while it has a
 * place: a child would hold the lock too. */
#ifndef QUEUE_BOARD_H
#define QUEUE_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"
#include "queue/gate.h"
#include "queue/limits.h"
#include "queue/scheduler.h"

enum {
    BOARD_JOBS_MAX = 32,
    BOARD_SLOTS = 8192,
    BOARD_WHY_MAX = 160, /* with its NUL; more is cut */
};

struct board_slot {
    _Atomic uint64_t key;              /* 0: never used */
    struct gate_clock connects, mails; /* gate_share */
    /* The rest but open[] is the board's own. */
    _Atomic int64_t closed_until_us, slow_until_us, kept_until_us;
    _Atomic uint32_t allowed, slow;
    _Atomic uint16_t open[BOARD_JOBS_MAX];   /* connections, by place */
    _Atomic uint16_t wanted[BOARD_JOBS_MAX]; /* when it last wanted one: seconds */
    struct board_limits { /* by the settings of each, as in struct limits */
        _Atomic uint32_t connections, message_rate, connection_rate;
    } limits[BOARD_JOBS_MAX];
    char why[BOARD_WHY_MAX];
};

/* What is told of a path, or of what is wider: a site, a source, a provider. */
struct board_word {
    int64_t closed_until_us; /* in the past: it is not closed */
    uint32_t allowed;        /* connections on its way back, of all jobs together;
                                UINT32_MAX: as many as the settings allow */
    uint32_t slow;           /* times that its rate is halved, */
    int64_t slow_until_us;   /* until then */
    char why[BOARD_WHY_MAX];
};

/* The same moment on two clocks. */
struct board_now {
    int64_t us, wall_us;
};

struct board;

/* Take a place, from the job's directory, in the file of its spool; or in that file.
 * NULL with *f (-20) when others cannot see us: the file cannot be had, or
 * BOARD_JOBS_MAX have their places (*full_out then). Waits for others that do the same,
 * for seconds at most. boot_id: flight_boot_id. */
struct board *board_join(int job_dir, const char *boot_id, struct board_now now,
                         bool *full_out, struct fault *f);
struct board *board_join_file(int fd, const char *boot_id, struct board_now now,
                              bool *full_out, struct fault *f); /* takes fd */
/* Give the place back. No slot is used any more, no connection open. NULL is allowed.
 */
void board_leave(struct board *b);

/* Jobs that have a place, this one among them, and how many of them are before it; the
 * dead lose theirs. */
uint32_t board_jobs(struct board *b, uint32_t *before_out);
/* The same of a spool, for who takes no part: nothing is made or changed. 0: nobody has
 * a place, or the file does not answer. */
uint32_t board_look(const char *spool);
/* Somebody has deleted the file: who begins now has another one, and does not see us.
 */
bool board_is_gone(const struct board *b);

/* The slot of this key (not 0), a fresh one if there is none. NULL: there is no room;
 * then this path is nobody else's business. It is ours for a second, and as long as we
 * have connections in it; then it is taken anew before it is used. */
struct board_slot *board_take(struct board *b, uint64_t key, int64_t now_us);

/* Who sends by it now: has connections, or has wanted one in the last seconds, as we do
 * now. *limits: ours, and then the least of all that send by it or did some minutes
 * ago: jobs whose settings differ keep to the same, or the bolder one would leave
 * nothing to the other. */
struct sharing board_share(struct board *b, struct board_slot *slot,
                           struct limits *limits, int64_t now_us);
/* One more connection of ours, if all jobs together have less than `most`. Those of a
 * job that has said nothing (board_share) for half an hour count no more: it was
 * stopped, and no receiver waits for so long. */
bool board_open(struct board *b, struct board_slot *slot, uint32_t most,
                int64_t now_us);
void board_close(struct board *b, struct board_slot *slot);
/* Of all jobs. */
uint32_t board_connections(const struct board *b, const struct board_slot *slot);

/* For all to hear. */
void board_tell(struct board *b, struct board_slot *slot, const struct board_word *word,
                int64_t now_us);
/* One more connection is allowed than was; false: something else was told meanwhile. */
bool board_widen(struct board *b, struct board_slot *slot, uint32_t was,
                 uint32_t allowed, int64_t now_us);
void board_hear(struct board *b, const struct board_slot *slot, struct board_word *out);
/* The same of something that is no path. Nothing was told, or it is over: false. */
void board_tell_wide(struct board *b, uint64_t key, int64_t closed_until_us,
                     const char *why, int64_t now_us);
bool board_hear_wide(struct board *b, uint64_t key, int64_t now_us,
                     struct board_word *out);
/* Another number than before: somebody has told something. */
uint32_t board_told(const struct board *b);

#endif
