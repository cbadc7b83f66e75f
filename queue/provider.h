/* Whom limits are for. A provider is all that one section of the settings matches, else
 * a site by itself; a path is a provider as one source sees it, and limits, pauses and
 * the way back from them belong to the path: receivers count by the address that they
 * hear. Pure; the scheduler's thread alone (but for the gates); private to queue/.
 *
 * A path that was told to slow down is closed for a time, or has half of what it had.
 * Then it may have few connections, and one more with each PATH_GOOD messages that each
 * of them brought through, as Gmail publishes it for its 4.7.28. */
#ifndef QUEUE_PROVIDER_H
#define QUEUE_PROVIDER_H

#include "base/heap.h"
#include "base/list.h"
#include "queue/board.h"
#include "queue/limits.h"
#include "queue/scheduler.h"

enum {
    PATH_GOOD = 5,     /* messages a connection, before one more is allowed */
    PATH_SLOWEST = 4,  /* the rate is halved so often at most */
    PATH_PATIENCE = 4, /* own pauses double so often at most */
    ANSWERS_MIN = 100, /* before the share of unknown addresses means anything */
    ANSWERS_KEPT = 1000,
};

struct path {
    struct board_slot *slot;      /* with connections: its own among all jobs; NULL */
    struct gate connects, mails;  /* which the workers of all jobs pass */
    struct gate opening, lending; /* our part of it, a little ahead: the scheduler's */
    struct sharing share;         /* between the jobs that send by it now */
    struct limits common;         /* the least that the settings of any of them say */
    uint32_t heard;       /* the turn of scheduler_hear that it was last met in */
    uint32_t outdone;     /* in this turn others had all that it may have; 0: never */
    uint32_t met;         /* the one of the scheduler's searches that met it last */
    uint32_t connections; /* open or being opened */
    uint32_t allowed;  /* of them, while it recovers, to all jobs; UINT32_MAX: what the
                          policy says */
    uint32_t standing; /* stop_surplus counts them anew */
    uint32_t good;     /* brought through since `allowed` last moved */
    uint32_t refusals; /* about us, one behind another */
    uint32_t pauses;   /* of its own making, without a success between them */
    uint32_t slow;     /* times that the rate is halved */
    int64_t slow_until_us; /* then once less */
    int64_t closed_until_us;
    int64_t allowance; /* messages that may be begun; less than 0: too many were */
    int64_t allowance_until_us;
    bool used_up; /* until then there is no more */
    char *why;    /* it is closed or slow, in words; NULL */
};

struct line { /* sites, the one that came first before the others */
    struct link sites;
    uint32_t n;
    uint32_t turns; /* so many of them are still to be asked */
};

enum line_kind {
    LINE_OPEN, /* they want one more connection */
    LINE_FEED, /* they have one, that lacks a turn of its rate */
    LINES
};

struct outer;

/* Sites that need the same of others: their provider, and outer budgets. They wait here
 * when they lack only what these may have. */
struct waits {
    struct line lines[LINES];
    enum line_kind last;    /* who had the last turn */
    struct link offer;      /* in the scheduler's ring of those with turns to give */
    struct heap_node alarm; /* when there may be some */
    struct provider *provider;
    struct outer *outer; /* NULL: no outer budget bounds them */
};

struct last_turn { /* in the scheduler's ring of those with outer budgets, and of those
                 beside such: who had its last turn before comes first */
    struct link link;
    struct waits *waits;
};

/* Budgets that bound the sites of one policy beside their provider. Each is a provider
 * whose paths are for its limits alone. */
struct outer {
    struct waits waits;
    struct last_turn turn;
    uint32_t policy;
    int n;
    struct provider *budgets[];
};
static inline int outer_n(const struct outer *o) /* NULL: none */
{
    return o ? o->n : 0;
}

struct bounded {         /* what outer budgets make of a provider, or of one of them */
    struct outer **list; /* for it, or with it among them */
    uint32_t n;
    uint32_t mark; /* of the last offer that was for it, as an outer budget */
    struct last_turn turn;
};

struct provider {
    uint64_t key; /* the same in all jobs */
    struct limits limits;
    struct path **paths;     /* by source; NULL: nothing was sent yet */
    struct waits waits;      /* of sites that nothing else bounds */
    struct bounded *bounded; /* NULL: all of them are */
    uint32_t answers, absent;
    int64_t braked_until_us; /* too many addresses do not exist there */
};

/* Of the i-th outer budget; NULL: nothing was sent yet. */
static inline struct path *outer_path(const struct outer *o, int i, int source)
{
    return o->budgets[i]->paths[source];
}

/* Other words than before, copied. */
void words_set(char **words, const char *to);

struct provider *provider_create(int sources_n);
void provider_free(struct provider *p, int sources_n);

/* Sites of this policy are bound by so many outer budgets too, which are to be set. */
struct outer *outer_create(struct provider *p, uint32_t policy, int n);
/* When they are. */
void outer_bind(struct outer *o);
/* Those of this policy; NULL: there are none. */
struct outer *provider_outer(const struct provider *p, uint32_t policy);
static inline bool waits_any(const struct waits *w)
{
    return w->lines[LINE_OPEN].n + w->lines[LINE_FEED].n > 0;
}
bool bounded_awaited(const struct bounded *b);
/* Does any site wait for it, or for what else bounds that site? */
static inline bool provider_awaited(const struct provider *p)
{
    return waits_any(&p->waits) || (p->bounded && bounded_awaited(p->bounded));
}

/* And those of this policy, or of an outer budget. */
void limits_add(struct limits *limits, const struct scheduler_policy *policy);
void limits_add_outer(struct limits *limits, const struct scheduler_budget *budget);

/* Rates, and our share of them. */
void path_limit(struct path *path, const struct limits *limits);
/* The connections it may have now, of all jobs, and our share of those: 0 when others
 * have their turn. */
uint32_t path_whole(const struct path *path, const struct limits *limits);
uint32_t path_connections(const struct path *path, const struct limits *limits);
/* When we may lend it one more message, or open one more connection: by our own pace,
 * and by what all jobs have sent. */
int64_t path_lends_us(const struct path *path);
int64_t path_opens_us(const struct path *path);
/* Is it like a new one? Then nobody needs it. */
bool path_is_plain(const struct path *path, int64_t now_us);
/* A message was brought through. True: one more connection is allowed now. */
bool path_good(struct path *path, const struct limits *limits);
/* Closed until then, and what comes after; why is copied. */
void path_close(struct path *path, int64_t until_us, uint32_t connections,
                const char *why);
/* Half of the rates, and of the connections that all jobs have, until then; while it is
 * slow already, for as long as that at least. */
void path_slow(struct path *path, int64_t until_us, uint32_t connections,
               const char *why);
/* Time has passed: it may be less slow. True: path_limit is due. */
bool path_rest(struct path *path, int64_t now_us, int64_t step_us);

/* An address was accepted or does not exist. True: the share of those that do not has
 * passed the limit. */
bool provider_answered(struct provider *p, bool absent, uint32_t percent);

#endif
