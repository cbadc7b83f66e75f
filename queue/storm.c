#include "queue/storm.h"

#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"

#define GOOD UINT32_MAX /* instead of a site's number */

struct storm_site {
    uint32_t bad; /* in the window */
    uint32_t run; /* number of the last row of bad ones that it had part in */
};

struct storm {
    struct storm_params params;
    uint32_t *ring; /* of the last results: number of the bad one's site, or GOOD */
    uint32_t at, n; /* n: how many there are, at most window */
    uint32_t bad, bad_sites;
    uint32_t row, row_sites; /* bad ones without a good one between */
    uint32_t run;            /* the number of this row of them */
    struct map numbers;
    struct storm_site *sites;
    uint32_t sites_cap;
};

uint32_t storm_of_one_site(const struct storm_params *params)
{
    if (params->failures == 0 && params->consecutive == 0)
        return 0;
    uint32_t share = (params->min < params->window ? params->min : params->window);
    share = share / STORM_SITES + 1;
    return share < SITE_STORM_MIN   ? SITE_STORM_MIN
           : share > SITE_STORM_MAX ? SITE_STORM_MAX
                                    : share;
}

struct storm *storm_create(const struct storm_params *params)
{
    bool share = params->window && params->failures;
    if (!share && !params->consecutive)
        return NULL;
    struct storm *s = mem_zero(1, sizeof *s);
    s->params = *params;
    s->run = 1;
    if (!share)
        s->params.window = s->params.failures = 0;
    if (s->params.min > s->params.window)
        s->params.min = s->params.window;
    s->ring = mem_zero(s->params.window, sizeof *s->ring);
    return s;
}

void storm_destroy(struct storm *s)
{
    if (!s)
        return;
    map_finish(&s->numbers);
    free(s->sites);
    free(s->ring);
    free(s);
}

/* Only sites that refuse get a number. */
static uint32_t number_of(struct storm *s, struct span name)
{
    uint32_t number = map_put(&s->numbers, name, s->numbers.n, NULL, NULL);
    if (number >= s->sites_cap) {
        uint32_t cap = s->sites_cap ? 2 * s->sites_cap : 64;
        s->sites = mem_resize(s->sites, cap, sizeof *s->sites);
        memset(s->sites + s->sites_cap, 0, (cap - s->sites_cap) * sizeof *s->sites);
        s->sites_cap = cap;
    }
    return number;
}

/* The oldest result leaves the window, this one comes in. */
static void slide(struct storm *s, uint32_t number)
{
    if (s->params.window == 0)
        return;
    uint32_t old = s->n == s->params.window ? s->ring[s->at] : GOOD;
    if (old != GOOD) {
        s->bad--;
        s->bad_sites -= --s->sites[old].bad == 0;
    }
    if (number != GOOD) {
        s->bad++;
        s->bad_sites += s->sites[number].bad++ == 0;
    }
    s->ring[s->at] = number;
    s->at = (s->at + 1) % s->params.window;
    s->n += s->n < s->params.window;
}

static void count_row(struct storm *s, uint32_t number)
{
    if (number == GOOD) {
        s->run += s->row > 0;
        s->row = s->row_sites = 0;
        return;
    }
    s->row++;
    s->row_sites += s->sites[number].run != s->run;
    s->sites[number].run = s->run;
}

static bool by_row(const struct storm *s)
{
    return s->params.consecutive && s->row >= s->params.consecutive &&
           s->row_sites >= STORM_SITES;
}

static bool by_share(const struct storm *s)
{
    return s->params.failures && s->n >= s->params.min && s->bad_sites >= STORM_SITES &&
           (uint64_t)s->bad * 100 >= (uint64_t)s->n * s->params.failures;
}

bool storm_note(struct storm *s, struct span site, bool bad)
{
    if (!s)
        return false;
    uint32_t number = bad ? number_of(s, site) : GOOD;
    slide(s, number);
    count_row(s, number);
    return bad && (by_row(s) || by_share(s));
}

void storm_reason(const struct storm *s, struct buf *out)
{
    if (by_row(s))
        buf_printf(out,
                   "error storm: %u replies in a row, from %u sites, refuse us or the "
                   "address",
                   s->row, s->row_sites);
    else
        buf_printf(
            out,
            "error storm: %u of the last %u replies, from %u sites, refuse us or "
            "the address",
            s->bad, s->n, s->bad_sites);
}
