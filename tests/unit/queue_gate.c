/* The gate: what passes in any stretch of time, asked at random moments and by several
 * threads at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "queue/gate.h"

enum { SECOND_US = 1000 * 1000 };

/* No stretch between two that passed holds more than rate × (T + 1 s), or, below one a
 * second, rate × T + 1. */
static void check(const int64_t *passed_us, int n, int64_t per_hour)
{
    double per_us = (double)per_hour / 3600 / SECOND_US;
    double burst = per_us * SECOND_US > 1 ? per_us * SECOND_US : 1;
    for (int i = 0; i < n; i++)
        for (int k = i; k < n; k++) {
            double most = per_us * (double)(passed_us[k] - passed_us[i]) + burst;
            assert_true(k - i + 1 <= most + 1e-6);
        }
}

static void at_any_rate_no_stretch_holds_too_many(void **state)
{
    (void)state;
    static const int64_t rates[] = {1, 60, 1800, 3600, 7200, 36000, 360000, 3600000};
    struct rng rng = {.state = 7};
    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        struct gate g = {0};
        gate_limit(&g, rates[r]);
        int64_t mean_us = INT64_C(3600) * SECOND_US / rates[r];
        int64_t now = 5, again, passed[600], begin = now;
        int n = 0;
        while (n < 600) {
            if (gate_pass(&g, now, &again))
                passed[n++] = now;
            else if (rng_below(&rng, 4) == 0)
                now = again; /* as a timer would */
            now += (int64_t)rng_below(&rng, (uint32_t)(mean_us / 2 + 1));
        }
        check(passed, n, rates[r]);
        /* And it is no slower than it should be. */
        double spent = (double)(now - begin) / SECOND_US;
        assert_true((n + 1) * 3600.0 / (double)rates[r] <= spent * 1.6 + 2);
        assert_true(spent <= n * 3600.0 / (double)rates[r] * 1.3 + 2);
    }
}

static void a_closed_gate_says_when_it_opens(void **state)
{
    (void)state;
    struct gate g = {0};
    int64_t again = 0;
    assert_true(gate_pass(&g, 100, &again)); /* no limit */
    assert_true(gate_opens_us(&g) <= 0);
    assert_false(gate_limits(&g));
    gate_limit(&g, 60); /* one a minute */
    assert_true(gate_limits(&g));
    assert_true(gate_pass(&g, 100, &again));
    assert_false(gate_pass(&g, 101, &again));
    assert_int_equal(again, 100 + 60 * SECOND_US + SECOND_US / 50);
    assert_int_equal(gate_opens_us(&g), again);
    assert_false(gate_pass(&g, again - 1, &again));
    assert_true(gate_pass(&g, again, &again));
    gate_limit(&g, 0);
    assert_true(gate_pass(&g, 101, &again));
}

/* Twenty a second, so ten at once, and then one each twentieth. */
static void a_burst_is_half_a_second(void **state)
{
    (void)state;
    struct gate g = {0};
    int64_t again;
    gate_limit(&g, 20 * 3600);
    for (int i = 0; i < 10; i++)
        assert_true(gate_pass(&g, 1000, &again));
    assert_false(gate_pass(&g, 1000, &again));
    assert_int_equal(again, 1000 + SECOND_US / 20);
}

/* Ten gates on one clock that are slowed down: the one that passed last has the new
 * interval behind it, once. And none turns it back. */
static void a_shared_clock_is_moved_once(void **state)
{
    (void)state;
    enum { GATES = 10 };
    struct gate_clock clock = {0};
    struct gate gates[GATES] = {0};
    int64_t again;
    for (int i = 0; i < GATES; i++) {
        gate_limit(&gates[i], 60);
        gate_share(&gates[i], &clock);
    }
    assert_true(gate_pass(&gates[3], 1000, &again));
    for (int i = 0; i < GATES; i++)
        gate_limit(&gates[i], 30);
    for (int i = 0; i < GATES; i++) {
        assert_false(gate_pass(&gates[i], 1001, &again));
        assert_int_equal(again, 1000 + 120 * SECOND_US + SECOND_US / 50);
    }
    for (int i = 0; i < GATES; i++)
        gate_limit(&gates[i], 60);
    assert_false(gate_pass(&gates[0], again - 1, &again));
    gate_share(&gates[0], NULL); /* its own goes on from there */
    assert_false(gate_pass(&gates[0], again - 1, &again));
    assert_true(gate_pass(&gates[0], again, &again));
    assert_true(gate_pass(&gates[1], again, &again));
}

enum { THREADS = 4, EACH = 20000 };

struct crowd {
    struct gate gate, second;
    _Atomic int64_t clock_us;
    _Atomic int passed;
};

static void *push(void *arg)
{
    struct crowd *c = arg;
    int64_t again;
    for (int i = 0; i < EACH; i++)
        c->passed += gate_pass(&c->gate, atomic_fetch_add(&c->clock_us, 10), &again);
    return NULL;
}

static void threads_share_it(void **state)
{
    (void)state;
    struct crowd c = {.clock_us = 1};
    gate_limit(&c.gate, 3600 * 1000); /* 1000 a second, and 0.8 s of clock */
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, push, &c), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(c.passed <= 500 + 800 + 1);
    assert_true(c.passed >= 1200);
}

/* What one of them holds back has passed none of the others. */
static void one_passes_all_or_none(void **state)
{
    (void)state;
    struct gate quick = {0}, slow = {0}, free = {0};
    struct gate *const gates[] = {&quick, &free, &slow};
    int64_t again = 7;
    assert_true(gates_pass(gates, 3, 1000, &again));
    assert_true(gates_pass(gates, 0, 1000, &again));
    assert_false(gates_limit(gates, 3));
    assert_int_equal(again, 7);
    gate_limit(&quick, 20 * 3600);
    gate_limit(&slow, 60);
    assert_true(gates_limit(gates, 3));
    assert_true(gates_pass(gates, 3, 1000, &again));
    for (int i = 0; i < 50; i++)
        assert_false(gates_pass(gates, 3, 1001, &again));
    assert_int_equal(again, gate_opens_us(&slow));
    for (int i = 0; i < 9; i++)
        assert_true(gate_pass(&quick, 1001, &again));
    assert_false(gate_pass(&quick, 1001, &again));
    assert_false(gates_pass(gates, 3, 1001, &again));
    assert_int_equal(again, gate_opens_us(&slow)); /* the last of them to open */
    assert_int_equal(atomic_load(&free.own.full_ns), 0);
}

/* As if another thread had come between the look and the passing. */
static void what_was_passed_in_vain_goes_back(void **state)
{
    (void)state;
    struct gate first = {0}, gate = {0};
    struct gate *const gates[] = {&first, &gate, &gate};
    int64_t again;
    gate_limit(&first, 60);
    gate_limit(&gate, 60);
    assert_false(gates_pass(gates, 3, 1000, &again));
    assert_true(gates_pass(gates, 2, 1000, &again));
    assert_false(gate_pass(&first, 1000, &again));
}

/* Half of the threads ask the other way round. */
static void *push_both(void *arg)
{
    struct crowd *c = arg;
    static _Atomic int turn;
    struct gate *const ways[][2] = {{&c->gate, &c->second}, {&c->second, &c->gate}};
    struct gate *const *gates = ways[atomic_fetch_add(&turn, 1) % 2];
    int64_t again;
    for (int i = 0; i < EACH; i++)
        c->passed += gates_pass(gates, 2, atomic_fetch_add(&c->clock_us, 10), &again);
    return NULL;
}

static void threads_share_several(void **state)
{
    (void)state;
    struct crowd c = {.clock_us = 1};
    gate_limit(&c.gate, 3600 * 1000);
    gate_limit(&c.second, 3600 * 1000);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, push_both, &c), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(c.passed <= 500 + 800 + 1);
    assert_true(c.passed >= 1200); /* nothing is lost between them */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_passes_all_or_none),
        cmocka_unit_test(what_was_passed_in_vain_goes_back),
        cmocka_unit_test(threads_share_several),
        cmocka_unit_test(at_any_rate_no_stretch_holds_too_many),
        cmocka_unit_test(a_closed_gate_says_when_it_opens),
        cmocka_unit_test(a_burst_is_half_a_second),
        cmocka_unit_test(a_shared_clock_is_moved_once),
        cmocka_unit_test(threads_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
