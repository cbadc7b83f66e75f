/* What a stream leaves behind when it is closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <sys/socket.h>

#include "engine/stream.h"

static int listen_narrowly(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int small = 2048;
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t n = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    uv_poll_stop(poll);
}

/* A peer that does not read now may read later: what had not left when the row was
 * judged must never reach it. */
static void unsent_never_arrives(void **state)
{
    (void)state;
    uv_loop_t loop;
    uint16_t port;
    int listener = listen_narrowly(&port);
    assert_int_equal(uv_loop_init(&loop), 0);
    struct stream s;
    struct ip ip;
    int error;
    bool ours;
    stream_init(&s);
    assert_true(ip_parse("127.0.0.1", &ip));
    assert_true(
        stream_connect(&s, &loop, NULL, &ip, port, on_event, NULL, &error, &ours));
    uv_run(&loop, UV_RUN_DEFAULT);
    int peer = accept(listener, NULL, NULL);
    assert_true(peer >= 0);

    static char block[64 * 1024];
    size_t written = 0;
    for (ssize_t n; (n = send(s.fd, block, sizeof block, MSG_NOSIGNAL)) > 0;)
        written += (size_t)n;
    assert_true(stream_wire(&s).untransmitted > 0);
    stream_close(&s);
    uv_run(&loop, UV_RUN_DEFAULT);

    size_t arrived = 0;
    for (ssize_t n; (n = recv(peer, block, sizeof block, 0)) > 0;)
        arrived += (size_t)n;
    assert_true(arrived < written);
    close(peer);
    close(listener);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void nobody_is_called(uv_poll_t *poll, int status, int events)
{
    (void)poll, (void)status, (void)events;
    fail();
}

/* An address that is not ours is our own trouble, and told before anything leaves. */
static void only_from_our_own(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct stream s;
    struct ip ours_4, theirs_4, theirs_6, to;
    int error;
    bool ours;
    assert_true(ip_parse("127.0.1.1", &ours_4));
    assert_true(ip_parse("192.0.2.1", &theirs_4));
    assert_true(ip_parse("2001:db8::1", &theirs_6));
    assert_true(ip_parse("127.0.0.1", &to));
    assert_int_equal(stream_try_bind(&ours_4), 0);
    assert_int_equal(stream_try_bind(&theirs_4), EADDRNOTAVAIL);
    assert_int_not_equal(stream_try_bind(&theirs_6), 0); /* or there is no IPv6 */
    assert_int_equal(uv_loop_init(&loop), 0);
    stream_init(&s);
    assert_false(stream_connect(&s, &loop, &theirs_4, &to, 9, nobody_is_called, NULL,
                                &error, &ours));
    assert_int_equal(error, EADDRNOTAVAIL);
    assert_true(ours);
    assert_int_equal(s.fd, -1);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsent_never_arrives),
        cmocka_unit_test(only_from_our_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
