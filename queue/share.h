/* The running jobs of one spool count each other: a receiver sees one sender, however
 * many jobs that has. Each holds a lock on one byte of SPOOL/.running (0600, always
 * empty, made by the first; no job can have its name). The locks are the kernel's (open
 * file description): they end with their holder, however that dies.
 *
 * A zeroed struct takes no part. Not for a process that forks while it does: a child
 * would hold the lock too. One thread; no clock. */
#ifndef QUEUE_SHARE_H
#define QUEUE_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"

enum { SHARE_JOBS_MAX = 64 }; /* that others can see */

struct share {
    bool open;
    int fd;
    uint32_t jobs; /* the last answer */
};

/* Take part, from the job's directory. False with *f (-20) when others cannot see us:
 * the file or the lock cannot be had, or SHARE_JOBS_MAX have theirs. We may see them
 * all the same; leave in either case. */
bool share_join(struct share *s, int job_dir, struct fault *f);

/* Jobs that take part, this one always among them. When the file does not answer: as
 * many as it said last. */
uint32_t share_count(struct share *s);

void share_leave(struct share *s);

#endif
