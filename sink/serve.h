/* The receiver by itself, as `hikyaku sink` runs it: listens, serves until SIGINT or
 * SIGTERM, tells its counts. Blocks; takes those two signals for as long. */
#ifndef SINK_SERVE_H
#define SINK_SERVE_H

#include "base/fault.h"
#include "sink/server.h"

struct serve_listen {
    const char *address; /* IPv4 or IPv6 */
    int port;            /* 0: the kernel chooses */
    const struct mood *mood;
};

struct serve_params {
    const struct serve_listen *listens;
    int listens_n;
    const char *record;   /* file for the record, made or emptied; NULL: none */
    const char *keep_dir; /* folder for the messages; NULL: they are not kept */
    const char *cert;     /* PEM, for moods with TLS; NULL: a self-signed one is made */
    const char *key;      /* NULL: it is in the certificate's file */
    /* Called for each listener once all listen, with the port that it has. */
    void (*on_listening)(void *arg, const struct serve_listen *l, int port);
    void *arg;
};

/* False and *f: -7 the certificate cannot be used, -20 the record cannot be made or
 * written, 609 an address cannot be listened at. *counts_out is valid in both cases. */
bool sink_serve(const struct serve_params *p, struct sink_counts *counts_out,
                struct fault *f);

#endif
