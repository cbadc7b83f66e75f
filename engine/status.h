/* How a job stands, for people and for programs. Pure. */
#ifndef ENGINE_STATUS_H
#define ENGINE_STATUS_H

#include "engine/engine.h"

struct status {
    const char *job;
    enum engine_state state;
    struct span reason; /* of the state, or of what came last; may be empty */
    uint32_t jobs; /* that divide the limits, this one included; 0: it takes no part */
    struct totals totals;
    const struct site_view *sites; /* those with most rows waiting first */
    int sites_n;
    struct moment now;
};

/* One object on one line, with its newline: job state reason jobs rows delivered error
 * absent pending in_doubt assumed, and sites (name waiting connections reason). */
void status_json(const struct status *s, struct buf *out);
void status_text(const struct status *s, struct buf *out);
/* A site and what it lacks, without a newline. */
void status_site(const struct site_view *site, const struct moment *now,
                 struct buf *out);

#endif
