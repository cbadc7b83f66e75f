/* A connection leaves from the source that its task names: its address, its name in
 * EHLO, the hosts of its family; and what becomes of it when it cannot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "engine/connection.h"

enum { FAR_SOURCE = 3, LINE_MAX_BYTES = 256 };

/* ---- a server for one connection ---- */

struct server {
    int listener;
    pthread_t thread;
    char peer[INET_ADDRSTRLEN];
    char ehlo[LINE_MAX_BYTES];
};

static void *serve(void *arg)
{
    struct server *s = arg;
    struct sockaddr_in from;
    socklen_t n = sizeof from;
    int fd = accept(s->listener, (struct sockaddr *)&from, &n);
    if (fd < 0)
        return NULL; /* nobody came */
    inet_ntop(AF_INET, &from.sin_addr, s->peer, sizeof s->peer);
    dprintf(fd, "220 mx.example\r\n");
    ssize_t got = read(fd, s->ehlo, sizeof s->ehlo - 1);
    s->ehlo[got < 0 ? 0 : got] = '\0';
    dprintf(fd, "250 mx.example\r\n");
    close(fd);
    return NULL;
}

static uint16_t start_server(struct server *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t n = sizeof at;
    *s = (struct server){.listener = socket(AF_INET, SOCK_STREAM, 0)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->listener, 1), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &n), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    return ntohs(at.sin_port);
}

static void stop_server(struct server *s)
{
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
}

/* ---- a worker, and whom it reports to ---- */

struct bench {
    uv_loop_t loop;
    struct mailbox inbox;
    struct worker worker;
    struct worker_source sources[FAR_SOURCE];
    struct worker_params params;
    struct destination destination;
    enum close_kind closed;
    int code;
    char words[LINE_MAX_BYTES];
};

static void deliver(void *owner, struct mail *mail)
{
    struct bench *b = owner;
    struct report *report = CONTAINER_OF(mail, struct report, mail);
    for (const struct event *e = NULL; (e = report_next(report, e));) {
        if (e->kind != EVENT_CLOSED)
            continue;
        struct span words = event_text(e, EVENT_WORDS);
        b->closed = e->closed;
        b->code = e->verdict.code;
        assert_true(words.n < sizeof b->words);
        memcpy(b->words, words.p, words.n);
        b->words[words.n] = '\0';
        mailbox_post(&b->worker.inbox, &task_create(TASK_END)->mail);
        mailbox_close(&b->inbox);
    }
    free(report);
}

static void set_source(struct worker_source *s, const char *name, const char *address,
                       const char *helo)
{
    *s = (struct worker_source){.name = name, .helo_name = helo};
    assert_true(ip_parse(address, &s->address));
}

/* Without rows: the session greets and waits, until the server closes. */
static void call(struct bench *b, uint16_t port, uint8_t source, const char *first,
                 const char *second)
{
    static const struct tls_client_params any = {.min_version = 12};
    *b = (struct bench){.closed = CLOSED_NETWORK};
    set_source(&b->sources[0], "a", "127.0.1.1", "a.example");
    set_source(&b->sources[1], "b", "127.0.1.2", "b.example");
    set_source(&b->sources[2], "far", "192.0.2.1", "far.example");
    b->params = (struct worker_params){
        .sources = b->sources, .sources_n = FAR_SOURCE, .tls = &any, .tls_n = 1};
    b->destination = (struct destination){
        .smtp.helo_name = "us.example", .connect_limit_us = 60000000, .port = port};
    for (int i = 0; i < SMTP_STAGE_COUNT; i++)
        b->destination.smtp.limit_us[i] = 60000000;
    assert_int_equal(uv_loop_init(&b->loop), 0);
    mailbox_init(&b->inbox, &b->loop, deliver, b);
    worker_init(&b->worker, &b->loop, &b->params, &b->inbox);
    struct order order = {
        .kind = ORDER_OPEN, .source = source, .targets_n = 1 + !!second};
    order.targets[0].host = order.targets[1].host = "mx.example";
    assert_true(ip_parse(first, &order.targets[0].address));
    if (second)
        assert_true(ip_parse(second, &order.targets[1].address));
    struct task *task = task_from_order(&order, NULL);
    task->destination = &b->destination;
    mailbox_post(&b->worker.inbox, &task->mail);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    worker_finish(&b->worker);
    assert_int_equal(uv_loop_close(&b->loop), 0);
}

/* ---- tests ---- */

static void each_has_its_address_and_name(void **state)
{
    (void)state;
    static const struct {
        uint8_t source;
        const char *peer, *ehlo;
    } steps[] = {
        {1, "127.0.1.1", "EHLO a.example\r\n"},
        {2, "127.0.1.2", "EHLO b.example\r\n"},
        {0, "127.0.0.1", "EHLO us.example\r\n"}, /* the system chooses */
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct server s;
        struct bench b;
        call(&b, start_server(&s), steps[i].source, "127.0.0.1", NULL);
        stop_server(&s);
        assert_int_not_equal(b.closed, CLOSED_FAILED);
        assert_string_equal(s.peer, steps[i].peer);
        assert_string_equal(s.ehlo, steps[i].ehlo);
    }
}

static void hosts_of_the_other_family_are_passed_over(void **state)
{
    (void)state;
    struct server s;
    struct bench b;
    call(&b, start_server(&s), 1, "::1", "127.0.0.1");
    stop_server(&s);
    assert_int_not_equal(b.closed, CLOSED_FAILED);
    assert_string_equal(s.peer, "127.0.1.1");
}

static void no_host_of_its_family(void **state)
{
    (void)state;
    struct server s;
    struct bench b;
    call(&b, start_server(&s), 1, "2001:db8::1", "2001:db8::2");
    stop_server(&s);
    assert_int_equal(b.closed, CLOSED_FAILED);
    assert_int_equal(b.code, 609);
    assert_string_equal(b.words,
                        "source a is an IPv4 address, and no host here has one");
    assert_string_equal(s.peer, "");
}

static void an_address_that_is_not_ours(void **state)
{
    (void)state;
    struct server s;
    struct bench b;
    call(&b, start_server(&s), FAR_SOURCE, "127.0.0.1", NULL);
    stop_server(&s);
    assert_int_equal(b.closed, CLOSED_OURS);
    assert_int_equal(b.code, 609);
    assert_string_equal(b.words,
                        "source far, 192.0.2.1: Cannot assign requested address");
    assert_string_equal(s.peer, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_has_its_address_and_name),
        cmocka_unit_test(hosts_of_the_other_family_are_passed_over),
        cmocka_unit_test(no_host_of_its_family),
        cmocka_unit_test(an_address_that_is_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
