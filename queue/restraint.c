/* What receivers make us refrain from: paths that are closed or slow, providers that
 * say of too many addresses that they do not exist, and limits. */
#include "queue/inside.h"

#include <stdlib.h>

#include "base/mem.h"

enum {
    REST_US = 10 * 60 * 1000 * 1000, /* a slowed path is half as slow after so long */
    OWN_PAUSE_CONNECTIONS = 1,       /* the probe behind a pause of our own making */
    REST_PATH_US = 15 * 1000 * 1000, /* for longer than anybody compares it with others
                                        (scheduler_reached) */
};

/* ---- providers and paths ---- */

/* It ends with what it has begun. */
static void stop(struct scheduler *s, struct connection_record *c)
{
    c->last = c->stop = true;
    link_remove(&c->hungry);
    s->stops = true;
    s->stall_at = 0; /* the search begins anew */
}

/* One more stands: is there room for it in all that bounds it? */
static bool has_room(const struct connection_record *c)
{
    const struct outer *o = c->site->outer;
    if (c->path->standing >= path_connections(c->path, &c->site->provider->limits))
        return false;
    for (int i = 0; i < outer_n(o); i++) {
        const struct path *path = outer_path(o, i, c->source);
        if (path->standing >= path_connections(path, &o->budgets[i]->limits))
            return false;
    }
    c->path->standing++;
    for (int i = 0; i < outer_n(o); i++)
        outer_path(o, i, c->source)->standing++;
    return true;
}

void restraint_stop_surplus(struct scheduler *s)
{
    for (uint32_t i = 0; i < s->connections_used; i++) {
        struct connection_record *c = &s->connections[i];
        if (!c->site)
            continue;
        c->path->standing = 0;
        for (int k = 0; k < outer_n(c->site->outer); k++)
            outer_path(c->site->outer, k, c->source)->standing = 0;
    }
    for (uint32_t i = 0; i < s->connections_used; i++)
        if (s->connections[i].site && !has_room(&s->connections[i]))
            stop(s, &s->connections[i]);
}

/* The one of this number among `*all`. */
static struct provider *numbered(struct scheduler *s, struct provider ***all,
                                 uint32_t *n, uint32_t number)
{
    if (number >= *n) {
        *all = mem_resize(*all, (size_t)number + 1, sizeof(struct provider *));
        while (*n <= number)
            (*all)[(*n)++] = NULL;
    }
    if (!(*all)[number])
        (*all)[number] = provider_create(s->params.sources_n);
    return (*all)[number];
}

static void limit_paths(struct scheduler *s, struct provider *p)
{
    for (int i = 0; i <= s->params.sources_n; i++) {
        struct path *path = p->paths[i];
        if (!path)
            continue;
        if (!path->slot) {
            path->share = s->share;
            limits_init(&path->common);
        }
        path_limit(path, &p->limits);
    }
}

static struct provider *provider_of(struct scheduler *s, uint32_t policy,
                                    const struct mx_set *set)
{
    uint32_t number = s->policies[policy].provider;
    struct provider *p = number ? numbered(s, &s->shared, &s->shared_n, number)
                                : provider_create(s->params.sources_n);
    p->key = s->policies[policy].key;
    if (!number) /* its hosts belong to it */
        p->key ^= hash_bytes(set->key, strlen(set->key));
    uint32_t most = p->limits.connections;
    limits_add(&p->limits, &s->policies[policy]);
    if (most == UINT32_MAX)
        return p;
    limit_paths(s, p); /* it may be less than its other policies allow */
    if (p->limits.connections < most)
        restraint_stop_surplus(s);
    return p;
}

struct waits *restraint_waits(struct scheduler *s, uint32_t policy,
                              const struct mx_set *set)
{
    struct provider *p = provider_of(s, policy, set);
    const struct scheduler_policy *own = &s->policies[policy];
    if (own->outer_n == 0)
        return &p->waits;
    struct outer *o = provider_outer(p, policy);
    if (o)
        return &o->waits;
    o = outer_create(p, policy, own->outer_n);
    for (int i = 0; i < o->n; i++) {
        const struct scheduler_budget *budget = &own->outer[i];
        o->budgets[i] = numbered(s, &s->budgets, &s->budgets_n, budget->number);
        o->budgets[i]->key = budget->key;
        limits_add_outer(&o->budgets[i]->limits, budget);
    }
    outer_bind(o);
    if (link_alone(&p->bounded->turn.link))
        link_append(&s->bounded, &p->bounded->turn.link);
    link_append(&s->bounded, &o->turn.link);
    return &o->waits;
}

static struct path *path_of(struct scheduler *s, struct provider *p, uint8_t source)
{
    assert(source <= s->params.sources_n);
    struct path **path = &p->paths[source];
    if (!*path) {
        *path = mem_zero(1, sizeof **path);
        (*path)->allowed = UINT32_MAX;
        (*path)->share = s->share;
        limits_init(&(*path)->common);
        path_limit(*path, &p->limits);
    }
    return *path;
}

struct path *restraint_paths(struct scheduler *s, struct site *site, uint8_t source)
{
    const struct outer *o = site->outer;
    struct path *path = site->provider->paths[source];
    if (path && !o)
        return path;
    for (int i = 0; i < outer_n(o); i++)
        path_of(s, o->budgets[i], source);
    return path_of(s, site->provider, source);
}

static void rest(struct scheduler *s, struct provider *p, uint8_t source,
                 int64_t now_us)
{
    if (p->paths[source]->connections > 0)
        return;
    if (s->resting_n == s->resting_cap) {
        uint32_t cap = s->resting_cap ? 2 * s->resting_cap : 64;
        struct resting *wider = mem_alloc(cap * sizeof *wider);
        for (uint32_t i = 0; i < s->resting_n; i++)
            wider[i] = s->resting[(s->resting_first + i) % s->resting_cap];
        free(s->resting);
        s->resting = wider;
        s->resting_cap = cap;
        s->resting_first = 0;
    }
    s->resting[(s->resting_first + s->resting_n++) % s->resting_cap] =
        (struct resting){p, source, now_us + REST_PATH_US};
}

void restraint_closed(struct scheduler *s, struct site *site, uint8_t source,
                      int64_t now_us)
{
    jobs_close(s, site, source);
    rest(s, site->provider, source, now_us);
    for (int i = 0; i < outer_n(site->outer); i++)
        rest(s, site->outer->budgets[i], source, now_us);
}

/* Of 50,000 sites most have nothing to do. */
static void end_rests(struct scheduler *s, int64_t now_us)
{
    while (s->resting_n && s->resting[s->resting_first].until_us <= now_us) {
        struct resting r = s->resting[s->resting_first];
        struct provider *p = r.provider;
        struct path *path = p->paths[r.source];
        s->resting_first = (s->resting_first + 1) % s->resting_cap;
        s->resting_n--;
        if (!path || provider_awaited(p) || !path_is_plain(path, now_us))
            continue;
        free(path->why);
        free(path);
        p->paths[r.source] = NULL;
    }
}

static uint32_t reserved_on(const struct scheduler *s, const struct path *path)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->connections_used; i++)
        if (s->connections[i].site && s->connections[i].path == path)
            n += s->connections[i].reserved;
    return n;
}

void restraint_day(const struct scheduler *s, struct path *path, int64_t now_us)
{
    if (!s->params.allow || now_us < path->allowance_until_us)
        return;
    path->allowance = -(int64_t)reserved_on(s, path);
    path->allowance_until_us = INT64_MAX; /* until it is asked for */
    path->used_up = false;
}

bool restraint_allows(struct scheduler *s, const struct site *site, uint8_t source,
                      struct path *path, int64_t now_us, int64_t *until_us)
{
    const struct scheduler_params *p = &s->params;
    if (!p->allow || source == 0)
        return true;
    restraint_day(s, path, now_us);
    while (path->allowance <= 0 && !path->used_up) {
        uint32_t n = p->allow(p->allow_arg, source, site->policy, site->name, now_us,
                              &path->allowance_until_us);
        path->allowance = n == UINT32_MAX ? INT64_MAX / 2 : path->allowance + n;
        path->used_up = n == 0;
    }
    *until_us = path->allowance_until_us;
    return path->allowance > 0;
}

void restraint_advance(struct scheduler *s, int64_t now_us)
{
    end_rests(s, now_us);
    for (struct heap_node *first;
         (first = heap_first(&s->alarms)) && first->key <= now_us;) {
        struct provider *p = CONTAINER_OF(first, struct waits, alarm)->provider;
        for (int i = 0; i <= s->params.sources_n; i++)
            if (p->paths[i] && path_rest(p->paths[i], now_us, REST_US))
                path_limit(p->paths[i], &p->limits);
        restraint_offer(s, p);
    }
}

/* ---- closing ---- */

void restraint_stop(struct scheduler *s, const struct path *path,
                    const struct site *site, int source, uint32_t keep)
{
    for (uint32_t i = 0; i < s->connections_used; i++) {
        struct connection_record *c = &s->connections[i];
        if (!c->site || (path && c->path != path) || (site && c->site != site) ||
            (source != ANY_SOURCE && c->source != source))
            continue;
        if (keep > 0) {
            keep--;
            continue;
        }
        stop(s, c);
    }
}

void restraint_brake(struct scheduler *s, struct provider *p, int64_t until_us)
{
    p->braked_until_us = until_us;
    for (int i = 0; i <= s->params.sources_n; i++)
        if (p->paths[i])
            restraint_stop(s, p->paths[i], NULL, ANY_SOURCE, 0);
}

void restraint_close_site(struct site *site, int64_t until_us, const char *why)
{
    if (until_us <= site->closed_until_us)
        return; /* it is for longer already */
    words_set(&site->why, why);
    site->closed_until_us = until_us;
}

void restraint_close_source(struct scheduler *s, uint8_t source, int64_t until_us,
                            const char *why)
{
    if (until_us <= s->source_until_us[source])
        return;
    words_set(&s->source_why[source], why);
    s->source_until_us[source] = until_us;
}

const void *scheduler_reached(const struct scheduler *s, uint32_t connection,
                              const struct suspension *what)
{
    const struct connection_record *c = &s->connections[connection];
    switch (what->reach) {
    case REACH_SITE:
        if (what->slow)
            return c->site->provider;
        return c->site;
    case REACH_SOURCE:
        return &s->source_until_us[c->source];
    case REACH_PATH:
        break;
    }
    return c->path;
}

static void close_reached(struct scheduler *s, struct connection_record *c,
                          const struct suspension *what, int64_t now_us)
{
    struct path *path = c->path;
    int64_t until_us = now_us + what->for_us;
    jobs_hear(s, c->site, path, now_us);
    switch (what->reach) {
    case REACH_PATH:
        path_close(path, until_us, what->connections, what->why);
        restraint_stop(s, path, NULL, ANY_SOURCE, 0);
        jobs_tell(s, path, now_us);
        break;
    case REACH_SITE:
        restraint_close_site(c->site, until_us, what->why);
        restraint_stop(s, NULL, c->site, ANY_SOURCE, 0);
        jobs_tell_site(s, c->site, now_us);
        break;
    case REACH_SOURCE:
        restraint_close_source(s, c->source, until_us, what->why);
        path_close(path, until_us, what->connections, what->why);
        restraint_stop(s, NULL, NULL, c->source, 0);
        jobs_tell(s, path, now_us);
        jobs_tell_source(s, c->source, now_us);
        break;
    }
    restraint_offer(s, c->site->provider); /* their reasons are others now */
}

/* Half of what it has; without connections, of what it may have. */
static void slow_path(struct scheduler *s, struct site *site, uint8_t source,
                      const struct suspension *what, int64_t now_us)
{
    struct provider *p = site->provider;
    struct path *path = restraint_paths(s, site, source);
    jobs_meet(s, site, source, now_us);
    jobs_hear(s, site, path, now_us);
    uint32_t has = jobs_connections(s, path);
    bool closed = now_us < path->closed_until_us; /* those words say more */
    path_slow(path, now_us + what->for_us, has ? has : path_whole(path, &p->limits),
              closed ? path->why : what->why);
    path_limit(path, &p->limits);
    jobs_tell(s, path, now_us);
    jobs_part(s, site, source);
    restraint_offer(s, p);
}

/* From all that may send there, and those that others of its provider have. */
static void slow_site(struct scheduler *s, struct site *site,
                      const struct suspension *what, int64_t now_us)
{
    for (int i = 0; i <= s->params.sources_n; i++)
        if (site->provider->paths[i] ||
            policy_has_source(policy_of(s, site), (uint8_t)i))
            slow_path(s, site, (uint8_t)i, what, now_us);
}

static void slow_source(struct scheduler *s, uint8_t source,
                        const struct suspension *what, int64_t now_us)
{
    s->searches++;
    for (uint32_t i = 0; i < s->sites_n; i++) {
        struct path *path = s->sites[i]->provider->paths[source];
        if (!path || path->met == s->searches)
            continue;
        path->met = s->searches;
        slow_path(s, s->sites[i], source, what, now_us);
    }
}

void scheduler_suspend(struct scheduler *s, uint32_t connection,
                       const struct suspension *what, int64_t now_us)
{
    struct connection_record *c = &s->connections[connection];
    if (!what->slow) {
        close_reached(s, c, what, now_us);
        return;
    }
    switch (what->reach) {
    case REACH_PATH:
        slow_path(s, c->site, c->source, what, now_us);
        break;
    case REACH_SITE:
        slow_site(s, c->site, what, now_us);
        break;
    case REACH_SOURCE:
        slow_source(s, c->source, what, now_us);
        break;
    }
    restraint_stop_surplus(s);
}

/* ---- what results tell ---- */

/* It refuses us again and again: it is left alone, for longer each time, and then asked
 * with one connection. */
static void note_refusal(struct scheduler *s, struct connection_record *c,
                         struct decision *d, int64_t now_us)
{
    struct path *path = c->path;
    uint32_t most = path->pauses ? 1 : s->params.refusals_max;
    if (now_us < path->closed_until_us || most == 0 || ++path->refusals < most)
        return;
    uint32_t times = path->pauses < PATH_PATIENCE ? path->pauses : PATH_PATIENCE;
    const struct scheduler_policy *policy = policy_of(s, c->site);
    struct suspension pause = {
        .reach = REACH_PATH,
        .for_us = (policy->retry_interval_ms[0] * 1000) << times,
        .connections = OWN_PAUSE_CONNECTIONS,
        .why = "it refuses us again and again",
    };
    path->pauses++;
    scheduler_suspend(s, (uint32_t)(c - s->connections), &pause, now_us);
    d->notice = NOTICE_REFUSALS;
    d->notice_us = path->closed_until_us;
}

static void note_answer(struct scheduler *s, struct connection_record *c, bool absent,
                        struct decision *d, int64_t now_us)
{
    struct provider *p = c->site->provider;
    const struct scheduler_policy *policy = policy_of(s, c->site);
    if (!provider_answered(p, absent, policy->unknown_percent))
        return;
    restraint_brake(s, p, now_us + policy->unknown_pause_ms * 1000);
    jobs_tell_brake(s, p, now_us);
    d->notice = NOTICE_UNKNOWN;
    d->notice_us = p->braked_until_us;
}

void restraint_note(struct scheduler *s, struct connection_record *c,
                    const struct settlement *what, struct decision *d, int64_t now_us)
{
    if (!what->joined)
        c->brought = false;
    if (what->about_us) {
        if (!what->joined) /* it refuses a message once */
            note_refusal(s, c, d, now_us);
    } else if (what->outcome == OUTCOME_DELIVERED) {
        bool first = !c->brought; /* of its message */
        uint32_t was = c->path->allowed;
        c->brought = true;
        if (first && path_good(c->path, &c->site->provider->limits)) {
            jobs_widen(s, c->site, c->path, was, now_us);
            restraint_offer(s, c->site->provider);
        }
        note_answer(s, c, false, d, now_us);
    } else if (what->absent) {
        note_answer(s, c, true, d, now_us);
    }
}

/* ---- limits that change ---- */

static void renew(struct scheduler *s, struct provider *p)
{
    limit_paths(s, p);
    restraint_offer(s, p);
}

/* Every path has its limits anew. */
static void limit_all(struct scheduler *s)
{
    for (uint32_t i = 0; i < s->budgets_n; i++)
        if (s->budgets[i])
            limit_paths(s, s->budgets[i]);
    for (uint32_t i = 0; i < s->shared_n; i++)
        if (s->shared[i])
            renew(s, s->shared[i]);
    for (uint32_t i = 0; i < s->sites_n; i++) {
        struct site *site = s->sites[i];
        if (policy_of(s, site)->provider == 0)
            renew(s, site->provider);
        if (site->ready)
            wake_site(s, site); /* it may have more now, or other sources */
    }
    restraint_stop_surplus(s);
}

void scheduler_share(struct scheduler *s, const struct sharing *share)
{
    assert(!s->board && share->jobs > 0);
    s->share = *share;
    limit_all(s);
}

/* Of what is ready, what was to leave from a source that is none any more leaves from
 * any. */
static void free_bound(struct scheduler *s, struct site *site)
{
    for (int i = 1; site->bound && i <= s->params.sources_n; i++) {
        struct fifo *f = &site->bound[i];
        if (f->n == 0 || policy_has_source(policy_of(s, site), (uint8_t)i))
            continue;
        for (uint32_t row = f->head, n = f->n; n > 0; n--, row = s->rows[row].next)
            s->rows[row].source = 0;
        fifo_join(&site->fresh, s->rows, f);
    }
}

/* As these policies say. */
static void limit_outer(struct scheduler *s, const struct scheduler_policy *policies,
                        uint32_t n)
{
    for (uint32_t i = 0; i < s->budgets_n; i++)
        if (s->budgets[i])
            limits_init(&s->budgets[i]->limits);
    for (uint32_t i = 0; i < n; i++)
        for (int k = 0; k < policies[i].outer_n; k++) {
            const struct scheduler_budget *budget = &policies[i].outer[k];
            if (budget->number < s->budgets_n && s->budgets[budget->number])
                limits_add_outer(&s->budgets[budget->number]->limits, budget);
        }
}

void scheduler_set_policies(struct scheduler *s,
                            const struct scheduler_policy *policies, uint32_t n)
{
    assert(n <= s->policies_n);
    for (uint32_t i = 0; i < n; i++) {
        struct scheduler_policy *own = &s->policies[i];
        uint32_t provider = own->provider; /* for as long as we run */
        int64_t quiet_until_us = own->quiet_until_us;
        *own = policies[i];
        own->provider = provider;
        own->quiet_until_us = quiet_until_us;
    }
    limit_outer(s, policies, n);
    for (uint32_t i = 0; i < s->sites_n; i++)
        limits_init(&s->sites[i]->provider->limits);
    for (uint32_t i = 0; i < s->sites_n; i++) {
        limits_add(&s->sites[i]->provider->limits, policy_of(s, s->sites[i]));
        free_bound(s, s->sites[i]);
    }
    limit_all(s);
}

void scheduler_quiet(struct scheduler *s, uint32_t number, int64_t until_us)
{
    assert(number < s->policies_n);
    bool began = until_us && !s->policies[number].quiet_until_us;
    s->policies[number].quiet_until_us = until_us;
    for (uint32_t i = 0; began && i < s->connections_used; i++) {
        struct connection_record *c = &s->connections[i];
        if (c->site && c->site->policy == number)
            stop(s, c);
    }
    for (uint32_t i = 0; i < s->sites_n; i++) {
        struct site *site = s->sites[i];
        if (site->policy == number && site->ready)
            wake_site(s, site); /* its reason is another one now */
    }
}
