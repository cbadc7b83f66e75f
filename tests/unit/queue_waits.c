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
        int before;
        do {
            before = w->delivered;
            take_orders(w);
            settle_all(w, good);
        } while (w->delivered > before);
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
    struct world w;
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
    struct world w;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_machine_leaves_a_rate_its_connection),
        cmocka_unit_test(places_go_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
