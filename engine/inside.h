/* Inside the engine: the state that its files share. engine.c runs the turns of the
 * loop, settle.c turns what happened into results, journal.c keeps the log ahead of
 * what is sent. Nobody outside engine/ includes this. Scheduler's thread only. */
#ifndef ENGINE_INSIDE_H
#define ENGINE_INSIDE_H

#include "engine/engine.h"
#include "engine/journal.h"

/* What the engine remembers of an open connection: for the log. */
struct lane {
    int worker;
    const char *site;
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
    enum engine_state state;
    bool ending; /* TASK_END was posted, handles are closing */
    struct totals totals;
    uint64_t attempts;
    int64_t began_us, began_ms;
    int64_t epoch_us; /* the job's beginning on the monotonic clock */
    struct order order;
};

int64_t engine_now_us(void);
/* Wall time of the log: the start's wall clock plus what has passed, so that a jump of
 * the clock disturbs nothing within a run. */
int64_t engine_wall_ms(const struct engine *e, int64_t us);

/* settle.c. A report came: mailbox_deliver_fn. */
void settle_report(void *engine, struct mail *mail);
/* Rows whose domain has no place to send to. True: there are more, come again. */
bool settle_unresolvable(struct engine *e);

#endif
