#include "cli/outlook.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"

enum { PROVIDERS_SHOWN = 20 };

/* What receivers are taken to be like (docs/operations.md): 50 ms away, with TLS 1.3, a
 * quarter of a second for each message. And ourselves: docs/performance.md. */
enum {
    ROUND_TRIP_US = 50 * 1000,
    OPENING_TRIPS = 6, /* TCP, greeting, EHLO, STARTTLS, handshake, EHLO */
    ACCEPT_US = 250 * 1000,
    BYTES_A_SECOND = 1000 * 1000,
    OWN_NS = 50 * 1000,    /* of one processor */
    LOOKUP_US = 10 * 1000, /* check has just asked: caches know it */
};

/* ---- providers ---- */

/* Of a policy: whose limits hold for it. */
struct budget {
    uint32_t number; /* 0: each site is alone */
    const char *name;
};

/* *most: the highest number. */
static struct budget *find_budgets(struct policies *policies, uint32_t *most)
{
    struct engine_policies e = policies_engine(policies);
    struct engine_policy policy;
    struct budget *budgets = mem_zero(policies->n, sizeof *budgets);
    *most = 0;
    for (uint32_t i = 0; i < policies->n; i++) {
        e.get(e.arg, i, &policy);
        budgets[i] = (struct budget){policy.queue.provider, policy.budget};
        if (budgets[i].number > *most)
            *most = budgets[i].number;
    }
    return budgets;
}

static int by_rows(const void *a, const void *b)
{
    const struct provider *x = a, *y = b;
    if (x->rows != y->rows)
        return x->rows < y->rows ? 1 : -1;
    return x->expected < y->expected ? -1 : 1;
}

/* The provider of each site, by number; their rows and names. */
static uint32_t *find_providers(struct outlook *o, const struct plan *plan,
                                struct policies *policies)
{
    uint32_t *of_site = mem_zero(plan->sites_n, sizeof *of_site);
    uint32_t most;
    struct budget *budgets = find_budgets(policies, &most);
    uint32_t *known = mem_zero((size_t)most + 1, sizeof *known);
    o->providers = mem_zero(plan->sites_n, sizeof *o->providers);
    for (uint32_t i = 0; i < plan->sites_n; i++) {
        const struct plan_site *site = &plan->sites[i];
        const struct budget *budget = &budgets[site->policy];
        if (!budget->number || !known[budget->number]) {
            o->providers[o->providers_n++].name =
                budget->number ? budget->name : site->name;
            known[budget->number] = o->providers_n;
        }
        of_site[i] = known[budget->number] - 1;
        struct provider *provider = &o->providers[of_site[i]];
        provider->rows += site->rows;
        provider->sites++;
    }
    free(known);
    free(budgets);
    return of_site;
}

/* ---- making it ---- */

struct asking { /* the policies of the forecast's own scheduler */
    const struct plan *plan;
    struct policies policies;
    struct engine_policies engine;
    const struct recipients *list;
    uint32_t known;
};

static uint32_t policy_of(void *arg, uint32_t domain, const struct mx_set *set,
                          struct scheduler_policy *out, bool *fresh)
{
    struct asking *a = arg;
    struct engine_policy policy;
    const struct mx_set *mx = set && set->is_host ? plan_mx(a->plan, domain) : set;
    uint32_t number = a->engine.number(
        a->engine.arg, recipients_domain_name(a->list, domain), mx, set);
    *fresh = number == a->known;
    if (*fresh) {
        a->engine.get(a->engine.arg, number, &policy);
        *out = policy.queue;
        a->known++;
    }
    return number;
}

static struct hours hours_of(void *arg, uint32_t number)
{
    struct asking *a = arg;
    struct engine_policy policy;
    a->engine.get(a->engine.arg, number, &policy);
    return policy.quiet;
}

static void on_tick(void *arg, uint64_t sent)
{
    const struct plan *plan = arg;
    fprintf(stderr, "\rforecast of %" PRIu64 " of %u rows", sent, plan->resolved_rows);
}

static void run(struct outlook *o, const struct blast *b, const struct plan *plan,
                const uint32_t *groups, bool quiet)
{
    struct asking a = {.plan = plan, .list = b->list, .known = 1};
    struct engine_policy first;
    policies_init(&a.policies, b->conf, &b->relays, &b->trust);
    a.engine = policies_engine(&a.policies);
    a.engine.get(a.engine.arg, 0, &first);
    int loops = b->conf->workers > 1 ? (int)b->conf->workers : 1;
    bool show = !quiet && isatty(STDERR_FILENO);
    struct forecast_params params = {
        .list = b->list,
        .sets = plan->sets,
        .groups = groups,
        .groups_n = o->providers_n,
        .policy = first.queue,
        .policy_of = a.engine.number ? policy_of : NULL,
        .policy_arg = &a,
        .sources_n = b->sources_n,
        .connections_total = engine_connections((int)b->conf->workers),
        .lookups = (uint32_t)b->conf->resolver.in_flight,
        .message_size = template_size(b->template),
        .begin_ms = o->begin_ms,
        .until_ms = b->until_ms,
        .hours_of = hours_of,
        .assumed = {.lookup_us = LOOKUP_US,
                    .round_trip_us = ROUND_TRIP_US,
                    .opening_us = OPENING_TRIPS * ROUND_TRIP_US,
                    .accept_us = ACCEPT_US,
                    .bytes_a_second = BYTES_A_SECOND,
                    .own_ns = OWN_NS / loops},
        .tick = show ? on_tick : NULL,
        .tick_arg = (void *)(uintptr_t)plan,
    };
    forecast_make(&o->forecast, &params);
    if (show)
        fputs("\r\x1b[K", stderr);
    policies_finish(&a.policies);
}

void outlook_make(struct outlook *o, const struct blast *b, const struct plan *plan,
                  struct policies *policies, bool quiet)
{
    *o = (struct outlook){.begin_ms = b->start_ms > b->created_ms ? b->start_ms
                                                                  : b->created_ms};
    uint32_t *of_site = find_providers(o, plan, policies);
    uint32_t *of_domain = mem_zero(plan->domains_n, sizeof *of_domain);
    for (uint32_t i = 0; i < plan->domains_n; i++)
        if (!plan->sets[i]->code)
            of_domain[i] = of_site[plan->site_of[i]];
    run(o, b, plan, of_domain, quiet);
    free(of_domain);
    free(of_site);
    for (uint32_t i = 0; i < o->providers_n; i++)
        o->providers[i].expected = &o->forecast.groups[i];
    qsort(o->providers, o->providers_n, sizeof *o->providers, by_rows);
    for (uint32_t i = 0; i < o->providers_n && o->forecast.sent; i++)
        if (o->providers[i].expected == &o->forecast.groups[o->forecast.last])
            o->last = &o->providers[i];
}

void outlook_finish(struct outlook *o)
{
    forecast_finish(&o->forecast);
    free(o->providers);
    *o = (struct outlook){0};
}

/* ---- showing it ---- */

enum { TIME_MAX = 32 };

/* Begun seconds count. */
static const char *duration(int64_t ms, char out[TIME_MAX])
{
    int64_t s = (ms + 999) / 1000;
    snprintf(out, TIME_MAX, "%" PRId64 ":%02d:%02d", s / 3600, (int)(s / 60 % 60),
             (int)(s % 60));
    return out;
}

static const char *bound(const struct provider *p)
{
    return *p->expected->bound ? p->expected->bound : "the distance";
}

static void print_provider(const struct outlook *o, const struct provider *p)
{
    char end[WHEN_LOCAL_MAX] = "-", takes[TIME_MAX] = "-";
    if (p->expected->sent == p->rows) {
        when_local(p->expected->end_ms, end);
        duration(p->expected->end_ms - o->begin_ms, takes);
    }
    struct buf name = {0};
    buf_add_str(&name, p->name);
    if (p->sites > 1)
        buf_printf(&name, " (%u sites)", p->sites);
    printf("%10u  %-19s %10s  %-40s %s", p->rows, end, takes, buf_cstr(&name),
           bound(p));
    buf_finish(&name);
    if (p->expected->sent < p->rows)
        printf(", %u rows too late", p->rows - p->expected->sent);
    putchar('\n');
}

void outlook_print(const struct outlook *o, const struct blast *b)
{
    const struct forecast *f = &o->forecast;
    char begin[WHEN_LOCAL_MAX], end[WHEN_LOCAL_MAX], takes[TIME_MAX];
    if (!o->last)
        return;
    printf("\nforecast  from %s to %s, %s; bounded by %s: %s\n",
           when_local(o->begin_ms, begin), when_local(f->end_ms, end),
           duration(f->end_ms - o->begin_ms, takes), o->last->name, bound(o->last));
    printf(
        "          if every message is taken at the first attempt: no greylisting, no "
        "retries;\n          receivers %d ms away that need %d ms for a message\n",
        ROUND_TRIP_US / 1000, ACCEPT_US / 1000);
    if (f->left)
        printf("          %" PRIu64 " rows would not be sent %s\n", f->left,
               b->until_ms ? "before the time given by --until" : "within a year");
    printf("\n%10s  %-19s %10s  %-40s %s\n", "ROWS", "END", "TAKES", "PROVIDER",
           "BOUNDED BY");
    for (uint32_t i = 0; i < o->providers_n && i < PROVIDERS_SHOWN; i++)
        print_provider(o, &o->providers[i]);
    if (o->providers_n <= PROVIDERS_SHOWN)
        return;
    if (o->last >= o->providers + PROVIDERS_SHOWN)
        print_provider(o, o->last);
    printf("%10s  %-19s %10s  and %u more, which end sooner\n", "", "", "",
           o->providers_n - PROVIDERS_SHOWN);
}

static void print_member(int64_t begin_ms, int64_t end_ms, const char *bound_by)
{
    char end[RFC3339_MS_LEN];
    time_rfc3339_ms(end_ms, end);
    printf("\"end\":\"%.*s\",\"seconds\":%.3f,\"bound\":\"%s\"", RFC3339_MS_LEN, end,
           (double)(end_ms - begin_ms) / 1000, bound_by);
}

void outlook_print_json(const struct outlook *o)
{
    const struct forecast *f = &o->forecast;
    char begin[RFC3339_MS_LEN];
    time_rfc3339_ms(o->begin_ms, begin);
    printf(",\"forecast\":{\"begin\":\"%.*s\",", RFC3339_MS_LEN, begin);
    print_member(o->begin_ms, f->end_ms, o->last ? bound(o->last) : "");
    printf(",\"sent\":%" PRIu64 ",\"left\":%" PRIu64 ",\"providers\":[", f->sent,
           f->left);
    for (uint32_t i = 0; i < o->providers_n; i++) {
        const struct provider *p = &o->providers[i];
        printf("%s{\"provider\":\"%s\",\"rows\":%u,\"sites\":%u,\"sent\":%u,",
               i ? "," : "", p->name, p->rows, p->sites, p->expected->sent);
        print_member(o->begin_ms, p->expected->sent ? p->expected->end_ms : o->begin_ms,
                     bound(p));
        putchar('}');
    }
    fputs("]}", stdout);
}
