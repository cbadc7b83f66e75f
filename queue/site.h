/* A site: the hosts behind one MX set for the domains of one policy, the rows that are
 * ready for it, and the window that says how many connections it may have. And the
 * connections, as far as the scheduler knows them. Pure; the scheduler's thread alone;
 * private to queue/.
 *
 * The window follows Postfix's SCHEDULER_README in small: an unproven site gets one
 * connection, a probe; once a connection has settled a row the site is proven and the
 * window opens to WINDOW_FIRST; it grows with each good row until the first bad news,
 * later by one after a whole window of good news, shrinks at bad news, and a connection
 * that is refused while others work sets a ceiling for CEILING_US. A round that fails
 * (no connection works and none can be made) closes the site until the retry interval
 * is over; then one probe follows.
 *
 * Receivers refuse by address. Of several sources one that fails is left alone for a
 * retry interval while another one may be tried; the round has failed when all have
 * that may be used. */
#ifndef QUEUE_SITE_H
#define QUEUE_SITE_H

#include "base/list.h"
#include "queue/provider.h"
#include "queue/rows.h"
#include "resolver/mx.h"

enum {
    WINDOW_FIRST = 5,
    CEILING_US = 60 * 1000 * 1000,
};

struct site {
    char *name;                /* for people */
    uint32_t number;           /* of the scheduler's sites */
    struct mx_set *set;        /* the latest answer with this key */
    uint32_t policy;           /* its number */
    unsigned lacks;            /* enum lack: why it got no order when it last asked */
    uint32_t heard;            /* the turn of scheduler_hear that it was last met in */
    struct provider *provider; /* whose limits hold */
    struct outer *outer;       /* what bounds it beside; NULL: nothing */
    struct fifo fresh;         /* ready, from whatever source */
    uint32_t ready;            /* rows in this and all of `bound` */
    struct fifo *bound;        /* ready, by source; NULL: there never were any */
    int64_t *left_until_us;    /* by source: it failed here, others go first; NULL: none
                                  did since the last failed round */
    uint32_t opened;           /* connections so far: they go round the sources */
    uint32_t lent;             /* rows with connections */
    uint32_t connections;      /* open or being opened */
    uint32_t window;
    uint32_t good;    /* delivered since the window last moved */
    uint32_t ceiling; /* of the window until ceiling_until_us */
    int64_t ceiling_until_us;
    int64_t closed_until_us; /* after a failed round */
    bool troubled;           /* there was bad news */
    bool proven;             /* a connection has worked since the last failed round */
    unsigned avoid;          /* bits of enum avoid */
    char *why;               /* it was closed by a rule; NULL */
    char *failure;           /* of the last round, in words; NULL: not known, or a
                                connection has worked since */
    uint32_t enough;         /* messages a connection before it closes; 0: not known */
    uint32_t enough_once;    /* the same, seen once */
    struct link work;   /* in the scheduler's ring of sites that may get an order, or
                           in a line of site_waits */
    struct line *line;  /* which one; NULL: in none */
    struct link hungry; /* connections whose lease runs low */
};

struct connection_record {
    struct site *site; /* NULL: free number */
    struct path *path;
    uint8_t source;
    uint32_t served; /* messages that were answered on it */
    bool brought;    /* what is being settled counts as brought through already */
    uint32_t lent;
    uint32_t together;   /* rows that may share a message */
    uint32_t reserved;   /* messages that may yet be begun for what is lent */
    uint32_t left;       /* messages it may still be lent; UINT32_MAX: no limit */
    uint32_t lease;      /* rows it should hold: follows its speed */
    int64_t lent_us;     /* last time it was lent rows */
    int64_t progress_us; /* last time it settled or returned a row */
    bool last;           /* was told that no more comes */
    bool recalled;       /* was asked to give back what it has not begun */
    bool stop;           /* to be told to end with what it has begun */
    struct link hungry;  /* in site->hungry, or alone */
};

/* Takes the reference. */
void site_init(struct site *site, struct mx_set *set, uint32_t policy,
               struct waits *waits); /* whom it waits with */
void site_finish(struct site *site);
void site_refresh(struct site *site, struct mx_set *set); /* takes the reference */

/* Those with whom it waits. */
static inline struct waits *site_waits(const struct site *site)
{
    return site->outer ? &site->outer->waits : &site->provider->waits;
}

/* May one more connection be opened now? */
bool site_admits(const struct site *site, uint32_t connections_max, int64_t now_us);
/* Rows for a connection from this source. */
static inline uint32_t site_ready(const struct site *site, uint8_t source)
{
    return site->fresh.n + (source && site->bound ? site->bound[source].n : 0);
}
/* Has it rows that could take every way that a row from this source could? */
static inline bool site_covers(const struct site *site, uint8_t source)
{
    return site->fresh.n > 0 || (source && site_ready(site, source) > 0);
}
void site_push(struct site *site, struct row *rows, uint32_t index, bool first,
               int sources_n);
uint32_t site_pop(struct site *site, struct row *rows, uint8_t source); /* 0: none */
/* The one that site_pop would take. */
static inline uint32_t site_first(const struct site *site, uint8_t source)
{
    bool bound = source && site->bound && site->bound[source].n;
    const struct fifo *f = bound ? &site->bound[source] : &site->fresh;
    return f->n ? f->head : 0;
}
/* All that is ready, out of the site; or what is bound to this source. */
struct fifo site_take_all(struct site *site, struct row *rows, int sources_n);
struct fifo site_take_bound(struct site *site, uint8_t source);

/* A connection that had served so many was closed by the server with nothing in flight.
 * Twice at the same number: it counts, and so do we from now on. We end one earlier, or
 * our QUIT would meet its close. */
void site_had_enough(struct site *site, uint32_t served);

/* A row was settled over a connection from this source that works. */
void site_good(struct site *site, uint8_t source, uint32_t connections_max,
               int64_t now_us);
void site_bad(struct site *site,
              int64_t now_us); /* a connection lost or refused, others work */
void site_failed(struct site *site, int64_t until_us); /* a failed round */
/* From this source nothing could be made, and others go first until then. */
void site_leave(struct site *site, uint8_t source, int64_t until_us, int sources_n);
static inline int64_t site_left_until_us(const struct site *site, uint8_t source)
{
    return site->left_until_us ? site->left_until_us[source] : 0;
}

#endif
