/* The timing wheel against a plain array: every row comes out at its tick, never
 * sooner. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "queue/wheel.h"

enum { ROWS = 2000 };

static void test_every_row_at_its_tick(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rng rng = {seed};
        struct row rows[ROWS + 1] = {0};
        uint32_t due[ROWS + 1];
        struct wheel w;
        uint32_t now = rng_below(&rng, 3) * 0xfffe00u;
        wheel_init(&w, now);
        for (uint32_t i = 1; i <= ROWS; i++) {
            due[i] = now + rng_below(&rng, 1u << (1 + rng_below(&rng, 22)));
            wheel_add(&w, rows, i, due[i]);
        }
        uint32_t left = ROWS;
        while (left) {
            uint32_t next = wheel_next(&w);
            assert_true(next > now);
            uint32_t first = UINT32_MAX;
            for (uint32_t i = 1; i <= ROWS; i++)
                if (due[i] != UINT32_MAX && rows[i].due < first)
                    first = rows[i].due;
            assert_int_equal(wheel_first(&w), first);
            assert_true(next <= first);
            /* Sometimes early, sometimes late: waking is no promise. */
            uint32_t to = rng_below(&rng, 4) ? next : now + 1 + rng_below(&rng, 5000);
            struct fifo out = {0};
            wheel_advance(&w, rows, to, &out);
            for (uint32_t row; (row = fifo_pop(&out, rows));) {
                assert_true(due[row] <= to);
                assert_true(due[row] > now || due[row] <= now + 1);
                due[row] = UINT32_MAX;
                left--;
            }
            for (uint32_t i = 1; i <= ROWS; i++)
                assert_true(due[i] > to);
            now = to;
            assert_int_equal(w.n, left);
        }
        assert_true(wheel_next(&w) == UINT32_MAX);
        assert_true(wheel_first(&w) == UINT32_MAX);
    }
}

static void test_past_means_next_tick(void **state)
{
    (void)state;
    struct row rows[2] = {0};
    struct wheel w;
    wheel_init(&w, 100);
    wheel_add(&w, rows, 1, 7);
    assert_int_equal(wheel_next(&w), 101);
    struct fifo out = {0};
    wheel_advance(&w, rows, 101, &out);
    assert_int_equal(fifo_pop(&out, rows), 1);
}

static void test_next_needs_few_steps(void **state)
{
    (void)state;
    struct row rows[2] = {0};
    struct wheel w;
    wheel_init(&w, 12345);
    wheel_add(&w, rows, 1, 12345 + 20000000);
    struct fifo out = {0};
    int steps = 0;
    while (out.n == 0) {
        wheel_advance(&w, rows, wheel_next(&w), &out);
        steps++;
    }
    assert_true(steps <= WHEEL_LEVELS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_at_its_tick),
        cmocka_unit_test(test_past_means_next_tick),
        cmocka_unit_test(test_next_needs_few_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
