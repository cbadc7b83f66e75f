#include "smtp/tls_certificate.h"

#include <openssl/ec.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/buf.h"

static bool add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool good = e && X509_add_ext(certificate, e, -1);
    X509_EXTENSION_free(e);
    return good;
}

bool tls_self_sign(SSL_CTX *ssl, const char *name)
{
    enum { VERSION_3 = 2, DAY_S = 24 * 60 * 60, DAYS = 365 };
    struct buf alternative = {0};
    buf_printf(&alternative, "DNS:%s", name);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_NAME *subject = x ? X509_get_subject_name(x) : NULL;
    bool good = key && x && X509_set_version(x, VERSION_3) &&
                ASN1_INTEGER_set(X509_get_serialNumber(x), 1) &&
                X509_gmtime_adj(X509_getm_notBefore(x), -DAY_S) &&
                X509_gmtime_adj(X509_getm_notAfter(x), (long)DAYS * DAY_S) &&
                X509_set_pubkey(x, key) &&
                X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                           (const unsigned char *)name, -1, -1, 0) &&
                X509_set_issuer_name(x, subject) &&
                add_extension(x, NID_subject_alt_name, buf_cstr(&alternative)) &&
                X509_sign(x, key, EVP_sha256()) && SSL_CTX_use_certificate(ssl, x) &&
                SSL_CTX_use_PrivateKey(ssl, key);
    X509_free(x);
    EVP_PKEY_free(key);
    buf_finish(&alternative);
    return good;
}
