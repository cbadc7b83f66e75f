/* queue/warmup: what is drawn is never more than the cap, whoever draws, and whatever
 * the file looks like. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "queue/warmup.h"
#include "tests/unit/queue_spool.h"

static char path[96];

static int begin_spool(void **state)
{
    int failed = make_spool(state);
    snprintf(path, sizeof path, "%s/.warmup", spool);
    return failed;
}

static struct warmup *open_one(void)
{
    struct fault f = {0};
    struct warmup *w = warmup_open(job, &f);
    if (!w)
        fail_msg("%s", f.words);
    return w;
}

/* How many of `want`; -1: used up. */
static int draw(struct warmup *w, int32_t day, const char *provider, uint32_t cap,
                uint32_t want)
{
    struct warmup_ask ask = {day, "a", provider, cap, want};
    struct fault f = {0};
    uint32_t n;
    enum warmup_draw got = warmup_draw(w, &ask, &n, &f);
    assert_int_equal(f.code, 0);
    assert_int_equal(got == WARMUP_DRAWN, n > 0);
    assert_true(got == WARMUP_DRAWN || got == WARMUP_USED_UP);
    return n ? (int)n : -1;
}

static void file_holds(const char *text)
{
    char have[400] = "";
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(have, 1, sizeof have - 1, file) > 0);
    fclose(file);
    assert_string_equal(have, text);
}

static void write_file(const char *text, const char *how)
{
    FILE *file = fopen(path, how);
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

enum { DAY = 20779 }; /* 2026-11-22 */

static void jobs_draw_together(void **state)
{
    (void)state;
    struct warmup *one = open_one(), *other = open_one();
    assert_int_equal(draw(one, DAY, "mx.x", 10, 4), 4);
    assert_int_equal(draw(other, DAY, "mx.x", 10, 4), 4);
    assert_int_equal(draw(one, DAY, "mx.y", 10, 4), 4);
    assert_int_equal(draw(one, DAY, "mx.x", 10, 4), 2);
    assert_int_equal(draw(other, DAY, "mx.x", 10, 4), -1);
    assert_int_equal(draw(other, DAY, "mx.x", 11, 4), 1); /* other settings */
    file_holds("#hikyaku-warmup 2026-11-22\na\tmx.x\t4\na\tmx.x\t4\na\tmx.y\t4\n"
               "a\tmx.x\t2\na\tmx.x\t1\n");
    warmup_close(one);
    one = open_one(); /* after a restart */
    assert_int_equal(draw(one, DAY, "mx.x", 11, 4), -1);
    assert_int_equal(draw(one, DAY, "mx.y", 10, 40), 6);
    /* The next day; a clock that goes behind is told that nothing is left. */
    assert_int_equal(draw(other, DAY + 1, "mx.x", 10, 4), 4);
    assert_int_equal(draw(one, DAY, "mx.x", 100, 4), -1);
    assert_int_equal(draw(one, DAY + 1, "mx.x", 10, 40), 6);
    file_holds("#hikyaku-warmup 2026-11-23\na\tmx.x\t4\na\tmx.x\t6\n");
    warmup_close(one);
    warmup_close(other);
}

static void odd_files(void **state)
{
    (void)state;
    struct warmup *w = open_one();
    assert_int_equal(draw(w, DAY, "mx.x", 10, 4), 4);
    write_file("a\tmx.x\t5", "a"); /* torn: it was not sent */
    assert_int_equal(draw(w, DAY, "mx.x", 10, 4), 4);
    assert_int_equal(draw(w, DAY, "mx.x", 10, 4), -1); /* 4 + 5 + 4: it counts now */
    write_file("\n\t\nno line\nb\tmx.x\tx\n", "a");
    assert_int_equal(draw(w, DAY, "mx.x", 20, 40), 7);
    assert_int_equal(draw(w, DAY, "tab\there\n", 3, 2), 2);
    assert_int_equal(draw(w, DAY, "tab\there\n", 3, 2), 1);
    write_file("nonsense", "w");
    assert_int_equal(draw(w, DAY, "mx.x", 10, 4), 4);
    file_holds("#hikyaku-warmup 2026-11-22\na\tmx.x\t4\n");
    write_file("", "w"); /* somebody emptied it */
    assert_int_equal(draw(w, DAY, "mx.x", 10, 40), 10);
    assert_int_equal(draw(w, DAY, "mx.x", 10, 40), -1);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    warmup_close(w);
}

/* Another job holds the lock. */
static void later(void **state)
{
    (void)state;
    struct warmup *w = open_one();
    struct warmup_ask ask = {DAY, "a", "mx.x", 10, 4};
    struct fault f = {0};
    uint32_t n;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    assert_int_equal(warmup_draw(w, &ask, &n, &f), WARMUP_LATER);
    close(fd);
    assert_int_equal(warmup_draw(w, &ask, &n, &f), WARMUP_DRAWN);
    assert_int_equal(n, 4);
    warmup_close(w);
    warmup_close(NULL);
}

/* Who only looks makes nothing, locks nothing, and knows the day. */
static void a_look(void **state)
{
    (void)state;
    struct fault f = {0};
    struct warmup *look = warmup_look(spool, DAY, &f);
    assert_non_null(look); /* nobody has drawn yet */
    assert_int_equal(warmup_used(look, "a", "mx.x"), 0);
    warmup_close(look);
    assert_int_equal(access(path, F_OK), -1);

    struct warmup *w = open_one();
    assert_int_equal(draw(w, DAY, "mx.x", 10, 4), 4);
    assert_int_equal(draw(w, DAY, "mx.x", 10, 4), 4);
    assert_int_equal(draw(w, DAY, "tab\there\n", 3, 2), 2);
    write_file("a\tmx.x\t1", "a"); /* torn */
    look = warmup_look(spool, DAY, &f);
    assert_int_equal(warmup_used(look, "a", "mx.x"), 8);
    assert_int_equal(warmup_used(look, "b", "mx.x"), 0);
    assert_int_equal(warmup_used(look, "a", "tab\there\n"), 2);
    warmup_close(look);
    for (int32_t day = DAY - 1; day <= DAY + 1; day += 2) {
        look = warmup_look(spool, day, &f);
        assert_int_equal(warmup_used(look, "a", "mx.x"), 0);
        warmup_close(look);
    }
    file_holds("#hikyaku-warmup 2026-11-22\na\tmx.x\t4\na\tmx.x\t4\n"
               "a\ttab\\x09here\\x0a\t2\na\tmx.x\t1");
    warmup_close(w);

    assert_int_equal(remove(path), 0); /* a folder is no file */
    assert_int_equal(mkdir(path, 0700), 0);
    assert_null(warmup_look(spool, DAY, &f));
    assert_int_equal(f.code, -20);
    assert_int_equal(rmdir(path), 0);
}

static void caps(void **state)
{
    (void)state;
    static const int64_t some[] = {50, 0, 1000};
    struct warmup_plan plan = {DAY, some, 3}, none = {0};
    assert_int_equal(warmup_cap(&plan, DAY - 1), 0);
    assert_int_equal(warmup_cap(&plan, DAY), 50);
    assert_int_equal(warmup_cap(&plan, DAY + 1), 0);
    assert_int_equal(warmup_cap(&plan, DAY + 2), 1000);
    assert_int_equal(warmup_cap(&plan, DAY + 3), UINT32_MAX);
    assert_int_equal(warmup_cap(&none, DAY), UINT32_MAX);
    assert_int_equal(warmup_cap(&none, -1), UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(jobs_draw_together, begin_spool, remove_spool),
        cmocka_unit_test_setup_teardown(odd_files, begin_spool, remove_spool),
        cmocka_unit_test_setup_teardown(later, begin_spool, remove_spool),
        cmocka_unit_test_setup_teardown(a_look, begin_spool, remove_spool),
        cmocka_unit_test(caps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
