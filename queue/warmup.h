/* What new sources have used up of a day's messages to each provider: the file
 * SPOOL/.warmup (0600), which all jobs of the spool share. A job draws some messages
 * before it sends them; what it drew is written down first, and never given back: a job
 * that ends, or dies, may have used less, never more. The file holds one day and begins
 * anew with the next.
 *
 *   #hikyaku-warmup 2026-11-22
 *   SOURCE TAB PROVIDER TAB MESSAGES
 *
 * One thread, but for warmup_fd. No clock. */
#ifndef QUEUE_WARMUP_H
#define QUEUE_WARMUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"

/* From its first day on a source may begin so many messages a day to each provider;
 * before it none, and after the last cap as many as it likes. caps_n 0: always. */
struct warmup_plan {
    int32_t start; /* days since 1970-01-01, on a local clock */
    const int64_t *caps;
    int caps_n;
};
/* Of that day; UINT32_MAX: there is none. */
uint32_t warmup_cap(const struct warmup_plan *plan, int32_t day);

struct warmup;

/* From the job's directory. NULL and -20 in *f: the file cannot be had. */
struct warmup *warmup_open(int job_dir, struct fault *f);
void warmup_close(struct warmup *w); /* NULL is allowed */

enum warmup_draw {
    WARMUP_DRAWN,
    WARMUP_USED_UP, /* there is nothing left today */
    WARMUP_LATER,   /* another job draws right now; ask again at once */
    WARMUP_BROKEN,  /* -20 in *f, and nothing was drawn */
};
struct warmup_ask {
    int32_t day; /* since 1970-01-01, on a local clock */
    const char *source, *provider;
    uint32_t cap;  /* of that day */
    uint32_t want; /* at most, at least 1 */
};
/* Up to `want` messages that are left today: how many in *n_out. A day before that of
 * the file is used up: some clock goes wrong. */
enum warmup_draw warmup_draw(struct warmup *w, const struct warmup_ask *ask,
                             uint32_t *n_out, struct fault *f);

/* For who only looks, from the spool's path: what was drawn on that day until now.
 * Nothing is made, locked or changed, so somebody may draw meanwhile. NULL and -20 in
 * *f: there is a file, and it cannot be read. */
struct warmup *warmup_look(const char *spool, int32_t day, struct fault *f);
uint64_t warmup_used(struct warmup *w, const char *source, const char *provider);

/* To be synced before what was drawn is sent; fdatasync on any thread. */
int warmup_fd(const struct warmup *w);

#endif
