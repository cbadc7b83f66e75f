#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "sink/scenario.h"

enum { MS = 1000 };

static struct scenario *read_text(const char *text, bool secure, struct fault *f)
{
    char path[] = "/tmp/scenario.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    struct scenario *s = scenario_read(path, secure, f);
    unlink(path);
    return s;
}

static struct player *play(struct scenario **s, const char *text, int connection,
                           enum scenario_cut cut)
{
    struct fault f = {0};
    *s = read_text(text, false, &f);
    assert_int_equal(f.code, 0);
    return player_create(*s, connection, cut, NULL, 0);
}

static void finish(struct player *p, struct scenario *s)
{
    player_free(p);
    scenario_free(s);
}

/* What leaves now is exactly this. */
static void says(struct player *p, int64_t now, const char *text)
{
    struct span out = player_output(p, now);
    assert_int_equal(out.n, strlen(text));
    assert_true(out.n == 0 || memcmp(out.p, text, out.n) == 0);
    if (out.n)
        player_sent(p, out.n, now);
}

static void hears(struct player *p, int64_t now, const char *text)
{
    player_receive(p, text, strlen(text), now);
}

static void test_a_dialogue(void **state)
{
    (void)state;
    struct scenario *s;
    struct player *p = play(&s,
                            "# a comment\n"
                            "= 1 wait-end 250 delivered\n"
                            "S: 220 mx.x\n"
                            "C: EHLO *\n"
                            "S: 250-a\n"
                            "S> 250 b\\r\\n\n"
                            "C: MAIL FROM:<*> SIZE=*\n"
                            "S: 354 {3*xy}\n"
                            "C> {body}\n"
                            "C: .\n"
                            "C: QUIT\n"
                            "X close\n",
                            1, SCENARIO_WHOLE);
    says(p, 0, "220 mx.x\r\n");
    hears(p, 0, "EH");
    says(p, 0, "");
    hears(p, 0, "LO me\r\n");
    says(p, 0, "250-a\r\n250 b\r\n");
    hears(p, 0, "MAIL FROM:<a@b> SIZE=12\r\n");
    says(p, 0, "354 xyxyxy\r\n");
    hears(p, 0, "hello\r\n..\r\n.\r");
    assert_int_equal(player_end(p), PLAYER_PLAYS);
    hears(p, 0, "\nQUIT\r\n");
    assert_int_equal(player_end(p), PLAYER_CLOSE);
    assert_null(player_complaint(p));
    finish(p, s);
}

static void test_complaints(void **state)
{
    (void)state;
    static const struct {
        const char *script, *heard, *words;
    } cases[] = {
        {"C: EHLO *\n", "HELO me\r\n",
         "line 1: expected \"C: EHLO *\", got \"HELO me\""},
        {"C: DATA\n", "DATA\r\nmore\r\n", "nothing more was expected, got \"more"},
        {"quiet 1s\n", "x", "the client talks out of turn: \"x\""},
        {"C: a\\x2ab\n", "axb\r\n", "got \"axb\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scenario *s;
        struct player *p = play(&s, cases[i].script, 1, SCENARIO_WHOLE);
        hears(p, 0, cases[i].heard);
        assert_non_null(player_complaint(p));
        if (!strstr(player_complaint(p), cases[i].words))
            fail_msg("complaint is %s", player_complaint(p));
        assert_int_equal(player_end(p), PLAYER_CLOSE);
        finish(p, s);
    }
}

static void test_gone_while_awaited(void **state)
{
    (void)state;
    struct scenario *s;
    struct player *p = play(&s, "C: QUIT\n", 1, SCENARIO_WHOLE);
    player_lost(p, 0);
    assert_non_null(strstr(player_complaint(p), "the connection is gone"));
    finish(p, s);
    p = play(&s, "T 5\nS: late\n", 1, SCENARIO_WHOLE);
    player_lost(p, 0);
    assert_null(player_complaint(p));
    assert_int_equal(player_end(p), PLAYER_CLOSE);
    finish(p, s);
}

static void test_time(void **state)
{
    (void)state;
    struct scenario *s;
    struct player *p =
        play(&s, "S: a\nT 0.5\nS: b\nslow 100ms\nS> cd\nslow 0\nX reset\n", 1,
             SCENARIO_WHOLE);
    says(p, 0, "a\r\n");
    assert_int_equal(player_deadline(p, 0), 500 * MS);
    says(p, 499 * MS, "");
    says(p, 500 * MS, "b\r\n");
    says(p, 500 * MS, "c");
    assert_int_equal(player_deadline(p, 500 * MS), 600 * MS);
    says(p, 500 * MS, "");
    says(p, 600 * MS, "d");
    assert_int_equal(player_end(p), PLAYER_RESET);
    finish(p, s);
}

static void test_reading(void **state)
{
    (void)state;
    struct scenario *s;
    struct player *p =
        play(&s, "read 3 10ms\nC: abcd\nread nothing\nT 1\nread all\nC: x\nshutdown\n",
             1, SCENARIO_WHOLE);
    assert_int_equal(player_appetite(p, 0), 3);
    hears(p, 0, "abc");
    assert_int_equal(player_appetite(p, 5 * MS), 0);
    assert_int_equal(player_deadline(p, 5 * MS), 10 * MS);
    assert_int_equal(player_appetite(p, 10 * MS), 3);
    hears(p, 10 * MS, "d\r\n");
    assert_int_equal(player_appetite(p, 100 * MS), 0);
    says(p, 1010 * MS, "");
    assert_true(player_appetite(p, 1010 * MS) == SIZE_MAX);
    hears(p, 1010 * MS, "x\r\n");
    assert_int_equal(player_end(p), PLAYER_SHUT);
    assert_int_equal(player_end(p), PLAYER_PLAYS);
    finish(p, s);
}

static void test_sections(void **state)
{
    (void)state;
    static const char text[] = "connection 1\nS: one\nconnection 2\nS: two\n";
    static const char *const words[] = {"one\r\n", "two\r\n", "two\r\n"};
    for (int i = 0; i < 3; i++) {
        struct scenario *s;
        struct player *p = play(&s, text, i + 1, SCENARIO_WHOLE);
        says(p, 0, words[i]);
        finish(p, s);
    }
}

static void test_cuts(void **state)
{
    (void)state;
    for (int cut = SCENARIO_BYTES; cut <= SCENARIO_RANDOM; cut++) {
        struct scenario *s;
        struct player *p = play(&s, "S: {300*x}\n", 1, (enum scenario_cut)cut);
        size_t total = 0;
        int pieces = 0;
        for (int64_t now = 0; total < 302; now += MS, pieces++) {
            struct span out = player_output(p, now);
            assert_true(out.n > 0);
            assert_true(total >= 256 || out.n <= (cut == SCENARIO_BYTES ? 1 : 40));
            player_sent(p, out.n, now);
            total += out.n;
        }
        assert_int_equal(total, 302);
        assert_true(cut == SCENARIO_RANDOM ? pieces > 5 : pieces == 257);
        finish(p, s);
    }
}

static void test_bad_files(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "S: \\q\n",
        "S: {x*y}\n",
        "C> abc\n",
        "T soon\n",
        "read 0\n",
        "X maybe\n",
        "connection 2\n",
        "garbage\n",
        "S {3*x}\n",
        "X close now\n",
        "S: {9999999999*x}\n",
        "S: {90000000*x}\n",
        "S: a\nconnection 1\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fault f = {0};
        struct scenario *s = read_text(bad[i], false, &f);
        if (s)
            fail_msg("%s was taken", bad[i]);
        assert_int_equal(f.code, -7);
    }
    struct fault f = {0};
    assert_null(scenario_read("/nowhere/x.txt", false, &f));
    assert_int_equal(f.code, -7);
}

static void pump(struct tls *from_client, struct player *p, struct buf *plain)
{
    for (int i = 0; i < 20; i++) {
        struct span c = tls_output(from_client);
        if (c.n) {
            struct buf copy = {0};
            buf_add_span(&copy, c);
            player_receive(p, copy.p, copy.n, 0);
            tls_sent(from_client, copy.n);
            buf_finish(&copy);
        }
        struct span out = player_output(p, 0);
        if (out.n) {
            tls_receive(from_client, out.p, out.n);
            player_sent(p, out.n, 0);
        }
        char text[256];
        for (size_t n; (n = tls_read(from_client, text, sizeof text)) > 0;)
            buf_add(plain, text, n);
    }
}

static void test_under_tls(void **state)
{
    (void)state;
    struct fault f = {0};
    struct tls_context *server = tls_server_context(NULL, NULL, "mx.x", &f);
    struct tls_context *client =
        tls_client_context(&(struct tls_client_params){.min_version = 12});
    assert_int_equal(f.code, 0);
    struct scenario *s = read_text("S: 220 mx.x\nC: EHLO *\nS: 250 secret\n", true, &f);
    struct player *p = player_create(s, 1, SCENARIO_WHOLE, server, 0);
    says(p, 0, "220 mx.x\r\n");
    hears(p, 0, "EHLO me\r\n");
    says(p, 0, "250-mx.x hello\r\n250 STARTTLS\r\n");
    hears(p, 0, "STARTTLS\r\n");
    says(p, 0, "220 go ahead\r\n");
    struct tls *t = tls_client(client, "mx.x", false, 0);
    struct buf plain = {0};
    pump(t, p, &plain);
    assert_int_equal(tls_state(t), TLS_OPEN);
    struct iovec hello = {(char *)(uintptr_t) "EHLO me\r\n", 9};
    assert_int_equal(tls_write(t, &hello, 1), 9);
    pump(t, p, &plain);
    assert_string_equal(buf_cstr(&plain), "250 secret\r\n");
    assert_null(player_complaint(p));
    buf_finish(&plain);
    tls_free(t);
    finish(p, s);
    tls_context_free(client);
    tls_context_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_dialogue),
        cmocka_unit_test(test_complaints),
        cmocka_unit_test(test_gone_while_awaited),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_under_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
