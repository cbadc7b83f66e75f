/* Leases: which connection gets which rows, and when a connection is opened. */
#include "queue/inside.h"

enum { STALL_CHECK_US = 500 * 1000 };

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static bool wants_rows(const struct connection_record *c)
{
    return !c->last && !c->recalled && c->left > 0 && c->lent <= c->lease / 2;
}

/* Its lease runs low: the site may have something for it, or the end. */
void lending_offer(struct scheduler *s, struct connection_record *c)
{
    if (!wants_rows(c))
        return;
    link_append(&c->site->hungry, &c->hungry);
    wake_site(s, c->site);
}

/* Rows from the site's FIFO into the order. */
static void lend(struct scheduler *s, struct site *site, struct connection_record *c,
                 uint32_t n, struct order *out, int64_t now_us)
{
    n = min_u32(n, min_u32(site->ready.n, min_u32(c->left, LEASE_MAX)));
    out->site = site->name;
    out->group = site->group;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t index = fifo_pop(&site->ready, s->rows);
        s->rows[index].state = ROW_LENT;
        out->rows[i] = index + s->first_row - 1;
    }
    out->rows_n = (int)n;
    out->connection = (uint32_t)(c - s->connections);
    c->lent += n;
    c->lent_us = now_us;
    if (c->left != UINT32_MAX)
        c->left -= n;
    site->lent += n;
    s->lent += n;
    s->ready -= n;
    c->last = site->ready.n == 0 && s->asking == 0;
    out->last = c->last;
}

static void open_connection(struct scheduler *s, struct site *site, struct order *out,
                            int64_t now_us)
{
    uint32_t number = s->connections_free ? s->free_connections[--s->connections_free]
                                          : s->connections_used++;
    struct connection_record *c = &s->connections[number];
    uint32_t limit = policy_of(s, site)->messages_per_connection;
    *c = (struct connection_record){
        .site = site,
        .left = limit ? limit : UINT32_MAX,
        .lease = LEASE_FIRST,
        .progress_us = now_us,
    };
    link_init(&c->hungry);
    s->connections_n++;
    if (s->network_down)
        s->probe = number;
    /* Share what is ready with the connections that are still to be opened. */
    uint32_t others =
        site->window > site->connections ? site->window - site->connections : 1;
    site->connections++;
    out->kind = ORDER_OPEN;
    out->policy = site->policy;
    out->messages = limit;
    out->dns_us = site->set->took_us;
    out->targets_n = mx_targets(site->set, &s->rng, out->targets);
    lend(s, site, c, min_u32(LEASE_FIRST, (site->ready.n + others - 1) / others), out,
         now_us);
}

/* A lease should last LEASE_US: one that was used up sooner doubles, one that lasted
 * much longer halves. */
static void fit_lease(struct connection_record *c, int64_t now_us)
{
    int64_t took = now_us - c->lent_us;
    if (took < LEASE_US / 2 && c->lease < LEASE_MAX)
        c->lease = min_u32(c->lease * 2, LEASE_MAX);
    else if (took > 2 * LEASE_US && c->lease > 2)
        c->lease /= 2;
}

/* The hungry connection that something can be said to: with rows ready any, else one
 * that has nothing left and need not wait for domains that are still being looked up.
 */
static struct connection_record *hungry(struct scheduler *s, struct site *site)
{
    struct link *next;
    for (struct link *l = site->hungry.next; l != &site->hungry; l = next) {
        next = l->next;
        struct connection_record *c = CONTAINER_OF(l, struct connection_record, hungry);
        if (!wants_rows(c))
            link_remove(l);
        else if (site->ready.n || (c->lent == 0 && s->asking == 0))
            return c;
    }
    return NULL;
}

/* Feed a hungry connection: rows, or word that there are no more. */
static bool feed(struct scheduler *s, struct site *site, struct order *out,
                 int64_t now_us)
{
    struct connection_record *c = hungry(s, site);
    if (!c)
        return false;
    link_remove(&c->hungry);
    fit_lease(c, now_us);
    uint32_t share = (site->ready.n + site->connections - 1) / site->connections;
    uint32_t room = c->lease > c->lent ? c->lease - c->lent : 0;
    out->kind = ORDER_MORE;
    lend(s, site, c, min_u32(room, share), out, now_us);
    return true;
}

/* Our own machine allows one more. While the network is down that is a probe, beside
 * those that stood when it went down: they may wait for a reply for long. */
static bool may_open(const struct scheduler *s)
{
    if (s->opening_from_us != INT64_MAX || s->connections_n >= s->room)
        return false;
    return !s->network_down ||
           (s->probe == NO_CONNECTION && s->probing_from_us == INT64_MAX);
}

static bool order_for(struct scheduler *s, struct site *site, struct order *out,
                      int64_t now_us)
{
    if (feed(s, site, out, now_us))
        return true;
    if (site->ready.n == 0 ||
        !site_admits(site, policy_of(s, site)->connections, now_us))
        return false;
    if (!may_open(s)) { /* one that closes makes room for the first of these */
        link_append(&s->starved, &site->work);
        return false;
    }
    open_connection(s, site, out, now_us);
    return true;
}

bool scheduler_recall(struct scheduler *s, struct order *out, int64_t now_us)
{
    if (s->stopped || now_us < s->stall_check_us)
        return false;
    while (s->stall_at < s->connections_used) {
        uint32_t i = s->stall_at++;
        struct connection_record *c = &s->connections[i];
        if (!c->site || c->recalled || c->lent < 2 ||
            now_us - c->progress_us < STALL_US)
            continue;
        c->recalled = true;
        *out = (struct order){
            .kind = ORDER_RECALL, .connection = i, .site = c->site->name};
        return true;
    }
    s->stall_at = 0;
    s->stall_check_us = now_us + STALL_CHECK_US;
    return false;
}

/* The next site that may get an order. */
static struct site *next_site(struct scheduler *s)
{
    struct link *ring = !link_alone(&s->work) ? &s->work : &s->starved;
    if (link_alone(ring) || (ring == &s->starved && !may_open(s)))
        return NULL;
    struct site *site = CONTAINER_OF(ring->next, struct site, work);
    link_remove(&site->work);
    return site;
}

enum order_kind scheduler_next(struct scheduler *s, struct order *out, int64_t now_us)
{
    out->kind = ORDER_NONE;
    if (s->stopped || s->standing)
        return ORDER_NONE;
    for (struct site *site; (site = next_site(s));)
        if (order_for(s, site, out, now_us)) {
            wake_site(s, site); /* to the end: the others first */
            return out->kind;
        }
    return ORDER_NONE;
}
