/* Whom TLS believes: the authorities of every tls_ca_file in the settings, read once,
 * and the kinds of contexts that destinations may want: each file with each
 * tls_min_version. */
#ifndef CLI_TRUST_H
#define CLI_TRUST_H

#include "conf/conf.h"
#include "smtp/tls.h"

struct trust {
    const char **files; /* each once; "": those of the system */
    struct tls_authorities **authorities;
    int files_n;
    struct tls_client_params *kinds; /* worker_params.tls */
    int kinds_n;
};

/* Reads the files that policy { } and the sections give; those of the system only when
 * somebody wants `tls = verify`. False and *f (-7) with the line of a file that cannot
 * be used. conf must outlive it. */
bool trust_open(struct trust *t, const struct conf *conf, struct fault *f);
void trust_close(struct trust *t);

/* The number of the kind that this policy wants. */
int trust_kind(const struct trust *t, const struct conf_policy *p);

#endif
