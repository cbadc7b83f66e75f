/* The sections domain and mx: which of them match a destination, and what they make of
 * its policy. */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pattern.h"
#include "conf/conf.h"
#include "conf/settings.h"

static bool matches_host(const char *pattern, struct span hosts)
{
    while (hosts.n) {
        const char *comma = memchr(hosts.p, ',', hosts.n);
        size_t n = comma ? (size_t)(comma - hosts.p) : hosts.n;
        if (pattern_is_host(pattern, (struct span){hosts.p, n}))
            return true;
        n += comma != NULL;
        hosts = (struct span){hosts.p + n, hosts.n - n};
    }
    return false;
}

/* Does it come before that one? Both are of domains, and match the same one. */
static bool stronger(const struct conf_rule *a, const struct conf_rule *b)
{
    bool whole_a = a->pattern[0] != '*', whole_b = b->pattern[0] != '*';
    if (whole_a != whole_b)
        return whole_a;
    return strlen(a->pattern) > strlen(b->pattern);
}

int conf_match(const struct conf *c, struct span domain, struct span hosts, int *out)
{
    int n = 0;
    for (int i = 0; i < c->rules_n; i++) {
        if (c->rules[i].mx || !pattern_is_domain(c->rules[i].pattern, domain))
            continue;
        int at = n++;
        for (; at > 0 && stronger(&c->rules[i], &c->rules[out[at - 1]]); at--)
            out[at] = out[at - 1];
        out[at] = i;
    }
    if (hosts.n == 0 || conf_relay(c, out, n)[0])
        return n;
    for (int i = 0; i < c->rules_n; i++)
        if (c->rules[i].mx && matches_host(c->rules[i].pattern, hosts))
            out[n++] = i;
    return n;
}

int rules_giver(const struct conf *c, const int *rules, int n, int from,
                const struct setting *s)
{
    while (from < n && !c->rules[rules[from]].values->given[s - settings].line)
        from++;
    return from;
}

const struct conf *rules_values(const struct conf *c, const int *rules, int n, int i)
{
    return i < n ? c->rules[rules[i]].values : c;
}

static const struct conf *giver(const struct conf *c, const int *rules, int n,
                                const struct setting *s)
{
    return rules_values(c, rules, n, rules_giver(c, rules, n, 0, s));
}

const char *conf_relay(const struct conf *c, const int *rules, int n)
{
    return giver(c, rules, n, &settings[SETTING_POLICY_relay])->policy.relay;
}

/* A relay is one's own: nobody else's patience is to be spared by a default. */
static bool has_no_rate(const char *relay, const struct setting *s,
                        const struct conf *giver)
{
    return relay[0] && s == &settings[SETTING_POLICY_connection_rate] &&
           giver->given[s - settings].line == 0;
}

/* Of destinations together; the last one is for a budget alone. */
static const int limits[] = {
    [CONF_LIMIT_CONNECTIONS] = SETTING_POLICY_connections,
    [CONF_LIMIT_MESSAGE_RATE] = SETTING_POLICY_message_rate,
    [CONF_LIMIT_CONNECTION_RATE] = SETTING_POLICY_connection_rate,
    [CONF_LIMITS] = SETTING_POLICY_unknown_limit,
};
enum { LIMITS_N = sizeof limits / sizeof limits[0] };

static const struct place *given_at(const struct conf *c, int rule, unsigned limit)
{
    const struct place *at = &c->rules[rule].values->given[limits[limit]];
    return at->line ? at : NULL;
}

static bool gives(const struct conf *c, int rule, unsigned limits_n)
{
    for (unsigned i = 0; i < limits_n; i++)
        if (given_at(c, rule, i))
            return true;
    return false;
}

int conf_budget(const struct conf *c, const int *rules, int n)
{
    for (int i = 0; i < n; i++)
        if (gives(c, rules[i], LIMITS_N))
            return rules[i];
    return -1;
}

/* Can some destination be matched by both, and by `a` more strongly? */
static bool may_precede(const struct conf *c, int a, int b)
{
    const struct conf_rule *x = &c->rules[a], *y = &c->rules[b];
    if (y->mx)
        return !x->mx || a < b;
    return !x->mx && y->pattern[0] == '*' && a != b &&
           pattern_is_domain(y->pattern,
                             span_of(x->pattern + 2 * (x->pattern[0] == '*')));
}

/* Are there destinations with another's budget that this one's limits bound too? */
static bool may_bound(const struct conf *c, int rule)
{
    for (int i = 0; i < c->rules_n; i++)
        if (gives(c, i, LIMITS_N) && may_precede(c, i, rule))
            return true;
    return false;
}

int conf_outer(const struct conf *c, const int *rules, int n, int *out)
{
    int budget = conf_budget(c, rules, n), found = 0;
    for (int i = 0; i < n; i++)
        if (gives(c, rules[i], CONF_LIMITS) &&
            (rules[i] != budget || may_bound(c, budget)))
            out[found++] = rules[i];
    return found;
}

int64_t conf_limit(const struct conf *c, int rule, enum conf_limit limit)
{
    const struct conf_policy *p = &c->rules[rule].values->policy;
    const int64_t values[] = {p->connections, p->message_rate, p->connection_rate};
    return given_at(c, rule, limit) ? values[limit] : 0;
}

int conf_tighter(const struct conf *c, const int *rules, int n, int i,
                 enum conf_limit limit)
{
    int64_t own = conf_limit(c, rules[i], limit);
    for (int k = i + 1; k < n && given_at(c, rules[i], limit); k++) {
        int64_t other = conf_limit(c, rules[k], limit);
        if (other && (own == 0 || other < own))
            return rules[k];
    }
    return -1;
}

static void put_limit(struct buf *out, const struct conf *c, int rule,
                      enum conf_limit limit)
{
    const struct setting *s = &settings[limits[limit]];
    buf_printf(out, "%s '%s' { %s = ", c->rules[rule].mx ? "mx" : "domain",
               c->rules[rule].pattern, s->name);
    value_put(out, s, c->rules[rule].values);
    buf_add_str(out, " }");
}

void conf_print_tighter(struct buf *out, const struct conf *c, int rule, int tighter,
                        enum conf_limit limit)
{
    const struct place *at = given_at(c, rule, limit);
    buf_printf(out, "%s:%d: ", at->file, at->line);
    put_limit(out, c, rule, limit);
    buf_add_str(out, " is never reached, for ");
    put_limit(out, c, tighter, limit);
    buf_add_str(out, " holds for all that it matches");
}

const struct hours *conf_rule_hours(const struct conf *c, int rule)
{
    const struct conf *values = c->rules[rule].values;
    return values->given[SETTING_POLICY_quiet_hours].line ? &values->policy.quiet_hours
                                                          : NULL;
}

void conf_policy_now(const struct conf *c, const struct conf *begun, const int *rules,
                     int n, struct conf_policy *out)
{
    *out = c->policy;
    for (const struct setting *s = settings; s < settings + SETTING_COUNT; s++) {
        if (!setting_is_policy(s))
            continue;
        const struct conf *from = giver(setting_stays(s) ? begun : c, rules, n, s);
        memcpy((char *)out + (s->offset - offsetof(struct conf, policy)),
               (const char *)from + s->offset, s->size);
        if (has_no_rate(conf_relay(begun, rules, n), s, from))
            out->connection_rate = 0;
    }
}

void conf_policy_of(const struct conf *c, const int *rules, int n,
                    struct conf_policy *out)
{
    conf_policy_now(c, c, rules, n, out);
}

bool conf_place(struct buf *out, const struct conf *from, const char *key)
{
    const struct setting *s = setting_find(SECTION_POLICY, span_of(key));
    assert(s);
    const struct place *at = &from->given[s - settings];
    if (at->line)
        buf_printf(out, "%s:%d", at->file, at->line);
    return at->line > 0;
}

void conf_explain(struct buf *out, const struct conf *c, const int *rules, int n)
{
    for (const struct setting *s = settings; s < settings + SETTING_COUNT; s++) {
        if (!setting_is_policy(s))
            continue;
        const struct conf *from = giver(c, rules, n, s);
        const struct place *at = &from->given[s - settings];
        buf_printf(out, "%s%s\t", s->section == SECTION_TIMEOUT ? "timeout." : "",
                   s->name);
        if (has_no_rate(conf_relay(c, rules, n), s, from))
            buf_add_str(out, "'0'");
        else
            value_put(out, s, from);
        if (at->line)
            buf_printf(out, "\t%s:%d\n", at->file, at->line);
        else
            buf_add_str(out, "\tdefault\n");
    }
}

static bool shares(const struct conf *values, struct buf *place)
{
    const struct place *at = &values->given[SETTING_POLICY_recipients_per_message];
    if (!at->line || values->policy.recipients_per_message == 1)
        return false;
    buf_printf(place, "%s:%d", at->file, at->line);
    return true;
}

bool conf_shares_messages(const struct conf *c, struct buf *place)
{
    bool found = shares(c, place);
    for (int i = 0; i < c->rules_n && !found; i++)
        found = shares(c->rules[i].values, place);
    return found;
}

/* ---- what a running job does not take ---- */

enum { NOT_TAKEN_SHOWN = 20 };

static bool same_value(const struct setting *s, const struct conf *a,
                       const struct conf *b)
{
    struct buf x = {0}, y = {0};
    value_put(&x, s, a);
    value_put(&y, s, b);
    bool same = span_equal(buf_span(&x), buf_span(&y));
    buf_finish(&x);
    buf_finish(&y);
    return same;
}

/* rule: the section that c stands for; NULL: none. */
static void put_not_taken(struct buf *out, const struct setting *s,
                          const struct conf_rule *rule, const struct conf *c)
{
    const struct place *at = &c->given[s - settings];
    buf_add_str(out, out->n ? ", " : "");
    if (rule)
        buf_printf(out, "%s '%s': %s", rule->mx ? "mx" : "domain", rule->pattern,
                   s->name);
    else
        setting_full_name(out, s);
    if (at->line)
        buf_printf(out, " (%s:%d)", at->file, at->line);
    else
        buf_add_str(out, " (not given now)");
}

int conf_not_taken(struct buf *out, const struct conf *begun, const struct conf *c)
{
    int n = 0;
    for (const struct setting *s = settings; s < settings + SETTING_COUNT; s++) {
        if (!setting_stays(s))
            continue;
        if (!same_value(s, begun, c) && n++ < NOT_TAKEN_SHOWN)
            put_not_taken(out, s, NULL, c);
        for (int i = 0; setting_is_policy(s) && i < c->rules_n; i++) {
            const struct conf *was = begun->rules[i].values, *is = c->rules[i].values;
            bool gave = was->given[s - settings].line > 0;
            bool gives = is->given[s - settings].line > 0;
            bool same = gave == gives && (!gives || same_value(s, was, is));
            if (!same && n++ < NOT_TAKEN_SHOWN)
                put_not_taken(out, s, &c->rules[i], is);
        }
    }
    if (n > NOT_TAKEN_SHOWN)
        buf_printf(out, " and %d more", n - NOT_TAKEN_SHOWN);
    return n;
}

bool conf_same_rules(const struct conf *a, const struct conf *b)
{
    if (a->rules_n != b->rules_n)
        return false;
    for (int i = 0; i < a->rules_n; i++)
        if (a->rules[i].mx != b->rules[i].mx ||
            strcmp(a->rules[i].pattern, b->rules[i].pattern) != 0)
            return false;
    return true;
}
