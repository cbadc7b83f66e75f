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
#include "engine/status.h"

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

static void on_command(void *arg, enum control_command command, struct buf *answer)
{
    assert_ptr_equal(arg, &job);
    job.asked[command]++;
    if (command == CONTROL_CANCEL)
        buf_add_str(answer, "no it is stopping already\n");
    else
        buf_printf(answer, "ok\n%s\nand more\n", control_line(command));
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
    enum control_result result = control_ask(job.path, command, &heard, &f);
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
    for (int i = 0; i < CONTROL_UNKNOWN; i++)
        assert_int_equal(control_parse(span_of(control_line((enum control_command)i))),
                         i);
    static const char *const others[] = {"",        "Status",        "status ",
                                         "pause\r", "status json x", "continued"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_int_equal(control_parse(span_of(others[i])), CONTROL_UNKNOWN);
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
    say(in_pieces, "se\nrest", "ok\npause\nand more\n");
    stop(); /* some are still there */
    for (int i = 0; i < 40; i++)
        close(silent[i]);
    assert_int_equal(job.asked[CONTROL_PAUSE], 2);
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
    assert_int_equal(control_ask("/nowhere", CONTROL_STATUS, &heard, &f),
                     CONTROL_NOBODY);
    buf_finish(&heard);
}

static void status_is_json(void **state)
{
    (void)state;
    struct site_view sites[] = {
        {.name = "mx.\"a\\b\t", .waiting = 7, .connections = 2, .lacks = LACK_WINDOW},
        {.name = "b", .waiting = 1, .connections = 0}};
    struct status s = {.job = "news",
                       .state = ENGINE_NETWORK_DOWN,
                       .reason = SPAN("why"),
                       .jobs = 3,
                       .totals = {10, 4, 3, 2, 1, 5, 6},
                       .sites = sites,
                       .sites_n = 2};
    struct buf out = {0};
    status_json(&s, &out);
    assert_string_equal(
        buf_cstr(&out),
        "{\"job\":\"news\",\"state\":\"network-down\",\"reason\":\"why\",\"jobs\":3,"
        "\"rows\":10,"
        "\"delivered\":4,\"error\":3,\"absent\":2,\"pending\":1,\"in_doubt\":5,"
        "\"assumed\":6,\"sites\":[{\"name\":\"mx.\\\"a\\\\b\\u0009\",\"waiting\":7,"
        "\"connections\":2,\"reason\":\"window\"},{\"name\":\"b\",\"waiting\":1,"
        "\"connections\":0,\"reason\":\"sending\"}]}\n");
    buf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),          cmocka_unit_test(every_command),
        cmocka_unit_test(nonsense),       cmocka_unit_test(a_dead_ones),
        cmocka_unit_test(a_long_path),    cmocka_unit_test(no_directory),
        cmocka_unit_test(status_is_json),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
