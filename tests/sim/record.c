/* What came to whom, kept as receivers keep it: a provider as one source sees it. And
 * what they have told us since, so that it is known at each moment who may have what.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "world.h"

enum {
    TICK_US = 200 * 1000,  /* what the retry wheel may be late by */
    GOOD_A_CONNECTION = 5, /* before one more, as receivers publish it */
    SLOWEST = 4,
    LATE_US = 20 * 1000, /* what a gate adds to slow rates */
};

/* ---- who they are ---- */

static uint32_t share(const struct world *w, uint32_t of)
{
    const struct sharing *s = &w->record.share;
    return of / s->jobs + (of % s->jobs > 0); /* it is our turn */
}

static int64_t rate_of(const struct scheduler_policy *policy, enum passing passing)
{
    return passing == PASSING_MAIL ? policy->message_rate : policy->connection_rate;
}

/* That is lent. */
static int64_t pace_of(const struct world *w, const struct scheduler_policy *policy,
                       enum passing passing)
{
    int64_t rate = rate_of(policy, passing);
    return rate && rate < w->record.share.jobs ? 1 : rate / w->record.share.jobs;
}

/* ---- from life to life ---- */

static uint32_t memory_of(struct world *w, const char *kind, uint32_t number,
                          const char *name)
{
    char key[200];
    bool fresh;
    int n = snprintf(key, sizeof key, "%s %u %s", kind, number, name);
    uint32_t i = map_put(&w->memory_numbers, (struct span){key, (size_t)n},
                         w->memories_n, &fresh, NULL);
    if (fresh) {
        w->memories = mem_resize(w->memories, i + 1, sizeof *w->memories);
        w->memories[w->memories_n++] = (struct memory){0};
        for (int k = 0; k <= SOURCES_MAX; k++)
            w->memories[i].paths[k].allowed = UINT32_MAX;
    }
    return i;
}

/* Our process is new, its receivers are not. */
static void remember(const struct world *w, struct seen_provider *p)
{
    const struct memory *m = &w->memories[p->memory];
    p->braked_until_us = m->braked_until_us;
    for (int i = 0; i <= SOURCES_MAX; i++) {
        struct seen_path *path = &p->paths[i];
        *path = m->paths[i];
        memset(path->lent, 0, sizeof path->lent);
        path->lanes = path->untold = path->good = 0;
        if (w->now_us > path->kept_until_us)
            path->allowed = UINT32_MAX;
    }
}

/* A path that has rested may be another one by now, which knows of no other pace. */
static void limit_provider(const struct world *w, struct seen_provider *p)
{
    for (int i = 0; i <= SOURCES_MAX; i++)
        for (int k = 0; k < PASSINGS; k++) {
            struct seen_path *path = &p->paths[i];
            path->rested[k] =
                path->rested[k] || gate_is_rested(&path->lent[k], w->now_us);
            gate_limit_loosely(&path->lent[k], pace_of(w, p->policy, (enum passing)k));
        }
}

static struct seen_provider *
new_provider(struct world *w, const struct scheduler_policy *policy, uint32_t memory)
{
    struct seen_provider *p = mem_zero(1, sizeof *p);
    p->policy = policy;
    p->memory = memory;
    remember(w, p);
    for (int i = 0; i <= SOURCES_MAX; i++) /* it may have been there, unseen */
        if (w->source_was_slow[i])
            p->paths[i].pace_unsure = p->paths[i].may_be_fewer = true;
    limit_provider(w, p);
    return p;
}

static struct seen_provider *outer_of(struct world *w, uint32_t number)
{
    struct seen_provider **outer = &w->record.outer[number];
    if (!*outer)
        *outer = new_provider(w, &w->plan->outer_limits[number],
                              memory_of(w, "outer", number, ""));
    return *outer;
}

static struct seen_site *site_of(struct world *w, const char *name, uint32_t policy)
{
    struct record *r = &w->record;
    bool fresh;
    uint32_t number =
        map_put(&r->site_numbers, (struct span){(char *)&name, sizeof name}, r->sites_n,
                &fresh, NULL);
    if (!fresh)
        return r->sites[number];
    const struct scheduler_policy *settings = plan_policy(w->plan, w->policies[policy]);
    struct seen_site *site = mem_zero(1, sizeof *site);
    site->name = name;
    site->policy = settings;
    site->memory = memory_of(w, "site", 0, name);
    site->ruled_until_us = site->closed_until_us =
        w->memories[site->memory].ruled_until_us;
    uint32_t shared = settings->provider;
    if (shared && !r->shared[shared])
        r->shared[shared] =
            new_provider(w, settings, memory_of(w, "provider", shared, ""));
    site->provider =
        shared ? r->shared[shared]
               : new_provider(w, settings,
                              memory_of(w, "policy", w->policies[policy], name));
    for (int i = 0; i < settings->outer_n; i++)
        site->outer[site->outer_n++] = outer_of(w, settings->outer[i].number);
    r->sites = mem_resize(r->sites, number + 1, sizeof(struct seen_site *));
    r->sites[r->sites_n++] = site;
    return site;
}

void record_begin(struct world *w)
{
    uint32_t domains = recipients_domains(w->plan->list);
    if (!w->board)
        record_forget(w);
    w->record = (struct record){.share = {.jobs = 1}};
    memcpy(w->record.source_until_us, w->source_until_us, sizeof w->source_until_us);
    w->record.of_domain = mem_zero(domains, sizeof(struct seen_site *));
    w->record.asked = mem_alloc(domains);
    memset(w->record.asked, 1, domains);
}

static void keep(struct world *w, const struct seen_provider *p)
{
    struct memory *m = &w->memories[p->memory];
    memcpy(m->paths, p->paths, sizeof m->paths);
    m->braked_until_us = p->braked_until_us;
}

void record_forget(struct world *w)
{
    map_finish(&w->memory_numbers);
    w->memory_numbers = (struct map){0};
    free(w->memories);
    w->memories = NULL;
    w->memories_n = 0;
    memset(w->source_until_us, 0, sizeof w->source_until_us);
    memset(w->source_was_slow, 0, sizeof w->source_was_slow);
}

void record_finish(struct world *w)
{
    struct record *r = &w->record;
    memcpy(w->source_until_us, r->source_until_us, sizeof w->source_until_us);
    for (uint32_t i = 0; i < r->sites_n; i++) {
        keep(w, r->sites[i]->provider);
        if (!r->sites[i]->policy->provider)
            free(r->sites[i]->provider);
        free(r->sites[i]);
    }
    for (int i = 0; i <= PROVIDERS_MAX; i++)
        free(r->shared[i]);
    for (int i = 0; i <= OUTER_MAX; i++)
        if (r->outer[i]) {
            keep(w, r->outer[i]);
            free(r->outer[i]);
        }
    map_finish(&r->site_numbers);
    free(r->sites);
    free(r->of_domain);
    free(r->asked);
    *r = (struct record){0};
}

/* ---- days and hours ---- */

static struct today *today_of(const struct world *w, struct seen_path *path)
{
    int32_t day = day_local(world_wall_ms(w));
    if (path->today.day != day)
        path->today = (struct today){.day = day};
    return &path->today;
}

uint32_t record_allow(void *world, uint8_t source, uint32_t policy, const char *site,
                      int64_t now_us, int64_t *until_us)
{
    enum { PARTS = 16 };
    struct world *w = world;
    struct seen_path *path = &site_of(w, site, policy)->provider->paths[source];
    struct today *today = today_of(w, path);
    uint32_t cap = warmup_cap(&w->plan->warmups[source - 1], today->day);
    (void)now_us;
    *until_us = SECOND_US + (day_end_ms(world_wall_ms(w)) - w->plan->begin_ms) * 1000;
    if (cap == 0 || cap == UINT32_MAX)
        return cap;
    uint32_t left = cap - today->drawn, part = cap < PARTS ? 1 : cap / PARTS;
    uint32_t n = left < part ? left : part;
    today->drawn += n;
    return n;
}

static bool is_quiet(const struct world *w, const struct seen_site *site)
{
    for (uint32_t i = 0; i < w->policies_n; i++)
        if (w->quiet[i] && site->policy == plan_policy(w->plan, w->policies[i]))
            return true;
    return false;
}

/* ---- who may have what ---- */

static bool may_send(const struct scheduler_policy *policy, int source)
{
    bool may = policy->sources_n == 0 && source == 0;
    for (int i = 0; i < policy->sources_n; i++)
        may = may || policy->sources[i] == source;
    return may;
}

static uint32_t may_have(const struct world *w, const struct seen_provider *p,
                         const struct seen_path *path)
{
    uint32_t whole = p->policy->connections;
    return share(w, path->allowed < whole ? path->allowed : whole);
}

/* What is lent waits for no longer than this for its turn: what has come before it may
 * have come late. */
static bool is_full(const struct world *w, const struct seen_path *path,
                    enum passing passing)
{
    const struct meter *m = &path->came[passing];
    int64_t until_us = m->at_us + m->level_us + LATE_US;
    if (passing == PASSING_MAIL && path->mails_until_us > until_us)
        until_us = path->mails_until_us;
    int64_t ahead_us = m->interval_us < SECOND_US ? SECOND_US / 2 : 0;
    return until_us - ahead_us > w->now_us + GATE_LOOSE_US;
}

/* It may be restrained still, from an earlier life. */
static bool may_be_restrained(const struct world *w, const struct seen_path *path)
{
    return path->may_be_fewer ||
           (w->board && path->allowed == UINT32_MAX && path->kept_until_us);
}

/* What the limits alone keep a path from. */
static unsigned limits_lack(const struct world *w, const struct seen_provider *p,
                            uint8_t source)
{
    const struct seen_path *path = &p->paths[source];
    unsigned lacks = 0;
    if (path->lanes >= may_have(w, p, path) || may_be_restrained(w, path))
        lacks |= LACK_CONNECTIONS;
    if (gate_opens_us(&path->lent[PASSING_MAIL]) > w->now_us ||
        is_full(w, path, PASSING_MAIL) ||
        (path->pace_unsure && p->policy->message_rate))
        lacks |= LACK_RATE;
    if (gate_opens_us(&path->lent[PASSING_CONNECT]) > w->now_us ||
        is_full(w, path, PASSING_CONNECT) ||
        (path->pace_unsure && p->policy->connection_rate))
        lacks |= LACK_CONNECTION_RATE;
    return lacks;
}

static bool is_connected(const struct world *w, const struct seen_site *site,
                         uint8_t source)
{
    for (uint32_t i = 0; i < w->plan->connections_total; i++)
        if (w->lanes[i].open && w->lanes[i].seen == site &&
            w->lanes[i].source == source)
            return true;
    return false;
}

/* What keeps a path from one more connection with a row, as enum lack. */
static unsigned path_lacks(const struct world *w, const struct seen_site *site,
                           uint8_t source)
{
    struct seen_path *path = &site->provider->paths[source];
    unsigned lacks = 0;
    if (w->now_us < path->closed_until_us ||
        w->now_us < w->record.source_until_us[source])
        lacks |= LACK_PATH;
    lacks |= limits_lack(w, site->provider, source);
    for (int i = 0; i < site->outer_n; i++)
        lacks |= limits_lack(w, site->outer[i], source);
    if (w->now_us < site->left_until_us[source])
        lacks |= LACK_ROUND;
    if (site->left_until_us[source] && is_connected(w, site, source))
        lacks |= LACK_PROOF;
    if (w->plan->warmups && source) {
        struct today *today = today_of(w, path);
        uint32_t cap = warmup_cap(&w->plan->warmups[source - 1], today->day);
        if (cap == 0 || today->drawn >= cap)
            lacks |= LACK_WARMUP;
    }
    return lacks;
}

/* One that has not failed there, of those that send for it. */
static bool has_others(const struct world *w, const struct seen_site *site,
                       uint8_t source)
{
    const struct scheduler_policy *policy = site->policy;
    for (int i = 0; i < policy->sources_n; i++) {
        uint8_t other = policy->sources[i];
        if (other != source && w->now_us >= site->left_until_us[other] &&
            !(path_lacks(w, site, other) & (LACK_PATH | LACK_WARMUP)))
            return true;
    }
    return false;
}

static unsigned site_lacks(const struct world *w, const struct seen_site *site,
                           const struct site_view *view)
{
    const struct scheduler_policy *policy = site->policy;
    uint32_t sources = policy->sources_n ? (uint32_t)policy->sources_n : 1;
    unsigned lacks = 0;
    if (w->now_us < site->provider->braked_until_us)
        lacks |= LACK_BRAKE;
    if (w->now_us < site->closed_until_us)
        lacks |= LACK_ROUND;
    if (w->now_us < site->ruled_until_us ||
        w->now_us < w->memories[site->memory].ruled_until_us)
        lacks |= LACK_PATH;
    if (w->lanes_open == w->plan->connections_total || w->now_us <= w->short_until_us ||
        w->network.down)
        lacks |= LACK_SOCKETS;
    if (w->network.down)
        lacks |= LACK_NETWORK;
    if (is_quiet(w, site))
        lacks |= LACK_QUIET;
    if (view->connections >= view->window)
        lacks |= LACK_WINDOW | LACK_PROOF;
    if (view->connections >= policy->connections * sources)
        lacks |= LACK_CONNECTIONS;
    return lacks;
}

/* ---- what is lent ---- */

static void pace(struct world *w, struct seen_provider *p, uint8_t source,
                 enum passing passing)
{
    int64_t again;
    struct seen_path *path = &p->paths[source];
    bool passes = gate_pass(&path->lent[passing], w->now_us, &again);
    if (!passes && path->rested[passing]) {
        path->lent[passing] = (struct gate){0};
        gate_limit_loosely(&path->lent[passing], pace_of(w, p->policy, passing));
        passes = gate_pass(&path->lent[passing], w->now_us, &again);
    }
    path->rested[passing] = false;
    promise(passes || path->pace_unsure, w, "%s no quicker than its rate",
            passing == PASSING_MAIL ? "rows are lent" : "connections are opened");
}

/* Whose limits hold: -1: of its own provider, else of an outer budget. */
static struct seen_provider *bounding(const struct seen_site *site, int i)
{
    return i < 0 ? site->provider : site->outer[i];
}

static void record_opened(struct world *w, const struct order *order,
                          struct seen_site *site)
{
    struct lane *lane = &w->lanes[order->connection];
    struct seen_path *path = &site->provider->paths[order->source];
    uint32_t limit = site->policy->messages_per_connection;
    promise(!limit || (order->messages && order->messages <= limit), w,
            "%s: %u messages a connection, not %u", order->site, limit,
            order->messages);
    promise(w->now_us >= site->left_until_us[order->source] ||
                !has_others(w, site, order->source),
            w, "%s: source %u has failed, others go first", order->site, order->source);
    promise(!site->left_until_us[order->source] ||
                !is_connected(w, site, order->source),
            w, "%s: source %u has failed, and one probe", order->site, order->source);
    lane->seen = site;
    lane->path = path;
    lane->source = order->source;
    for (int i = -1; i < site->outer_n; i++) {
        struct seen_provider *p = bounding(site, i);
        path = &p->paths[order->source];
        promise(path->lanes < may_have(w, p, path), w,
                "%s from source %u: %u connections at most", order->site, order->source,
                may_have(w, p, path));
        path->lanes++;
        pace(w, p, order->source, PASSING_CONNECT);
    }
}

/* Is there a rate of messages for what is lent there? */
static bool is_paced(const struct lane *lane)
{
    for (int i = -1; i < lane->seen->outer_n; i++)
        if (gate_limits(
                &bounding(lane->seen, i)->paths[lane->source].lent[PASSING_MAIL]))
            return true;
    return false;
}

static bool is_one_message(const struct world *w, const struct seen_site *site,
                           const struct order *order)
{
    uint32_t most = site->policy->recipients > 1 ? site->policy->recipients : 1;
    for (int i = 1; i < order->rows_n; i++)
        if (recipients_domain(w->plan->list, order->rows[i]) !=
            recipients_domain(w->plan->list, order->rows[0]))
            return false;
    return (uint32_t)order->rows_n <= most;
}

static void promise_source(const struct world *w, const struct lane *lane, uint32_t row)
{
    const struct scheduler_policy *policy = lane->seen->policy;
    uint8_t source = w->stories[row].source;
    bool has = false;
    for (int i = 0; i < policy->sources_n; i++)
        has = has || policy->sources[i] == source;
    promise(!has || source == lane->source, w,
            "row %u comes from source %u again, not from %u", row, source,
            lane->source);
}

void record_order(struct world *w, const struct order *order)
{
    struct lane *lane = &w->lanes[order->connection];
    if (order->kind == ORDER_STOP)
        lane->told_to_stop = true;
    if (order->kind == ORDER_OPEN)
        record_opened(w, order, site_of(w, order->site, order->policy));
    if (order->rows_n == 0)
        return;
    const struct seen_site *site = lane->seen;
    promise(!lane->told_to_stop, w, "connection %u was told to end, and gets rows",
            order->connection);
    promise(!(path_lacks(w, site, lane->source) & LACK_PATH) &&
                w->now_us >= site->closed_until_us &&
                w->now_us >= site->provider->braked_until_us,
            w, "%s is left alone", order->site);
    promise(!is_quiet(w, site), w, "%s has quiet hours", order->site);
    if (is_paced(lane)) {
        promise(is_one_message(w, site, order), w,
                "under a rate rows are lent for one message at a time");
        for (int i = -1; i < site->outer_n; i++)
            pace(w, bounding(site, i), lane->source, PASSING_MAIL);
    }
    for (int i = 0; i < order->rows_n; i++) {
        uint32_t row = order->rows[i];
        promise_source(w, lane, row);
        w->record.of_domain[recipients_domain(w->plan->list, row)] = lane->seen;
    }
}

/* ---- what they tell of us ---- */

static void close_path(struct world *w, struct seen_path *path, int64_t until_us,
                       uint32_t connections)
{
    if (until_us > path->closed_until_us)
        path->closed_until_us = until_us;
    if (connections)
        path->allowed = connections;
    path->kept_until_us = until_us + HOUR_US;
    path->good = 0;
    w->record.restrained = true;
}

void record_settled(struct world *w, struct lane *lane, const struct verdict *v,
                    const struct settlement *what, const struct decision *d)
{
    struct seen_path *path = lane->path;
    if (what->worked)
        lane->seen->left_until_us[lane->source] = 0;
    bool before = what->joined && lane->brought;
    lane->brought = before || v->outcome == OUTCOME_DELIVERED;
    if (lane->brought && !before && path->allowed != UINT32_MAX &&
        ++path->good >= GOOD_A_CONNECTION * path->allowed) {
        path->good = 0;
        path->allowed++;
        path->kept_until_us = w->now_us + HOUR_US;
        if (path->allowed >= lane->seen->policy->connections) {
            path->allowed = UINT32_MAX;
            path->kept_until_us = 0;
        }
    }
    if (d->notice == NOTICE_REFUSALS)
        close_path(w, path, d->notice_us, 1);
    if (d->notice == NOTICE_UNKNOWN)
        lane->seen->provider->braked_until_us = d->notice_us;
    w->record.restrained = w->record.restrained || d->notice;
}

void record_closed(struct world *w, const struct lane *lane, enum round round)
{
    struct seen_site *site = lane->seen;
    for (int i = -1; i < site->outer_n; i++)
        bounding(site, i)->paths[lane->source].lanes--;
    int64_t until_us = w->now_us + w->plan->policy.retry_interval_ms[0] * 1000;
    if (round == ROUND_SOURCE) {
        site->left_until_us[lane->source] = until_us;
        site->bound_until_us[lane->source] = until_us;
    }
    if (round != ROUND_SITE)
        return;
    promise(!has_others(w, site, lane->source), w,
            "%s: no round fails while another source may be tried", lane->site);
    memset(site->left_until_us, 0, sizeof site->left_until_us);
    if (until_us > site->closed_until_us)
        site->closed_until_us = until_us;
}

/* Half of what it has, or of what it may have. sure: it is a path of the scheduler's
 * by now; the others may be. */
static void slow_path(const struct world *w, const struct scheduler_policy *policy,
                      struct seen_path *path, bool sure, int64_t until_us)
{
    path->pace_unsure = true;
    if (!sure) {
        path->may_be_fewer = true;
        return;
    }
    uint32_t most =
        path->allowed < policy->connections ? path->allowed : policy->connections;
    uint32_t has = path->lanes ? path->lanes : most;
    path->slow = w->now_us >= path->slow_until_us ? 1
                 : path->slow < SLOWEST           ? path->slow + 1
                                                  : SLOWEST;
    if (until_us > path->slow_until_us)
        path->slow_until_us = until_us;
    path->good = 0;
    uint32_t half = has > 1 ? has / 2 : 1;
    path->allowed = half < path->allowed ? half : path->allowed;
    path->kept_until_us = w->now_us + HOUR_US;
}

static void slow_reached(struct world *w, const struct lane *lane, enum reach reach,
                         int64_t until_us)
{
    const struct scheduler_policy *policy = lane->seen->policy;
    struct record *r = &w->record;
    uint8_t source = lane->source;
    switch (reach) {
    case REACH_PATH:
        slow_path(w, policy, lane->path, true, until_us);
        break;
    case REACH_SITE:
        for (int i = 0; i <= SOURCES_MAX; i++) {
            struct seen_path *path = &lane->seen->provider->paths[i];
            slow_path(w, policy, path, path->lanes || may_send(policy, i), until_us);
        }
        break;
    case REACH_SOURCE:
        w->source_was_slow[source] = true;
        for (uint32_t i = 0; i < r->sites_n + PROVIDERS_MAX + 1; i++) {
            struct seen_provider *p = i >= r->sites_n ? r->shared[i - r->sites_n]
                                      : r->sites[i]->policy->provider
                                          ? NULL
                                          : r->sites[i]->provider;
            if (p)
                slow_path(w, p->policy, &p->paths[source], p->paths[source].lanes,
                          until_us);
        }
        break;
    }
}

void record_suspended(struct world *w, const struct lane *lane,
                      const struct suspension *what)
{
    struct seen_path *path = lane->path;
    int64_t until_us = w->now_us + what->for_us;
    if (what->slow) {
        slow_reached(w, lane, what->reach, until_us);
    } else if (what->reach == REACH_SITE) {
        struct seen_site *site = lane->seen;
        if (until_us > site->ruled_until_us)
            site->ruled_until_us = until_us;
        if (until_us > w->memories[site->memory].ruled_until_us)
            w->memories[site->memory].ruled_until_us = until_us;
        if (until_us > site->closed_until_us)
            site->closed_until_us = until_us;
    } else {
        close_path(w, path, until_us, what->connections);
        int64_t *source_until_us = &w->record.source_until_us[lane->source];
        if (what->reach == REACH_SOURCE && until_us > *source_until_us)
            *source_until_us = until_us;
    }
    w->record.restrained = true;
}

void record_shared(struct world *w, const struct sharing *share)
{
    struct record *r = &w->record;
    r->share = *share;
    for (uint32_t i = 0; i < r->sites_n; i++)
        limit_provider(w, r->sites[i]->provider);
    for (int i = 0; i <= OUTER_MAX; i++)
        if (r->outer[i])
            limit_provider(w, r->outer[i]);
    r->restrained = true;
}

void record_told(struct world *w)
{
    if (!w->record.restrained || w->stopping)
        return;
    w->record.restrained = false;
    for (uint32_t i = 0; i < w->plan->connections_total; i++) {
        const struct lane *lane = &w->lanes[i];
        for (int k = -1; lane->open && k < lane->seen->outer_n; k++)
            bounding(lane->seen, k)->paths[lane->source].untold = 0;
    }
    for (uint32_t i = 0; i < w->plan->connections_total; i++) {
        const struct lane *lane = &w->lanes[i];
        if (!lane->open || lane->told_to_stop)
            continue;
        const struct seen_site *site = lane->seen;
        promise(!(path_lacks(w, site, lane->source) & LACK_PATH) &&
                    w->now_us >= site->ruled_until_us &&
                    w->now_us >= site->provider->braked_until_us,
                w, "connection %u to %s is told to end", i, lane->site);
        for (int k = -1; k < site->outer_n; k++) {
            struct seen_path *path = &bounding(site, k)->paths[lane->source];
            path->untold++;
            promise(path->untold <= may_have(w, bounding(site, k), path), w,
                    "%s: of %u connections those over %u are told to end", lane->site,
                    path->untold, may_have(w, bounding(site, k), path));
        }
    }
}

/* ---- what comes to them ---- */

static void came_to(struct world *w, const struct lane *lane, struct seen_provider *p,
                    enum passing passing)
{
    struct seen_path *path = &p->paths[lane->source];
    int64_t rate = rate_of(p->policy, passing);
    if (rate == 0)
        return;
    int64_t interval_us = HOUR_US / rate;
    if (w->now_us < path->slow_until_us)
        interval_us <<= path->slow;
    struct meter *m = &path->came[passing];
    /* Behind the last one the rate of today holds. */
    int64_t left = m->level_us - m->interval_us + interval_us - (w->now_us - m->at_us);
    if (m->level_us == 0 || left < 0)
        left = 0;
    *m = (struct meter){left + interval_us, w->now_us, interval_us};
    promise(m->level_us <= (interval_us > SECOND_US ? interval_us : SECOND_US), w,
            "%s gets no more than %" PRId64 " %s an hour from source %u", lane->site,
            rate, passing == PASSING_MAIL ? "messages" : "connections", lane->source);
}

static void came(struct world *w, const struct lane *lane, enum passing passing)
{
    for (int i = -1; i < lane->seen->outer_n; i++)
        came_to(w, lane, bounding(lane->seen, i), passing);
}

static bool bounds(const struct seen_provider *p, const struct lane *lane)
{
    for (int i = -1; i < lane->seen->outer_n; i++)
        if (bounding(lane->seen, i) == p)
            return true;
    return false;
}

/* Of all that stand at once those that these limits are for. */
static void count_connections(struct world *w, const struct connection *c,
                              const struct seen_provider *p)
{
    const struct lane *lane = &w->lanes[c->number];
    uint32_t same = 1;
    for (uint32_t i = 0; i < w->plan->connections_total; i++) {
        const struct connection *other = w->connections[i];
        same += other && other != c && w->lanes[i].source == lane->source &&
                bounds(p, &w->lanes[i]) && (other->wire || other->connect_began_us);
    }
    promise(same <= p->policy->connections, w,
            "%s has %u connections from source %u at most", lane->site,
            p->policy->connections, lane->source);
}

void record_connect(struct world *w, const struct connection *c)
{
    const struct lane *lane = &w->lanes[c->number];
    for (int i = -1; i < lane->seen->outer_n; i++)
        count_connections(w, c, bounding(lane->seen, i));
    promise(!c->finishing, w, "who was told to end connects no more");
    came(w, lane, PASSING_CONNECT);
}

void record_passed(struct world *w, const struct connection *c)
{
    const struct lane *lane = &w->lanes[c->number];
    for (int i = -1; i < lane->seen->outer_n; i++) {
        struct seen_provider *p = bounding(lane->seen, i);
        struct seen_path *path = &p->paths[lane->source];
        int64_t rate = rate_of(p->policy, PASSING_MAIL);
        if (path->mails_until_us < w->now_us)
            path->mails_until_us = w->now_us;
        path->mails_until_us += rate ? HOUR_US / rate + LATE_US : 0;
    }
}

void record_mail(struct world *w, struct wire *wire)
{
    struct connection *c = wire->connection;
    const struct lane *lane = &w->lanes[c->number];
    wire->mails++;
    /* Where RSET is wanted behind a refused chunk a MAIL is said twice. */
    bool again = wire->mood.chunking == CHUNKING_STRICT && wire->mood.filter_percent;
    promise(!c->order->messages || wire->mails <= c->order->messages || again, w,
            "%s gets %u messages on a connection at most", lane->site,
            c->order->messages);
    c->late += c->finishing;
    promise(c->late <= 1, w,
            "%s: at most what is on the wire, after it was told to end", lane->site);
    came(w, lane, PASSING_MAIL);
    if (!w->plan->warmups || !lane->source)
        return;
    struct today *today = today_of(w, lane->path);
    uint32_t cap = warmup_cap(&w->plan->warmups[lane->source - 1], today->day);
    today->unsure = today->unsure || again;
    promise(++today->mails <= cap || today->unsure, w,
            "%s gets %u messages from new source %u on a day", lane->site, cap,
            lane->source);
}

void record_moved(struct world *w, const struct connection *c)
{
    struct today *today = today_of(w, w->lanes[c->number].path);
    today->mails -= today->mails > 0;
}

/* ---- what waits ---- */

void record_ready(struct world *w)
{
    const struct recipients *list = w->plan->list;
    for (uint32_t i = 0; i < w->record.sites_n; i++)
        memset(w->record.sites[i]->ready, 0, sizeof w->record.sites[i]->ready);
    for (uint32_t row = 1; row <= w->plan->rows; row++) {
        const struct story *story = &w->stories[row];
        uint32_t domain = recipients_domain(list, row);
        struct seen_site *site = w->record.of_domain[domain];
        if (story->finals || story->lent || w->record.asked[domain] || !site ||
            w->now_us < story->due_us + TICK_US ||
            w->now_us < site->closed_until_us + TICK_US)
            continue;
        bool bound = story->source && may_send(site->policy, story->source);
        if (!bound || w->now_us >= site->bound_until_us[story->source] + TICK_US)
            site->ready[bound ? story->source : 0]++;
    }
}

void record_waits(struct world *w, const struct site_view *view)
{
    static const uint8_t none = 0;
    uint32_t number = map_get(&w->record.site_numbers,
                              (struct span){(char *)&view->name, sizeof view->name});
    if (number == MAP_NONE)
        return; /* nothing was ever lent there */
    const struct seen_site *site = w->record.sites[number];
    const struct scheduler_policy *policy = site->policy;
    const uint8_t *sources = policy->sources_n ? policy->sources : &none;
    unsigned all = site_lacks(w, site, view), whole = all;
    for (int i = 0; i == 0 || i < policy->sources_n; i++) {
        uint8_t source = sources[i];
        unsigned lacks = path_lacks(w, site, source);
        uint32_t ready = site->ready[0] + (source ? site->ready[source] : 0);
        promise(whole || lacks || !ready, w,
                "%s: %u rows wait, and source %u could send them (%x)", view->name,
                ready, source, view->lacks);
        all |= lacks;
        for (int k = -1; k < site->outer_n; k++) {
            const struct seen_provider *p = bounding(site, k);
            if (p->paths[source].lanes && p->policy->message_rate)
                all |= LACK_RATE; /* for what they have been lent */
        }
    }
    if (all & LACK_SOCKETS) /* the gate was passed all the same */
        all |= LACK_CONNECTION_RATE;
    promise(!(view->lacks & LACK_PATH) || (view->why && view->until_us > w->now_us), w,
            "%s is suspended, and says why and until when", view->name);
    promise(!(view->lacks & ~all), w, "%s lacks %x, and says %x", view->name, all,
            view->lacks);
}
