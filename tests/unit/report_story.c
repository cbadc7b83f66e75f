/* Stories: each kind of line becomes its sentences, exactly; leases, events and damage
 * are told to the rows that they concern and to no others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report/results.h"
#include "report/story.h"

static char dir[] = "/tmp/hikyaku-story-XXXXXX";
static char path[sizeof dir + 32];
static struct attempts *attempts;
static int64_t clock_ms;

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/attempts.tsv", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

/* The time of line n is n seconds past 1970. */
static int begin(void **state)
{
    (void)state;
    struct fault f = {0};
    attempts = attempts_create(path, &f);
    clock_ms = 0;
    return attempts ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    attempts_close(attempts);
    return unlink(path);
}

static struct attempt line_of(uint32_t row, uint32_t attempt, int code,
                              const char *stage, enum outcome outcome)
{
    struct attempt line;
    attempt_init(&line);
    line.time_ms = clock_ms += 1000;
    line.row = row;
    line.attempt = attempt;
    line.code = code;
    line.class = code == 250 ? CLASS_NONE : CLASS_BE;
    line.stage = stage;
    line.outcome = outcome;
    return line;
}

static void add(const struct attempt *line)
{
    struct fault f = {0};
    attempts_append(attempts, line);
    assert_true(attempts_write(attempts, &f));
}

static void lend(const char *ranges, const char *site)
{
    struct attempt line = line_of(0, 0, 0, NULL, OUTCOME_LEASE);
    line.site = span_of(site);
    line.message = span_of(ranges);
    add(&line);
}

static void happen(enum run_event what, const char *reason)
{
    struct fault f = {0};
    attempts_event(attempts, clock_ms += 1000, what, span_of(reason));
    assert_true(attempts_write(attempts, &f));
}

/* Sent over a host of its own site. */
static void settle(uint32_t row, uint32_t attempt, int code, const char *stage,
                   enum outcome outcome, unsigned flags)
{
    struct attempt line = line_of(row, attempt, code, stage, outcome);
    line.flags = flags;
    line.site = line.mx_host = SPAN("mx.x");
    line.message = SPAN("words");
    add(&line);
}

static uint64_t log_size(void)
{
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    return (uint64_t)s.st_size;
}

/* The story of row 5, while others are told beside it. */
static struct story read_to(uint64_t size, bool japanese)
{
    struct fault f = {0};
    struct story stories[] = {{.row = 2}, {.row = 5}, {.row = 9}};
    assert_true(stories_read(path, size, stories, 3, japanese, &f));
    story_finish(&stories[0]);
    story_finish(&stories[2]);
    return stories[1];
}

static void expect(const char *want)
{
    struct story story = read_to(log_size(), false);
    assert_string_equal(buf_cstr(&story.text), want);
    story_finish(&story);
}

static void attempts_are_told(void **state)
{
    (void)state;
    struct attempt line = line_of(5, 1, 450, "wait-rcpt", OUTCOME_RETRY);
    line.site = SPAN("site.x");
    line.mx_host = SPAN("mx.x");
    line.mx_address = SPAN("192.0.2.1");
    line.tls = SPAN("TLSv1.3 AES");
    line.source = SPAN("192.0.2.9");
    line.flags = FLAG_REUSED;
    line.status = "4.7.1";
    line.message = SPAN("4.7.1 come \"later\"");
    line.next_attempt_ms = 9000;
    line.timings_us[TIMING_CONNECT] = 99999;
    line.timings_us[TIMING_STAGES + SMTP_OPENING] = 1000000;
    line.timings_us[TIMING_STAGES + SMTP_MAIL] = 100000;
    add(&line);
    line = line_of(5, 2, 451, "wait-data", OUTCOME_RETRY);
    line.class = CLASS_LE;
    line.mx_address = SPAN("192.0.2.1");
    line.flags = FLAG_RELAY;
    line.timings_us[TIMING_STAGES + SMTP_MAIL] = 999999;
    add(&line);
    line = line_of(5, 2, 607, "retry-limit", OUTCOME_ERROR);
    line.last_code = 451;
    line.message = SPAN("full");
    add(&line);
    expect("1970-01-01T00:00:01.000Z  attempt 1: not yet\n"
           "  mx.x [192.0.2.1] answered 450 to RCPT TO: \"4.7.1 come \"later\"\"\n"
           "  450 4.7.1 (BE, the recipient's side): mailbox unavailable for now\n"
           "  under TLSv1.3 AES, not the first message of its connection, from "
           "192.0.2.9, site site.x\n"
           "  slow: greeting 1.0 s, mail 0.1 s\n"
           "  next attempt not before 1970-01-01T00:00:09.000Z\n"
           "1970-01-01T00:00:02.000Z  attempt 2: not yet\n"
           "  our relay [192.0.2.1] answered 451 to DATA\n"
           "  451 (LE, our relay): error inside the receiving server\n"
           "  in clear\n"
           "1970-01-01T00:00:03.000Z  given up after attempt 2\n"
           "  the last trouble was 451: \"full\"\n"
           "  607 (BE, the recipient's side): number of tries used up\n");
}

static void doubt_is_told(void **state)
{
    (void)state;
    settle(5, 1, 645, "wait-end", OUTCOME_RETRY, FLAG_IN_DOUBT);
    settle(5, 2, 250, "wait-end", OUTCOME_DELIVERED, 0);
    expect("1970-01-01T00:00:01.000Z  attempt 1: not yet\n"
           "  mx.x, step wait-end: \"words\"\n"
           "  645 (BE, the recipient's side): time ran out awaiting the reply to the "
           "final dot\n"
           "  in doubt: the end of the message may have left and no whole reply to it "
           "was read, so the\n"
           "  mail may have arrived\n"
           "1970-01-01T00:00:02.000Z  attempt 2: delivered\n"
           "  mx.x answered 250 to the end of the message: \"words\"\n"
           "  250: final dot answered 2xx, receiver took the message\n"
           "  an earlier attempt was in doubt: this may be the second copy\n");
}

static void assumed_is_not_said_by_the_server(void **state)
{
    (void)state;
    settle(5, 1, 250, "wait-end-assumed", OUTCOME_DELIVERED,
           FLAG_IN_DOUBT | FLAG_ASSUMED);
    expect("1970-01-01T00:00:01.000Z  attempt 1: counted as delivered\n"
           "  mx.x, step wait-end-assumed: \"words\"\n"
           "  250: no reply after final dot in time, counted as delivered by policy\n"
           "  in doubt: the end of the message may have left and no whole reply to it "
           "was read, so the\n"
           "  mail may have arrived\n"
           "  assumed: the setting end_timeout or in_doubt says delivered, not the "
           "server\n");
}

static void unknown_codes_have_no_meaning(void **state)
{
    (void)state;
    settle(5, 1, 599, "wait-rcpt", OUTCOME_ERROR, 0);
    expect("1970-01-01T00:00:01.000Z  attempt 1: failed for good (error)\n"
           "  mx.x answered 599 to RCPT TO: \"words\"\n"
           "  599 (BE, the recipient's side): a reply that is in no table\n");
}

static void leases_are_told_when_nothing_came_of_them(void **state)
{
    (void)state;
    lend("1-9", "mx.a");     /* 1: comes back */
    lend("3-4,6-8", "mx.z"); /* not about row 5 */
    lend("3,5", "mx.b");     /* 3: stopped with it */
    happen(RUN_STOPPED, "");
    lend("4-5", "mx.c"); /* 5: ends in an attempt: no word */
    settle(5, 1, 450, "wait-rcpt", OUTCOME_RETRY, 0);
    lend("5", "mx.d"); /* 7: the run died */
    happen(RUN_RESUMED, "");
    lend("2-5", "mx.e"); /* 9: it is out now */
    struct story story = read_to(log_size(), true);
    assert_string_equal(
        buf_cstr(&story.text),
        "1970-01-01T00:00:01.000Z  handed to a connection of mx.a; it came back "
        "untried\n"
        "1970-01-01T00:00:03.000Z  handed to a connection of mx.b; it came back "
        "untried\n"
        "1970-01-01T00:00:04.000Z  the run was stopped, this row was pending\n"
        "1970-01-01T00:00:06.000Z  attempt 1: not yet\n"
        "  mx.x answered 450 to RCPT TO: \"words\"\n"
        "  450 (BE, the recipient's side): メールボックスが一時的に使えない\n"
        "1970-01-01T00:00:07.000Z  handed to a connection of mx.d; that run ended "
        "before "
        "the mail had left\n"
        "1970-01-01T00:00:08.000Z  the job was resumed\n");
    assert_int_equal(story.lent_ms, 9000);
    assert_string_equal(buf_cstr(&story.site), "mx.e");
    story_finish(&story);
}

static void events_concern_pending_rows(void **state)
{
    (void)state;
    happen(RUN_CANCELLED, "too much");
    happen(RUN_STOPPED, ""); /* it is not pending now */
    happen(RUN_RETRY, "");
    settle(5, 1, 250, "wait-end", OUTCOME_DELIVERED, 0);
    happen(RUN_STOPPED, "");
    happen(RUN_RESUMED, "");
    happen(RUN_CANCELLED, "again");
    happen(RUN_RETRY, "");
    happen(RUN_FINISHED, "");
    expect("1970-01-01T00:00:01.000Z  everything that was pending was cancelled\n"
           "  -11 (LE, our side), the reason: \"too much\"\n"
           "1970-01-01T00:00:03.000Z  cancelled rows were taken up again\n"
           "1970-01-01T00:00:04.000Z  attempt 1: delivered\n"
           "  mx.x answered 250 to the end of the message: \"words\"\n"
           "  250: final dot answered 2xx, receiver took the message\n");
}

static void damage_is_no_certainty(void **state)
{
    (void)state;
    settle(9, 1, 450, "wait-rcpt", OUTCOME_RETRY,
           0); /* will be damaged, concerns nobody */
    uint64_t first = log_size() - 3;
    lend("5", "mx.a");
    settle(2, 1, 450, "wait-rcpt", OUTCOME_RETRY, 0); /* will be damaged */
    uint64_t second = log_size() - 3;
    happen(RUN_RESUMED, "");
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    for (int i = 0; i < 2; i++) {
        fseek(file, (long)(i ? second : first), SEEK_SET);
        fputc('!', file);
    }
    fclose(file);
    expect(
        "A damaged line stands here in the log. It may have been about this row.\n"
        "1970-01-01T00:00:02.000Z  handed to a connection of mx.a; what came of it is "
        "not known\n"
        "1970-01-01T00:00:04.000Z  the job was resumed\n");
}

/* What a running job wrote since the results were read is not told. */
static void the_story_ends_with_the_results(void **state)
{
    (void)state;
    struct fault f = {0};
    settle(5, 1, 450, "wait-rcpt", OUTCOME_RETRY, 0);
    struct results *results = results_load(path, 1, 9, &f);
    assert_non_null(results);
    uint64_t first = log_size();
    assert_int_equal(results_size(results), first);
    settle(5, 2, 250, "wait-end", OUTCOME_DELIVERED, 0);
    struct story story = read_to(results_size(results), false);
    assert_non_null(strstr(buf_cstr(&story.text), "attempt 1"));
    assert_null(strstr(buf_cstr(&story.text), "attempt 2"));
    story_finish(&story);
    results_free(results);

    /* A torn tail was not read either. */
    assert_int_equal(truncate(path, (off_t)log_size() - 1), 0);
    results = results_load(path, 1, 9, &f);
    assert_int_equal(results_size(results), first);
    results_free(results);
    struct story none = {.row = 1};
    assert_false(stories_read("/nowhere", 1, &none, 1, false, &f));
    assert_int_equal(f.code, -20);
    story_finish(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(attempts_are_told, begin, end),
        cmocka_unit_test_setup_teardown(doubt_is_told, begin, end),
        cmocka_unit_test_setup_teardown(assumed_is_not_said_by_the_server, begin, end),
        cmocka_unit_test_setup_teardown(unknown_codes_have_no_meaning, begin, end),
        cmocka_unit_test_setup_teardown(leases_are_told_when_nothing_came_of_them,
                                        begin, end),
        cmocka_unit_test_setup_teardown(events_concern_pending_rows, begin, end),
        cmocka_unit_test_setup_teardown(damage_is_no_certainty, begin, end),
        cmocka_unit_test_setup_teardown(the_story_ends_with_the_results, begin, end),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
