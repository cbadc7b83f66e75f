/* The storm breaker: when receivers everywhere refuse us, or every second address does
 * not exist, going on makes it worse. It sees results that came as replies and says
 * when to stop: `failures` percent of the last `window` bad, once there are `min` of
 * them, or `consecutive` bad ones in a row; both only with bad ones of STORM_SITES
 * sites, for one site's anger is that site's. Pure. What is bad, and what is no reply
 * or one that is another row's too, the engine knows. */
#ifndef QUEUE_STORM_H
#define QUEUE_STORM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum { STORM_SITES = 3 };

struct storm_params {
    uint32_t window;
    uint32_t min;         /* more than window means window */
    uint32_t failures;    /* percent; 0: never for this reason */
    uint32_t consecutive; /* 0: never for this reason */
};

/* So many refusals, one behind another, are one site's own storm: it is left alone for
 * a while. As many from STORM_SITES sites are enough for the job's, by their share;
 * where that needs more than SITE_STORM_MAX from each, they stand still
 * instead. 0: storms are switched off. */
enum { SITE_STORM_MIN = 20, SITE_STORM_MAX = 50 };
uint32_t storm_of_one_site(const struct storm_params *params);

struct storm;

/* NULL when params say that it never trips. */
struct storm *storm_create(const struct storm_params *params);
void storm_destroy(struct storm *s); /* NULL is allowed */

/* A result came from this site. True: it is a storm now. NULL never is one. */
bool storm_note(struct storm *s, struct span site, bool bad);

/* What trips it, in words; after storm_note was true. */
void storm_reason(const struct storm *s, struct buf *out);

#endif
