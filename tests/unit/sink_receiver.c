/* The receiver on real sockets, with foreign clients: Postfix smtp-source and dig. What
 * is not installed is skipped. And the rehearsal's child: its whole life. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "sink/receiver.h"
#include "sink/rehearsal.h"
#include "sink/serve.h"
#include "sink/spread.h"

static const char smtp_source[] = "/usr/sbin/smtp-source";
static const char dig[] = "/usr/bin/dig";

/* A loop with a receiver that runs while a foreign program does. */
struct stage {
    uv_loop_t loop;
    struct sink_world *world;
    struct receiver *receiver;
    int record; /* an unlinked file */
    int64_t status;
    bool exited;
};

static int temporary_file(void)
{
    char path[] = "/tmp/hikyaku-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

static void stage_open(struct stage *s)
{
    *s = (struct stage){.record = temporary_file()};
    assert_int_equal(uv_loop_init(&s->loop), 0);
    s->world = sink_world_create(s->record, NULL);
    s->receiver = receiver_create(&s->loop, s->world);
}

static void stage_close(struct stage *s)
{
    receiver_close(s->receiver);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(sink_world_counts(s->world)->open, 0);
    sink_world_destroy(s->world);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    close(s->record);
}

static void on_exit_of(uv_process_t *p, int64_t status, int signal)
{
    struct stage *s = p->data;
    s->status = signal ? -signal : status;
    s->exited = true;
    uv_close((uv_handle_t *)p, NULL);
}

/* Run a program to its end; its output goes to out_fd. */
static int run(struct stage *s, int out_fd, const char **argv)
{
    uv_process_t process = {.data = s};
    uv_stdio_container_t io[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = out_fd},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
    };
    uv_process_options_t options = {
        .file = argv[0],
        .args = (char **)argv,
        .stdio = io,
        .stdio_count = 3,
        .exit_cb = on_exit_of,
    };
    s->exited = false;
    assert_int_equal(uv_spawn(&s->loop, &process, &options), 0);
    while (!s->exited || uv_is_active((uv_handle_t *)&process))
        uv_run(&s->loop, UV_RUN_ONCE);
    uv_run(&s->loop, UV_RUN_NOWAIT); /* process' close callback */
    return (int)s->status;
}

static int lines_of(int fd)
{
    char buffer[64 * 1024];
    int lines = 0;
    off_t at = 0;
    for (ssize_t n; (n = pread(fd, buffer, sizeof buffer, at)) > 0; at += n) {
        for (ssize_t i = 0; i < n; i++)
            lines += buffer[i] == '\n';
    }
    return lines;
}

static void blast(const char *mood, int sessions, int messages, bool keep_open)
{
    struct stage s;
    char target[64];
    char sessions_text[16];
    char messages_text[16];
    stage_open(&s);
    int port =
        receiver_listen(s.receiver, "127.0.0.1", 0, sink_mood_find(span_of(mood)));
    assert_in_range(port, 1, 65535);
    snprintf(target, sizeof target, "127.0.0.1:%d", port);
    snprintf(sessions_text, sizeof sessions_text, "%d", sessions);
    snprintf(messages_text, sizeof messages_text, "%d", messages);
    const char *argv[] = {smtp_source,
                          "-s",
                          sessions_text,
                          "-m",
                          messages_text,
                          "-l",
                          "10000",
                          keep_open ? "-d" : target,
                          keep_open ? target : NULL,
                          NULL};
    assert_int_equal(run(&s, 2, argv), 0);
    struct sink_counts *c = sink_world_counts(s.world);
    assert_int_equal(c->messages, messages);
    assert_int_equal(c->recipients, messages);
    assert_int_equal(lines_of(s.record), messages);
    assert_true(c->bytes >= (uint64_t)messages * 10000);
    assert_int_equal(c->bare + c->early + c->bad_commands + c->refused, 0);
    if (keep_open)
        assert_int_equal(c->connections, sessions);
    stage_close(&s);
}

static void test_smtp_source(void **state)
{
    (void)state;
    if (access(smtp_source, X_OK))
        skip();
    blast("accept", 20, 2000, true);
    blast("accept", 20, 200, false);
    blast("old", 5, 50, true);
    blast("distant", 20, 40, true);
}

static void dig_expect(struct stage *s, int port, const char *name, const char *type,
                       const char *expected)
{
    char port_text[16];
    char got[512];
    int out = temporary_file();
    snprintf(port_text, sizeof port_text, "%d", port);
    const char *argv[] = {dig,      "@127.0.0.1", "-p",        port_text,  "+tries=1",
                          "+noall", "+answer",    "+comments", "+nostats", "+nocmd",
                          type,     name,         NULL};
    assert_int_equal(run(s, out, argv), 0);
    ssize_t n = pread(out, got, sizeof got - 1, 0);
    assert_true(n > 0);
    got[n] = '\0';
    if (!strstr(got, expected))
        fail_msg("%s %s: \"%s\" is not in %s", type, name, expected, got);
    assert_null(strstr(got, "malformed"));
    assert_null(strstr(got, "WARNING"));
    close(out);
}

static void test_dig(void **state)
{
    (void)state;
    if (access(dig, X_OK))
        skip();
    struct stage s;
    struct spread spread;
    struct fault f;
    uint8_t addresses[SPREAD_MOODS_MAX][4];
    stage_open(&s);
    assert_true(spread_init(&spread, NULL, 0, &f));
    for (int i = 0; i < SPREAD_MOODS_MAX; i++)
        memcpy(addresses[i], (uint8_t[]){127, 0, 0, (uint8_t)(i + 2)}, 4);
    struct answers answers = {.group_of = spread_group_of,
                              .arg = &spread,
                              .addresses = (const uint8_t(*)[4])addresses,
                              .groups = sink_moods_n};
    int port = receiver_listen_dns(s.receiver, "127.0.0.1", 0, &answers);
    assert_in_range(port, 1, 65535);
    dig_expect(&s, port, "Distant1.Example", "MX",
               "Distant1.Example.\t300\tIN\tMX\t10 mx.Distant1.Example.\n");
    dig_expect(&s, port, "mx.distant1.example", "A", "\tIN\tA\t127.0.0.3\n");
    dig_expect(&s, port, "mx.distant1.example", "AAAA", "ANSWER: 0, AUTHORITY: 1");
    dig_expect(&s, port, "nxdomain.example", "MX", "status: NXDOMAIN");
    dig_expect(&s, port, "servfail.example", "MX", "status: SERVFAIL");
    dig_expect(&s, port, "nullmx.example", "MX", "\tIN\tMX\t0 .\n");
    stage_close(&s);
}

static void test_bad_addresses_are_refused(void **state)
{
    (void)state;
    struct stage s;
    stage_open(&s);
    const struct mood *m = &sink_moods[0];
    assert_int_equal(receiver_listen(s.receiver, "mx.example", 25, m), -EINVAL);
    int port = receiver_listen(s.receiver, "127.0.0.1", 0, m);
    assert_int_equal(receiver_listen(s.receiver, "127.0.0.1", port, m), -EADDRINUSE);
    assert_int_equal(receiver_listen(s.receiver, "127.0.0.2", port, m), port);
    stage_close(&s);
}

/* ---- a client in our own hands ---- */

static int dial(const char *address, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, address, &a.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* All that comes until the other side closes; error_out: how it closed. */
static void read_all(int fd, struct buf *out, int *error_out)
{
    char piece[4096];
    ssize_t n;
    buf_reset(out);
    while ((n = recv(fd, piece, sizeof piece, 0)) > 0)
        buf_add(out, piece, (size_t)n);
    *error_out = n < 0 ? errno : 0;
}

static void turn(struct stage *s)
{
    for (int i = 0; i < 4; i++)
        uv_run(&s->loop, UV_RUN_NOWAIT);
}

/* Who does not read our replies is not read either: memory stays bounded. */
static void test_a_peer_that_never_reads(void **state)
{
    (void)state;
    struct stage s;
    struct buf noops = {0};
    struct buf replies = {0};
    stage_open(&s);
    int port = receiver_listen(s.receiver, "127.0.0.1", 0, &sink_moods[0]);
    int fd = dial("127.0.0.1", port);
    for (int i = 0; i < 10000; i++)
        buf_add_str(&noops, "NOOP\r\n");
    size_t sent = 0;
    bool stuck = false;
    while (!stuck) {
        ssize_t n = send(fd, noops.p + sent % 6, noops.n - 6, MSG_DONTWAIT);
        turn(&s);
        if (n > 0)
            sent += (size_t)n;
        else
            stuck = send(fd, noops.p + sent % 6, 1, MSG_DONTWAIT) < 0 || !++sent;
        assert_true(sent < 100u << 20);
    }
    /* And then nothing was lost. */
    size_t want =
        strlen("220 accept.invalid ESMTP\r\n") + sent / 6 * strlen("250 2.0.0 ok\r\n");
    while (replies.n < want) {
        char piece[65536];
        ssize_t n = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
        if (n > 0)
            buf_add(&replies, piece, (size_t)n);
        turn(&s);
    }
    assert_int_equal(replies.n, want);
    close(fd);
    buf_finish(&noops);
    buf_finish(&replies);
    stage_close(&s);
}

/* Without descriptors the receiver waits, and goes on when some come back. */
static void test_running_out_of_descriptors(void **state)
{
    (void)state;
    enum { CLIENTS = 12, ROOM = 4 };
    struct stage s;
    struct rlimit before;
    int clients[CLIENTS];
    stage_open(&s);
    int port = receiver_listen(s.receiver, "127.0.0.1", 0, &sink_moods[0]);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = dial("127.0.0.1", port);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit low = {(rlim_t)clients[CLIENTS - 1] + 1 + ROOM, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    turn(&s);
    struct sink_counts *c = sink_world_counts(s.world);
    assert_int_equal(c->open, ROOM);
    for (int i = 0; i < CLIENTS; i++) {
        close(clients[i]);
        turn(&s);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    while (c->connections < CLIENTS || c->open)
        uv_run(&s.loop, UV_RUN_ONCE);
    stage_close(&s);
}

static void tell(void *arg, const struct serve_listen *l, int port)
{
    assert_int_equal(l->port, 0);
    *(int *)arg = port;
    raise(SIGTERM); /* is held until the loop runs */
}

/* A client of its own process: its message may not be answered, since /dev/full took no
 * record of it. */
static void send_one(void *arg, const struct serve_listen *l, int port)
{
    pid_t *pid = arg;
    *pid = fork();
    if (*pid)
        return;
    struct buf out = {0};
    int error;
    struct span in = SPAN("HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n.\r\n");
    int fd = dial(l->address, port);
    if (send(fd, in.p, in.n, 0) != (ssize_t)in.n)
        _exit(1);
    read_all(fd, &out, &error);
    _exit(strstr(buf_cstr(&out), "accepted") ? 2 : 0);
}

static void test_serving_ends_when_the_record_fails(void **state)
{
    (void)state;
    pid_t pid = 0;
    int status;
    struct sink_counts counts;
    struct fault f = {0};
    struct serve_listen listen = {"127.0.0.1", 0, &sink_moods[0]};
    assert_false(sink_serve(&(struct serve_params){.listens = &listen,
                                                   .listens_n = 1,
                                                   .record = "/dev/full",
                                                   .on_listening = send_one,
                                                   .arg = &pid},
                            &counts, &f));
    assert_int_equal(f.code, -20);
    assert_true(counts.record_failed);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_serving(void **state)
{
    (void)state;
    int told = 0;
    struct sink_counts counts;
    struct fault f = {0};
    struct serve_listen listens[] = {{"127.0.0.1", 0, &sink_moods[0]},
                                     {"::1", 0, &sink_moods[1]},
                                     {"127.0.0.1", 0, &sink_moods[2]}};
    struct serve_params p = {
        .listens = listens, .listens_n = 1, .on_listening = tell, .arg = &told};
    assert_true(sink_serve(&p, &counts, &f));
    assert_in_range(told, 1, 65535);
    listens[2].address = "192.0.2.1";
    p.listens_n = 3;
    assert_false(sink_serve(&p, &counts, &f));
    assert_int_equal(f.code, 609);
    f = (struct fault){0};
    p.record = "/nowhere/record";
    assert_false(sink_serve(&p, &counts, &f));
    assert_int_equal(f.code, -20);
}

static void test_a_rehearsal(void **state)
{
    (void)state;
    char path[] = "/tmp/hikyaku-record-XXXXXX";
    int record = mkstemp(path);
    struct fault f = {0};
    struct sink_counts counts;
    struct rehearsal *r =
        rehearsal_start(&(struct rehearsal_params){.record = path}, &f);
    assert_int_equal(f.code, 0);
    assert_non_null(r);
    assert_in_range(rehearsal_dns_port(r), 1, 65535);
    struct buf out = {0};
    int error;
    /* Every mood greets at its own address. */
    for (int i = 0; i < sink_moods_n; i++) {
        char address[32];
        char greeting[128];
        snprintf(address, sizeof address, "127.0.0.%d", 2 + i);
        int fd = dial(address, rehearsal_smtp_port(r));
        assert_int_equal(send(fd, "QUIT\r\n", 6, 0), 6);
        read_all(fd, &out, &error);
        assert_int_equal(error, 0);
        const struct mood *m = &sink_moods[i];
        if (m->tls_at_once) { /* and QUIT in clear is no ClientHello */
            assert_null(memmem(out.p, out.n, "220", 3));
            close(fd);
            continue;
        }
        snprintf(greeting, sizeof greeting, m->greeting ? "%s\r\n%s" : "220 %s%s",
                 m->greeting ? m->greeting : m->name,
                 m->greeting ? "" : ".invalid ESMTP\r\n221 2.0.0 bye\r\n");
        assert_string_equal(buf_cstr(&out), greeting);
        close(fd);
    }
    /* The closer closes over what we pipelined: its replies arrive all the same. */
    int fd = dial("127.0.0.9", rehearsal_smtp_port(r));
    struct buf in = {0};
    buf_add_str(&in, "EHLO me\r\n");
    for (int i = 0; i < 40; i++)
        buf_add_str(&in, "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n.\r\n");
    assert_int_equal(send(fd, in.p, in.n, 0), in.n);
    read_all(fd, &out, &error);
    assert_int_equal(error, 0);
    const char *last =
        "354 end data with <CR><LF>.<CR><LF>\r\n250 2.0.0 accepted as 20\r\n";
    assert_string_equal(buf_cstr(&out) + out.n - strlen(last), last);
    close(fd);
    assert_int_equal(lines_of(record), 20);
    /* And who said so. */
    static const char tail[] = "\t127.0.0.1\tme\n";
    char last_line[sizeof tail] = "";
    lseek(record, -(off_t)strlen(tail), SEEK_END);
    assert_int_equal(read(record, last_line, strlen(tail)), strlen(tail));
    assert_string_equal(last_line, tail);

    assert_true(rehearsal_stop(r, &counts));
    assert_int_equal(counts.messages, 20);
    assert_int_equal(counts.connections, sink_moods_n + 1);
    assert_int_equal(counts.refused_connections, 1);
    buf_finish(&in);
    buf_finish(&out);
    close(record);
    unlink(path);
}

static void test_a_rehearsal_that_cannot_begin(void **state)
{
    (void)state;
    struct fault f = {0};
    const char *const moods[] = {"grumpy"};
    assert_null(
        rehearsal_start(&(struct rehearsal_params){.record = "/nowhere/record"}, &f));
    assert_int_equal(f.code, -20);
    f = (struct fault){0};
    assert_null(
        rehearsal_start(&(struct rehearsal_params){.moods = moods, .moods_n = 1}, &f));
    assert_int_equal(f.code, -7);
}

/* Nobody may be left listening when the program was killed. */
static void test_the_child_dies_with_its_parent(void **state)
{
    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct fault f = {0};
        if (rehearsal_start(&(struct rehearsal_params){0}, &f))
            raise(SIGKILL);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    /* The orphan is ours now, and this returns because it ends. */
    assert_true(waitpid(-1, &status, 0) > 0);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    assert_int_equal(waitpid(-1, &status, 0), -1);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void test_signals_leave_the_child_alone(void **state)
{
    (void)state;
    struct fault f = {0};
    struct sink_counts counts;
    struct rehearsal *r = rehearsal_start(&(struct rehearsal_params){0}, &f);
    assert_non_null(r);
    /* Ctrl-C and its like reach the whole group. */
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (int i = 0; i < 3; i++) {
        signal(signals[i], SIG_IGN);
        kill(0, signals[i]);
    }
    int fd = dial("127.0.0.2", rehearsal_smtp_port(r));
    close(fd);
    assert_true(rehearsal_stop(r, &counts));
    for (int i = 0; i < 3; i++)
        signal(signals[i], SIG_DFL);
    assert_int_equal(counts.connections, 1);
}

int main(void)
{
    /* kill(0, …) below must not reach whoever runs the tests. */
    setpgid(0, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smtp_source),
        cmocka_unit_test(test_dig),
        cmocka_unit_test(test_bad_addresses_are_refused),
        cmocka_unit_test(test_a_peer_that_never_reads),
        cmocka_unit_test(test_running_out_of_descriptors),
        cmocka_unit_test(test_serving),
        cmocka_unit_test(test_serving_ends_when_the_record_fails),
        cmocka_unit_test(test_a_rehearsal),
        cmocka_unit_test(test_a_rehearsal_that_cannot_begin),
        cmocka_unit_test(test_the_child_dies_with_its_parent),
        cmocka_unit_test(test_signals_leave_the_child_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
