#include "engine/stream.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

enum { WRITE_PIECES_MAX = 128 };

void stream_init(struct stream *s)
{
    *s = (struct stream){.fd = -1};
}

static socklen_t make_address(const struct ip *ip, uint16_t port,
                              struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (ip_is_v4(ip)) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)out;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        memcpy(&v4->sin_addr, ip->bytes + 12, 4);
        return sizeof *v4;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    memcpy(&v6->sin6_addr, ip->bytes, 16);
    return sizeof *v6;
}

/* The port is chosen in connect(), where it needs to be free for that destination only:
 * else one address would run out of ports over all destinations. 0, or the errno. */
static int bind_to(int fd, const struct ip *from)
{
    struct sockaddr_storage address;
    socklen_t n = make_address(from, 0, &address);
    int on = 1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    return bind(fd, (struct sockaddr *)&address, n) == 0 ? 0 : errno;
}

int stream_try_bind(const struct ip *from)
{
    int fd = socket(ip_is_v4(from) ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int error = bind_to(fd, from);
    close(fd);
    return error;
}

bool stream_connect(struct stream *s, uv_loop_t *loop, const struct ip *from,
                    const struct ip *ip, uint16_t port, uv_poll_cb on_event, void *arg,
                    int *error, bool *ours)
{
    struct sockaddr_storage address;
    socklen_t n = make_address(ip, port, &address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        *error = errno;
        /* Without IPv6 in our kernel that address is as good as unreachable. */
        *ours = *error != EAFNOSUPPORT;
        return false;
    }
    if (from && (*error = bind_to(fd, from)) != 0) {
        *ours = true;
        close(fd);
        return false;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&address, n) != 0 && errno != EINPROGRESS) {
        *error = errno;
        /* EADDRNOTAVAIL: no port is left; with IPv6, unless it is bound, also that we
         * have no address. */
        *ours = (*error == EADDRNOTAVAIL && (from || address.ss_family == AF_INET)) ||
                *error == ENOBUFS || *error == EAGAIN;
        close(fd);
        return false;
    }
    s->poll = mem_alloc(sizeof *s->poll);
    int failed = uv_poll_init_socket(loop, s->poll, fd);
    assert(!failed);
    s->poll->data = arg;
    s->on_event = on_event;
    s->fd = fd;
    s->polled = 0;
    stream_want(s, UV_WRITABLE);
    return true;
}

bool stream_routed(const struct ip *from, const struct ip *ip)
{
    struct sockaddr_storage address;
    socklen_t n = make_address(ip, 9, &address);
    int fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    /* With datagrams connect() looks the route up, and nothing leaves. */
    bool none = fd >= 0 && (!from || bind_to(fd, from) == 0) &&
                connect(fd, (struct sockaddr *)&address, n) != 0 &&
                errno == ENETUNREACH;
    if (fd >= 0)
        close(fd);
    return !none;
}

bool stream_decided(const struct stream *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLOUT};
    return poll(&p, 1, 0) > 0;
}

int stream_connected(struct stream *s)
{
    int error = 0;
    socklen_t n = sizeof error;
    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &n);
    return error;
}

void stream_secure(struct stream *s, struct tls *tls)
{
    assert(!s->tls);
    s->tls = tls;
}

/* Plaintext that TLS has ready, or why there will be none. */
static ssize_t read_tls(struct stream *s, char *out, size_t max, int *error)
{
    size_t n = tls_read(s->tls, out, max);
    if (n > 0)
        return (ssize_t)n;
    if (tls_state(s->tls) != TLS_CLOSED)
        return STREAM_AGAIN;
    *error = 0;
    return STREAM_END;
}

ssize_t stream_read(struct stream *s, char *out, char *scratch, size_t max, int *error)
{
    if (s->tls) {
        ssize_t ready = read_tls(s, out, max, error);
        if (ready != STREAM_AGAIN)
            return ready;
    }
    ssize_t n;
    do
        n = recv(s->fd, s->tls ? scratch : out, max, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0) {
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return STREAM_AGAIN;
        *error = n < 0 ? errno : 0;
        return STREAM_END;
    }
    if (!s->tls)
        return n;
    tls_receive(s->tls, scratch, (size_t)n);
    return read_tls(s, out, max, error);
}

/* false: the kernel takes no more now. */
static bool send_tls(struct stream *s)
{
    for (;;) {
        struct span out = tls_output(s->tls);
        if (out.n == 0)
            return true;
        ssize_t n = send(s->fd, out.p, out.n, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno != EAGAIN && errno != EWOULDBLOCK;
        tls_sent(s->tls, (size_t)n);
    }
}

static bool write_tls(struct stream *s, struct smtp_session *session, int64_t now_us)
{
    struct iovec pieces[WRITE_PIECES_MAX];
    for (;;) {
        if (!send_tls(s))
            return false;
        if (!session || tls_state(s->tls) != TLS_OPEN)
            return true;
        int n = smtp_session_output(session, pieces, WRITE_PIECES_MAX, now_us);
        size_t taken = n ? tls_write(s->tls, pieces, n) : 0;
        if (taken == 0)
            return true;
        trace_talk_said(s->talk, pieces, taken, now_us);
        smtp_session_sent(session, taken, now_us);
    }
}

bool stream_write(struct stream *s, struct smtp_session *session, int64_t now_us)
{
    if (s->tls)
        return write_tls(s, session, now_us);
    struct iovec pieces[WRITE_PIECES_MAX];
    for (;;) {
        int n = smtp_session_output(session, pieces, WRITE_PIECES_MAX, now_us);
        if (n == 0)
            return true;
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)n};
        ssize_t sent = sendmsg(s->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno != EAGAIN && errno != EWOULDBLOCK;
        trace_talk_said(s->talk, pieces, (size_t)sent, now_us);
        smtp_session_sent(session, (size_t)sent, now_us);
    }
}

void stream_want(struct stream *s, int events)
{
    if (s->polled == events)
        return;
    s->polled = events;
    uv_poll_start(s->poll, events, s->on_event);
}

struct smtp_wire stream_wire(const struct stream *s)
{
    int unacknowledged = 0, untransmitted = 0;
    if (s->fd >= 0) {
        ioctl(s->fd, SIOCOUTQ, &unacknowledged);
        ioctl(s->fd, SIOCOUTQNSD, &untransmitted);
    }
    struct smtp_wire wire = {(uint64_t)unacknowledged, (uint64_t)untransmitted};
    if (s->tls) {
        /* The kernel counts ciphertext, and some of it is still with us. */
        uint64_t ours = tls_output(s->tls).n;
        wire.unacknowledged = tls_plain_behind(s->tls, wire.unacknowledged + ours);
        wire.untransmitted = tls_plain_behind(s->tls, wire.untransmitted + ours);
    }
    return wire;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

/* What has not left must not leave any more. The kernel would go on sending it behind
 * our back, and a dot that was judged unsent, whose row is tried again without a flag,
 * would arrive after all when the peer opens its window. */
static void drop_unsent(int fd)
{
    int unsent = 0;
    struct linger at_once = {.l_onoff = 1};
    if (ioctl(fd, SIOCOUTQNSD, &unsent) == 0 && unsent > 0)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void stream_close(struct stream *s)
{
    if (s->fd < 0)
        return;
    uv_close((uv_handle_t *)s->poll, on_closed);
    drop_unsent(s->fd);
    close(s->fd);
    tls_free(s->tls);
    stream_init(s);
}

const char *stream_words(int error)
{
    const char *words = strerrordesc_np(error);
    return words ? words : "unknown error";
}
