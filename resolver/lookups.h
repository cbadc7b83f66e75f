/* The lookups that are on their way, sans-IO: domains come in, questions to ask go out,
 * packets and silences come in, finished sets go out. Here are the cache, one query a
 * name however many ask, the bound on queries in flight, the failover between servers,
 * and 608. Pure: time is an argument. One holder; nothing is called back. resolver.c is
 * its shell. */
#ifndef RESOLVER_LOOKUPS_H
#define RESOLVER_LOOKUPS_H

#include "resolver/mx.h"
#include "resolver/resolver.h"
#include "resolver/servers.h"

struct lookups_params {
    int servers_n;
    int rounds;         /* over servers that stay silent */
    int64_t timeout_us; /* of one query */
    int in_flight;
    uint32_t cache;          /* names remembered */
    const struct deny *deny; /* may be NULL; must outlive the lookups */
};

struct lookups *lookups_create(const struct lookups_params *params);
/* Drops everything; tokens that are out must not come back. */
void lookups_free(struct lookups *l);

void lookups_add(struct lookups *l, const char *domain, resolver_done_fn *done,
                 void *arg, int64_t now_us);

/* A question to ask one server now. */
struct asking;
struct lookups_question {
    struct asking *token; /* for exactly one of answered and silent */
    const char *name;
    enum dns_type type;
    int server;
    bool tcp;
};
bool lookups_next(struct lookups *l, int64_t now_us, struct lookups_question *out);
void lookups_answered(struct lookups *l, struct asking *token, const uint8_t *packet,
                      size_t n, int64_t now_us);
void lookups_silent(struct lookups *l, struct asking *token, int64_t now_us);

/* A server that is silent about one domain may be well: ask it something that any
 * server answers at once, be it with a refusal. The server to probe now, or -1; each is
 * followed by one lookups_probed. */
int lookups_probe(struct lookups *l);
void lookups_probed(struct lookups *l, int server, bool answered, int64_t now_us);

/* Time passes: call a few times each timeout while lookups_busy. */
void lookups_tick(struct lookups *l, int64_t now_us);
bool lookups_busy(const struct lookups *l);

/* The next caller to be told, oldest first; out->set is a reference to pass on. */
struct lookups_done {
    resolver_done_fn *done;
    void *arg;
    struct mx_set *set;
};
bool lookups_done(struct lookups *l, struct lookups_done *out);
bool lookups_has_done(const struct lookups *l);

struct resolver_stats lookups_stats(const struct lookups *l);

#endif
