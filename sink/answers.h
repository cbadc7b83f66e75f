/* A DNS answerer for rehearsals and tests, sans-IO: a query in, an answer out. Each
 * domain has one MX, "mx." and its own name, whose address is the IPv4 address of the
 * group that the domain belongs to; there is no IPv6. RFC 1035, 2308, 6891, 7505. Pure.
 */
#ifndef SINK_ANSWERS_H
#define SINK_ANSWERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { ANSWER_MAX = 512 };

/* Groups that are no group: what a domain's questions get instead. */
enum {
    ANSWER_NXDOMAIN = -1,
    ANSWER_SERVFAIL = -2,
    ANSWER_NULL_MX = -3, /* RFC 7505 */
};

struct answers {
    /* Which of n groups a domain (lower case, no final dot) belongs to, or one of the
     * above. Must always say the same of the same domain. */
    int (*group_of)(void *arg, struct span domain);
    void *arg;
    const uint8_t (*addresses)[4]; /* of each group */
    int groups;
};

/* Answer one UDP query; returns the answer's length, 0: no answer (not a query that can
 * be read). MX of DOMAIN is "mx.DOMAIN"; A of any name is the address of the name
 * without a leading "mx."; all other types: no data. */
size_t answers_reply(const struct answers *a, const uint8_t *query, size_t n,
                     uint8_t out[ANSWER_MAX]);

#endif
