/* Asks the DNS for domains' MX sets: c-ares on a libuv loop, a cache by TTL (negative
 * too), one query a name however many ask, a bound on queries in flight; failover
 * between servers, and TCP for what UDP cannot carry. uv.h and ares.h are included in
 * resolver.c only. One loop, one thread; callbacks come on that thread, never from
 * inside resolver_lookup. Times in the sets are uv_hrtime() / 1000. */
#ifndef RESOLVER_RESOLVER_H
#define RESOLVER_RESOLVER_H

#include "base/fault.h"
#include "resolver/mx.h"

struct uv_loop_s;
struct resolver;

enum { RESOLVER_CACHE = 100000, RESOLVER_IN_FLIGHT_MAX = 10000 };

struct resolver_params {
    const char *const *servers; /* "address:port" or "[v6]:port"; none: resolv.conf */
    int servers_n;
    int64_t timeout_ms;      /* of one query to one server */
    int tries;               /* rounds over servers that stay silent */
    int in_flight;           /* queries on the wire at once */
    uint32_t cache;          /* names remembered; 0: RESOLVER_CACHE */
    const struct deny *deny; /* may be NULL; must outlive the resolver */
};

/* NULL and *f: -7 for a bad or too many servers, -20 when c-ares cannot start. A server
 * without a port means port 53. Strings are copied. */
struct resolver *resolver_create(struct uv_loop_s *loop,
                                 const struct resolver_params *params, struct fault *f);

/* set: a reference that the callee owns (mx_set_unref). */
typedef void resolver_done_fn(void *arg, struct mx_set *set);

/* Look a domain up (A-labels, lower case), or a host: its name or address in brackets
 * (mx_query_create). done is called once, later; it may look up more domains and may
 * close the resolver. */
void resolver_lookup(struct resolver *r, const char *domain, resolver_done_fn *done,
                     void *arg);

struct resolver_stats {
    uint64_t lookups, cache_hits; /* cache_hits: lookups that needed no work at all */
    uint64_t queries, answers, timeouts; /* timeouts: queries without an answer */
    int waiting;   /* domains and questions that wait for their turn */
    int in_flight; /* queries on the wire */
    bool dead;     /* no server has answered anything for twice the timeout (608) */
};
struct resolver_stats resolver_stats(const struct resolver *r);

/* Stop: pending lookups are dropped without a callback, handles close; memory goes when
 * the loop has run their close callbacks, so run the loop once more afterwards. An idle
 * resolver does not keep the loop alive. */
void resolver_close(struct resolver *r);

#endif
