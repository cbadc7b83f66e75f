/* A certificate that nobody else has signed, for the built-in receiver. Any thread;
 * private to smtp/tls.c. */
#ifndef SMTP_TLS_CERTIFICATE_H
#define SMTP_TLS_CERTIFICATE_H

#include <stdbool.h>

struct ssl_ctx_st;

/* Make a key and a certificate for this name, and use them. */
bool tls_self_sign(struct ssl_ctx_st *ssl, const char *name);

#endif
