/* The name of each message: the same row of the same job has the same Message-ID at
 * every attempt, and nobody without the job's secret can guess another row's. OpenSSL
 * is included in identity.c and nowhere else of the templates. */
#ifndef MESSAGE_IDENTITY_H
#define MESSAGE_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IDENTITY_LEN = 32 }; /* base32 (RFC 4648, lower case) of 160 bits */

/* The key made ready; unchanging, any thread may hold a copy of it. */
struct identity;
struct identity *identity_create(const uint8_t *secret, size_t secret_n);
void identity_destroy(struct identity *id); /* NULL is allowed */

/* What one thread computes with; NULL is empty. */
struct identity_worker;
void identity_worker_destroy(struct identity_worker *w);

/* HMAC-SHA-256(secret, row as four bytes, highest first). */
void identity_make(const struct identity *id, struct identity_worker **w, uint32_t row,
                   char out[IDENTITY_LEN]);

#endif
