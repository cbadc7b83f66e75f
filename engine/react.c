/* What the reply rules make of a reply: of the row that got it, of its connection, and
 * of the path that it came by. */
#include "base/text.h"
#include "engine/inside.h"
#include "engine/reason.h"
#include "smtp/advice.h"

enum {
    REPLY_FIRST = 400,
    REPLY_LAST = 599,
    ECHO_US = 10 * 1000 * 1000, /* a round trip and more */
};

/* For a line that is no row's. */
static struct record_where path_of(const struct record_where *where)
{
    return (struct record_where){.flags = where->flags & ~(unsigned)FLAG_REUSED,
                                 .site = where->site,
                                 .mx_host = where->mx_host,
                                 .mx_address = where->mx_address,
                                 .source = where->source};
}

/* A pattern that takes too long is as good as none: its author should know. */
static void tell_given_up(struct engine *e, const struct record_where *where,
                          const struct verdict *v, struct span words)
{
    struct record_where path = path_of(where);
    const struct reaction_rule *rule;
    while ((rule = reactions_gave_up(e->reactions))) {
        struct buf line = {0};
        buf_printf(
            &line,
            "rule %s: its text takes too long to search for in this reply, which "
            "does not match then: %d %.*s",
            rule->name, v->code, (int)words.n, words.p);
        record_event(e->params->attempts, engine_wall_ms(e, engine_now_us()), v, &path,
                     buf_span(&line));
        buf_finish(&line);
    }
}

static const struct reaction_rule *find_rule(struct engine *e,
                                             const struct record_where *where,
                                             const struct verdict *v, struct span words)
{
    struct reaction_reply reply = {.code = v->code, .step = v->step, .text = words};
    if (!(where->flags & FLAG_RELAY)) { /* else they are a relay's own, whoever the mail
                                           is for */
        reply.host = where->mx_host;
        reply.domain = where->domain;
    }
    if (!e->reactions)
        return NULL;
    const struct reaction_rule *rule = reactions_find(e->reactions, &reply);
    tell_given_up(e, where, v, words);
    return rule;
}

static bool is_echo(struct engine *e, const struct reaction_rule *rule,
                    const void *whom, int64_t now)
{
    for (int i = 0; i < REACTED_KEPT; i++) {
        const struct reacted *r = &e->reacted[i];
        if (r->rule == rule && r->whom == whom && now < r->until_us)
            return true;
    }
    int64_t for_us = rule->for_ms * 1000; /* behind it the reply is a new one */
    e->reacted[e->reacted_at++ % REACTED_KEPT] =
        (struct reacted){rule, whom, now + (for_us < ECHO_US ? for_us : ECHO_US)};
    return false;
}

/* An event line: since when and until when, by which rule, after which words. */
static void tell(struct engine *e, const struct reaction_rule *rule,
                 const struct record_where *where, const struct verdict *v,
                 struct span words, int64_t now)
{
    struct record_where path = path_of(where);
    char until[RFC3339_MS_LEN];
    struct buf line = {0};
    time_rfc3339_ms(engine_wall_ms(e, now + rule->for_ms * 1000), until);
    buf_printf(&line, "%s until %.*s by rule %s: %.*s",
               rule->action == REACTION_SLOW ? "slowed down" : "suspended",
               RFC3339_MS_LEN, until, rule->name, (int)words.n, words.p);
    record_event(e->params->attempts, engine_wall_ms(e, now), v, &path,
                 buf_span(&line));
    buf_finish(&line);
}

static void restrain(struct engine *e, const struct reaction_rule *rule,
                     uint32_t connection, const struct record_where *where,
                     const struct verdict *v, struct span words)
{
    static const enum reach reaches[] = {
        [REACTION_PATH] = REACH_PATH,
        [REACTION_SITE] = REACH_SITE,
        [REACTION_SOURCE] = REACH_SOURCE,
    };
    struct suspension what = {.reach = reaches[rule->reach],
                              .slow = rule->action == REACTION_SLOW,
                              .for_us = rule->for_ms * 1000,
                              .connections = rule->connections};
    int64_t now = engine_now_us();
    if (is_echo(e, rule, scheduler_reached(e->scheduler, connection, &what), now))
        return;
    struct buf why = {0};
    reason_add(&why, rule->name, v->code, words, REASON_WORDS_MAX);
    what.why = buf_cstr(&why);
    scheduler_suspend(e->scheduler, connection, &what, now);
    buf_finish(&why);
    tell(e, rule, where, v, words, now);
}

/* The connection takes no more rows, whether the server closes it or not. */
static void leave(struct engine *e, uint32_t connection)
{
    struct lane *lane = &e->lanes[connection];
    lane->left = true;
    scheduler_ending(e->scheduler, connection);
    struct task *task = task_create(TASK_STOP);
    task->connection = connection;
    mailbox_post(&e->senders[lane->worker].worker.inbox, &task->mail);
}

/* A rule's own time for the row comes first, then what the server asks for. */
static int64_t wait_us(const struct reaction_rule *rule, const struct verdict *v,
                       int code, struct span words)
{
    if (v->outcome != OUTCOME_RETRY || !v->counted)
        return 0;
    if (rule && rule->action == REACTION_RETRY && rule->for_ms)
        return rule->for_ms * 1000;
    return code < 500 ? advice_wait_ms(words) * 1000 : 0;
}

int64_t react(struct engine *e, const struct event *event,
              const struct record_where *where, struct verdict *v)
{
    int code = v->code;
    if (code < REPLY_FIRST || code > REPLY_LAST)
        return 0;
    struct span words = event_text(event, EVENT_WORDS);
    const struct reaction_rule *rule = find_rule(e, where, v, words);
    if (rule && (rule->action == REACTION_SUSPEND || rule->action == REACTION_SLOW))
        restrain(e, rule, event->connection, where, v, words);
    if (rule)
        reaction_apply(rule, event->reused, v);
    if (rule && rule->action == REACTION_RECONNECT)
        leave(e, event->connection);
    bool waits = v->outcome == OUTCOME_RETRY && v->counted;
    if (waits && event->kind == EVENT_SETTLED && e->params->unmatched &&
        !(rule && reaction_is_special(rule)))
        unmatched_note(e->params->unmatched, code, words);
    return wait_us(rule, v, code, words);
}
