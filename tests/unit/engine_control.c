/* The lines of the control socket, and the socket itself between two threads: every
 * command, who speaks nonsense or nothing, a directory whose path is too long for an
 * address, a socket that a dead process left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/control.h"
#include "engine/reason.h"
#include "engine/status.h"

#define ROW UINT32_MAX /* that `why` is asked for */

/* ---- a job's side on a thread of its own ---- */

static struct {
    char path[300];
    int fd;
    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t stop;
    struct control *control;
    int asked[CONTROL_UNKNOWN];
} job;

static bool on_command(void *arg, enum control_command command, uint32_t row,
                       struct buf *answer)
{
    assert_ptr_equal(arg, &job);
    assert_int_equal(row, command == CONTROL_WHY ? ROW : 0);
    job.asked[command]++;
    if (command == CONTROL_CANCEL)
        buf_add_str(answer, "it is stopping already");
    else
        buf_printf(answer, "%s\nand more\n", control_line(command));
    return command != CONTROL_CANCEL;
}

static void on_stop(uv_async_t *stop)
{
    control_close(job.control);
    uv_close((uv_handle_t *)stop, NULL);
}

static void run(void *arg)
{
    (void)arg;
    uv_run(&job.loop, UV_RUN_DEFAULT);
}

static void start(void)
{
    struct fault f = {0};
    job.fd = open(job.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(job.fd >= 0);
    uv_loop_init(&job.loop);
    uv_async_init(&job.loop, &job.stop, on_stop);
    job.control = control_open(&job.loop, job.path, job.fd, on_command, &job, &f);
    if (!job.control)
        fail_msg("%s", f.words);
    uv_thread_create(&job.thread, run, NULL);
}

static void stop(void)
{
    uv_async_send(&job.stop);
    uv_thread_join(&job.thread);
    assert_int_equal(uv_loop_close(&job.loop), 0);
    close(job.fd);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(job.path, sizeof job.path, "/tmp/engine_control.XXXXXX");
    return !mkdtemp(job.path);
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(job.path);
}

static enum control_result ask(enum control_command command, const char *answer)
{
    struct buf heard = {0};
    struct fault f = {0};
    enum control_result result =
        control_ask(job.path, command, command == CONTROL_WHY ? ROW : 0, &heard, &f);
    assert_string_equal(buf_cstr(&heard), answer);
    buf_finish(&heard);
    return result;
}

static int connect_plainly(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/control", job.path);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(s, (struct sockaddr *)&address, sizeof address), 0);
    return s;
}

/* ---- tests ---- */

static void lines(void **state)
{
    (void)state;
    uint32_t row;
    for (int i = 0; i < CONTROL_UNKNOWN; i++)
        assert_int_equal(
            control_parse(span_of(control_line((enum control_command)i)), &row), i);
    assert_int_equal(control_parse(SPAN("why 17"), &row), CONTROL_WHY);
    assert_int_equal(row, 17);
    assert_int_equal(control_parse(SPAN("why 4294967295"), &row), CONTROL_WHY);
    assert_int_equal(row, UINT32_MAX);
    static const char *const others[] = {"",
                                         "Status",
                                         "status ",
                                         "pause\r",
                                         "status json x",
                                         "continued",
                                         "why ",
                                         "why x",
                                         "why -1",
                                         "why 1 ",
                                         "why  1",
                                         "why 4294967296",
                                         "Why 17",
                                         "why17",
                                         "pause 1",
                                         "why 99999999999999999999"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_int_equal(control_parse(span_of(others[i]), &row), CONTROL_UNKNOWN);
}

static void every_command(void **state)
{
    (void)state;
    memset(job.asked, 0, sizeof job.asked);
    start();
    struct stat st;
    assert_int_equal(fstatat(job.fd, "control", &st, 0), 0);
    assert_int_equal(st.st_mode, S_IFSOCK | 0600);
    assert_int_equal(ask(CONTROL_STATUS, "status\nand more\n"), CONTROL_OK);
    assert_int_equal(ask(CONTROL_STATUS_JSON, "status json\nand more\n"), CONTROL_OK);
    assert_int_equal(ask(CONTROL_WHY, "why\nand more\n"), CONTROL_OK);
    assert_int_equal(ask(CONTROL_PAUSE, "pause\nand more\n"), CONTROL_OK);
    assert_int_equal(ask(CONTROL_CONTINUE, "continue\nand more\n"), CONTROL_OK);
    assert_int_equal(ask(CONTROL_RELOAD, "reload\nand more\n"), CONTROL_OK);
    assert_int_equal(ask(CONTROL_CANCEL, "it is stopping already"), CONTROL_REFUSED);
    stop();
    for (int i = 0; i < CONTROL_UNKNOWN; i++)
        assert_int_equal(job.asked[i], 1);
    assert_int_equal(ask(CONTROL_STATUS, ""), CONTROL_NOBODY);
}

static void say(int s, const char *text, const char *answer)
{
    char heard[64] = "";
    assert_int_equal(send(s, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    ssize_t n = read(s, heard, sizeof heard - 1);
    assert_true(n >= 0);
    assert_string_equal(heard, answer);
    close(s);
}

static void nonsense(void **state)
{
    (void)state;
    memset(job.asked, 0, sizeof job.asked);
    start();
    say(connect_plainly(), "pause now\n", "no such command\n");
    say(connect_plainly(),
        "a line that is longer than any command could ever be, and so is no command",
        "no such command\n");
    close(connect_plainly());
    int silent[40]; /* they hold nobody up: the oldest has to go */
    for (int i = 0; i < 40; i++)
        silent[i] = connect_plainly();
    char byte;
    assert_int_equal(read(silent[0], &byte, 1), 0);
    assert_int_equal(ask(CONTROL_PAUSE, "pause\nand more\n"), CONTROL_OK);
    int in_pieces = connect_plainly();
    assert_int_equal(send(in_pieces, "pau", 3, 0), 3);
    say(in_pieces, "se\nrest", "ok 15\npause\nand more\n");
    stop(); /* some are still there */
    for (int i = 0; i < 40; i++)
        close(silent[i]);
    assert_int_equal(job.asked[CONTROL_PAUSE], 2);
}

/* A job that ends while it answers: whatever has come of it is no answer. */
static void answer_in_part(void *arg)
{
    const int *listener = arg;
    static const char whole[] = "ok 15\npause\nand more\n";
    for (size_t n = 0; n < sizeof whole; n++) {
        char line[16];
        int s = accept(*listener, NULL, NULL);
        if (read(s, line, sizeof line) <= 0 || write(s, whole, n) != (ssize_t)n)
            abort();
        close(s);
    }
}

static void cut_short(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/control", job.path);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s, 1), 0);
    uv_thread_t thread;
    uv_thread_create(&thread, answer_in_part, &s);
    for (int i = 0; i < 21; i++)
        assert_int_equal(ask(CONTROL_PAUSE, ""), CONTROL_NOBODY);
    assert_int_equal(ask(CONTROL_PAUSE, "pause\nand more\n"), CONTROL_OK);
    uv_thread_join(&thread);
    close(s);
    assert_int_equal(unlink(address.sun_path), 0);
}

static void a_dead_ones(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/control", job.path);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof address), 0);
    close(s);
    assert_int_equal(ask(CONTROL_STATUS, ""), CONTROL_NOBODY);
    start();
    assert_int_equal(ask(CONTROL_STATUS, "status\nand more\n"), CONTROL_OK);
    stop();
    assert_int_equal(ask(CONTROL_STATUS, ""), CONTROL_NOBODY);
}

static void a_long_path(void **state)
{
    (void)state;
    char outer[300];
    snprintf(outer, sizeof outer, "%s", job.path);
    snprintf(job.path, sizeof job.path, "%.100s/%0150d", outer, 1);
    assert_int_equal(mkdir(job.path, 0700), 0);
    start();
    assert_int_equal(ask(CONTROL_STATUS, "status\nand more\n"), CONTROL_OK);
    stop();
    assert_int_equal(ask(CONTROL_STATUS, ""), CONTROL_NOBODY);
    assert_int_equal(rmdir(job.path), 0);
    snprintf(job.path, sizeof job.path, "%s", outer);
}

static void no_directory(void **state)
{
    (void)state;
    struct buf heard = {0};
    struct fault f = {0};
    assert_int_equal(control_ask("/nowhere", CONTROL_STATUS, 0, &heard, &f),
                     CONTROL_NOBODY);
    buf_finish(&heard);
}

static void same_text(struct buf *text, const char *expected)
{
    assert_string_equal(buf_cstr(text), expected);
    buf_finish(text);
}

/* On the run's clock it is 1,000 s, on the wall's 1970-01-01 12:00 UTC, 21:00 here. */
static const struct moment noon = {1000000000, 12 * 3600 * 1000};

static void status_is_told(void **state)
{
    (void)state;
    struct status s = {.job = "news",
                       .state = ENGINE_NETWORK_DOWN,
                       .reason = SPAN("why"),
                       .jobs = 3,
                       .totals = {10, 4, 3, 2, 1, 5, 6},
                       .now = noon};
    struct buf out = {0};
    status_json(&s, &out);
    same_text(
        &out,
        "{\"job\":\"news\",\"state\":\"network-down\",\"reason\":\"why\",\"jobs\":3,"
        "\"rows\":10,"
        "\"delivered\":4,\"error\":3,\"absent\":2,\"pending\":1,\"in_doubt\":5,"
        "\"assumed\":6,\"until\":null,\"resolving\":0,\"retrying\":0,"
        "\"next_attempt\":null,\"lookups\":[],\"sites\":[],\"more_sites\":0,"
        "\"more_rows\":0}\n");
    s.until_ms = noon.wall_ms + 3600 * 1000;
    s.scheduler = (struct scheduler_stats){
        .asking = 2, .waiting = 3, .due_us = noon.us + 1500000};
    status_json(&s, &out);
    assert_non_null(
        strstr(buf_cstr(&out),
               "\"until\":\"1970-01-01T13:00:00.000Z\",\"resolving\":2,"
               "\"retrying\":3,\"next_attempt\":\"1970-01-01T12:00:01.500Z\","));
    buf_reset(&out);
    status_text(&s, &out);
    same_text(
        &out,
        "job news: network-down (why until 1970-01-01 22:00:00)\n"
        "rows 10 = delivered 4 + error 3 + absent 2 + pending 1 (in-doubt 5, "
        "assumed 6)\n"
        "3 jobs of this spool run: they share connections and rates\n"
        "  3 rows wait for their next attempt, the first at 1970-01-01 21:00:02\n");
}

/* A site as an object, and as a line. */
static void site_is_told(struct site_view site, const char *object, const char *line)
{
    struct status s = {
        .job = "news", .survey = {.sites = &site, .sites_n = 1}, .now = noon};
    struct buf out = {0};
    status_json(&s, &out);
    const char *sites = strstr(buf_cstr(&out), "\"sites\":[");
    assert_non_null(sites);
    char *end = strstr(sites, "],\"more_sites\"");
    assert_non_null(end);
    *end = '\0';
    assert_string_equal(sites + strlen("\"sites\":["), object);
    buf_reset(&out);
    status_site(&site, &noon, &out);
    same_text(&out, line);
}

static void sites_are_told(void **state)
{
    (void)state;
    struct site_view all = {.name = "mx.\"a\\b\t",
                            .waiting = 7,
                            .retrying = 3,
                            .due_us = noon.us + 2000000,
                            .connections = 2,
                            .window = 5,
                            .lacks = LACK_RATE | LACK_PATH,
                            .until_us = noon.us + 60000000,
                            .why = "rule 421 f.conf:9 after 421 4.7.0 no"};
    site_is_told(
        all,
        "{\"name\":\"mx.\\\"a\\\\b\\u0009\",\"waiting\":7,\"retrying\":3,"
        "\"due\":\"1970-01-01T12:00:02.000Z\",\"connections\":2,\"window\":5,"
        "\"reason\":\"3 wait for their next attempt, the first at "
        "1970-01-01T12:00:02.000Z; suspended, rate until 1970-01-01T12:01:00.000Z: "
        "rule 421 f.conf:9 after 421 4.7.0 no\","
        "\"reasons\":[\"suspended\",\"rate\",\"next-attempt\"],"
        "\"until\":\"1970-01-01T12:01:00.000Z\",\"rule\":\"421 f.conf:9\","
        "\"reply\":\"421 4.7.0 no\"}",
        "  mx.\"a\\b\t                               10 rows  2/5 connections  3 wait "
        "for "
        "their next attempt, the first at 1970-01-01 21:00:02; suspended, rate until "
        "1970-01-01 21:01:00: rule 421 f.conf:9 after 421 4.7.0 no");
    site_is_told((struct site_view){.name = "b", .waiting = 1},
                 "{\"name\":\"b\",\"waiting\":1,\"retrying\":0,\"due\":null,"
                 "\"connections\":0,\"window\":0,\"reason\":\"sending\","
                 "\"reasons\":[\"sending\"],\"until\":null,\"rule\":null,"
                 "\"reply\":null}",
                 "  b                                       1 rows  0/0 connections  "
                 "sending");
    /* Nobody lets us in; and words that were cut within a character. */
    site_is_told((struct site_view){.name = "c",
                                    .retrying = 2,
                                    .due_us = noon.us + 2000000,
                                    .window = 1,
                                    .lacks = LACK_ROUND,
                                    .why = "after 554 \xe3\x81\x82\xe3\x81"},
                 "{\"name\":\"c\",\"waiting\":0,\"retrying\":2,"
                 "\"due\":\"1970-01-01T12:00:02.000Z\",\"connections\":0,\"window\":1,"
                 "\"reason\":\"next attempt at 1970-01-01T12:00:02.000Z; no "
                 "connection, waiting for the next round: after 554 "
                 "\xe3\x81\x82\\ufffd\\ufffd\","
                 "\"reasons\":[\"no-connection\",\"next-attempt\"],\"until\":null,"
                 "\"rule\":null,\"reply\":\"554 \xe3\x81\x82\\ufffd\\ufffd\"}",
                 "  c                                       2 rows  0/1 connections  "
                 "next attempt at 1970-01-01 21:00:02; no connection, waiting for the "
                 "next round: after 554 \xe3\x81\x82\xe3\x81");
    site_is_told((struct site_view){.name = "d", .retrying = 2, .due_us = noon.us},
                 "{\"name\":\"d\",\"waiting\":0,\"retrying\":2,"
                 "\"due\":\"1970-01-01T12:00:00.000Z\",\"connections\":0,\"window\":0,"
                 "\"reason\":\"next attempt at 1970-01-01T12:00:00.000Z\","
                 "\"reasons\":[\"next-attempt\"],\"until\":null,\"rule\":null,"
                 "\"reply\":null}",
                 "  d                                       2 rows  0/0 connections  "
                 "next attempt at 1970-01-01 21:00:00");
    site_is_told(
        (struct site_view){.name = "e", .waiting = 1, .retrying = 1, .due_us = noon.us},
        "{\"name\":\"e\",\"waiting\":1,\"retrying\":1,"
        "\"due\":\"1970-01-01T12:00:00.000Z\",\"connections\":0,\"window\":0,"
        "\"reason\":\"1 wait for their next attempt, the first at "
        "1970-01-01T12:00:00.000Z; sending\","
        "\"reasons\":[\"sending\",\"next-attempt\"],\"until\":null,"
        "\"rule\":null,\"reply\":null}",
        "  e                                       2 rows  0/0 connections  "
        "1 wait for their next attempt, the first at 1970-01-01 21:00:00; "
        "sending");
}

static void what_has_no_site_is_told(void **state)
{
    (void)state;
    struct site_view site = {.name = "b", .waiting = 1};
    struct status s = {
        .job = "news",
        .state = ENGINE_RUNNING,
        .survey = {.sites = &site,
                   .sites_n = 1,
                   .more_sites = 2,
                   .more_rows = 5,
                   .lookups = {[LOOKUP_ASKED] = {.rows = 2,
                                                 .domains = 1,
                                                 .domain = "a"},
                               [LOOKUP_MUTE] = {.rows = 3,
                                                .domains = 2,
                                                .domain = "m",
                                                .due_us = noon.us + 1000000},
                               [LOOKUP_FAILED] = {.rows = 4,
                                                  .domains = 1,
                                                  .domain = "f",
                                                  .due_us = noon.us + 2000000},
                               [LOOKUP_LATER] = {.rows = 1,
                                                 .domains = 1,
                                                 .domain = "l",
                                                 .due_us = noon.us}}},
        .now = noon};
    struct buf out = {0};
    status_json(&s, &out);
    assert_non_null(strstr(
        buf_cstr(&out),
        "\"lookups\":[{\"reason\":\"no-name-server\",\"rows\":3,\"domains\":2,"
        "\"domain\":\"m\",\"due\":\"1970-01-01T12:00:01.000Z\"},"
        "{\"reason\":\"being-looked-up\",\"rows\":2,\"domains\":1,\"domain\":\"a\","
        "\"due\":null},{\"reason\":\"lookup-failed\",\"rows\":4,\"domains\":1,"
        "\"domain\":\"f\",\"due\":\"1970-01-01T12:00:02.000Z\"},"
        "{\"reason\":\"not-looked-up\",\"rows\":1,\"domains\":1,\"domain\":\"l\","
        "\"due\":\"1970-01-01T12:00:00.000Z\"}],\"sites\":["));
    assert_non_null(strstr(buf_cstr(&out), "}],\"more_sites\":2,\"more_rows\":5}\n"));
    buf_reset(&out);
    status_text(&s, &out);
    same_text(
        &out,
        "job news: running\n"
        "rows 0 = delivered 0 + error 0 + absent 0 + pending 0 (in-doubt 0, "
        "assumed 0)\n"
        "  resolver                                3 rows  2 domains  no name "
        "server answers, asked again at 1970-01-01 21:00:01: m and others\n"
        "  resolver                                2 rows  1 domain  being looked "
        "up: a\n"
        "  resolver                                4 rows  1 domain  lookup "
        "failed, next attempt at 1970-01-01 21:00:02: f\n"
        "  resolver                                1 rows  1 domain  not looked "
        "up in this run, next attempt at 1970-01-01 21:00:00: l\n"
        "  b                                       1 rows  0/0 connections  "
        "sending\n"
        "  and 2 sites more, with 5 rows\n");
}

static void taken_apart(const char *why, const char *rule, const char *reply)
{
    struct reason reason = reason_split(why);
    assert_true(span_equal(reason.rule, span_of(rule)));
    assert_true(span_equal(reason.reply, span_of(reply)));
}

static void reasons_are_taken_apart(void **state)
{
    (void)state;
    struct buf why = {0};
    reason_add(&why, "4.7.28 /etc/a after b.conf:3", 421,
               SPAN("4.7.28 look after 421 others"), 100);
    assert_string_equal(
        buf_cstr(&why),
        "rule 4.7.28 /etc/a after b.conf:3 after 421 4.7.28 look after 421 others");
    taken_apart(buf_cstr(&why), "4.7.28 /etc/a after b.conf:3",
                "421 4.7.28 look after 421 others");
    buf_reset(&why);
    reason_add(&why, NULL, 601, SPAN("refused\n\xe3\x81\x82"), 12);
    assert_string_equal(buf_cstr(&why), "after 601 refused\\x0a");
    taken_apart(buf_cstr(&why), "", "601 refused\\x0a");
    buf_reset(&why);
    reason_add(&why, "r", 554, (struct span){0}, 12);
    taken_apart(buf_cstr(&why), "r", "554");
    buf_finish(&why);
    taken_apart(NULL, "", "");
    taken_apart("", "", "");
    taken_apart("it refuses us again and again", "", "");
    taken_apart("after 42", "", "");
    taken_apart("after 4210 no", "", "");
    taken_apart("after ", "", "");
    taken_apart("rule r after 42", "r after 42", ""); /* as it was cut */
}

static void told(const struct row_view *row, const char *source, const char *expected)
{
    struct buf out = {0};
    status_row(row, source, &noon, &out);
    same_text(&out, expected);
}

static void a_row_is_told(void **state)
{
    (void)state;
    struct row_view row = {.state = ROW_FINAL};
    told(&row, NULL, "final\nIt has its result.\n");
    row.state = ROW_LENT;
    told(&row, "a", "lent\nIt leaves from source a, as before.\n");
    row.state = ROW_ASKING;
    told(&row, NULL, "asking\nIts domain waits to be looked up.\n");
    row.asked = true;
    told(&row, NULL, "asking\nIts domain is being looked up.\n");
    row.due_us = noon.us + 10000000;
    told(&row, NULL,
         "asking\nNo name server answers; its domain is looked up again at "
         "1970-01-01T12:00:10.000Z.\n");
    row.site = (struct site_view){
        .name = "mx.example", .waiting = 7, .connections = 2, .window = 5};
    row.state = ROW_READY;
    told(&row, NULL,
         "ready\nIt waits for its turn at mx.example: sending.\n"
         "There 7 rows are on their way or wait, with 2 of 5 connections.\n");
    row.state = ROW_WAITING;
    told(&row, NULL,
         "waiting\nIt waits for its next attempt, at 1970-01-01T12:00:10.000Z (in 10 "
         "seconds) or later.\n");
    row.failed = 710;
    told(&row, NULL,
         "waiting\nIt waits for its next attempt, at 1970-01-01T12:00:10.000Z (in 10 "
         "seconds) or later.\n"
         "Its domain could not be looked up (710); that is tried again then.\n");
    row.failed = 0;
    row.site.lacks = LACK_PATH;
    row.site.why = "rule r after 421";
    row.site.until_us = noon.us + 60000000;
    told(&row, NULL,
         "waiting\nIt waits for its next attempt, at 1970-01-01T12:00:10.000Z (in 10 "
         "seconds) or later.\n"
         "Nor before this ends at mx.example: suspended until "
         "1970-01-01T12:01:00.000Z: rule r after 421.\n"
         "There 7 rows are on their way or wait, with 2 of 5 connections.\n");
    row.due_us = row.site.until_us;
    row.site.waiting = 0;
    told(&row, NULL,
         "waiting\nIt waits for its next attempt, at 1970-01-01T12:01:00.000Z (in 60 "
         "seconds) or later.\n"
         "Meanwhile, at mx.example: suspended until 1970-01-01T12:01:00.000Z: rule r "
         "after 421.\n");
    struct buf out = {0};
    status_whole(ENGINE_RUNNING, (struct span){0}, 0, &out);
    assert_int_equal(out.n, 0);
    status_whole(ENGINE_PAUSED, SPAN("quiet hours"), noon.wall_ms, &out);
    same_text(&out, "The job is paused: quiet hours until 1970-01-01T12:00:00.000Z.\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(every_command),
        cmocka_unit_test(nonsense),
        cmocka_unit_test(cut_short),
        cmocka_unit_test(a_dead_ones),
        cmocka_unit_test(a_long_path),
        cmocka_unit_test(no_directory),
        cmocka_unit_test(status_is_told),
        cmocka_unit_test(sites_are_told),
        cmocka_unit_test(what_has_no_site_is_told),
        cmocka_unit_test(reasons_are_taken_apart),
        cmocka_unit_test(a_row_is_told),
    };
    setenv("TZ", "JST-9", 1);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
