#include "cli/forecast.h"

#include <stdlib.h>

#include "base/mem.h"
#include "cli/forecast_inside.h"

enum {
    TURN_US = 1000, /* what comes so close together the scheduler hears at once */
    LOOK_US = 10 * 1000,
    LOOK_PART = 64, /* later it looks when so much of the time so far has passed */
    VIEWS_MAX = 64,
    USED_UP_PERCENT = 90,
};
static const int64_t year_us = INT64_C(365) * 24 * 3600 * 1000 * 1000;

static const char own_words[] = "our own throughput";
static const char quiet_words[] = "quiet hours";
static const char renewing_words[] = "messages_per_connection";
static const char warmup_words[] = "warm-up"; /* of today, is said of a day */

int64_t forecast_wall_ms(const struct run *r, int64_t us)
{
    return r->p->begin_ms + (us - FORECAST_BEGIN_US) / 1000;
}

/* ---- why ---- */

/* The words, kept for as long as the forecast; "" when there are too many. */
static const char *keep_words(struct forecast *f, const char *words)
{
    for (int i = 0; i < f->reasons_n; i++)
        if (strcmp(f->reasons[i], words) == 0)
            return f->reasons[i];
    if (f->reasons_n == FORECAST_REASONS)
        return "";
    return f->reasons[f->reasons_n++] = mem_strdup(words);
}

static struct account *account_of(struct run *r, const struct site_view *view)
{
    struct span key = {(const char *)&view->name, sizeof view->name};
    uint32_t group = map_get(&r->group_of, key);
    return group == MAP_NONE ? NULL : &r->accounts[group];
}

static void count(struct account *a, unsigned lacks, int64_t us)
{
    if (!a->lack_us)
        a->lack_us = mem_zero(LACKS_MAX, sizeof *a->lack_us);
    if (lacks & LACK_QUIET)
        return; /* held_us knows that */
    if (lacks & ~(unsigned)LACK_WARMUP)
        lacks &= ~(unsigned)LACK_WARMUP; /* others of its sources do without */
    a->waited_us += us;
    for (int i = 0; i < LACKS_MAX; i++)
        if (lacks & 1u << i)
            a->lack_us[i] += us;
}

/* What the scheduler says of whoever waits, for the time since it was last asked. */
static void sample(struct run *r)
{
    struct site_view views[VIEWS_MAX];
    struct account *account;
    int64_t passed = r->now_us - r->looked_us;
    int n = scheduler_slowest(r->scheduler, views, VIEWS_MAX, r->now_us);
    for (int i = 0; i < n; i++)
        if ((account = account_of(r, &views[i])))
            account->views++;
    for (int i = 0; i < n; i++)
        if ((account = account_of(r, &views[i])))
            count(account, views[i].lacks, passed / account->views);
    for (int i = 0; i < n; i++)
        if ((account = account_of(r, &views[i])))
            account->views = 0;
}

/* Of what was lacking for half of the time that it waited the strongest, or else what
 * was lacking for the longest time. */
static unsigned lack_of(const struct account *a)
{
    unsigned often = a->used_up;
    int longest = 0;
    for (int i = 0; a->lack_us && i < LACKS_MAX; i++) {
        if (2 * a->lack_us[i] > a->waited_us)
            often |= 1u << i;
        if (a->lack_us[i] > a->lack_us[longest])
            longest = i;
    }
    if (often)
        return scheduler_strongest(often);
    return a->lack_us && a->lack_us[longest] > 0 ? 1u << longest : 0;
}

/* Rates that were used up, but for the beginning and the end: nothing else that is
 * lacking matters beside them. */
static void note_rates(struct run *r)
{
    for (uint32_t i = 0; i < r->doors_n; i++) {
        const struct door *door = r->doors[i];
        const struct forecast_group *group = &r->out->groups[door->group];
        struct account *a = &r->accounts[door->group];
        double lasted_us = (double)(group->end_ms - r->p->begin_ms) * 1000;
        for (int k = 0; k < door->gates_n; k++) {
            const struct passage *p = door->passages[k];
            double used_us = (double)p->passed * (double)p->interval_ns / 1000;
            if (group->sent > 0 && p->interval_ns &&
                used_us * 100 >= (lasted_us - (double)a->held_us) * USED_UP_PERCENT)
                a->used_up |= door->lack;
        }
    }
}

/* What the scheduler says, unless we know better: it cannot see how its connections
 * spend their time. */
static const char *bound_of(struct forecast *f, const struct account *a)
{
    if (a->held_us > a->waited_us)
        return quiet_words;
    if (!a->used_up && 2 * a->own_us > a->open_us)
        return own_words;
    if (!a->used_up && 2 * a->renewing_us > a->open_us)
        return renewing_words;
    unsigned lack = lack_of(a);
    if (!lack)
        return "";
    if (lack == LACK_WARMUP)
        return warmup_words;
    struct buf words = {0};
    scheduler_lacks(lack, &words);
    const char *kept = keep_words(f, buf_cstr(&words));
    buf_finish(&words);
    return kept;
}

/* ---- names ---- */

/* The last row of each domain. */
static uint32_t *find_rows(const struct recipients *list)
{
    uint32_t *row_of = mem_zero(recipients_domains(list), sizeof *row_of);
    uint32_t last = recipients_last(list);
    for (uint64_t row = recipients_first(list); row && row <= last; row++) {
        uint32_t domain = recipients_domain(list, (uint32_t)row);
        if (domain != RECIPIENTS_NO_DOMAIN)
            row_of[domain] = (uint32_t)row;
    }
    return row_of;
}

/* Whom the site's rows count for, by the name that the scheduler has for it. */
static void note_site(struct run *r, uint32_t domain)
{
    struct row_view view;
    scheduler_view_row(r->scheduler, r->row_of[domain], &view, r->now_us);
    if (view.site.name)
        map_put(&r->group_of,
                (struct span){(const char *)&view.site.name, sizeof view.site.name},
                r->p->groups[domain], NULL, NULL);
}

static void ask(struct run *r)
{
    uint32_t domain;
    while (r->lookups_n < r->p->lookups &&
           (domain = scheduler_ask(r->scheduler)) != RECIPIENTS_NO_DOMAIN)
        r->lookups[(r->lookups_first + r->lookups_n++) % r->p->lookups] =
            (struct lookup){domain, r->now_us + r->p->assumed.lookup_us};
}

static void resolve(struct run *r)
{
    const struct lookup *first;
    for (;;) {
        ask(r);
        first = &r->lookups[r->lookups_first];
        if (!r->lookups_n || first->done_us > r->now_us)
            return;
        struct mx_set *set = r->p->sets[first->domain];
        scheduler_resolved(r->scheduler, first->domain,
                           mx_set_ref(set->code ? r->nowhere : set), r->now_us);
        note_site(r, first->domain);
        r->lookups_first = (r->lookups_first + 1) % r->p->lookups;
        r->lookups_n--;
    }
}

/* ---- turns ---- */

static void turn(struct run *r)
{
    uint32_t number;
    const struct mx_set *ignored;
    static const struct settlement no_way = {.outcome = OUTCOME_ERROR};
    scheduler_advance(r->scheduler, r->now_us);
    resolve(r);
    while ((number = scheduler_unresolvable(r->scheduler, &ignored)))
        scheduler_settle(r->scheduler, NO_CONNECTION, number, &no_way, r->now_us);
    while (scheduler_next(r->scheduler, &r->order, r->now_us) != ORDER_NONE)
        line_order(r, &r->order);
}

/* ---- quiet hours ---- */

/* When these begin or end. */
static int64_t change_us(const struct run *r, const struct hours *hours)
{
    int64_t now_ms = forecast_wall_ms(r, r->now_us);
    int64_t ms = hours_change_ms(hours, now_ms);
    return ms == INT64_MAX ? ms : r->now_us + (ms - now_ms) * 1000;
}

/* How long the policy has to be quiet yet; 0: it is not. */
static int64_t watch(struct run *r, struct treatment *t)
{
    int64_t change = change_us(r, &t->hours);
    bool within = hours_hold(&t->hours, forecast_wall_ms(r, r->now_us));
    if (within && !t->quiet)
        t->quiet_from_us = r->now_us;
    else if (!within && t->quiet)
        t->quiet_us += r->now_us - t->quiet_from_us;
    t->quiet = within;
    if (change < r->hours_us)
        r->hours_us = change;
    return within ? change : 0;
}

static void know_policy(struct run *r, uint32_t number, struct scheduler_policy *policy)
{
    struct treatment t = {.recipients = policy->recipients,
                          .provider = policy->provider,
                          .outer = policy->outer};
    if (r->p->hours_of)
        t.hours = r->p->hours_of(r->p->policy_arg, number);
    r->policies = mem_resize(r->policies, r->policies_n + 1, sizeof *r->policies);
    policy->quiet_until_us = watch(r, &t);
    r->policies[r->policies_n++] = t;
}

static uint32_t policy_of(void *arg, uint32_t domain, const struct mx_set *set,
                          struct scheduler_policy *out, bool *fresh)
{
    struct run *r = arg;
    uint32_t number = r->p->policy_of(r->p->policy_arg, domain, set, out, fresh);
    if (*fresh)
        know_policy(r, number, out);
    r->policy_of[domain] = number;
    return number;
}

static void watch_hours(struct run *r)
{
    if (r->now_us < r->hours_us)
        return;
    sample(r); /* what was before */
    r->looked_us = r->now_us;
    r->hours_us = INT64_MAX;
    for (uint32_t i = 0; i < r->policies_n; i++)
        scheduler_quiet(r->scheduler, i, watch(r, &r->policies[i]));
    while (scheduler_recall(r->scheduler, &r->order, r->now_us))
        line_order(r, &r->order);
}

/* Who was not done in time may have been held when time was over, or all the while. */
static void hold_rest(struct run *r)
{
    uint32_t domains = recipients_domains(r->p->list);
    for (uint32_t domain = 0; domain < domains; domain++) {
        if (r->p->sets[domain]->code) /* it counts for no group */
            continue;
        const struct treatment *t = &r->policies[r->policy_of[domain]];
        struct account *a = &r->accounts[r->p->groups[domain]];
        int64_t held_us = t->quiet_us + (t->quiet ? r->now_us - t->quiet_from_us : 0);
        struct row_view view = {.state = ROW_FINAL};
        if (held_us > a->held_us && r->row_of[domain])
            scheduler_view_row(r->scheduler, r->row_of[domain], &view, r->now_us);
        if (view.state != ROW_FINAL)
            a->held_us = held_us;
    }
}

/* ---- warm-ups ---- */

/* The day that this source has drawn its cap of, for this provider; no day: none yet.
 */
static int32_t *drawn_of(struct run *r, uint8_t source, uint32_t number,
                         const char *site)
{
    bool fresh;
    uint32_t provider = r->policies[number].provider;
    struct drawer who = {source, provider, provider ? NULL : site};
    uint32_t i = map_put(&r->drawers, (struct span){(const char *)&who, sizeof who},
                         r->drawn_n, &fresh, NULL);
    if (fresh) {
        r->drawn = mem_resize(r->drawn, r->drawn_n + 1, sizeof *r->drawn);
        r->drawn[r->drawn_n++] = INT32_MIN;
    }
    return &r->drawn[i];
}

/* All that is left of a day at once, for nobody else draws. */
static uint32_t allow(void *arg, uint8_t source, uint32_t number, const char *site,
                      int64_t now_us, int64_t *until_us)
{
    struct run *r = arg;
    const struct forecast_params *p = r->p;
    int64_t now_ms = forecast_wall_ms(r, now_us);
    int32_t day = day_local(now_ms);
    uint32_t cap = warmup_cap(&p->warmups[source - 1], day);
    *until_us = now_us + (day_end_ms(now_ms) - now_ms) * 1000;
    if (cap == 0 || cap == UINT32_MAX)
        return cap;
    int32_t *drawn = drawn_of(r, source, number, site);
    if (*drawn == day)
        return 0;
    *drawn = day;
    uint64_t used = 0;
    if (p->used_of && day == day_local(p->begin_ms))
        used = p->used_of(p->policy_arg, source, number, site);
    return used < cap ? cap - (uint32_t)used : 0;
}

/* ---- the run ---- */

/* What is looked at seldom, since it costs something for each site and connection. Few
 * stall here, and none for long. */
static void look(struct run *r)
{
    if (r->now_us < r->look_us)
        return;
    sample(r);
    while (scheduler_recall(r->scheduler, &r->order, r->now_us))
        line_order(r, &r->order);
    int64_t apart = (r->now_us - FORECAST_BEGIN_US) / LOOK_PART;
    r->looked_us = r->now_us;
    r->look_us = r->now_us + (apart > LOOK_US ? apart : LOOK_US);
}

static int64_t next_us(const struct run *r)
{
    const struct heap_node *first = heap_first(&r->heap);
    int64_t at = r->look_us;
    int64_t wake = scheduler_wake(r->scheduler);
    if (first && first->key < at)
        at = first->key;
    if (wake > r->now_us && wake < at) /* else it would look for what stalls */
        at = wake;
    if (r->hours_us < at)
        at = r->hours_us;
    if (r->lookups_n && r->lookups[r->lookups_first].done_us < at)
        at = r->lookups[r->lookups_first].done_us;
    return at > r->now_us ? at : r->now_us + 1;
}

static void happen(struct run *r, int64_t until_us)
{
    struct heap_node *first;
    while ((first = heap_first(&r->heap)) && first->key <= until_us) {
        if (first->key > r->now_us)
            r->now_us = first->key;
        heap_remove(&r->heap, first);
        line_due(r, CONTAINER_OF(first, struct due, node));
    }
}

static void simulate(struct run *r)
{
    int64_t limit_us = FORECAST_BEGIN_US + year_us;
    if (r->p->until_ms)
        limit_us = FORECAST_BEGIN_US + (r->p->until_ms - r->p->begin_ms) * 1000;
    for (;;) {
        watch_hours(r);
        look(r);
        turn(r);
        if (scheduler_done(r->scheduler))
            return;
        int64_t at = next_us(r);
        r->now_us = at < limit_us ? at : limit_us;
        if (at >= limit_us)
            return;
        happen(r, at + TURN_US);
    }
}

static void finish(struct run *r)
{
    for (uint32_t i = 0; i < r->p->connections_total; i++)
        free(r->connections[i].rows);
    for (uint32_t i = 0; i < r->doors_n; i++) {
        free(r->doors[i]->gates);
        free(r->doors[i]->passages);
        free(r->doors[i]);
    }
    for (uint32_t i = 0; i < r->passages_n; i++)
        free(r->passages[i]);
    for (uint32_t i = 0; i < r->p->groups_n; i++)
        free(r->accounts[i].lack_us);
    scheduler_destroy(r->scheduler);
    mx_set_unref(r->nowhere);
    map_finish(&r->door_of);
    map_finish(&r->passage_of);
    map_finish(&r->group_of);
    map_finish(&r->drawers);
    heap_finish(&r->heap);
    free(r->connections);
    free(r->policies);
    free(r->row_of);
    free(r->policy_of);
    free(r->drawn);
    free(r->doors);
    free(r->passages);
    free(r->lookups);
    free(r->accounts);
}

void forecast_make(struct forecast *f, const struct forecast_params *params)
{
    *f = (struct forecast){
        .groups = mem_zero(params->groups_n, sizeof *f->groups),
        .end_ms = params->begin_ms,
    };
    struct run *r = mem_zero(1, sizeof *r);
    r->p = params;
    r->out = f;
    r->now_us = r->looked_us = r->look_us = FORECAST_BEGIN_US;
    r->connections = mem_zero(params->connections_total, sizeof *r->connections);
    r->accounts = mem_zero(params->groups_n, sizeof *r->accounts);
    r->lookups = mem_zero(params->lookups, sizeof *r->lookups);
    r->row_of = find_rows(params->list);
    r->policy_of = mem_zero(recipients_domains(params->list), sizeof *r->policy_of);
    r->nowhere = mx_set_copy(&(struct mx_set){.code = 710});
    struct scheduler_policy first = params->policy;
    r->hours_us = INT64_MAX;
    know_policy(r, 0, &first);
    const struct scheduler_params sp = {
        .list = params->list,
        .policy = first,
        .policy_of = params->policy_of ? policy_of : NULL,
        .policy_arg = r,
        .allow = params->warmups ? allow : NULL,
        .allow_arg = r,
        .connections_total = params->connections_total,
        .sources_n = params->sources_n,
        .now_us = FORECAST_BEGIN_US,
        .epoch_us = FORECAST_BEGIN_US,
    };
    r->scheduler = scheduler_create(&sp);
    simulate(r);
    f->left = scheduler_stats(r->scheduler).pending;
    note_rates(r);
    hold_rest(r);
    for (uint32_t i = 0; i < params->groups_n; i++)
        f->groups[i].bound = bound_of(f, &r->accounts[i]);
    finish(r);
    free(r);
}

void forecast_finish(struct forecast *f)
{
    for (int i = 0; i < f->reasons_n; i++)
        free(f->reasons[i]);
    free(f->groups);
    *f = (struct forecast){0};
}
