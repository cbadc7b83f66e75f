#include "queue/obstacle.h"

/* Has it no room for one more connection with a row? */
static bool meet_limits(const struct scheduler *s, const struct path *path,
                        const struct limits *limits, struct obstacle *o, int64_t now_us)
{
    if (!path)
        return false;
    if (path_is_full(s, path, limits))
        obstacle_meet(o, LACK_CONNECTIONS, INT64_MAX);
    else if (path_lends_us(path) > now_us)
        obstacle_meet(o, LACK_RATE, path_lends_us(path));
    else if (path_opens_us(path) > now_us)
        obstacle_meet(o, LACK_CONNECTION_RATE, path_opens_us(path));
    else
        return false;
    return true;
}

void obstacle_of_source(const struct scheduler *s, const struct site *site, int source,
                        struct obstacle *o, int64_t now_us)
{
    const struct outer *outer = site->outer;
    const struct path *path = site->provider->paths[source];
    int64_t closed_until_us = path ? path->closed_until_us : 0;
    if (path && s->source_until_us[source] > closed_until_us)
        closed_until_us = s->source_until_us[source];
    if (now_us < closed_until_us)
        obstacle_meet(o, LACK_PATH, closed_until_us);
    else if (path && path->used_up && now_us < path->allowance_until_us)
        obstacle_meet(o, LACK_WARMUP, path->allowance_until_us);
    else if (!meet_limits(s, path, &site->provider->limits, o, now_us))
        for (int i = 0; i < outer_n(outer); i++)
            if (meet_limits(s, outer_path(outer, i, source), &outer->budgets[i]->limits,
                            o, now_us))
                return;
}

bool obstacle_of_site(const struct scheduler *s, const struct site *site,
                      struct obstacle *o, int64_t now_us)
{
    bool quiet = policy_of(s, site)->quiet_until_us != 0;
    bool closed = now_us < site->closed_until_us;
    bool braked = now_us < site->provider->braked_until_us;
    if (closed)
        obstacle_meet(o, site->why ? LACK_PATH : LACK_ROUND, site->closed_until_us);
    if (braked)
        obstacle_meet(o, LACK_BRAKE, site->provider->braked_until_us);
    if (quiet) /* scheduler_quiet ends it */
        obstacle_meet(o, LACK_QUIET, INT64_MAX);
    return closed || braked || quiet;
}

int obstacle_source_at(const struct scheduler *s, const struct site *site, uint32_t i)
{
    const struct scheduler_policy *policy = policy_of(s, site);
    uint32_t n = (uint32_t)policy->sources_n;
    if (n == 0)
        return i == 0 ? 0 : NO_SOURCE;
    return i < n ? policy->sources[(site->opened + i) % n] : NO_SOURCE;
}

bool obstacle_has_others(const struct scheduler *s, const struct site *site,
                         uint8_t source, int64_t now_us)
{
    int other;
    for (uint32_t i = 0; (other = obstacle_source_at(s, site, i)) != NO_SOURCE; i++) {
        struct obstacle o = {.until_us = INT64_MAX};
        if (other == source || now_us < site_left_until_us(site, (uint8_t)other))
            continue;
        obstacle_of_source(s, site, other, &o, now_us);
        if (!(o.lacks & (LACK_PATH | LACK_WARMUP)))
            return true;
    }
    return false;
}

int64_t obstacle_left_until_us(const struct scheduler *s, const struct site *site,
                               uint8_t source, int64_t now_us)
{
    int64_t until_us = site_left_until_us(site, source);
    return now_us < until_us && obstacle_has_others(s, site, source, now_us) ? until_us
                                                                             : 0;
}

bool obstacle_is_connected(const struct scheduler *s, const struct site *site,
                           uint8_t source)
{
    for (uint32_t i = 0; i < s->connections_used; i++)
        if (s->connections[i].site == site && s->connections[i].source == source)
            return true;
    return false;
}

bool obstacle_asked(const struct scheduler *s, const struct site *site, int source,
                    struct obstacle *o, int64_t now_us)
{
    bool failed = site_left_until_us(site, (uint8_t)source) != 0;
    if (site_ready(site, (uint8_t)source) == 0 ||
        (failed && obstacle_is_connected(s, site, (uint8_t)source)))
        return false;
    int64_t left_us = obstacle_left_until_us(s, site, (uint8_t)source, now_us);
    if (left_us)
        obstacle_meet(o, 0, left_us);
    return left_us == 0;
}

void obstacle_of_window(const struct scheduler *s, const struct site *site,
                        struct obstacle *o)
{
    if (site->connections >= connections_of_all(s, site))
        obstacle_meet(o, LACK_CONNECTIONS, INT64_MAX);
    else if (site->connections >= site->window)
        obstacle_meet(o, site->proven ? LACK_WINDOW : LACK_PROOF, INT64_MAX);
}

static bool is_used_up(const struct path *path, int64_t now_us)
{
    if (!path)
        return false;
    return gate_opens_us(&path->lending) > now_us ||
           (path->connections && gate_opens_us(&path->mails) > now_us);
}

/* One more connection would wait for a rate, as those do that it has. */
static bool waits_for_rate(const struct site *site, int source, int64_t now_us)
{
    const struct outer *outer = site->outer;
    bool waits = is_used_up(site->provider->paths[source], now_us);
    for (int i = 0; i < outer_n(outer) && !waits; i++)
        waits = is_used_up(outer_path(outer, i, source), now_us);
    return waits;
}

/* More connections, which it lacks, would help no source that may send. */
static bool lacks_rate(const struct scheduler *s, const struct site *site,
                       int64_t now_us)
{
    bool any = false;
    int source;
    for (uint32_t i = 0; (source = obstacle_source_at(s, site, i)) != NO_SOURCE; i++) {
        struct obstacle o = {.until_us = INT64_MAX};
        if (!obstacle_asked(s, site, source, &o, now_us))
            continue;
        obstacle_of_source(s, site, source, &o, now_us);
        if (o.lacks & (LACK_PATH | LACK_WARMUP))
            continue;
        if (!waits_for_rate(site, source, now_us))
            return false;
        any = true;
    }
    return any;
}

static unsigned lacks_now(const struct scheduler *s, const struct site *site,
                          int64_t now_us)
{
    struct obstacle o = {.until_us = INT64_MAX};
    int source;
    if (!site->line)
        return site->lacks;
    if (obstacle_of_site(s, site, &o, now_us))
        return o.lacks;
    obstacle_of_window(s, site, &o);
    for (uint32_t i = 0; (source = obstacle_source_at(s, site, i)) != NO_SOURCE; i++)
        if (obstacle_asked(s, site, source, &o, now_us))
            obstacle_of_source(s, site, source, &o, now_us);
    return o.lacks;
}

unsigned obstacle_lacks(const struct scheduler *s, const struct site *site,
                        int64_t now_us)
{
    const unsigned connections = LACK_CONNECTIONS | LACK_WINDOW;
    if (site->ready == 0)
        return site->lacks;
    unsigned lacks = lacks_now(s, site, now_us);
    if (lacks & connections && lacks_rate(s, site, now_us))
        lacks = (lacks & ~connections) | LACK_RATE;
    return lacks;
}
