/* Leases: which connection gets which rows, and when a connection is opened. */
#include "queue/obstacle.h"

#include "base/mem.h"

enum {
    STALL_CHECK_US = 500 * 1000,
    PATIENCE_US = 2 * 1000 * 1000, /* a connection that may not send for so long ends */
};

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static int64_t min_i64(int64_t a, int64_t b)
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

static int64_t outer_lend_us(const struct connection_record *c)
{
    const struct outer *outer = c->site->outer;
    int64_t at_us = INT64_MIN;
    for (int i = 0; i < outer->n; i++) {
        int64_t one_us = path_lends_us(outer_path(outer, i, c->source));
        at_us = one_us > at_us ? one_us : at_us;
    }
    return at_us;
}

/* When all that bounds the connection lets one more message be begun on it. */
static int64_t lends_us(const struct connection_record *c)
{
    int64_t at_us = path_lends_us(c->path);
    if (!c->site->outer)
        return at_us;
    int64_t outer_us = outer_lend_us(c);
    return outer_us > at_us ? outer_us : at_us;
}

static bool is_paced_outside(const struct connection_record *c)
{
    const struct outer *outer = c->site->outer;
    for (int i = 0; i < outer->n; i++)
        if (gate_limits(&outer_path(outer, i, c->source)->lending))
            return true;
    return false;
}

/* Is there a rate that its messages wait for? */
static bool is_paced(const struct connection_record *c)
{
    return gate_limits(&c->path->lending) || (c->site->outer && is_paced_outside(c));
}

/* May the connection have another message begun now? It then has. */
static bool may_lend(struct connection_record *c, int64_t now_us, struct obstacle *o)
{
    const struct outer *outer = c->site->outer;
    int64_t again;
    if (lends_us(c) > now_us) {
        obstacle_meet(o, LACK_RATE, lends_us(c));
        return false;
    }
    gate_pass(&c->path->lending, now_us, &again); /* it does: nobody else asks */
    for (int i = 0; i < outer_n(outer); i++)
        gate_pass(&outer_path(outer, i, c->source)->lending, now_us, &again);
    return true;
}

/* Of a source that is being warmed up: is there any left today? */
static bool is_allowed(struct scheduler *s, const struct site *site, uint8_t source,
                       struct path *path, struct obstacle *o, int64_t now_us)
{
    int64_t until_us;
    if (restraint_allows(s, site, source, path, now_us, &until_us))
        return true;
    obstacle_meet(o, LACK_WARMUP, until_us);
    return false;
}

/* Rows as a worker will take them: those of one domain that stand behind each other
 * share a message, up to so many (engine/messages.c). */
struct folding {
    uint32_t together, messages, rows, domain; /* rows of the last message, and whose */
};

/* One more row; false: it would begin one more message than `most`. */
static bool fold(struct folding *f, uint32_t domain, uint32_t most)
{
    bool joins = f->rows > 0 && f->rows < f->together && domain == f->domain;
    if (!joins && f->messages == most)
        return false;
    f->messages += !joins;
    f->rows = joins ? f->rows + 1 : 1;
    f->domain = domain;
    return true;
}

/* Messages that may be begun for one order, at least one: on a path with a rate one,
 * the token was taken for it; of a source that is being warmed up what is left. */
static uint32_t messages_now(const struct scheduler *s,
                             const struct connection_record *c, bool paced)
{
    int64_t most = paced ? 1 : UINT32_MAX;
    if (s->params.allow && c->source)
        most = min_i64(most, c->path->allowance);
    return (uint32_t)most;
}

/* Rows from the site's FIFOs into the order. */
static void lend(struct scheduler *s, struct site *site, struct connection_record *c,
                 uint32_t n, struct order *out, int64_t now_us)
{
    bool paced = is_paced(c);
    if (paced) {
        restraint_served(s, site);
        n = c->together;
        c->lease = 1; /* the next when this one is done */
    }
    n = min_u32(n, min_u32(site_ready(site, c->source), min_u32(c->left, LEASE_MAX)));
    out->site = site->name;
    out->avoid = site->avoid;
    struct folding f = {.together = c->together};
    uint32_t most = messages_now(s, c, paced), lent = 0;
    for (; lent < n; lent++) {
        uint32_t row = site_first(site, c->source) + s->first_row - 1;
        uint32_t domain = c->together > 1 ? recipients_domain(s->params.list, row) : 0;
        if (!fold(&f, domain, most))
            break;
        uint32_t index = site_pop(site, s->rows, c->source);
        s->rows[index].state = ROW_LENT;
        row_begins(s, &s->rows[index], now_us);
        out->rows[lent] = row;
    }
    c->reserved += f.messages;
    c->path->allowance -= f.messages; /* read only where there is one */
    out->rows_n = (int)lent;
    out->connection = (uint32_t)(c - s->connections);
    c->lent += lent;
    c->lent_us = now_us;
    if (c->left != UINT32_MAX)
        c->left -= lent;
    site->lent += lent;
    s->lent += lent;
    s->ready -= lent;
    c->last = (site_ready(site, c->source) == 0 && s->asking == 0) ||
              lends_us(c) > now_us + PATIENCE_US;
    out->last = c->last;
}

static uint32_t messages_at_most(const struct scheduler *s, const struct site *site)
{
    uint32_t limit = policy_of(s, site)->messages_per_connection;
    if (site->enough && (limit == 0 || site->enough < limit))
        limit = site->enough;
    return limit;
}

/* All that a connection of the site has to pass. */
static void put_gates(struct scheduler *s, const struct outer *outer, uint8_t source,
                      struct path *path, struct order *out)
{
    int n = outer_n(outer) + 1;
    if (n > s->gates_cap) {
        s->gates = mem_resize(s->gates, 2 * (size_t)n, sizeof(struct gate *));
        s->gates_cap = n;
    }
    for (int i = 0; i < n; i++) {
        struct path *bound = i == 0 ? path : outer_path(outer, i - 1, source);
        s->gates[i] = &bound->connects;
        s->gates[n + i] = &bound->mails;
    }
    out->gates_n = n;
    out->connect_gates = s->gates;
    out->mail_gates = s->gates + n;
}

static void open_connection(struct scheduler *s, struct site *site, uint8_t source,
                            struct path *path, struct order *out, int64_t now_us)
{
    uint32_t number = s->connections_free ? s->free_connections[--s->connections_free]
                                          : s->connections_used++;
    struct connection_record *c = &s->connections[number];
    uint32_t limit = messages_at_most(s, site);
    uint32_t together = policy_of(s, site)->recipients;
    *c = (struct connection_record){
        .site = site,
        .path = path,
        .source = source,
        .together = together ? together : 1,
        .left = limit ? limit * (together ? together : 1) : UINT32_MAX,
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
    site->opened++;
    out->kind = ORDER_OPEN;
    out->policy = site->policy;
    out->messages = limit;
    out->source = source;
    put_gates(s, site->outer, source, path, out);
    restraint_served(s, site);
    out->dns_us = site->set->took_us;
    out->targets_n = mx_targets(site->set, &s->rng, out->targets);
    lend(s, site, c, min_u32(LEASE_FIRST, (site->ready + others - 1) / others), out,
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

/* Word that there are no more. */
static void say_last(struct scheduler *s, struct site *site,
                     struct connection_record *c, struct order *out)
{
    c->last = true;
    out->kind = ORDER_MORE;
    out->site = site->name;
    out->avoid = site->avoid;
    out->rows_n = 0;
    out->connection = (uint32_t)(c - s->connections);
    out->last = true;
}

/* Why a site is asked. */
enum turn {
    TURN_NONE,     /* something has changed for it alone */
    TURN_PROVIDER, /* it is the first of those that wait as it does */
    TURN_PLACE,    /* the first of those that wait for a connection of the whole job */
};

/* Do others of its provider, or of an outer budget, wait, who came first? They have
 * their turns before it. */
static bool is_behind(const struct site *site, enum turn turn)
{
    const struct outer *outer = site->outer;
    if (turn != TURN_NONE)
        return false;
    for (int i = 0; i < outer_n(outer); i++)
        if (provider_awaited(outer->budgets[i]))
            return true;
    return provider_awaited(site->provider);
}

/* May the connection be lent one more now? Its turn is taken then. */
static bool may_feed(struct connection_record *c, bool behind, int64_t now_us,
                     struct obstacle *o)
{
    if (behind && is_paced(c)) {
        obstacle_meet(o, LACK_RATE, lends_us(c));
        return false;
    }
    return may_lend(c, now_us, o);
}

/* Feed a hungry connection: with rows, or with word that there are no more, when it has
 * nothing left and need not wait for domains that are still being looked up, or would
 * wait too long for its rate. */
static bool feed(struct scheduler *s, struct site *site, bool behind, struct order *out,
                 struct obstacle *o, int64_t now_us)
{
    struct link *next;
    for (struct link *l = site->hungry.next; l != &site->hungry; l = next) {
        next = l->next;
        struct connection_record *c = CONTAINER_OF(l, struct connection_record, hungry);
        if (!wants_rows(c)) {
            link_remove(l);
            continue;
        }
        bool idle = c->lent == 0;
        if (site_ready(site, c->source) == 0) {
            if (!idle || s->asking)
                continue;
            link_remove(l);
            say_last(s, site, c, out);
            return true;
        }
        bool allowed = is_allowed(s, site, c->source, c->path, o, now_us);
        if (!allowed || !may_feed(c, behind, now_us, o)) {
            bool soon = lends_us(c) <= now_us + PATIENCE_US;
            if (!idle || (allowed && soon))
                continue;
            link_remove(l);
            say_last(s, site, c, out);
            return true;
        }
        link_remove(l);
        fit_lease(c, now_us);
        uint32_t share = (site->ready + site->connections - 1) / site->connections;
        uint32_t room = c->lease > c->lent ? c->lease - c->lent : 0;
        out->kind = ORDER_MORE;
        lend(s, site, c, min_u32(room, share), out, now_us);
        return true;
    }
    return false;
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

/* Turns for a connection and its first message: there are some, and nobody else asks.
 */
static void take_turns(struct path *path, int64_t now_us)
{
    int64_t again;
    gate_pass(&path->opening, now_us, &again);
    gate_pass(&path->lending, now_us, &again);
}

/* A path that may have one more connection and has rows for it, with its turns taken.
 * Each connection goes on to the next source. */
static struct path *find_path(struct scheduler *s, struct site *site, bool behind,
                              uint8_t *source_out, struct obstacle *o, int64_t now_us)
{
    const struct outer *outer = site->outer;
    int source;
    for (uint32_t i = 0; (source = obstacle_source_at(s, site, i)) != NO_SOURCE; i++) {
        struct path *path = restraint_paths(s, site, (uint8_t)source);
        struct obstacle here = {.until_us = INT64_MAX};
        if (!obstacle_asked(s, site, source, o, now_us))
            continue;
        jobs_meet(s, site, (uint8_t)source, now_us);
        obstacle_of_site(s, site, &here, now_us); /* as other jobs were told */
        obstacle_of_source(s, site, source, &here, now_us);
        if (!here.lacks && !behind)
            is_allowed(s, site, (uint8_t)source, path, &here, now_us);
        if (!here.lacks && !behind && !jobs_open(s, site, (uint8_t)source, now_us))
            obstacle_meet(&here, LACK_CONNECTIONS,
                          INT64_MAX); /* scheduler_hear asks again */
        if (here.lacks || behind) {
            o->lacks |= here.lacks;
            o->until_us = min_i64(o->until_us, here.until_us);
            jobs_part(s, site, (uint8_t)source);
            continue;
        }
        take_turns(path, now_us);
        for (int k = 0; k < outer_n(outer); k++)
            take_turns(outer_path(outer, k, source), now_us);
        *source_out = (uint8_t)source;
        return path;
    }
    return NULL;
}

static bool order_for(struct scheduler *s, struct site *site, enum turn turn,
                      struct order *out, int64_t now_us)
{
    struct obstacle o = {.until_us = INT64_MAX};
    uint8_t source;
    struct path *path = NULL;
    bool behind = is_behind(site, turn), waits = true;
    site->lacks = 0;
    if (feed(s, site, behind, out, &o, now_us))
        return true;
    if (site->ready == 0)
        return false;
    enum line_kind kind = o.lacks & LACK_RATE ? LINE_FEED : LINE_OPEN;
    if (obstacle_of_site(s, site, &o, now_us)) {
        ; /* until then */
    } else if (!site_admits(site, connections_of_all(s, site), now_us)) {
        waits = kind == LINE_FEED; /* a window is its own */
        obstacle_of_window(s, site, &o);
    } else if (may_open(s) && (turn == TURN_PLACE || link_alone(&s->starved))) {
        path = find_path(s, site, behind, &source, &o, now_us);
    } else if (o.until_us > now_us + PATIENCE_US) {
        site->lacks = LACK_SOCKETS;
        link_append(&s->starved, &site->work); /* a place goes to the first of these */
        return false;
    } /* else one of its own that stands goes on soon */
    if (path) {
        open_connection(s, site, source, path, out, now_us);
        return true;
    }
    site->lacks = o.lacks;
    if (waits)
        restraint_queue(s, site, kind, o.until_us);
    if (waits && behind)
        restraint_offer(s, site->provider);
    return false;
}

/* Connections that have to end, and those that have stalled. */
bool scheduler_recall(struct scheduler *s, struct order *out, int64_t now_us)
{
    if (s->stopped || (!s->stops && now_us < s->stall_check_us))
        return false;
    while (s->stall_at < s->connections_used) {
        uint32_t i = s->stall_at++;
        struct connection_record *c = &s->connections[i];
        bool stalled =
            c->reserved >= 2 && !c->recalled && now_us - c->progress_us >= STALL_US;
        if (!c->site || (!c->stop && !stalled))
            continue;
        *out = (struct order){.kind = c->stop ? ORDER_STOP : ORDER_RECALL,
                              .connection = i,
                              .site = c->site->name};
        c->stop = false;
        c->recalled = c->lent > 0;
        return true;
    }
    s->stops = false;
    s->stall_at = 0;
    s->stall_check_us = now_us + STALL_CHECK_US;
    return false;
}

/* The next site that may get an order. */
static struct site *next_site(struct scheduler *s, enum turn *turn_out, int64_t now_us)
{
    struct site *site = link_alone(&s->work) ? restraint_turn(s, now_us) : NULL;
    *turn_out = TURN_PROVIDER;
    if (site)
        return site;
    *turn_out = link_alone(&s->work) ? TURN_PLACE : TURN_NONE;
    struct link *ring = *turn_out == TURN_PLACE ? &s->starved : &s->work;
    if (link_alone(ring) || (*turn_out == TURN_PLACE && !may_open(s)))
        return NULL;
    site = CONTAINER_OF(ring->next, struct site, work);
    link_remove(&site->work);
    return site;
}

enum order_kind scheduler_next(struct scheduler *s, struct order *out, int64_t now_us)
{
    out->kind = ORDER_NONE;
    out->targets_n = out->gates_n = 0; /* what an order before named may be gone */
    if (s->stopped || s->standing)
        return ORDER_NONE;
    enum turn turn;
    for (struct site *site; (site = next_site(s, &turn, now_us));)
        if (order_for(s, site, turn, out, now_us)) {
            wake_site(s, site); /* to the end: the others first */
            return out->kind;
        }
    return ORDER_NONE;
}
