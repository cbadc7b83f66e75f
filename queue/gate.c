#include "queue/gate.h"

enum { NS_A_US = 1000 };
#define SECOND_NS INT64_C(1000000000)
#define HOUR_NS   (3600 * SECOND_NS)
/* What passes a gate leaves a moment later, and not always the same moment. Half of the
 * second that may be used up ahead is kept for that; rates that have no such second get
 * a little more between one and the next. */
#define AHEAD_NS (SECOND_NS / 2)
#define LATE_NS  (SECOND_NS / 50)

static struct gate_clock *clock_of(struct gate *g)
{
    return g->shared ? g->shared : &g->own;
}

static int64_t full_ns(const struct gate *g)
{
    return atomic_load(&(g->shared ? g->shared : &g->own)->full_ns);
}

/* The one that passed last has the new interval behind it instead of the old one: who
 * waits for an hour need not when one a second may pass. Of those who share a clock one
 * does so for all, and turns nothing back that another may have passed. */
static void renew(struct gate *g, int64_t interval_ns)
{
    struct gate_clock *c = clock_of(g);
    int64_t before = atomic_load(&c->interval_ns);
    if (before == interval_ns || (g->shared && interval_ns == 0) ||
        !atomic_compare_exchange_strong(&c->interval_ns, &before, interval_ns))
        return;
    int64_t full = atomic_load(&c->full_ns), other;
    do {
        other = interval_ns == 0           ? 0
                : full == 0 || before == 0 ? full
                                           : full - before + interval_ns;
        if (g->shared && other < full)
            return;
    } while (!atomic_compare_exchange_weak(&c->full_ns, &full, other));
}

static void limit(struct gate *g, int64_t interval_ns, int64_t ahead_ns)
{
    renew(g, interval_ns);
    atomic_store(&g->interval_ns, interval_ns);
    atomic_store(&g->ahead_ns, ahead_ns > interval_ns ? ahead_ns - interval_ns : 0);
}

/* Rounded up: never quicker than was asked for. */
static int64_t interval_of(int64_t per_hour)
{
    return per_hour ? (HOUR_NS + per_hour - 1) / per_hour : 0;
}

void gate_limit(struct gate *g, int64_t per_hour)
{
    int64_t interval = interval_of(per_hour);
    limit(g, interval >= SECOND_NS ? interval + LATE_NS : interval, AHEAD_NS);
}

void gate_limit_loosely(struct gate *g, int64_t per_hour)
{
    limit(g, interval_of(per_hour), GATE_LOOSE_US * INT64_C(1000));
}

void gate_share(struct gate *g, struct gate_clock *shared)
{
    int64_t own = full_ns(g), interval = atomic_load(&g->interval_ns);
    g->shared = shared;
    if (!shared) {
        atomic_store(&g->own.full_ns, own);
        atomic_store(&g->own.interval_ns, interval);
        return;
    }
    int64_t full = atomic_load(&shared->full_ns);
    while (full < own && !atomic_compare_exchange_weak(&shared->full_ns, &full, own))
        ;
    renew(g, interval);
}

bool gate_limits(const struct gate *g)
{
    return atomic_load(&g->interval_ns) != 0;
}

bool gate_pass(struct gate *g, int64_t now_us, int64_t *again_us)
{
    int64_t interval = atomic_load(&g->interval_ns);
    if (interval == 0)
        return true;
    int64_t now = now_us * NS_A_US;
    int64_t full = full_ns(g);
    for (;;) {
        int64_t opens = full - atomic_load(&g->ahead_ns);
        if (full != 0 && now < opens) {
            *again_us = (opens + NS_A_US - 1) / NS_A_US;
            return false;
        }
        int64_t from = full > now ? full : now;
        if (atomic_compare_exchange_weak(&clock_of(g)->full_ns, &full, from + interval))
            return true;
    }
}

bool gates_limit(struct gate *const *gates, int n)
{
    for (int i = 0; i < n; i++)
        if (gate_limits(gates[i]))
            return true;
    return false;
}

/* Who kept it until the others open would leave beside what passes then; so it goes
 * back. Nobody has passed in between who could not have without us. */
static void give_back(struct gate *g)
{
    atomic_fetch_sub(&clock_of(g)->full_ns, atomic_load(&g->interval_ns));
}

bool gates_pass(struct gate *const *gates, int n, int64_t now_us, int64_t *again_us)
{
    int64_t opens_us = INT64_MIN;
    for (int i = 0; i < n; i++)
        if (gate_opens_us(gates[i]) > opens_us)
            opens_us = gate_opens_us(gates[i]);
    if (opens_us > now_us) {
        *again_us = opens_us;
        return false;
    }
    for (int i = 0; i < n; i++) {
        if (gate_pass(gates[i], now_us, again_us))
            continue;
        while (i > 0) /* another thread was quicker */
            give_back(gates[--i]);
        return false;
    }
    return true;
}

bool gate_is_rested(const struct gate *g, int64_t now_us)
{
    return full_ns(g) <= now_us * NS_A_US;
}

int64_t gate_opens_us(const struct gate *g)
{
    int64_t interval = atomic_load(&g->interval_ns);
    int64_t full = full_ns(g);
    if (interval == 0 || full == 0)
        return INT64_MIN;
    return (full - atomic_load(&g->ahead_ns) + NS_A_US - 1) / NS_A_US;
}
