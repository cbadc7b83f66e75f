#include "sink/receiver.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <uv.h>

#include "base/list.h"
#include "base/mem.h"
#include "sink/receiver_socket.h"
#include "smtp/tls.h"

enum {
    READ_BYTES = 256 * 1024, /* one buffer for all: nothing stays in it */
    PLAIN_BYTES = 16 * 1024, /* a record of TLS */
    ACCEPTS_A_TURN = 64,
    QUERIES_A_TURN = 64,
    QUERY_MAX = 4096,
    LINGER_MS = 2000, /* for a peer to see our end of the connection and close */
};

struct receiver {
    uv_loop_t *loop;
    struct sink_world *world;
    uv_prepare_t prepare;
    struct link listeners;   /* of struct listener */
    struct link connections; /* of struct connection */
    struct link dirty;       /* connections whose output is to be looked at */
    bool starved;            /* no file descriptors: nobody is accepted for now */
    bool stopped;
    bool closing;
    int handles;             /* open or closing; the receiver goes with the last one */
    struct tls_context *tls; /* NULL: no mood has asked for TLS yet */
    char buffer[READ_BYTES];
    char plain[PLAIN_BYTES];
};

/* A TCP listener with its mood, or a UDP socket with its answers. */
struct listener {
    struct receiver *receiver;
    struct link link;
    uv_poll_t poll;
    int fd;
    const struct mood *mood; /* NULL: DNS */
    struct answers answers;
    int open;
};

struct connection {
    struct receiver *receiver;
    struct listener *listener;
    struct link link;
    struct link dirty;
    uv_poll_t poll;
    uv_timer_t timer; /* for a mood's delays, later for lingering */
    int handles;
    int fd;
    int events;     /* that poll looks for */
    bool ended;     /* the peer sends no more */
    bool lingering; /* we send no more */
    struct sink_server *server;
    struct tls *tls; /* NULL: in clear */
    bool secured;    /* the handshake is done, and the server knows */
};

static int64_t now_us(const struct receiver *r)
{
    return (int64_t)uv_now(r->loop) * 1000;
}

static void receiver_free(struct receiver *r)
{
    tls_context_free(r->tls);
    free(r);
}

static void handle_gone(struct receiver *r)
{
    if (--r->handles == 0 && r->closing)
        receiver_free(r);
}

/* ---- connections ---- */

static void on_connection_gone(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    struct receiver *r = c->receiver;
    if (--c->handles == 0)
        free(c);
    handle_gone(r);
}

static void on_listener_readable(uv_poll_t *poll, int status, int events);

static void set_accepting(struct receiver *r, bool accepting)
{
    r->starved = !accepting;
    for (struct link *i = r->listeners.next; i != &r->listeners; i = i->next) {
        struct listener *l = CONTAINER_OF(i, struct listener, link);
        if (l->mood && accepting)
            uv_poll_start(&l->poll, UV_READABLE, on_listener_readable);
        else if (l->mood)
            uv_poll_stop(&l->poll);
    }
}

static void drop(struct connection *c)
{
    struct receiver *r = c->receiver;
    link_remove(&c->link);
    link_remove(&c->dirty);
    if (!c->lingering)
        c->listener->open--;
    sink_server_destroy(c->server);
    tls_free(c->tls);
    uv_close((uv_handle_t *)&c->poll, on_connection_gone);
    uv_close((uv_handle_t *)&c->timer, on_connection_gone);
    close(c->fd);
    if (r->starved && !r->stopped)
        set_accepting(r, true);
}

static void make_dirty(struct connection *c)
{
    if (link_alone(&c->dirty))
        link_append(&c->receiver->dirty, &c->dirty);
}

/* Bytes from the wire: to the server, or through TLS to it. */
static void hear(struct connection *c, const char *p, size_t n)
{
    struct receiver *r = c->receiver;
    if (!c->tls) {
        sink_server_receive(c->server, p, n, now_us(r));
        return;
    }
    tls_receive(c->tls, p, n);
    if (!c->secured && tls_state(c->tls) == TLS_OPEN) {
        c->secured = true;
        sink_server_secured(c->server);
    }
    while ((n = tls_read(c->tls, r->plain, sizeof r->plain)))
        sink_server_receive(c->server, r->plain, n, now_us(r));
    c->ended = tls_state(c->tls) == TLS_CLOSED;
}

static void read_once(struct connection *c)
{
    struct receiver *r = c->receiver;
    ssize_t n = recv(c->fd, r->buffer, sizeof r->buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0 || (n == 0 && c->lingering)) {
        drop(c);
        return;
    }
    if (c->lingering)
        return;
    if (n == 0)
        c->ended = true;
    else
        hear(c, r->buffer, (size_t)n);
    make_dirty(c);
}

static void on_connection_ready(uv_poll_t *poll, int status, int events)
{
    struct connection *c = poll->data;
    if (status < 0)
        drop(c);
    else if (events & UV_READABLE)
        read_once(c);
    else
        make_dirty(c);
}

static void watch(struct connection *c, int events)
{
    if (events == c->events)
        return;
    c->events = events;
    if (events)
        uv_poll_start(&c->poll, events, on_connection_ready);
    else
        uv_poll_stop(&c->poll);
}

static void on_time(uv_timer_t *timer)
{
    struct connection *c = timer->data;
    if (c->lingering)
        drop(c);
    else
        make_dirty(c);
}

/* Say that no more will come, and wait for the peer to close. A close() over bytes that
 * we did not read would send RST, and that can destroy our last reply on its way. */
static void linger(struct connection *c)
{
    c->lingering = true;
    c->listener->open--;
    shutdown(c->fd, SHUT_WR);
    watch(c, UV_READABLE);
    uv_timer_start(&c->timer, on_time, LINGER_MS, 0);
}

/* What the kernel is to get: the server's output, or what TLS makes of it. */
static struct span next_output(struct connection *c, int64_t now)
{
    struct span out = sink_server_output(c->server, now);
    if (!c->tls)
        return out;
    struct iovec v = {(void *)(uintptr_t)out.p, out.n};
    sink_server_sent(c->server, tls_write(c->tls, &v, 1));
    if (sink_server_over(c->server))
        tls_close(c->tls);
    return tls_output(c->tls);
}

enum sent { SENT_ALL, SENT_SOME, SENT_NOTHING_EVER };

static enum sent send_output(struct connection *c, int64_t now)
{
    for (;;) {
        struct span out = next_output(c, now);
        if (!out.n)
            return SENT_ALL;
        ssize_t n = send(c->fd, out.p, out.n, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return SENT_NOTHING_EVER;
        size_t sent = n > 0 ? (size_t)n : 0;
        if (c->tls)
            tls_sent(c->tls, sent);
        else
            sink_server_sent(c->server, sent);
        if (sent < out.n)
            return SENT_SOME;
    }
}

/* Send what may leave, and arrange what to wait for next. */
static void answer(struct connection *c)
{
    int64_t now = now_us(c->receiver);
    enum sent sent = send_output(c, now);
    int64_t deadline = sink_server_deadline(c->server);
    bool all_said = sent == SENT_ALL && deadline == INT64_MAX;
    if (sent == SENT_NOTHING_EVER || (all_said && c->ended)) {
        drop(c);
        return;
    }
    bool broken = c->tls && tls_state(c->tls) == TLS_FAILED;
    if (sent == SENT_ALL && (broken || sink_server_over(c->server))) {
        linger(c);
        return;
    }
    if (!c->tls && sink_server_wants_tls(c->server))
        c->tls = tls_server(c->receiver->tls);
    bool reads = !c->ended && !sink_server_full(c->server);
    watch(c, (reads ? UV_READABLE : 0) | (sent == SENT_SOME ? UV_WRITABLE : 0));
    if (deadline != INT64_MAX && !uv_is_active((uv_handle_t *)&c->timer))
        uv_timer_start(&c->timer, on_time, (uint64_t)(deadline - now + 999) / 1000, 0);
}

static void stop(struct receiver *r);

/* Before each wait for the sockets: the record, then the replies that depend on it. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct receiver *r = prepare->data;
    if (link_alone(&r->dirty))
        return;
    if (!sink_world_flush(r->world)) {
        stop(r);
        return;
    }
    while (!link_alone(&r->dirty)) {
        struct connection *c = CONTAINER_OF(r->dirty.next, struct connection, dirty);
        link_remove(&c->dirty);
        answer(c);
    }
}

static void connection_begin(struct listener *l, int fd)
{
    struct receiver *r = l->receiver;
    struct connection *c = mem_zero(1, sizeof *c);
    char address[RECEIVER_ADDRESS_MAX];
    c->receiver = r;
    c->listener = l;
    c->fd = fd;
    if (uv_poll_init(r->loop, &c->poll, fd)) {
        free(c);
        close(fd);
        return;
    }
    uv_timer_init(r->loop, &c->timer);
    c->poll.data = c;
    c->timer.data = c;
    c->handles = 2;
    r->handles += 2;
    link_init(&c->link);
    link_init(&c->dirty);
    link_append(&r->connections, &c->link);
    c->server = sink_server_create(r->world, l->mood, ++l->open, now_us(r));
    receiver_peer(fd, address);
    sink_server_set_peer(c->server, span_of(address));
    if (l->mood->tls_at_once)
        c->tls = tls_server(r->tls);
    make_dirty(c);
}

static void on_listener_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;
    (void)events;
    if (status < 0)
        return;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            connection_begin(l, fd);
            continue;
        }
        /* Wait for a connection to end; without that, accepting would spin. */
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            set_accepting(l->receiver, link_alone(&l->receiver->connections));
        if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

/* ---- DNS ---- */

static void on_query(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;
    (void)events;
    if (status < 0)
        return;
    for (int i = 0; i < QUERIES_A_TURN; i++) {
        uint8_t query[QUERY_MAX];
        uint8_t answer_bytes[ANSWER_MAX];
        struct sockaddr_storage from;
        socklen_t from_n = sizeof from;
        ssize_t n =
            recvfrom(l->fd, query, sizeof query, 0, (struct sockaddr *)&from, &from_n);
        if (n < 0)
            return;
        size_t out = answers_reply(&l->answers, query, (size_t)n, answer_bytes);
        /* An answer that cannot be sent is a lost one: the asker asks again. */
        if (out)
            (void)!sendto(l->fd, answer_bytes, out, MSG_NOSIGNAL,
                          (struct sockaddr *)&from, from_n);
    }
}

/* ---- listeners ---- */

static void on_listener_gone(uv_handle_t *handle)
{
    struct listener *l = handle->data;
    struct receiver *r = l->receiver;
    free(l);
    handle_gone(r);
}

static int listener_begin(struct receiver *r, int fd, int port, const struct mood *mood,
                          const struct answers *answers)
{
    struct listener *l = mem_zero(1, sizeof *l);
    int error = uv_poll_init(r->loop, &l->poll, fd);
    if (error) {
        close(fd);
        free(l);
        return error;
    }
    l->receiver = r;
    l->fd = fd;
    l->poll.data = l;
    l->mood = mood;
    if (answers)
        l->answers = *answers;
    r->handles++;
    link_init(&l->link);
    link_append(&r->listeners, &l->link);
    uv_poll_start(&l->poll, UV_READABLE, mood ? on_listener_readable : on_query);
    return port;
}

/* ---- public ---- */

struct receiver *receiver_create(struct uv_loop_s *loop, struct sink_world *world)
{
    struct receiver *r = mem_zero(1, sizeof *r);
    struct timespec wall;
    r->loop = loop;
    r->world = world;
    link_init(&r->listeners);
    link_init(&r->connections);
    link_init(&r->dirty);
    uv_prepare_init(loop, &r->prepare);
    r->prepare.data = r;
    r->handles = 1;
    uv_prepare_start(&r->prepare, on_prepare);
    uv_update_time(loop);
    clock_gettime(CLOCK_REALTIME, &wall);
    sink_world_set_wall(world, (int64_t)wall.tv_sec * 1000000 + wall.tv_nsec / 1000 -
                                   now_us(r));
    return r;
}

bool receiver_use_certificate(struct receiver *r, const char *cert_file,
                              const char *key_file, struct fault *f)
{
    assert(!r->tls);
    r->tls = tls_server_context(cert_file, key_file, NULL, f);
    return r->tls;
}

int receiver_listen(struct receiver *r, const char *address, int port,
                    const struct mood *mood)
{
    struct fault f = {0};
    int chosen = 0;
    bool needs_tls = mood->starttls != STARTTLS_NONE || mood->tls_at_once;
    if (needs_tls && !r->tls)
        r->tls = tls_server_context(NULL, NULL, "receiver.invalid", &f);
    if (needs_tls && !r->tls)
        return -ENOTSUP;
    int fd = receiver_socket(address, port, SOCK_STREAM, 0, &chosen);
    return fd < 0 ? fd : listener_begin(r, fd, chosen, mood, NULL);
}

int receiver_listen_dns(struct receiver *r, const char *address, int port,
                        const struct answers *answers)
{
    int chosen = 0;
    int fd = receiver_socket(address, port, SOCK_DGRAM, 0, &chosen);
    return fd < 0 ? fd : listener_begin(r, fd, chosen, NULL, answers);
}

static void on_prepare_gone(uv_handle_t *handle)
{
    handle_gone(handle->data);
}

static void stop(struct receiver *r)
{
    if (r->stopped)
        return;
    r->stopped = true;
    while (!link_alone(&r->connections))
        drop(CONTAINER_OF(r->connections.next, struct connection, link));
    while (!link_alone(&r->listeners)) {
        struct listener *l = CONTAINER_OF(r->listeners.next, struct listener, link);
        link_remove(&l->link);
        uv_close((uv_handle_t *)&l->poll, on_listener_gone);
        close(l->fd);
    }
    uv_close((uv_handle_t *)&r->prepare, on_prepare_gone);
}

void receiver_close(struct receiver *r)
{
    assert(!r->closing);
    r->closing = true;
    stop(r);
    if (!r->handles)
        receiver_free(r);
}
