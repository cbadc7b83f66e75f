/* The receiver's libuv shell: sockets for sink/server and sink/answers. One loop, one
 * thread. A turn of the loop reads each ready connection once, writes the record once,
 * and then answers each connection with one send. No signal handlers, no threads. */
#ifndef SINK_RECEIVER_H
#define SINK_RECEIVER_H

#include "base/fault.h"
#include "sink/answers.h"
#include "sink/server.h"

struct uv_loop_s;
struct receiver;

/* The world must outlive the receiver; its wall clock is set here. */
struct receiver *receiver_create(struct uv_loop_s *loop, struct sink_world *world);

/* Certificate and key (PEM; key_file NULL: it is in cert_file) for the moods with TLS,
 * before the first receiver_listen; without this they show a self-signed one. False and
 * *f (-7). */
bool receiver_use_certificate(struct receiver *r, const char *cert_file,
                              const char *key_file, struct fault *f);

/* Listen for SMTP at an IPv4 or IPv6 address. port 0: the kernel chooses. Returns the
 * port, or a negative errno. The mood must outlive the receiver. */
int receiver_listen(struct receiver *r, const char *address, int port,
                    const struct mood *mood);

/* Answer DNS queries over UDP; the same returns. *answers is copied. */
int receiver_listen_dns(struct receiver *r, const char *address, int port,
                        const struct answers *answers);

/* Stop: connections are dropped as they are, handles close; the memory goes when the
 * loop has run their close callbacks, so run it once more. When the record cannot be
 * written the receiver does this by itself except for the memory (record_failed in the
 * counts). */
void receiver_close(struct receiver *r);

#endif
