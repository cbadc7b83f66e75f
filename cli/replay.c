#include "cli/replay.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/run.h"
#include "engine/record.h"

/* Rows that were lent when the run ended, and what is known of them. */
struct lent_row {
    uint32_t row;
    enum flight_state state;
};

struct lent_rows {
    struct lent_row *rows;
    uint32_t n, cap;
};

static void add_row(void *arg, uint32_t row, enum flight_state state)
{
    struct lent_rows *l = arg;
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 256;
        l->rows = mem_resize(l->rows, l->cap, sizeof *l->rows);
    }
    l->rows[l->n].row = row;
    l->rows[l->n++].state = state;
}

/* In the same boot the flight file knows what each row was doing. After a power loss,
 * or without that file, every row that was lent and has no later line may have been
 * sent; a damaged line hides a result in any case. */
static void find_lent(struct lent_rows *l, const struct results *results,
                      const struct job *job, const struct blast *b)
{
    char boot_id[FLIGHT_BOOT_ID_MAX];
    flight_boot_id(boot_id);
    char *path = run_path(job, "flight");
    enum flight_read known = flight_read(path, job->name, boot_id, add_row, l);
    free(path);
    if (known != FLIGHT_GOOD)
        l->n = 0;
    uint32_t last = recipients_last(b->list);
    for (uint64_t row = recipients_first(b->list); row && row <= last; row++) {
        struct row_history h = results_row(results, (uint32_t)row);
        if (h.damaged || (h.leased && known != FLIGHT_GOOD))
            add_row(l, (uint32_t)row, FLIGHT_DOT);
    }
}

/* How the domain is treated. Its MX hosts are not known here. */
static struct conf_policy policy_of(const struct blast *b, const char *domain)
{
    const struct conf *c = b->conf;
    struct conf_policy policy;
    int *rules = mem_zero((size_t)c->rules_n + 1, sizeof *rules);
    int n = conf_match(c, span_of(domain), (struct span){0}, rules);
    conf_policy_of(c, rules, n, &policy);
    free(rules);
    return policy;
}

/* The verdict over a row that a dead process had on its way. */
static struct verdict judge(enum flight_state state, enum conf_end_timeout in_doubt)
{
    if (state == FLIGHT_TAKEN)
        return verdict_of_code(250, "wait-end", true);
    struct verdict v = verdict_of_code(625, "wait-end", true);
    if (in_doubt == CONF_END_TIMEOUT_ASSUME) {
        v = verdict_of_code(250, "wait-end-assumed", true);
        v.assumed = true;
    } else if (in_doubt == CONF_END_TIMEOUT_FAIL) {
        v.outcome = OUTCOME_ERROR;
    }
    v.in_doubt = true;
    return v;
}

/* A line for one of them, unless the log has its result or it never left. */
static bool record_row(struct attempts *log, const struct results *results,
                       const struct blast *b, uint32_t row, enum flight_state state,
                       int64_t now_ms, struct fault *f)
{
    if (row < recipients_first(b->list) || row > recipients_last(b->list) ||
        recipients_domain(b->list, row) == RECIPIENTS_NO_DOMAIN) /* it is never sent */
        return false;
    struct row_history h = results_row(results, row);
    if (!(h.leased || h.damaged) || (state != FLIGHT_DOT && state != FLIGHT_TAKEN))
        return false;
    const char *domain =
        recipients_domain_name(b->list, recipients_domain(b->list, row));
    struct conf_policy policy = policy_of(b, domain);
    struct verdict v = judge(state, policy.in_doubt);
    v.in_doubt = v.in_doubt || h.damaged; /* the lost line may have had the flag */
    struct recipient fields = {0};
    struct record r = {.now_ms = now_ms,
                       .row = row,
                       .verdict = &v,
                       .decision = {.attempt = h.attempts + 1},
                       .words =
                           span_of(state == FLIGHT_TAKEN
                                       ? "250 was read, then the run ended"
                                       : "the run ended before the reply was read")};
    struct record_where where = {.flags = b->conf->job.rehearsal ? FLAG_REHEARSAL
                                          : policy.relay[0]      ? FLAG_RELAY
                                                                 : 0,
                                 .domain = span_of(domain),
                                 .source = span_of(h.source)};
    if (recipients_read(b->list, row, &fields, f))
        where.email = (struct span){fields.address.text, fields.address.n};
    if (v.in_doubt && h.in_doubt && v.outcome == OUTCOME_RETRY)
        v.outcome = OUTCOME_ERROR; /* in doubt again: it is not sent once more */
    int64_t most = policy.max_attempts;
    if (v.outcome == OUTCOME_RETRY && most && (int64_t)r.decision.attempt >= most)
        r.decision.ended = 607;
    else if (v.outcome == OUTCOME_RETRY)
        r.next_ms = now_ms;
    record_attempt(log, &r, &where);
    recipient_finish(&fields);
    return v.in_doubt;
}

/* Every row in doubt gets its line, then RUN_RESUMED says that no other row had left. A
 * row may be named twice, by flight and by damage: its second line would be a lie. */
static bool record_lent(struct replay *r, const struct blast *b, const char *path,
                        const struct lent_rows *l, struct fault *f)
{
    struct attempts *log = attempts_open(path, f);
    int64_t now_ms = engine_clock_ms();
    uint32_t last = 0;
    for (uint32_t i = 0; log && i < l->n; i++) {
        if (l->rows[i].row != last)
            r->in_doubt += record_row(log, r->results, b, l->rows[i].row,
                                      l->rows[i].state, now_ms, f);
        last = l->rows[i].row;
    }
    struct totals ignored; /* these lines are read like all others */
    if (log)
        engine_intake(b->list, r->results, log, now_ms, b->conf->job.rehearsal,
                      &ignored, f);
    if (log && f->code == 0)
        attempts_event(log, now_ms, RUN_RESUMED, (struct span){0});
    bool good = log && f->code == 0 && attempts_write(log, f) && attempts_sync(log, f);
    attempts_close(log);
    return good && f->code == 0;
}

/* The surest state of a row first: 250 was read, then the dot may have left. What the
 * flight file says beside that is no comfort where a damaged line hides a result. */
static int rank(enum flight_state state)
{
    return state == FLIGHT_TAKEN ? 2 : state == FLIGHT_DOT ? 1 : 0;
}

static int by_row(const void *a, const void *b)
{
    const struct lent_row *x = a, *y = b;
    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    return rank(y->state) - rank(x->state);
}

/* The log made trustworthy and read: what the last process did not end cleanly is
 * copied to a new file, damaged lines are set aside. */
static bool open_log(struct replay *r, const struct job *job, const struct blast *b,
                     const char *path, struct fault *f)
{
    bool renewed;
    if (!attempts_renew(path, &renewed, f))
        return false;
    r->results =
        results_load(path, recipients_first(b->list), recipients_last(b->list), f);
    if (!r->results)
        return false;
    if (results_damaged(r->results) == 0)
        return true;
    char *aside = run_path(job, "attempts.damaged");
    uint64_t fresh = 0;
    bool good = results_set_aside(r->results, aside, &fresh, f);
    if (good && fresh)
        fprintf(stderr,
                "hikyaku: %llu damaged lines of the log were set aside in \"%s\"; rows "
                "that they may concern are treated as in doubt\n",
                (unsigned long long)fresh, aside);
    uint64_t hidden = results_hidden_leases(r->results);
    if (good && hidden)
        fprintf(stderr,
                "hikyaku: %llu of them may have lent rows that nothing else tells of\n",
                (unsigned long long)hidden);
    free(aside);
    return good;
}

int replay_job(struct replay *r, const struct job *job, const struct blast *b)
{
    struct fault f = {0};
    struct lent_rows l = {0};
    char *path = run_path(job, "attempts.tsv");
    bool good = open_log(r, job, b, path, &f);
    /* After a clean end only damage leaves something to judge. */
    if (good && (results_end(r->results) == RUN_NONE || results_damaged(r->results))) {
        find_lent(&l, r->results, job, b);
        if (l.n)
            qsort(l.rows, l.n, sizeof *l.rows, by_row);
        good = record_lent(r, b, path, &l, &f) && results_read_on(r->results, path, &f);
    }
    free(l.rows);
    free(path);
    if (good && r->in_doubt && !b->options->quiet && !b->options->json)
        fprintf(stderr,
                "hikyaku: %llu rows were on their way when the job ended; they are "
                "flagged in-doubt\n",
                (unsigned long long)r->in_doubt);
    return good ? -1 : complain(&f);
}

int replay_take_up(struct replay *r, const struct job *job)
{
    struct fault f = {0};
    char *path = run_path(job, "attempts.tsv");
    struct attempts *log = attempts_open(path, &f);
    if (log)
        attempts_event(log, engine_clock_ms(), RUN_RETRY, (struct span){0});
    bool good = log && attempts_write(log, &f) && attempts_sync(log, &f);
    attempts_close(log);
    good = good && results_read_on(r->results, path, &f);
    free(path);
    return good ? -1 : complain(&f);
}

void replay_finish(struct replay *r)
{
    results_free(r->results);
    r->results = NULL;
}
