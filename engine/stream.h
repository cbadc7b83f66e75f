/* The bytes of one connection: a TCP socket on a worker's loop, and TLS over it once it
 * is begun. What is read and written here is plaintext; where it stands on the wire, in
 * plaintext bytes too, is what stream_wire tells. Worker's thread only. */
#ifndef ENGINE_STREAM_H
#define ENGINE_STREAM_H

#include <uv.h>

#include "base/trace.h"
#include "resolver/deny.h"
#include "smtp/session.h"
#include "smtp/tls.h"

struct stream {
    int fd;          /* -1: closed */
    uv_poll_t *poll; /* of fd; frees itself when closed */
    uv_poll_cb on_event;
    int polled;              /* events asked for */
    struct tls *tls;         /* NULL: in clear */
    struct trace_talk *talk; /* of the session that speaks here; NULL: not traced */
};

void stream_init(struct stream *s);

/* Begin to connect to ip:port, from the address `from` (of the same family; NULL: the
 * system chooses); on_event (with poll->data = arg) gets UV_WRITABLE when
 * it is decided: ask stream_connected. False with the errno; *ours: it is our own
 * machine's trouble (no descriptor, port or memory), not the peer's. */
bool stream_connect(struct stream *s, uv_loop_t *loop, const struct ip *from,
                    const struct ip *ip, uint16_t port, uv_poll_cb on_event, void *arg,
                    int *error, bool *ours);
/* Can a stream be bound to this address of ours? 0, or the errno why not. */
int stream_try_bind(const struct ip *from);
/* Does our own table have a route to it, from an address of the same family (NULL: the
 * system chooses)? Asks the kernel and sends nothing. */
bool stream_routed(const struct ip *from, const struct ip *ip);
/* Is it decided already? Then on_event comes soon. */
bool stream_decided(const struct stream *s);
int stream_connected(struct stream *s); /* 0, or the errno why not */

/* Encrypt from now on; takes the pipe. */
void stream_secure(struct stream *s, struct tls *tls);

enum { STREAM_AGAIN = 0, STREAM_END = -1 };
/* Read once. Returns plaintext bytes; STREAM_AGAIN: nothing now; STREAM_END: nothing
 * ever again, *error is the errno, 0 for EOF. scratch: a buffer of max bytes for
 * ciphertext. */
ssize_t stream_read(struct stream *s, char *out, char *scratch, size_t max, int *error);

/* Write what the session has to say, and what TLS has. False: the kernel takes no more
 * now, wait for UV_WRITABLE. A broken connection counts as written: reading will tell.
 */
bool stream_write(struct stream *s, struct smtp_session *session, int64_t now_us);

/* Which events on_event is called for. */
void stream_want(struct stream *s, int events);
struct smtp_wire stream_wire(const struct stream *s);
/* Close now. on_event is not called any more. */
void stream_close(struct stream *s);

/* The words for an errno, never NULL. */
const char *stream_words(int error);

#endif
