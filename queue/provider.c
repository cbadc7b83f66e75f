#include "queue/provider.h"

#include <stdlib.h>

#include "base/mem.h"

struct provider *provider_create(int sources_n)
{
    struct provider *p = mem_zero(1, sizeof *p);
    limits_init(&p->limits);
    p->paths = mem_zero((size_t)sources_n + 1, sizeof *p->paths);
    for (int i = 0; i < LINES; i++)
        link_init(&p->lines[i].sites);
    link_init(&p->offer);
    return p;
}

void provider_free(struct provider *p, int sources_n)
{
    for (int i = 0; i <= sources_n; i++)
        if (p->paths[i]) {
            free(p->paths[i]->why);
            free(p->paths[i]);
        }
    free(p->paths);
    free(p);
}

void limits_init(struct limits *limits)
{
    *limits = (struct limits){.connections = UINT32_MAX};
}

static int64_t slower(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

void limits_add(struct limits *limits, const struct scheduler_policy *policy)
{
    if (policy->connections < limits->connections)
        limits->connections = policy->connections;
    limits->message_rate = slower(limits->message_rate, policy->message_rate);
    limits->connection_rate = slower(limits->connection_rate, policy->connection_rate);
}

static int64_t share_of(int64_t per_hour, uint32_t jobs, uint32_t slow)
{
    if (per_hour == 0)
        return 0;
    int64_t share = (per_hour / jobs) >> slow;
    return share > 0 ? share : 1;
}

void path_limit(struct path *path, const struct limits *limits, uint32_t jobs)
{
    int64_t mails = share_of(limits->message_rate, jobs, path->slow);
    int64_t connects = share_of(limits->connection_rate, jobs, path->slow);
    gate_limit(&path->mails, mails);
    gate_limit_loosely(&path->lending, mails);
    gate_limit(&path->connects, connects);
    gate_limit_loosely(&path->opening, connects);
}

static uint32_t whole(const struct limits *limits, uint32_t jobs)
{
    return limits->connections > jobs ? limits->connections / jobs : 1;
}

uint32_t path_connections(const struct path *path, const struct limits *limits,
                          uint32_t jobs)
{
    uint32_t most = whole(limits, jobs);
    return path->allowed < most ? path->allowed : most;
}

bool path_good(struct path *path, const struct limits *limits, uint32_t jobs)
{
    path->refusals = path->pauses = 0;
    if (path->allowed == UINT32_MAX || ++path->good < PATH_GOOD * path->allowed)
        return false;
    path->good = 0;
    path->allowed++;
    if (path->allowed >= whole(limits, jobs)) /* as before */
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
    words_set(&path->why, why);
    if (until_us > path->closed_until_us)
        path->closed_until_us = until_us;
    path->good = path->refusals = 0;
    if (connections)
        path->allowed = connections;
}

void path_slow(struct path *path, int64_t until_us, const char *why)
{
    words_set(&path->why, why);
    path->slow_until_us = until_us;
    if (path->slow < PATH_SLOWEST)
        path->slow++;
    path->good = path->refusals = 0;
    path->allowed = path->connections > 1 ? path->connections / 2 : 1;
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
