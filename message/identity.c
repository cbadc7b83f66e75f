#include "message/identity.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { TAG_LEN = 16, DIGEST_LEN = 32, USED_LEN = 20 };

struct identity {
    EVP_MAC *mac;
    EVP_MAC_CTX *keyed;
    uint8_t tag[TAG_LEN]; /* tells keys apart: a worker may meet another job */
};

struct identity_worker {
    EVP_MAC_CTX *ctx;
    uint8_t tag[TAG_LEN];
};

/* OpenSSL fails here only without memory or without SHA-256. */
static void must(int good)
{
    if (good != 1)
        die_oom();
}

static void digest(EVP_MAC_CTX *ctx, const void *p, size_t n, uint8_t out[DIGEST_LEN])
{
    size_t out_n = 0;
    must(EVP_MAC_init(ctx, NULL, 0, NULL)); /* the same key again, without its cost */
    must(EVP_MAC_update(ctx, p, n));
    must(EVP_MAC_final(ctx, out, &out_n, DIGEST_LEN));
    assert(out_n == DIGEST_LEN);
}

struct identity *identity_create(const uint8_t *secret, size_t secret_n)
{
    struct identity *id = mem_zero(1, sizeof *id);
    char sha256[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0),
        OSSL_PARAM_construct_end(),
    };
    id->mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    must(id->mac != NULL);
    id->keyed = EVP_MAC_CTX_new(id->mac);
    must(id->keyed != NULL);
    must(EVP_MAC_init(id->keyed, secret_n ? secret : (const uint8_t *)"", secret_n,
                      params));
    uint8_t out[DIGEST_LEN];
    digest(id->keyed, "tag of the key", 14, out);
    memcpy(id->tag, out, TAG_LEN);
    must(EVP_MAC_init(id->keyed, NULL, 0, NULL));
    return id;
}

void identity_destroy(struct identity *id)
{
    if (!id)
        return;
    EVP_MAC_CTX_free(id->keyed);
    EVP_MAC_free(id->mac);
    free(id);
}

void identity_worker_destroy(struct identity_worker *w)
{
    if (!w)
        return;
    EVP_MAC_CTX_free(w->ctx);
    free(w);
}

void identity_make(const struct identity *id, struct identity_worker **w, uint32_t row,
                   char out[IDENTITY_LEN])
{
    if (*w && memcmp((*w)->tag, id->tag, TAG_LEN) != 0) {
        identity_worker_destroy(*w);
        *w = NULL;
    }
    if (!*w) {
        *w = mem_zero(1, sizeof **w);
        (*w)->ctx = EVP_MAC_CTX_dup(id->keyed);
        must((*w)->ctx != NULL);
        memcpy((*w)->tag, id->tag, TAG_LEN);
    }
    const uint8_t bytes[4] = {(uint8_t)(row >> 24), (uint8_t)(row >> 16),
                              (uint8_t)(row >> 8), (uint8_t)row};
    uint8_t hash[DIGEST_LEN];
    digest((*w)->ctx, bytes, sizeof bytes, hash);
    for (int i = 0, at = 0; i < USED_LEN; i += 5, at += 8) {
        uint64_t v = 0;
        for (int k = 0; k < 5; k++)
            v = v << 8 | hash[i + k];
        for (int k = 0; k < 8; k++)
            out[at + k] = "abcdefghijklmnopqrstuvwxyz234567"[v >> (35 - 5 * k) & 31];
    }
}
