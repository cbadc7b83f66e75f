/* Where mail for a domain goes: pure, from raw DNS answers to an ordered set of MX
 * hosts with addresses, a site name, or the code why there is none (608, 700, 710, 711,
 * 720, 730: docs/codes.md). RFC 5321 5.1, 7505, 1035, 2181. No I/O, no clock: time is
 * an argument, microseconds of one monotonic clock (the resolver's is uv_hrtime() /
 * 1000). */
#ifndef RESOLVER_MX_H
#define RESOLVER_MX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "resolver/deny.h"
#include "resolver/dnswire.h"

enum {
    MX_HOSTS_MAX = 16,         /* of one domain; the best preferences win */
    MX_HOST_ADDRESSES_MAX = 8, /* of one host, both families */
    MX_TARGETS_MAX = 5,        /* addresses of one attempt */
    MX_TTL_MIN_S = 60,
    MX_TTL_MAX_S = 86400,
    MX_NEGATIVE_TTL_MAX_S = 900,
    MX_FAILURE_TTL_S = 30, /* 710, 711; RFC 2308 7.1 allows up to five minutes */
};

struct mx_host {
    const char *name; /* lower case, no trailing dot */
    uint16_t preference;
    int addresses_n;
    struct ip *addresses; /* 1 to MX_HOST_ADDRESSES_MAX */
};

/* The answer for one domain. Reference-counted, immutable once made, one piece of
 * memory; the count is not atomic: all holders live on the scheduler thread. */
struct mx_set {
    bool is_host;   /* it was asked for in brackets */
    int code;       /* 0: there are targets; else 608, 700, 710, 711, 720, 730 */
    char status[8]; /* enhanced status when not the table's ("5.1.10"), else "" */
    const char
        *words; /* code != 0: why, one clean line, at most MX_WORDS_MAX; else "" */
    const char
        *site;       /* MX host of best preference, least name; without MX the domain */
    const char *key; /* the set as published, "a,b;c": by preference, then name,
                  whatever the numbers; equal keys share a site */
    int64_t expires_us;    /* when to ask again */
    int32_t took_us;       /* time the lookup took, for timings dns= */
    int hosts_n;           /* 0 if code != 0 */
    struct mx_host *hosts; /* by preference, then name; denied addresses are gone */
    int references;
};

enum { MX_WORDS_MAX = 200 };

/* A set of the caller's making, copied whole into one with one reference (rehearsals,
 * tests). NULL strings count as "". */
struct mx_set *mx_set_copy(const struct mx_set *model);
struct mx_set *mx_set_ref(struct mx_set *s);
void mx_set_unref(struct mx_set *s); /* NULL is allowed */

/* One address to connect to. */
struct mx_target {
    const char *host; /* points into the set */
    uint16_t preference;
    struct ip address;
};

/* At most MX_TARGETS_MAX addresses in the order of one attempt: by preference, random
 * among equals, hosts before second addresses of a host, both families represented when
 * both exist. Returns how many. */
int mx_targets(const struct mx_set *s, struct rng *rng,
               struct mx_target out[MX_TARGETS_MAX]);

/* The way to a set, without I/O: it says which questions are open, and takes answers in
 * any order until it is done.
 *
 *     q = mx_query_create(domain, deny);
 *     while (!mx_query_done(q)) {
 *         while (mx_query_next(q, &question)) … ask question.name, question.type …
 *         … an answer came: mx_query_answer(q, question.id, &answer, expires);
 *     }
 *     set = mx_query_finish(q, now, took);
 */
struct mx_query;

struct mx_question {
    int id; /* below MX_QUESTIONS_MAX; once at a time */
    enum dns_type type;
    const char *name; /* valid until the query is answered or gone */
};

enum { MX_QUESTIONS_MAX = 1 + 2 * MX_HOSTS_MAX };

/* domain: A-labels, lower case, no trailing dot; anything else ends as 700 without a
 * question. A name in brackets is a host, not a domain: "[mx.example]" is asked for its
 * addresses and for no MX; "[192.0.2.1]" and "[2001:db8::1]" are known without a
 * question. deny must outlive the query; NULL: nothing is denied, and neither is a host
 * in brackets: its name came from the user, and not from whoever publishes an MX. */
struct mx_query *mx_query_create(const char *domain, const struct deny *deny);
/* A question that is open and was not handed out before. */
bool mx_query_next(struct mx_query *q, struct mx_question *out);
/* The answer to a question that was handed out; never TRUNCATED. For DNS_ALIAS the same
 * id is handed out again with the next name. */
void mx_query_answer(struct mx_query *q, int id, const struct dns_answer *answer,
                     int64_t expires_us);
bool mx_query_done(const struct mx_query *q);
/* The set, with one reference; q must be done and is freed. */
struct mx_set *mx_query_finish(struct mx_query *q, int64_t now_us, int64_t took_us);
void mx_query_free(struct mx_query *q); /* without a result; NULL is allowed */

/* How long an answer holds: its TTL within the limits above. */
int64_t mx_answer_expires(const struct dns_answer *answer, int64_t now_us);

#endif
