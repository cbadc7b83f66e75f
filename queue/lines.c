/* Who waits for what a provider, or an outer budget, may have, and whose turn it is. */
#include "queue/inside.h"

void restraint_queue(struct scheduler *s, struct site *site, enum line_kind kind,
                     int64_t until_us)
{
    struct waits *w = site_waits(site);
    const struct scheduler_policy *policy = policy_of(s, site);
    for (int i = 0; i == 0 || i < policy->sources_n; i++) /* turns come by them */
        restraint_paths(s, site, policy->sources_n ? policy->sources[i] : 0);
    site->line = &w->lines[kind];
    site->line->n++;
    link_append(&site->line->sites, &site->work);
    if (until_us != INT64_MAX && (w->alarm.at == 0 || until_us < w->alarm.key))
        heap_set(&s->alarms, &w->alarm, until_us);
}

static void offer(struct scheduler *s, struct waits *w)
{
    heap_remove(&s->alarms, &w->alarm);
    if (!waits_any(w))
        return;
    for (int i = 0; i < LINES; i++)
        w->lines[i].turns = w->lines[i].n;
    if (link_alone(&w->offer))
        link_append(&s->offers, &w->offer);
}

/* Do they wait for it, or for an outer budget that is marked? */
static bool is_meant(const struct scheduler *s, const struct waits *w,
                     const struct provider *p)
{
    const struct outer *o = w->outer;
    bool meant = w->provider == p;
    for (int i = 0; i < outer_n(o) && !meant; i++)
        meant = o->budgets[i]->bounded->mark == s->marks;
    return meant;
}

static void mark(struct scheduler *s, const struct bounded *b)
{
    s->marks++;
    for (uint32_t i = 0; i < b->n; i++)
        for (int k = 0; k < b->list[i]->n; k++)
            b->list[i]->budgets[k]->bounded->mark = s->marks;
}

void restraint_offer(struct scheduler *s, struct provider *p)
{
    if (!p->bounded) {
        offer(s, &p->waits);
        return;
    }
    mark(s, p->bounded);
    for (struct link *l = s->bounded.next; l != &s->bounded; l = l->next) {
        struct waits *w = CONTAINER_OF(l, struct last_turn, link)->waits;
        if (is_meant(s, w, p))
            offer(s, w);
    }
}

void restraint_served(struct scheduler *s, struct site *site)
{
    struct last_turn *turn = site->outer               ? &site->outer->turn
                             : site->provider->bounded ? &site->provider->bounded->turn
                                                       : NULL;
    if (turn)
        link_append(&s->bounded, &turn->link);
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* When it lets one more connection be opened, or one be fed, but not sooner than is
 * there already; INT64_MAX: when something happens. */
static void find_turns(const struct scheduler *s, const struct path *path,
                       const struct limits *limits, int64_t times_us[LINES])
{
    int64_t feeds_us = path_lends_us(path);
    times_us[LINE_FEED] = later(times_us[LINE_FEED], feeds_us);
    times_us[LINE_OPEN] =
        path_is_full(s, path, limits)
            ? INT64_MAX
            : later(later(times_us[LINE_OPEN], feeds_us), path_opens_us(path));
}

/* The same of this source for all that bounds these sites. */
static void find_times(const struct scheduler *s, const struct waits *w, int source,
                       int64_t times_us[LINES])
{
    const struct provider *p = w->provider;
    const struct outer *o = w->outer;
    const struct path *path = p->paths[source];
    times_us[LINE_OPEN] = times_us[LINE_FEED] = INT64_MAX;
    if (!path)
        return;
    times_us[LINE_OPEN] = times_us[LINE_FEED] = later(
        later(p->braked_until_us, path->closed_until_us), s->source_until_us[source]);
    find_turns(s, path, &p->limits, times_us);
    bool paced = gate_limits(&path->lending);
    for (int i = 0; i < outer_n(o); i++) {
        const struct path *outer = outer_path(o, i, source);
        if (!outer)
            continue;
        find_turns(s, outer, &o->budgets[i]->limits, times_us);
        paced = paced || gate_limits(&outer->lending);
    }
    if (!paced) /* its connections need no turns */
        times_us[LINE_FEED] = INT64_MAX;
}

/* Whose turn it is; NULL: nobody's, and the alarm says when to look again. */
static struct line *whose_turn(struct scheduler *s, struct waits *w, int64_t now_us)
{
    bool may[LINES] = {false};
    int64_t wake_us = INT64_MAX;
    for (int i = 0; i <= s->params.sources_n; i++) {
        int64_t times_us[LINES];
        find_times(s, w, i, times_us);
        for (int k = 0; k < LINES; k++) {
            may[k] = may[k] || times_us[k] <= now_us;
            if (w->lines[k].n && times_us[k] > now_us && times_us[k] < wake_us)
                wake_us = times_us[k];
        }
    }
    for (int i = 0; i < LINES; i++) {
        enum line_kind kind = (enum line_kind)(((int)w->last + 1 + i) % LINES);
        struct line *line = &w->lines[kind];
        if (!line->turns || !line->n || !may[kind])
            continue;
        w->last = kind;
        return line;
    }
    if (wake_us != INT64_MAX && (w->alarm.at == 0 || wake_us < w->alarm.key))
        heap_set(&s->alarms, &w->alarm, wake_us);
    return NULL;
}

struct site *restraint_turn(struct scheduler *s, int64_t now_us)
{
    while (!link_alone(&s->offers)) {
        struct waits *w = CONTAINER_OF(s->offers.next, struct waits, offer);
        struct line *line = whose_turn(s, w, now_us);
        if (!line) {
            link_remove(&w->offer);
            continue;
        }
        link_append(&s->offers, &w->offer); /* the others too */
        struct site *site = CONTAINER_OF(line->sites.next, struct site, work);
        link_remove(&site->work);
        site->line = NULL;
        line->n--;
        line->turns--;
        return site;
    }
    return NULL;
}

int64_t restraint_wake(const struct scheduler *s)
{
    const struct heap_node *first = heap_first(&s->alarms);
    return first ? first->key : INT64_MAX;
}
