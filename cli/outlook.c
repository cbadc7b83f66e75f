#include "cli/outlook.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "queue/board.h"

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

/* How each policy queues, by number, and the highest number of a provider. */
static struct engine_policy *find_policies(struct policies *policies, uint32_t *most)
{
    struct engine_policies e = policies_engine(policies);
    struct engine_policy *found = mem_zero(policies->n, sizeof *found);
    *most = 0;
    for (uint32_t i = 0; i < policies->n; i++) {
        e.get(e.arg, i, &found[i]);
        if (found[i].queue.provider > *most)
            *most = found[i].queue.provider;
    }
    return found;
}

/* One of the sources that would send there is of the family of one of its hosts. */
static bool is_reachable(const struct blast *b, const struct mx_set *set,
                         const struct scheduler_policy *policy)
{
    if (policy->sources_n == 0)
        return true;
    for (int i = 0; i < set->hosts_n; i++)
        for (int k = 0; k < set->hosts[i].addresses_n; k++)
            for (int n = 0; n < policy->sources_n; n++)
                if (ip_is_v4(&set->hosts[i].addresses[k]) ==
                    ip_is_v4(&b->sources[policy->sources[n] - 1].address))
                    return true;
    return false;
}

static int by_rows(const void *a, const void *b)
{
    const struct provider *x = a, *y = b;
    if (x->rows != y->rows)
        return x->rows < y->rows ? 1 : -1;
    return x->expected < y->expected ? -1 : 1;
}

#define NO_PROVIDER UINT32_MAX

/* The provider of each site, by number; their rows and names. */
static uint32_t *find_providers(struct outlook *o, const struct blast *b,
                                const struct plan *plan, struct policies *policies)
{
    uint32_t *of_site = mem_zero(plan->sites_n, sizeof *of_site);
    uint32_t most;
    struct engine_policy *found = find_policies(policies, &most);
    uint32_t *known = mem_zero((size_t)most + 1, sizeof *known);
    o->providers = mem_zero(plan->sites_n, sizeof *o->providers);
    for (uint32_t i = 0; i < plan->sites_n; i++) {
        const struct plan_site *site = &plan->sites[i];
        const struct scheduler_policy *policy = &found[site->policy].queue;
        uint32_t budget = policy->provider;
        if (!is_reachable(b, site->set, policy)) {
            o->unreachable += site->rows;
            of_site[i] = NO_PROVIDER;
            continue;
        }
        if (!budget || !known[budget]) {
            o->providers[o->providers_n++] = (struct provider){
                .name = budget ? found[site->policy].budget : site->name,
                .lifetime_ms = policy->lifetime_ms};
            known[budget] = o->providers_n;
        }
        of_site[i] = known[budget] - 1;
        struct provider *provider = &o->providers[of_site[i]];
        provider->rows += site->rows;
        provider->sites++;
        if (policy->lifetime_ms < provider->lifetime_ms)
            provider->lifetime_ms = policy->lifetime_ms;
    }
    free(known);
    free(found);
    return of_site;
}

/* ---- making it ---- */

struct asking { /* the policies of the forecast's own scheduler */
    const struct plan *plan;
    struct policies policies;
    struct engine_policies engine;
    const struct recipients *list;
    const struct blast *b;
    struct warmup *used; /* NULL: it is not known */
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

static uint64_t used_of(void *arg, uint8_t source, uint32_t number, const char *site)
{
    struct asking *a = arg;
    struct engine_policy policy;
    a->engine.get(a->engine.arg, number, &policy);
    if (!a->used)
        return 0;
    return warmup_used(a->used, a->b->sources[source - 1].name,
                       policy.budget ? policy.budget : site);
}

static void on_tick(void *arg, uint64_t sent)
{
    const struct plan *plan = arg;
    fprintf(stderr, "\rforecast of %" PRIu64 " of %u rows", sent, plan->resolved_rows);
}

static void run(struct outlook *o, const struct blast *b, const struct plan *plan,
                struct mx_set *const *sets, const uint32_t *groups, bool quiet)
{
    struct asking a = {
        .plan = plan, .list = b->list, .b = b, .used = o->used, .known = 1};
    struct engine_policy first;
    policies_init(&a.policies, b->conf, &b->relays, &b->trust);
    a.engine = policies_engine(&a.policies);
    a.engine.get(a.engine.arg, 0, &first);
    int loops = b->conf->workers > 1 ? (int)b->conf->workers : 1;
    bool show = !quiet && isatty(STDERR_FILENO);
    struct forecast_params params = {
        .list = b->list,
        .sets = sets,
        .groups = groups,
        .groups_n = o->providers_n,
        .policy = first.queue,
        .policy_of = a.engine.number ? policy_of : NULL,
        .policy_arg = &a,
        .sources_n = b->sources_n,
        .warmups = b->warmups,
        .used_of = used_of,
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

/* What the spool tells of today. */
static void look_around(struct outlook *o, const struct blast *b)
{
    o->others = board_look(b->conf->spool);
    if (b->warmups)
        o->used = warmup_look(b->conf->spool, day_local(o->begin_ms), &o->used_fault);
}

void outlook_make(struct outlook *o, const struct blast *b, const struct plan *plan,
                  struct policies *policies, bool quiet)
{
    *o = (struct outlook){.begin_ms = b->start_ms > b->created_ms ? b->start_ms
                                                                  : b->created_ms};
    uint32_t *of_site = find_providers(o, b, plan, policies);
    uint32_t *of_domain = mem_zero(plan->domains_n, sizeof *of_domain);
    struct mx_set **sets = mem_zero(plan->domains_n, sizeof(struct mx_set *));
    struct mx_set *nowhere = mx_set_copy(&(struct mx_set){.code = 609});
    for (uint32_t i = 0; i < plan->domains_n; i++) {
        bool known = !plan->sets[i]->code;
        uint32_t provider = known ? of_site[plan->site_of[i]] : NO_PROVIDER;
        sets[i] = known && provider == NO_PROVIDER ? nowhere : plan->sets[i];
        of_domain[i] = provider == NO_PROVIDER ? 0 : provider;
    }
    look_around(o, b);
    run(o, b, plan, sets, of_domain, quiet);
    mx_set_unref(nowhere);
    free(sets);
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
    warmup_close(o->used);
    free(o->providers);
    *o = (struct outlook){0};
}

/* ---- showing it ---- */

enum { TIME_MAX = 32, DAY_S = 24 * 3600 };

/* Begun seconds count. */
static const char *duration(int64_t ms, char out[TIME_MAX])
{
    int64_t s = (ms + 999) / 1000, days = s / DAY_S;
    int n = days ? snprintf(out, TIME_MAX, "%" PRId64 "d ", days) : 0;
    snprintf(out + n, TIME_MAX - (size_t)n, "%d:%02d:%02d", (int)(s % DAY_S / 3600),
             (int)(s / 60 % 60), (int)(s % 60));
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
    printf("%10u  %-19s %12s  %-40s %s", p->rows, end, takes, buf_cstr(&name),
           bound(p));
    buf_finish(&name);
    if (p->expected->sent < p->rows)
        printf(", %u rows too late", p->rows - p->expected->sent);
    putchar('\n');
}

/* Whose last message comes later than a row's lifetime would end, did it begin now. */
static uint32_t count_aged(const struct outlook *o)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < o->providers_n; i++) {
        const struct provider *p = &o->providers[i];
        n +=
            p->expected->sent > 0 && p->expected->end_ms - o->begin_ms > p->lifetime_ms;
    }
    return n;
}

static void print_remarks(const struct outlook *o, const struct blast *b)
{
    const struct forecast *f = &o->forecast;
    char until[WHEN_LOCAL_MAX];
    uint32_t aged = count_aged(o);
    if (f->left && b->until_ms)
        printf("          too late: %" PRIu64 " rows would not be sent before %s "
               "(--until), and end as 606\n",
               f->left, when_local(b->until_ms, until));
    else if (f->left)
        printf("          too late: %" PRIu64 " rows would not be sent within a year\n",
               f->left);
    if (aged)
        printf("          longer than lifetime, for %u %s: that is no trouble, rows "
               "that wait for our\n          own limits do not age; it counts from a "
               "row's first attempt\n",
               aged, aged == 1 ? "provider" : "providers");
    if (o->unreachable)
        printf(
            "          %u rows are not in it: no source of their pool is of the family "
            "(IPv4, IPv6)\n          of their hosts (609)\n",
            o->unreachable);
    if (o->others)
        printf("          %u other %s of this spool %s now: limits are shared, so all "
               "takes longer until\n          they end\n",
               o->others, o->others == 1 ? "job" : "jobs",
               o->others == 1 ? "runs" : "run");
    if (o->used_fault.code)
        printf("          as if nothing of today's warm-up caps were used up: %s\n",
               o->used_fault.words);
}

/* Its first lines. */
static void print_head(const struct outlook *o, const struct blast *b)
{
    const struct forecast *f = &o->forecast;
    char begin[WHEN_LOCAL_MAX], end[WHEN_LOCAL_MAX], takes[TIME_MAX];
    printf("\nforecast  from %s ", when_local(o->begin_ms, begin));
    if (o->last)
        printf("to %s, %s; bounded by %s: %s\n", when_local(f->end_ms, end),
               duration(f->end_ms - o->begin_ms, takes), o->last->name, bound(o->last));
    else
        puts("on: nothing would be sent");
    printf(
        "          if every message is taken at the first attempt: no greylisting, no "
        "retries;\n          %s %d ms away that %s %d ms for a message\n",
        b->conf->policy.relay[0] ? "a relay" : "receivers", ROUND_TRIP_US / 1000,
        b->conf->policy.relay[0] ? "needs" : "need", ACCEPT_US / 1000);
}

void outlook_print(const struct outlook *o, const struct blast *b)
{
    if (o->forecast.sent + o->forecast.left + o->unreachable == 0)
        return;
    print_head(o, b);
    print_remarks(o, b);
    printf("\n%10s  %-19s %12s  %-40s %s\n", "ROWS", "END", "TAKES", "PROVIDER",
           "BOUNDED BY");
    for (uint32_t i = 0; i < o->providers_n && i < PROVIDERS_SHOWN; i++)
        print_provider(o, &o->providers[i]);
    if (o->providers_n <= PROVIDERS_SHOWN)
        return;
    if (o->last >= o->providers + PROVIDERS_SHOWN)
        print_provider(o, o->last);
    printf("%10s  %-19s %12s  and %u more, which end sooner\n", "", "", "",
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
    printf(",\"sent\":%" PRIu64 ",\"left\":%" PRIu64 ",\"unreachable\":%u,"
           "\"other_jobs\":%u,\"providers\":[",
           f->sent, f->left, o->unreachable, o->others);
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
