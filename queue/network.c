#include "queue/network.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void network_init(struct network *n, int64_t silence_us, int64_t patience_us,
                  int64_t now_us)
{
    *n = (struct network){.silence_us = silence_us,
                          .patience_us = patience_us,
                          .heard_us = now_us,
                          .back_us = INT64_MIN,
                          .spell = 1};
}

void network_finish(struct network *n)
{
    map_finish(&n->sites);
    free(n->silence);
}

void network_set(struct network *n, int64_t silence_us, int64_t patience_us)
{
    n->silence_us = silence_us;
    n->patience_us = patience_us;
}

bool network_heard(struct network *n, int64_t now_us)
{
    bool was_down = n->down;
    n->heard_us = now_us;
    if (was_down)
        n->back_us = now_us;
    n->down = n->given_up = false;
    if (n->witnesses) {
        n->witnesses = 0;
        n->spell++;
    }
    return was_down;
}

bool network_connected(struct network *n, struct span site, int64_t now_us)
{
    uint32_t index = map_put(&n->sites, site, n->sites.n, NULL, NULL);
    if (index >= n->silence_cap) {
        uint32_t cap = n->silence_cap ? 2 * n->silence_cap : 64;
        n->silence = mem_resize(n->silence, cap, sizeof *n->silence);
        memset(n->silence + n->silence_cap, 0,
               (cap - n->silence_cap) * sizeof *n->silence);
        n->silence_cap = cap;
    }
    return network_heard(n, now_us);
}

bool network_failed(struct network *n, struct span site, int64_t now_us)
{
    uint32_t index = map_get(&n->sites, site);
    if (index == MAP_NONE)
        return false;
    if (n->silence[index] != n->spell) {
        n->silence[index] = n->spell;
        n->witnesses++;
    }
    if (n->down || n->given_up || n->witnesses < NETWORK_SITES ||
        now_us - n->heard_us < n->silence_us)
        return false;
    n->down = true;
    n->unrouted = false;
    n->down_us = now_us;
    return true;
}

bool network_unrouted(struct network *n, int64_t now_us)
{
    if (n->down || n->given_up)
        return false;
    n->down = n->unrouted = true;
    n->down_us = now_us;
    return true;
}

bool network_excuses(const struct network *n, int64_t opened_us)
{
    return n->down || opened_us < n->back_us;
}

bool network_give_up(struct network *n, int64_t now_us)
{
    if (!n->down || now_us - n->down_us < n->patience_us)
        return false;
    n->down = false;
    n->given_up = true;
    return true;
}
