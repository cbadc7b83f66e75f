#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"
#include "engine/inside.h"
#include "engine/reason.h"
#include "engine/stream.h"

enum {
    UNRESOLVABLE_A_TURN =
        LEASE_MAX, /* rows of dead domains, before the loop breathes */
    NOT_CONNECTED = 601,
};

static struct record_where where_of(struct engine *e, uint32_t row)
{
    struct record_where where = {.flags = e->params->rehearsal ? FLAG_REHEARSAL : 0};
    if (row)
        where.domain = span_of(recipients_domain_name(
            e->params->list, recipients_domain(e->params->list, row)));
    return where;
}

static void where_target(struct engine *e, struct record_where *where,
                         uint32_t connection, int target, char address[IP_TEXT_MAX])
{
    const struct lane *lane = &e->lanes[connection];
    where->flags |= lane->relayed ? FLAG_RELAY : 0;
    where->site = span_of(lane->site);
    where->source = span_of(engine_source(e, lane));
    if (target < 0 || target >= lane->targets->targets_n)
        return;
    const struct target *t = &lane->targets->targets[target];
    ip_print(&t->address, address);
    where->mx_host = span_of(t->host);
    where->mx_address = span_of(address);
}

/* Its path or provider is left alone: the log says why nothing moves. */
static void tell_notice(struct engine *e, const struct decision *d,
                        const struct verdict *v, const struct record_where *where,
                        struct span words)
{
    struct record_where site = {.flags = where->flags,
                                .site = where->site,
                                .mx_host = where->mx_host,
                                .mx_address = where->mx_address};
    char until[RFC3339_MS_LEN];
    struct buf line = {0};
    time_rfc3339_ms(engine_wall_ms(e, d->notice_us), until);
    buf_printf(&line, "left alone until %.*s, %s: %.*s", RFC3339_MS_LEN, until,
               d->notice == NOTICE_UNKNOWN ? "too many addresses do not exist"
                                           : "it refuses us again and again",
               (int)words.n, words.p);
    record_event(e->params->attempts, engine_wall_ms(e, engine_now_us()), v, &site,
                 buf_span(&line));
    buf_finish(&line);
}

/* How an attempt ended. */
struct ending {
    struct verdict verdict;
    struct span words;
    const int32_t *timings_us; /* TIMING_COUNT, or NULL */
    bool worked;
    bool joined;     /* its message is another row's too, which is settled */
    int64_t wait_us; /* the receiver, or a rule, asks for it */
};

/* Settle a row, log it, count it. connection: NO_CONNECTION for rows that none carried.
 */
static void settle(struct engine *e, uint32_t connection, uint32_t row,
                   const struct ending *ending, const struct record_where *where)
{
    const struct verdict *v = &ending->verdict;
    int64_t now = engine_now_us();
    struct settlement what = {.outcome = v->outcome,
                              .counted = v->counted,
                              .worked = ending->worked,
                              .in_doubt = v->in_doubt,
                              .about_us = v->about_us,
                              .joined = ending->joined,
                              .absent =
                                  v->outcome == OUTCOME_ABSENT && verdict_is_reply(v),
                              .wait_us = ending->wait_us};
    struct decision d = scheduler_settle(e->scheduler, connection, row, &what, now);
    if (d.notice)
        tell_notice(e, &d, v, where, ending->words);
    if (!v->counted && !d.final)
        return; /* nobody's attempt: nothing to tell of this row */
    struct verdict last = *v;
    if (d.given_up)
        last.outcome = OUTCOME_ERROR; /* in doubt again: this code is final */
    e->attempts++;
    struct recipient fields = {0};
    struct record_where at = *where;
    if (at.email.n == 0) {
        struct fault f = {0};
        if (recipients_read(e->params->list, row, &fields, &f))
            at.email = (struct span){fields.address.text, fields.address.n};
    }
    struct record r = {.now_ms = engine_wall_ms(e, now),
                       .next_ms = d.final ? 0 : engine_wall_ms(e, d.next_us),
                       .row = row,
                       .verdict = &last,
                       .decision = d,
                       .words = ending->words,
                       .timings_us = ending->timings_us};
    record_attempt(e->params->attempts, &r, &at);
    if (d.first_doubt)
        e->totals.in_doubt++;
    if (v->assumed)
        e->totals.assumed++;
    if (d.final) {
        record_count(&e->totals, &last, d.ended);
        e->totals.pending--;
    }
    recipient_finish(&fields);
}

/* ---- what it tells of the whole job ---- */

/* Codes rule 14. Replies alone count, and those temporary ones that are about us: the
 * others, greylisting above all, say nothing. */
static void watch_storm(struct engine *e, const char *site, const struct verdict *v)
{
    if (!verdict_is_reply(v) || (v->outcome == OUTCOME_RETRY && !v->about_us) ||
        e->state != ENGINE_RUNNING)
        return;
    bool bad = v->about_us || v->outcome == OUTCOME_ABSENT;
    if (!storm_note(e->storm, span_of(site), bad))
        return;
    struct buf reason = {0};
    storm_reason(e->storm, &reason);
    steer_cancel(e, ENGINE_STORM, buf_span(&reason));
    buf_finish(&reason);
}

/* Of a source; NULL: the system chooses. */
static const struct ip *address_of(const struct engine *e, uint8_t source)
{
    return source ? &e->params->worker.sources[source - 1].address : NULL;
}

/* Our own table has no route to any of its hosts; nor to the one that was reached last,
 * else ours are as they should be. IPv6 is no witness: many machines have none. */
static bool is_unrouted(const struct engine *e, const struct lane *lane)
{
    const struct ip *from = address_of(e, lane->source);
    bool any = false;
    if (from && !ip_is_v4(from))
        return false;
    for (int i = 0; i < lane->targets->targets_n; i++) {
        const struct ip *address = &lane->targets->targets[i].address;
        if (!ip_is_v4(address))
            continue;
        if (stream_routed(from, address))
            return false;
        any = true;
    }
    return any && !(e->reached &&
                    stream_routed(address_of(e, e->reached_from), &e->reached_at));
}

/* What a connection failed with, or a row on it, tells of the network. */
static void watch_network(struct engine *e, const struct lane *lane,
                          const struct event *event)
{
    int64_t now = engine_now_us();
    if (verdict_heard(&event->verdict)) {
        if (network_heard(&e->network, now))
            steer_network(e, false);
        return;
    }
    if (!verdict_silent(&event->verdict))
        return;
    if (network_give_up(&e->network, now))
        steer_network(e, false);
    bool known = event->verdict.code == NOT_CONNECTED &&
                 network_failed(&e->network, span_of(lane->site), now);
    if (known || (is_unrouted(e, lane) && network_unrouted(&e->network, now)))
        steer_network(e, true);
}

/* Silence that our network is to blame for is nobody's attempt. A row whose dot has
 * left is in doubt all the same. */
static bool is_excused(const struct engine *e, const struct lane *lane,
                       const struct verdict *v)
{
    return verdict_silent(v) && !v->in_doubt &&
           network_excuses(&e->network, lane->opened_us);
}

/* ---- events of connections ---- */

static void on_connected(struct engine *e, const struct event *event)
{
    const struct lane *lane = &e->lanes[event->connection];
    e->reached = true;
    e->reached_from = lane->source;
    e->reached_at = lane->targets->targets[event->target].address;
    if (network_connected(&e->network, span_of(lane->site), engine_now_us()))
        steer_network(e, false);
}

static void on_settled(struct engine *e, const struct event *event)
{
    const struct lane *lane = &e->lanes[event->connection];
    struct verdict v = event->verdict;
    watch_network(e, lane, event);
    v.counted = v.counted && !is_excused(e, lane, &v);
    struct record_where where = where_of(e, event->lent.row);
    char address[IP_TEXT_MAX];
    where_target(e, &where, event->connection, event->target, address);
    where.email = event_text(event, EVENT_EMAIL);
    where.message_id = event_text(event, EVENT_MESSAGE_ID);
    where.tls = event_text(event, EVENT_TLS);
    if (event->reused)
        where.flags |= FLAG_REUSED;
    int32_t timings[TIMING_COUNT];
    timings[TIMING_DNS] = event->dns_us;
    timings[TIMING_CONNECT] = event->connect_us;
    memcpy(timings + TIMING_STAGES, event->timings.us, sizeof event->timings.us);
    struct ending ending = {.verdict = v,
                            .words = event_text(event, EVENT_WORDS),
                            .timings_us = timings,
                            .worked = event->timings.us[SMTP_MAIL] >= 0,
                            .joined = !event->heads};
    ending.wait_us = react(e, event, &where, &ending.verdict);
    settle(e, event->connection, event->lent.row, &ending, &where);
    if (!ending.joined) /* one reply, however many share the message */
        watch_storm(e, lane->site, &ending.verdict);
    journal_settled(&e->journal, event->lent.entry);
}

static void on_epilogue(struct engine *e, const struct event *event)
{
    struct record_where where = where_of(e, 0);
    char address[IP_TEXT_MAX];
    where_target(e, &where, event->connection, event->target, address);
    record_event(e->params->attempts, engine_wall_ms(e, engine_now_us()),
                 &event->verdict, &where, event_text(event, EVENT_WORDS));
}

/* For whoever asks why nothing goes there. */
static void keep_failure(struct engine *e, const struct verdict *v, struct span words)
{
    struct buf why = {0};
    reason_add(&why, NULL, v->code, words, REASON_FAILURE_MAX);
    scheduler_round_why(e->scheduler, buf_cstr(&why));
    buf_finish(&why);
}

/* All rows of a connection that is over have come back. */
static void close_lane(struct engine *e, const struct event *event)
{
    struct lane *lane = &e->lanes[event->connection];
    enum close_kind how = event->closed;
    if (how == CLOSED_FAILED)
        watch_network(e, lane, event);
    if (how == CLOSED_FAILED && is_excused(e, lane, &event->verdict))
        how = CLOSED_NETWORK;
    if (how == CLOSED_LOST && lane->left)
        how = CLOSED_CLEAN;
    if (how == CLOSED_OURS) /* rows wait, and nobody's attempt tells why */
        on_epilogue(e, event);
    struct record_where from = where_of(e, 0);
    char address[IP_TEXT_MAX];
    where_target(e, &from, event->connection, event->target, address);
    struct ending ending = {.verdict = event->verdict,
                            .words = event_text(event, EVENT_WORDS)};
    if (how == CLOSED_FAILED)
        ending.wait_us = react(e, event, &from, &ending.verdict);
    enum round round = scheduler_closed(e->scheduler, event->connection, how,
                                        event->avoid, engine_now_us());
    if (round != ROUND_NONE) {
        if (round == ROUND_SITE)
            keep_failure(e, &event->verdict, ending.words);
        ending.verdict.outcome =
            OUTCOME_RETRY; /* of the others: theirs was no dialogue of their own */
        ending.verdict.counted = true;
        for (uint32_t row; (row = scheduler_round(e->scheduler));) {
            struct record_where where = from;
            where.domain = where_of(e, row).domain;
            settle(e, NO_CONNECTION, row, &ending, &where);
        }
    }
    free(lane->targets);
    lane->targets = NULL;
    lane->left = false;
    e->lanes_open--;
}

/* Rows may be on their way to a connection that is over already: the worker sends them
 * back, and only then its number is free. */
static void on_closed(struct engine *e, const struct event *event)
{
    if (scheduler_lent(e->scheduler, event->connection) == 0) {
        close_lane(e, event);
        return;
    }
    scheduler_ending(e->scheduler, event->connection);
    struct event *copy = mem_alloc(event->size);
    memcpy(copy, event, event->size);
    e->lanes[event->connection].closed = copy;
}

static void on_returned(struct engine *e, const struct event *event)
{
    struct lane *lane = &e->lanes[event->connection];
    flight_give_back(e->params->worker.flight, event->lent.entry);
    if (event->heads)
        scheduler_spent(e->scheduler, event->connection);
    scheduler_returned(e->scheduler, event->connection, event->lent.row,
                       engine_now_us());
    if (!lane->closed || scheduler_lent(e->scheduler, event->connection) > 0)
        return;
    close_lane(e, lane->closed);
    free(lane->closed);
    lane->closed = NULL;
}

void settle_report(void *owner, struct mail *mail)
{
    struct engine *e = owner;
    struct report *report = CONTAINER_OF(mail, struct report, mail);
    for (const struct event *event = NULL; (event = report_next(report, event));)
        switch (event->kind) {
        case EVENT_CONNECTED:
            on_connected(e, event);
            break;
        case EVENT_SETTLED:
            on_settled(e, event);
            break;
        case EVENT_RETURNED:
            on_returned(e, event);
            break;
        case EVENT_EPILOGUE:
            on_epilogue(e, event);
            break;
        case EVENT_CLOSED:
            on_closed(e, event);
            break;
        }
    free(report);
}

bool settle_expired(struct engine *e)
{
    for (int i = 0; i < UNRESOLVABLE_A_TURN; i++) {
        uint32_t attempts, row = scheduler_expire(e->scheduler, &attempts);
        if (!row)
            return false;
        struct verdict v = verdict_of_code(606, "deadline", true);
        struct record_where where = where_of(e, row);
        if (engine_is_relayed(e, recipients_domain(e->params->list, row)))
            where.flags |= FLAG_RELAY;
        struct recipient fields = {0};
        struct fault f = {0};
        if (recipients_read(e->params->list, row, &fields, &f))
            where.email = (struct span){fields.address.text, fields.address.n};
        struct record r = {.now_ms = engine_wall_ms(e, engine_now_us()),
                           .row = row,
                           .verdict = &v,
                           .decision = {.final = true, .attempt = attempts},
                           .words = SPAN("the job's time is over (--until)")};
        record_attempt(e->params->attempts, &r, &where);
        record_count(&e->totals, &v, 0);
        e->totals.pending--;
        recipient_finish(&fields);
    }
    return true;
}

/* No row is to blame for a relay that is not to be found: RFC 3463 X.4.4. Nothing else
 * is looked up as a host. */
static void blame_relay(struct verdict *v)
{
    v->outcome = OUTCOME_RETRY;
    strcpy(v->status, "4.4.4");
}

void settle_mute(struct engine *e, const struct mx_set *set)
{
    struct verdict v = verdict_of_code(608, "dns", false);
    struct record_where where = where_of(e, 0);
    where.flags |= set->is_host ? FLAG_RELAY : 0;
    record_event(e->params->attempts, engine_wall_ms(e, engine_now_us()), &v, &where,
                 span_of(set->words));
}

bool settle_unresolvable(struct engine *e)
{
    const struct mx_set *set;
    for (int i = 0; i < UNRESOLVABLE_A_TURN; i++) {
        uint32_t row = scheduler_unresolvable(e->scheduler, &set);
        if (!row)
            return false;
        int32_t timings[TIMING_COUNT];
        struct ending ending = {.verdict = verdict_of_code(set->code, "dns", false),
                                .words = span_of(set->words),
                                .timings_us = timings};
        struct verdict *v = &ending.verdict;
        if (set->status[0])
            memcpy(v->status, set->status, sizeof set->status);
        struct record_where where = where_of(e, row);
        if (set->is_host) {
            blame_relay(v);
            where.flags |= FLAG_RELAY;
        }
        memset(timings, 0xff, sizeof timings);
        timings[TIMING_DNS] = set->took_us;
        settle(e, NO_CONNECTION, row, &ending, &where);
    }
    return true;
}
