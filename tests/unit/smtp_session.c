/* What transcripts cannot say of a session: size of groups, times, memory, and that a
 * broken promise of ours stops the program before it reaches the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "smtp/session.h"

static const struct smtp_params *limits(enum smtp_pipelining pipelining)
{
    static struct smtp_params params;
    params = (struct smtp_params){.helo_name = "me", .pipelining = pipelining};
    for (int i = 0; i < SMTP_STAGE_COUNT; i++)
        params.limit_us[i] = (int64_t)smtp_stages[i].limit_ms * 1000;
    return &params;
}

static void say(struct smtp_session *s, const char *text, int64_t now_us)
{
    smtp_session_receive(s, text, strlen(text), now_us);
}

/* Write everything; returns the bytes of the first batch, all batches in *all_out. */
static size_t write_out(struct smtp_session *s, char *out, size_t max, size_t *all_out,
                        int64_t now_us)
{
    struct iovec iov[16];
    size_t first = 0, all = 0;
    for (int n; (n = smtp_session_output(s, iov, 16, now_us));) {
        size_t batch = 0;
        for (int i = 0; i < n; i++) {
            assert_true(all + batch + iov[i].iov_len <= max);
            memcpy(out + all + batch, iov[i].iov_base, iov[i].iov_len);
            batch += iov[i].iov_len;
        }
        smtp_session_sent(s, batch, now_us);
        first = first ? first : batch;
        all += batch;
    }
    if (all_out)
        *all_out = all;
    return first;
}

static struct smtp_session *greeted(const struct smtp_params *params, int64_t now_us)
{
    char out[100];
    struct smtp_session *s = smtp_session_create(params, now_us);
    say(s, "220 x\r\n", now_us);
    write_out(s, out, sizeof out, NULL, now_us);
    say(s, "250-x\r\n250 PIPELINING\r\n", now_us);
    assert_int_equal(smtp_session_take(s), SMTP_READY);
    return s;
}

static struct iovec hello = {(char[]){"hi\r\n"}, 4};

static struct smtp_transaction message(struct smtp_recipient *recipients, int n)
{
    return (struct smtp_transaction){
        .sender = "a@b",
        .recipients = recipients,
        .recipients_n = n,
        .body = &hello,
        .body_n = 1,
        .body_size = hello.iov_len,
        .dotted = true,
    };
}

static void a_hundred_recipients_in_one_write(void **state)
{
    (void)state;
    static struct smtp_recipient recipients[SMTP_RECIPIENTS_MAX];
    static char addresses[SMTP_RECIPIENTS_MAX][260], out[40000];
    for (int i = 0; i < SMTP_RECIPIENTS_MAX; i++) {
        int n = snprintf(addresses[i], sizeof addresses[i], "%0*d@x", 250, i);
        recipients[i].address = addresses[i];
        recipients[i].address_n = (uint16_t)n;
    }
    struct smtp_session *s = greeted(limits(SMTP_PIPELINING_AUTO), 0);
    struct smtp_transaction t = message(recipients, SMTP_RECIPIENTS_MAX);
    struct smtp_transaction behind = message(recipients, 1);
    struct smtp_recipient one = recipients[0];
    behind.recipients = &one;
    smtp_session_submit(s, &t, 0);
    smtp_session_submit(s, &behind, 0);
    size_t all, first = write_out(s, out, sizeof out, &all, 0);
    assert_int_equal(first, all);
    assert_int_equal(all, 17 + 100 * (9 + 252 + 3) + 6);

    say(s, "250 ok\r\n", 0);
    for (int i = 0; i < SMTP_RECIPIENTS_MAX; i++)
        say(s, i % 3 ? "250 ok\r\n" : "550 no\r\n", 0);
    say(s, "354 go\r\n", 0);
    write_out(s, out, sizeof out, &all, 0);
    assert_memory_equal(out, "hi\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<0", 34);
    assert_null(smtp_session_settled(s));
    say(s, "250 ok\r\n250 ok\r\n550 no\r\n", 0);
    /* What the dot's reply is worth shows when the envelope behind it is answered. */
    assert_null(smtp_session_settled(s));
    assert_false(smtp_session_ready(s));
    say(s, "503 no\r\n", 0);
    assert_ptr_equal(smtp_session_settled(s), &t);
    assert_ptr_equal(smtp_session_settled(s), &behind);
    assert_null(smtp_session_settled(s));
    for (int i = 0; i < SMTP_RECIPIENTS_MAX; i++) {
        assert_true(recipients[i].done);
        assert_int_equal(recipients[i].result.reply.code, i % 3 ? 250 : 550);
    }
    smtp_session_destroy(s);
}

static void times_of_each_stage(void **state)
{
    (void)state;
    char out[200];
    struct smtp_recipient r[2] = {{.address = "b@x", .address_n = 3},
                                  {.address = "c@x", .address_n = 3}};
    struct smtp_transaction t = message(r, 2);
    struct smtp_session *s = smtp_session_create(limits(SMTP_PIPELINING_AUTO), 1000);
    say(s, "220 x\r\n", 1100);
    write_out(s, out, sizeof out, NULL, 1200);
    say(s, "250-x\r\n250 PIPELINING\r\n", 1250);
    assert_int_equal(smtp_session_timings(s)->us[SMTP_OPENING], 100);
    assert_int_equal(smtp_session_timings(s)->us[SMTP_HELO], 50);

    smtp_session_submit(s, &t, 2000);
    assert_false(t.reused);
    write_out(s, out, sizeof out, NULL, 2000);
    say(s, "250 ok\r\n", 2010);
    say(s, "250 ok\r\n", 2020);
    say(s, "250 ok\r\n", 2030);
    say(s, "354 ok\r\n", 2040);
    struct iovec iov[4];
    assert_int_equal(smtp_session_output(s, iov, 4, 3000), 2);
    smtp_session_sent(s, 4, 3000);
    assert_int_equal(smtp_session_output(s, iov, 4, 3500), 1);
    smtp_session_sent(s, 3, 3500);
    say(s, "250 ok\r\n", 4000);
    assert_int_equal(t.timings.us[SMTP_MAIL], 10);
    assert_int_equal(t.timings.us[SMTP_RCPT], 30);
    assert_int_equal(t.timings.us[SMTP_DATA], 40);
    assert_int_equal(t.timings.us[SMTP_BODY], 500);
    assert_int_equal(t.timings.us[SMTP_END], 500);
    assert_int_equal(t.timings.us[SMTP_RSET], -1);
    assert_ptr_equal(smtp_session_settled(s), &t);

    smtp_session_submit(s, &t, 5000);
    assert_true(t.reused);
    smtp_session_destroy(s);
}

static void ready_comes_as_long_as_there_is_room(void **state)
{
    (void)state;
    struct smtp_recipient r[2] = {{.address = "b@x", .address_n = 3},
                                  {.address = "c@x", .address_n = 3}};
    struct smtp_transaction t = message(r, 1), u = message(r + 1, 1);
    struct smtp_session *s = greeted(limits(SMTP_PIPELINING_AUTO), 0);
    assert_int_equal(smtp_session_take(s), 0);
    smtp_session_submit(s, &t, 0);
    assert_int_equal(smtp_session_take(s), SMTP_READY);
    smtp_session_submit(s, &u, 0);
    assert_int_equal(smtp_session_take(s), 0);
    assert_false(smtp_session_ready(s));
    smtp_session_lost(s, "gone", false, (struct smtp_wire){0}, 0);
    assert_int_equal(smtp_session_take(s), SMTP_SETTLED | SMTP_OVER);
    assert_ptr_equal(smtp_session_settled(s), &t);
    assert_ptr_equal(smtp_session_settled(s), &u);
    assert_int_equal(r[0].result.how, SMTP_HOW_LOST);
    assert_int_equal(r[1].result.how, SMTP_HOW_UNTRIED);
    assert_string_equal(r[0].result.reply.text, "gone");
    /* Behind its end a session is deaf, dumb and without deadline. */
    say(s, "250 ok\r\n", 0);
    smtp_session_stop(s, 0);
    smtp_session_lost(s, "again", false, (struct smtp_wire){0}, 0);
    struct iovec iov;
    assert_int_equal(smtp_session_output(s, &iov, 1, 0), 0);
    assert_int_equal(smtp_session_take(s), 0);
    assert_true(smtp_session_deadline(s) == INT64_MAX);
    smtp_session_destroy(s);
    smtp_session_destroy(NULL);
}

/* Who holds a rate submits only then: MAIL leaves at once. */
static void idle_is_when_nothing_is_owed(void **state)
{
    (void)state;
    char out[200];
    struct smtp_recipient r = {.address = "b@x", .address_n = 3};
    struct smtp_transaction t = message(&r, 1);
    struct smtp_session *s = smtp_session_create(limits(SMTP_PIPELINING_AUTO), 0);
    assert_false(smtp_session_idle(s)); /* not greeted */
    smtp_session_destroy(s);
    s = greeted(limits(SMTP_PIPELINING_AUTO), 0);
    assert_true(smtp_session_idle(s));
    smtp_session_submit(s, &t, 0);
    assert_true(smtp_session_ready(s)); /* for one behind its dot */
    assert_false(smtp_session_idle(s));
    write_out(s, out, sizeof out, NULL, 0);
    say(s, "250 ok\r\n550 no\r\n", 0);
    assert_ptr_equal(smtp_session_settled(s), &t);
    assert_false(smtp_session_idle(s)); /* DATA was not answered */
    say(s, "503 no\r\n", 0);
    assert_true(smtp_session_idle(s));
    smtp_session_submit(s, &t, 0);
    size_t all;
    write_out(s, out, sizeof out, &all, 0);
    assert_memory_equal(out, "RSET\r\nMAIL FROM:<a@b>\r\n", 23);
    smtp_session_destroy(s);
}

static void who_is_paced_resets_first(void **state)
{
    (void)state;
    char out[200];
    size_t all;
    struct smtp_params params = *limits(SMTP_PIPELINING_AUTO);
    params.paced = true;
    struct smtp_recipient r = {.address = "b@x", .address_n = 3};
    struct smtp_transaction t = message(&r, 1);
    struct smtp_session *s = greeted(&params, 0);
    smtp_session_submit(s, &t, 0);
    write_out(s, out, sizeof out, NULL, 0);
    say(s, "250 ok\r\n550 no\r\n503 no\r\n", 0);
    assert_ptr_equal(smtp_session_settled(s), &t);
    assert_false(smtp_session_idle(s));
    write_out(s, out, sizeof out, &all, 0);
    assert_int_equal(all, 6);
    assert_memory_equal(out, "RSET\r\n", 6);
    assert_false(smtp_session_idle(s));
    say(s, "250 ok\r\n", 0);
    assert_true(smtp_session_idle(s));
    smtp_session_submit(s, &t, 0);
    write_out(s, out, sizeof out, &all, 0);
    assert_memory_equal(out, "MAIL FROM:<a@b>\r\n", 17);
    smtp_session_destroy(s);
}

static void a_warm_session_allocates_nothing(void **state)
{
    (void)state;
#if !defined(__SANITIZE_ADDRESS__) && defined(__GLIBC__)
    char out[400];
    struct smtp_recipient r[2] = {{.address = "b@x", .address_n = 3},
                                  {.address = "c@x", .address_n = 3}};
    struct smtp_transaction t[2] = {message(r, 1), message(r + 1, 1)};
    struct smtp_session *s = greeted(limits(SMTP_PIPELINING_AUTO), 0);
    size_t used = 0;
    smtp_session_submit(s, &t[0], 0);
    write_out(s, out, sizeof out, NULL, 0);
    say(s, "250 ok\r\n250 ok\r\n354 go\r\n", 0);
    for (int i = 1; i < 100; i++) {
        smtp_session_submit(s, &t[i % 2], 0);
        write_out(s, out, sizeof out, NULL, 0);
        say(s, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", 0);
        assert_ptr_equal(smtp_session_settled(s), &t[(i + 1) % 2]);
        if (i == 1)
            used = mallinfo2().uordblks;
    }
    assert_int_equal(mallinfo2().uordblks, used);
    smtp_session_destroy(s);
#endif
}

static void credentials_are_marked(void **state)
{
    (void)state;
    char password[SMTP_CREDENTIAL_MAX + 1], out[2000];
    memset(password, 'p', SMTP_CREDENTIAL_MAX);
    password[SMTP_CREDENTIAL_MAX] = '\0';
    struct smtp_params params = *limits(SMTP_PIPELINING_AUTO);
    params.auth_user = "bob";
    params.auth_password = password;
    params.secured = true;
    struct smtp_session *s = smtp_session_create(&params, 0);
    struct iovec iov[4];
    say(s, "220 x\r\n", 0);
    assert_int_equal(smtp_session_output(s, iov, 4, 0), 1);
    assert_false(smtp_session_is_secret(s));
    smtp_session_sent(s, iov[0].iov_len, 0);
    say(s, "250-x\r\n250 AUTH PLAIN\r\n", 0);
    /* Too long for an initial response (RFC 4954 4): asked for by 334. */
    assert_int_equal(smtp_session_output(s, iov, 4, 0), 1);
    assert_memory_equal(iov[0].iov_base, "AUTH PLAIN\r\n", iov[0].iov_len);
    assert_int_equal(iov[0].iov_len, 12);
    assert_true(smtp_session_is_secret(s));
    smtp_session_sent(s, iov[0].iov_len, 0);
    assert_false(smtp_session_is_secret(s));
    say(s, "334 \r\n", 0);
    assert_int_equal(smtp_session_output(s, iov, 4, 0), 1);
    assert_true(smtp_session_is_secret(s));
    assert_int_equal(iov[0].iov_len, (1 + 3 + 1 + 512 + 2) / 3 * 4 + 2);
    smtp_session_sent(s, iov[0].iov_len, 0);
    say(s, "535 no\r\n", 0);
    assert_false(smtp_session_greeted(s));
    write_out(s, out, sizeof out, NULL, 0);
    assert_memory_equal(out, "QUIT\r\n", 6);
    smtp_session_destroy(s);
}

static void a_password_said_back_is_not_kept(void **state)
{
    (void)state;
    static const char *const echoes[] = {
        "535 5.7.8 no bob:pa\\ss word\r\n", "535 5.7.8 PA\\SS WORD?\r\n",
        "535 5.7.8-cGFcc3Mgd29yZA==\r\n", "535-5.7.8 x\r\n535 AGJvYgBwYVxzcyB3b3Jk\r\n",
        "AUTH PLAIN AGJvYgBwYVxzcyB3b3Jk\r\n"};
    for (size_t i = 0; i < sizeof echoes / sizeof echoes[0]; i++) {
        char out[200];
        struct smtp_params params = *limits(SMTP_PIPELINING_AUTO);
        params.auth_user = "bob";
        params.auth_password = "pa\\ss word";
        params.auth_clear = true;
        struct smtp_session *s = smtp_session_create(&params, 0);
        say(s, "220 x\r\n", 0);
        write_out(s, out, sizeof out, NULL, 0);
        say(s, "250-x\r\n250 AUTH PLAIN\r\n", 0);
        write_out(s, out, sizeof out, NULL, 0);
        say(s, echoes[i], 0);
        const struct smtp_result *fate = smtp_session_fate(s);
        assert_non_null(strstr(fate->reply.text, "our credentials"));
        assert_null(strcasestr(fate->reply.text, "ss word"));
        assert_null(strstr(fate->reply.text, "d29yZ"));
        if (fate->how == SMTP_HOW_REPLY) {
            assert_int_equal(fate->reply.code, 535);
        }
        smtp_session_destroy(s);
    }
}

static void a_line_end_in_an_address_never_leaves(void **state)
{
    (void)state;
    static const char *const addresses[] = {"b@x\rDATA", "b@x\nDATA", "b\x7f@x"};
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0) {
            setrlimit(RLIMIT_CORE, &(struct rlimit){0});
            signal(SIGABRT, SIG_DFL);
            if (!freopen("/dev/null", "w", stderr))
                _exit(1);
            struct smtp_recipient r = {.address = addresses[i],
                                       .address_n = (uint16_t)strlen(addresses[i])};
            struct smtp_transaction t = message(&r, 1);
            struct smtp_session *s = greeted(limits(SMTP_PIPELINING_AUTO), 0);
            struct iovec iov[4];
            smtp_session_submit(s, &t, 0);
            smtp_session_output(s, iov, 4, 0);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

/* Who begins to say 250 before the dot has left cannot mean that message, even when the
 * rest of the line comes behind it. */
static void a_reply_begun_before_the_dot_is_not_its_answer(void **state)
{
    (void)state;
    char out[200];
    struct smtp_recipient r[1] = {{.address = "b@x", .address_n = 3}};
    struct smtp_transaction t = message(r, 1);
    struct smtp_session *s = greeted(limits(SMTP_PIPELINING_AUTO), 0);
    smtp_session_submit(s, &t, 0);
    write_out(s, out, sizeof out, NULL, 0);
    say(s, "250 ok\r\n250 ok\r\n354 go\r\n", 0);
    struct iovec iov[4];
    assert_int_equal(smtp_session_output(s, iov, 4, 0), 2);
    smtp_session_sent(s, 2, 0);
    say(s, "25", 0);
    write_out(s, out, sizeof out, NULL, 0);
    say(s, "0 ok\r\n", 0);
    assert_ptr_equal(smtp_session_settled(s), &t);
    assert_int_equal(r[0].result.how, SMTP_HOW_GARBAGE);
    assert_int_equal(r[0].result.stage, SMTP_END);
    assert_true(r[0].result.dot_left);
    smtp_session_destroy(s);
}

/* Those over RCPTMAX are left out at once; a refused SIZE= begins it anew with the
 * rest.
 */
static void size_refused_where_few_recipients_are_allowed(void **state)
{
    (void)state;
    char out[400];
    struct smtp_recipient r[3] = {{.address = "b@x", .address_n = 3},
                                  {.address = "c@x", .address_n = 3},
                                  {.address = "d@x", .address_n = 3}};
    struct smtp_transaction t = message(r, 3);
    struct smtp_session *s = smtp_session_create(limits(SMTP_PIPELINING_AUTO), 0);
    say(s, "220 x\r\n", 0);
    write_out(s, out, sizeof out, NULL, 0);
    say(s, "250-x\r\n250-SIZE 99\r\n250 LIMITS RCPTMAX=2\r\n", 0);
    smtp_session_submit(s, &t, 0);
    assert_int_equal(r[2].result.how, SMTP_HOW_UNTRIED);
    write_out(s, out, sizeof out, NULL, 0);
    say(s, "555 SIZE?\r\n", 0);
    size_t n;
    write_out(s, out, sizeof out, &n, 0);
    assert_int_equal(n, strlen("MAIL FROM:<a@b>\r\n"));
    assert_memory_equal(out, "MAIL FROM:<a@b>\r\n", n);
    say(s, "550 no\r\n", 0);
    assert_ptr_equal(smtp_session_settled(s), &t);
    assert_int_equal(r[1].result.reply.code, 550);
    assert_int_equal(r[2].result.how, SMTP_HOW_UNTRIED);
    smtp_session_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hundred_recipients_in_one_write),
        cmocka_unit_test(times_of_each_stage),
        cmocka_unit_test(ready_comes_as_long_as_there_is_room),
        cmocka_unit_test(idle_is_when_nothing_is_owed),
        cmocka_unit_test(who_is_paced_resets_first),
        cmocka_unit_test(a_warm_session_allocates_nothing),
        cmocka_unit_test(credentials_are_marked),
        cmocka_unit_test(a_password_said_back_is_not_kept),
        cmocka_unit_test(a_line_end_in_an_address_never_leaves),
        cmocka_unit_test(size_refused_where_few_recipients_are_allowed),
        cmocka_unit_test(a_reply_begun_before_the_dot_is_not_its_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
