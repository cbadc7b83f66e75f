#include "queue/obstacle.h"

#include <stdlib.h>

#include "base/mem.h"

/* Silence behind a reply after which a close tells nothing of the messages before. */
enum { AT_ONCE_US = 1000 * 1000 };

/* ---- domains ---- */

static void enqueue(struct scheduler *s, struct domain_queue *q, uint32_t domain)
{
    s->domains[domain].next = 0;
    if (q->head)
        s->domains[q->tail - 1].next = domain + 1;
    else
        q->head = domain + 1;
    q->tail = domain + 1;
}

static uint32_t dequeue(struct scheduler *s, struct domain_queue *q)
{
    if (!q->head)
        return RECIPIENTS_NO_DOMAIN;
    uint32_t domain = q->head - 1;
    q->head = s->domains[domain].next;
    return domain;
}

static uint32_t domain_of(const struct scheduler *s, uint32_t index)
{
    return recipients_domain(s->params.list, index + s->first_row - 1);
}

static struct row *row_of(struct scheduler *s, uint32_t row, uint32_t *index_out)
{
    uint32_t index = row - s->first_row + 1;
    assert(index >= 1 && index <= s->rows_n);
    *index_out = index;
    return &s->rows[index];
}

/* ---- ready ---- */

static void wait_until(struct scheduler *s, uint32_t index, int64_t us)
{
    s->rows[index].state = ROW_WAITING;
    wheel_add(&s->wheel, s->rows, index, scheduler_tick(s, us));
}

static void make_ready(struct scheduler *s, struct site *site, uint32_t index,
                       bool first, int64_t now_us)
{
    if (now_us < site->closed_until_us && !site->why) { /* no rule: the wait counts */
        wait_until(s, index, site->closed_until_us);
        return;
    }
    struct row *r = &s->rows[index];
    if (r->source && !policy_has_source(policy_of(s, site), r->source))
        r->source = 0; /* the settings have changed */
    int64_t left_us =
        r->source ? obstacle_left_until_us(s, site, r->source, now_us) : 0;
    if (left_us) { /* its round has failed */
        wait_until(s, index, left_us);
        return;
    }
    r->state = ROW_READY;
    r->due = scheduler_tick(s, now_us);
    s->ready++;
    bool covered = site_covers(site, r->source);
    site_push(site, s->rows, index, first, s->params.sources_n);
    if (link_alone(&site->work) || (site->line && !covered))
        wake_site(s, site);
}

/* A row that may be tried now, if its domain's MX set is known: else that comes first.
 */
static void route(struct scheduler *s, uint32_t index, bool first, int64_t now_us)
{
    uint32_t number = domain_of(s, index);
    struct domain *d = &s->domains[number];
    if (d->state == DOMAIN_KNOWN && now_us < d->expires_us) {
        make_ready(s, d->site, index, first, now_us);
        return;
    }
    s->rows[index].state = ROW_ASKING;
    s->rows[index].due = scheduler_tick(s, now_us);
    s->asking++;
    fifo_push(&d->rows, s->rows, index);
    if (d->state == DOMAIN_IDLE || d->state == DOMAIN_KNOWN) {
        d->state = DOMAIN_QUEUED;
        enqueue(s, &s->ask, number);
    }
}

/* Ask for the domain's policy; set is NULL or has a code while its hosts are not known.
 */
static void find_policy(struct scheduler *s, uint32_t number, const struct mx_set *set)
{
    struct domain *d = &s->domains[number];
    struct scheduler_policy found;
    bool fresh = false;
    d->policy = 0;
    if (s->params.policy_of)
        d->policy =
            s->params.policy_of(s->params.policy_arg, number, set, &found, &fresh);
    assert(d->policy < s->policies_n + fresh);
    if (fresh) {
        s->policies = mem_resize(s->policies, s->policies_n + 1, sizeof *s->policies);
        s->policies[s->policies_n++] = found;
    }
}

static const struct scheduler_policy *policy_of_row(struct scheduler *s, uint32_t index)
{
    uint32_t number = domain_of(s, index);
    if (s->domains[number].policy == POLICY_UNKNOWN)
        find_policy(s, number, NULL);
    return &s->policies[s->domains[number].policy];
}

static int64_t interval_us(const struct scheduler_policy *p, uint32_t attempts)
{
    uint32_t step = attempts ? attempts - 1 : 0;
    if (step >= (uint32_t)p->retry_intervals)
        step = (uint32_t)p->retry_intervals - 1;
    return p->retry_interval_ms[step] * 1000;
}

static uint32_t second_of(const struct scheduler *s, int64_t us)
{
    return us <= s->params.epoch_us
               ? 1
               : (uint32_t)((us - s->params.epoch_us) / 1000000) + 1;
}

/* A row of the job as it stands now. */
static void add_row(struct scheduler *s, uint32_t index)
{
    struct row_past past = {.due_us = s->params.now_us};
    if (s->params.past)
        s->params.past(s->params.past_arg, index + s->first_row - 1, &past);
    if (past.final)
        return;
    struct row *r = &s->rows[index];
    r->attempts =
        past.attempts < ROW_ATTEMPTS_MAX ? (uint16_t)past.attempts : ROW_ATTEMPTS_MAX;
    r->doubted = past.doubted;
    r->source = past.source;
    if (past.attempts)
        r->first_s = second_of(s, past.first_us);
    s->pending++;
    /* A wall clock that was set back must not make rows wait for longer than they
     * would. */
    int64_t longest_us = s->params.retry_longest_ms
                             ? s->params.retry_longest_ms * 1000
                             : interval_us(&s->policies[0], past.attempts);
    int64_t latest = s->params.now_us + longest_us;
    if (past.due_us > latest)
        past.due_us = latest;
    if (past.due_us > s->params.now_us)
        wait_until(s, index, past.due_us);
    else
        route(s, index, false, s->params.now_us);
}

struct scheduler *scheduler_create(const struct scheduler_params *params)
{
    struct scheduler *s = mem_zero(1, sizeof *s);
    s->params = *params;
    s->rng.state = params->seed;
    s->first_row = recipients_first(params->list);
    uint32_t last = recipients_last(params->list);
    s->rows_n = last < s->first_row ? 0 : last - s->first_row + 1;
    s->rows = mem_zero((size_t)s->rows_n + 1, sizeof *s->rows);
    s->domains_n = recipients_domains(params->list);
    s->domains = mem_zero(s->domains_n, sizeof *s->domains);
    for (uint32_t i = 0; i < s->domains_n; i++)
        s->domains[i].policy = POLICY_UNKNOWN;
    s->policies = mem_alloc(sizeof *s->policies);
    s->policies[0] = params->policy;
    s->policies_n = 1;
    s->share.jobs = s->heard = 1;
    s->source_until_us =
        mem_zero((size_t)params->sources_n + 1, sizeof *s->source_until_us);
    s->source_why = mem_zero((size_t)params->sources_n + 1, sizeof(char *));
    s->connections = mem_zero(params->connections_total, sizeof *s->connections);
    s->free_connections = mem_zero(params->connections_total, sizeof(uint32_t));
    s->room = params->connections_total;
    s->room_until_us = s->opening_from_us = s->probing_from_us = INT64_MAX;
    s->probe = NO_CONNECTION;
    link_init(&s->work);
    link_init(&s->starved);
    link_init(&s->offers);
    link_init(&s->bounded);
    wheel_init(&s->wheel, 0);
    for (uint32_t index = 1; index <= s->rows_n; index++)
        if (domain_of(s, index) != RECIPIENTS_NO_DOMAIN)
            add_row(s, index);
    return s;
}

void scheduler_destroy(struct scheduler *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->budgets_n; i++) /* before those that wait for them */
        if (s->budgets[i])
            provider_free(s->budgets[i], s->params.sources_n);
    free(s->budgets);
    for (uint32_t i = 0; i < s->sites_n; i++) {
        if (s->policies[s->sites[i]->policy].provider == 0)
            provider_free(s->sites[i]->provider, s->params.sources_n);
        site_finish(s->sites[i]);
        free(s->sites[i]);
    }
    for (uint32_t i = 0; i < s->shared_n; i++)
        if (s->shared[i])
            provider_free(s->shared[i], s->params.sources_n);
    free(s->shared);
    heap_finish(&s->alarms);
    free(s->resting);
    free(s->source_until_us);
    free(s->gates);
    for (int i = 0; i <= s->params.sources_n; i++)
        free(s->source_why[i]);
    free(s->source_why);
    for (uint32_t i = 0; i < s->domains_n; i++)
        mx_set_unref(s->domains[i].failed);
    map_finish(&s->site_by_key);
    buf_finish(&s->site_key);
    free(s->policies);
    free(s->sites);
    free(s->rows);
    free(s->domains);
    free(s->connections);
    free(s->free_connections);
    free(s);
}

/* ---- resolving ---- */

uint32_t scheduler_ask(struct scheduler *s)
{
    if (s->stopped || s->standing)
        return RECIPIENTS_NO_DOMAIN;
    uint32_t domain = dequeue(s, &s->ask);
    if (domain != RECIPIENTS_NO_DOMAIN)
        s->domains[domain].state = DOMAIN_ASKED;
    return domain;
}

static struct site *site_for(struct scheduler *s, uint32_t policy, struct mx_set *set)
{
    bool added;
    buf_reset(&s->site_key);
    buf_add_i64(&s->site_key, policy);
    buf_add_char(&s->site_key, ' ');
    buf_add_str(&s->site_key, set->key);
    uint32_t number =
        map_put(&s->site_by_key, buf_span(&s->site_key), s->sites_n, &added, NULL);
    if (!added) {
        site_refresh(s->sites[number], set);
        return s->sites[number];
    }
    if (s->sites_n == s->sites_cap) {
        s->sites_cap = s->sites_cap ? s->sites_cap * 2 : 64;
        s->sites = mem_resize(s->sites, s->sites_cap, sizeof(struct site *));
    }
    struct site *site = mem_alloc(sizeof *site);
    site_init(site, set, policy, restraint_waits(s, policy, set));
    site->number = s->sites_n;
    s->sites[s->sites_n++] = site;
    return site;
}

void scheduler_resolved(struct scheduler *s, uint32_t domain, struct mx_set *set,
                        int64_t now_us)
{
    struct domain *d = &s->domains[domain];
    assert(d->state == DOMAIN_ASKED);
    if (set->code == 0 || d->policy == POLICY_UNKNOWN)
        find_policy(s, domain, set);
    if (set->code == 0) {
        d->code = 0;
        d->state = DOMAIN_KNOWN;
        d->expires_us = set->expires_us;
        d->site = site_for(s, d->policy, set);
        for (uint32_t index; (index = fifo_pop(&d->rows, s->rows));) {
            s->asking--;
            row_begins(s, &s->rows[index], now_us);
            make_ready(s, d->site, index, false, now_us);
        }
    } else if (set->code == 608 || (set->code == 710 && s->network_down)) {
        d->state = DOMAIN_PAUSED;
        d->expires_us = now_us + UNREACHABLE_RESOLVER_US;
        enqueue(s, &s->paused, domain);
        mx_set_unref(set);
    } else {
        for (uint32_t i = 0, index = d->rows.head; i < d->rows.n; i++) {
            row_begins(s, &s->rows[index], now_us);
            index = s->rows[index].next;
        }
        d->code = (uint16_t)set->code;
        d->state = DOMAIN_FAILED;
        d->failed = set;
        enqueue(s, &s->failed, domain);
    }
}

uint32_t scheduler_unresolvable(struct scheduler *s, const struct mx_set **set_out)
{
    while (s->failed.head && !s->expiring) {
        struct domain *d = &s->domains[s->failed.head - 1];
        uint32_t index = fifo_pop(&d->rows, s->rows);
        if (index) {
            s->asking--;
            s->rows[index].state = ROW_LENT;
            s->lent++;
            *set_out = d->failed;
            return index + s->first_row - 1;
        }
        mx_set_unref(d->failed);
        d->failed = NULL;
        d->state = DOMAIN_IDLE;
        dequeue(s, &s->failed);
    }
    return 0;
}

int64_t scheduler_wake(const struct scheduler *s)
{
    if (s->stopped)
        return INT64_MAX;
    int64_t wake = INT64_MAX;
    uint32_t tick = wheel_next(&s->wheel);
    if (tick != UINT32_MAX)
        wake = s->params.now_us + (int64_t)tick * WHEEL_TICK_US;
    if (s->lent && s->stall_check_us < wake)
        wake = s->stall_check_us;
    if (s->paused.head && s->domains[s->paused.head - 1].expires_us < wake)
        wake = s->domains[s->paused.head - 1].expires_us;
    if (s->opening_from_us < wake)
        wake = s->opening_from_us;
    if (s->probing_from_us < wake)
        wake = s->probing_from_us;
    if (restraint_wake(s) < wake)
        wake = restraint_wake(s);
    return s->room_until_us < wake ? s->room_until_us : wake;
}

static void no_socket(struct scheduler *s, int64_t now_us)
{
    s->room = s->connections_n ? s->connections_n : 1;
    s->room_until_us = now_us + FEWER_US;
    s->opening_from_us = now_us + NO_SOCKET_US;
}

static void try_sockets_again(struct scheduler *s, int64_t now_us)
{
    if (now_us >= s->room_until_us) {
        s->room = s->params.connections_total;
        s->room_until_us = INT64_MAX;
    }
    if (now_us >= s->opening_from_us)
        s->opening_from_us = INT64_MAX;
    if (now_us >= s->probing_from_us)
        s->probing_from_us = INT64_MAX;
}

void scheduler_advance(struct scheduler *s, int64_t now_us)
{
    if (s->stopped)
        return;
    try_sockets_again(s, now_us);
    restraint_advance(s, now_us);
    while (s->paused.head && s->domains[s->paused.head - 1].expires_us <= now_us) {
        uint32_t domain = dequeue(s, &s->paused);
        s->domains[domain].state = DOMAIN_QUEUED;
        enqueue(s, &s->ask, domain);
    }
    struct fifo due = {0};
    int64_t tick = (now_us - s->params.now_us) / WHEEL_TICK_US;
    wheel_advance(&s->wheel, s->rows, tick > UINT32_MAX ? UINT32_MAX : (uint32_t)tick,
                  &due);
    for (uint32_t index; (index = fifo_pop(&due, s->rows));)
        route(s, index, false, now_us);
}

/* ---- what happened ---- */

/* 606, 607, or 0: may be tried again at next_us. Waiting for an attempt that would come
 * too late helps nobody, so the end is said at once. */
static int ended(const struct scheduler *s, const struct scheduler_policy *p,
                 const struct row *row, int64_t next_us)
{
    if ((p->max_attempts && row->attempts >= p->max_attempts) ||
        row->attempts == ROW_ATTEMPTS_MAX)
        return 607;
    int64_t first_us = s->params.epoch_us + ((int64_t)row->first_s - 1) * 1000000;
    bool late = s->params.until_us && next_us > s->params.until_us;
    return late || next_us > first_us + p->lifetime_ms * 1000 ? 606 : 0;
}

/* A message was begun. More of them than were reckoned with count all the same. */
static void spend(struct connection_record *c)
{
    if (c->reserved > 0)
        c->reserved--;
    else
        c->path->allowance--;
}

/* No more messages than rows can still be begun: the others may be lent for anew, by
 * whoever was told that the day is used up. */
static void release(struct scheduler *s, struct connection_record *c)
{
    struct path *path = c->path;
    if (c->reserved <= c->lent)
        return;
    path->allowance += c->reserved - c->lent;
    c->reserved = c->lent;
    if (!path->used_up || path->allowance <= 0)
        return;
    path->used_up = false;
    restraint_offer(s, c->site->provider);
}

void scheduler_spent(struct scheduler *s, uint32_t connection)
{
    spend(&s->connections[connection]);
}

static void take_back(struct scheduler *s, uint32_t connection, int64_t now_us)
{
    s->lent--;
    if (connection == NO_CONNECTION)
        return;
    struct connection_record *c = &s->connections[connection];
    assert(c->site && c->lent > 0);
    c->lent--;
    release(s, c);
    c->site->lent--;
    c->progress_us = now_us;
    c->recalled = c->recalled && c->lent > 0;
    lending_offer(s, c);
}

/* What a result tells of its connection, its site and its path. */
static void note_result(struct scheduler *s, struct connection_record *c, struct row *r,
                        const struct settlement *what, struct decision *d,
                        int64_t now_us)
{
    struct site *site = c->site;
    restraint_day(s, c->path, now_us);
    if (!what->joined)
        spend(c);
    if (what->counted && what->worked)
        r->source = c->source; /* greylisting wants to see the same one again */
    if (what->worked) {
        bool was_left = site_left_until_us(site, c->source) != 0;
        c->served += !what->joined;
        site_good(site, c->source, connections_of_all(s, site), now_us);
        /* The window may have opened, or the source has more than its probe again. */
        if (site->ready && (was_left || link_alone(&site->work)))
            wake_site(s, site);
    }
    restraint_note(s, c, what, d, now_us);
}

struct decision scheduler_settle(struct scheduler *s, uint32_t connection, uint32_t row,
                                 const struct settlement *what, int64_t now_us)
{
    uint32_t index;
    struct row *r = row_of(s, row, &index);
    assert(r->state == ROW_LENT);
    struct decision d = {.next_us = now_us};
    if (what->counted) {
        if (r->attempts < ROW_ATTEMPTS_MAX)
            r->attempts++;
        if (r->first_s == 0)
            r->first_s = second_of(s, now_us);
    }
    d.attempt = r->attempts;
    d.first_doubt = what->in_doubt && !r->doubted;
    d.given_up = what->in_doubt && r->doubted && what->outcome == OUTCOME_RETRY;
    r->doubted = r->doubted || what->in_doubt;
    if (connection != NO_CONNECTION)
        note_result(s, &s->connections[connection], r, what, &d, now_us);

    if (what->outcome != OUTCOME_RETRY || d.given_up) {
        d.final = true;
    } else if (!what->counted) {
        route(s, index, true, now_us);
    } else {
        const struct scheduler_policy *p = policy_of_row(s, index);
        d.next_us = now_us + what->wait_us;
        /* "Come back tomorrow" ends no row of today. */
        if (what->wait_us == 0 || ended(s, p, r, d.next_us))
            d.next_us = now_us + interval_us(p, r->attempts);
        d.ended = ended(s, p, r, d.next_us);
        d.final = d.ended != 0;
        if (!d.final)
            wait_until(s, index, d.next_us);
    }
    if (d.final) {
        r->state = ROW_FINAL;
        s->pending--;
    }
    take_back(s, connection, now_us);
    return d;
}

void scheduler_returned(struct scheduler *s, uint32_t connection, uint32_t row,
                        int64_t now_us)
{
    uint32_t index;
    struct row *r = row_of(s, row, &index);
    assert(r->state == ROW_LENT);
    restraint_day(s, s->connections[connection].path, now_us);
    route(s, index, true, now_us);
    take_back(s, connection, now_us);
}

/* All that could leave by no other way has shared its failure. What a rule suspends for
 * longer waits for that. */
static enum round fail_round(struct scheduler *s, struct site *site,
                             const struct connection_record *c, int64_t now_us)
{
    int64_t until_us = now_us + interval_us(policy_of(s, site), 1);
    if (!obstacle_has_others(s, site, c->source, now_us)) {
        if (site->connections > 0)
            return ROUND_NONE;
        site_failed(site, until_us);
        s->failed_site = site;
        s->round = site_take_all(site, s->rows, s->params.sources_n);
        return ROUND_SITE;
    }
    if (site->connections > 0 && obstacle_is_connected(s, site, c->source))
        return ROUND_NONE;
    site_leave(site, c->source, until_us, s->params.sources_n);
    if (c->path->closed_until_us < until_us && s->source_until_us[c->source] < until_us)
        s->round = site_take_bound(site, c->source);
    return ROUND_SOURCE;
}

void scheduler_posted(struct scheduler *s, uint32_t connection, int64_t now_us)
{
    s->connections[connection].progress_us = now_us;
}

uint32_t scheduler_lent(const struct scheduler *s, uint32_t connection)
{
    return s->connections[connection].lent;
}

void scheduler_ending(struct scheduler *s, uint32_t connection)
{
    s->connections[connection].last = true;
}

enum round scheduler_closed(struct scheduler *s, uint32_t connection,
                            enum close_kind how, unsigned avoid, int64_t now_us)
{
    struct connection_record *c = &s->connections[connection];
    struct site *site = c->site;
    assert(site && c->lent == 0 && s->round.n == 0);
    link_remove(&c->hungry);
    c->site = NULL;
    s->free_connections[s->connections_free++] = connection;
    s->connections_n--;
    site->connections--;
    restraint_closed(s, site, c->source, now_us);
    site->avoid |= avoid;
    if (connection == s->probe) {
        s->probe = NO_CONNECTION;
        s->probing_from_us = now_us + PROBE_US;
    }
    enum round round =
        how == CLOSED_FAILED ? fail_round(s, site, c, now_us) : ROUND_NONE;
    if (how == CLOSED_OURS)
        no_socket(s, now_us);
    else if (how == CLOSED_ENOUGH && now_us - c->progress_us < AT_ONCE_US)
        site_had_enough(site, c->served);
    else if (how == CLOSED_LOST || (how == CLOSED_FAILED && round == ROUND_NONE))
        site_bad(site, now_us);
    if (site->ready && !site->line)
        wake_site(s, site);
    restraint_offer(s, site->provider);
    return round;
}

uint32_t scheduler_round(struct scheduler *s)
{
    uint32_t index = fifo_pop(&s->round, s->rows);
    if (!index)
        return 0;
    s->rows[index].state = ROW_LENT;
    s->ready--;
    s->lent++;
    return index + s->first_row - 1;
}

void scheduler_round_why(struct scheduler *s, const char *why)
{
    words_set(&s->failed_site->failure, why);
}

void scheduler_stop(struct scheduler *s)
{
    s->stopped = true;
}
