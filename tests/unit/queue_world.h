/* A world for questions to the scheduler about budgets, sources and what restrains a
 * path, under a false clock: each domain is a site of its own, and connections stand as
 * long as the test lets them. For one test program each. */
#ifndef QUEUE_WORLD_H
#define QUEUE_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "queue/scheduler.h"

enum { DOMAINS = 4, CONNECTIONS = 64, GATES = 4, SECOND_US = 1000 * 1000 };
static const int64_t minute_us = INT64_C(60) * SECOND_US;
static const int64_t interval_ms[] = {30 * 60 * 1000};
static const int64_t interval_us = INT64_C(30 * 60) * SECOND_US;

struct lane {
    bool open, last; /* no more comes */
    uint8_t source;
    char site[32];
    uint32_t rows[LEASE_MAX];
    int n;
    struct gate *connects[GATES], *mails[GATES]; /* to be passed; for who counts */
    int gates_n;
    uint32_t messages, served; /* at most so many; 0: no limit */
    bool connected;
};

struct world {
    struct scheduler *s;
    struct recipients *list;
    int64_t now;
    struct lane lanes[CONNECTIONS];
    int open, most; /* connections; ever at once */
    int stopped;    /* orders STOP */
    int delivered;
    struct decision last;
    scheduler_policy_fn *policy_of; /* NULL: one policy for all */
    void *policy_arg;
    int64_t ttl_us; /* of what a lookup says; 0: for ever */
};

static inline struct recipients *make_list(int rows, int domains)
{
    char path[] = "/tmp/hikyaku-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    fputs("email\n", file);
    for (int i = 0; i < rows; i++)
        fprintf(file, "r%d@d%d.example\n", i, i % domains);
    fclose(file);
    struct recipients_params params = {.path = path};
    struct fault f = {0};
    struct recipients *list = recipients_open(&params, &f);
    assert_non_null(list);
    unlink(path);
    return list;
}

/* With a day of tries, one each half an hour. */
static inline struct scheduler_policy whole_life(struct scheduler_policy policy)
{
    policy.retry_interval_ms = interval_ms;
    policy.retry_intervals = 1;
    policy.lifetime_ms = 24 * 3600 * 1000;
    return policy;
}

/* With room for so many connections in all. w->policy_of is kept. */
static inline void begin_in(struct world *w, uint32_t room, int rows, int domains,
                            struct scheduler_policy policy)
{
    *w = (struct world){
        .now = 1000000, .policy_of = w->policy_of, .policy_arg = w->policy_arg};
    w->list = make_list(rows, domains);
    struct scheduler_params params = {
        .list = w->list,
        .policy = whole_life(policy),
        .policy_of = w->policy_of,
        .policy_arg = w->policy_arg,
        .connections_total = room,
        .sources_n = 8,
        .refusals_max = 20,
        .seed = 1,
        .now_us = w->now,
    };
    w->s = scheduler_create(&params);
}

static inline void begin(struct world *w, int rows, int domains,
                         struct scheduler_policy policy)
{
    w->policy_of = NULL;
    begin_in(w, CONNECTIONS, rows, domains, policy);
}

static inline void finish(struct world *w)
{
    scheduler_destroy(w->s);
    recipients_free(w->list);
}

static inline void resolve_domain(struct world *w, uint32_t domain)
{
    char site[32];
    struct ip ip;
    snprintf(site, sizeof site, "mx.d%u", domain);
    ip_parse("192.0.2.1", &ip);
    struct mx_host host = {.name = site, .addresses_n = 1, .addresses = &ip};
    struct mx_set model = {.site = site,
                           .key = site,
                           .hosts = &host,
                           .hosts_n = 1,
                           .expires_us = w->ttl_us ? w->now + w->ttl_us : INT64_MAX};
    scheduler_resolved(w->s, domain, mx_set_copy(&model), w->now);
}

static inline void resolve(struct world *w)
{
    for (uint32_t domain; (domain = scheduler_ask(w->s)) != RECIPIENTS_NO_DOMAIN;)
        resolve_domain(w, domain);
}

static inline void end_lane(struct world *w, uint32_t number, enum close_kind how)
{
    struct lane *lane = &w->lanes[number];
    while (lane->n)
        scheduler_returned(w->s, number, lane->rows[--lane->n], w->now);
    lane->open = false;
    w->open--;
    assert_false(scheduler_closed(w->s, number, how, false, w->now));
}

/* Take all orders that there are. */
static inline void take_orders(struct world *w)
{
    static struct order o;
    scheduler_advance(w->s, w->now);
    resolve(w);
    while (scheduler_recall(w->s, &o, w->now)) {
        struct lane *lane = &w->lanes[o.connection];
        while (lane->n) /* nothing is begun */
            scheduler_returned(w->s, o.connection, lane->rows[--lane->n], w->now);
        if (o.kind == ORDER_STOP) {
            w->stopped++;
            end_lane(w, o.connection, CLOSED_CLEAN);
        }
    }
    while (scheduler_next(w->s, &o, w->now) != ORDER_NONE) {
        struct lane *lane = &w->lanes[o.connection];
        if (o.kind == ORDER_OPEN) {
            *lane = (struct lane){.open = true,
                                  .source = o.source,
                                  .gates_n = o.gates_n,
                                  .messages = o.messages};
            for (int i = 0; i < o.gates_n; i++) {
                assert_true(i < GATES);
                lane->connects[i] = o.connect_gates[i];
                lane->mails[i] = o.mail_gates[i];
            }
            snprintf(lane->site, sizeof lane->site, "%s", o.site);
            w->most = ++w->open > w->most ? w->open : w->most;
        }
        assert_true(lane->open);
        for (int i = 0; i < o.rows_n; i++)
            lane->rows[lane->n++] = o.rows[i];
        lane->last = o.last;
        if (o.last && lane->n == 0)
            end_lane(w, o.connection, CLOSED_CLEAN);
    }
}

static const struct settlement good = {
    .outcome = OUTCOME_DELIVERED, .counted = true, .worked = true};
static const struct settlement refused = {
    .outcome = OUTCOME_RETRY, .counted = true, .about_us = true};
static const struct settlement later = {
    .outcome = OUTCOME_RETRY, .counted = true, .worked = true};

static inline bool settle(struct world *w, uint32_t number, struct settlement what)
{
    struct lane *lane = &w->lanes[number];
    if (!lane->open || lane->n == 0)
        return false;
    w->last = scheduler_settle(w->s, number, lane->rows[0], &what, w->now);
    lane->n--;
    for (int i = 0; i < lane->n; i++)
        lane->rows[i] = lane->rows[i + 1];
    w->delivered += what.outcome == OUTCOME_DELIVERED;
    return true;
}

/* One of each connection. */
static inline void settle_all(struct world *w, struct settlement what)
{
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        settle(w, i, what);
}

static inline struct site_view view(struct world *w)
{
    struct site_view out[1];
    assert_int_equal(scheduler_slowest(w->s, out, 1, w->now) > 0, 1);
    return out[0];
}

#endif
