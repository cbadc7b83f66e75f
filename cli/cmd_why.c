/* why: the whole story of one recipient. */
#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/find.h"
#include "cli/past.h"
#include "engine/control.h"
#include "engine/status.h"
#include "queue/flight.h"
#include "queue/job.h"
#include "report/story.h"

static const char help[] =
    "Usage: hikyaku why JOB ADDRESS|ROW [OPTION]...\n"
    "Tell the whole story of one recipient from the job's log: every attempt, where "
    "it\n"
    "went, what was said and what that means, the result, and what it waits for now: "
    "a running\n"
    "job is asked that. JOB is a name under the spool, or a path.\n"
    "\n"
    "ADDRESS is found as duplicates are: the domain in any case or script, the local "
    "part\n"
    "in any case. It may be in several rows, each is told. What is no address (611, "
    "800) is\n"
    "found as it stands in the list. A number is a ROW.\n"
    "\n"
    "Options:\n"
    "  -c, --config FILE  settings, for the spool (or HIKYAKU_CONFIG)\n"
    "      --lang en|ja   language of what codes mean (default: en)\n"
    "  -h, --help         this text\n"
    "\n"
    "Exit status: 0; 64 usage; 65 the job has no such recipient; 66 the job cannot be\n"
    "opened; 74 I/O error; 78 bad settings.\n";

enum { WORDS_MAX = 1024 }; /* bytes of a row's field that are shown */

/* What was asked, and the rows that it names. */
struct question {
    const char *config, *job, *who;
    bool japanese;
    struct address address; /* of who; n is 0 when it is none */
    struct story *stories;
    size_t n, cap;
    enum flight_state *flights; /* one for each story; FREE: nothing is known */
};

/* ---- which rows ---- */

static void add_row(struct question *q, uint32_t row)
{
    if (q->n == q->cap) {
        q->cap = q->cap ? 2 * q->cap : 8;
        q->stories = mem_resize(q->stories, q->cap, sizeof *q->stories);
    }
    q->stories[q->n++] = (struct story){.row = row};
}

/* As duplicates are compared: both are finished, and the domains in lower case. */
static bool same_address(const struct address *a, const struct address *b)
{
    return a->n > 0 && span_equal_nocase((struct span){a->text, a->n},
                                         (struct span){b->text, b->n});
}

/* Rows that hold the address, or just these words. Only rows of its domain, and those
 * that have none, are read again. */
static bool find_address(struct question *q, const struct recipients *list,
                         struct fault *f)
{
    struct recipient row = {0};
    uint32_t domain = RECIPIENTS_NO_DOMAIN;
    uint32_t domains = q->address.n ? recipients_domains(list) : 0;
    const char *name = q->address.text + q->address.domain_at;
    for (uint32_t d = 0; d < domains && domain == RECIPIENTS_NO_DOMAIN; d++)
        if (strcmp(recipients_domain_name(list, d), name) == 0)
            domain = d;
    bool good = true;
    uint64_t last = recipients_last(list);
    for (uint64_t i = recipients_first(list); good && i <= last; i++) {
        uint32_t number = (uint32_t)i;
        if (recipients_code(list, number) == 0 &&
            (recipients_domain(list, number) != domain ||
             domain == RECIPIENTS_NO_DOMAIN))
            continue;
        good = recipients_read(list, number, &row, f);
        if (good && (row.code == 0
                         ? same_address(&row.address, &q->address)
                         : span_equal(span_trim(row.raw), span_trim(span_of(q->who)))))
            add_row(q, number);
    }
    recipient_finish(&row);
    return good;
}

/* A proof sends every row to one address: then that means all of them. */
static bool is_proof_to(const struct question *q, const struct conf_job *job)
{
    struct address to;
    return job->to[0] && address_parse(span_of(job->to), &to) == ADDRESS_OK &&
           same_address(&to, &q->address);
}

/* -1, or the exit status after one line on standard error. */
static int find_rows(struct question *q, const struct past *past)
{
    assert(q->who);
    struct fault f = {0};
    uint64_t first = recipients_first(past->list), last = recipients_last(past->list);
    if (q->who[0] && q->who[strspn(q->who, "0123456789")] == '\0') {
        uint64_t row = strtoull(q->who, NULL, 10);
        if (row >= first && row <= last)
            add_row(q, (uint32_t)row);
    } else {
        address_parse(span_of(q->who), &q->address);
        if (is_proof_to(q, &past->conf->job))
            for (uint64_t row = first; row <= last; row++)
                add_row(q, (uint32_t)row);
        else if (!find_address(q, past->list, &f))
            return complain(&f);
    }
    if (q->n)
        return -1;
    struct buf who = {0};
    text_clean(&who, span_of(q->who), WORDS_MAX);
    fprintf(stderr,
            "hikyaku: why: \"%s\" is not in job \"%s\", which has rows %" PRIu64
            " to %" PRIu64 "\n",
            buf_cstr(&who), past->conf->job.id, first, last);
    buf_finish(&who);
    return EX_DATAERR;
}

/* ---- one row ---- */

static void add_time(struct buf *out, int64_t ms)
{
    char time[RFC3339_MS_LEN];
    time_rfc3339_ms(ms, time);
    buf_add(out, time, sizeof time);
}

static bool add_head(struct buf *out, const struct past *past, uint32_t row,
                     struct fault *f)
{
    const struct conf_job *job = &past->conf->job;
    struct recipient fields = {0};
    if (!recipients_read(past->list, row, &fields, f))
        return false;
    buf_printf(out, "row %" PRIu32 ": ", row);
    if (fields.code == 0)
        buf_add(out, fields.address.text, fields.address.n);
    else
        text_clean(out, span_trim(fields.raw), WORDS_MAX);
    if (job->to[0])
        buf_printf(out, ", a proof that goes to %s", job->to);
    buf_printf(out, "\njob %s, made at ", job->id);
    add_time(out, job->created_ms);
    buf_add_str(out, job->rehearsal ? ", a rehearsal: nothing leaves this machine\n\n"
                                    : "\n\n");
    recipient_finish(&fields);
    return true;
}

static const char *const flight_words[] = {
    [FLIGHT_FREE] = "nothing more is known",
    [FLIGHT_LENT] = "the end of the mail has not left",
    [FLIGHT_DOT] = "the end of the mail may have left, and no reply to it was read",
    [FLIGHT_TAKEN] = "250 was read for it, which is not in the log yet",
    [FLIGHT_OTHER] =
        "an answer was read for it or it was given back, which is not in the log yet",
};

static void add_lent(struct buf *out, const struct story *story,
                     enum flight_state flight, bool held)
{
    buf_add_str(out, held ? "It is with a connection of "
                          : "It was handed to a connection of ");
    buf_add_span(out, buf_span(&story->site));
    buf_add_str(out, held ? " since " : " at ");
    add_time(out, story->lent_ms);
    buf_printf(out, held ? "; %s.\n" : ", and the log knows nothing since; %s.\n",
               flight_words[flight]);
}

/* When it is due, for a row that is with nobody. */
static void add_due(struct buf *out, const struct story *story,
                    const struct row_history *h, bool held, int64_t now_ms)
{
    if (h->next_ms == 0) {
        buf_add_str(out, "It was never tried yet");
        buf_add_str(out, held ? ": its domain waits to be looked up, or its site for "
                                "a connection; the log\ndoes not tell which.\n"
                              : ".\n");
    } else if (h->next_ms > now_ms) {
        buf_add_str(out, "It waits for its next attempt, at ");
        add_time(out, h->next_ms);
        buf_add_str(out, " (in ");
        duration_say(out, h->next_ms - now_ms);
        buf_add_str(out, ") or later.\n");
    } else {
        buf_add_str(out, "Its next attempt is due since ");
        add_time(out, h->next_ms);
        if (held && story->site.n) {
            buf_add_str(out, "; it waits for its turn at ");
            buf_add_span(out, buf_span(&story->site));
        } else if (held) {
            buf_add_str(out, "; its domain waits to be looked up again");
        }
        buf_add_str(out, ".\n");
    }
}

static void add_doubt(struct buf *out, const struct row_history *h)
{
    if (h->damaged)
        buf_add_str(out, "A damaged line of the log may have held its result: it "
                         "counts as in doubt.\n");
    else if (!h->in_doubt)
        return;
    else if (h->assumed || h->outcome == OUTCOME_ERROR || h->outcome == OUTCOME_ABSENT)
        buf_add_str(out, "In doubt: only the receiver knows whether the mail "
                         "arrived.\n");
    else if (h->outcome == OUTCOME_DELIVERED)
        buf_add_str(out, "In doubt: an attempt before may have arrived too, so this "
                         "recipient may have it twice.\n");
    else
        buf_add_str(out, "In doubt: the mail may have arrived already; it is sent "
                         "once more at most.\n");
}

/* What the running job says of the row, in sentences; *lent: a connection has it, which
 * needs none. False: it does not run, or does not answer. */
static bool ask_job(const char *dir, uint32_t row, bool *lent, struct buf *out)
{
    struct buf answer = {0};
    struct fault f = {0};
    bool answered = control_ask(dir, CONTROL_WHY, row, &answer, &f) == CONTROL_OK;
    const char *end = answered ? strchr(buf_cstr(&answer), '\n') : NULL;
    if (end) {
        size_t n = (size_t)(end - answer.p);
        *lent =
            span_equal((struct span){answer.p, n}, span_of(status_row_word(ROW_LENT)));
        buf_add(out, end + 1, answer.n - n - 1);
    }
    buf_finish(&answer);
    return answered;
}

/* Of a row without a result: of one that is lent the log knows more, of all others the
 * running job. */
static void add_wait(struct buf *out, const struct row_history *h,
                     const struct story *story, enum flight_state flight, bool held,
                     const char *dir)
{
    struct buf said = {0};
    bool lent = false;
    bool answered = held && ask_job(dir, story->row, &lent, &said);
    if (h->leased && story->lent_ms && (lent || !answered))
        add_lent(out, story, flight, held);
    else if (lent)
        buf_add_str(out, "A connection has just taken it.\n");
    else if (!answered)
        add_due(out, story, h, held, engine_clock_ms());
    buf_add_span(out, buf_span(&said));
    buf_finish(&said);
}

/* The result, or what it waits for. */
static void add_end(struct buf *out, const struct past *past, const struct story *story,
                    enum flight_state flight, bool held, const char *dir)
{
    struct row_history h = results_row(past->results, story->row);
    bool pending = h.outcome == OUTCOME_RETRY || h.outcome == OUTCOME_EVENT;
    buf_printf(out, "\nresult: %s%s, after %" PRIu32 " attempt%s\n",
               pending ? "pending" : outcome_word(h.outcome),
               h.cancelled ? " (cancelled)" : "", h.attempts,
               h.attempts == 1 ? "" : "s");
    add_doubt(out, &h);
    if (!pending) {
        buf_add_str(out, "It waits for nothing: this is final.\n");
        return;
    }
    add_wait(out, &h, story, flight, held, dir);
    if (!held)
        buf_printf(out, "The job is not running: hikyaku resume %s goes on with it.\n",
                   past->conf->job.id);
}

static bool print_story(const struct question *q, const struct past *past, size_t i,
                        bool held, const char *dir, struct fault *f)
{
    struct buf out = {0};
    if (i)
        buf_add_char(&out, '\n');
    bool good = add_head(&out, past, q->stories[i].row, f);
    if (good) {
        buf_add_span(&out, buf_span(&q->stories[i].text));
        if (q->stories[i].text.n == 0)
            buf_add_str(&out, "The log has no line about it.\n");
        add_end(&out, past, &q->stories[i], q->flights[i], held, dir);
        good = fwrite(out.p, 1, out.n, stdout) == out.n ||
               fault_set(f, -20, "cannot write the story");
    }
    buf_finish(&out);
    return good;
}

/* ---- all of it ---- */

static void note_flight(void *arg, uint32_t row, enum flight_state state)
{
    struct question *q = arg;
    for (size_t i = 0; i < q->n; i++)
        if (q->stories[i].row == row && state > q->flights[i])
            q->flights[i] = state;
}

static void read_flight(struct question *q, const struct past *past, const char *dir)
{
    struct buf path = {0};
    char boot_id[FLIGHT_BOOT_ID_MAX];
    q->flights = mem_zero(q->n, sizeof *q->flights);
    flight_boot_id(boot_id);
    buf_printf(&path, "%s/flight", dir);
    flight_read(buf_cstr(&path), past->conf->job.id, boot_id, note_flight, q);
    buf_finish(&path);
}

static int tell(struct question *q, const struct past *past, const char *dir, bool held)
{
    struct fault f = {0};
    struct buf path = {0};
    buf_printf(&path, "%s/attempts.tsv", dir);
    bool good = stories_read(buf_cstr(&path), results_size(past->results), q->stories,
                             q->n, q->japanese, &f);
    read_flight(q, past, dir);
    for (size_t i = 0; good && i < q->n; i++)
        good = print_story(q, past, i, held, dir, &f);
    if (good && results_damaged(past->results))
        fprintf(stderr,
                "hikyaku: why: damaged lines in attempts.tsv, passed over: %" PRIu64
                "\n",
                results_damaged(past->results));
    buf_finish(&path);
    return good ? 0 : complain(&f);
}

static int answer(struct question *q, const char *dir)
{
    struct past past;
    bool held = job_held(dir); /* before the log: who ended meanwhile wrote all of it */
    int status = past_open(&past, dir);
    if (status < 0)
        status = find_rows(q, &past);
    if (status < 0)
        status = tell(q, &past, dir, held);
    past_close(&past);
    for (size_t i = 0; i < q->n; i++)
        story_finish(&q->stories[i]);
    free(q->stories);
    free(q->flights);
    return status;
}

/* Returns -1 when the options are good, else the exit status. */
static int parse(int argc, char **argv, struct question *q)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"lang", required_argument, NULL, 'L'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    opterr = 0;
    for (int key; (key = getopt_long(argc, argv, ":c:h", longs, NULL)) != -1;) {
        switch (key) {
        case 'c':
            q->config = optarg;
            break;
        case 'L':
            q->japanese = strcmp(optarg, "ja") == 0;
            if (!q->japanese && strcmp(optarg, "en") != 0)
                return usage_error(argv[0], "--lang \"%s\" is not en or ja", optarg);
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        case ':':
            return usage_error(argv[0], "option %s needs a value", argv[optind - 1]);
        default:
            return usage_error(argv[0], "unknown option %s", argv[optind - 1]);
        }
    }
    if (optind + 2 > argc)
        return usage_error(argv[0], "%s is missing",
                           optind == argc ? "JOB" : "ADDRESS");
    if (optind + 2 < argc)
        return usage_error(argv[0], "unexpected \"%s\"", argv[optind + 2]);
    q->job = argv[optind];
    q->who = argv[optind + 1];
    q->config = config_path(q->config);
    return -1;
}

int cmd_why(int argc, char **argv)
{
    struct question q = {0};
    int status = parse(argc, argv, &q);
    if (status >= 0)
        return status;
    struct buf dir = {0};
    status = find_job(q.config, q.job, &dir);
    if (status < 0)
        status = answer(&q, buf_cstr(&dir));
    buf_finish(&dir);
    return status;
}
