/* resume: go on with a job that was stopped or killed. */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/find.h"
#include "cli/replay.h"
#include "cli/run.h"

enum { CHUNK = 256 * 1024 };

static const char words[] =
    "Usage: hikyaku resume JOB [OPTION]...\n"
    "Go on with a job that was stopped or killed: rows with a final result keep it, "
    "the\n"
    "others are tried as their retries fall due. Rows that a crash left in doubt are "
    "flagged.\n"
    "JOB is a name under the spool, or a path.\n"
    "\n"
    "Options:\n"
    "  -c, --config FILE  take the settings from there instead of those the job began "
    "with;\n"
    "                     list, message and sender stay\n"
    "  -R, --retry-cancelled  send also what was cancelled, by somebody or by the "
    "error "
    "storm\n"
    "  -q, --quiet        no progress, only the sum at the end\n"
    "  -J, --json         progress and sum as JSON, one object a line\n"
    "  -h, --help         this text\n"
    "\n"
    "Exit status: 0 every row has its final result; 3 stopped by a signal, rows are "
    "pending;\n"
    "4 it was cancelled, now or before; 65 list or message of the job are damaged; 66 "
    "no such job; 74 I/O error; 75 "
    "another\n"
    "process holds the job; 78 bad settings.\n";

struct resuming {
    struct blast_options options;
    struct blast blast;
    struct job job;
    struct replay replay;
    bool retry_cancelled;
};

/* Is the snapshot what it was when the job was made? */
static bool same_file(const char *path, int64_t size, const char *crc, struct fault *f)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *chunk = mem_alloc(CHUNK);
    uint32_t sum = 0;
    int64_t total = 0;
    ssize_t n = fd < 0 ? -1 : 1;
    while (n > 0) {
        n = read(fd, chunk, CHUNK);
        if (n > 0) {
            sum = crc32c(sum, chunk, (size_t)n);
            total += n;
        }
    }
    if (fd >= 0)
        close(fd);
    free(chunk);
    char hex[9];
    snprintf(hex, sizeof hex, "%08x", sum);
    if (n < 0)
        return fault_set(f, -20, "cannot read \"%s\"", path);
    if (total != size || strcmp(hex, crc) != 0)
        return fault_set(f, -21, "\"%s\" is not what it was when the job was made",
                         path);
    return true;
}

/* The job's own settings, or with --config others with the job's own identity. */
static int load_settings(struct resuming *r, const char *config)
{
    struct fault f = {0};
    char *path = run_path(&r->job, "job.conf");
    struct conf *own = conf_load(path, true, &f);
    free(path);
    struct conf *conf = own;
    if (own && config) {
        conf = conf_load(config, false, &f);
        if (conf) {
            struct conf_job empty = conf->job;
            conf->job = own->job;
            own->job = empty;
        }
        conf_free(own);
    }
    r->blast.conf = conf;
    return conf ? -1 : complain(&f);
}

static bool unhex(const char *text, uint8_t *out, size_t n)
{
    if (strlen(text) != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1)
            return false;
        out[i] = (uint8_t)byte;
    }
    return true;
}

/* What the command line of `send` said then. */
static int restore_options(struct resuming *r)
{
    const struct conf_job *j = &r->blast.conf->job;
    struct fault f = {0};
    r->options.list = run_path(&r->job, "list.tsv");
    r->options.message = run_path(&r->job, "message.eml");
    char *exclude = run_path(&r->job, "exclude.tsv");
    if (access(exclude, F_OK) == 0)
        r->options.exclude = exclude;
    else
        free(exclude);
    r->options.address_column = j->address_column;
    r->options.first_row = (uint32_t)j->first_row;
    r->options.last_row = (uint32_t)j->last_row;
    r->options.allow_duplicates = j->allow_duplicates;
    r->options.rehearsal = j->rehearsal;
    r->blast.created_ms = j->created_ms;
    r->blast.start_ms = j->start_ms;
    r->blast.until_ms = j->until_ms;
    bool good =
        unhex(j->secret, r->blast.secret, BLAST_SECRET) &&
        (j->from[0] == '\0' ||
         address_parse(span_of(j->from), &r->blast.from) == ADDRESS_OK) &&
        (j->to[0] == '\0' || address_parse(span_of(j->to), &r->blast.to) == ADDRESS_OK);
    if (!good)
        fault_set(&f, -21, "%s/job.conf: the job section is damaged", r->job.path);
    else if (same_file(r->options.list, j->list_size, j->list_crc, &f))
        same_file(r->options.message, j->message_size, j->message_crc, &f);
    return f.code ? complain(&f) : -1;
}

/* Where the receiver of a rehearsal writes now: an earlier record is kept. */
static char *next_record(const struct job *job)
{
    for (int i = 2;; i++) {
        struct buf name = {0};
        buf_printf(&name, "received.%d.tsv", i);
        char *path = run_path(job, buf_cstr(&name));
        bool taken = access(path, F_OK) == 0;
        free(path);
        if (!taken)
            return name.p;
        buf_finish(&name);
    }
}

/* A cancelled job is cancelled, unless the user says otherwise. */
static int take_up(struct resuming *r)
{
    if (r->retry_cancelled)
        return replay_take_up(&r->replay, &r->job);
    fprintf(stderr,
            "hikyaku: resume: the job was cancelled; --retry-cancelled sends what was "
            "left\n");
    return EXIT_CANCELLED;
}

static int go_on(struct resuming *r, const char *config)
{
    struct blast *b = &r->blast;
    b->options = &r->options;
    /* A large log takes its time: who is stopped meanwhile ends like any run, with its
     * sum, before anything is sent. */
    run_hold_signals();
    r->options.config = config; /* for reload */
    int status = load_settings(r, config);
    if (status < 0)
        status = restore_options(r);
    if (status < 0)
        status = blast_ready(b);
    if (status < 0)
        status = blast_open_list(b, r->options.list);
    if (status < 0)
        status = blast_compile(b);
    if (status < 0)
        status = replay_job(&r->replay, &r->job, b);
    if (status < 0 && results_cancelled(r->replay.results))
        status = take_up(r);
    if (status >= 0)
        return status;
    char *record = next_record(&r->job);
    struct run run = {.blast = b,
                      .job = &r->job,
                      .totals = results_totals(r->replay.results),
                      .rehearsing = b->conf->job.rehearsal,
                      .record = record,
                      .past = &r->replay.results};
    status = run_job(&run);
    free(record);
    return status;
}

int cmd_resume(int argc, char **argv)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"retry-cancelled", no_argument, NULL, 'R'},
        {"quiet", no_argument, NULL, 'q'},
        {"json", no_argument, NULL, 'J'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct resuming r = {0};
    const char *config = NULL;
    opterr = 0;
    for (int key; (key = getopt_long(argc, argv, "c:RqJh", longs, NULL)) != -1;) {
        switch (key) {
        case 'c':
            config = optarg;
            break;
        case 'R':
            r.retry_cancelled = true;
            break;
        case 'q':
            r.options.quiet = true;
            break;
        case 'J':
            r.options.json = true;
            break;
        case 'h':
            fputs(words, stdout);
            return 0;
        default:
            return usage_error(argv[0], "bad option %s", argv[optind - 1]);
        }
    }
    if (optind + 1 != argc)
        return usage_error(argv[0], "one JOB is needed");
    struct buf path = {0};
    struct fault f = {0};
    int status = find_job(config, argv[optind], &path);
    if (status < 0) {
        enum job_result locked = job_lock(&r.job, buf_cstr(&path), &f);
        status = locked == JOB_DONE ? go_on(&r, config) : job_fault(&f, locked);
        job_unlock(&r.job);
    }
    buf_finish(&path);
    replay_finish(&r.replay);
    free((char *)(uintptr_t)r.options.list);
    free((char *)(uintptr_t)r.options.message);
    free((char *)(uintptr_t)r.options.exclude);
    blast_close(&r.blast);
    return status;
}
