#include "cli/replies.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { PAUSE_MS = 10 * 60 * 1000 }; /* of suspend and slow when `for` is 0 */

static struct reaction_rule make_rule(const struct conf_reply *from,
                                      struct arena *names)
{
    static const enum reaction_action actions[] = {
        [CONF_ACTION_RETRY] = REACTION_RETRY,
        [CONF_ACTION_FAIL] = REACTION_FAIL,
        [CONF_ACTION_SUSPEND] = REACTION_SUSPEND,
        [CONF_ACTION_SLOW] = REACTION_SLOW,
        [CONF_ACTION_RECONNECT] = REACTION_RECONNECT,
        [CONF_ACTION_TREAT_AS] = REACTION_TREAT_AS,
    };
    static const enum reaction_reach reaches[] = {
        [CONF_SCOPE_AUTO] = REACTION_PATH,     [CONF_SCOPE_RCPT] = REACTION_PATH,
        [CONF_SCOPE_PATH] = REACTION_PATH,     [CONF_SCOPE_SITE] = REACTION_SITE,
        [CONF_SCOPE_SOURCE] = REACTION_SOURCE,
    };
    const struct conf_reaction *values = &from->values->reply;
    struct buf name = {0};
    buf_printf(&name, "%s (%s)", from->title, from->place);
    struct reaction_rule rule = {
        .title = from->title,
        .text = values->text,
        .stage = values->stage,
        .hosts = (const char *const *)values->mx.items,
        .hosts_n = values->mx.n,
        .domains = (const char *const *)values->domains.items,
        .domains_n = values->domains.n,
        .action = actions[values->action.word],
        .treat_as = values->action.code,
        .reach = reaches[values->scope],
        .for_ms = values->pause,
        .connections = (uint32_t)values->connections,
        .shipped = from->shipped,
        .name = arena_strndup(names, buf_cstr(&name), name.n),
    };
    buf_finish(&name);
    bool about_us = rule.action == REACTION_SUSPEND || rule.action == REACTION_SLOW;
    if (about_us && rule.for_ms == 0)
        rule.for_ms = PAUSE_MS;
    if (about_us && values->scope == CONF_SCOPE_RCPT)
        rule.action = REACTION_RETRY;
    return rule;
}

bool replies_open(struct replies *r, const struct conf *conf, struct fault *f)
{
    *r = (struct replies){0};
    r->rules = mem_zero((size_t)conf->replies_n, sizeof *r->rules);
    for (int i = 0; i < conf->replies_n; i++)
        r->rules[i] = make_rule(&conf->replies[i], &r->names);
    struct fault why = {0};
    const char *key;
    int bad;
    r->compiled = reactions_create(r->rules, conf->replies_n, &bad, &key, &why);
    if (r->compiled)
        return true;
    struct buf place = {0};
    conf_reply_place(&place, &conf->replies[bad], key);
    fault_set(f, why.code, "%s: ", buf_cstr(&place));
    size_t n = strlen(f->words); /* the other words are clean: not once more */
    snprintf(f->words + n, sizeof f->words - n, "%s", why.words);
    buf_finish(&place);
    replies_close(r);
    return false;
}

void replies_close(struct replies *r)
{
    reactions_destroy(r->compiled);
    free(r->rules);
    arena_finish(&r->names);
    *r = (struct replies){0};
}
