#include "cli/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "base/map.h"
#include "base/mem.h"

enum { PROGRESS_MS = 200 };

struct asking {
    struct plan *plan;
    const struct recipients *list;
    struct policies *policies;
    struct resolver *resolver;
    uint32_t asked, answered;
    int ahead;
    uv_timer_t timer;
};

struct question {
    struct asking *asking;
    uint32_t domain;
};

static void ask_more(struct asking *a);

static const char *relay_of(const struct asking *a, uint32_t domain,
                            const struct mx_set *mx)
{
    return policies_relay(a->policies, recipients_domain_name(a->list, domain), mx);
}

static void on_resolved(void *arg, struct mx_set *set)
{
    struct question *q = arg;
    struct asking *a = q->asking;
    const char *relay = set->is_host || set->code ? NULL : relay_of(a, q->domain, set);
    if (relay) {
        a->plan->mxs[q->domain] = set;
        resolver_lookup(a->resolver, relay, on_resolved, q);
        return;
    }
    a->plan->sets[q->domain] = set;
    free(q);
    a->answered++;
    if (a->answered == a->plan->domains_n) {
        resolver_close(a->resolver);
        uv_close((uv_handle_t *)&a->timer, NULL);
        return;
    }
    ask_more(a);
}

static void ask_more(struct asking *a)
{
    while (a->asked < a->plan->domains_n &&
           a->asked - a->answered < (uint32_t)a->ahead) {
        struct question *q = mem_alloc(sizeof *q);
        *q = (struct question){a, a->asked++};
        const char *relay = relay_of(a, q->domain, NULL);
        resolver_lookup(a->resolver,
                        relay ? relay : recipients_domain_name(a->list, q->domain),
                        on_resolved, q);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct asking *a = timer->data;
    fprintf(stderr, "\rresolving %u of %u domains", a->answered, a->plan->domains_n);
}

static bool resolve(struct plan *p, const struct recipients *list,
                    struct policies *policies, const struct resolver_params *params,
                    bool quiet, struct fault *f)
{
    uv_loop_t loop;
    if (uv_loop_init(&loop) != 0)
        return fault_set(f, -20, "no event loop");
    struct asking a = {
        .plan = p, .list = list, .policies = policies, .ahead = 2 * params->in_flight};
    a.resolver = resolver_create(&loop, params, f);
    bool good = a.resolver != NULL;
    if (good && p->domains_n == 0)
        resolver_close(a.resolver);
    if (good && p->domains_n > 0) {
        bool show = !quiet && isatty(STDERR_FILENO);
        uv_timer_init(&loop, &a.timer);
        a.timer.data = &a;
        if (show)
            uv_timer_start(&a.timer, on_timer, PROGRESS_MS, PROGRESS_MS);
        ask_more(&a);
        uv_run(&loop, UV_RUN_DEFAULT);
        if (show)
            fputs("\r\x1b[K", stderr);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return good;
}

static bool count_rows(struct plan *p, const struct recipients *list, struct fault *f)
{
    struct recipient row = {0};
    bool good = true;
    uint32_t last = recipients_last(list);
    for (uint64_t n = recipients_first(list); good && n && n <= last; n++) {
        uint32_t domain = recipients_domain(list, (uint32_t)n);
        if (domain != RECIPIENTS_NO_DOMAIN) {
            p->rows[domain]++;
            if (!p->first_usable)
                p->first_usable = (uint32_t)n;
            continue;
        }
        good = recipients_read(list, (uint32_t)n, &row, f);
        if (good)
            p->faulty[row.code == 611 ? 0 : row.code == 800 ? 1 : 2]++;
    }
    recipient_finish(&row);
    return good;
}

/* A site with the number that it had when it was found. */
struct found {
    struct plan_site site;
    uint32_t number;
};

static int by_rows(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->site.rows != y->site.rows)
        return x->site.rows < y->site.rows ? 1 : -1;
    int names = strcmp(x->site.name, y->site.name);
    return names ? names : x->number < y->number ? -1 : 1;
}

static uint32_t find_sites(struct plan *p, const struct recipients *list,
                           struct policies *policies, struct found *sites)
{
    uint32_t n = 0;
    struct buf key = {0};
    struct map by_key = {0};
    for (uint32_t i = 0; i < p->domains_n; i++) {
        const struct mx_set *set = p->sets[i];
        if (set->code) {
            p->unresolved_rows += p->rows[i];
            p->unresolved_domains++;
            continue;
        }
        bool added;
        uint32_t policy = policies_number(policies, recipients_domain_name(list, i),
                                          plan_mx(p, i), set);
        buf_reset(&key);
        buf_printf(&key, "%u %s", policy, set->key);
        p->site_of[i] = map_put(&by_key, buf_span(&key), n, &added, NULL);
        struct found *found = &sites[p->site_of[i]];
        if (added)
            *found =
                (struct found){{.name = set->site, .policy = policy, .set = set}, n++};
        found->site.rows += p->rows[i];
        found->site.domains++;
        p->resolved_rows += p->rows[i];
    }
    map_finish(&by_key);
    buf_finish(&key);
    return n;
}

static void group(struct plan *p, const struct recipients *list,
                  struct policies *policies)
{
    struct found *found = mem_zero(p->domains_n, sizeof *found);
    p->site_of = mem_zero(p->domains_n, sizeof *p->site_of);
    p->sites_n = find_sites(p, list, policies, found);
    qsort(found, p->sites_n, sizeof *found, by_rows);
    p->sites = mem_zero(p->sites_n, sizeof *p->sites);
    uint32_t *place = mem_zero(p->sites_n, sizeof *place);
    for (uint32_t i = 0; i < p->sites_n; i++) {
        p->sites[i] = found[i].site;
        place[found[i].number] = i;
    }
    for (uint32_t i = 0; i < p->domains_n; i++)
        if (!p->sets[i]->code)
            p->site_of[i] = place[p->site_of[i]];
    free(place);
    free(found);
}

bool plan_make(struct plan *p, const struct recipients *list, struct policies *policies,
               const struct resolver_params *resolver, bool quiet, struct fault *f)
{
    *p = (struct plan){.domains_n = recipients_domains(list)};
    p->rows = mem_zero(p->domains_n, sizeof *p->rows);
    p->sets = mem_zero(p->domains_n, sizeof(struct mx_set *));
    p->mxs = mem_zero(p->domains_n, sizeof(struct mx_set *));
    if (!count_rows(p, list, f) || !resolve(p, list, policies, resolver, quiet, f)) {
        plan_finish(p);
        return false;
    }
    group(p, list, policies);
    return true;
}

void plan_finish(struct plan *p)
{
    for (uint32_t i = 0; i < p->domains_n; i++)
        mx_set_unref(p->sets[i]);
    for (uint32_t i = 0; i < p->domains_n; i++)
        mx_set_unref(p->mxs[i]);
    free(p->mxs);
    free(p->rows);
    free(p->sets);
    free(p->sites);
    free(p->site_of);
    *p = (struct plan){0};
}

const struct mx_set *plan_mx(const struct plan *p, uint32_t domain)
{
    return p->sets[domain]->is_host ? p->mxs[domain] : p->sets[domain];
}

struct asked {
    struct resolver *resolver;
    struct mx_set *set;
};

static void on_looked_up(void *arg, struct mx_set *set)
{
    struct asked *a = arg;
    a->set = set;
    resolver_close(a->resolver);
}

struct mx_set *plan_look_up(const char *domain, const struct resolver_params *resolver,
                            struct fault *f)
{
    struct asked a = {0};
    uv_loop_t loop;
    if (uv_loop_init(&loop) != 0) {
        fault_set(f, -20, "no event loop");
        return NULL;
    }
    a.resolver = resolver_create(&loop, resolver, f);
    if (a.resolver)
        resolver_lookup(a.resolver, domain, on_looked_up, &a);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return a.set;
}
