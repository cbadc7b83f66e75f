/* Inside the scheduler: the state that its files share. scheduler.c keeps rows and
 * domains and settles; lending.c decides who gets what. Nobody outside queue/ includes
 * this. */
#ifndef QUEUE_INSIDE_H
#define QUEUE_INSIDE_H

#include "base/map.h"
#include "queue/scheduler.h"
#include "queue/site.h"
#include "queue/wheel.h"

enum domain_state {
    DOMAIN_IDLE,   /* nobody has asked, or the answer is too old */
    DOMAIN_QUEUED, /* waits for scheduler_ask */
    DOMAIN_ASKED,  /* its lookup is under way */
    DOMAIN_KNOWN,  /* site is right until expires_us */
    DOMAIN_FAILED, /* its rows leave through scheduler_unresolvable */
    DOMAIN_PAUSED, /* no resolver answers: queued again at expires_us */
};

struct domain {
    enum domain_state state : 8;
    uint16_t code;    /* of the last lookup, if it failed for a while; 0 */
    struct fifo rows; /* ROW_ASKING */
    uint32_t policy;  /* by what is known of it so far; POLICY_UNKNOWN: nobody asked */
    uint32_t next;    /* in the ask, failed or paused queue, number + 1; 0: none */
    struct site *site;
    struct mx_set *failed; /* DOMAIN_FAILED: why */
    int64_t expires_us;
};

#define POLICY_UNKNOWN UINT32_MAX

struct domain_queue {
    uint32_t head, tail; /* number + 1 */
};

struct resting { /* a path without connections */
    struct provider *provider;
    uint8_t source;
    int64_t until_us;
};

struct scheduler {
    struct scheduler_params params;
    struct rng rng;
    bool stopped, standing, network_down, expiring;
    int64_t still_us;   /* since when; with standing or network_down */
    uint32_t expire_at; /* how far scheduler_expire has come */

    struct row *rows; /* 1 … rows_n: row number minus first_row plus 1 */
    uint32_t rows_n, first_row;
    struct wheel wheel;

    struct domain *domains;
    uint32_t domains_n;
    struct domain_queue ask, failed, paused;

    struct site **sites;
    uint32_t sites_n, sites_cap;
    struct provider **shared; /* by number, those of sections; NULL: not met yet */
    uint32_t shared_n;
    struct provider **budgets; /* outer ones, by their numbers; likewise */
    uint32_t budgets_n;
    int gates_cap;
    struct gate **gates;     /* of the last order OPEN: to connect, and then for MAIL */
    struct link offers;      /* struct waits with turns for the sites in their lines */
    struct link bounded;     /* struct last_turn: the oldest first */
    uint32_t marks;          /* offers to some of these so far */
    struct heap alarms;      /* of those with sites in their lines */
    struct resting *resting; /* a ring, the next one to be looked at first */
    uint32_t resting_first, resting_n, resting_cap;
    int64_t *source_until_us; /* by source: suspended */
    char **source_why;        /* and why; NULL: it never was */
    struct board *board;      /* NULL: we share with nobody, or only scheduler_share */
    struct sharing share;     /* without it */
    uint32_t jobs;            /* with a place on it */
    uint32_t heard;           /* turns of scheduler_hear, from 1 */
    bool outdone;             /* a path was, in this turn */
    uint32_t searches;        /* that meet each path once */
    uint32_t told;            /* board_told, as far as we have heard */
    bool stops;               /* connections have to be told to end */
    struct map site_by_key;   /* "POLICY KEY" */
    struct buf site_key;      /* to look one up */
    struct scheduler_policy *policies;
    uint32_t policies_n;
    struct link work;         /* sites that may get an order */
    struct link starved;      /* sites that only lack a connection of the whole job */
    struct fifo round;        /* rows of a failed round, to be settled */
    struct site *failed_site; /* whose it was */

    struct connection_record *connections;
    uint32_t *free_connections;
    uint32_t connections_n, connections_used, connections_free;
    uint32_t room; /* connections that our machine has sockets for, as far as we know */
    int64_t room_until_us;   /* then it is tried again with all; INT64_MAX: it is all */
    int64_t opening_from_us; /* no connection is opened before */
    int64_t probing_from_us; /* no probe of a network that is down is */
    uint32_t probe;          /* the connection that is one; NO_CONNECTION: none */
    int64_t stall_check_us;  /* when stalled connections are looked for again */
    uint32_t stall_at;       /* how far the present search has come */

    uint64_t pending, lent, ready, asking;
};

/* The site may get an order: to the end of the ring. */
static inline void wake_site(struct scheduler *s, struct site *site)
{
    if (site->line)
        site->line->n--;
    site->line = NULL;
    link_append(&s->work, &site->work);
}

/* The tick at or behind this time. */
static inline uint32_t scheduler_tick(const struct scheduler *s, int64_t us)
{
    int64_t ticks = (us - s->params.now_us + WHEEL_TICK_US - 1) / WHEEL_TICK_US;
    return ticks < 0 ? 0 : ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
}

static inline const struct scheduler_policy *policy_of(const struct scheduler *s,
                                                       const struct site *site)
{
    return &s->policies[site->policy];
}

static inline bool policy_has_source(const struct scheduler_policy *p, uint8_t source)
{
    for (int i = 0; i < p->sources_n; i++)
        if (p->sources[i] == source)
            return true;
    return false;
}

/* It leaves where it waited for us, or for a resolver: that does not count for its
 * lifetime. */
static inline void row_begins(const struct scheduler *s, struct row *r, int64_t now_us)
{
    int64_t since_us = s->params.now_us + (int64_t)r->due * WHEEL_TICK_US;
    int64_t waited_s = (now_us - since_us) / 1000000;
    if (r->first_s && waited_s > 0)
        r->first_s += (uint32_t)waited_s;
}

/* Has this path all the connections that it may have? While others have them nobody is
 * asked again before scheduler_hear, or before one of our own ends. */
static inline bool path_is_full(const struct scheduler *s, const struct path *path,
                                const struct limits *limits)
{
    return path->outdone == s->heard ||
           path->connections >= path_connections(path, limits);
}

/* From all sources together. */
static inline uint32_t connections_of_all(const struct scheduler *s,
                                          const struct site *site)
{
    const struct scheduler_policy *p = policy_of(s, site);
    return p->connections * (p->sources_n ? (uint32_t)p->sources_n : 1);
}

/* lending.c: the connection's lease may run low; its site may have something for it. */
void lending_offer(struct scheduler *s, struct connection_record *c);

/* restraint.c */
/* With whom a site of this policy waits, and for whom: its provider, which is its
 * section's or one of its own, and outer budgets. */
struct waits *restraint_waits(struct scheduler *s, uint32_t policy,
                              const struct mx_set *set);
/* The path of a connection from this source; it is made when it is the first, and so
 * are those of the outer budgets. */
struct path *restraint_paths(struct scheduler *s, struct site *site, uint8_t source);
/* A connection of the site has ended. The path of its last one goes when it is like a
 * new one. */
void restraint_closed(struct scheduler *s, struct site *site, uint8_t source,
                      int64_t now_us);
/* May a message be begun on this path today? False: not before *until_us. */
bool restraint_allows(struct scheduler *s, const struct site *site, uint8_t source,
                      struct path *path, int64_t now_us, int64_t *until_us);
/* Before a row of it is settled or comes back: if a day of allow has ended, what is
 * under way belongs to the new one. */
void restraint_day(const struct scheduler *s, struct path *path, int64_t now_us);
/* A result of a connection: what it tells of its path. */
void restraint_note(struct scheduler *s, struct connection_record *c,
                    const struct settlement *what, struct decision *d, int64_t now_us);
/* Connections of this path (NULL: any), site (likewise) and source end with what they
 * have begun. keep: as many of them may stay. */
enum { ANY_SOURCE = -1 };
void restraint_stop(struct scheduler *s, const struct path *path,
                    const struct site *site, int source, uint32_t keep);
/* So do those over their path's share. */
void restraint_stop_surplus(struct scheduler *s);
/* Longer than it may be already. */
void restraint_brake(struct scheduler *s, struct provider *p, int64_t until_us);
void restraint_close_site(struct site *site, int64_t until_us, const char *why);
void restraint_close_source(struct scheduler *s, uint8_t source, int64_t until_us,
                            const char *why);
void restraint_advance(struct scheduler *s, int64_t now_us);

/* lines.c */
/* The site waits for its provider and outer budgets, behind those that do already, and
 * not after until_us (INT64_MAX: until something happens). */
void restraint_queue(struct scheduler *s, struct site *site, enum line_kind kind,
                     int64_t until_us);
/* What the provider may have has changed, or what the outer budgets of its sites may:
 * those that wait for it or for these are asked again. */
void restraint_offer(struct scheduler *s, struct provider *p);
/* The site had its turn: of those that wait for the same the others go first. */
void restraint_served(struct scheduler *s, struct site *site);
/* The next site that has its turn, out of its line; NULL: none. */
struct site *restraint_turn(struct scheduler *s, int64_t now_us);
/* When some may have turns. */
int64_t restraint_wake(const struct scheduler *s);

/* jobs.c: with others of the spool, on the board. Without one nothing happens. */
/* Before the site may have one more connection from this source: what all know of its
 * paths that have none, that of its provider and those of its outer budgets. jobs_part
 * when it gets none. */
void jobs_meet(struct scheduler *s, struct site *site, uint8_t source, int64_t now_us);
void jobs_part(struct scheduler *s, const struct site *site, uint8_t source);
/* One more connection in all of them; false: others have all of one. */
bool jobs_open(struct scheduler *s, const struct site *site, uint8_t source,
               int64_t now_us);
void jobs_close(struct scheduler *s, const struct site *site, uint8_t source);
/* Of all jobs. */
uint32_t jobs_connections(const struct scheduler *s, const struct path *path);
/* What was said of a path, of its site or its source, or of a whole provider. */
void jobs_tell(struct scheduler *s, struct path *path, int64_t now_us);
/* Before it changes: what others were told of it a moment ago. */
void jobs_hear(struct scheduler *s, const struct site *site, struct path *path,
               int64_t now_us);
/* Its way back went on: one more connection is allowed than `was`. */
void jobs_widen(struct scheduler *s, const struct site *site, struct path *path,
                uint32_t was, int64_t now_us);
void jobs_tell_site(struct scheduler *s, const struct site *site, int64_t now_us);
void jobs_tell_source(struct scheduler *s, uint8_t source, int64_t now_us);
void jobs_tell_brake(struct scheduler *s, const struct provider *p, int64_t now_us);

#endif
