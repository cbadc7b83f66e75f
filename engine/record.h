/* From what happened to a line of attempts.tsv. Scheduler's thread only. */
#ifndef ENGINE_RECORD_H
#define ENGINE_RECORD_H

#include "engine/engine.h"

/* Where a line's attempt went. Empty spans: nowhere. */
struct record_where {
    struct span email, domain, site, mx_host, mx_address, source, tls, message_id;
    unsigned flags;
};

/* A row's attempt (row > 0), and a second line when its retries ended with it (606,
 * 607). now_ms: wall clock; next_ms of the decision's next attempt, 0 when final.
 * timings may be NULL. */
struct record {
    int64_t now_ms, next_ms;
    uint32_t row;
    const struct verdict *verdict;
    struct decision decision;
    struct span words;
    const int32_t *timings_us; /* TIMING_COUNT, or NULL */
};
void record_attempt(struct attempts *log, const struct record *r,
                    const struct record_where *where);
/* A line with row 0: outcome `event`. */
void record_event(struct attempts *log, int64_t now_ms, const struct verdict *verdict,
                  const struct record_where *where, struct span words);
/* The same of the whole job, in words alone; not one of enum run_event. */
void record_note(struct attempts *log, int64_t now_ms, const char *words);
/* Add a final result to the totals. pending is the caller's. */
void record_count(struct totals *totals, const struct verdict *verdict, int ended);

#endif
