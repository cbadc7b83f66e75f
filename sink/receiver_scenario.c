#include "sink/receiver_scenario.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uv.h>

#include "base/list.h"
#include "base/mem.h"
#include "sink/receiver_socket.h"

enum { READ_BYTES = 64 * 1024, LINGER_READS = 64 };

struct theatre {
    const struct scenario_params *params;
    struct scenario_counts counts;
    uv_loop_t loop;
    struct tls_context *tls;
    struct link connections; /* of struct connection */
    struct stage *stages;
    int stages_n;
    char buffer[READ_BYTES];
};

/* A scenario and where it is played. */
struct stage {
    struct theatre *theatre;
    struct scenario *scenario;
    uv_poll_t poll;
    int fd; /* -1: none */
    char address[INET_ADDRSTRLEN];
    int port;
    int connections; /* so far */
};

struct connection {
    struct stage *stage;
    struct link link;
    uv_poll_t poll;
    uv_timer_t timer;
    int handles;
    int fd;
    bool ended; /* the peer sends no more */
    struct player *player;
};

static int64_t now_us(const struct theatre *t)
{
    return (int64_t)(uv_now(&t->loop) * 1000);
}

/* ---- connections ---- */

static void on_gone(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    if (--c->handles == 0)
        free(c);
}

static void end(struct connection *c, bool reset)
{
    struct theatre *t = c->stage->theatre;
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    const char *complaint = player_complaint(c->player);
    if (complaint) {
        t->counts.complaints++;
        if (t->params->on_complaint)
            t->params->on_complaint(t->params->arg, complaint);
    }
    /* Unread bytes would make RST of a close. */
    for (int i = 0; !reset && i < LINGER_READS; i++)
        if (recv(c->fd, t->buffer, sizeof t->buffer, 0) <= 0)
            break;
    if (reset) {
        /* What was read is acknowledged first: a reset that overtakes that makes
         * another code of it, and it may be late by 40 ms. */
        setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    link_remove(&c->link);
    player_free(c->player);
    uv_close((uv_handle_t *)&c->poll, on_gone);
    uv_close((uv_handle_t *)&c->timer, on_gone);
    close(c->fd);
}

static void on_ready(uv_poll_t *poll, int status, int events);
static void on_time(uv_timer_t *timer);

/* One write at most: pieces of output leave each by itself. False: the connection is
 * broken, or the kernel takes no more. */
static bool write_piece(struct connection *c, bool *blocked)
{
    struct theatre *t = c->stage->theatre;
    struct span out = player_output(c->player, now_us(t));
    *blocked = false;
    if (!out.n)
        return true;
    ssize_t n = send(c->fd, out.p, out.n, MSG_NOSIGNAL);
    if (n > 0)
        player_sent(c->player, (size_t)n, now_us(t));
    *blocked = n < 0 && errno == EAGAIN;
    return n > 0 || *blocked;
}

/* Send what may leave, end what is to end, and arrange what to wait for. */
static void attend(struct connection *c)
{
    struct theatre *t = c->stage->theatre;
    bool blocked = false;
    for (;;) {
        if (!write_piece(c, &blocked)) {
            player_lost(c->player, now_us(t));
            c->ended = true;
        }
        if (blocked || c->ended || !player_output(c->player, now_us(t)).n)
            break;
    }
    switch (player_end(c->player)) {
    case PLAYER_PLAYS:
        break;
    case PLAYER_SHUT:
        shutdown(c->fd, SHUT_WR);
        break;
    case PLAYER_CLOSE:
    case PLAYER_RESET:
        end(c, player_end(c->player) == PLAYER_RESET);
        return;
    }
    int64_t now = now_us(t);
    int64_t deadline = player_deadline(c->player, now);
    bool reads = !c->ended && player_appetite(c->player, now);
    int events = (reads ? UV_READABLE : 0) | (blocked ? UV_WRITABLE : 0);
    if (events)
        uv_poll_start(&c->poll, events, on_ready);
    else
        uv_poll_stop(&c->poll);
    if (deadline != INT64_MAX)
        uv_timer_start(&c->timer, on_time, (uint64_t)(deadline - now + 999) / 1000, 0);
}

static void read_some(struct connection *c)
{
    struct theatre *t = c->stage->theatre;
    size_t max = player_appetite(c->player, now_us(t));
    if (max > sizeof t->buffer)
        max = sizeof t->buffer;
    if (!max)
        return;
    ssize_t n = recv(c->fd, t->buffer, max, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        player_receive(c->player, t->buffer, (size_t)n, now_us(t));
        return;
    }
    c->ended = true;
    player_lost(c->player, now_us(t));
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct connection *c = poll->data;
    if (status < 0 || events & UV_READABLE)
        read_some(c);
    attend(c);
}

static void on_time(uv_timer_t *timer)
{
    attend(timer->data);
}

static void begin(struct stage *s, int fd)
{
    struct theatre *t = s->theatre;
    struct connection *c = mem_zero(1, sizeof *c);
    c->stage = s;
    c->fd = fd;
    if (uv_poll_init(&t->loop, &c->poll, fd)) {
        free(c);
        close(fd);
        return;
    }
    uv_timer_init(&t->loop, &c->timer);
    c->poll.data = c;
    c->timer.data = c;
    c->handles = 2;
    link_init(&c->link);
    link_append(&t->connections, &c->link);
    t->counts.connections++;
    c->player =
        player_create(s->scenario, ++s->connections, t->params->cut, t->tls, now_us(t));
    attend(c);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
    struct stage *s = poll->data;
    (void)events;
    int fd = status < 0 ? -1 : accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        begin(s, fd);
}

/* ---- the whole ---- */

static bool listen_at(struct stage *s, const struct scenario_params *p, int i,
                      struct fault *f)
{
    struct in_addr address;
    if (inet_pton(AF_INET, p->address, &address) != 1)
        return fault_set(f, 609, "scenarios listen at an IPv4 address");
    address.s_addr = htonl(ntohl(address.s_addr) + (uint32_t)i);
    inet_ntop(AF_INET, &address, s->address, sizeof s->address);
    s->fd = receiver_socket(s->address, p->port, SOCK_STREAM,
                            s->scenario->receive_buffer, &s->port);
    int error = s->fd < 0 ? s->fd : uv_poll_init(&s->theatre->loop, &s->poll, s->fd);
    if (error)
        return fault_set(f, 609, "cannot listen at %s port %d: %s", s->address, p->port,
                         strerror(-error));
    s->poll.data = s;
    uv_poll_start(&s->poll, UV_READABLE, on_listener);
    return true;
}

static bool open_all(struct theatre *t, struct fault *f)
{
    const struct scenario_params *p = t->params;
    for (int i = 0; i < p->files_n; i++) {
        struct stage *s = &t->stages[i];
        s->theatre = t;
        s->fd = -1;
        t->stages_n++;
        s->scenario = scenario_read(p->files[i], p->secure, f);
        if (!s->scenario || !listen_at(s, p, i, f))
            return false;
    }
    for (int i = 0; i < p->files_n && p->on_listening; i++)
        p->on_listening(p->arg, t->stages[i].scenario->name, t->stages[i].address,
                        t->stages[i].port);
    return true;
}

static void close_all(struct theatre *t)
{
    while (!link_alone(&t->connections))
        end(CONTAINER_OF(t->connections.next, struct connection, link), true);
    for (int i = 0; i < t->stages_n; i++) {
        if (t->stages[i].poll.data) {
            uv_close((uv_handle_t *)&t->stages[i].poll, NULL);
        }
        if (t->stages[i].fd >= 0)
            close(t->stages[i].fd);
    }
}

static void on_signal(uv_signal_t *s, int number)
{
    (void)number;
    uv_stop(s->loop);
}

/* All but t itself lives on its loop. */
static void run(struct theatre *t, struct fault *f)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    uv_signal_t signals[2];
    for (int i = 0; i < 2; i++) {
        uv_signal_init(&t->loop, &signals[i]);
        uv_signal_start(&signals[i], on_signal, numbers[i]);
    }
    if (open_all(t, f))
        uv_run(&t->loop, UV_RUN_DEFAULT);
    close_all(t);
    for (int i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&signals[i], NULL);
    uv_run(&t->loop, UV_RUN_DEFAULT);
}

bool scenario_serve(const struct scenario_params *p, struct scenario_counts *counts_out,
                    struct fault *f)
{
    struct theatre *t = mem_zero(1, sizeof *t);
    t->params = p;
    t->stages = mem_zero((size_t)p->files_n, sizeof *t->stages);
    link_init(&t->connections);
    int error = uv_loop_init(&t->loop);
    if (error) {
        fault_set(f, 609, "cannot start the receiver: %s", uv_strerror(error));
    } else {
        t->tls = tls_server_context(NULL, NULL, "mx.x", f);
        if (t->tls)
            run(t, f);
        uv_loop_close(&t->loop);
    }
    for (int i = 0; i < t->stages_n; i++)
        scenario_free(t->stages[i].scenario);
    *counts_out = t->counts;
    tls_context_free(t->tls);
    free(t->stages);
    free(t);
    return !f->code;
}
