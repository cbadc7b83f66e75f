#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/trace.h"

enum { SECOND = 1000000 };

static char path[] = "/tmp/trace.XXXXXX";

static int begin(void **state)
{
    (void)state;
    struct fault f = {0};
    int fd = mkstemp(path);
    close(fd);
    return fd < 0 || !trace_begin(TRACE_SMTP, path, &f);
}

static int end(void **state)
{
    (void)state;
    trace_end();
    unlink(path);
    snprintf(path, sizeof path, "/tmp/trace.XXXXXX");
    return 0;
}

static void expect(const char *want)
{
    char got[4096];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    got[fread(got, 1, sizeof got - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(got, want);
}

static void hear(struct trace_talk *t, const char *text, int64_t now)
{
    trace_talk_heard(t, text, strlen(text), now);
}

/* In two pieces, of which all but the last byte of the second is taken first. */
static void say(struct trace_talk *t, const char *text, int64_t now)
{
    size_t n = strlen(text), half = n / 2;
    char *p = (char *)(uintptr_t)text;
    struct iovec pieces[] = {{p, half}, {p + half, n - half}};
    trace_talk_said(t, pieces, n - 1, now);
    struct iovec rest = {p + n - 1, 1};
    trace_talk_said(t, &rest, 1, now);
}

static void test_a_dialogue(void **state)
{
    (void)state;
    struct trace_talk *t = trace_talk_begin(7, "mx.x", "192.0.2.1", 0);
    hear(t, "220 mx", 0);
    hear(t, ".x\r\n", 2 * SECOND);
    say(t, "EHLO me\r\n", 2 * SECOND);
    hear(t, "250-a {b}\\\r\n250 PIPELINING\r\n", 2 * SECOND);
    say(t, "MAIL FROM:<a*b@c>\r\nRCPT TO:<d@e>\r\nDATA\r\n", 2 * SECOND);
    hear(t, "250 ok\r\n250 ok\r\n354 go\r\n", 2 * SECOND);
    say(t, "Subject: secret\r\n\r\n..\r\n.x\r\n.\r\nQUIT\r\n", 2 * SECOND);
    hear(t, "250 \x1b taken\n221", 2 * SECOND + 100000);
    trace_talk_end(t, "close", 3 * SECOND);
    expect("[7] # mx.x 192.0.2.1\n"
           "[7] T 2.000\n"
           "[7] S: 220 mx.x\n"
           "[7] C: EHLO me\n"
           "[7] S: 250-a \\x7bb}\\\\\n"
           "[7] S: 250 PIPELINING\n"
           "[7] C: MAIL FROM:<a\\x2ab@c>\n"
           "[7] C: RCPT TO:<d@e>\n"
           "[7] C: DATA\n"
           "[7] S: 250 ok\n"
           "[7] S: 250 ok\n"
           "[7] S: 354 go\n"
           "[7] C> {body}\n"
           "[7] C: .\n"
           "[7] C: QUIT\n"
           "[7] T 0.100\n"
           "[7] S> 250 \\x1b taken\\x0a\n"
           "[7] S> 221\n"
           "[7] T 0.900\n"
           "[7] X close\n");
}

static void test_secrets(void **state)
{
    (void)state;
    struct trace_talk *t = trace_talk_begin(1, "mx.x", "::1", 0);
    trace_talk_secured(t, "TLSv1.3:X", 0);
    say(t, "AUTH PLAIN AGEAYg==\r\n", 0);
    hear(t, "535 no\r\n", 0);
    say(t, "AUTH LOGIN\r\n", 0);
    hear(t, "334 VXNlcm5hbWU6\r\n", 0);
    say(t, "YQ==\r\n", 0);
    hear(t, "334 UGFzc3dvcmQ6\r\n", 0);
    say(t, "secret\r\n", 0);
    hear(t, "235 ok\r\n", 0);
    say(t, "AUTH PLAIN Uncompleted", 0);
    trace_talk_end(t, NULL, 0);
    expect("[1] # mx.x ::1\n"
           "[1] tls\n"
           "[1] # TLSv1.3:X\n"
           "[1] C: AUTH PLAIN *\n"
           "[1] S: 535 no\n"
           "[1] C: AUTH LOGIN\n"
           "[1] S: 334 VXNlcm5hbWU6\n"
           "[1] C: *\n"
           "[1] S: 334 UGFzc3dvcmQ6\n"
           "[1] C: *\n"
           "[1] S: 235 ok\n"
           "[1] # closed by us\n");
}

static void test_bodies(void **state)
{
    (void)state;
    struct trace_talk *t = trace_talk_begin(2, "m", "a", 0);
    hear(t, "354 go\r\n", 0);
    say(t, ".\r\n", 0); /* the lone dot: RFC 2920 3.1 */
    hear(t, "250 ok\r\n354 go\r\n", 0);
    say(t, "\r\n\r\n.\r\nMAIL FROM:<>\r\n", 0);
    hear(t, "354 go\r\n", 0);
    say(t, "half", 0);
    trace_talk_end(t, "reset", 0);
    expect("[2] # m a\n"
           "[2] S: 354 go\n"
           "[2] C: .\n"
           "[2] S: 250 ok\n"
           "[2] S: 354 go\n"
           "[2] C> {body}\n"
           "[2] C: .\n"
           "[2] C: MAIL FROM:<>\n"
           "[2] S: 354 go\n"
           "[2] # in the body, 4 bytes\n"
           "[2] X reset\n");
}

static void test_chunks(void **state)
{
    (void)state;
    struct trace_talk *t = trace_talk_begin(3, "m", "a", 0);
    say(t, "BDAT 9 LAST\r\n\r\n.\r\nab\r\nMAIL FROM:<>\r\n", 0);
    hear(t, "250 ok\r\n", 0);
    say(t, "BDAT 0 LAST\r\nQUIT\r\nBDAT 5 LAST\r\nhalf", 0);
    trace_talk_end(t, "reset", 0);
    expect("[3] # m a\n"
           "[3] C: BDAT 9 LAST\n"
           "[3] C> {body}\n"
           "[3] C: MAIL FROM:<>\n"
           "[3] S: 250 ok\n"
           "[3] C: BDAT 0 LAST\n"
           "[3] C: QUIT\n"
           "[3] C: BDAT 5 LAST\n"
           "[3] # in the body, 4 bytes\n"
           "[3] X reset\n");
}

static void test_words(void **state)
{
    (void)state;
    unsigned traces;
    assert_true(trace_parse(SPAN("smtp"), &traces));
    assert_int_equal(traces, TRACE_SMTP);
    assert_true(trace_parse(SPAN("smtp,smtp"), &traces));
    assert_false(trace_parse(SPAN(""), &traces));
    assert_false(trace_parse(SPAN("smtp,"), &traces));
    assert_false(trace_parse(SPAN("smpt"), &traces));
}

static void test_off(void **state)
{
    (void)state;
    assert_false(trace_on(TRACE_SMTP));
    assert_null(trace_talk_begin(1, "m", "a", 0));
    trace_talk_heard(NULL, "x", 1, 0);
    trace_talk_said(NULL, NULL, 0, 0);
    trace_talk_secured(NULL, "", 0);
    trace_talk_end(NULL, NULL, 0);
    struct fault f = {0};
    assert_false(trace_begin(TRACE_SMTP, "/nowhere/trace", &f));
    assert_int_equal(f.code, -20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_dialogue, begin, end),
        cmocka_unit_test_setup_teardown(test_secrets, begin, end),
        cmocka_unit_test_setup_teardown(test_bodies, begin, end),
        cmocka_unit_test_setup_teardown(test_chunks, begin, end),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
