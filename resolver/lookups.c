/* A lookup's way: lookups_add finds the domain in the cache, or makes it wait in
 * `fresh`. When there is room on the wire, begin() gives it an mx_query, whose
 * questions are looked up in the same cache, join a question that is already asked, or
 * wait in `open`. lookups_next hands a question out; its answer moves it to the next
 * server, or settles it, which moves on every lookup that waits for it. A set that is
 * complete puts its waiters into `ready`. */
#include "resolver/lookups.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "resolver/cache.h"

enum {
    DOMAIN_ENTRY = 0, /* cache type of a domain's set; questions have their dns_type */
    BEGUN_EACH =
        2, /* lookups begun for each query on the wire: some wait for the same */
    RCODE_AT = 3,
    RCODE_FORMERR = 1,
};

static const char nobody[] = "no name server answers";

struct waiter { /* one lookups_add */
    struct waiter *next;
    resolver_done_fn *done;
    void *arg;
    struct mx_set *set; /* in ready: what to say */
};

struct domain {
    struct cache_entry entry; /* its link: in fresh while it waits */
    struct mx_set *set;       /* what is known */
    struct waiter *waiters;   /* newest first; none: nobody asks */
    struct lookup *lookup;    /* begun */
    char name[];
};

struct asker { /* a lookup that waits for a question */
    struct link link;
    struct lookup *lookup;
    int id;
};

struct lookup {
    struct domain *domain;
    struct mx_query *query;
    int64_t started_us;
    struct asker askers[MX_QUESTIONS_MAX]; /* by question id */
};

struct asking {       /* a question that is open */
    struct link link; /* in open, parked or flying */
    struct question *question;
    struct link askers;
    struct servers_way way;
    int server; /* -1: to be chosen */
    bool tcp;
    bool without_edns; /* FORMERR was answered: c-ares leaves EDNS out from then on */
    bool parked_before;
    int64_t started_us;
    enum dns_result bad; /* the answer that was no use, if bad_why */
    const char *bad_why;
};

struct question {
    struct cache_entry entry;
    struct asking *asking; /* NULL: known until entry.expires_us */
    enum dns_result result;
    const char *why;
    int n;
    struct ip *addresses;
    char name[];
};

struct lookups {
    const struct deny *deny;
    int in_flight_max;
    int begun; /* lookups with an mx_query */
    struct servers servers;
    unsigned to_probe; /* bits: servers */
    unsigned probing;
    struct cache cache;
    struct link fresh; /* domains that wait to be begun, oldest first */
    struct link open;  /* askings that wait to be sent; before fresh, so that what is
                          begun ends soon */
    struct link
        parked; /* askings that nobody answered, while nobody answered anything */
    struct link flying; /* askings on the wire */
    struct waiter *ready;
    struct waiter **ready_end;
    struct resolver_stats stats;
};

/* ---- the cache's two kinds of entry ---- */

static struct domain *domain_create(struct lookups *l, const char *name)
{
    size_t n = strlen(name);
    struct domain *d = mem_alloc(sizeof *d + n + 1);
    *d = (struct domain){.entry = {.type = DOMAIN_ENTRY, .name = d->name}};
    memcpy(d->name, name, n + 1);
    cache_add(&l->cache, &d->entry);
    return d;
}

static struct question *question_create(struct lookups *l, const char *name,
                                        enum dns_type type)
{
    size_t n = strlen(name);
    struct question *q = mem_alloc(sizeof *q + n + 1);
    *q = (struct question){.entry = {.type = (uint16_t)type, .name = q->name}};
    memcpy(q->name, name, n + 1);
    cache_add(&l->cache, &q->entry);
    return q;
}

static void free_waiters(struct waiter *w)
{
    while (w) {
        struct waiter *next = w->next;
        mx_set_unref(w->set);
        free(w);
        w = next;
    }
}

static void free_entry(struct cache_entry *e)
{
    if (e->type == DOMAIN_ENTRY) {
        struct domain *d = CONTAINER_OF(e, struct domain, entry);
        free_waiters(d->waiters);
        if (d->lookup)
            mx_query_free(d->lookup->query);
        free(d->lookup);
        mx_set_unref(d->set);
        free(d);
    } else {
        struct question *q = CONTAINER_OF(e, struct question, entry);
        free(q->asking);
        free(q->addresses);
        free(q);
    }
}

/* ---- from answers to sets ---- */

static void make_ready(struct lookups *l, struct waiter *w, struct mx_set *set)
{
    w->set = mx_set_ref(set);
    w->next = NULL;
    *l->ready_end = w;
    l->ready_end = &w->next;
}

static void complete(struct lookups *l, struct lookup *lookup, int64_t now_us)
{
    struct domain *d = lookup->domain;
    mx_set_unref(d->set);
    d->set = mx_query_finish(lookup->query, now_us, now_us - lookup->started_us);
    d->entry.expires_us = d->set->expires_us;
    d->lookup = NULL;
    free(lookup);
    l->begun--;
    struct waiter *oldest = NULL;
    for (struct waiter *w = d->waiters, *next; w; w = next) {
        next = w->next;
        w->next = oldest;
        oldest = w;
    }
    d->waiters = NULL;
    for (struct waiter *w = oldest, *next; w; w = next) {
        next = w->next;
        make_ready(l, w, d->set);
    }
    cache_rest(&l->cache, &d->entry);
}

/* What the cache holds, in the form of an answer. */
static void answer_from(const struct question *q, struct dns_answer *out)
{
    out->result = q->result;
    out->why = q->why;
    out->aliases = 0;
    out->null_mx = false;
    out->n = q->n;
    if (q->n)
        memcpy(out->addresses, q->addresses, (size_t)q->n * sizeof *q->addresses);
}

static void open_question(struct lookups *l, struct question *q, int64_t now_us)
{
    struct asking *a = mem_zero(1, sizeof *a);
    a->question = q;
    a->server = -1;
    a->started_us = now_us;
    link_init(&a->link);
    link_init(&a->askers);
    q->asking = a;
    link_append(&l->open, &a->link);
    l->stats.waiting++;
}

/* Answer all questions that the cache can answer, join or open the others. */
static void advance(struct lookups *l, struct lookup *lookup, int64_t now_us)
{
    struct mx_question wanted;
    struct dns_answer answer;
    while (mx_query_next(lookup->query, &wanted)) {
        struct cache_entry *e =
            cache_find(&l->cache, (uint16_t)wanted.type, wanted.name);
        struct question *q = e ? CONTAINER_OF(e, struct question, entry) : NULL;
        if (q && !q->asking && q->entry.expires_us > now_us) {
            answer_from(q, &answer);
            mx_query_answer(lookup->query, wanted.id, &answer, q->entry.expires_us);
            cache_rest(&l->cache, &q->entry);
            continue;
        }
        if (!q)
            q = question_create(l, wanted.name, wanted.type);
        if (!q->asking) {
            cache_wake(&q->entry);
            open_question(l, q, now_us);
        }
        link_append(&q->asking->askers, &lookup->askers[wanted.id].link);
    }
    if (mx_query_done(lookup->query))
        complete(l, lookup, now_us);
}

/* Keep the answer, if it is about addresses. An MX answer lives on in the domain's set.
 */
static void remember(struct lookups *l, struct question *q,
                     const struct dns_answer *answer, int64_t expires_us)
{
    q->asking = NULL;
    if (q->entry.type == DNS_MX || answer->result == DNS_ALIAS) {
        cache_drop(&l->cache, &q->entry);
        return;
    }
    free(q->addresses);
    q->addresses = NULL;
    q->result = answer->result;
    q->why = answer->why;
    q->n = answer->n;
    if (q->n) {
        size_t size = (size_t)q->n * sizeof *q->addresses;
        q->addresses = mem_alloc(size);
        memcpy(q->addresses, answer->addresses, size);
    }
    q->entry.expires_us = expires_us;
    cache_rest(&l->cache, &q->entry);
}

/* The question has its answer, for better or worse. */
static void settle(struct lookups *l, struct asking *a, const struct dns_answer *answer,
                   int64_t now_us)
{
    int64_t expires_us = mx_answer_expires(answer, now_us);
    struct link askers;
    link_init(&askers);
    link_insert(&a->askers, &askers); /* join the ring, then take it over */
    link_remove(&a->askers);
    link_remove(&a->link);
    remember(l, a->question, answer, expires_us);
    free(a);
    while (!link_alone(&askers)) {
        struct asker *asker = CONTAINER_OF(askers.next, struct asker, link);
        link_remove(&asker->link);
        mx_query_answer(asker->lookup->query, asker->id, answer, expires_us);
        advance(l, asker->lookup, now_us);
    }
}

static void settle_without(struct lookups *l, struct asking *a, enum dns_result result,
                           const char *why, int64_t now_us)
{
    struct dns_answer answer;
    answer.result = result;
    answer.why = why;
    answer.aliases = answer.n = 0;
    answer.ttl_s = 0;
    answer.null_mx = false;
    settle(l, a, &answer, now_us);
}

static void begin(struct lookups *l, struct domain *d, int64_t now_us)
{
    struct lookup *lookup = mem_alloc(sizeof *lookup);
    cache_wake(&d->entry);
    l->stats.waiting--;
    l->begun++;
    lookup->domain = d;
    lookup->query = mx_query_create(d->name, l->deny);
    lookup->started_us = now_us;
    for (int i = 0; i < MX_QUESTIONS_MAX; i++) {
        link_init(&lookup->askers[i].link);
        lookup->askers[i].lookup = lookup;
        lookup->askers[i].id = i;
    }
    d->lookup = lookup;
    advance(l, lookup, now_us);
}

static void begin_next(struct lookups *l, int64_t now_us)
{
    struct cache_entry *e = CONTAINER_OF(l->fresh.next, struct cache_entry, link);
    begin(l, CONTAINER_OF(e, struct domain, entry), now_us);
}

/* ---- when servers do not answer ---- */

static struct asking *first(struct link *head)
{
    return CONTAINER_OF(head->next, struct asking, link);
}

/* Nobody answers: whatever waits is told so (608) instead of being tried one by one. */
static void fail_waiting(struct lookups *l, int64_t now_us)
{
    for (;;) {
        struct link *from = link_alone(&l->parked) ? &l->open : &l->parked;
        if (!link_alone(from)) {
            l->stats.waiting--;
            settle_without(l, first(from), DNS_DEAD, nobody, now_us);
        } else if (!link_alone(&l->fresh)) {
            begin_next(l, now_us);
        } else {
            return;
        }
    }
}

static void wait_in(struct lookups *l, struct link *where, struct asking *a)
{
    link_append(where, &a->link);
    l->stats.waiting++;
}

/* All servers were asked as often as they may be. */
static void give_up(struct lookups *l, struct asking *a, int64_t now_us)
{
    if (a->bad_why) {
        settle_without(l, a, a->bad, a->bad_why, now_us);
    } else if (l->servers.dead) {
        settle_without(l, a, DNS_DEAD, nobody, now_us);
        fail_waiting(l, now_us);
    } else if (a->parked_before || l->servers.answered_us >= a->started_us) {
        settle_without(l, a, DNS_SILENT, "no answer in time", now_us);
    } else {
        a->parked_before = true;
        wait_in(l, &l->parked, a);
    }
}

static void try_next(struct lookups *l, struct asking *a, int64_t now_us)
{
    a->server = -1;
    a->tcp = false;
    if (servers_next(&l->servers, &a->way, now_us) < 0)
        give_up(l, a, now_us);
    else
        wait_in(l, &l->open, a);
}

/* A server spoke: what was parked gets one more chance. */
static void note_answer(struct lookups *l, int server, int64_t now_us)
{
    servers_answered(&l->servers, server, now_us);
    while (!link_alone(&l->parked)) {
        struct asking *a = first(&l->parked);
        a->way = (struct servers_way){0};
        a->started_us = now_us;
        link_append(&l->open, &a->link);
    }
}

/* ---- the holder's side ---- */

struct lookups *lookups_create(const struct lookups_params *params)
{
    struct lookups *l = mem_zero(1, sizeof *l);
    l->deny = params->deny;
    l->in_flight_max = params->in_flight;
    servers_init(&l->servers, params->servers_n, params->rounds, params->timeout_us);
    cache_init(&l->cache, params->cache, free_entry);
    link_init(&l->fresh);
    link_init(&l->open);
    link_init(&l->parked);
    link_init(&l->flying);
    l->ready_end = &l->ready;
    return l;
}

void lookups_free(struct lookups *l)
{
    free_waiters(l->ready);
    cache_finish(&l->cache);
    free(l);
}

void lookups_add(struct lookups *l, const char *domain, resolver_done_fn *done,
                 void *arg, int64_t now_us)
{
    struct waiter *w = mem_zero(1, sizeof *w);
    w->done = done;
    w->arg = arg;
    l->stats.lookups++;
    struct cache_entry *e = cache_find(&l->cache, DOMAIN_ENTRY, domain);
    struct domain *d =
        e ? CONTAINER_OF(e, struct domain, entry) : domain_create(l, domain);
    bool busy = d->waiters != NULL;
    if (!busy && d->set && d->entry.expires_us > now_us) {
        l->stats.cache_hits++;
        make_ready(l, w, d->set);
        cache_rest(&l->cache, &d->entry);
        return;
    }
    w->next = d->waiters;
    d->waiters = w;
    if (busy)
        return;
    link_append(&l->fresh, &d->entry.link);
    l->stats.waiting++;
}

/* Give the first open question its server; false: it was the way's end. */
static bool hand_out(struct lookups *l, struct asking *a, int64_t now_us,
                     struct lookups_question *out)
{
    l->stats.waiting--;
    if (a->server < 0)
        a->server = servers_next(&l->servers, &a->way, now_us);
    if (a->server < 0) { /* the last one left was put aside meanwhile */
        give_up(l, a, now_us);
        return false;
    }
    link_append(&l->flying, &a->link);
    l->stats.in_flight++;
    l->stats.queries++;
    servers_sent(&l->servers, now_us);
    *out = (struct lookups_question){.token = a,
                                     .name = a->question->name,
                                     .type = (enum dns_type)a->question->entry.type,
                                     .server = a->server,
                                     .tcp = a->tcp};
    return true;
}

bool lookups_next(struct lookups *l, int64_t now_us, struct lookups_question *out)
{
    while (l->stats.in_flight < l->in_flight_max) {
        if (!link_alone(&l->open)) {
            if (hand_out(l, first(&l->open), now_us, out))
                return true;
        } else if (!link_alone(&l->fresh) && l->begun < BEGUN_EACH * l->in_flight_max) {
            begin_next(l, now_us);
        } else {
            return false;
        }
    }
    return false;
}

/* An answer that is no use: the next server may know more. SERVFAIL says more than a
 * refusal. */
static void take_bad(struct lookups *l, struct asking *a,
                     const struct dns_answer *answer, int64_t now_us)
{
    if (!a->bad_why || answer->result == DNS_SERVFAIL) {
        a->bad = answer->result == DNS_SERVFAIL ? DNS_SERVFAIL : DNS_UNUSABLE;
        a->bad_why = answer->why;
    }
    a->way.answered = (uint8_t)(a->way.answered | 1 << a->server);
    try_next(l, a, now_us);
}

void lookups_answered(struct lookups *l, struct asking *token, const uint8_t *packet,
                      size_t n, int64_t now_us)
{
    struct asking *a = token;
    struct dns_answer answer;
    l->stats.in_flight--;
    l->stats.answers++;
    note_answer(l, a->server, now_us);
    dns_answer_parse(packet, n, a->question->name,
                     (enum dns_type)a->question->entry.type, &answer);
    bool formerr = n > RCODE_AT && (packet[RCODE_AT] & 0xf) == RCODE_FORMERR;
    if (answer.result == DNS_TRUNCATED && !a->tcp) {
        a->tcp = true; /* the same server in another manner, here and below */
        wait_in(l, &l->open, a);
    } else if (formerr && !a->without_edns) {
        a->without_edns = true;
        wait_in(l, &l->open, a);
    } else if (answer.result == DNS_SERVFAIL || answer.result == DNS_UNUSABLE ||
               answer.result == DNS_TRUNCATED) {
        take_bad(l, a, &answer, now_us);
    } else {
        settle(l, a, &answer, now_us);
    }
}

void lookups_silent(struct lookups *l, struct asking *token, int64_t now_us)
{
    l->stats.in_flight--;
    l->stats.timeouts++;
    servers_silent(&l->servers, &token->way, token->server, token->tcp, now_us);
    if (l->servers.waiting_since_us != INT64_MAX)
        l->to_probe = (1u << l->servers.n) - 1;
    try_next(l, token, now_us);
}

int lookups_probe(struct lookups *l)
{
    unsigned wanted = l->to_probe & ~l->probing;
    l->to_probe = 0;
    if (!wanted)
        return -1;
    int server = __builtin_ctz(wanted);
    l->to_probe = wanted & ~(1u << server);
    l->probing |= 1u << server;
    return server;
}

void lookups_probed(struct lookups *l, int server, bool answered, int64_t now_us)
{
    l->probing &= ~(1u << server);
    if (answered)
        note_answer(l, server, now_us);
    else
        servers_unreachable(&l->servers, server, now_us);
}

void lookups_tick(struct lookups *l, int64_t now_us)
{
    if (!link_alone(&l->parked))
        l->to_probe = (1u << l->servers.n) - 1;
    if (servers_died(&l->servers, now_us))
        fail_waiting(l, now_us);
    if (!lookups_busy(l))
        servers_idle(&l->servers);
}

bool lookups_busy(const struct lookups *l)
{
    return l->stats.in_flight > 0 || l->probing || l->to_probe || l->stats.waiting > 0;
}

bool lookups_done(struct lookups *l, struct lookups_done *out)
{
    struct waiter *w = l->ready;
    if (!w)
        return false;
    l->ready = w->next;
    if (!l->ready)
        l->ready_end = &l->ready;
    *out = (struct lookups_done){w->done, w->arg, w->set};
    free(w);
    return true;
}

bool lookups_has_done(const struct lookups *l)
{
    return l->ready != NULL;
}

struct resolver_stats lookups_stats(const struct lookups *l)
{
    struct resolver_stats stats = l->stats;
    stats.dead = l->servers.dead;
    return stats;
}
