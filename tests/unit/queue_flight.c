/* The flight file as the next process reads it: after a kill it is believed, in another
 * boot, of another job, or cut short it is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "queue/flight.h"

static char path[] = "/tmp/hikyaku-flight-XXXXXX";

struct seen {
    int n;
    uint32_t row;
    enum flight_state state;
};

static void note(void *arg, uint32_t row, enum flight_state state)
{
    *(struct seen *)arg = (struct seen){((struct seen *)arg)->n + 1, row, state};
}

/* Row 7 had its dot on the way when the process died; row 8 was given back. */
static void die(const char *boot_id)
{
    struct fault f = {0};
    struct flight *flight = flight_create(path, "job", boot_id, &f);
    assert_non_null(flight);
    uint32_t seven = flight_take(flight, 7), eight = flight_take(flight, 8);
    flight_set(flight, seven, FLIGHT_DOT);
    flight_set(flight, eight, FLIGHT_TAKEN);
    flight_give_back(flight, eight);
    flight_close(flight);
}

static void expect_nothing(const char *job_id, const char *boot_id)
{
    struct seen seen = {0};
    assert_int_equal(flight_read(path, job_id, boot_id, note, &seen), FLIGHT_STRANGE);
    assert_int_equal(seen.n, 0);
}

static void test_after_a_kill(void **state)
{
    (void)state;
    struct seen seen = {0};
    die("boot");
    assert_int_equal(flight_read(path, "job", "boot", note, &seen), FLIGHT_GOOD);
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.row, 7);
    assert_int_equal(seen.state, FLIGHT_DOT);
}

static void test_strange(void **state)
{
    (void)state;
    die("boot");
    expect_nothing("job", "other");
    expect_nothing("other", "boot");
    assert_int_equal(truncate(path, 1000), 0);
    expect_nothing("job", "boot");
}

/* No boot has a name: a power loss may lie between. */
static void test_nameless_boot(void **state)
{
    (void)state;
    die("");
    expect_nothing("job", "");
}

static void test_none(void **state)
{
    (void)state;
    struct seen seen = {0};
    assert_int_equal(flight_read("/nowhere/flight", "job", "boot", note, &seen),
                     FLIGHT_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_after_a_kill),
        cmocka_unit_test(test_strange),
        cmocka_unit_test(test_nameless_boot),
        cmocka_unit_test(test_none),
    };
    int fd = mkstemp(path);
    if (fd < 0 || close(fd) != 0)
        return EXIT_FAILURE;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
