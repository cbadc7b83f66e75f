/* What the reply rules make of a reply: of the row that got it, of its connection, and
 * of the path that it came by. */
#include "engine/inside.h"
#include "smtp/advice.h"

enum { REPLY_FIRST = 400, REPLY_LAST = 599 };

static const struct reaction_rule *find_rule(const struct engine *e,
                                             const struct record_where *where,
                                             const struct verdict *v, struct span words)
{
    struct reaction_reply reply = {.code = v->code, .step = v->step, .text = words};
    if (!e->params->relay) { /* its replies are its own, whoever the mail is for */
        reply.host = where->mx_host;
        reply.domain = where->domain;
    }
    return e->reactions ? reactions_find(e->reactions, &reply) : NULL;
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
