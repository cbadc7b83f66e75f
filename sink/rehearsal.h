/* A rehearsal's other side: a child process that is the whole internet for one job. It
 * answers DNS on 127.0.0.1 and listens for SMTP on 127.0.0.2, 127.0.0.3, …, one address
 * a mood in the order of sink_moods, all on one port that the kernel chose. The child
 * dies with its parent, whatever ends that; it ignores SIGINT, SIGTERM and SIGHUP,
 * because the parent still needs it while it stops. It inherits no descriptor but
 * standard error. */
#ifndef SINK_REHEARSAL_H
#define SINK_REHEARSAL_H

#include "base/fault.h"
#include "sink/server.h"

struct rehearsal_params {
    const char *record;       /* file for the record, made or emptied; NULL: none */
    const char *const *moods; /* names: only these for domains that name none; NULL: all
                                 that the table spreads (sink/spread.h) */
    int moods_n;
};

struct rehearsal;

/* Begin on the main thread before there is any other: it forks, and the child ends with
 * the thread that started it. When it returns, everything listens. NULL and *f: -7 no
 * such mood, -20 the record cannot be made, 609 no sockets. */
struct rehearsal *rehearsal_start(const struct rehearsal_params *params,
                                  struct fault *f);

int rehearsal_dns_port(const struct rehearsal *r);  /* UDP, on 127.0.0.1 */
int rehearsal_smtp_port(const struct rehearsal *r); /* TCP, on every mood's address */

/* End the child, take its counts and free r. False: it was dead already; then
 * *counts_out is zero. */
bool rehearsal_stop(struct rehearsal *r, struct sink_counts *counts_out);

#endif
