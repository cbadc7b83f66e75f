/* TLS as a pipe of bytes: ciphertext of the wire on one side, plaintext of the dialogue
 * on the other. No socket, no clock, no session of SMTP: a whole handshake can run
 * inside a unit test in one thread. RFC 3207, 8446, 7672 (names). OpenSSL is included
 * in tls.c and nowhere else.
 *
 * A context belongs to one thread (each worker has its own), and so do its pipes. It
 * keeps TLS sessions for resumption, by the name given to tls_client. Authorities are
 * shared by contexts of any thread. */
#ifndef SMTP_TLS_H
#define SMTP_TLS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/fault.h"

struct tls_context;
struct tls_authorities;

enum {
    TLS_PENDING_MAX =
        64 * 1024,          /* ciphertext that waits in a pipe: tls_write's bound */
    TLS_SESSIONS_MAX = 512, /* kept by a context for resumption; more replace others */
};

/* Whose signature makes a certificate good: those in ca_file, PEM; "" or NULL: the
 * system's. Read here and now. NULL and *f (-7) when the file cannot be used. */
struct tls_authorities *tls_authorities_read(const char *ca_file, struct fault *f);
void tls_authorities_free(struct tls_authorities *a); /* NULL is allowed */

struct tls_client_params {
    /* Contexts keep what they need of them. NULL: nobody passes verify. */
    const struct tls_authorities *authorities;
    /* 10, 11, 12, 13. Below 12 OpenSSL's level of security is 0 for all: its higher
     * levels know no TLS 1.0 and 1.1. A pipe without verify has level 0 in any case:
     * a weak key protects better than clear text (RFC 7435). */
    int min_version;
};
struct tls_context *tls_client_context(const struct tls_client_params *params);
/* For the built-in receiver: certificate and key files (PEM; key_file NULL: it is in
 * cert_file); cert_file NULL: makes a self-signed one for `name`. NULL and *f (-7). */
struct tls_context *tls_server_context(const char *cert_file, const char *key_file,
                                       const char *name, struct fault *f);
void tls_context_free(struct tls_context *c); /* pipes go first; NULL is allowed */

struct tls;

/* host: SNI, key for resumption, and with verify the name that the certificate must
 * hold (RFC 6125; chain up to a trusted root). It may be an IP address: then there is
 * no SNI. Without verify any certificate will do. Sessions with and without verify are
 * kept apart, and so are those from different source addresses (source: the number of
 * ours, 0: none): whoever shows a session again shows that he is the same. The
 * ClientHello is in the output at once. */
struct tls *tls_client(struct tls_context *c, const char *host, bool verify,
                       int source);
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

/* Bytes from the wire. Behind it call tls_read until it returns 0, also during the
 * handshake: what was not read is kept. Bytes behind close_notify or a failure are
 * dropped. The end of the wire in the middle of anything is the caller's to judge. */
void tls_receive(struct tls *t, const char *cipher, size_t n);
/* Decrypted bytes, at most max; 0: none now, and the state may have become TLS_CLOSED
 * or TLS_FAILED. It may make output (answers to the peer's TLS). */
size_t tls_read(struct tls *t, char *out, size_t max);
/* Encrypt what iov holds, as far as the pipe takes it now (TLS_PENDING_MAX ciphertext
 * bytes wait at most); returns how many plaintext bytes were taken. 0 during the
 * handshake, after tls_close and after a failure; in TLS_CLOSED we may still speak. */
size_t tls_write(struct tls *t, const struct iovec *iov, int n);
/* Ciphertext for the wire, a last alert behind a failure included; n bytes of it have
 * gone. The span is valid until the next call for this pipe. */
struct span tls_output(const struct tls *t);
void tls_sent(struct tls *t, size_t n);
/* Say close_notify (goes into the output). */
void tls_close(struct tls *t);

/* How many of the plaintext bytes that tls_write took are among the last `cipher` bytes
 * of the ciphertext made so far (still in our output, or in the kernel without
 * acknowledgement): a plaintext byte is out when the last byte of its record is. Exact
 * for at least the last 64 records; further back the answer may be too high by the
 * records that share a mark. */
uint64_t tls_plain_behind(const struct tls *t, uint64_t cipher);

#endif
