/* A row's way, from here:
 *
 * engine_run sits on the scheduler thread's libuv loop until every row has its result.
 * Each turn of the loop it pumps: rows that are due come out of the retry wheel
 * (scheduler_advance); domains that are not known are looked up, or the relay that
 * their mail goes through (scheduler_ask, resolver_lookup); orders (scheduler_next)
 * become tasks in the workers' mailboxes.
 *
 * A worker (engine/worker.h) opens the connection (engine/connection.h), which renders
 * each row (message/template.h) and lets its session speak (smtp/session.h). What
 * became of a row is judged there by smtp/verdict.h and comes back in a report, one a
 * loop turn.
 *
 * The engine settles the row (scheduler_settle) and appends its line to attempts.tsv
 * (report/attempts.h). Lines are written once a turn; fdatasync runs on libuv's thread
 * pool, one at a time, the next beginning when the last ends and there is something to
 * sync.
 *
 * People steer it through a socket in the job's directory (engine/control.h,
 * engine/steer.c): pause, continue, cancel, reload, status. SIGHUP is reload.
 *
 * SIGINT or SIGTERM: nothing new is begun, what is in flight ends, the rest stays
 * pending. A second one: connections are closed at once; rows whose mail may have
 * arrived say so. Later ones are ignored, also after the return: a run that has ended
 * tells how. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "base/when.h"
#include "engine/worker.h"
#include "queue/storm.h"
#include "queue/warmup.h"
#include "report/attempts.h"
#include "report/results.h"
#include "report/unmatched.h"
#include "resolver/resolver.h"
#include "smtp/reaction.h"

enum { ENGINE_SLOWEST_MAX = 3, ENGINE_REASON_MAX = 160 };

enum engine_state {
    ENGINE_SCHEDULED, /* waits for its start */
    ENGINE_RUNNING,
    ENGINE_PAUSED,       /* by somebody, or by quiet hours */
    ENGINE_NETWORK_DOWN, /* probes now and then */
    ENGINE_STOPPING,
    ENGINE_STOPPED, /* the end, with rows pending; the others are without */
    ENGINE_FINISHED,
    ENGINE_CANCELLED, /* what was left is -11 */
    ENGINE_STORM,     /* the same, because receivers refuse us */
};
const char *engine_state_word(enum engine_state state);

/* The clock on the wall, Unix time in ms, wherever it was set meanwhile. Any thread. */
int64_t engine_clock_ms(void);

/* One moment on the clock of the run and on that of its log. */
struct moment {
    int64_t us, wall_ms;
};

struct engine_stats {
    struct moment now;
    enum engine_state state;
    struct totals totals;
    struct scheduler_stats scheduler;
    struct resolver_stats resolver;
    char reason[ENGINE_REASON_MAX]; /* why the whole job is in this state; may be empty
                                     */
    int64_t until_ms;               /* Unix time: then that ends; 0: no such time */
    uint64_t attempts;              /* attempts made in this run */
    int64_t elapsed_us;
    int slowest_n;
    struct site_view slowest[ENGINE_SLOWEST_MAX];
};

struct engine_past {
    bool final;
    uint32_t attempts;
    int64_t first_ms, due_ms; /* 0: none */
    const char *source; /* name of the one whose MAIL for it was answered last; NULL or
                           "": none */
    bool doubted;
};

/* The job's directory, where the socket `control` is made (engine/control.h). */
struct engine_control {
    const char *job;  /* its name; NULL: no socket is made */
    const char *path; /* of the directory, open as fd */
    int fd;
};

/* How the mail of one policy is queued and spoken. */
struct engine_policy {
    struct scheduler_policy queue; /* what is pointed to stays until the run's end */
    struct destination destination;
    struct hours quiet; /* nothing is begun within */
    const char *budget; /* whose limits these are; NULL: each site's own */
};

struct engine_policies {
    /* The relay, in brackets (resolver_lookup), that a domain's mail goes through;
     * NULL: none. mx: its MX set; NULL, or one with a code, as long as that is not
     * known. Who has a relay without it has the same with it, and is not asked again.
     * NULL: all mail is direct. */
    const char *(*relay)(void *arg, const char *domain, const struct mx_set *mx);
    /* The number of a domain's policy. mx: as above; way: the hosts that its mail goes
     * to, those of the relay or mx itself. Numbers count from 0, and a new one is the
     * last one and one. NULL: 0 for all. */
    uint32_t (*number)(void *arg, const char *domain, const struct mx_set *mx,
                       const struct mx_set *way);
    /* As it stands now; of 0 and of what was numbered. */
    void (*get)(void *arg, uint32_t number, struct engine_policy *out);
    /* When the quiet hours of the first of all there can be end, if all of them hold:
     * the job pauses. 0: they do not. Unix time. */
    int64_t (*all_quiet_until_ms)(void *arg, int64_t unix_ms);
    void *arg;
    int64_t retry_longest_ms; /* of all there can be */
};

struct engine_params {
    const struct recipients *list;
    struct attempts
        *attempts;        /* rows that are final from the start stand in it already */
    struct totals totals; /* of those rows; pending are the others */
    struct worker_params worker;       /* list is filled in by the engine */
    int workers;                       /* 0: everything on the scheduler's loop */
    const struct warmup_plan *warmups; /* of each source; NULL: none has one */
    struct engine_policies policies;
    struct resolver_params resolver;
    int64_t created_ms; /* Unix time of the job's beginning */
    /* What an earlier run knows of a row, times in Unix ms; NULL: the job is new. */
    void (*past)(void *arg, uint32_t row, struct engine_past *out);
    void (*past_done)(void *arg); /* it is not asked any more: memory may go */
    void *past_arg;
    uint32_t connections_total; /* over all sites; 0: engine_connections */
    bool rehearsal;             /* log lines get the flag */
    uint64_t seed;
    struct storm_params storm;
    struct reactions *reactions; /* of no other thread; outlives the run. NULL: none */
    struct unmatched *unmatched; /* gets what no rule of its own matched; may be NULL */
    int64_t network_silence_us;  /* queue/network.h */
    int64_t start_ms, until_ms;  /* Unix time: nothing is sent before, nothing is begun
                                    after; 0: none */
    struct engine_control control;
    /* The settings anew, in a fresh struct, and for people what of them a running job
     * does not take; false and *f: they are no good. NULL: there are none. What is
     * pointed to must stay until the run's end. Of it the engine takes storm,
     * network_silence_us, reactions and resolver; and it gets each policy anew from
     * policies, those it was given first. Open connections keep theirs. */
    bool (*reload)(void *arg, struct engine_params *out, struct buf *not_taken,
                   struct fault *f);
    void *reload_arg;
    /* Called on the calling thread about every tick_ms and once at the end. NULL:
     * nobody looks. */
    void (*tick)(void *arg, const struct engine_stats *stats);
    void *tick_arg;
    int tick_ms;
};

/* Run the job to its end. Returns how it ended and the totals in *stats; false with *f
 * when the log could not be written (-20) or the resolver could not start (-7). Call
 * once in a process at a time. */
bool engine_run(const struct engine_params *params, struct engine_stats *stats,
                struct fault *f);

/* How many connections descriptors allow over all sites, with so many workers. The soft
 * limit is raised to the hard one. */
uint32_t engine_connections(int workers);

/* Append a line for each row that is final from the start (611, 800, 801), before the
 * job begins; count them and the pending ones in *totals. known: of a job that goes on,
 * rows with a final result there are passed over (they lost no line); NULL: it is new.
 * False with *f when the list cannot be read. */
bool engine_intake(const struct recipients *list, const struct results *known,
                   struct attempts *attempts, int64_t time_ms, bool rehearsal,
                   struct totals *totals, struct fault *f);

#endif
