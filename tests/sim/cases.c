#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "world.h"

/* Runs it and frees the plan; stories and figures stay until world_finish. */
static void run(struct world *w, struct plan *p)
{
    plan_make_list(p);
    world_run(w, p);
}

static void finish(struct world *w, struct plan *p)
{
    world_finish(w);
    plan_free(p);
}

/* ---- a bad site does not slow the others ---- */

static void spoil(struct plan *p, int how)
{
    struct machine *m = &p->machines[0];
    p->places[0].good = false;
    switch (how) {
    case 0:
    case 1:
    case 2:
        m->door = how == 0 ? DOOR_REFUSED : how == 1 ? DOOR_DROPPED : DOOR_SPEECHLESS;
        m->door_until_us = NEVER;
        break;
    case 3:
        m->slow_us = 20 * SECOND_US;
        break;
    case 4:
        m->mood.greeting = "421 4.7.0 not now";
        break;
    case 5:
        m->mood.greeting = "554 5.7.1 go away";
        break;
    case 6: /* each connection freezes somewhere */
        m->fault_percent = 100;
        m->faults = 1u << FAULT_FREEZE;
        m->fault_bytes = 2000;
        break;
    case 7:
        m->window = m->receive_buffer = 1;
        m->latency_us = SECOND_US;
        break;
    case 8:
        m->mood.delay_ms = 30000;
        break;
    default:
        p->names[0].kind = NAME_UNKNOWN; /* as if it were not there */
    }
    m->later_mood = m->mood;
}

static int64_t time_of_others(int how, uint32_t connections_total)
{
    struct plan p;
    struct world w;
    plan_draw_calm(&p, 77, 30, 6000);
    p.connections_total = connections_total;
    p.policy.lifetime_ms = 3 * 3600 * 1000;
    spoil(&p, how);
    run(&w, &p);
    int64_t took = w.good_done_us;
    finish(&w, &p);
    return took;
}

static void case_neighbours(void)
{
    static const uint32_t totals[] = {500, 60};
    for (int t = 0; t < 2; t++) {
        int64_t alone = time_of_others(9, totals[t]);
        for (int how = 0; how < 9; how++) {
            int64_t took = time_of_others(how, totals[t]);
            if (took <= alone * 3 / 2 + SECOND_US)
                continue;
            fprintf(stderr,
                    "a bad site (%d) slows the others: %.1f s, %.1f s without it, "
                    "%u connections\n",
                    how, (double)took / 1e6, (double)alone / 1e6, totals[t]);
            exit(1);
        }
    }
}

/* ---- three at once: a throttled giant, a tarpit, a dead site ---- */

static int64_t time_beside(bool three, uint32_t sites, uint32_t connections)
{
    struct plan p;
    struct world w;
    plan_draw_calm(&p, 60, sites, 20000);
    p.giant_percent = 60;
    p.policy.connections = connections;
    p.policy.lifetime_ms = 3 * 3600 * 1000;
    p.others_n = 1;
    p.others[0] = p.policy;
    p.others[0].provider = 1;
    p.others[0].message_rate = 3600; /* the giant's */
    p.places[0].policy = 1;
    p.machines[1].slow_us = 20 * SECOND_US;
    p.machines[2].door = DOOR_DROPPED;
    p.machines[2].door_until_us = NEVER;
    for (int i = 0; i < 3; i++) {
        p.places[i].good = false;
        if (!three)
            p.names[i].kind = NAME_UNKNOWN;
    }
    run(&w, &p);
    int64_t took = w.good_done_us - SECOND_US;
    finish(&w, &p);
    return took;
}

static void case_three(void)
{
    static const uint32_t sites[] = {30, 300}, connections[] = {20, 2};
    for (int i = 0; i < 4; i++) {
        int64_t alone = time_beside(false, sites[i / 2], connections[i % 2]);
        int64_t took = time_beside(true, sites[i / 2], connections[i % 2]);
        if (took < alone * 11 / 10)
            continue;
        fprintf(stderr,
                "%u sites, %u connections each: a giant, a tarpit and a dead site slow "
                "the others: %.2f s, %.2f s without them\n",
                sites[i / 2], connections[i % 2], (double)took / 1e6,
                (double)alone / 1e6);
        exit(1);
    }
}

/* One budget, and one site has nearly all rows of it: the others take turns with it. */
static void case_one_budget(uint32_t connections, int64_t message_rate)
{
    struct plan p;
    struct world w;
    plan_draw_calm(&p, 61, 8, 3000);
    p.giant_percent = 90;
    p.policy.provider = 1;
    p.policy.connections = connections;
    p.policy.messages_per_connection = 10;
    p.policy.message_rate = message_rate;
    p.places[0].good = false;
    run(&w, &p);
    promise(
        w.good_done_us < w.now_us / 2, &w,
        "small sites of a provider wait until %.1f s for a big one that ends at %.1f s",
        (double)w.good_done_us / 1e6, (double)w.now_us / 1e6);
    finish(&w, &p);
}

/* ---- nothing ever answers ---- */

static void case_dead(enum door reach, uint32_t least, int code)
{
    struct plan p;
    struct world w;
    plan_draw_calm(&p, 48, 1, 50);
    p.places[0].good = false;
    p.machines[0].door = reach;
    p.machines[0].door_until_us = NEVER;
    run(&w, &p);
    for (uint32_t row = 1; row <= p.rows; row++) {
        const struct story *s = &w.stories[row];
        promise(s->attempts >= least && s->attempts <= 49, &w,
                "row %u: about 48 attempts in 24 h, not %u", row, s->attempts);
        promise(s->ended == 606 && s->last_code == code, &w,
                "row %u: 606 after %d, not %d", row, code, s->last_code);
    }
    promise(p.machines[0].tried <= 52, &w, "one probe a round, not %u connections",
            p.machines[0].tried);
    finish(&w, &p);
}

static void case_max_attempts(void)
{
    struct plan p;
    struct world w;
    plan_draw_calm(&p, 607, 1, 50);
    p.places[0].good = false;
    p.policy.max_attempts = 5;
    p.machines[0].mood.greeting = "421 4.7.0 not now";
    p.machines[0].later_mood = p.machines[0].mood;
    run(&w, &p);
    for (uint32_t row = 1; row <= p.rows; row++)
        promise(w.stories[row].ended == 607 && w.stories[row].attempts == 5 &&
                    w.stories[row].last_code == 421,
                &w, "row %u: 607 after five, the 421 kept", row);
    finish(&w, &p);
}

/* ---- what comes back is used ---- */

static void case_recovers(enum door reach)
{
    struct plan p;
    struct world w;
    plan_draw_calm(&p, 5, 2, 400);
    p.places[0].good = false;
    p.machines[0].door = reach;
    p.machines[0].door_until_us = 5 * HOUR_US;
    run(&w, &p);
    for (uint32_t row = 1; row <= p.rows; row++)
        promise(w.stories[row].outcome == OUTCOME_DELIVERED, &w, "row %u is delivered",
                row);
    /* a round, its greeting's time, and the sending */
    promise(w.now_us <= 5 * HOUR_US + 30 * MINUTE_US + 6 * MINUTE_US, &w,
            "a site that has come back is found within a round");
    finish(&w, &p);
}

static void case_greylist(void)
{
    struct plan p;
    struct world w;
    plan_draw_calm(&p, 450, 3, 300);
    for (int i = 0; i < 3; i++) {
        p.machines[i].mood.greylist_s = 300;
        p.machines[i].later_mood = p.machines[i].mood;
        p.places[i].good = false;
    }
    run(&w, &p);
    for (uint32_t row = 1; row <= p.rows; row++)
        promise(w.stories[row].attempts == 2 &&
                    w.stories[row].outcome == OUTCOME_DELIVERED,
                &w, "row %u: greylisted once, then taken", row);
    finish(&w, &p);
}

/* No name server for longer than a row may live: nothing of its life is used up. */
static void case_resolver_dead(void)
{
    struct plan p;
    struct world w;
    plan_draw_calm(&p, 608, 10, 300);
    p.policy.lifetime_ms = 3600 * 1000;
    p.dead_until_us = 9 * HOUR_US;
    run(&w, &p); /* a good place promises: delivered, at the first attempt */
    promise(w.now_us <= 9 * HOUR_US + 2 * MINUTE_US, &w,
            "a resolver that has come back is used");
    finish(&w, &p);
}

/* Our own network leads nowhere beyond the life of each row. The first few rows pay
 * for finding out; the others wait for nothing. */
static void case_network(void)
{
    struct plan p;
    struct world w;
    uint32_t paid = 0;
    plan_draw_calm(&p, 601, 12, 600);
    for (int i = 0; i < 12; i++) {
        p.machines[i].mood.greylist_s = 300; /* so that all connect, and come again */
        p.machines[i].later_mood = p.machines[i].mood;
        p.places[i].good = false;
    }
    p.policy.lifetime_ms = 4 * 3600 * 1000;
    p.cut_from_us = MINUTE_US;
    p.cut_until_us = 4 * HOUR_US + 20 * MINUTE_US;
    run(&w, &p);
    for (uint32_t row = 1; row <= p.rows; row++) {
        promise(w.stories[row].outcome == OUTCOME_DELIVERED, &w, "row %u is delivered",
                row);
        paid += w.stories[row].attempts > 2;
    }
    promise(w.now_us <= p.cut_until_us + 31 * MINUTE_US, &w,
            "a network that has come back is used");
    promise(paid <= p.rows / 10, &w, "%u rows paid for the network", paid);
    finish(&w, &p);
}

/* Our own routes lead nowhere, which is known at once: from the start, or while some
 * places are busy and the others slow to answer. Whatever the connections that stood
 * then wait for, in vain, nobody pays: only a dot that has left costs an attempt. */
static void case_no_route(int64_t cut_from_us)
{
    struct plan p;
    struct world w;
    uint32_t doubts = 0;
    plan_draw_calm(&p, 60, 12, 1200);
    p.policy.messages_per_connection = 1;
    for (int i = 0; i < 12; i++) {
        p.machines[i].mood.delay_ms = i < 6 ? 1000 : 30000;
        p.machines[i].later_mood = p.machines[i].mood;
        p.places[i].good = false;
    }
    p.cut_is_known = true;
    p.cut_from_us = cut_from_us;
    p.cut_until_us = cut_from_us + 2 * HOUR_US;
    run(&w, &p);
    for (uint32_t row = 1; row <= p.rows; row++) {
        const struct story *s = &w.stories[row];
        promise(s->outcome == OUTCOME_DELIVERED, &w, "row %u is delivered", row);
        promise(s->attempts <= 1u + s->flagged, &w, "row %u pays for our routes", row);
        doubts += s->flagged;
    }
    promise((doubts > 0) == (cut_from_us > 0), &w, "%u rows in doubt", doubts);
    promise(w.now_us <= p.cut_until_us + HOUR_US, &w,
            "a route that has come back is used");
    finish(&w, &p);
}

/* ---- no limit is exceeded ---- */

/* A few places with one budget, or one each; some addresses are unknown, some of the
 * connections are closed early. How many pass when is promised in each world. */
static void case_rates(uint64_t seed)
{
    static const int64_t rates[] = {36000, 3600, 900, 90, 2222, 7200, 0};
    struct plan p;
    struct world w;
    struct rng r = {seed};
    uint32_t places = 1 + rng_below(&r, 4);
    int64_t latency_us = 1000 + rng_below(&r, 500 * 1000); /* the same to all of them */
    plan_draw_calm(&p, seed, places, 20 + rng_below(&r, 80));
    p.policy.message_rate = rates[rng_below(&r, 7)];
    p.policy.connection_rate = rates[rng_below(&r, 7)];
    p.policy.provider = rng_below(&r, 2);
    p.policy.connections = 1 + rng_below(&r, 6);
    p.policy.messages_per_connection = rng_below(&r, 10);
    for (uint32_t i = 0; i < places; i++) {
        struct machine *m = &p.machines[i];
        p.places[i].good = false;
        m->mood.refuse_percent = (int)rng_below(&r, 20);
        m->mood.refuse_reply = "550 5.1.1 no such user";
        m->mood.pipelining = rng_below(&r, 2);
        m->latency_us = latency_us;
        m->mood.close_after = (int)rng_below(&r, 10);
        m->mood.greylist_s = rng_below(&r, 4) ? 0 : 60;
        m->later_mood = m->mood;
    }
    run(&w, &p);
    for (uint32_t row = 1; row <= p.rows; row++)
        promise(!w.stories[row].ended, &w, "row %u: nobody's patience ends here", row);
    finish(&w, &p);
}

/* And what is allowed is used. */
static void case_rate_is_used(void)
{
    struct plan p;
    struct world w;
    plan_draw_calm(&p, 3600, 3, 200);
    p.policy.message_rate = 7200;
    p.policy.provider = 1;
    for (int i = 0; i < 3; i++)
        p.machines[i].latency_us = 50 * 1000;
    run(&w, &p);
    promise(w.now_us <= 104 * SECOND_US, &w, "200 rows at two a second");
    finish(&w, &p);
}

void cases_run(void)
{
    case_rate_is_used();
    for (uint64_t seed = 1; seed <= 200; seed++)
        case_rates(seed);
    case_network();
    case_no_route(0);
    case_no_route(45 * SECOND_US);
    case_neighbours();
    case_three();
    case_one_budget(3, 0);
    case_one_budget(1, 0);
    case_one_budget(1, 36000);
    case_dead(DOOR_REFUSED, 48, 601);
    case_dead(DOOR_DROPPED, 46, 601);
    case_dead(DOOR_SPEECHLESS, 40, 640);
    case_max_attempts();
    for (enum door reach = DOOR_REFUSED; reach <= DOOR_SPEECHLESS; reach++)
        case_recovers(reach);
    case_greylist();
    case_resolver_dead();
}

/* ---- a day ---- */

void cases_day(void)
{
    struct plan p;
    struct world w;
    clock_t began = clock();
    plan_draw_day(&p, 24, 1500, 100000);
    run(&w, &p);
    printf("%u rows, %u names, %u sites, %.1f simulated hours: %" PRIu64
           " events, %" PRIu64 " attempts, %" PRIu64 " delivered, %" PRIu64
           " not, %" PRIu64 " in doubt, %" PRIu64 " twice, in %.1f s\n",
           p.rows, p.names_n, p.places_n, (double)w.now_us / HOUR_US, w.taken,
           w.attempts, w.delivered, w.errors, w.doubts, w.twice,
           (double)(clock() - began) / CLOCKS_PER_SEC);
    finish(&w, &p);
}
