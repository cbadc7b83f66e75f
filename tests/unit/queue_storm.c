/* The storm breaker against its rule counted anew each time from a plain array, and its
 * edges by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "queue/storm.h"

static const char *const names[] = {"a", "b", "c", "d", "e"};

static bool note(struct storm *s, int site, bool bad)
{
    return storm_note(s, span_of(names[site]), bad);
}

static struct storm *make(uint32_t window, uint32_t min, uint32_t failures,
                          uint32_t consecutive)
{
    struct storm_params p = {window, min, failures, consecutive};
    return storm_create(&p);
}

static void a_share_of_the_window(void **state)
{
    (void)state;
    struct storm *s = make(1000, 100, 50, 0);
    for (int i = 0; i < 99; i++) /* all bad, but too few */
        assert_false(note(s, i % 3, true));
    assert_true(note(s, 0, true));
    struct buf words = {0};
    storm_reason(s, &words);
    assert_string_equal(
        buf_cstr(&words),
        "error storm: 100 of the last 100 replies, from 3 sites, refuse "
        "us or the address");
    buf_finish(&words);
    storm_destroy(s);

    s = make(1000, 100, 50, 0); /* 49 % is not enough, 50 % is */
    for (int i = 0; i < 5100; i++)
        assert_false(note(s, i % 3, i % 2 == 1 && i % 100 < 99));
    int more = 0;
    while (!note(s, more % 3, true))
        more++;
    assert_in_range(more, 1, 30);
    storm_destroy(s);
}

static void a_row(void **state)
{
    (void)state;
    struct storm *s = make(1000, 1000, 100, 20);
    for (int i = 0; i < 19; i++)
        assert_false(note(s, i % 5, true));
    assert_false(note(s, 0, false)); /* from the beginning */
    for (int i = 0; i < 19; i++)
        assert_false(note(s, i % 5, true));
    assert_true(note(s, 0, true));
    struct buf words = {0};
    storm_reason(s, &words);
    assert_string_equal(buf_cstr(&words),
                        "error storm: 20 replies in a row, from 5 sites, refuse us or "
                        "the address");
    buf_finish(&words);
    storm_destroy(s);
}

/* Two sites may refuse as much as they like; those of an earlier row do not count. */
static void three_sites(void **state)
{
    (void)state;
    struct storm *s = make(100, 10, 50, 10);
    for (int i = 0; i < 1000; i++)
        assert_false(note(s, i % 2, true));
    assert_true(note(s, 2, true));
    storm_destroy(s);

    s = make(0, 0, 0, 10);
    assert_false(note(s, 2, true));
    assert_false(note(s, 3, false));
    for (int i = 0; i < 100; i++)
        assert_false(note(s, i % 2, true));
    assert_true(note(s, 2, true));
    storm_destroy(s);
}

static void never(void **state)
{
    (void)state;
    assert_null(make(1000, 100, 0, 0));
    assert_null(make(0, 100, 50, 0));
    assert_false(storm_note(NULL, span_of("a"), true));
    storm_destroy(NULL);
}

enum { RESULTS = 400 };

/* The rule, counted from all results so far. */
static bool rule(const struct storm_params *p, const int *site, const bool *bad, int n)
{
    uint32_t from = (uint32_t)n > p->window ? (uint32_t)n - p->window : 0;
    uint32_t seen = (uint32_t)n - from, failed = 0, row = 0;
    unsigned window_sites = 0, row_sites = 0;
    for (int i = (int)from; i < n; i++)
        if (bad[i]) {
            failed++;
            window_sites |= 1u << site[i];
        }
    for (int i = n; i > 0 && bad[i - 1]; i--) {
        row++;
        row_sites |= 1u << site[i - 1];
    }
    uint32_t min = p->min < p->window ? p->min : p->window;
    bool share = p->window && p->failures && seen >= min &&
                 failed * 100 >= seen * p->failures &&
                 __builtin_popcount(window_sites) >= STORM_SITES;
    bool in_row = p->consecutive && row >= p->consecutive &&
                  __builtin_popcount(row_sites) >= STORM_SITES;
    return bad[n - 1] && (share || in_row);
}

static void anything(void **state)
{
    (void)state;
    int storms = 0, calms = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct rng rng = {seed};
        struct storm_params p = {rng_below(&rng, 60), rng_below(&rng, 80),
                                 rng_below(&rng, 101), rng_below(&rng, 30)};
        uint32_t share = 20 + rng_below(&rng, 80), sites = 1 + rng_below(&rng, 5);
        struct storm *s = storm_create(&p);
        int site[RESULTS];
        bool bad[RESULTS];
        for (int n = 0; s && n < RESULTS; n++) {
            site[n] = (int)rng_below(&rng, sites);
            bad[n] = rng_below(&rng, 100) < share;
            bool is = note(s, site[n], bad[n]);
            assert_int_equal(is, rule(&p, site, bad, n + 1));
            *(is ? &storms : &calms) += 1;
        }
        storm_destroy(s);
    }
    assert_true(storms > 1000 && calms > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_of_the_window),
        cmocka_unit_test(a_row),
        cmocka_unit_test(three_sites),
        cmocka_unit_test(never),
        cmocka_unit_test(anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
