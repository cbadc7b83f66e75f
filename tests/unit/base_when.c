/* Times and hours as people write them, in a zone with summer time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <time.h>

#include "base/text.h"
#include "base/when.h"

static int64_t utc(const char *text)
{
    int64_t ms;
    assert_true(time_rfc3339_ms_parse(span_of(text), &ms));
    return ms;
}

static void good(const char *text, const char *now, const char *expected)
{
    int64_t ms;
    if (!when_parse(span_of(text), utc(now), &ms))
        fail_msg("%s is refused", text);
    char got[RFC3339_MS_LEN + 1] = "";
    time_rfc3339_ms(ms, got);
    assert_string_equal(got, expected);
}

static void points(void **state)
{
    (void)state;
    static const char now[] = "2026-11-22T08:39:16.123Z";
    good("2026-11-22T08:30:00Z", now, "2026-11-22T08:30:00.000Z");
    good("2027-01-01t00:30:00.25+09:00", now, "2026-12-31T15:30:00.250Z");
    good("2027-01-01 00:30:59.123999-02:30", now, "2027-01-01T03:00:59.123Z");
    good("2028-02-29T12:00:60z", now, "2028-02-29T12:01:00.000Z");
    static const char *const bad[] = {"",
                                      "8:30",
                                      "24:00",
                                      "12:60",
                                      "12:30 ",
                                      "12:30:00",
                                      "2026-11-22",
                                      "2026-11-22T08:30:00",
                                      "2026-11-22T08:30Z",
                                      "2026-11-22T08:30:61Z",
                                      "2026-13-01T00:00:00Z",
                                      "2026-00-01T00:00:00Z",
                                      "2026-02-29T00:00:00Z",
                                      "2026-11-22T08:30:00.Z",
                                      "2026-11-22T08:30:00+9:00",
                                      "2026-11-22T08:30:00Zx",
                                      "tomorrow"};
    int64_t ms;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (when_parse(span_of(bad[i]), utc(now), &ms))
            fail_msg("%s is taken", bad[i]);
}

static void of_the_day(void **state)
{
    (void)state;
    static const char now[] = "2026-11-22T08:39:16.123Z"; /* 09:39 in Berlin */
    good("09:40", now, "2026-11-22T08:40:00.000Z");
    good("09:39", now, "2026-11-23T08:39:00.000Z"); /* was a moment ago */
    good("00:00", now, "2026-11-22T23:00:00.000Z");
    /* Clocks go forward on March 29, 2027 02:00, and back on October 31, 03:00. */
    good("01:30", "2027-03-27T12:00:00.000Z", "2027-03-28T00:30:00.000Z");
    good("04:00", "2027-03-27T12:00:00.000Z", "2027-03-28T02:00:00.000Z");
    good("04:00", "2027-10-30T12:00:00.000Z", "2027-10-31T03:00:00.000Z");
}

static bool quiet(const char *hours, const char *at)
{
    struct hours h;
    assert_true(hours_parse(span_of(hours), &h));
    char again[HOURS_TEXT_MAX];
    hours_print(&h, again);
    assert_string_equal(again, hours);
    return hours_hold(&h, utc(at));
}

static void changes(const char *hours, const char *at, const char *then)
{
    struct hours h;
    assert_true(hours_parse(span_of(hours), &h));
    assert_int_equal(hours_change_ms(&h, utc(at)), utc(then));
}

static void hours(void **state)
{
    (void)state;
    assert_true(quiet("22:00-07:00", "2026-11-22T21:00:00.000Z")); /* 22:00 */
    assert_false(quiet("22:00-07:00", "2026-11-22T20:59:59.999Z"));
    assert_true(quiet("22:00-07:00", "2026-11-23T05:59:59.999Z"));
    assert_false(quiet("22:00-07:00", "2026-11-23T06:00:00.000Z"));
    assert_true(quiet("09:30-09:31", "2026-11-22T08:30:30.000Z"));
    assert_false(quiet("09:30-09:31", "2026-11-22T08:31:00.000Z"));
    assert_true(quiet("22:00-07:00", "2026-07-01T20:00:00.000Z")); /* summer */
    assert_false(quiet("", "2026-11-22T21:00:00.000Z"));
    changes("22:00-07:00", "2026-11-22T20:59:59.999Z", "2026-11-22T21:00:00.000Z");
    changes("22:00-07:00", "2026-11-22T21:00:00.000Z", "2026-11-23T06:00:00.000Z");
    changes("22:00-07:00", "2026-11-22T22:30:15.000Z", "2026-11-23T06:00:00.000Z");
    char local[WHEN_LOCAL_MAX];
    assert_string_equal(when_local(utc("2026-11-22T08:39:16.999Z"), local),
                        "2026-11-22 09:39:16");
    int32_t day;
    assert_true(day_parse(SPAN("1970-01-02"), &day));
    assert_int_equal(day, 1);
    assert_true(day_parse(SPAN("2026-11-22"), &day));
    assert_int_equal(day, day_local(utc("2026-11-22T22:59:59.999Z")));
    assert_int_equal(day + 1, day_local(utc("2026-11-22T23:00:00.000Z")));
    assert_int_equal(day_end_ms(utc("2026-11-22T00:00:00.000Z")),
                     utc("2026-11-22T23:00:00.000Z"));
    assert_int_equal(day_end_ms(utc("2027-03-28T00:00:00.000Z")), /* 23 hours */
                     utc("2027-03-28T22:00:00.000Z"));
    static const char *const days[] = {"2026-02-30", "2026-11-22 ", "2026-1-22", "",
                                       "2026-11-00", "2026-13-01",  "22.11.2026"};
    for (size_t i = 0; i < sizeof days / sizeof days[0]; i++)
        assert_false(day_parse(span_of(days[i]), &day));
    struct hours h = {60, 60};
    assert_true(hours_change_ms(&h, 0) == INT64_MAX);
    static const char *const bad[] = {"22:00",         "22-07",        "22:00-24:00",
                                      "22:00 - 07:00", "22:00-07:00x", "-",
                                      "7:00-22:00",    "00:00-00:00"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(hours_parse(span_of(bad[i]), &h));
}

static int berlin(void **state)
{
    (void)state;
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1); /* needs no zone files */
    tzset();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points),
        cmocka_unit_test(of_the_day),
        cmocka_unit_test(hours),
    };
    return cmocka_run_group_tests(tests, berlin, NULL);
}
