#include "queue/site.h"

#include <stdlib.h>

#include "base/mem.h"

void site_init(struct site *site, struct mx_set *set, uint32_t policy,
               struct waits *waits)
{
    *site = (struct site){.name = mem_strdup(set->site),
                          .set = set,
                          .policy = policy,
                          .provider = waits->provider,
                          .outer = waits->outer,
                          .window = 1};
    link_init(&site->work);
    link_init(&site->hungry);
}

void site_finish(struct site *site)
{
    mx_set_unref(site->set);
    free(site->bound);
    free(site->left_until_us);
    free(site->why);
    free(site->failure);
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

void site_push(struct site *site, struct row *rows, uint32_t index, bool first,
               int sources_n)
{
    struct fifo *f = &site->fresh;
    if (rows[index].source) {
        if (!site->bound)
            site->bound = mem_zero((size_t)sources_n + 1, sizeof *site->bound);
        f = &site->bound[rows[index].source];
    }
    if (first)
        fifo_push_front(f, rows, index);
    else
        fifo_push(f, rows, index);
    site->ready++;
}

uint32_t site_pop(struct site *site, struct row *rows, uint8_t source)
{
    uint32_t index = 0;
    if (source && site->bound)
        index = fifo_pop(&site->bound[source], rows);
    if (!index)
        index = fifo_pop(&site->fresh, rows);
    site->ready -= index != 0;
    return index;
}

struct fifo site_take_all(struct site *site, struct row *rows, int sources_n)
{
    struct fifo all = {0};
    for (int i = 1; site->bound && i <= sources_n; i++)
        fifo_join(&all, rows, &site->bound[i]);
    fifo_join(&all, rows, &site->fresh);
    site->ready = 0;
    return all;
}

struct fifo site_take_bound(struct site *site, uint8_t source)
{
    struct fifo taken = {0};
    if (!site->bound)
        return taken;
    taken = site->bound[source];
    site->bound[source] = (struct fifo){0};
    site->ready -= taken.n;
    return taken;
}

void site_had_enough(struct site *site, uint32_t served)
{
    if (served == site->enough_once)
        site->enough = served > 1 ? served - 1 : 1;
    site->enough_once = served;
}

static void prove(struct site *site, uint32_t connections_max)
{
    if (site->proven)
        return;
    free(site->failure);
    site->failure = NULL;
    site->proven = true;
    site->good = 0;
    site->window = connections_max < WINDOW_FIRST ? connections_max : WINDOW_FIRST;
}

void site_good(struct site *site, uint8_t source, uint32_t connections_max,
               int64_t now_us)
{
    if (site->left_until_us)
        site->left_until_us[source] = 0;
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

static void doubt(struct site *site)
{
    site->proven = false;
    site->window = 1;
    site->good = 0;
}

void site_leave(struct site *site, uint8_t source, int64_t until_us, int sources_n)
{
    if (!site->left_until_us)
        site->left_until_us =
            mem_zero((size_t)sources_n + 1, sizeof *site->left_until_us);
    site->left_until_us[source] = until_us;
    if (site->connections == 0)
        doubt(site);
}

void site_failed(struct site *site, int64_t until_us)
{
    doubt(site);
    free(site->left_until_us);
    site->left_until_us = NULL;
    if (until_us < site->closed_until_us)
        return; /* a rule says more */
    site->closed_until_us = until_us;
    free(site->why);
    site->why = NULL;
}
