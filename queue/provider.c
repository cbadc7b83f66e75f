#include "queue/provider.h"

#include <stdlib.h>

#include "base/mem.h"

static void waits_init(struct waits *w, struct provider *p)
{
    for (int i = 0; i < LINES; i++)
        link_init(&w->lines[i].sites);
    link_init(&w->offer);
    w->provider = p;
}

struct provider *provider_create(int sources_n)
{
    struct provider *p = mem_zero(1, sizeof *p);
    limits_init(&p->limits);
    p->paths = mem_zero((size_t)sources_n + 1, sizeof *p->paths);
    waits_init(&p->waits, p);
    return p;
}

struct outer *outer_create(struct provider *p, uint32_t policy, int n)
{
    size_t size = sizeof(struct outer) + (size_t)n * sizeof(struct provider *);
    struct outer *o = mem_zero(1, size);
    waits_init(&o->waits, p);
    o->waits.outer = o;
    link_init(&o->turn.link);
    o->turn.waits = &o->waits;
    o->policy = policy;
    o->n = n;
    return o;
}

static void bind(struct provider *p, struct outer *o)
{
    struct bounded *b = p->bounded;
    if (!b) {
        b = p->bounded = mem_zero(1, sizeof *b);
        link_init(&b->turn.link);
        b->turn.waits = &p->waits;
    }
    b->list = mem_resize(b->list, b->n + 1, sizeof(struct outer *));
    b->list[b->n++] = o;
}

void outer_bind(struct outer *o)
{
    bind(o->waits.provider, o);
    for (int i = 0; i < o->n; i++)
        bind(o->budgets[i], o);
}

struct outer *provider_outer(const struct provider *p, uint32_t policy)
{
    const struct bounded *b = p->bounded;
    for (uint32_t i = 0; b && i < b->n; i++)
        if (b->list[i]->waits.provider == p && b->list[i]->policy == policy)
            return b->list[i];
    return NULL;
}

bool bounded_awaited(const struct bounded *b)
{
    for (uint32_t i = 0; i < b->n; i++)
        if (waits_any(&b->list[i]->waits))
            return true;
    return false;
}

static void unbind(struct provider *p)
{
    struct bounded *b = p->bounded;
    for (uint32_t i = 0; b && i < b->n; i++)
        if (b->list[i]->waits.provider == p)
            free(b->list[i]);
    if (b)
        free(b->list);
    free(b);
}

void provider_free(struct provider *p, int sources_n)
{
    for (int i = 0; i <= sources_n; i++)
        if (p->paths[i]) {
            free(p->paths[i]->why);
            free(p->paths[i]);
        }
    unbind(p);
    free(p->paths);
    free(p);
}

void limits_add(struct limits *limits, const struct scheduler_policy *policy)
{
    struct limits own = {policy->connections, policy->message_rate,
                         policy->connection_rate};
    limits_join(limits, &own);
}

void limits_add_outer(struct limits *limits, const struct scheduler_budget *budget)
{
    const struct scheduler_policy same = {.connections = budget->connections,
                                          .message_rate = budget->message_rate,
                                          .connection_rate = budget->connection_rate};
    limits_add(limits, &same);
}

static int64_t slowed(int64_t per_hour, uint32_t slow)
{
    int64_t rate = per_hour >> slow;
    return rate > 0 || per_hour == 0 ? rate : 1;
}

static int64_t share_of(int64_t per_hour, uint32_t jobs)
{
    return per_hour && per_hour < jobs ? 1 : per_hour / jobs;
}

static struct limits least(const struct path *path, const struct limits *limits)
{
    struct limits all = *limits;
    limits_join(&all, &path->common);
    return all;
}

void path_limit(struct path *path, const struct limits *limits)
{
    struct limits all = least(path, limits);
    int64_t mails = slowed(all.message_rate, path->slow);
    int64_t connects = slowed(all.connection_rate, path->slow);
    gate_limit(&path->mails, mails);
    gate_limit_loosely(&path->lending, share_of(mails, path->share.jobs));
    gate_limit(&path->connects, connects);
    gate_limit_loosely(&path->opening, share_of(connects, path->share.jobs));
}

uint32_t path_whole(const struct path *path, const struct limits *limits)
{
    uint32_t most = least(path, limits).connections;
    return path->allowed < most ? path->allowed : most;
}

uint32_t path_connections(const struct path *path, const struct limits *limits)
{
    uint32_t whole = path_whole(path, limits), jobs = path->share.jobs;
    uint32_t rank = (path->share.before + path->share.turn) % jobs;
    return whole / jobs + (rank < whole % jobs); /* what is left goes round */
}

/* What may be lent is as far ahead of what has passed as gate_limit_loosely allows. */
static int64_t either(const struct gate *pace, const struct gate *passed)
{
    int64_t own_us = gate_opens_us(pace), all_us = gate_opens_us(passed);
    all_us = all_us == INT64_MIN ? all_us : all_us - GATE_LOOSE_US;
    return own_us > all_us ? own_us : all_us;
}

int64_t path_lends_us(const struct path *path)
{
    return either(&path->lending, &path->mails);
}

int64_t path_opens_us(const struct path *path)
{
    return either(&path->opening, &path->connects);
}

bool path_is_plain(const struct path *path, int64_t now_us)
{
    const struct gate *gates[] = {&path->connects, &path->mails, &path->opening,
                                  &path->lending};
    for (size_t i = 0; i < sizeof gates / sizeof gates[0]; i++)
        if (!gate_is_rested(gates[i], now_us))
            return false;
    return path->connections == 0 && now_us >= path->closed_until_us &&
           path->allowed == UINT32_MAX && path->slow == 0 && path->refusals == 0 &&
           path->pauses == 0 && path->allowance_until_us == 0;
}

bool path_good(struct path *path, const struct limits *limits)
{
    path->refusals = path->pauses = 0;
    if (path->allowed == UINT32_MAX || ++path->good < PATH_GOOD * path->allowed)
        return false;
    path->good = 0;
    path->allowed++;
    if (path->allowed >= limits->connections) /* as before */
        path->allowed = UINT32_MAX;
    return true;
}

void words_set(char **words, const char *to)
{
    char *copy = mem_strdup(to); /* it may be the old one */
    free(*words);
    *words = copy;
}

void path_close(struct path *path, int64_t until_us, uint32_t connections,
                const char *why)
{
    if (until_us > path->closed_until_us) {
        words_set(&path->why, why);
        path->closed_until_us = until_us;
    }
    path->good = path->refusals = 0;
    if (connections)
        path->allowed = connections;
}

void path_slow(struct path *path, int64_t until_us, uint32_t connections,
               const char *why)
{
    words_set(&path->why, why);
    if (path->slow == 0 || until_us > path->slow_until_us)
        path->slow_until_us = until_us;
    if (path->slow < PATH_SLOWEST)
        path->slow++;
    path->good = path->refusals = 0;
    uint32_t half = connections > 1 ? connections / 2 : 1;
    if (half < path->allowed) /* some may still be ending that it may have no more */
        path->allowed = half;
}

bool path_rest(struct path *path, int64_t now_us, int64_t step_us)
{
    if (path->slow == 0 || now_us < path->slow_until_us)
        return false;
    path->slow--;
    path->slow_until_us = now_us + step_us;
    return true;
}

bool provider_answered(struct provider *p, bool absent, uint32_t percent)
{
    if (p->answers == ANSWERS_KEPT) { /* what was long ago counts less and less */
        p->answers /= 2;
        p->absent /= 2;
    }
    p->answers++;
    p->absent += absent;
    if (!absent || percent == 0 || p->answers < ANSWERS_MIN ||
        (uint64_t)p->absent * 100 < (uint64_t)p->answers * percent)
        return false;
    p->answers = p->absent = 0;
    return true;
}
