#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/transcript.h"

static void test_unescape(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_null(transcript_unescape(&b, SPAN("a\\r\\n\\t\\\\\\x00{2*xy\\n}{0*z}b")));
    assert_int_equal(b.n, 13);
    assert_memory_equal(b.p, "a\r\n\t\\\0xy\nxy\nb", 13);
    static const char *const bad[] = {"\\", "\\x0", "\\xg0", "\\q",    "{",
                                      "{2", "{2*x", "{*x}",  "{-1*x}", "{1*\\q}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_non_null(transcript_unescape(&b, span_of(bad[i])));
    buf_finish(&b);
}

/* Whatever the bytes: escaped they are one printable line, and they come back. */
static void test_there_and_back(void **state)
{
    (void)state;
    struct rng rng = {1};
    struct buf bytes = {0}, text = {0}, back = {0};
    for (int i = 0; i < 2000; i++) {
        buf_reset(&bytes);
        buf_reset(&text);
        buf_reset(&back);
        for (uint32_t n = rng_below(&rng, 30); n > 0; n--)
            buf_add_char(&bytes, rng_below(&rng, 2)
                                     ? (char)rng_next(&rng)
                                     : "{}*\\x0a\r\n"[rng_below(&rng, 9)]);
        transcript_escape(&text, buf_span(&bytes), true);
        assert_null(memchr(text.n ? text.p : "", '\n', text.n));
        assert_true(transcript_match(buf_span(&text), buf_span(&bytes)));
        assert_null(transcript_unescape(&back, buf_span(&text)));
        assert_true(span_equal(buf_span(&back), buf_span(&bytes)));
    }
    buf_finish(&bytes);
    buf_finish(&text);
    buf_finish(&back);
}

static void test_match(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *line;
        bool matches;
    } cases[] = {
        {"DATA", "DATA", true},
        {"DATA", "DAT", false},
        {"DATA", "DATAX", false},
        {"*", "", true},
        {"", "", true},
        {"", "x", false},
        {"a*b*c", "a-b-b-c", true},
        {"a*b*c", "a-b-b-", false},
        {"*x", "xxyx", true},
        {"a\\x2a", "a*", true},
        {"a\\x2a", "ab", false},
        {"MAIL FROM:<*>*", "MAIL FROM:<>", true},
        {"*\\t*", "a\tb", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(
            transcript_match(span_of(cases[i].pattern), span_of(cases[i].line)),
            cases[i].matches);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unescape),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
