#include "queue/site.h"

#include <stdlib.h>

#include "base/mem.h"

void site_init(struct site *site, struct mx_set *set, uint32_t policy)
{
    *site = (struct site){
        .name = mem_strdup(set->site), .set = set, .policy = policy, .window = 1};
    link_init(&site->work);
    link_init(&site->hungry);
}

void site_finish(struct site *site)
{
    mx_set_unref(site->set);
    free(site->name);
}

void site_refresh(struct site *site, struct mx_set *set)
{
    mx_set_unref(site->set);
    site->set = set;
}

bool site_admits(const struct site *site, uint32_t connections_max, int64_t now_us)
{
    return now_us >= site->closed_until_us && site->connections < site->window &&
           site->connections < connections_max;
}

const char *site_reason(const struct site *site, uint32_t connections_max,
                        int64_t now_us)
{
    if (now_us < site->closed_until_us)
        return "no connection, waiting for the next round";
    if (!site->proven)
        return "first connection on its way";
    if (site->connections >= connections_max)
        return "all connections in use";
    if (site->connections >= site->window)
        return "window";
    return "sending";
}

static void prove(struct site *site, uint32_t connections_max)
{
    if (site->proven)
        return;
    site->proven = true;
    site->good = 0;
    site->window = connections_max < WINDOW_FIRST ? connections_max : WINDOW_FIRST;
}

void site_good(struct site *site, uint32_t connections_max, int64_t now_us)
{
    prove(site, connections_max);
    /* Without bad news so far each good one opens it by one: it doubles in a round
     * trip. */
    if (++site->good < site->window && site->troubled)
        return;
    site->good = 0;
    uint32_t max = connections_max;
    if (now_us < site->ceiling_until_us && site->ceiling < max)
        max = site->ceiling;
    /* Never far above what is in use: an unused window says nothing of the site. */
    if (site->window < max && site->window <= site->connections)
        site->window++;
}

void site_bad(struct site *site, int64_t now_us)
{
    site->good = 0;
    site->troubled = true;
    site->ceiling = site->connections ? site->connections : 1;
    site->ceiling_until_us = now_us + CEILING_US;
    if (site->window > site->ceiling)
        site->window = site->ceiling;
}

void site_failed(struct site *site, int64_t until_us)
{
    site->proven = false;
    site->window = 1;
    site->good = 0;
    site->closed_until_us = until_us;
}
