/* What `status` and `why` know of rows that wait for their own time: each has a site or
 * a lookup that it is counted for, and what holds it up is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "queue_world.h"

enum { SITES_MAX = 4 };

struct seen {
    struct site_view sites[SITES_MAX];
    struct survey survey;
};

static struct seen look(struct world *w, int max)
{
    struct seen seen = {.survey = {.sites_max = max}};
    seen.survey.sites = seen.sites;
    scheduler_survey(w->s, &seen.survey, w->now);
    return seen;
}

static struct row_view view_row(struct world *w, uint32_t row)
{
    struct row_view out;
    scheduler_view_row(w->s, row, &out, w->now);
    return out;
}

static int64_t tick_up(int64_t us)
{
    return us + SECOND_US / 10; /* times of rows are on ticks */
}

/* No host lets us in: its first row has failed, the others share that. */
static void fail_round(struct world *w, uint32_t connection, const char *why,
                       enum round round)
{
    struct lane *lane = &w->lanes[connection];
    settle(w, connection, refused);
    while (lane->n)
        scheduler_returned(w->s, connection, lane->rows[--lane->n], w->now);
    lane->open = false;
    w->open--;
    assert_int_equal(scheduler_closed(w->s, connection, CLOSED_FAILED, 0, w->now),
                     round);
    if (round == ROUND_SITE)
        scheduler_round_why(w->s, why);
    for (uint32_t row; (row = scheduler_round(w->s));)
        scheduler_settle(w->s, NO_CONNECTION, row, &refused, w->now);
}

/* ---- sites ---- */

static void rows_that_wait_have_their_site(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 10, 4, (struct scheduler_policy){.connections = 1});
    take_orders(&w); /* d0 and d1 have three rows, the others two */
    for (uint32_t i = 0; i < 4; i++)
        if (w.lanes[i].open && strcmp(w.lanes[i].site, "mx.d1") == 0)
            while (settle(&w, i, later))
                ;
    w.now += SECOND_US;
    take_orders(&w);
    for (uint32_t i = 0; i < 4; i++)
        if (w.lanes[i].open && strcmp(w.lanes[i].site, "mx.d3") == 0)
            settle(&w, i, later);
    struct seen seen = look(&w, SITES_MAX);
    assert_int_equal(seen.survey.sites_n, 4);
    assert_int_equal(seen.survey.more_sites, 0);
    uint32_t before = UINT32_MAX;
    for (int i = 0; i < 4; i++) {
        const struct site_view *site = &seen.sites[i];
        uint32_t rows = site->waiting + site->retrying;
        assert_true(rows <= before);
        before = rows;
        bool first = strcmp(site->name, "mx.d1") == 0;
        bool second = strcmp(site->name, "mx.d3") == 0;
        assert_int_equal(site->retrying, first ? 3 : second ? 1 : 0);
        assert_int_equal(rows, i < 2 ? 3 : 2);
        if (site->retrying)
            assert_in_range(site->due_us, w.now - SECOND_US + interval_us,
                            tick_up(w.now + interval_us));
        if (first)
            assert_int_equal(site->lacks, 0);
    }
    seen = look(&w, 1);
    assert_int_equal(seen.survey.sites_n, 1);
    assert_int_equal(seen.survey.more_sites, 3);
    assert_int_equal(seen.survey.more_rows, 7);
    finish(&w);
}

/* The first of those that wait, whichever comes first. */
static void the_first_attempt_is_told(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 3, 1, (struct scheduler_policy){.connections = 1});
    take_orders(&w);
    settle(&w, 0, later);
    int64_t first_us = w.now + 7 * minute_us;
    struct settlement soon = later;
    soon.wait_us = 7 * minute_us;
    settle(&w, 0, soon);
    soon.wait_us = 9 * minute_us;
    settle(&w, 0, soon);
    struct seen seen = look(&w, SITES_MAX);
    assert_int_equal(seen.sites[0].retrying, 3);
    assert_in_range(seen.sites[0].due_us, first_us, tick_up(first_us));
    finish(&w);
}

/* A dead host: all of its rows are in the wheel at once. */
static void a_failed_round_is_told(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 8, 1, (struct scheduler_policy){.connections = 1});
    take_orders(&w);
    fail_round(&w, 0, "after 601 refused", ROUND_SITE);
    take_orders(&w);
    assert_int_equal(scheduler_stats(w.s).waiting, 8);
    struct site_view none[1];
    assert_int_equal(scheduler_slowest(w.s, none, 1, w.now), 0);
    struct seen seen = look(&w, SITES_MAX);
    assert_int_equal(seen.survey.sites_n, 1);
    assert_string_equal(seen.sites[0].name, "mx.d0");
    assert_int_equal(seen.sites[0].waiting, 0);
    assert_int_equal(seen.sites[0].retrying, 8);
    assert_int_equal(seen.sites[0].lacks, LACK_ROUND);
    assert_int_equal(seen.sites[0].until_us, w.now + interval_us);
    assert_string_equal(seen.sites[0].why, "after 601 refused");
    struct row_view row = view_row(&w, 1);
    assert_int_equal(row.site.lacks, LACK_ROUND);
    assert_string_equal(row.site.why, "after 601 refused");

    /* Its rows may wait for longer than it is closed. */
    w.now += interval_us;
    assert_int_equal(look(&w, 1).sites[0].lacks, LACK_ROUND);
    assert_int_equal(look(&w, 1).sites[0].until_us, 0);
    assert_string_equal(view_row(&w, 1).site.why, "after 601 refused");

    /* Another one failed for another reason; then one works, and that is over. */
    take_orders(&w);
    assert_int_equal(look(&w, 1).sites[0].lacks & LACK_ROUND, 0);
    fail_round(&w, 0, "after 554 no", ROUND_SITE);
    assert_string_equal(look(&w, 1).sites[0].why, "after 554 no");
    w.now += interval_us;
    take_orders(&w);
    while (settle(&w, 0, later))
        ;
    end_lane(&w, 0, CLOSED_CLEAN);
    w.now += 2 * SECOND_US;
    seen = look(&w, SITES_MAX);
    assert_int_equal(seen.sites[0].retrying + seen.sites[0].waiting, 8);
    assert_int_equal(seen.sites[0].lacks & LACK_ROUND, 0);
    assert_null(seen.sites[0].why);
    finish(&w);
}

/* Refused with a greeting that a rule stops the path for: longer than the round does.
 */
static void a_rule_behind_a_failed_round_is_told(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 8, 1, (struct scheduler_policy){.connections = 1});
    take_orders(&w);
    struct suspension pause = {
        .reach = REACH_PATH, .for_us = 2 * interval_us, .why = "rule r after 421 busy"};
    scheduler_suspend(w.s, 0, &pause, w.now);
    fail_round(&w, 0, "after 421 busy", ROUND_SITE);
    struct site_view site = look(&w, SITES_MAX).sites[0];
    assert_int_equal(site.retrying, 8);
    assert_int_equal(site.lacks, LACK_PATH | LACK_ROUND);
    assert_int_equal(site.until_us, w.now + 2 * interval_us);
    assert_string_equal(site.why, "rule r after 421 busy");
    struct row_view row = view_row(&w, 3);
    assert_int_equal(row.state, ROW_WAITING);
    assert_int_equal(row.site.lacks, LACK_PATH | LACK_ROUND);
    assert_int_equal(row.site.until_us, w.now + 2 * interval_us);
    assert_string_equal(row.site.why, "rule r after 421 busy");
    finish(&w);
}

/* What waits for its retry is held up by its own source; of any by none, as long as one
 * of them may send. */
static void suspended_sources_hold_up_their_own(void **state)
{
    (void)state;
    static const uint8_t two[] = {1, 2};
    struct world w;
    begin(&w, 2, 1,
          (struct scheduler_policy){.connections = 1, .sources = two, .sources_n = 2});
    take_orders(&w);
    settle(&w, 0, later);
    struct suspension pause = {
        .reach = REACH_PATH, .for_us = interval_us / 2, .why = "rule r after 421 no"};
    scheduler_suspend(w.s, 0, &pause, w.now);
    while (w.delivered == 0) { /* the other one leaves from the other source */
        take_orders(&w);
        settle_all(&w, good);
    }
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        if (w.lanes[i].open)
            end_lane(&w, i, CLOSED_CLEAN);
    struct site_view site = look(&w, SITES_MAX).sites[0];
    assert_int_equal(site.retrying, 1);
    assert_int_equal(site.lacks, LACK_PATH);
    assert_int_equal(site.until_us, w.now + interval_us / 2);
    w.now += interval_us / 2;
    assert_int_equal(look(&w, SITES_MAX).sites[0].lacks, 0);
    finish(&w);

    begin(&w, 3, 1,
          (struct scheduler_policy){.connections = 1, .sources = two, .sources_n = 2});
    take_orders(&w);
    settle(&w, 0, later); /* row 1 is bound to its source */
    uint8_t closed = w.lanes[0].source;
    scheduler_suspend(w.s, 0, &pause, w.now);
    fail_round(&w, 0, "after 421 no", ROUND_SOURCE); /* the other one is free */
    struct row_view row = view_row(&w, 2);           /* never sent from anywhere */
    assert_int_equal(row.source, 0);
    assert_int_equal(row.site.lacks & (LACK_PATH | LACK_ROUND), 0);
    assert_int_equal(view_row(&w, 1).source, closed);
    assert_true(view_row(&w, 1).site.lacks & LACK_PATH);
    finish(&w);
}

static void quiet_hours_and_a_job_that_stands_are_told(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 2, 1, (struct scheduler_policy){.connections = 1});
    take_orders(&w);
    while (settle(&w, 0, later))
        ;
    end_lane(&w, 0, CLOSED_CLEAN);
    scheduler_quiet(w.s, 0, w.now + interval_us);
    struct site_view site = look(&w, SITES_MAX).sites[0];
    assert_int_equal(site.lacks, LACK_QUIET);
    assert_int_equal(site.until_us, w.now + interval_us);
    assert_int_equal(view_row(&w, 1).site.lacks, LACK_QUIET);
    scheduler_quiet(w.s, 0, 0);
    assert_int_equal(look(&w, SITES_MAX).sites[0].lacks, 0);
    scheduler_pause(w.s, true, w.now);
    assert_int_equal(look(&w, SITES_MAX).sites[0].lacks, LACK_JOB);
    scheduler_pause(w.s, false, w.now);
    scheduler_stop(w.s);
    assert_int_equal(look(&w, SITES_MAX).sites[0].lacks, LACK_JOB);
    finish(&w);
}

/* It is no lack of sockets that they wait for a probe. */
static void a_network_that_is_down_is_told(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 8, 4, (struct scheduler_policy){.connections = 1});
    resolve(&w);
    scheduler_network(w.s, true, w.now);
    take_orders(&w);
    struct seen seen = look(&w, SITES_MAX);
    assert_int_equal(seen.survey.sites_n, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(seen.sites[i].lacks, LACK_NETWORK);
    scheduler_network(w.s, false, w.now);
    take_orders(&w);
    seen = look(&w, SITES_MAX);
    for (int i = 0; i < 4; i++)
        assert_int_equal(seen.sites[i].lacks & (LACK_NETWORK | LACK_SOCKETS), 0);
    finish(&w);
}

/* ---- lookups ---- */

static void resolve_with(struct world *w, uint32_t domain, int code)
{
    struct mx_set set = {.code = code};
    set.words = set.site = set.key = (char *)(uintptr_t) "no";
    scheduler_resolved(w->s, domain, mx_set_copy(&set), w->now);
}

static void expect(const struct lookup_view *l, uint64_t rows, uint32_t domains,
                   const char *domain)
{
    assert_int_equal(l->rows, rows);
    assert_int_equal(l->domains, domains);
    if (domain)
        assert_string_equal(l->domain, domain);
    else
        assert_null(l->domain);
}

static void lookups_are_told(void **state)
{
    (void)state;
    struct world w;
    const struct mx_set *set;
    begin(&w, 10, 4, (struct scheduler_policy){.connections = 1});
    struct seen seen = look(&w, SITES_MAX);
    expect(&seen.survey.lookups[LOOKUP_ASKED], 10, 4, "d0.example");
    assert_int_equal(seen.survey.sites_n, 0);
    while (scheduler_ask(w.s) != RECIPIENTS_NO_DOMAIN)
        ;
    expect(&look(&w, SITES_MAX).survey.lookups[LOOKUP_ASKED], 10, 4, "d0.example");
    resolve_with(&w, 1, 608);
    resolve_with(&w, 2, 710);
    resolve_domain(&w, 0);
    for (uint32_t row; (row = scheduler_unresolvable(w.s, &set));)
        scheduler_settle(w.s, NO_CONNECTION, row, &later, w.now);
    seen = look(&w, SITES_MAX);
    expect(&seen.survey.lookups[LOOKUP_ASKED], 2, 1, "d3.example");
    assert_int_equal(seen.survey.lookups[LOOKUP_ASKED].due_us, 0);
    expect(&seen.survey.lookups[LOOKUP_MUTE], 3, 1, "d1.example");
    assert_int_equal(seen.survey.lookups[LOOKUP_MUTE].due_us,
                     w.now + UNREACHABLE_RESOLVER_US);
    expect(&seen.survey.lookups[LOOKUP_FAILED], 2, 1, "d2.example");
    assert_in_range(seen.survey.lookups[LOOKUP_FAILED].due_us, w.now + interval_us,
                    tick_up(w.now + interval_us));
    expect(&seen.survey.lookups[LOOKUP_LATER], 0, 0, NULL);
    assert_int_equal(seen.survey.sites_n, 1);
    assert_int_equal(seen.sites[0].waiting, 3);
    assert_int_equal(view_row(&w, 3).failed, 710);
    assert_int_equal(view_row(&w, 1).failed, 0);
    w.now = tick_up(w.now + interval_us); /* now they have hosts */
    resolve_domain(&w, 3);
    take_orders(&w);
    seen = look(&w, SITES_MAX);
    for (int i = 0; i < LOOKUPS; i++)
        assert_int_equal(seen.survey.lookups[i].rows, 0);
    assert_int_equal(seen.survey.sites_n, 4);
    settle_all(&w, later); /* which is their site's business */
    seen = look(&w, SITES_MAX);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(seen.survey.lookups[i].rows, 0);
        assert_int_equal(seen.sites[i].retrying, 1);
    }
    finish(&w);
}

static void all_wait(void *arg, uint32_t row, struct row_past *out)
{
    const struct world *w = arg;
    *out =
        (struct row_past){.attempts = 1, .due_us = w->now + (int64_t)row * SECOND_US};
}

/* Taken up again: none of their domains was looked up in this run. */
static void rows_of_an_earlier_run_are_told(void **state)
{
    (void)state;
    struct world w = {.now = 1000000, .list = make_list(6, 3)};
    struct scheduler_params params = {
        .list = w.list,
        .policy = whole_life((struct scheduler_policy){.connections = 1}),
        .connections_total = 1,
        .now_us = w.now,
        .past = all_wait,
        .past_arg = &w};
    w.s = scheduler_create(&params);
    struct seen seen = look(&w, SITES_MAX);
    expect(&seen.survey.lookups[LOOKUP_LATER], 6, 3, "d0.example");
    assert_int_equal(seen.survey.lookups[LOOKUP_LATER].due_us, w.now + SECOND_US);
    assert_int_equal(seen.survey.sites_n, 0);
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_that_wait_have_their_site),
        cmocka_unit_test(the_first_attempt_is_told),
        cmocka_unit_test(a_failed_round_is_told),
        cmocka_unit_test(a_rule_behind_a_failed_round_is_told),
        cmocka_unit_test(suspended_sources_hold_up_their_own),
        cmocka_unit_test(quiet_hours_and_a_job_that_stands_are_told),
        cmocka_unit_test(a_network_that_is_down_is_told),
        cmocka_unit_test(lookups_are_told),
        cmocka_unit_test(rows_of_an_earlier_run_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
