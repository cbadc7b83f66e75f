#include "cli/run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/policies.h"
#include "cli/progress.h"
#include "sink/rehearsal.h"

enum { UNMATCHED_SHOWN = 10 };

char *run_path(const struct job *job, const char *file)
{
    struct buf b = {0};
    buf_printf(&b, "%s/%s", job->path, file);
    buf_cstr(&b);
    return b.p;
}

int job_fault(const struct fault *f, enum job_result result)
{
    complain(f);
    return exit_of_job(result);
}

static void past_of(void *arg, uint32_t row, struct engine_past *out)
{
    struct results *const *past = arg;
    struct row_history h = results_row(*past, row);
    *out = (struct engine_past){
        .final = h.outcome != OUTCOME_RETRY && h.outcome != OUTCOME_EVENT,
        .attempts = h.attempts,
        .first_ms = h.first_ms,
        .due_ms = h.next_ms,
        .source = h.bound,
        .doubted = h.in_doubt,
    };
}

static void past_done(void *arg)
{
    struct results **past = arg;
    results_free(*past);
    *past = NULL;
}

static bool talks(const struct run *run)
{
    return !run->blast->options->quiet && !run->blast->options->json;
}

static void say_begin(const struct run *run)
{
    const struct blast *b = run->blast;
    uint32_t ignored = recipients_exclude_ignored(b->list, NULL);
    if (ignored)
        fprintf(stderr, "hikyaku: %s: %u lines without an address were passed over\n",
                b->options->exclude, ignored);
    fprintf(stderr, "job %s: %llu rows, %llu pending, %u domains, from <%s>%s\n",
            run->job->name, (unsigned long long)run->totals.rows,
            (unsigned long long)run->totals.pending, recipients_domains(b->list),
            b->from.text, run->rehearsing ? ", rehearsal" : "");
}

/* What the other side says it took: each row that this run delivered once, or this is a
 * defect. */
static int stop_rehearsal(const struct run *run, struct rehearsal *rehearsal,
                          uint64_t delivered, int status)
{
    struct sink_counts counts;
    if (!rehearsal_stop(rehearsal, &counts)) {
        fputs("hikyaku: the receiver of the rehearsal died\n", stderr);
        return EX_SOFTWARE;
    }
    if (talks(run))
        fprintf(
            stderr,
            "receiver: %llu recipients accepted over %llu connections, %llu refused, "
            "%llu deferred\n",
            (unsigned long long)counts.recipients,
            (unsigned long long)counts.connections, (unsigned long long)counts.refused,
            (unsigned long long)counts.deferred);
    if (status == 0 && counts.recipients != delivered) {
        fprintf(stderr,
                "hikyaku: the receiver accepted %llu, we count %llu delivered\n",
                (unsigned long long)counts.recipients, (unsigned long long)delivered);
        return EX_SOFTWARE;
    }
    return status;
}

/* Where the engine's parameters come from, at the start and at each reload. */
struct source {
    const struct run *run;
    struct rehearsal *rehearsal;
    struct policies policies;
    char server[32]; /* the rehearsal's name server */
    const char *servers[1];
    struct blast **kept; /* those of reloads: the engine was given what is in them */
    int kept_n;
};

static struct engine_params make_params(struct source *s, const struct blast *blast)
{
    struct engine_params e = blast_engine(blast);
    if (!s->rehearsal)
        return e;
    snprintf(s->server, sizeof s->server, "127.0.0.1:%d",
             rehearsal_dns_port(s->rehearsal));
    s->servers[0] = s->server;
    e.rehearsal = true;
    e.worker.deny = e.resolver.deny = NULL;
    e.resolver.servers = s->servers;
    e.resolver.servers_n = 1;
    return e;
}

/* From the file that the run was given; a resumed one without --config has those of its
 * job. */
static bool reload(void *arg, struct engine_params *out, struct buf *not_taken,
                   struct fault *f)
{
    struct source *s = arg;
    const char *config = s->run->blast->options->config;
    char *own = run_path(s->run->job, "job.conf");
    struct conf *conf = conf_load(config ? config : own, !config, f);
    free(own);
    struct replies replies = {0};
    if (!conf || !blast_may_share(s->run->blast, conf, f) ||
        !replies_open(&replies, conf, f) || !policies_take(&s->policies, conf, f)) {
        replies_close(&replies);
        conf_free(conf);
        return false;
    }
    struct blast *fresh = mem_alloc(sizeof *fresh);
    *fresh = *s->run->blast;
    fresh->conf = conf;
    fresh->replies = replies;
    s->kept = mem_resize(s->kept, (size_t)s->kept_n + 1, sizeof *s->kept);
    s->kept[s->kept_n++] = fresh;
    *out = make_params(s, fresh);
    conf_not_taken(not_taken, s->run->blast->conf, conf);
    return true;
}

static void end_source(struct source *s)
{
    for (int i = 0; i < s->kept_n; i++) {
        replies_close(&s->kept[i]->replies);
        conf_free(s->kept[i]->conf);
        free(s->kept[i]);
    }
    free(s->kept);
    policies_finish(&s->policies);
}

static int exit_of_state(const struct engine_stats *stats)
{
    if (stats->state == ENGINE_CANCELLED || stats->state == ENGINE_STORM)
        return EXIT_CANCELLED;
    return stats->totals.pending ? EXIT_PENDING : 0;
}

/* What could be rules: for people. */
static void say_unmatched(const struct unmatched *u)
{
    struct unmatched_kind top[UNMATCHED_SHOWN];
    int n = unmatched_top(u, top, UNMATCHED_SHOWN);
    if (n)
        fputs("replies that made rows wait and that no rule of yours or of their own "
              "receiver matched:\n",
              stderr);
    for (int i = 0; i < n; i++)
        fprintf(stderr, "%10llu  %s\n", (unsigned long long)top[i].count, top[i].words);
}

/* How it ended, why, and what may be done now. */
static void say_end(const struct engine_stats *stats, const char *job)
{
    bool cut = exit_of_state(stats) == EXIT_CANCELLED;
    if (stats->state == ENGINE_STORM) /* of `cancelled` the word is the reason */
        fprintf(stderr, "%s\n", stats->reason);
    fprintf(stderr, "%s: one line for every row: hikyaku results %s\n",
            engine_state_word(stats->state), job);
    if (cut || stats->totals.pending)
        fprintf(stderr, "what is left: hikyaku resume %s%s\n", job,
                cut ? " --retry-cancelled" : "");
}

static int run_engine(const struct run *run, struct attempts *attempts,
                      struct flight *flight, struct rehearsal *rehearsal)
{
    const struct blast_options *o = run->blast->options;
    struct source source = {.run = run, .rehearsal = rehearsal};
    static const struct relays none; /* a rehearsal goes through no relay */
    policies_init(&source.policies, run->blast->conf,
                  rehearsal ? &none : &run->blast->relays, &run->blast->trust);
    if (rehearsal)
        source.policies.port = (uint16_t)rehearsal_smtp_port(rehearsal);
    struct engine_params e = make_params(&source, run->blast);
    e.policies = policies_engine(&source.policies);
    struct progress progress;
    struct engine_stats stats;
    struct fault f = {0};
    e.attempts = attempts;
    e.totals = run->totals;
    e.worker.flight = flight;
    if (run->past) {
        e.past = past_of;
        e.past_done = past_done;
        e.past_arg = run->past;
    }
    e.control = (struct engine_control){run->job->name, run->job->path, run->job->dir};
    e.reload = reload;
    e.reload_arg = &source;
    e.unmatched = unmatched_create();
    progress_init(&progress, o->quiet, o->json);
    e.tick = progress_tick;
    e.tick_arg = &progress;
    e.tick_ms = progress_tick_ms(&progress);
    if (talks(run))
        say_begin(run);
    bool good = engine_run(&e, &stats, &f);
    if (good)
        progress_end(&progress, &stats, run->job->name);
    if (good && talks(run))
        say_unmatched(e.unmatched);
    unmatched_destroy(e.unmatched);
    end_source(&source);
    int status = good ? exit_of_state(&stats) : complain(&f);
    if (rehearsal)
        status = stop_rehearsal(run, rehearsal,
                                stats.totals.delivered - run->totals.delivered, status);
    if (good && talks(run))
        say_end(&stats, run->job->name);
    return status;
}

/* The receiver's child is forked before libuv makes a thread. */
static struct rehearsal *start_rehearsal(const struct run *run, struct fault *f)
{
    char *record = run_path(run->job, run->record);
    struct rehearsal_params params = {.record = record};
    struct rehearsal *rehearsal = rehearsal_start(&params, f);
    free(record);
    return rehearsal;
}

void run_hold_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

int run_job(const struct run *run)
{
    run_hold_signals();
    struct fault f = {0};
    char boot_id[FLIGHT_BOOT_ID_MAX];
    flight_boot_id(boot_id);
    char *log = run_path(run->job, "attempts.tsv"),
         *sheet = run_path(run->job, "flight");
    struct attempts *attempts = attempts_open(log, &f);
    struct flight *flight =
        attempts ? flight_create(sheet, run->job->name, boot_id, &f) : NULL;
    struct rehearsal *rehearsal =
        flight && run->rehearsing ? start_rehearsal(run, &f) : NULL;
    int status = f.code ? complain(&f) : run_engine(run, attempts, flight, rehearsal);
    flight_close(flight);
    attempts_close(attempts);
    free(log);
    free(sheet);
    return status;
}
