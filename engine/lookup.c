/* Which way a domain's mail goes: its policy, and the hosts of its MX set, or those of
 * the relay that the policy says. */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/inside.h"

enum { LOOKUPS_AHEAD = 2 /* times resolver.in_flight: asked, not yet answered */ };

/* ---- resolving ---- */

struct lookup {
    struct link link; /* in engine->lookups */
    struct engine *engine;
    uint32_t domain;
    const char *name;  /* asked for: the domain, or a relay in brackets */
    struct mx_set *mx; /* asked for a relay that the domain's MX set decided: that */
};

static void forget(struct lookup *lookup)
{
    lookup->engine->lookups_n--;
    link_remove(&lookup->link);
    mx_set_unref(lookup->mx);
    free(lookup);
}

void lookups_forget(struct engine *e)
{
    while (!link_alone(&e->lookups))
        forget(CONTAINER_OF(e->lookups.next, struct lookup, link));
}

static const char *domain_name(const struct engine *e, uint32_t domain)
{
    return recipients_domain_name(e->params->list, domain);
}

/* In brackets; NULL: the mail is direct, as far as is known. */
static const char *relay_of(const struct engine *e, uint32_t domain,
                            const struct mx_set *mx)
{
    const struct engine_policies *p = &e->params->policies;
    return p->relay ? p->relay(p->arg, domain_name(e, domain), mx) : NULL;
}

bool engine_is_relayed(const struct engine *e, uint32_t domain)
{
    return relay_of(e, domain, NULL) != NULL;
}

static void on_resolved(void *arg, struct mx_set *set)
{
    struct lookup *lookup = arg;
    struct engine *e = lookup->engine;
    const char *relay =
        set->is_host || set->code ? NULL : relay_of(e, lookup->domain, set);
    if (relay) { /* its hosts are known, and with them the section that has a relay */
        lookup->mx = set;
        lookup->name = relay;
        resolver_lookup(e->resolver, relay, on_resolved, lookup);
        return;
    }
    bool mute = set->code == 608;
    if (mute && !e->mute) /* nobody's attempt: the whole job waits */
        settle_mute(e, set);
    e->mute = mute;
    e->decided_by = lookup->mx;
    scheduler_resolved(e->scheduler, lookup->domain, set, engine_now_us());
    e->decided_by = NULL;
    forget(lookup);
}

void lookups_ask(struct engine *e)
{
    uint32_t domain;
    while (e->lookups_n < LOOKUPS_AHEAD * e->resolver_in_flight &&
           (domain = scheduler_ask(e->scheduler)) != RECIPIENTS_NO_DOMAIN) {
        const char *relay = relay_of(e, domain, NULL);
        struct lookup *lookup = mem_alloc(sizeof *lookup);
        *lookup = (struct lookup){.engine = e,
                                  .domain = domain,
                                  .name = relay ? relay : domain_name(e, domain)};
        link_insert(&e->lookups, &lookup->link);
        e->lookups_n++;
        resolver_lookup(e->resolver, lookup->name, on_resolved, lookup);
    }
}

bool engine_take_resolver(struct engine *e, const struct resolver_params *params,
                          struct fault *f)
{
    struct resolver *fresh = resolver_create(&e->loop, params, f);
    if (!fresh)
        return false;
    if (e->resolver)
        resolver_close(e->resolver); /* what it was asked it drops: ask the new one */
    e->resolver = fresh;
    e->resolver_in_flight = params->in_flight;
    for (struct link *l = e->lookups.next; l != &e->lookups; l = l->next) {
        struct lookup *lookup = CONTAINER_OF(l, struct lookup, link);
        resolver_lookup(fresh, lookup->name, on_resolved, lookup);
    }
    return true;
}

/* ---- policies ---- */

struct scheduler_policy engine_get_policy(struct engine *e, uint32_t number)
{
    struct engine_policy policy;
    e->params->policies.get(e->params->policies.arg, number, &policy);
    struct kept_destination *kept = mem_alloc(sizeof *kept);
    *kept = (struct kept_destination){e->kept, policy.destination};
    e->kept = kept;
    bool fresh = number == e->policies_n;
    if (fresh) {
        e->policies = mem_resize(e->policies, number + 1, sizeof *e->policies);
        e->policies_n++;
    }
    struct policy *known = &e->policies[number];
    known->destination = &kept->destination;
    known->hours = policy.quiet;
    known->budget = policy.budget;
    if (fresh) { /* else steer_hours says so */
        policy.queue.quiet_until_us = steer_quiet_until_us(e, &known->hours);
        known->quiet = policy.queue.quiet_until_us != 0;
    }
    return policy.queue;
}

uint32_t engine_policy_of(void *arg, uint32_t domain, const struct mx_set *set,
                          struct scheduler_policy *out, bool *fresh)
{
    struct engine *e = arg;
    const struct engine_policies *p = &e->params->policies;
    const struct mx_set *mx = set && set->is_host ? e->decided_by : set;
    uint32_t number = p->number(p->arg, domain_name(e, domain), mx, set);
    assert(number <= e->policies_n);
    *fresh = number == e->policies_n;
    if (*fresh)
        *out = engine_get_policy(e, number);
    return number;
}
