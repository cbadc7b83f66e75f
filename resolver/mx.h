/* Where mail for a domain goes: pure, from raw DNS answers to an ordered set of MX hosts
 * with addresses, a site name, or the code why there is none (608, 700, 710, 711, 720, 730:
 * docs/codes.md). RFC 5321 5.1, 7505, 1035, 2181. No I/O, no clock: time is an argument. */
#ifndef RESOLVER_MX_H
#define RESOLVER_MX_H

#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "resolver/deny.h"

enum {
    MX_HOSTS_MAX = 16,            /* of one domain; the best preferences win */
    MX_HOST_ADDRESSES_MAX = 8,    /* of one host, both families */
    MX_TARGETS_MAX = 5,           /* addresses of one attempt */
    MX_TTL_MIN_S = 60,
    MX_TTL_MAX_S = 86400,
    MX_NEGATIVE_TTL_MAX_S = 900,
};

struct mx_host {
    char *name;                   /* lower case, no trailing dot */
    uint16_t preference;
    int addresses_n;
    struct ip addresses[MX_HOST_ADDRESSES_MAX];
};

/* The answer for one domain. Reference-counted, immutable once made; the count is not
 * atomic: all holders live on the scheduler thread. */
struct mx_set {
    int code;                     /* 0: there are targets; else 608, 700, 710, 711, 720, 730 */
    char status[8];               /* enhanced status when not the table's ("5.1.10"), else "" */
    char words[200];              /* code != 0: why, one clean line */
    char *site;                   /* "MX host of best preference, least name" or the domain itself */
    char *key;                    /* canonical text of the whole set; equal keys share a site */
    int64_t expires_us;           /* when to ask again */
    int32_t took_us;              /* time the lookup took, for timings dns= */
    int hosts_n;
    struct mx_host *hosts;        /* by preference, then name; denied addresses are gone */
    int references;
};

struct mx_set *mx_set_ref(struct mx_set *s);
void mx_set_unref(struct mx_set *s); /* NULL is allowed */

/* One address to connect to. */
struct mx_target {
    const char *host;             /* points into the set */
    uint16_t preference;
    struct ip address;
};

/* At most MX_TARGETS_MAX addresses in the order of one attempt: by preference, random among
 * equals, both families represented when both exist. Returns how many. */
int mx_targets(const struct mx_set *s, struct rng *rng, struct mx_target out[MX_TARGETS_MAX]);

#endif
