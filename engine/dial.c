#include "engine/dial.h"

#include <errno.h>
#include <stdio.h>

enum { WORDS_MAX = 256 };

/* No target let us send MAIL: the attempt of the one row that was to go first; the
 * others go back (codes rule 18). */
static void fail(struct connection *c, const struct verdict *verdict, struct span words)
{
    if (c->finishing) { /* its rows are back: nobody's attempt, and no failed round */
        connection_close(c, CLOSED_CLEAN, NULL, (struct span){0});
        return;
    }
    if (!lent_empty(&c->rows))
        connection_settled(c, NULL, 0, lent_take_first(&c->rows), verdict, words);
    connection_close(c, CLOSED_FAILED, verdict, words);
}

static const struct worker_source *source_of(const struct connection *c)
{
    const struct worker_params *p = c->worker->params;
    return c->task->source ? &p->sources[c->task->source - 1] : NULL;
}

/* The first target from that one on that our source can reach, which is one of its own
 * family; targets_n: none. */
static int reachable_from(const struct connection *c, int target)
{
    const struct worker_source *source = source_of(c);
    while (source && target < c->task->targets_n &&
           ip_is_v4(&c->task->targets[target].address) != ip_is_v4(&source->address))
        target++;
    return target;
}

bool dial_has_next(const struct connection *c)
{
    return reachable_from(c, c->target + 1) < c->task->targets_n;
}

/* The settings send this mail from an address that its hosts cannot be reached from. It
 * is an attempt: a row must not wait for ever for other settings. */
static void no_way(struct connection *c)
{
    const struct worker_source *source = source_of(c);
    char words[WORDS_MAX];
    snprintf(words, sizeof words,
             "source %s is an IPv%c address, and no host here has one", source->name,
             ip_is_v4(&source->address) ? '4' : '6');
    struct verdict v = verdict_of_code(609, "socket", false);
    fail(c, &v, span_of(words));
}

void dial_first(struct connection *c)
{
    c->target = reachable_from(c, 0);
    if (c->target < c->task->targets_n) {
        dial_target(c);
        return;
    }
    c->target = 0; /* for the log */
    no_way(c);
}

void dial_next(struct connection *c)
{
    connection_end_session(c);
    stream_close(&c->stream);
    c->target = reachable_from(c, c->target + 1);
    c->in_clear = false;
    dial_target(c);
}

void dial_failed(struct connection *c, const struct verdict *verdict, struct span words)
{
    bool more = verdict->next_host && !c->finishing && dial_has_next(c);
    if (!more) {
        fail(c, verdict, words);
        return;
    }
    dial_next(c);
}

void dial_refused(struct connection *c, bool timed_out, const char *words)
{
    c->connect_us = (int32_t)(connection_now_us() - c->connect_began_us);
    c->connect_began_us = 0;
    struct verdict v =
        verdict_of_code(601, timed_out ? "connect-timeout" : "connect", true);
    v.next_host = true;
    dial_failed(c, &v, span_of(words));
}

/* Our own machine has no socket for it: nobody's attempt. */
static void no_socket(struct connection *c, int error)
{
    c->connect_began_us = 0;
    struct verdict v = verdict_of_code(609, "socket", false);
    const struct worker_source *source = source_of(c);
    char words[WORDS_MAX] = "", address[IP_TEXT_MAX];
    if (source) {
        ip_print(&source->address, address);
        snprintf(words, sizeof words, "source %s, %s: %s", source->name, address,
                 stream_words(error));
    }
    connection_close(c, CLOSED_OURS, &v, span_of(source ? words : stream_words(error)));
}

void dial_target(struct connection *c)
{
    const struct target *target = &c->task->targets[c->target];
    int64_t now = connection_now_us();
    /* The last look before connect(). A relay was named by the user. */
    if (!c->task->destination->verdict.relay &&
        deny_match(c->worker->params->deny, &target->address)) {
        struct verdict v = verdict_of_code(730, "dns", false);
        v.next_host = true;
        dial_failed(c, &v, span_of("address is in deny_destinations"));
        return;
    }
    c->again_us = INT64_MAX;
    if (!gates_pass(c->task->connect_gates, c->task->gates_n, now, &c->again_us)) {
        connection_set_timer(c, now);
        return;
    }
    c->connect_began_us = now;
    int error;
    bool ours;
    const struct worker_source *source = source_of(c);
    if (!stream_connect(&c->stream, c->worker->loop, source ? &source->address : NULL,
                        &target->address, c->task->destination->port,
                        connection_on_event, c, &error, &ours)) {
        if (ours)
            no_socket(c, error);
        else
            dial_refused(c, error == ETIMEDOUT, stream_words(error));
        return;
    }
    connection_set_timer(c, now);
}

void dial_connected(struct connection *c)
{
    int64_t now = connection_now_us();
    c->connect_us = (int32_t)(now - c->connect_began_us);
    c->connect_began_us = 0;
    struct event e = {
        .kind = EVENT_CONNECTED, .connection = c->number, .target = c->target};
    report_add(&c->worker->report, &e, NULL);
    c->params = c->task->destination->smtp;
    if (source_of(c))
        c->params.helo_name = source_of(c)->helo_name;
    unsigned avoid = c->task->avoid;
    if (avoid & AVOID_AHEAD && c->params.pipelining == SMTP_PIPELINING_AUTO)
        c->params.pipelining = SMTP_PIPELINING_GROUP;
    if (avoid & AVOID_BDAT)
        c->params.chunking = false;
    c->params.paced = gates_limit(c->task->mail_gates, c->task->gates_n);
    if (c->in_clear)
        c->params.tls = SMTP_TLS_NONE;
    c->session = smtp_session_create(&c->params, now);
    if (trace_on(TRACE_SMTP)) {
        const struct target *target = &c->task->targets[c->target];
        char address[IP_TEXT_MAX];
        ip_print(&target->address, address);
        c->stream.talk = trace_talk_begin(c->number, target->host, address, now);
    }
    if (c->params.secured)
        connection_begin_tls(c);
}
