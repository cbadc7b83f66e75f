/* queue/share: who takes part is counted, until it leaves or dies. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "queue/share.h"
#include "tests/unit/queue_spool.h"

static void join(struct share *s)
{
    struct fault f = {0};
    if (!share_join(s, job, &f))
        fail_msg("%s", f.words);
}

static void counted(void **state)
{
    struct share a = {0}, b, c;
    struct stat st;
    char path[80];
    (void)state;
    assert_int_equal(share_count(&a), 1); /* it takes no part */
    join(&a);
    assert_int_equal(share_count(&a), 1);
    join(&b);
    join(&c);
    assert_int_equal(share_count(&a), 3);
    assert_int_equal(share_count(&b), 3);
    share_leave(&a);
    assert_int_equal(share_count(&b), 2);
    assert_int_equal(share_count(&c), 2);
    join(&a); /* has the first byte again, but its lock is the youngest */
    assert_int_equal(share_count(&c), 3);
    share_leave(&b);
    share_leave(&c);
    assert_int_equal(share_count(&a), 1);
    share_leave(&a);
    share_leave(&a);
    snprintf(path, sizeof path, "%s/.running", spool);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 0);
}

/* Whoever is killed counts no more. */
static void killed(void **state)
{
    struct share s, child = {0};
    struct fault f = {0};
    int ready[2];
    char byte;
    (void)state;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (!share_join(&child, job, &f) || write(ready[1], "j", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    join(&s);
    assert_int_equal(share_count(&s), 2);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(share_count(&s), 1);
    share_leave(&s);
    close(ready[0]);
    close(ready[1]);
}

/* One too many is not seen, but sees. */
static void full(void **state)
{
    struct share all[SHARE_JOBS_MAX], late;
    struct fault f = {0};
    (void)state;
    for (int i = 0; i < SHARE_JOBS_MAX; i++)
        join(&all[i]);
    assert_false(share_join(&late, job, &f));
    assert_int_equal(f.code, -20);
    assert_string_equal(f.words, "more than 64 jobs of this spool run");
    assert_int_equal(share_count(&late), SHARE_JOBS_MAX + 1);
    assert_int_equal(share_count(&all[7]), SHARE_JOBS_MAX);
    share_leave(&all[7]);
    assert_int_equal(share_count(&late), SHARE_JOBS_MAX);
    share_leave(&late);
    for (int i = 0; i < SHARE_JOBS_MAX; i++)
        share_leave(&all[i]);
}

/* Where the file cannot be, a job is alone. */
static void nowhere(void **state)
{
    struct share s;
    struct fault f = {0};
    char path[80];
    (void)state;
    snprintf(path, sizeof path, "%s/.running", spool);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_false(share_join(&s, job, &f));
    assert_int_equal(f.code, -20);
    assert_string_equal(f.words,
                        "cannot lock \".running\" of the spool: Is a directory");
    assert_int_equal(share_count(&s), 1);
    share_leave(&s);
}

#define TEST(function)                                                                 \
    cmocka_unit_test_setup_teardown(function, make_spool, remove_spool)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(counted),
        TEST(killed),
        TEST(full),
        TEST(nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
