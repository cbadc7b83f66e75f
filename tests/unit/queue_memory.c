/* What a site costs that has nothing to do, with its domain and its row: 50,000 of
 * them, whose rows are final or wait for their retry. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "queue_world.h"

enum { SITES = 50000, IDLE_SITE_MAX = 1024 };

static size_t in_use(void)
{
    struct mallinfo2 m = mallinfo2(); /* all zero under sanitizers */
    return m.uordblks + m.hblkhd;
}

/* Sends all, every second row successfully; returns the bytes of a site. */
static size_t idle_site(struct scheduler_policy policy)
{
    struct world w = {0};
    begin(&w, 1, 1, policy);
    finish(&w); /* whatever is made once */
    size_t before = in_use();
    begin(&w, SITES, SITES, policy);
    for (int settled = 0; settled < SITES;) {
        take_orders(&w);
        for (uint32_t i = 0; i < CONNECTIONS; i++) {
            while (settle(&w, i, settled % 2 ? good : later))
                settled++;
            if (w.lanes[i].open)
                end_lane(&w, i, CLOSED_CLEAN);
        }
        w.now += SECOND_US / 1000;
    }
    w.now += minute_us;
    take_orders(&w);
    assert_int_equal(scheduler_stats(w.s).sites, SITES);
    assert_int_equal(scheduler_stats(w.s).waiting, SITES / 2);
    size_t bytes = in_use() - before;
    finish(&w);
    return bytes / SITES;
}

static void an_idle_site_takes_a_kilobyte(void **state)
{
    (void)state;
    static const uint8_t sources[] = {1, 2, 3, 4, 5, 6, 7, 8};
    assert_in_range(idle_site((struct scheduler_policy){.connections = 20}), 0,
                    IDLE_SITE_MAX);
    assert_in_range(idle_site((struct scheduler_policy){
                        .connections = 20, .sources = sources, .sources_n = 8}),
                    0, IDLE_SITE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_site_takes_a_kilobyte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
