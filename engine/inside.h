/* Inside the engine: the state that its files share. engine.c runs the turns of the
 * loop, lookup.c finds the way of each domain, settle.c turns what happened into
 * results, journal.c keeps the log ahead of what is sent, steer.c stops and goes on.
 * Nobody outside engine/ includes this. Scheduler's thread only. */
#ifndef ENGINE_INSIDE_H
#define ENGINE_INSIDE_H

#include "engine/control.h"
#include "engine/engine.h"
#include "engine/journal.h"
#include "engine/record.h"
#include "queue/board.h"
#include "queue/network.h"
#include "queue/warmup.h"

/* What the engine remembers of an open connection: for the log. */
struct lane {
    int worker;
    int64_t opened_us;
    const char *site;
    uint8_t source; /* 0: none was chosen */
    bool relayed;   /* to a relay */
    bool left;      /* a rule wants a new one: its end is no bad news */
    struct event
        *closed; /* it is over, but rows are still on their way back; or NULL */
    struct task
        *targets; /* a task without rows, kept for its targets; NULL: number is free */
};

struct sender { /* a worker and its thread */
    struct worker worker;
    uv_loop_t loop;
    uv_thread_t thread;
};

/* Why nothing is begun. */
enum hold {
    HOLD_START = 1 << 0,
    HOLD_PAUSE = 1 << 1,
    HOLD_QUIET = 1 << 2,
};

/* A reply that stopped a path, or slowed it down: the same one on the connections
 * beside it was already on its way. */
struct reacted {
    const struct reaction_rule *rule;
    const void *whom; /* scheduler_reached */
    int64_t until_us; /* so long the others are its echoes */
};
enum { REACTED_KEPT = 16 };

/* A policy's, one that connections may still have too. */
struct kept_destination {
    struct kept_destination *next;
    struct destination destination;
};

/* As it stands now. */
struct policy {
    const struct destination *destination;
    struct hours hours; /* nothing is begun within */
    bool quiet;         /* they hold, as the scheduler knows */
    const char *budget; /* whose limits these are; NULL: each site's own */
};

struct engine {
    const struct engine_params *params;
    struct worker_params worker_params;
    struct scheduler *scheduler;
    struct resolver *resolver;
    struct mailbox inbox;
    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_timer_t wake, tick;
    uv_signal_t interrupt, terminate;
    struct journal journal;
    struct fault fault; /* the run is over: of the log, or what could not be begun */

    struct sender *senders;
    int senders_n, next_sender;
    struct lane *lanes;
    uint32_t lanes_n, lanes_open;
    struct link lookups; /* asked of the resolver, not yet answered */
    int lookups_n;
    /* While scheduler_resolved is given a relay: the MX set that it was decided by;
     * NULL: by none. */
    const struct mx_set *decided_by;
    bool disk_full; /* nothing is begun until the log has room again */
    bool mute;      /* no name server answers anybody: the log knows it */
    enum engine_state state;
    bool interrupted;            /* by a first signal: the next one ends it at once */
    bool ending;                 /* TASK_END was posted, handles are closing */
    bool expired;                /* until_ms is over: what is left becomes 606 */
    enum engine_state cancelled; /* CANCELLED or STORM; 0: neither */
    unsigned holds;              /* enum hold */
    struct reactions *reactions;
    struct reacted reacted[REACTED_KEPT]; /* round and round */
    unsigned reacted_at;
    struct storm *storm;
    struct network network;
    bool reached;         /* a host was connected to: */
    struct ip reached_at; /* the last one */
    uint8_t reached_from; /* its source */
    int64_t patience_us;  /* with it: the lifetime of policy 0 */
    struct control *control;
    bool sharing;        /* limits, with other jobs of the spool */
    struct board *board; /* while sharing; NULL: the others do not see us, */
    int64_t join_us;     /* and then we try again */
    bool board_gone;     /* the log says so */
    uint32_t jobs;       /* that share them, this one included */
    uv_signal_t hangup;
    uv_timer_t clock;        /* start, until, quiet hours, other jobs */
    struct warmup *warmup;   /* NULL: no source has one */
    struct policy *policies; /* by number */
    uint32_t policies_n;
    struct kept_destination *kept; /* all of them */
    int resolver_in_flight;
    struct totals totals;
    uint64_t attempts;
    char cause[ENGINE_REASON_MAX]; /* with cancelled: why */
    int64_t began_us, began_ms;
    int64_t epoch_us; /* the job's beginning on the monotonic clock */
    uint64_t *source_keys;
    struct order order;
};

int64_t engine_now_us(void);
/* Wall time of the log: the start's wall clock plus what has passed, so that a jump of
 * the clock disturbs nothing within a run. */
int64_t engine_wall_ms(const struct engine *e, int64_t us);
int64_t engine_us_of(const struct engine *e, int64_t wall_ms); /* the reverse */
/* Now, on a whole millisecond: what is reckoned from it is the log's time. */
struct moment engine_moment(const struct engine *e);

/* lookup.c */
/* Ask for the domains that are due; drop what is asked. */
void lookups_ask(struct engine *e);
void lookups_forget(struct engine *e);
/* Does it go through a relay, whatever its MX? */
bool engine_is_relayed(const struct engine *e, uint32_t domain);
/* scheduler_policy_fn. */
uint32_t engine_policy_of(void *engine, uint32_t domain, const struct mx_set *set,
                          struct scheduler_policy *out, bool *fresh);
/* Get a policy, or get it anew; returns what the scheduler is to know of it. */
struct scheduler_policy engine_get_policy(struct engine *e, uint32_t number);
/* Ask a resolver with these settings from now on. False with *f: it cannot be made. */
bool engine_take_resolver(struct engine *e, const struct resolver_params *params,
                          struct fault *f);

/* The name of the source that the lane was bound to, "" if none was chosen. */
const char *engine_source(const struct engine *e, const struct lane *lane);

void engine_broadcast(struct engine *e, enum task_kind kind);
enum engine_state engine_state_now(const struct engine *e);
void engine_stats_now(const struct engine *e, struct engine_stats *out);
/* steer.c */
/* When these hours end, on the run's clock; 0: they do not hold now. */
int64_t steer_quiet_until_us(const struct engine *e, const struct hours *hours);
void steer_begin(struct engine *e);
void steer_end(struct engine *e);    /* closes its handles */
void steer_finish(struct engine *e); /* after the loop has run */
/* All that is pending becomes -11. as: ENGINE_CANCELLED or ENGINE_STORM. */
void steer_cancel(struct engine *e, enum engine_state as, struct span reason);
void steer_network(struct engine *e, bool down);
/* Why the job as a whole does what it does, until the next call of the engine;
 * until_ms, Unix time: then that ends, 0: no such time. */
struct span steer_reason(const struct engine *e, int64_t *until_ms);

/* react.c. What a rule makes of a reply changes *v, before the row is settled. Returns
 * how long the row must wait at least, µs; 0: as usual. `event` is SETTLED, or CLOSED
 * with the failure of a whole round. */
int64_t react(struct engine *e, const struct event *event,
              const struct record_where *where, struct verdict *v);

/* warmup.c: scheduler_allow_fn. */
uint32_t warmup_allow(void *engine, uint8_t source, uint32_t policy, const char *site,
                      int64_t now_us, int64_t *until_us);

/* settle.c. All that is left becomes 606. True: there are more, come again. */
bool settle_expired(struct engine *e);
/* A report came: mailbox_deliver_fn. */
void settle_report(void *engine, struct mail *mail);
/* Rows whose domain has no place to send to. True: there are more, come again. */
bool settle_unresolvable(struct engine *e);
/* No name server answers: an event line (608). */
void settle_mute(struct engine *e, const struct mx_set *set);

#endif
