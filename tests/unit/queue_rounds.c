/* Rounds that fail from one of several sources, under a false clock: receivers refuse
 * by address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "queue_world.h"

static const uint8_t three[] = {1, 2, 3};
static const struct settlement unheard = {.outcome = OUTCOME_RETRY, .counted = true};

static struct row_view view_row(struct world *w, uint32_t row)
{
    struct row_view out;
    scheduler_view_row(w->s, row, &out, w->now);
    return out;
}

/* As the engine does: the first row has tried, the others come back. */
static enum round fail_lane(struct world *w, uint32_t number, uint32_t *rows_out)
{
    struct lane *lane = &w->lanes[number];
    settle(w, number, unheard);
    while (lane->n)
        scheduler_returned(w->s, number, lane->rows[--lane->n], w->now);
    lane->open = false;
    w->open--;
    enum round round = scheduler_closed(w->s, number, CLOSED_FAILED, 0, w->now);
    *rows_out = 0;
    for (uint32_t row; (row = scheduler_round(w->s)); ++*rows_out)
        scheduler_settle(w->s, NO_CONNECTION, row, &unheard, w->now);
    return round;
}

/* The only one that is open. */
static uint32_t only(const struct world *w)
{
    uint32_t i = 0;
    assert_int_equal(w->open, 1);
    while (!w->lanes[i].open)
        i++;
    return i;
}

static void begin_with(struct world *w, int rows, int sources, uint32_t connections)
{
    begin(w, rows, 1,
          (struct scheduler_policy){
              .connections = connections, .sources = three, .sources_n = sources});
    take_orders(w);
}

/* Each source is tried once, and costs one row an attempt; then the round has failed.
 */
static void a_round_fails_when_all_sources_have(void **state)
{
    (void)state;
    for (int sources = 1; sources <= 3; sources++) {
        struct world w;
        uint32_t rows, tried = 0;
        begin_with(&w, 30, sources, 2);
        for (int again = 0; again < 3; again++) {
            for (int i = 1; i <= sources; i++) {
                uint32_t it = only(&w);
                assert_false(tried >> w.lanes[it].source & 1);
                tried |= 1u << w.lanes[it].source;
                enum round round = fail_lane(&w, it, &rows);
                assert_int_equal(round, i < sources ? ROUND_SOURCE : ROUND_SITE);
                assert_int_equal(rows, i < sources ? 0 : 30 - sources);
                take_orders(&w);
            }
            tried = 0;
            assert_int_equal(w.open, 0);
            w.now += interval_us - 1;
            take_orders(&w);
            assert_int_equal(w.open, 0);
            w.now++;
            take_orders(&w); /* all are due, and there is one probe */
        }
        finish(&w);
    }
}

/* Who is suspended, or may not send today, is no other way. */
static void a_suspended_source_saves_no_round(void **state)
{
    (void)state;
    static const enum reach reaches[] = {REACH_PATH, REACH_SOURCE};
    for (size_t i = 0; i < 2 * sizeof reaches / sizeof reaches[0]; i++) {
        struct world w;
        uint32_t rows, failed = i % 2; /* or told to end before it could */
        struct suspension pause = {
            .reach = reaches[i / 2], .for_us = minute_us, .why = "TSS04"};
        begin_with(&w, 30, 2, 2);
        scheduler_suspend(w.s, only(&w), &pause, w.now);
        if (failed) {
            assert_int_equal(fail_lane(&w, only(&w), &rows), ROUND_SOURCE);
            assert_int_equal(rows, 0);
        }
        take_orders(&w);
        assert_int_equal(fail_lane(&w, only(&w), &rows), ROUND_SITE);
        assert_int_equal(rows, 29 - failed);
        finish(&w);
    }
}

/* Rows that are due now are tried in vain, so that they are bound, until so many wait.
 */
static void bind_rows(struct world *w, uint64_t waiting)
{
    do {
        take_orders(w);
        settle_all(w, later);
        w->now += SECOND_US / 10;
    } while (scheduler_stats(w->s).waiting < waiting);
}

static void end_all(struct world *w)
{
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        if (w->lanes[i].open)
            end_lane(w, i, CLOSED_CLEAN);
}

/* Its rows may leave by it alone: when its probe works they go on at once, and not when
 * the probe has sent what it has. */
static void a_probe_that_works_is_no_longer_the_only_one(void **state)
{
    (void)state;
    struct world w;
    uint32_t rows;
    struct suspension pause = {.for_us = interval_us / 4, .why = "it is not its turn"};
    begin_with(&w, 60, 2, 8);
    scheduler_suspend(w.s, only(&w), &pause, w.now);
    bind_rows(&w, 30); /* to the one source */
    uint32_t one = 0;
    while (!w.lanes[one].open)
        one++;
    uint8_t source = w.lanes[one].source;
    pause.for_us = interval_us / 2;
    scheduler_suspend(w.s, one, &pause, w.now);
    w.now += interval_us / 4;
    bind_rows(&w, 60); /* to the other one, which works */
    end_all(&w);
    w.now += interval_us * 3 / 4;
    take_orders(&w);
    for (uint32_t i = 0; i < CONNECTIONS && w.open > 1; i++)
        if (w.lanes[i].open)
            end_lane(&w, i, CLOSED_CLEAN);
    assert_int_equal(w.lanes[only(&w)].source, source);
    assert_int_equal(fail_lane(&w, only(&w), &rows), ROUND_SOURCE);
    w.now += interval_us / 2;
    bind_rows(&w, 60); /* the other one still works: the site is proven */
    end_all(&w);
    w.now += interval_us / 2;
    take_orders(&w);
    uint32_t probe = only(&w);
    assert_int_equal(w.lanes[probe].source, source);
    settle(&w, probe, good);
    assert_true(w.lanes[probe].n > 2); /* it wants no more yet */
    take_orders(&w);
    assert_true(w.open > 1);
    finish(&w);
}

/* The others go on as if it were not there; it is tried again after an interval. */
static void a_source_that_works_carries_all(void **state)
{
    (void)state;
    struct world w;
    uint32_t rows;
    int probes = 0;
    begin_with(&w, 20000, 2, 2);
    uint8_t bad = w.lanes[only(&w)].source;
    for (int64_t end = w.now + 3 * interval_us - 1; w.now <= end; w.now += SECOND_US) {
        for (uint32_t i = 0; i < CONNECTIONS; i++)
            if (w.lanes[i].open && w.lanes[i].source == bad) {
                enum round round = fail_lane(&w, i, &rows);
                assert_int_equal(round, ROUND_SOURCE);
                assert_int_equal(rows, 0);
                probes++;
            } else if (settle(&w, i, good)) {
                end_lane(&w, i, CLOSED_CLEAN); /* one message each */
            }
        take_orders(&w);
    }
    assert_int_equal(probes, 3); /* not for each of the thousands of connections */
    assert_true(w.delivered > 5000);
    finish(&w);
}

/* Rows that must leave from the one that fails share its failure, whoever works: they
 * have no other way, and time is not to stand still for them. */
static void rows_of_its_own_share_its_failure(void **state)
{
    (void)state;
    struct world w;
    uint32_t rows;
    begin_with(&w, 9, 2, 1);
    uint32_t it = only(&w);
    uint8_t bad = w.lanes[it].source;
    for (int i = 0; i < 3; i++)
        settle(&w, it, later); /* greylisted */
    w.now += interval_us / 2;
    uint32_t latest = w.lanes[it].rows[0];
    settle(&w, it, later);
    uint32_t own = 0;
    for (uint32_t row = 1; row <= 9; row++)
        own = !own && view_row(&w, row).source == bad ? row : own;
    assert_int_not_equal(own, 0);
    for (int i = 0; i < 100 && w.open; i++) {
        for (uint32_t k = 0; k < CONNECTIONS; k++) {
            settle(&w, k, good);
            if (w.lanes[k].open && w.lanes[k].last && w.lanes[k].n == 0)
                end_lane(&w, k, CLOSED_CLEAN);
        }
        take_orders(&w);
    }
    assert_int_equal(w.open, 0);
    w.now += interval_us / 2;
    int64_t failed_us = w.now;
    take_orders(&w);
    it = only(&w);
    assert_int_equal(w.lanes[it].source, bad);
    assert_int_equal(fail_lane(&w, it, &rows), ROUND_SOURCE);
    assert_int_equal(rows, 2);
    take_orders(&w);
    assert_int_equal(w.open, 0);
    assert_int_equal(view_row(&w, own).state, ROW_WAITING);
    assert_in_range(view_row(&w, own).due_us, failed_us + interval_us,
                    failed_us + interval_us + SECOND_US);
    w.now += interval_us / 2; /* nor may those go first that are due by then */
    take_orders(&w);
    assert_int_equal(w.open, 0);
    assert_int_equal(view_row(&w, latest).state, ROW_WAITING);
    assert_int_equal(view_row(&w, latest).due_us, view_row(&w, own).due_us);
    w.now = view_row(&w, own).due_us;
    take_orders(&w);
    assert_int_equal(w.lanes[only(&w)].source, bad);
    finish(&w);
}

/* One connection too many is no failure of its source. */
static void a_source_that_stands_goes_on(void **state)
{
    (void)state;
    struct world w;
    uint32_t rows;
    begin_with(&w, 4000, 2, 2);
    for (int i = 0; i < 10; i++) {
        settle_all(&w, good);
        take_orders(&w);
    }
    assert_int_equal(w.open, 4);
    for (uint32_t k = 0; k < CONNECTIONS; k++)
        if (w.lanes[k].open) {
            assert_int_equal(fail_lane(&w, k, &rows), ROUND_NONE);
            break;
        }
    for (int i = 0; i < 100; i++) { /* a refused one is a ceiling for a minute */
        settle_all(&w, good);
        w.now += SECOND_US;
        take_orders(&w);
    }
    assert_int_equal(w.open, 4);
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_round_fails_when_all_sources_have),
        cmocka_unit_test(a_suspended_source_saves_no_round),
        cmocka_unit_test(a_probe_that_works_is_no_longer_the_only_one),
        cmocka_unit_test(a_source_that_works_carries_all),
        cmocka_unit_test(rows_of_its_own_share_its_failure),
        cmocka_unit_test(a_source_that_stands_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
