/* What people may know of the scheduler. */
#include "queue/inside.h"

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
    const char *words;
} lack_words[] = {
    {LACK_JOB, "the job stands still"},
    {LACK_QUIET, "quiet hours"},
    {LACK_BRAKE, "too many unknown addresses"},
    {LACK_PATH, "suspended"},
    {LACK_WARMUP, "warm-up cap of today"},
    {LACK_ROUND, "no connection, waiting for the next round"},
    {LACK_PROOF, "first connection on its way"},
    {LACK_RATE, "rate"},
    {LACK_CONNECTION_RATE, "connection rate"},
    {LACK_CONNECTIONS, "all connections in use"},
    {LACK_WINDOW, "window"},
    {LACK_SOCKETS, "no sockets left on this machine"},
};

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

/* From this source (0: the system's choice) nothing may leave now. */
static int64_t closed_until(const struct scheduler *s, const struct site *site,
                            int source)
{
    const struct path *path = site->provider->paths[source];
    int64_t until_us = path ? path->closed_until_us : 0;
    return s->source_until_us[source] > until_us ? s->source_until_us[source]
                                                 : until_us;
}

/* A rate lets the next one through when the first of its paths does. */
static int64_t rate_opens(const struct provider *p, int sources_n)
{
    int64_t opens_us = INT64_MAX;
    for (int i = 0; i <= sources_n; i++)
        if (p->paths[i] && path_lends_us(p->paths[i]) < opens_us)
            opens_us = path_lends_us(p->paths[i]);
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
    for (int i = 0; i <= s->params.sources_n; i++) {
        const struct path *path = p->paths[i];
        if (!path)
            continue;
        if (view->lacks & LACK_PATH)
            later(&view->until_us, closed_until(s, site, i), now_us);
        if (view->lacks & LACK_WARMUP && path->used_up)
            later(&view->until_us, path->allowance_until_us, now_us);
        bool slow = path->slow > 0 || path->allowed != UINT32_MAX;
        if (path->why && (now_us < path->closed_until_us || slow))
            view->why = path->why;
    }
    if (now_us < site->closed_until_us && site->why)
        view->why = site->why;
    if (view->until_us == 0 && view->lacks & LACK_RATE)
        later(&view->until_us, rate_opens(p, s->params.sources_n), now_us);
}

/* From all its sources together: the setting, its share among jobs, and what a rule
 * leaves. */
static uint32_t allowed_now(const struct scheduler *s, const struct site *site)
{
    const struct path fresh = {.allowed = UINT32_MAX,
                               .share = s->share,
                               .common = {.connections = UINT32_MAX}};
    static const uint8_t none = 0;
    const struct scheduler_policy *policy = policy_of(s, site);
    const uint8_t *sources = policy->sources_n ? policy->sources : &none;
    uint32_t sum = 0, n = policy->sources_n ? (uint32_t)policy->sources_n : 1;
    for (uint32_t i = 0; i < n; i++) {
        const struct path *path = site->provider->paths[sources[i]];
        sum += path_connections(path ? path : &fresh, &site->provider->limits);
    }
    return sum;
}

static struct site_view view_of(const struct scheduler *s, const struct site *site,
                                unsigned lacks, int64_t now_us)
{
    uint32_t most = allowed_now(s, site);
    struct site_view view = {
        .name = site->name,
        .waiting = site->ready + site->lent,
        .connections = site->connections,
        .window = site->window < most ? site->window : most,
        .lacks = s->standing ? LACK_JOB : lacks, /* nobody looks while it stands */
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
            view_of(s, site, lending_lacks(s, site, now_us), now_us);
        int at = n < max ? n++ : max;
        for (; at > 0 && out[at - 1].waiting < view.waiting; at--)
            if (at < max)
                out[at] = out[at - 1];
        if (at < max)
            out[at] = view;
    }
    return n;
}

/* What goes for its source alone. */
static void view_source(const struct scheduler *s, const struct site *site,
                        struct row_view *view, int64_t now_us)
{
    const struct path *path = site->provider->paths[view->source];
    int64_t until_us = closed_until(s, site, view->source);
    if (!view->source)
        return;
    if (path && path->used_up && now_us < path->allowance_until_us) {
        view->site.lacks |= LACK_WARMUP;
        later(&view->site.until_us, path->allowance_until_us, now_us);
    }
    if (now_us >= until_us)
        return;
    view->site.lacks |= LACK_PATH;
    view->site.why = path ? path->why : NULL;
    later(&view->site.until_us, until_us, now_us);
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
    if (r->state == ROW_WAITING)
        out->due_us = time_of(s, r->due);
    else if (r->state == ROW_ASKING && d->state == DOMAIN_PAUSED)
        out->due_us = d->expires_us;
    if (!d->site)
        return;
    out->site =
        view_of(s, d->site,
                r->state == ROW_READY ? lending_lacks(s, d->site, now_us) : 0, now_us);
    view_source(s, d->site, out, now_us);
}
