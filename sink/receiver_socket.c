#include "sink/receiver_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uv.h>

enum { BACKLOG = 4096 };

int receiver_socket(const char *address, int port, int type, int receive_buffer,
                    int *port_out)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a = {0};
    int one = 1;
    if (uv_ip4_addr(address, port, &a.v4) && uv_ip6_addr(address, port, &a.v6))
        return -EINVAL;
    socklen_t n = a.any.sa_family == AF_INET ? sizeof a.v4 : sizeof a.v6;
    int fd = socket(a.any.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    bool tcp = type == SOCK_STREAM;
    /* Accepted connections inherit TCP_NODELAY: our replies never wait for an ACK. */
    if ((tcp && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
                 setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one))) ||
        (receive_buffer && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer,
                                      sizeof receive_buffer)) ||
        bind(fd, &a.any, n) || (tcp && listen(fd, BACKLOG)) ||
        getsockname(fd, &a.any, &n)) {
        int error = errno;
        close(fd);
        return -error;
    }
    *port_out = ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
    return fd;
}

void receiver_peer(int fd, char address[RECEIVER_ADDRESS_MAX])
{
    struct sockaddr_storage peer;
    socklen_t n = sizeof peer;
    address[0] = '\0';
    if (getpeername(fd, (struct sockaddr *)&peer, &n) == 0)
        uv_ip_name((struct sockaddr *)&peer, address, RECEIVER_ADDRESS_MAX);
}
