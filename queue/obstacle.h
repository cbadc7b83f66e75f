/* What keeps a site, or one of its sources, from an order: for lending, and for people.
 * The scheduler's thread alone; private to queue/. */
#ifndef QUEUE_OBSTACLE_H
#define QUEUE_OBSTACLE_H

#include "queue/inside.h"

struct obstacle {
    unsigned lacks;   /* enum lack */
    int64_t until_us; /* at least; INT64_MAX: until something happens */
};

enum { NO_SOURCE = -1 };

static inline void obstacle_meet(struct obstacle *o, unsigned lacks, int64_t until_us)
{
    o->lacks |= lacks;
    if (until_us < o->until_us)
        o->until_us = until_us;
}

/* The i-th source of the site, counted from the one whose turn it is; NO_SOURCE: there
 * are no more. */
int obstacle_source_at(const struct scheduler *s, const struct site *site, uint32_t i);
/* What keeps this source from one more connection with a row. */
void obstacle_of_source(const struct scheduler *s, const struct site *site, int source,
                        struct obstacle *o, int64_t now_us);
/* The whole site waits: after a failed round, by a rule, for its hours, or its provider
 * does. */
bool obstacle_of_site(const struct scheduler *s, const struct site *site,
                      struct obstacle *o, int64_t now_us);
/* What keeps the site from a connection beside its paths. */
void obstacle_of_window(const struct scheduler *s, const struct site *site,
                        struct obstacle *o);
/* Has this source rows here, and is it its turn? One that failed has a single probe. */
bool obstacle_asked(const struct scheduler *s, const struct site *site, int source,
                    struct obstacle *o, int64_t now_us);

/* Others of the site's sources may be tried: none of them failed there of late, nor is
 * suspended, nor has it sent its cap. */
bool obstacle_has_others(const struct scheduler *s, const struct site *site,
                         uint8_t source, int64_t now_us);
/* The site leaves this source alone until then, since there are others; 0: it does not.
 */
int64_t obstacle_left_until_us(const struct scheduler *s, const struct site *site,
                               uint8_t source, int64_t now_us);
/* Has it a connection from there? */
bool obstacle_is_connected(const struct scheduler *s, const struct site *site,
                           uint8_t source);
/* What keeps a site from more, as enum lack. */
unsigned obstacle_lacks(const struct scheduler *s, const struct site *site,
                        int64_t now_us);

#endif
