/* What people may know of the scheduler. */
#include "queue/obstacle.h"

#include <stdlib.h>

#include "base/mem.h"

static int64_t time_of(const struct scheduler *s, uint32_t tick)
{
    return s->params.now_us + (int64_t)tick * WHEEL_TICK_US;
}

struct scheduler_stats scheduler_stats(const struct scheduler *s)
{
    uint32_t first = wheel_first(&s->wheel);
    return (struct scheduler_stats){
        .pending = s->pending,
        .lent = s->lent,
        .ready = s->ready,
        .waiting = s->wheel.n,
        .asking = s->asking,
        .connections = s->connections_n,
        .sites = s->sites_n,
        .domains = s->domains_n,
        .due_us = first == UINT32_MAX ? INT64_MAX : time_of(s, first),
    };
}

bool scheduler_done(const struct scheduler *s)
{
    return s->pending == 0;
}

/* The strongest first: what would still hold if all behind it did not. */
static const struct {
    enum lack lack;
    const char *word, *words;
} lack_words[] = {
    {LACK_JOB, "job", "the job stands still"},
    {LACK_NETWORK, "network", "the network is down"},
    {LACK_QUIET, "quiet-hours", "quiet hours"},
    {LACK_BRAKE, "unknown-addresses", "too many unknown addresses"},
    {LACK_PATH, "suspended", "suspended"},
    {LACK_WARMUP, "warm-up", "warm-up cap of today"},
    {LACK_ROUND, "no-connection", "no connection, waiting for the next round"},
    {LACK_PROOF, "first-connection", "first connection on its way"},
    {LACK_RATE, "rate", "rate"},
    {LACK_CONNECTION_RATE, "connection-rate", "connection rate"},
    {LACK_CONNECTIONS, "connections", "all connections in use"},
    {LACK_WINDOW, "window", "window"},
    {LACK_SOCKETS, "sockets", "no sockets left on this machine"},
};

const char *scheduler_lack_word(unsigned lacks, int number)
{
    for (size_t i = 0; i < sizeof lack_words / sizeof lack_words[0]; i++)
        if (lacks & lack_words[i].lack && number-- == 0)
            return lack_words[i].word;
    return NULL;
}

void scheduler_lacks(unsigned lacks, struct buf *out)
{
    bool any = false;
    for (size_t i = 0; i < sizeof lack_words / sizeof lack_words[0]; i++) {
        if (!(lacks & lack_words[i].lack))
            continue;
        buf_printf(out, "%s%s", any ? ", " : "", lack_words[i].words);
        any = true;
    }
    if (!any)
        buf_add_str(out, "sending");
}

unsigned scheduler_strongest(unsigned lacks)
{
    for (size_t i = 0; i < sizeof lack_words / sizeof lack_words[0]; i++)
        if (lacks & lack_words[i].lack)
            return lack_words[i].lack;
    return 0;
}

static void later(int64_t *until_us, int64_t us, int64_t now_us)
{
    if (us > now_us && us > *until_us)
        *until_us = us;
}

/* Of what keeps it from sending, what ends last. */
struct suspended {
    int64_t until_us; /* 0: nothing does */
    const char *why;
};

static void compare(struct suspended *most, int64_t until_us, const char *why,
                    int64_t now_us)
{
    if (until_us > now_us && until_us > most->until_us)
        *most = (struct suspended){until_us, why};
}

/* From this source (0: the system's choice) nothing may leave now. */
static void compare_source(struct suspended *most, const struct scheduler *s,
                           const struct site *site, uint8_t source, int64_t now_us)
{
    const struct path *path = site->provider->paths[source];
    compare(most, s->source_until_us[source], s->source_why[source], now_us);
    if (path)
        compare(most, path->closed_until_us, path->why, now_us);
}

/* By a rule, and not after a round. */
static void compare_site(struct suspended *most, const struct site *site,
                         int64_t now_us)
{
    if (site->why)
        compare(most, site->closed_until_us, site->why, now_us);
}

/* Those that may send there. */
static const uint8_t *sources_of(const struct scheduler *s, const struct site *site,
                                 int *n_out)
{
    static const uint8_t none = 0;
    const struct scheduler_policy *policy = policy_of(s, site);
    *n_out = policy->sources_n ? policy->sources_n : 1;
    return policy->sources_n ? policy->sources : &none;
}

/* All rates let the next one through when those of the first source do. */
static int64_t rate_opens(const struct site *site, int sources_n)
{
    const struct outer *o = site->outer;
    int64_t opens_us = INT64_MAX;
    for (int i = 0; i <= sources_n; i++) {
        const struct path *path = site->provider->paths[i];
        int64_t at_us = path ? path_lends_us(path) : INT64_MAX;
        for (int k = 0; k < outer_n(o); k++)
            if (outer_path(o, k, i) && path_lends_us(outer_path(o, k, i)) > at_us)
                at_us = path_lends_us(outer_path(o, k, i));
        opens_us = at_us < opens_us ? at_us : opens_us;
    }
    return opens_us == INT64_MAX ? 0 : opens_us;
}

/* Why, and until when: of the site, its provider and its paths. Nobody may have asked
 * since it was closed. */
static void explain(const struct scheduler *s, const struct site *site,
                    struct site_view *view, int64_t now_us)
{
    const struct provider *p = site->provider;
    if (now_us < site->closed_until_us)
        view->lacks |= site->why ? LACK_PATH : LACK_ROUND;
    if (now_us < p->braked_until_us)
        view->lacks |= LACK_BRAKE;
    if (policy_of(s, site)->quiet_until_us)
        view->lacks |= LACK_QUIET;
    later(&view->until_us, policy_of(s, site)->quiet_until_us, now_us);
    later(&view->until_us, site->closed_until_us, now_us);
    later(&view->until_us, p->braked_until_us, now_us);
    struct suspended most = {0};
    int n;
    const uint8_t *sources = sources_of(s, site, &n);
    for (int i = 0; i < n; i++) {
        const struct path *path = p->paths[sources[i]];
        compare_source(&most, s, site, sources[i], now_us);
        if (path && view->lacks & LACK_WARMUP && path->used_up)
            later(&view->until_us, path->allowance_until_us, now_us);
        if (path && path->why && (path->slow > 0 || path->allowed != UINT32_MAX))
            view->why = path->why;
    }
    compare_site(&most, site, now_us);
    if (most.until_us)
        view->why = most.why;
    if (view->lacks & LACK_PATH)
        later(&view->until_us, most.until_us, now_us);
    if (view->until_us == 0 && view->lacks & LACK_RATE)
        later(&view->until_us, rate_opens(site, s->params.sources_n), now_us);
}

/* From all its sources together: the setting, its share among jobs, and what a rule
 * leaves. */
static uint32_t allowed_now(const struct scheduler *s, const struct site *site)
{
    const struct path fresh = {.allowed = UINT32_MAX,
                               .share = s->share,
                               .common = {.connections = UINT32_MAX}};
    const struct outer *o = site->outer;
    uint32_t sum = 0;
    int n;
    const uint8_t *sources = sources_of(s, site, &n);
    for (int i = 0; i < n; i++) {
        const struct path *path = site->provider->paths[sources[i]];
        uint32_t least =
            path_connections(path ? path : &fresh, &site->provider->limits);
        for (int k = 0; k < outer_n(o); k++) {
            path = outer_path(o, k, sources[i]);
            uint32_t most =
                path_connections(path ? path : &fresh, &o->budgets[k]->limits);
            least = most < least ? most : least;
        }
        sum += least;
    }
    return sum;
}

static struct site_view view_of(const struct scheduler *s, const struct site *site,
                                unsigned lacks, int64_t now_us)
{
    uint32_t most = allowed_now(s, site);
    if (s->network_down &&
        lacks & LACK_SOCKETS) /* they wait for a place among probes */
        lacks = (lacks & ~(unsigned)LACK_SOCKETS) | LACK_NETWORK;
    struct site_view view = {
        .name = site->name,
        .waiting = site->ready + site->lent,
        .connections = site->connections,
        .window = site->window < most ? site->window : most,
        /* Nobody looks while it stands, or ends. */
        .lacks = s->standing || s->stopped ? LACK_JOB : lacks,
    };
    explain(s, site, &view, now_us);
    return view;
}

int scheduler_slowest(const struct scheduler *s, struct site_view *out, int max,
                      int64_t now_us)
{
    int n = 0;
    for (uint32_t i = 0; i < s->sites_n; i++) {
        const struct site *site = s->sites[i];
        if (site->ready + site->lent == 0)
            continue;
        struct site_view view =
            view_of(s, site, obstacle_lacks(s, site, now_us), now_us);
        int at = n < max ? n++ : max;
        for (; at > 0 && out[at - 1].waiting < view.waiting; at--)
            if (at < max)
                out[at] = out[at - 1];
        if (at < max)
            out[at] = view;
    }
    return n;
}

/* ---- rows that wait for their own time ---- */

/* Nothing may leave from this source for now: adds that to *view, and to *most. */
static bool source_holds(const struct scheduler *s, const struct site *site,
                         uint8_t source, struct site_view *view, struct suspended *most,
                         int64_t now_us)
{
    const struct path *path = site->provider->paths[source];
    struct suspended own = {0};
    bool used_up = path && path->used_up && now_us < path->allowance_until_us;
    if (used_up) {
        view->lacks |= LACK_WARMUP;
        later(&view->until_us, path->allowance_until_us, now_us);
    }
    compare_source(&own, s, site, source, now_us);
    if (!own.until_us)
        return used_up;
    view->lacks |= LACK_PATH;
    compare(most, own.until_us, own.why, now_us);
    return true;
}

/* What goes for a row's source alone, ready or not; 0: for all those that it may leave
 * from, as long as none of them is open. */
static void view_source(const struct scheduler *s, const struct site *site,
                        uint8_t source, struct site_view *view, int64_t now_us)
{
    struct site_view held = *view;
    struct suspended most = {0};
    int n;
    const uint8_t *sources = sources_of(s, site, &n);
    compare_site(&most, site, now_us);
    if (source && policy_has_source(policy_of(s, site), source))
        source_holds(s, site, source, &held, &most, now_us);
    else
        for (int i = 0; i < n; i++)
            if (!source_holds(s, site, sources[i], &held, &most, now_us))
                return;
    if (most.until_us)
        held.why = most.why;
    later(&held.until_us, most.until_us, now_us);
    *view = held;
}

/* Nobody has let us in since the last round, and no row is ready to try again: their
 * own intervals may be longer than the site's. */
static void view_round(const struct site *site, struct site_view *view)
{
    if (!site->failure || site->connections || site->ready || site->lent)
        return;
    view->lacks |= LACK_ROUND;
    view->why = view->why ? view->why : site->failure;
}

void scheduler_view_row(const struct scheduler *s, uint32_t row, struct row_view *out,
                        int64_t now_us)
{
    uint32_t index = row - s->first_row + 1;
    assert(index >= 1 && index <= s->rows_n);
    const struct row *r = &s->rows[index];
    *out = (struct row_view){.state = r->state, .source = r->source};
    if (r->state == ROW_FINAL)
        return;
    const struct domain *d = &s->domains[recipients_domain(s->params.list, row)];
    out->asked = d->state == DOMAIN_ASKED;
    if (r->state == ROW_WAITING) {
        out->due_us = time_of(s, r->due);
        out->failed = d->code;
    } else if (r->state == ROW_ASKING && d->state == DOMAIN_PAUSED)
        out->due_us = d->expires_us;
    if (!d->site)
        return;
    out->site =
        view_of(s, d->site,
                r->state == ROW_READY ? obstacle_lacks(s, d->site, now_us) : 0, now_us);
    view_source(s, d->site, r->source, &out->site, now_us);
    if (r->state == ROW_WAITING)
        view_round(d->site, &out->site);
}

/* ---- all that is pending ---- */

enum { SOURCES = UINT8_MAX + 1 };

/* Rows of a site that wait for their next attempt. */
struct count {
    uint32_t rows, due;          /* tick of the first */
    uint64_t from[SOURCES / 64]; /* bits: the sources that they leave from */
};

/* While all rows are looked at. */
struct counts {
    struct count *sites; /* by number */
    uint64_t *seen;      /* bits: domains whose rows of no site are counted */
    struct lookup_view *lookups;
};

static void count_lookup(const struct scheduler *s, struct lookup_view *l,
                         uint32_t domain, bool fresh, int64_t due_us)
{
    l->rows++;
    if (due_us && (l->due_us == 0 || due_us < l->due_us))
        l->due_us = due_us;
    l->domains += fresh;
    if (!l->domain)
        l->domain = recipients_domain_name(s->params.list, domain);
}

static enum lookup_kind lookup_of(const struct domain *d, enum row_state state)
{
    if (state == ROW_WAITING)
        return d->code ? LOOKUP_FAILED : LOOKUP_LATER;
    return d->state == DOMAIN_PAUSED   ? LOOKUP_MUTE
           : d->state == DOMAIN_FAILED ? LOOKUP_FAILED
                                       : LOOKUP_ASKED;
}

/* One that is neither final, nor ready, nor lent. */
static void count_row(const struct scheduler *s, struct counts *counts, uint32_t index)
{
    const struct row *r = &s->rows[index];
    uint32_t domain = recipients_domain(s->params.list, index + s->first_row - 1);
    const struct domain *d = &s->domains[domain];
    if (r->state == ROW_WAITING && d->site && !d->code) {
        struct count *c = &counts->sites[d->site->number];
        c->due = c->rows++ && c->due < r->due ? c->due : r->due;
        c->from[r->source / 64] |= UINT64_C(1) << r->source % 64;
        return;
    }
    enum lookup_kind kind = lookup_of(d, r->state);
    int64_t due_us = kind == LOOKUP_MUTE       ? d->expires_us
                     : r->state == ROW_WAITING ? time_of(s, r->due)
                                               : 0;
    uint64_t *seen = &counts->seen[(domain / 64) * LOOKUPS + kind];
    uint64_t bit = UINT64_C(1) << domain % 64;
    count_lookup(s, &counts->lookups[kind], domain, !(*seen & bit), due_us);
    *seen |= bit;
}

/* Of the rows that only wait for their own time: what would hold them up beside it. */
static struct site_view view_count(const struct scheduler *s, const struct site *site,
                                   const struct count *count, int64_t now_us)
{
    bool idle = site->ready + site->lent == 0;
    struct site_view view =
        view_of(s, site, idle ? 0 : obstacle_lacks(s, site, now_us), now_us);
    view.retrying = count->rows;
    view.due_us = time_of(s, count->due);
    for (int i = 0; idle && i < SOURCES; i++)
        if (count->from[i / 64] >> i % 64 & 1)
            view_source(s, site, (uint8_t)i, &view, now_us);
    view_round(site, &view);
    return view;
}

static uint32_t rows_of(const struct site *site, const struct counts *counts)
{
    return site->ready + site->lent + counts->sites[site->number].rows;
}

/* Numbers of the sites with most rows into best, most first. */
static void find_most(const struct scheduler *s, const struct counts *counts,
                      uint32_t *best, struct survey *out)
{
    for (uint32_t i = 0; i < s->sites_n; i++) {
        uint32_t rows = rows_of(s->sites[i], counts);
        if (rows == 0)
            continue;
        out->more_sites++;
        out->more_rows += rows;
        int at = out->sites_n < out->sites_max ? out->sites_n++ : out->sites_max;
        for (; at > 0 && rows_of(s->sites[best[at - 1]], counts) < rows; at--)
            if (at < out->sites_max)
                best[at] = best[at - 1];
        if (at < out->sites_max)
            best[at] = i;
    }
}

void scheduler_survey(const struct scheduler *s, struct survey *out, int64_t now_us)
{
    size_t words = (size_t)s->domains_n / 64 + 1;
    struct counts counts = {
        .sites = mem_zero((size_t)s->sites_n + 1, sizeof *counts.sites),
        .seen = mem_zero(words * LOOKUPS, sizeof *counts.seen),
        .lookups = out->lookups,
    };
    uint32_t *best = mem_zero((size_t)out->sites_max + 1, sizeof *best);
    *out = (struct survey){.sites = out->sites, .sites_max = out->sites_max};
    for (uint32_t i = 1; i <= s->rows_n; i++)
        if (s->rows[i].state == ROW_WAITING || s->rows[i].state == ROW_ASKING)
            count_row(s, &counts, i);
    find_most(s, &counts, best, out);
    for (int i = 0; i < out->sites_n; i++) {
        const struct site *site = s->sites[best[i]];
        out->sites[i] = view_count(s, site, &counts.sites[best[i]], now_us);
        out->more_sites--;
        out->more_rows -= rows_of(site, &counts);
    }
    free(best);
    free(counts.sites);
    free(counts.seen);
}
