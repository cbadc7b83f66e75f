/* Sockets of the receiver's shells. */
#ifndef SINK_RECEIVER_SOCKET_H
#define SINK_RECEIVER_SOCKET_H

/* A non-blocking bound socket at an IPv4 or IPv6 address, SOCK_STREAM (then it
 * listens) or SOCK_DGRAM; a negative errno when there can be none. port 0: the kernel
 * chooses. receive_buffer: of each connection, 0: the kernel's choice. */
int receiver_socket(const char *address, int port, int type, int receive_buffer,
                    int *port_out);

enum { RECEIVER_ADDRESS_MAX = 46 };
/* The address of the other end, "" when it is gone already. */
void receiver_peer(int fd, char address[RECEIVER_ADDRESS_MAX]);

#endif
