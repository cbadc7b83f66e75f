/* What people may know of the scheduler. */
#include "queue/inside.h"

struct scheduler_stats scheduler_stats(const struct scheduler *s)
{
    return (struct scheduler_stats){
        .pending = s->pending,
        .lent = s->lent,
        .ready = s->ready,
        .waiting = s->wheel.n,
        .asking = s->asking,
        .connections = s->connections_n,
        .sites = s->sites_n,
        .domains = s->domains_n,
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
    {LACK_BRAKE, "too many unknown addresses"},
    {LACK_PATH, "suspended"},
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

/* Why, and until when: of the site, its provider and its paths. */
static void explain(const struct scheduler *s, const struct site *site,
                    struct site_view *view, int64_t now_us)
{
    const struct provider *p = site->provider;
    later(&view->until_us, site->closed_until_us, now_us);
    if (now_us < site->closed_until_us) /* nobody has asked since */
        view->lacks |= site->why ? LACK_PATH : LACK_ROUND;
    if (now_us < site->closed_until_us && site->why)
        view->why = site->why;
    later(&view->until_us, p->braked_until_us, now_us);
    for (int i = 0; i <= s->params.sources_n; i++) {
        const struct path *path = p->paths[i];
        if (!path)
            continue;
        later(&view->until_us, path->closed_until_us, now_us);
        bool slow = path->slow > 0 || path->allowed != UINT32_MAX;
        if (path->why && (now_us < path->closed_until_us || slow))
            view->why = path->why;
    }
}

int scheduler_slowest(const struct scheduler *s, struct site_view *out, int max,
                      int64_t now_us)
{
    int n = 0;
    for (uint32_t i = 0; i < s->sites_n; i++) {
        const struct site *site = s->sites[i];
        struct site_view view = {
            .name = site->name,
            .waiting = site->ready + site->lent,
            .connections = site->connections,
            .window = site->window,
            .lacks = site->lacks,
        };
        if (view.waiting == 0)
            continue;
        explain(s, site, &view, now_us);
        int at = n < max ? n++ : max;
        for (; at > 0 && out[at - 1].waiting < view.waiting; at--)
            if (at < max)
                out[at] = out[at - 1];
        if (at < max)
            out[at] = view;
    }
    return n;
}
