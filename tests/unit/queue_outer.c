/* Destinations with limits of their own, and outer budgets that bound several of them:
 * a section's limits hold for all that it matches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/rng.h"
#include "queue_world.h"

enum { N = 3 }; /* domains, each its own provider and policy */

struct plan {
    struct scheduler_policy policies[N];
    bool known[N];
};

static uint32_t policy_of(void *arg, uint32_t domain, const struct mx_set *set,
                          struct scheduler_policy *out, bool *fresh)
{
    struct plan *p = arg;
    (void)set;
    *fresh = domain > 0 && !p->known[domain];
    p->known[domain] = true;
    *out = p->policies[domain];
    return domain;
}

/* own: of each domain; its provider and key are made. */
static void begin_within(struct world *w, struct plan *p, int rows,
                         struct scheduler_policy own,
                         const struct scheduler_budget *outer, int outer_n)
{
    for (uint32_t i = 0; i < N; i++) {
        p->policies[i] = whole_life(own);
        p->policies[i].provider = i + 1;
        p->policies[i].key = i + 1;
        p->policies[i].outer = outer;
        p->policies[i].outer_n = outer_n;
        p->known[i] = false;
    }
    w->policy_of = policy_of;
    w->policy_arg = p;
    begin_in(w, CONNECTIONS, rows, N, p->policies[0]);
    for (uint32_t i = 0, domain; (domain = scheduler_ask(w->s)) != RECIPIENTS_NO_DOMAIN;
         i++) {
        assert_int_equal(domain, i); /* they become known in order */
        resolve_domain(w, domain);
    }
}

static int open_to(const struct world *w, const char *site)
{
    int n = 0;
    for (int i = 0; i < CONNECTIONS; i++)
        n += w->lanes[i].open && strcmp(w->lanes[i].site, site) == 0;
    return n;
}

/* Each connection settles one row and, when it has none left and no more will come, or
 * served as many as it may, ends. Counts what each domain got. */
static void step(struct world *w, struct rng *rng, int got[N])
{
    take_orders(w);
    uint32_t order[CONNECTIONS]; /* in which they come to their gates */
    for (uint32_t k = 0; k < CONNECTIONS; k++) {
        uint32_t at = rng_below(rng, k + 1);
        order[k] = order[at];
        order[at] = k;
    }
    for (uint32_t k = 0; k < CONNECTIONS; k++) {
        uint32_t i = order[k];
        struct lane *lane = &w->lanes[i];
        int64_t again;
        if (!lane->open || lane->n == 0 ||
            !gates_pass(lane->mails, lane->gates_n, w->now, &again))
            continue;
        settle(w, i, good);
        got[lane->site[4] - '0']++;
        lane->served++;
        if (lane->n == 0 && (lane->last || lane->served == lane->messages))
            end_lane(w, i, CLOSED_CLEAN);
    }
}

static void connections_of_all_together(void **state)
{
    (void)state;
    static const struct scheduler_budget outer[] = {
        {.number = 1, .key = 9, .connections = 4}};
    struct world w = {0};
    struct plan p;
    int got[N] = {0};
    struct rng rng = {.state = 1};
    begin_within(
        &w, &p, 900,
        (struct scheduler_policy){.connections = 3, .messages_per_connection = 5},
        outer, 1);
    for (int i = 0; i < 600 && w.delivered < 900; i++, w.now += SECOND_US / 100) {
        step(&w, &rng, got);
        assert_true(w.open <= 4);
        for (int k = 0; k < N; k++) {
            char site[] = {'m', 'x', '.', 'd', (char)('0' + k), 0};
            assert_true(open_to(&w, site) <= 3);
        }
        if (w.delivered < 600) /* and nobody is left behind */
            assert_true(abs(got[0] - got[1]) < 60 && abs(got[1] - got[2]) < 60);
    }
    assert_int_equal(w.delivered, 900);
    assert_int_equal(w.most, 4);
    finish(&w);
}

/* One of them has nearly all rows: the others take turns with it, and it has all that
 * they leave. */
static void a_single_place_goes_round(void **state)
{
    (void)state;
    static const struct scheduler_budget outer[] = {
        {.number = 1, .key = 9, .connections = 1}};
    struct world w = {0};
    struct plan p;
    int got[N] = {0};
    struct rng rng = {.state = 1};
    begin_within(
        &w, &p, 300,
        (struct scheduler_policy){.connections = 5, .messages_per_connection = 2},
        outer, 1);
    for (int i = 0; i < 60; i++, w.now += SECOND_US / 100) {
        step(&w, &rng, got);
        assert_true(w.open <= 1);
    }
    for (int k = 0; k < N; k++)
        assert_in_range(got[k], 16, 24);
    finish(&w);
}

static void rates_of_all_together(void **state)
{
    (void)state;
    static const struct scheduler_budget outer[] = {
        {.number = 1, .key = 9, .connections = UINT32_MAX, .message_rate = 36000},
        {.number = 2, .key = 8, .connections = UINT32_MAX, .connection_rate = 7200}};
    struct world w = {0};
    struct plan p;
    int got[N] = {0};
    struct rng rng = {.state = 1};
    begin_within(&w, &p, 3000,
                 (struct scheduler_policy){.connections = 3, .message_rate = 18000},
                 outer, 2);
    unsigned lacks = 0;
    for (int i = 0; i < 6000; i++, w.now += SECOND_US / 100) { /* a minute */
        step(&w, &rng, got);
        lacks |= i < 1000 ? 0 : view(&w).lacks;
    }
    assert_in_range(w.delivered, 560, 610); /* ten a second, not 15 */
    for (int k = 0; k < N; k++)
        assert_in_range(got[k], 150, 250);
    assert_int_equal(lacks & ~(unsigned)LACK_CONNECTIONS, LACK_RATE);
    finish(&w);
}

/* What one is told is for its provider alone, and its reasons are its own. */
static void a_suspension_stays_inside(void **state)
{
    (void)state;
    static const struct scheduler_budget outer[] = {
        {.number = 1, .key = 9, .connections = 2}};
    struct world w = {0};
    struct plan p;
    int got[N] = {0};
    struct rng rng = {.state = 1};
    begin_within(&w, &p, 300, (struct scheduler_policy){.connections = 2}, outer, 1);
    step(&w, &rng, got);
    assert_int_equal(w.open, 2);
    struct suspension pause = {
        .reach = REACH_PATH, .for_us = 10 * interval_us, .why = "listed"};
    scheduler_suspend(w.s, 0, &pause, w.now);
    for (int i = 0; i < 400; i++, w.now += SECOND_US / 100)
        step(&w, &rng, got);
    assert_int_equal(got[0] <= 1, 1);
    assert_int_equal(got[1] + got[2], 200);
    assert_int_equal(view(&w).lacks, LACK_PATH);
    finish(&w);
}

/* The outer budget is used up: that is the reason, and its end wakes whoever waits. */
static void who_waits_says_why_and_is_woken(void **state)
{
    (void)state;
    static const struct scheduler_budget outer[] = {
        {.number = 1, .key = 9, .connections = 1}};
    struct world w = {0};
    struct plan p;
    begin_within(&w, &p, 30, (struct scheduler_policy){.connections = 2}, outer, 1);
    take_orders(&w);
    assert_int_equal(w.open, 1);
    assert_int_equal(open_to(&w, "mx.d0"), 1);
    struct site_view sites[N];
    assert_int_equal(scheduler_slowest(w.s, sites, N, w.now), N);
    for (int i = 0; i < N; i++) {
        bool has = strcmp(sites[i].name, "mx.d0") == 0;
        assert_int_equal(sites[i].window, 1);
        assert_true(has || sites[i].lacks == LACK_CONNECTIONS);
    }
    end_lane(&w, 0, CLOSED_CLEAN);
    take_orders(&w);
    assert_int_equal(w.open, 1);
    assert_int_equal(open_to(&w, "mx.d0"), 0);
    finish(&w);
}

/* A reload: fewer connections, and then no limit any more. */
static void other_limits_hold_at_once(void **state)
{
    (void)state;
    static const struct scheduler_budget outer[] = {
        {.number = 1, .key = 9, .connections = 5}};
    static const struct scheduler_budget less[] = {
        {.number = 1, .key = 9, .connections = 2}};
    struct world w = {0};
    struct plan p;
    begin_within(&w, &p, 3000, (struct scheduler_policy){.connections = 4}, outer, 1);
    for (int i = 0; i < 20; i++) {
        take_orders(&w);
        settle_all(&w, good);
    }
    assert_int_equal(w.open, 5);
    for (int i = 0; i < N; i++)
        p.policies[i].outer = less;
    scheduler_set_policies(w.s, p.policies, N);
    take_orders(&w);
    assert_int_equal(w.stopped, 3);
    assert_int_equal(w.open, 2);
    assert_int_equal(view(&w).window, 2);
    for (int i = 0; i < N; i++)
        p.policies[i].outer_n = 0;
    scheduler_set_policies(w.s, p.policies, N);
    for (int i = 0; i < 20; i++) {
        take_orders(&w);
        settle_all(&w, good);
    }
    assert_int_equal(w.open, 12);
    scheduler_set_policies(w.s, p.policies, N);
    finish(&w);
}

/* Half of it, while another job has the other half. */
static void a_share_of_it(void **state)
{
    (void)state;
    static const struct scheduler_budget outer[] = {
        {.number = 1, .key = 9, .connections = 4}};
    struct world w = {0};
    struct plan p;
    begin_within(&w, &p, 3000, (struct scheduler_policy){.connections = 4}, outer, 1);
    for (int i = 0; i < 20; i++) {
        take_orders(&w);
        settle_all(&w, good);
    }
    assert_int_equal(w.open, 4);
    scheduler_share(w.s, &(struct sharing){.jobs = 2});
    take_orders(&w);
    assert_int_equal(w.open, 2);
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_of_all_together),
        cmocka_unit_test(a_single_place_goes_round),
        cmocka_unit_test(rates_of_all_together),
        cmocka_unit_test(a_suspension_stays_inside),
        cmocka_unit_test(who_waits_says_why_and_is_woken),
        cmocka_unit_test(other_limits_hold_at_once),
        cmocka_unit_test(a_share_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
