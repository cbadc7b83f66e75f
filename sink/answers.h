/* A DNS answerer for rehearsals and tests, sans-IO: a query in, an answer out. Every domain exists and
 * has one MX, whose address is the loopback address of the mood that the domain belongs to.
 * RFC 1035. Pure. */
#ifndef SINK_ANSWERS_H
#define SINK_ANSWERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { ANSWER_MAX = 512 };

struct answers {
    /* Which of n groups a domain belongs to, and each group's IPv4 address. Group -1: NXDOMAIN;
     * -2: SERVFAIL. */
    int (*group_of)(void *arg, struct span domain);
    void *arg;
    const uint8_t (*addresses)[4];
    int groups;
};

/* Answer one UDP query; returns the answer's length, 0: no answer (not a query). MX of DOMAIN is `mx.gN.DOMAIN`?
 * see answers.c; A of that name is the group's address; AAAA is NODATA. */
size_t answers_reply(const struct answers *a, const uint8_t *query, size_t n,
                     uint8_t out[ANSWER_MAX]);

#endif
