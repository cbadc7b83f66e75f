#include "cli/run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "cli/cli.h"
#include "cli/progress.h"
#include "sink/rehearsal.h"

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
    struct row_history h = results_row(arg, row);
    *out = (struct engine_past){
        .final = h.outcome != OUTCOME_RETRY && h.outcome != OUTCOME_EVENT,
        .attempts = h.attempts,
        .first_ms = h.first_ms,
        .due_ms = h.next_ms,
        .doubted = h.in_doubt,
    };
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

static int run_engine(const struct run *run, struct attempts *attempts,
                      struct flight *flight, struct rehearsal *rehearsal)
{
    const struct blast_options *o = run->blast->options;
    struct engine_params e = blast_engine(run->blast);
    struct progress progress;
    struct engine_stats stats;
    struct fault f = {0};
    char server[32];
    const char *servers[] = {server};
    e.attempts = attempts;
    e.totals = run->totals;
    e.worker.flight = flight;
    if (run->past) {
        e.past = past_of;
        e.past_arg = (void *)(uintptr_t)run->past;
    }
    if (rehearsal) {
        snprintf(server, sizeof server, "127.0.0.1:%d", rehearsal_dns_port(rehearsal));
        e.rehearsal = true;
        e.worker.port = (uint16_t)rehearsal_smtp_port(rehearsal);
        e.worker.deny = e.resolver.deny = NULL;
        e.resolver.servers = servers;
        e.resolver.servers_n = 1;
    } else {
        relay_apply(&run->blast->relay, run->blast->conf, &e);
    }
    progress_init(&progress, o->quiet, o->json);
    e.tick = progress_tick;
    e.tick_arg = &progress;
    e.tick_ms = progress_tick_ms(&progress);
    if (talks(run))
        say_begin(run);
    bool good = engine_run(&e, &stats, &f);
    if (good)
        progress_end(&progress, &stats, run->job->name);
    int status = !good ? complain(&f) : stats.totals.pending ? EXIT_PENDING : 0;
    if (rehearsal)
        status = stop_rehearsal(run, rehearsal,
                                stats.totals.delivered - run->totals.delivered, status);
    if (good && talks(run))
        fprintf(stderr, "%s: one line for every row: hikyaku results %s\n",
                engine_state_word(stats.state), run->job->name);
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
