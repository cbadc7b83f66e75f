#include "engine/socket.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

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

int socket_connect(const struct ip *ip, uint16_t port, int *error, bool *ours)
{
    struct sockaddr_storage address;
    socklen_t n = make_address(ip, port, &address);
    *ours = true;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        *error = errno;
        /* Without IPv6 in our kernel that address is as good as unreachable. */
        *ours = *error != EAFNOSUPPORT;
        return -1;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&address, n) == 0 || errno == EINPROGRESS)
        return fd;
    *error = errno;
    *ours = *error == EADDRNOTAVAIL || *error == ENOBUFS || *error == EAGAIN;
    close(fd);
    return -1;
}

struct smtp_wire socket_wire(int fd)
{
    int unacknowledged = 0, untransmitted = 0;
    ioctl(fd, SIOCOUTQ, &unacknowledged);
    ioctl(fd, SIOCOUTQNSD, &untransmitted);
    return (struct smtp_wire){(uint64_t)unacknowledged, (uint64_t)untransmitted};
}

const char *socket_words(int error)
{
    const char *words = strerrordesc_np(error);
    return words ? words : "unknown error";
}
