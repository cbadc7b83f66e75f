/* When the trouble is our own network, and when it is theirs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>

#include "queue/network.h"

enum { SECOND = 1000000, SILENCE = 60, PATIENCE = 1000 };

static struct network n;
static int64_t now;

static int begin(void **state)
{
    (void)state;
    now = 77 * SECOND;
    network_init(&n, SILENCE * SECOND, (int64_t)PATIENCE * SECOND, now);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    network_finish(&n);
    return 0;
}

static bool connects(const char *site)
{
    return network_connected(&n, span_of(site), now);
}

static bool fails(const char *site)
{
    return network_failed(&n, span_of(site), now);
}

static void three_connect(void)
{
    assert_false(connects("a"));
    assert_false(connects("b"));
    assert_false(connects("c"));
}

static void down_and_up(void **state)
{
    (void)state;
    three_connect();
    now += 59 * SECOND;
    assert_false(fails("a"));
    assert_false(fails("b"));
    assert_false(fails("c")); /* not silent for long enough */
    now += SECOND;
    assert_false(n.down);
    assert_true(fails("a"));
    assert_true(n.down);
    assert_false(fails("b")); /* it is known */
    now += 500 * SECOND;
    assert_false(network_give_up(&n, now));
    assert_true(connects("new"));
    assert_false(n.down);
    now += 61 * SECOND; /* all of it must happen anew */
    assert_false(fails("a"));
    assert_false(fails("b"));
    assert_true(fails("new"));
    assert_true(network_heard(&n, now));
    assert_false(network_heard(&n, now));
}

/* One that fails again and again is one witness; one that speaks clears all. */
static void witnesses(void **state)
{
    (void)state;
    three_connect();
    now += 100 * SECOND;
    for (int i = 0; i < 10; i++) {
        assert_false(fails("a"));
        assert_false(fails("b"));
    }
    assert_false(network_heard(&n, now));
    now += 100 * SECOND;
    assert_false(fails("c"));
    assert_false(fails("b"));
    assert_true(fails("a"));
}

/* The tail of a job: hosts that never answered. */
static void dead_hosts(void **state)
{
    (void)state;
    three_connect();
    for (int i = 0; i < 1000; i++) {
        char site[16];
        snprintf(site, sizeof site, "dead%d", i);
        now += 100 * SECOND;
        assert_false(fails(site));
    }
    assert_false(fails("a"));
    assert_false(fails("b"));
    assert_true(fails("c"));
}

static void patience(void **state)
{
    (void)state;
    three_connect();
    now += 60 * SECOND;
    assert_false(fails("a"));
    assert_false(fails("b"));
    assert_true(fails("c"));
    now += (PATIENCE - 1) * (int64_t)SECOND;
    assert_false(network_give_up(&n, now));
    now += SECOND;
    assert_true(network_give_up(&n, now));
    assert_false(network_give_up(&n, now));
    now += 100 * SECOND;
    assert_false(fails("a"));
    assert_false(fails("b"));
    assert_false(fails("c")); /* not once more, before one has connected */
    assert_false(connects("b"));
    now += 100 * SECOND;
    assert_false(fails("a"));
    assert_false(fails("b"));
    assert_true(fails("c"));
}

/* Our own table of routes needs no witness and no time; patience has its end. */
static void unrouted(void **state)
{
    (void)state;
    assert_true(network_unrouted(&n, now));
    assert_true(n.down && n.unrouted);
    assert_true(network_excuses(&n, now));
    assert_false(network_unrouted(&n, now));
    now += SECOND;
    assert_true(network_heard(&n, now));
    assert_true(network_excuses(&n, now - 1)); /* it stood meanwhile */
    assert_false(network_excuses(&n, now));
    assert_true(network_unrouted(&n, now));
    now += PATIENCE * (int64_t)SECOND;
    assert_true(network_give_up(&n, now));
    assert_false(network_unrouted(&n, now));
    three_connect();
    now += 60 * SECOND;
    assert_false(fails("a"));
    assert_false(fails("b"));
    assert_true(fails("c"));
    assert_false(n.unrouted);
}

/* What is known stays, and is judged by the new settings. */
static void other_settings(void **state)
{
    (void)state;
    three_connect();
    now += 10 * SECOND;
    assert_false(fails("a"));
    assert_false(fails("b"));
    assert_false(fails("c"));
    network_set(&n, 10 * SECOND, 20 * SECOND);
    assert_true(fails("a"));
    now += 19 * SECOND;
    assert_false(network_give_up(&n, now));
    network_set(&n, 10 * SECOND, 30 * SECOND);
    now += SECOND;
    assert_false(network_give_up(&n, now));
    now += 10 * SECOND;
    assert_true(network_give_up(&n, now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(down_and_up, begin, finish),
        cmocka_unit_test_setup_teardown(witnesses, begin, finish),
        cmocka_unit_test_setup_teardown(dead_hosts, begin, finish),
        cmocka_unit_test_setup_teardown(patience, begin, finish),
        cmocka_unit_test_setup_teardown(unrouted, begin, finish),
        cmocka_unit_test_setup_teardown(other_settings, begin, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
