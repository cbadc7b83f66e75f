/* The few things we ask of a TCP socket. Any thread. */
#ifndef ENGINE_SOCKET_H
#define ENGINE_SOCKET_H

#include "resolver/deny.h"
#include "smtp/session.h"

/* A non-blocking socket that is connecting to ip:port. On failure -1 with *error; *ours
 * tells whether it is our own machine's trouble (no descriptor, port or memory), not
 * the peer's. */
int socket_connect(const struct ip *ip, uint16_t port, int *error, bool *ours);

/* Where the bytes of a socket are (SIOCOUTQ, SIOCOUTQNSD); still answers after a reset.
 */
struct smtp_wire socket_wire(int fd);

/* The words for an errno, never NULL. */
const char *socket_words(int error);

#endif
