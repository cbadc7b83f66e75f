/* No row waits for something that never happens, and what wakes a site costs little
 * however many sites there are. Time goes from one scheduler_wake to the next, so that
 * nothing is found by chance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "queue_world.h"

/* Every connection delivers at once what it has; then on to when there is something to
 * do. */
static void go(struct world *w, int64_t for_us)
{
    int64_t end = w->now + for_us;
    while (w->now < end) {
        bool more = true;
        while (more) {
            int before = w->delivered;
            take_orders(w);
            settle_all(w, good);
            more = w->delivered > before;
            for (uint32_t i = 0; i < CONNECTIONS; i++)
                if (w->lanes[i].open && w->lanes[i].last && w->lanes[i].n == 0) {
                    end_lane(w, i, CLOSED_CLEAN);
                    more = true;
                }
        }
        int64_t wake = scheduler_wake(w->s);
        assert_true(wake > w->now);
        w->now = wake < end ? wake : end;
    }
}

/* ---- our own machine is full ---- */

/* The connection that stands waits for its rate, and no other can be opened. */
static void a_full_machine_leaves_a_rate_its_connection(void **state)
{
    (void)state;
    struct world w = {0};
    begin_in(&w, 1, 400, 1,
             (struct scheduler_policy){.connections = 5, .message_rate = 3600});
    go(&w, 20 * SECOND_US);
    assert_in_range(w.delivered, 18, 23);
    finish(&w);
}

/* A site whose connection ends goes behind those that wait for a place. */
static void places_go_round(void **state)
{
    (void)state;
    struct world w = {0};
    begin_in(&w, 1, 40, 2, (struct scheduler_policy){.connections = 5});
    char last[32] = "";
    for (int i = 0; i < 10; i++) {
        take_orders(&w);
        assert_true(w.lanes[0].open);
        assert_string_not_equal(w.lanes[0].site, last);
        snprintf(last, sizeof last, "%s", w.lanes[0].site);
        settle(&w, 0, good);
        end_lane(&w, 0, CLOSED_CLEAN);
    }
    finish(&w);
}

/* ---- other settings ---- */

/* What was to leave from a source that is none any more leaves from another one. */
static void rows_of_a_lost_source_go_elsewhere(void **state)
{
    (void)state;
    static const uint8_t first[] = {1}, second[] = {2};
    struct scheduler_policy policy = {
        .connections = 2, .sources = first, .sources_n = 1};
    struct world w;
    begin(&w, 4, 1, policy);
    take_orders(&w);
    assert_int_equal(w.lanes[0].n, 4);
    /* They are due again while their source is suspended; then it is gone. */
    struct suspension pause = {
        .reach = REACH_SOURCE, .for_us = 10 * interval_us, .why = "listed"};
    for (int i = 0; i < 4; i++)
        settle(&w, 0, later);
    scheduler_suspend(w.s, 0, &pause, w.now);
    take_orders(&w);
    w.now += interval_us;
    take_orders(&w);
    assert_int_equal(scheduler_stats(w.s).ready, 4);
    policy.sources = second;
    policy = whole_life(policy);
    scheduler_set_policies(w.s, &policy, 1);
    go(&w, SECOND_US);
    assert_int_equal(w.delivered, 4);
    finish(&w);
}

/* One an hour was too few: with more it goes on at once. */
static void a_higher_rate_is_one_at_once(void **state)
{
    (void)state;
    struct scheduler_policy policy = {.connections = 2, .message_rate = 1};
    struct world w;
    begin(&w, 400, 1, policy);
    go(&w, 5 * minute_us);
    assert_int_equal(w.delivered, 1);
    policy.message_rate = 3600;
    policy = whole_life(policy);
    scheduler_set_policies(w.s, &policy, 1);
    go(&w, 10 * SECOND_US);
    assert_in_range(w.delivered, 10, 14);
    finish(&w);
}

/* A brake is over, and the only source that was used so far is suspended. */
static void a_source_that_was_not_used_yet_may_be(void **state)
{
    (void)state;
    static const uint8_t two[] = {1, 2};
    static const struct settlement unknown = {
        .outcome = OUTCOME_ABSENT, .counted = true, .absent = true};
    struct world w;
    begin(&w, 400, 1,
          (struct scheduler_policy){.connections = 2,
                                    .sources = two,
                                    .sources_n = 2,
                                    .unknown_percent = 10,
                                    .unknown_pause_ms = 60000});
    while (w.last.notice == NOTICE_NONE) {
        take_orders(&w);
        assert_int_equal(w.open, 1);
        settle(&w, 0, unknown);
    }
    uint8_t used = w.lanes[0].source;
    struct suspension pause = {
        .reach = REACH_SOURCE, .for_us = 10 * interval_us, .why = "listed"};
    scheduler_suspend(w.s, 0, &pause, w.now);
    take_orders(&w);
    assert_int_equal(w.open, 0);
    go(&w, minute_us);
    take_orders(&w);
    assert_int_equal(w.open, 1);
    assert_int_not_equal(w.lanes[0].source, used);
    finish(&w);
}

/* The same, and the site that waits leaves the choice to the system. */
static uint32_t no_source_for_odd(void *arg, uint32_t domain, const struct mx_set *set,
                                  struct scheduler_policy *out, bool *fresh)
{
    bool *known = arg;
    if (!set || domain % 2 == 0)
        return 0;
    *fresh = !*known;
    *known = true;
    *out = whole_life((struct scheduler_policy){.connections = 2, .provider = 1});
    return 1;
}

static void the_systems_own_choice_is_a_source(void **state)
{
    (void)state;
    static const uint8_t one[] = {1};
    static const struct settlement unknown = {
        .outcome = OUTCOME_ABSENT, .counted = true, .absent = true};
    bool known = false;
    struct world w = {.policy_of = no_source_for_odd, .policy_arg = &known};
    begin_in(&w, CONNECTIONS, 800, 2,
             (struct scheduler_policy){.connections = 2,
                                       .provider = 1,
                                       .sources = one,
                                       .sources_n = 1,
                                       .unknown_percent = 10,
                                       .unknown_pause_ms = 60000});
    resolve_domain(&w, scheduler_ask(w.s));
    uint32_t odd = scheduler_ask(w.s);
    while (w.last.notice == NOTICE_NONE) {
        take_orders(&w);
        settle(&w, 0, unknown);
    }
    struct suspension pause = {
        .reach = REACH_SOURCE, .for_us = 10 * interval_us, .why = "listed"};
    scheduler_suspend(w.s, 0, &pause, w.now);
    resolve_domain(&w, odd);
    take_orders(&w);
    assert_int_equal(w.open, 0);
    go(&w, minute_us);
    take_orders(&w);
    assert_int_equal(w.open, 1);
    assert_int_equal(w.lanes[0].source, 0);
    finish(&w);
}

/* A site of another policy, that allows less, joins the budget: it holds for all. */
static uint32_t less_for_odd(void *arg, uint32_t domain, const struct mx_set *set,
                             struct scheduler_policy *out, bool *fresh)
{
    bool *known = arg;
    if (!set || domain % 2 == 0)
        return 0;
    *fresh = !*known;
    *known = true;
    *out = whole_life(
        (struct scheduler_policy){.connections = 2, .provider = 1, .message_rate = 60});
    return 1;
}

static void the_least_limit_of_a_budget_holds(void **state)
{
    (void)state;
    bool known = false;
    struct world w = {.policy_of = less_for_odd, .policy_arg = &known};
    begin_in(&w, CONNECTIONS, 400, 2,
             (struct scheduler_policy){.connections = 6, .provider = 1});
    resolve_domain(&w, scheduler_ask(w.s));
    uint32_t odd = scheduler_ask(w.s);
    for (int i = 0; i < 20; i++) {
        take_orders(&w);
        settle_all(&w, good);
    }
    assert_int_equal(w.open, 6);
    resolve_domain(&w, odd);
    take_orders(&w);
    assert_int_equal(w.open, 2);
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        while (settle(&w, i, good)) /* what had been lent is for the workers' gates */
            ;
    int before = w.delivered;
    go(&w, 10 * minute_us);
    assert_in_range(w.delivered - before, 9, 11);
    finish(&w);
}

/* ---- what is none of a row's life ---- */

static const int64_t three_days_us = 3 * 24 * 3600 * INT64_C(1000000);

/* A row that was tried once and is due while a rule closes its site. */
static void a_rules_time_is_not_lifetime(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 2, 1, (struct scheduler_policy){.connections = 1});
    take_orders(&w);
    settle_all(&w, later);
    struct suspension pause = {
        .reach = REACH_SITE, .for_us = three_days_us, .why = "no"};
    scheduler_suspend(w.s, 0, &pause, w.now);
    settle_all(&w, later);
    go(&w, interval_us);
    take_orders(&w);
    assert_int_equal(scheduler_stats(w.s).ready, 2);
    assert_int_equal(view(&w).lacks, LACK_PATH);
    w.now += three_days_us - interval_us;
    take_orders(&w);
    assert_true(settle(&w, 0, later));
    assert_false(w.last.final);

    /* What closes it then is no rule any more. */
    take_orders(&w);
    end_lane(&w, 0, CLOSED_CLEAN);
    w.now += interval_us;
    take_orders(&w);
    assert_true(settle(&w, 0, later));
    while (w.lanes[0].n)
        scheduler_returned(w.s, 0, w.lanes[0].rows[--w.lanes[0].n], w.now);
    scheduler_closed(w.s, 0, CLOSED_FAILED, false, w.now);
    struct row_view row;
    for (uint32_t at; (at = scheduler_round(w.s));)
        scheduler_settle(w.s, NO_CONNECTION, at, &later, w.now);
    scheduler_view_row(w.s, 1, &row, w.now);
    assert_int_equal(row.site.lacks, LACK_ROUND);
    assert_null(row.site.why);
    finish(&w);
}

/* For three days no name server answers; then its domain has no host for an hour. */
static void a_dead_resolvers_time_is_not_lifetime(void **state)
{
    (void)state;
    struct mx_set mute = {.code = 608}, none = {.code = 711};
    mute.words = mute.site = mute.key = (char *)(uintptr_t) "no";
    none.words = none.site = none.key = (char *)(uintptr_t) "none";
    for (int ends = 0; ends < 2; ends++) {
        struct world w;
        begin(&w, 1, 1, (struct scheduler_policy){.connections = 1});
        w.ttl_us = SECOND_US;
        take_orders(&w);
        assert_true(settle(&w, 0, later));
        end_lane(&w, 0, CLOSED_CLEAN);
        w.now += interval_us;
        for (int64_t end = w.now + three_days_us; w.now < end;
             w.now = scheduler_wake(w.s)) {
            scheduler_advance(w.s, w.now);
            if (scheduler_ask(w.s) == 0)
                scheduler_resolved(w.s, 0, mx_set_copy(&mute), w.now);
        }
        scheduler_advance(w.s, w.now);
        assert_int_equal(scheduler_ask(w.s), 0);
        if (ends) {
            const struct mx_set *set;
            scheduler_resolved(w.s, 0, mx_set_copy(&none), w.now);
            assert_int_equal(scheduler_unresolvable(w.s, &set), 1);
            w.last = scheduler_settle(w.s, NO_CONNECTION, 1, &later, w.now);
            assert_int_equal(scheduler_unresolvable(w.s, &set), 0);
        } else {
            resolve_domain(&w, 0);
            take_orders(&w);
            settle_all(&w, later);
        }
        assert_int_equal(w.last.attempt, 2);
        assert_false(w.last.final);
        finish(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_machine_leaves_a_rate_its_connection),
        cmocka_unit_test(places_go_round),
        cmocka_unit_test(rows_of_a_lost_source_go_elsewhere),
        cmocka_unit_test(a_source_that_was_not_used_yet_may_be),
        cmocka_unit_test(a_higher_rate_is_one_at_once),
        cmocka_unit_test(the_systems_own_choice_is_a_source),
        cmocka_unit_test(the_least_limit_of_a_budget_holds),
        cmocka_unit_test(a_rules_time_is_not_lifetime),
        cmocka_unit_test(a_dead_resolvers_time_is_not_lifetime),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
