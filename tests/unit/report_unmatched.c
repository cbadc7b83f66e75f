/* Which replies are of one kind, how many, most first, and no more than there is room
 * for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "report/unmatched.h"

static void test_kinds(void **state)
{
    (void)state;
    struct unmatched *u = unmatched_create();
    unmatched_note(u, 450, SPAN("4.2.0 <a@x.example>: Greylisted for 300 seconds"));
    unmatched_note(u, 421, SPAN("4.7.0 Try again later, d2e1a7-5b6 - gsmtp"));
    unmatched_note(u, 421, SPAN("4.7.0 Try again later, 98e67e-2ee - gsmtp"));
    unmatched_note(u, 421, SPAN("4.7.1 Try again later, 98e67e-2ee - gsmtp"));
    unmatched_note(u, 450, SPAN("4.7.0 Try again later, 98e67e-2ee - gsmtp"));
    unmatched_note(u, 450, SPAN("4.2.0 <b@y.example>: Greylisted for 299 seconds"));
    unmatched_note(u, 450, SPAN("4.2.0 <c@z.example>: Greylisted for 1 seconds"));
    unmatched_note(u, 451, SPAN(""));
    struct unmatched_kind top[10];
    assert_int_equal(unmatched_top(u, top, 10), 5);
    assert_int_equal(top[0].count, 3);
    assert_string_equal(top[0].words,
                        "450 4.2.0 <a@x.example>: Greylisted for 300 seconds");
    assert_int_equal(top[1].count, 2);
    assert_string_equal(top[1].words, "421 4.7.0 Try again later, d2e1a7-5b6 - gsmtp");
    assert_int_equal(top[4].count, 1);
    assert_int_equal(unmatched_top(u, top, 1), 1);
    assert_int_equal(top[0].count, 3);
    unmatched_destroy(u);
}

static void test_bounds(void **state)
{
    (void)state;
    struct unmatched *u = unmatched_create();
    struct unmatched_kind top[UNMATCHED_KINDS_MAX + 1];
    char words[400];
    for (int i = 0; i < 1000; i++) {
        snprintf(words, sizeof words, "%c%c%c%0300d", 'a' + i % 10, 'a' + i / 10 % 10,
                 'a' + i / 100, 0);
        for (int j = 0; j < i % 3 + 1; j++)
            unmatched_note(u, 421, span_of(words));
    }
    assert_int_equal(unmatched_top(u, top, UNMATCHED_KINDS_MAX + 1),
                     UNMATCHED_KINDS_MAX);
    for (int i = 1; i < UNMATCHED_KINDS_MAX; i++)
        assert_true(top[i].count <= top[i - 1].count);
    assert_true(strlen(top[0].words) < 130);
    unmatched_destroy(u);

    /* A cut falls between characters. */
    u = unmatched_create();
    memset(words, 'x', sizeof words);
    for (int i = 119; i < 390; i += 3)
        memcpy(words + i, "日", 3);
    unmatched_note(u, 450, (struct span){words, 380});
    assert_int_equal(unmatched_top(u, top, 1), 1);
    assert_int_equal(strlen(top[0].words), 4 + 119 + 3);
    unmatched_destroy(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
