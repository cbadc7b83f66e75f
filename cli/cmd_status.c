/* status: how a job stands, from the job itself while it runs, else from its log. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "cli/blast.h"
#include "cli/cli.h"
#include "cli/find.h"
#include "cli/past.h"
#include "engine/control.h"
#include "engine/status.h"

static const char words[] =
    "Usage: hikyaku status [JOB] [OPTION]...\n"
    "Say how a job stands: its state, the sum over its rows, and the sites with most "
    "rows\n"
    "waiting, with what they wait for. A running job is asked; of another the log is "
    "read.\n"
    "Without JOB: the newest.\n"
    "\n"
    "Options:\n"
    "  -c, --config FILE  settings, for the spool (or HIKYAKU_CONFIG)\n"
    "  -J, --json         one object: job state reason jobs rows delivered error "
    "absent\n"
    "                     pending in_doubt assumed until resolving retrying "
    "next_attempt;\n"
    "                     sites with name waiting retrying due connections window "
    "reason\n"
    "                     reasons until rule reply; lookups with reason rows domains "
    "domain\n"
    "                     due; more_sites more_rows\n"
    "  -h, --help         this text\n"
    "\n"
    "States: scheduled running paused network-down stopping stopped finished cancelled "
    "storm.\n"
    "Exit status: 0; 64 usage; 66 no such job; 74 I/O error; 78 bad settings.\n";

/* The newest under the spool. */
static int find_newest(const char *config, struct buf *path)
{
    struct fault f = {0};
    struct buf name = {0};
    struct conf *conf = conf_load(config_path(config), false, &f);
    if (!conf)
        return complain(&f);
    enum job_result found = job_newest(conf->spool, &name, &f);
    if (found == JOB_DONE)
        found = job_find(conf->spool, buf_cstr(&name), path, &f);
    conf_free(conf);
    buf_finish(&name);
    if (found == JOB_DONE)
        return -1;
    complain(&f);
    return exit_of_job(found);
}

/* The words of the last event of the whole job; when it is cancelled, why. *clean: the
 * log ends as a run does that ends by itself. False: the log cannot be read. */
static bool last_event(const char *dir, bool cancelled, struct buf *out, bool *clean,
                       struct fault *f)
{
    struct buf path = {0};
    buf_printf(&path, "%s/attempts.tsv", dir);
    struct attempts_reader *log = attempts_reader_open(buf_cstr(&path), f);
    buf_finish(&path);
    struct attempt_line line;
    enum attempts_read read = ATTEMPTS_END;
    while (log && (read = attempts_reader_next(log, &line)) != ATTEMPTS_END &&
           read != ATTEMPTS_IO) {
        enum run_event event =
            read == ATTEMPTS_LINE ? attempt_run_event(&line) : RUN_NONE;
        *clean = event == RUN_STOPPED || event == RUN_FINISHED;
        if (read != ATTEMPTS_LINE || line.row || line.outcome != OUTCOME_EVENT ||
            !span_equal(line.column[ATTEMPT_stage], SPAN("run")))
            continue;
        if (cancelled && event != RUN_CANCELLED)
            continue;
        buf_reset(out);
        buf_add_span(out, line.column[ATTEMPT_message]);
    }
    attempts_reader_close(log);
    return log && read == ATTEMPTS_END;
}

static int from_log(const char *dir, bool json, struct buf *out)
{
    struct past past;
    struct fault f = {0};
    struct buf event = {0};
    /* Nobody answers at its socket: it begins or ends. */
    bool held = job_held(dir), clean = false;
    int status = past_open(&past, dir);
    if (status < 0) {
        bool cancelled = results_cancelled(past.results);
        if (!last_event(dir, cancelled, &event, &clean, &f))
            status = complain(&f);
        bool storm = span_starts_nocase(buf_span(&event), SPAN("error storm"));
        struct status s = {.job = past.conf->job.id,
                           .reason = buf_span(&event),
                           .totals = results_totals(past.results)};
        s.state = cancelled          ? storm ? ENGINE_STORM : ENGINE_CANCELLED
                  : held             ? ENGINE_RUNNING
                  : s.totals.pending ? ENGINE_STOPPED
                                     : ENGINE_FINISHED;
        if (s.state == ENGINE_STOPPED && !clean)
            s.reason = SPAN("no clean end: it was killed, or it failed");
        if (status < 0 && json)
            status_json(&s, out);
        else if (status < 0)
            status_text(&s, out);
    }
    buf_finish(&event);
    past_close(&past);
    return status < 0 ? 0 : status;
}

static int show(const char *dir, bool json)
{
    struct buf out = {0};
    struct fault f = {0};
    int status = 0;
    switch (
        control_ask(dir, json ? CONTROL_STATUS_JSON : CONTROL_STATUS, 0, &out, &f)) {
    case CONTROL_OK:
        break;
    case CONTROL_NOBODY:
        status = from_log(dir, json, &out);
        break;
    case CONTROL_REFUSED: /* not ours: what may be read may be told */
    case CONTROL_BROKEN:
        buf_reset(&out);
        status = from_log(dir, json, &out);
        break;
    }
    fwrite(out.p, 1, out.n, stdout);
    buf_finish(&out);
    return status;
}

int cmd_status(int argc, char **argv)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'J'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *config = NULL;
    bool json = false;
    opterr = 0;
    for (int key; (key = getopt_long(argc, argv, "c:Jh", longs, NULL)) != -1;) {
        switch (key) {
        case 'c':
            config = optarg;
            break;
        case 'J':
            json = true;
            break;
        case 'h':
            fputs(words, stdout);
            return 0;
        default:
            return usage_error(argv[0], "bad option %s", argv[optind - 1]);
        }
    }
    if (optind + 1 < argc)
        return usage_error(argv[0], "unexpected \"%s\"", argv[optind + 1]);
    struct buf path = {0};
    int status = optind < argc ? find_job(config, argv[optind], &path)
                               : find_newest(config, &path);
    if (status < 0)
        status = show(buf_cstr(&path), json);
    buf_finish(&path);
    return status;
}
