/* How a job stands, for people and for programs. Pure. */
#ifndef ENGINE_STATUS_H
#define ENGINE_STATUS_H

#include "engine/engine.h"

struct status {
    const char *job;
    enum engine_state state;
    struct span reason; /* of the state, or of what came last; may be empty */
    uint32_t jobs;      /* that share limits, this one included; 0: it takes no part */
    int64_t until_ms;   /* when that ends, Unix time; 0: no such time */
    struct totals totals;
    struct survey survey; /* of a job that runs; else all 0 */
    struct scheduler_stats scheduler;
    struct moment now;
};

/* One object on one line, with its newline: job state reason jobs rows delivered error
 * absent pending in_doubt assumed until resolving retrying next_attempt, lookups
 * (reason rows domains domain due), sites (name waiting retrying due connections window
 * reason reasons until rule reply), more_sites and more_rows. Times in it are UTC; in
 * the others local. */
void status_json(const struct status *s, struct buf *out);
void status_text(const struct status *s, struct buf *out);
/* A site and what it lacks, without a newline. */
void status_site(const struct site_view *site, const struct moment *now,
                 struct buf *out);

/* What a row waits for, the answer to `why ROW`: its state on a line (status_row_word),
 * then sentences on theirs, none of one that is lent. source: name of the row's; NULL:
 * it may leave from any. Times are UTC, as in the log. */
void status_row(const struct row_view *row, const char *source,
                const struct moment *now, struct buf *out);
const char *status_row_word(enum row_state state);
/* The same of the whole job: a sentence, or nothing if it just runs. */
void status_whole(enum engine_state state, struct span reason, int64_t until_ms,
                  struct buf *out);

#endif
