/* The scheduler in a small seeded world under a false clock: connections live, fail and
 * stall, domains do not resolve, rows are refused, deferred and handed back. After each
 * run: every row has one final result, nothing is lent twice, no window was exceeded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "queue/scheduler.h"

enum { DOMAINS = 8, ROWS = 400, WINDOW = 6, TOTAL = 20, CONNECTIONS = TOTAL };

static const int64_t intervals[] = {60000, 120000};

/* Domains 0 and 1 share hosts, but domain 1 has a section: other attempts, other
 * intervals, fewer connections, and the others nothing of it. */
enum { STRICT_CONNECTIONS = 2, STRICT_MESSAGES = 3, STRICT_ATTEMPTS = 2 };
static const int64_t strict_intervals[] = {10000};
struct lane {
    bool open, last;
    uint32_t policy;
    char site[64];
    uint32_t rows[LEASE_MAX * 2];
    int n;
};

struct world {
    struct rng rng;
    struct scheduler *s;
    struct recipients *list;
    int64_t now;
    bool lent[ROWS + 1];
    int finals[ROWS + 1];
    int attempts[ROWS + 1];
    int64_t tried_us[ROWS + 1];
    struct lane connections[CONNECTIONS];
    int open;
    int64_t opening_from_us; /* after CLOSED_OURS */
    int sent;                /* rows delivered over all */
    uint32_t failing_site;   /* percent of connections that fail */
    bool strict;             /* domain 1 has its own policy */
};

static struct recipients *make_list(int rows, int domains)
{
    char path[] = "/tmp/hikyaku-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    fputs("email\n", file);
    for (int i = 1; i <= rows; i++)
        fprintf(file, "r%d@d%d.example\n", i, i % domains);
    fclose(file);
    struct recipients_params params = {.path = path};
    struct fault f = {0};
    struct recipients *list = recipients_open(&params, &f);
    if (!list)
        fail_msg("%s", f.words);
    unlink(path);
    return list;
}

static struct mx_set *make_set(const char *site, int64_t expires_us)
{
    struct ip ip;
    ip_parse("192.0.2.1", &ip);
    struct mx_host host = {
        .name = (char *)(uintptr_t)site, .addresses_n = 1, .addresses = &ip};
    struct mx_set model = {.site = (char *)(uintptr_t)site,
                           .key = (char *)(uintptr_t)site,
                           .hosts = &host,
                           .hosts_n = 1,
                           .expires_us = expires_us};
    return mx_set_copy(&model);
}

static void begin(struct world *w, uint64_t seed, struct scheduler_policy policy)
{
    *w = (struct world){.rng = {seed}, .now = 1000000};
    w->list = make_list(ROWS, DOMAINS);
    policy.retry_interval_ms = intervals;
    policy.retry_intervals = 2;
    struct scheduler_params params = {
        .list = w->list,
        .policy = policy,
        .connections_total = TOTAL,
        .seed = seed,
        .now_us = w->now,
    };
    w->s = scheduler_create(&params);
}

static void finish(struct world *w)
{
    scheduler_destroy(w->s);
    recipients_free(w->list);
}

static void settle(struct world *w, uint32_t connection, uint32_t row,
                   struct settlement what)
{
    assert_int_equal(w->finals[row], 0);
    struct decision d = scheduler_settle(w->s, connection, row, &what, w->now);
    w->lent[row] = false;
    if (what.counted) {
        w->attempts[row]++;
        w->tried_us[row] = w->now;
    }
    assert_int_equal(d.attempt, w->attempts[row]);
    if (d.final)
        w->finals[row]++;
    if (d.final && what.outcome == OUTCOME_DELIVERED)
        w->sent++;
}

static void resolve(struct world *w)
{
    for (uint32_t domain; (domain = scheduler_ask(w->s)) != RECIPIENTS_NO_DOMAIN;) {
        uint32_t luck = rng_below(&w->rng, 10);
        /* Domains 0 and 1 share a site; domain 7 does not exist, domain 6 comes late.
         */
        const char *name = recipients_domain_name(w->list, domain);
        struct mx_set *set = NULL;
        struct mx_set bad = {
            .words = (char *)(uintptr_t) "no", .site = bad.words, .key = bad.words};
        if (name[1] == '7')
            bad.code = 700;
        else if (name[1] == '6' && luck < 5)
            bad.code = luck < 2 ? 608 : 710;
        else
            set = make_set(name[1] <= '1' ? "mx.shared" : name, w->now + 90000000);
        scheduler_resolved(w->s, domain, set ? set : mx_set_copy(&bad), w->now);
    }
    const struct mx_set *set;
    for (uint32_t row; (row = scheduler_unresolvable(w->s, &set));) {
        bool hard = set->code == 700;
        settle(w, NO_CONNECTION, row,
               (struct settlement){.outcome = hard ? OUTCOME_ABSENT : OUTCOME_RETRY,
                                   .counted = true});
    }
}

static void take_order(struct world *w, const struct order *o)
{
    assert_true(o->connection < CONNECTIONS);
    struct lane *c = &w->connections[o->connection];
    if (o->kind == ORDER_OPEN) {
        assert_false(c->open);
        assert_int_equal(o->targets_n, 1);
        assert_true(o->rows_n >= 1);
        assert_true(w->now >= w->opening_from_us);
        *c = (struct lane){.open = true, .policy = o->policy};
        snprintf(c->site, sizeof c->site, "%s", o->site);
        w->open++;
        int same = 0;
        for (int i = 0; i < CONNECTIONS; i++)
            same += w->connections[i].open && w->connections[i].policy == o->policy &&
                    strcmp(w->connections[i].site, o->site) == 0;
        assert_true(same <= (o->policy ? STRICT_CONNECTIONS : WINDOW));
        assert_true(w->open <= TOTAL);
    }
    assert_true(c->open);
    if (o->kind == ORDER_RECALL) {
        while (c->n > 1) {
            uint32_t row = c->rows[--c->n];
            w->lent[row] = false;
            scheduler_returned(w->s, o->connection, row, w->now);
        }
        return;
    }
    assert_false(c->last);
    c->last = o->last;
    for (int i = 0; i < o->rows_n; i++) {
        uint32_t row = o->rows[i];
        assert_false(w->lent[row]);
        assert_int_equal(w->finals[row], 0);
        bool strict = w->strict && row % DOMAINS == 1;
        assert_int_equal(c->policy, strict);
        if (w->attempts[row]) /* never sooner than the shorter interval */
            assert_true(w->now - w->tried_us[row] >=
                        1000 * (strict ? strict_intervals[0] : intervals[0]));
        w->lent[row] = true;
        c->rows[c->n++] = row;
    }
}

static void close_connection(struct world *w, uint32_t number, enum close_kind how)
{
    struct lane *c = &w->connections[number];
    while (c->n) {
        uint32_t row = c->rows[--c->n];
        w->lent[row] = false;
        scheduler_returned(w->s, number, row, w->now);
    }
    c->open = false;
    w->open--;
    if (how == CLOSED_OURS)
        w->opening_from_us = w->now + NO_SOCKET_US;
    if (scheduler_closed(w->s, number, how, false, w->now))
        for (uint32_t row; (row = scheduler_round(w->s));)
            settle(w, NO_CONNECTION, row,
                   (struct settlement){.outcome = OUTCOME_RETRY, .counted = true});
}

/* Something happens on one connection. */
static void step(struct world *w, uint32_t number)
{
    struct lane *c = &w->connections[number];
    uint32_t luck = rng_below(&w->rng, 100);
    if (luck < w->failing_site) {
        uint32_t row = c->rows[0];
        if (c->n) {
            memmove(c->rows, c->rows + 1, (size_t)--c->n * sizeof c->rows[0]);
            settle(w, number, row,
                   (struct settlement){.outcome = OUTCOME_RETRY, .counted = true});
        }
        close_connection(w, number, CLOSED_FAILED);
        return;
    }
    if (luck == 98) {
        close_connection(w, number, CLOSED_OURS);
        return;
    }
    if (c->n == 0) {
        if (c->last || luck < 50)
            close_connection(w, number, CLOSED_CLEAN);
        return;
    }
    uint32_t row = c->rows[0];
    memmove(c->rows, c->rows + 1, (size_t)--c->n * sizeof c->rows[0]);
    struct settlement what = {
        .outcome = OUTCOME_DELIVERED, .counted = true, .worked = true};
    if (luck < 45)
        what.outcome = OUTCOME_RETRY;
    else if (luck < 50)
        what.outcome = OUTCOME_ABSENT;
    else if (luck < 53)
        what = (struct settlement){.outcome = OUTCOME_RETRY, .worked = true};
    settle(w, number, row, what);
    if (luck == 99)
        close_connection(w, number, CLOSED_LOST);
}

/* Run until all is final; the clock jumps to whatever comes next. */
static void run(struct world *w)
{
    static struct order order;
    for (int turns = 0; !scheduler_done(w->s); turns++) {
        assert_true(turns < 2000000);
        scheduler_advance(w->s, w->now);
        resolve(w);
        while (scheduler_recall(w->s, &order, w->now))
            take_order(w, &order);
        while (scheduler_next(w->s, &order, w->now) != ORDER_NONE)
            take_order(w, &order);
        bool busy = false;
        for (uint32_t i = 0; i < CONNECTIONS; i++)
            if (w->connections[i].open && rng_below(&w->rng, 2)) {
                step(w, i);
                busy = true;
            }
        if (busy || w->open)
            w->now += rng_below(&w->rng, 50000);
        else if (!scheduler_done(w->s)) {
            int64_t wake = scheduler_wake(w->s);
            assert_true(wake != INT64_MAX); /* nothing stands still without a reason */
            if (wake > w->now)
                w->now = wake;
        }
    }
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        if (w->connections[i].open)
            close_connection(w, i, CLOSED_CLEAN);
    for (int row = 1; row <= ROWS; row++)
        assert_int_equal(w->finals[row], 1);
    struct scheduler_stats stats = scheduler_stats(w->s);
    assert_int_equal(
        stats.pending + stats.lent + stats.ready + stats.waiting + stats.asking, 0);
    assert_int_equal(stats.connections, 0);
}

static void test_every_row_ends_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world *w = mem_alloc(sizeof *w);
        begin(w, seed,
              (struct scheduler_policy){.lifetime_ms = 86400000,
                                        .connections = WINDOW,
                                        .messages_per_connection = seed % 3 ? 0 : 7});
        w->failing_site = seed % 4 == 0 ? 10 : 0;
        run(w);
        assert_true(w->sent > ROWS / 2);
        finish(w);
        free(w);
    }
}

static void test_attempts_and_lifetime_end(void **state)
{
    (void)state;
    struct world *w = mem_alloc(sizeof *w);
    begin(w, 5,
          (struct scheduler_policy){
              .lifetime_ms = 86400000, .max_attempts = 3, .connections = WINDOW});
    w->failing_site = 100; /* no connection ever works */
    run(w);
    for (int row = 1; row <= ROWS; row++)
        assert_true(row % DOMAINS >= 6 || w->attempts[row] == 3);
    assert_int_equal(w->sent, 0);
    finish(w);

    begin(w, 6,
          (struct scheduler_policy){.lifetime_ms = 600000, .connections = WINDOW});
    w->failing_site = 100;
    run(w);
    /* 0, 1, 3, 5, 7, 9 minutes: the next would be after ten. */
    for (int row = 1; row <= ROWS; row++)
        assert_true(row % DOMAINS >= 6 || w->attempts[row] == 6);
    finish(w);
    free(w);
}

static struct order *next_order(struct world *w)
{
    static struct order order;
    return scheduler_next(w->s, &order, w->now) == ORDER_NONE ? NULL : &order;
}

static void test_unproven_site_gets_one_probe(void **state)
{
    (void)state;
    struct world *w = mem_alloc(sizeof *w);
    begin(w, 1,
          (struct scheduler_policy){.lifetime_ms = 86400000, .connections = WINDOW});
    uint32_t domain = scheduler_ask(w->s);
    scheduler_resolved(w->s, domain, make_set("a", w->now + 90000000), w->now);
    struct order *o = next_order(w);
    assert_int_equal(o->kind, ORDER_OPEN);
    uint32_t probe = o->connection, row = o->rows[0];
    uint32_t others[LEASE_MAX];
    int others_n = o->rows_n - 1;
    memcpy(others, o->rows + 1, sizeof others[0] * (size_t)others_n);
    assert_null(next_order(w)); /* the rest waits for the probe */
    struct settlement good = {
        .outcome = OUTCOME_DELIVERED, .counted = true, .worked = true};
    scheduler_settle(w->s, probe, row, &good, w->now);
    int opened = 0;
    while ((o = next_order(w)))
        opened += o->kind == ORDER_OPEN;
    assert_int_equal(opened, 4); /* WINDOW_FIRST, with the probe */
    finish(w);
    free(w);
}

static void test_stalled_connection_gives_back(void **state)
{
    (void)state;
    struct world *w = mem_alloc(sizeof *w);
    begin(w, 1, (struct scheduler_policy){.lifetime_ms = 86400000, .connections = 1});
    uint32_t domain = scheduler_ask(w->s);
    scheduler_resolved(w->s, domain, make_set("a", w->now + 90000000), w->now);
    struct order *o = next_order(w);
    assert_int_equal(o->kind, ORDER_OPEN);
    assert_true(o->rows_n > 1);
    assert_null(next_order(w));
    w->now += STALL_US + 1000000;
    assert_true(scheduler_recall(w->s, o, w->now));
    assert_int_equal(o->kind, ORDER_RECALL);
    assert_false(scheduler_recall(w->s, o, w->now)); /* once */
    finish(w);
    free(w);
}

/* Opens all it may; returns how many, and the last one's number. */
static int open_all(struct world *w, uint32_t *last)
{
    int opened = 0;
    for (struct order *o; (o = next_order(w));) {
        take_order(w, o);
        if (o->kind == ORDER_OPEN) {
            opened++;
            *last = o->connection;
        }
    }
    return opened;
}

/* 609: nobody's attempt. A pause, then as many as there was room for, then all again.
 */
static void test_no_socket_is_nobodys_attempt(void **state)
{
    (void)state;
    struct world *w = mem_alloc(sizeof *w);
    begin(w, 1, (struct scheduler_policy){.lifetime_ms = 86400000, .connections = 1});
    for (uint32_t domain; (domain = scheduler_ask(w->s)) != RECIPIENTS_NO_DOMAIN;)
        scheduler_resolved(
            w->s, domain,
            make_set(recipients_domain_name(w->list, domain), w->now + 900000000),
            w->now);
    uint32_t last;
    assert_int_equal(open_all(w, &last), DOMAINS);
    close_connection(w, last, CLOSED_OURS);
    assert_int_equal(open_all(w, &last), 0);
    assert_true(scheduler_wake(w->s) <= w->now + NO_SOCKET_US);

    w->now += NO_SOCKET_US;
    scheduler_advance(w->s, w->now);
    assert_int_equal(open_all(w, &last), 0); /* no room beside the seven */
    close_connection(w, 0, CLOSED_CLEAN);
    assert_int_equal(open_all(w, &last), 1);

    w->now += FEWER_US;
    scheduler_advance(w->s, w->now);
    assert_int_equal(open_all(w, &last), 1);
    for (int row = 1; row <= ROWS; row++)
        assert_int_equal(w->attempts[row], 0);
    finish(w);
    free(w);
}

static void test_doubt_counts_once(void **state)
{
    (void)state;
    struct world *w = mem_alloc(sizeof *w);
    begin(w, 1, (struct scheduler_policy){.lifetime_ms = 86400000, .connections = 1});
    uint32_t domain = scheduler_ask(w->s);
    scheduler_resolved(w->s, domain, make_set("a", w->now + 900000000), w->now);
    struct order *o = next_order(w);
    uint32_t row = o->rows[0], connection = o->connection;
    uint32_t others[] = {o->rows[1], o->rows[2]};
    struct settlement doubt = {
        .outcome = OUTCOME_RETRY, .worked = true, .in_doubt = true};
    struct settlement good = {
        .outcome = OUTCOME_DELIVERED, .counted = true, .worked = true};
    assert_true(scheduler_settle(w->s, connection, row, &doubt, w->now).first_doubt);
    for (int i = 0; i < 2; i++)
        assert_false(
            scheduler_settle(w->s, connection, others[i], &good, w->now).first_doubt);
    o = next_order(w);
    assert_int_equal(o->kind, ORDER_MORE);
    assert_int_equal(o->rows[0], row);
    assert_false(scheduler_settle(w->s, connection, row, &doubt, w->now).first_doubt);
    finish(w);
    free(w);
}

static void past_of_row(void *arg, uint32_t row, struct row_past *out)
{
    const struct world *w = arg;
    out->final = row <= 100;
    if (row == 101) /* was tried an hour ago, in doubt, and is due in 50 s */
        *out = (struct row_past){.attempts = 3,
                                 .first_us = w->now - 3600000000,
                                 .due_us = w->now + 50000000,
                                 .doubted = true};
    if (row == 102) /* a clock was set back: due in a year, tried in the future */
        *out = (struct row_past){.attempts = 1,
                                 .first_us = w->now + 1000000000,
                                 .due_us = w->now + 31536000000000};
}

static void test_past_is_restored(void **state)
{
    (void)state;
    struct world *w = mem_alloc(sizeof *w);
    *w = (struct world){.rng = {3}, .now = 1000000};
    w->list = make_list(ROWS, 1);
    struct scheduler_params params = {
        .list = w->list,
        .policy = {.retry_interval_ms = intervals,
                   .retry_intervals = 2,
                   .lifetime_ms = 86400000,
                   .connections = 1},
        .connections_total = TOTAL,
        .now_us = w->now,
        .epoch_us = w->now - 7200000000,
        .past = past_of_row,
        .past_arg = w,
    };
    w->s = scheduler_create(&params);
    struct scheduler_stats stats = scheduler_stats(w->s);
    assert_int_equal(stats.pending, ROWS - 100);
    assert_int_equal(stats.waiting, 2);
    w->now += 50100000;
    scheduler_advance(w->s, w->now);
    assert_int_equal(scheduler_stats(w->s).waiting, 1);
    w->now += 10000000; /* not later than one interval */
    scheduler_advance(w->s, w->now);
    assert_int_equal(scheduler_stats(w->s).waiting, 0);

    /* Row 101 is in doubt for the second time: final, with attempt 4. */
    scheduler_resolved(w->s, scheduler_ask(w->s), make_set("a", w->now + 90000000000),
                       w->now);
    struct decision d = {0};
    struct settlement doubt = {
        .outcome = OUTCOME_RETRY, .counted = true, .worked = true, .in_doubt = true};
    for (struct order *o; (o = next_order(w));)
        for (int i = 0; i < o->rows_n; i++) {
            d = scheduler_settle(w->s, o->connection, o->rows[i], &doubt, w->now);
            assert_int_equal(d.given_up, o->rows[i] == 101);
            assert_int_equal(d.final, o->rows[i] == 101);
            assert_int_equal(d.first_doubt, o->rows[i] != 101);
            assert_int_equal(d.attempt, o->rows[i] == 101   ? 4
                                        : o->rows[i] == 102 ? 2
                                                            : 1);
        }
    assert_int_equal(scheduler_stats(w->s).pending, ROWS - 101);
    finish(w);
    free(w);
}

static void test_stop_orders_nothing(void **state)
{
    (void)state;
    struct world *w = mem_alloc(sizeof *w);
    begin(w, 1, (struct scheduler_policy){.lifetime_ms = 86400000, .connections = 1});
    uint32_t domain = scheduler_ask(w->s);
    scheduler_resolved(w->s, domain, make_set("a", w->now + 90000000), w->now);
    scheduler_stop(w->s);
    assert_null(next_order(w));
    assert_int_equal(scheduler_ask(w->s), RECIPIENTS_NO_DOMAIN);
    assert_true(scheduler_wake(w->s) == INT64_MAX);
    finish(w);
    free(w);
}

/* Rows that are lent come back, nothing goes out, and the time does not count. */
static void test_pause(void **state)
{
    (void)state;
    struct world *w = mem_alloc(sizeof *w);
    begin(w, 1, (struct scheduler_policy){.lifetime_ms = 150000, .connections = 2});
    uint32_t domain = scheduler_ask(w->s);
    scheduler_resolved(w->s, domain, make_set("a", INT64_MAX), w->now);
    struct order *o = next_order(w);
    uint32_t rows[2] = {o->rows[0], o->rows[1]}, connection = o->connection;
    struct settlement later = {.outcome = OUTCOME_RETRY, .counted = true};
    struct decision d = scheduler_settle(w->s, connection, rows[0], &later, w->now);
    assert_true(d.next_us == w->now + intervals[0] * 1000);
    scheduler_pause(w->s, true, w->now);
    assert_null(next_order(w));
    assert_int_equal(scheduler_ask(w->s), RECIPIENTS_NO_DOMAIN);
    for (int i = 1; i < o->rows_n; i++)
        scheduler_returned(w->s, connection, o->rows[i], w->now);
    assert_null(next_order(w)); /* not to the one that ends either */
    w->now += 1000000000;
    scheduler_advance(w->s, w->now);
    assert_null(next_order(w));
    scheduler_pause(w->s, false, w->now);
    assert_null(next_order(w)); /* the only connection is told to end still */
    scheduler_closed(w->s, connection, CLOSED_CLEAN, false, w->now);
    bool tried = false;
    while (!tried && (o = next_order(w)))
        for (int i = 0; i < o->rows_n; i++) {
            d = scheduler_settle(w->s, o->connection, o->rows[i], &later, w->now);
            if (o->rows[i] == rows[0]) { /* 1000 s later it is young */
                assert_int_equal(d.attempt, 2);
                assert_false(d.final);
                tried = true;
            }
        }
    assert_true(tried);
    finish(w);
    free(w);
}

/* One probe at a time, each to another site; nobody's attempt, and nobody's time. */
static void test_network_down(void **state)
{
    (void)state;
    struct world *w = mem_alloc(sizeof *w);
    begin(w, 1, (struct scheduler_policy){.lifetime_ms = 80000, .connections = 2});
    uint32_t domain;
    while ((domain = scheduler_ask(w->s)) != RECIPIENTS_NO_DOMAIN)
        scheduler_resolved(w->s, domain,
                           make_set(recipients_domain_name(w->list, domain), INT64_MAX),
                           w->now);
    uint64_t pending = scheduler_stats(w->s).pending;
    scheduler_network(w->s, true, w->now);
    char before[32] = "";
    for (int i = 0; i < 30; i++) {
        assert_null(next_order(w));
        assert_true(scheduler_wake(w->s) <= w->now + PROBE_US);
        w->now += PROBE_US;
        scheduler_advance(w->s, w->now);
        struct order *o = next_order(w);
        assert_non_null(o);
        assert_string_not_equal(o->site, before);
        snprintf(before, sizeof before, "%s", o->site);
        struct order probe = *o;
        assert_null(next_order(w)); /* one */
        struct settlement nobodys = {.outcome = OUTCOME_RETRY};
        for (int r = 0; r < probe.rows_n; r++) {
            struct decision d = scheduler_settle(w->s, probe.connection, probe.rows[r],
                                                 &nobodys, w->now);
            assert_int_equal(d.attempt, 0);
        }
        assert_false(
            scheduler_closed(w->s, probe.connection, CLOSED_NETWORK, false, w->now));
    }
    assert_int_equal(scheduler_stats(w->s).pending, pending);
    scheduler_network(w->s, false, w->now);
    int opened = 0;
    while (next_order(w))
        opened++;
    assert_true(opened > 3); /* all sites at once */
    finish(w);
    free(w);
}

static void return_all(struct world *w, const struct order *o)
{
    for (int i = 0; i < o->rows_n; i++)
        scheduler_returned(w->s, o->connection, o->rows[i], w->now);
}

/* What stood when it went down may wait for a reply for long: the probes do not. And
 * sockets that are missing are not there because a network is. */
static void test_network_down_beside(void **state)
{
    (void)state;
    struct world *w = mem_alloc(sizeof *w);
    begin(w, 1, (struct scheduler_policy){.lifetime_ms = 80000, .connections = 2});
    uint32_t domain;
    while ((domain = scheduler_ask(w->s)) != RECIPIENTS_NO_DOMAIN)
        scheduler_resolved(w->s, domain,
                           make_set(recipients_domain_name(w->list, domain), INT64_MAX),
                           w->now);
    struct order stands = *next_order(w), ends = *next_order(w);
    scheduler_network(w->s, true, w->now);
    w->now += PROBE_US;
    scheduler_advance(w->s, w->now);
    struct order probe = *next_order(w);
    assert_int_equal(probe.kind, ORDER_OPEN);
    assert_null(next_order(w));
    return_all(w, &stands);
    assert_false(
        scheduler_closed(w->s, stands.connection, CLOSED_NETWORK, false, w->now));
    w->now += PROBE_US;
    scheduler_advance(w->s, w->now);
    assert_null(next_order(w)); /* the probe is still under way */

    return_all(w, &probe);
    return_all(w, &ends);
    scheduler_closed(w->s, probe.connection, CLOSED_NETWORK, false, w->now);
    scheduler_closed(w->s, ends.connection, CLOSED_OURS, false, w->now);
    scheduler_network(w->s, false, w->now);
    assert_null(next_order(w));
    assert_true(scheduler_wake(w->s) <= w->now + NO_SOCKET_US);
    w->now += NO_SOCKET_US;
    scheduler_advance(w->s, w->now);
    assert_non_null(next_order(w));
    finish(w);
    free(w);
}

/* The resolver has no network either: what it cannot find out is asked again, and is
 * nobody's attempt. */
static void test_network_down_names(void **state)
{
    (void)state;
    struct world *w = mem_alloc(sizeof *w);
    begin(w, 1, (struct scheduler_policy){.lifetime_ms = 80000, .connections = 2});
    struct mx_set none = {.code = 710,
                          .words = (char *)(uintptr_t) "SERVFAIL",
                          .site = (char *)(uintptr_t) "",
                          .key = (char *)(uintptr_t) ""};
    const struct mx_set *set;
    uint32_t domain = scheduler_ask(w->s);
    scheduler_network(w->s, true, w->now);
    scheduler_resolved(w->s, domain, mx_set_copy(&none), w->now);
    assert_int_equal(scheduler_unresolvable(w->s, &set), 0);
    while (scheduler_ask(w->s) != RECIPIENTS_NO_DOMAIN)
        ;
    w->now += UNREACHABLE_RESOLVER_US;
    scheduler_advance(w->s, w->now);
    assert_int_equal(scheduler_ask(w->s), domain);
    scheduler_network(w->s, false, w->now);
    scheduler_resolved(w->s, domain, mx_set_copy(&none), w->now);
    assert_int_not_equal(scheduler_unresolvable(w->s, &set), 0);
    finish(w);
    free(w);
}

static void test_the_end_that_was_set(void **state)
{
    (void)state;
    struct world *w = mem_alloc(sizeof *w);
    *w = (struct world){.now = 1000000};
    w->list = make_list(ROWS, 3);
    struct scheduler_params params = {
        .list = w->list,
        .policy = {.retry_interval_ms = intervals,
                   .retry_intervals = 2,
                   .lifetime_ms = 86400000,
                   .connections = 1},
        .connections_total = TOTAL,
        .now_us = w->now,
        .until_us = w->now + intervals[0] * 1000 + 1,
    };
    w->s = scheduler_create(&params);
    uint32_t domain = scheduler_ask(w->s), attempts;
    scheduler_resolved(w->s, domain, make_set("a", INT64_MAX), w->now);
    struct order *o = next_order(w);
    struct settlement later = {.outcome = OUTCOME_RETRY, .counted = true};
    struct decision d =
        scheduler_settle(w->s, o->connection, o->rows[0], &later, w->now);
    assert_int_equal(d.ended, 0);
    uint32_t tried = o->rows[0];
    d = scheduler_settle(w->s, o->connection, o->rows[1], &later, w->now + 1000);
    assert_int_equal(d.ended, 606); /* the next attempt would come too late */
    uint32_t over = o->rows[1];
    scheduler_stop(w->s);
    for (int i = 2; i < o->rows_n; i++)
        scheduler_returned(w->s, o->connection, o->rows[i], w->now);
    scheduler_closed(w->s, o->connection, CLOSED_CLEAN, false, w->now);
    int n = 0;
    for (uint32_t row; (row = scheduler_expire(w->s, &attempts)); n++) {
        assert_int_not_equal(row, over);
        assert_int_equal(w->finals[row]++, 0);
        assert_int_equal(attempts, row == tried);
    }
    assert_int_equal(n, ROWS - 1);
    assert_true(scheduler_done(w->s));
    finish(w);
    free(w);
}

static int strict_asked;

static uint32_t strict_policy(void *arg, uint32_t domain, const struct mx_set *set,
                              struct scheduler_policy *out, bool *fresh)
{
    struct world *w = arg;
    assert_true(!set || set->hosts_n == 1 || set->code);
    if (strcmp(recipients_domain_name(w->list, domain), "d1.example") != 0)
        return 0;
    *fresh = strict_asked++ == 0;
    if (*fresh)
        *out = (struct scheduler_policy){.retry_interval_ms = strict_intervals,
                                         .retry_intervals = 1,
                                         .lifetime_ms = 86400000,
                                         .max_attempts = STRICT_ATTEMPTS,
                                         .connections = STRICT_CONNECTIONS,
                                         .messages_per_connection = STRICT_MESSAGES};
    return 1;
}

static void begin_strict(struct world *w, uint64_t seed, uint32_t attempts,
                         uint32_t connections)
{
    begin(w, seed, (struct scheduler_policy){0});
    scheduler_destroy(w->s);
    strict_asked = 0;
    w->strict = true;
    struct scheduler_params params = {
        .list = w->list,
        .policy = {.retry_interval_ms = intervals,
                   .retry_intervals = 2,
                   .lifetime_ms = 86400000,
                   .max_attempts = attempts,
                   .connections = connections},
        .policy_of = strict_policy,
        .policy_arg = w,
        .retry_longest_ms = 120000,
        .connections_total = TOTAL,
        .seed = seed,
        .now_us = w->now,
    };
    w->s = scheduler_create(&params);
}

static void test_a_site_has_one_policy(void **state)
{
    (void)state;
    struct world *w = mem_alloc(sizeof *w);
    static const struct settlement delivered = {
        .outcome = OUTCOME_DELIVERED, .counted = true, .worked = true};
    begin_strict(w, 11, 5, 2); /* there is room for more */
    resolve(w);
    int open[2] = {0};
    uint32_t connection = NO_CONNECTION, row = 0;
    for (struct order *o; (o = next_order(w));) {
        assert_true(o->policy <= 1);
        for (int i = 0; i < o->rows_n;
             i++) /* rows of the other site never come along */
            assert_int_equal(o->rows[i] % DOMAINS == 1, o->policy);
        if (o->kind != ORDER_OPEN)
            continue;
        open[o->policy]++;
        assert_int_equal(o->messages, o->policy ? STRICT_MESSAGES : 0);
        if (o->policy)
            assert_true(o->rows_n <= STRICT_MESSAGES);
        if (o->policy && open[1] == STRICT_CONNECTIONS) { /* kept for later */
            connection = o->connection;
            row = o->rows[0];
            continue;
        }
        scheduler_settle(w->s, o->connection, o->rows[0], &delivered, w->now);
    }
    assert_int_equal(open[1], STRICT_CONNECTIONS);
    assert_true(open[0] > STRICT_CONNECTIONS);
    assert_true(strict_asked >= 1);

    /* More for a policy that is in use: its site may open more. */
    struct scheduler_policy wider = {.retry_interval_ms = strict_intervals,
                                     .retry_intervals = 1,
                                     .lifetime_ms = 86400000,
                                     .connections = STRICT_CONNECTIONS + 1};
    scheduler_set_policies(w->s, (struct scheduler_policy[]){wider, wider}, 2);
    scheduler_settle(w->s, connection, row, &delivered, w->now);
    struct order *o = next_order(w);
    while (o && o->kind != ORDER_OPEN)
        o = next_order(w);
    assert_non_null(o);
    assert_int_equal(o->policy, 1);
    assert_int_equal(o->messages, 0);
    finish(w);
    free(w);
}

/* Orders by policy, all settled. */
static void count_orders(struct world *w, int opened[2])
{
    static const struct settlement delivered = {
        .outcome = OUTCOME_DELIVERED, .counted = true, .worked = true};
    opened[0] = opened[1] = 0;
    for (struct order *o; (o = next_order(w));) {
        opened[o->policy] += o->kind == ORDER_OPEN;
        for (int i = 0; i < o->rows_n; i++)
            scheduler_settle(w->s, o->connection, o->rows[i], &delivered, w->now);
    }
}

/* Domains 0 and 1 have the same hosts, but only one of them has quiet hours. */
static void test_one_policy_is_quiet(void **state)
{
    (void)state;
    struct world *w = mem_alloc(sizeof *w);
    int opened[2];
    begin_strict(w, 5, 0, 3);
    resolve(w);
    scheduler_quiet(w->s, 1, w->now + 1000000);
    count_orders(w, opened);
    assert_true(opened[0] > 0);
    assert_int_equal(opened[1], 0);
    scheduler_advance(w->s, w->now += 2000000);
    count_orders(w, opened);
    assert_int_equal(opened[1], 0); /* the clock says when it is over */
    scheduler_quiet(w->s, 1, 0);
    count_orders(w, opened);
    assert_int_equal(opened[0], 0);
    assert_true(opened[1] > 0);
    finish(w);
    free(w);
}

static void test_rows_wait_by_their_domains_policy(void **state)
{
    (void)state;
    struct world *w = mem_alloc(sizeof *w);
    begin_strict(w, 12, 5, WINDOW);
    resolve(w);
    static const struct settlement later = {
        .outcome = OUTCOME_RETRY, .counted = true, .worked = true};
    bool seen[2] = {false};
    for (struct order *o; !(seen[0] && seen[1]) && (o = next_order(w));) {
        bool strict = o->policy == 1;
        struct decision d =
            scheduler_settle(w->s, o->connection, o->rows[0], &later, w->now);
        assert_int_equal(d.next_us - w->now,
                         1000 * (strict ? strict_intervals[0] : intervals[0]));
        seen[strict] = true;
    }
    assert_true(seen[0] && seen[1]);
    finish(w);

    /* No connection ever works: two attempts there, five elsewhere. */
    begin_strict(w, 13, 5, WINDOW);
    w->failing_site = 100;
    run(w);
    for (int row = 1; row <= ROWS; row++)
        if (row % DOMAINS < 6)
            assert_int_equal(w->attempts[row],
                             row % DOMAINS == 1 ? STRICT_ATTEMPTS : 5);
    finish(w);

    for (uint64_t seed = 20; seed < 30; seed++) {
        begin_strict(w, seed, 0, WINDOW);
        w->failing_site = seed % 2 ? 10 : 0;
        run(w);
        finish(w);
    }
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_ends_once),
        cmocka_unit_test(test_attempts_and_lifetime_end),
        cmocka_unit_test(test_unproven_site_gets_one_probe),
        cmocka_unit_test(test_stalled_connection_gives_back),
        cmocka_unit_test(test_no_socket_is_nobodys_attempt),
        cmocka_unit_test(test_doubt_counts_once),
        cmocka_unit_test(test_past_is_restored),
        cmocka_unit_test(test_stop_orders_nothing),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_network_down),
        cmocka_unit_test(test_network_down_beside),
        cmocka_unit_test(test_network_down_names),
        cmocka_unit_test(test_the_end_that_was_set),
        cmocka_unit_test(test_a_site_has_one_policy),
        cmocka_unit_test(test_one_policy_is_quiet),
        cmocka_unit_test(test_rows_wait_by_their_domains_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
