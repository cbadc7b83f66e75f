/* TLS as a pipe of bytes: ciphertext of the wire on one side, plaintext of the dialogue
 * on the other. No socket, no clock, no session of SMTP: a whole handshake can run
 * inside a unit test in one thread. RFC 3207, 8446, 7672 (names). OpenSSL is included
 * in tls.c and nowhere else.
 *
 * A context belongs to one thread (each worker has its own), and so do its pipes. It
 * keeps TLS sessions for resumption, by the name given to tls_client. */
#ifndef SMTP_TLS_H
#define SMTP_TLS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/fault.h"

struct tls_context;

struct tls_client_params {
    const char *ca_file; /* PEM; "" or NULL: the system's */
    int min_version;     /* 10, 11, 12, 13 */
};
/* NULL and *f (-7) when ca_file cannot be used. */
struct tls_context *tls_client_context(const struct tls_client_params *params,
                                       struct fault *f);
/* For the built-in receiver: certificate and key files (PEM); NULL, NULL: makes a
 * self-signed one for `name`. */
struct tls_context *tls_server_context(const char *cert_file, const char *key_file,
                                       const char *name, struct fault *f);
void tls_context_free(struct tls_context *c); /* pipes go first; NULL is allowed */

struct tls;

/* host: SNI, key for resumption, and with verify the name that the certificate must
 * hold (RFC 6125; chain up to a trusted root). Without verify any certificate will do.
 */
struct tls *tls_client(struct tls_context *c, const char *host, bool verify);
struct tls *tls_server(struct tls_context *c);
void tls_free(struct tls *t); /* NULL is allowed */

enum tls_state {
    TLS_HANDSHAKE,
    TLS_OPEN,
    TLS_CLOSED, /* the peer said close_notify; what came before can still be read */
    TLS_FAILED, /* tls_words says why */
};
enum tls_state tls_state(const struct tls *t);
const char *tls_words(const struct tls *t); /* one clean line; "" without a failure */
/* "TLSv1.3:TLS_AES_256_GCM_SHA384", with ":verified" behind it when the certificate was
 * checked; "" before the handshake is over. */
const char *tls_name(const struct tls *t);
bool tls_resumed(const struct tls *t);

/* Bytes from the wire. */
void tls_receive(struct tls *t, const char *cipher, size_t n);
/* Decrypted bytes, at most max; 0: none now. */
size_t tls_read(struct tls *t, char *out, size_t max);
/* Encrypt what iov holds, as far as the pipe takes it now (TLS_PENDING_MAX ciphertext
 * bytes wait at most); returns how many plaintext bytes were taken. 0 during the
 * handshake. */
size_t tls_write(struct tls *t, const struct iovec *iov, int n);
/* Ciphertext for the wire; n bytes of it have gone. */
struct span tls_output(const struct tls *t);
void tls_sent(struct tls *t, size_t n);
/* Say close_notify (goes into the output). */
void tls_close(struct tls *t);

/* How many of the plaintext bytes that tls_write took are among the last `cipher` bytes
 * of the ciphertext made so far (still in our output, or in the kernel without
 * acknowledgement): a plaintext byte is out when the last byte of its record is. */
uint64_t tls_plain_behind(const struct tls *t, uint64_t cipher);

#endif
