/* What belongs to a relay: the keys beside it must fit it, in every combination of
 * sections that may match a destination. */
#include <stdlib.h>
#include <strings.h>

#include "base/mem.h"
#include "conf/conf.h"
#include "conf/settings.h"

/* Sections that match together, and what becomes of them. */
struct combination {
    const struct conf *c;
    const int *rules;
    int n;
    struct conf_policy policy;
};

static int giver(const struct combination *k, int from, int key)
{
    return rules_giver(k->c, k->rules, k->n, from, &settings[key]);
}

static struct place place_of(const struct combination *k, int giver, int key)
{
    return rules_values(k->c, k->rules, k->n, giver)->given[key];
}

/* " (domain 'a.example', mx '*')"; nothing for policy { } alone. */
static void put_sections(struct buf *out, const struct combination *k)
{
    for (int i = 0; i < k->n; i++) {
        const struct conf_rule *r = &k->c->rules[k->rules[i]];
        buf_printf(out, "%s%s '%s'", i ? ", " : " (", r->mx ? "mx" : "domain",
                   r->pattern);
    }
    if (k->n)
        buf_add_char(out, ')');
}

/* At the strongest place that gives this key. */
static bool refuse(const struct combination *k, int key, struct fault *f,
                   const char *words)
{
    struct buf whose = {0};
    put_sections(&whose, k);
    place_fault(f, -7, place_of(k, giver(k, 0, key), key), "%s%s", words,
                buf_cstr(&whose));
    buf_finish(&whose);
    return false;
}

/* What another relay needs is not for this one: above all its password. */
static bool is_own(const struct combination *k, int key, bool matters, struct fault *f)
{
    int at = giver(k, 0, key), relay_at = giver(k, 0, SETTING_POLICY_relay);
    if (!matters || at <= relay_at)
        return true;
    int other = giver(k, at, SETTING_POLICY_relay);
    const char *relay = rules_values(k->c, k->rules, k->n, other)->policy.relay;
    if (!relay[0] || strcasecmp(relay, k->policy.relay) == 0)
        return true;
    struct place from = place_of(k, at, key);
    struct buf words = {0};
    buf_printf(&words, "relay = \"%s\" needs %s beside it: that at %s:%d is for \"%s\"",
               k->policy.relay, settings[key].name, from.file, from.line, relay);
    refuse(k, SETTING_POLICY_relay, f, buf_cstr(&words));
    buf_finish(&words);
    return false;
}

static bool all_own(const struct combination *k, struct fault *f)
{
    const struct conf_policy *p = &k->policy;
    bool user = p->relay_user[0] != '\0';
    bool clear = p->relay_tls == CONF_RELAY_TLS_NONE;
    return is_own(k, SETTING_POLICY_relay_user, user, f) &&
           is_own(k, SETTING_POLICY_relay_password_file,
                  user && p->relay_password_file[0], f) &&
           is_own(k, SETTING_POLICY_relay_tls, p->relay_tls != CONF_RELAY_TLS_STARTTLS,
                  f) &&
           is_own(k, SETTING_POLICY_relay_auth_clear,
                  user && clear && p->relay_auth_clear, f);
}

bool conf_relay_agrees(const struct conf *c, const int *rules, int n, struct fault *f)
{
    struct combination k = {.c = c, .rules = rules, .n = n};
    conf_policy_of(c, rules, n, &k.policy);
    const struct conf_policy *p = &k.policy;
    bool clear = p->relay_tls == CONF_RELAY_TLS_NONE;
    if (!p->relay[0])
        return true;
    if (!all_own(&k, f))
        return false;
    if (clear && p->tls == CONF_TLS_ENCRYPT)
        return refuse(&k, SETTING_POLICY_relay_tls, f,
                      "relay_tls = none: tls = encrypt forbids mail in clear");
    if (clear && p->tls == CONF_TLS_VERIFY)
        return refuse(&k, SETTING_POLICY_relay_tls, f,
                      "relay_tls = none: tls = verify forbids mail in clear");
    if (p->relay_user[0] && clear && !p->relay_auth_clear)
        return refuse(&k, SETTING_POLICY_relay_tls, f,
                      "relay_tls = none: the password would cross in clear, which "
                      "relay_auth_clear forbids");
    if (p->relay_user[0] && !p->relay_password_file[0])
        return refuse(&k, SETTING_POLICY_relay_user, f,
                      "relay_user: relay_password_file is not set");
    return true;
}

/* ---- every combination ---- */

enum {
    /* A contradiction has three at most: the relay, and two keys beside it. */
    SIDES = 3,
    /* More are not looked at: such settings were made by a program. What is wrong there
     * shows when it is met (conf_relay_agrees). */
    COMBINATIONS_MAX = 200000,
};

struct search {
    const struct conf *c;
    int *rules; /* those of a domain, then up to SIDES of hosts */
    int *mx;    /* sections mx that say anything of relays */
    int mx_n;
    int left;
};

static bool concerns(const struct conf *values)
{
    static const int keys[] = {SETTING_POLICY_relay,
                               SETTING_POLICY_relay_user,
                               SETTING_POLICY_relay_tls,
                               SETTING_POLICY_relay_password_file,
                               SETTING_POLICY_relay_auth_clear,
                               SETTING_POLICY_tls};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (values->given[keys[i]].line)
            return true;
    return false;
}

static bool check_hosts(struct search *s, int n, int from, int more, struct fault *f)
{
    for (int i = from; i < s->mx_n && s->left-- > 0; i++) {
        s->rules[n] = s->mx[i];
        if (!conf_relay_agrees(s->c, s->rules, n + 1, f))
            return false;
        if (more > 1 && !check_hosts(s, n + 1, i + 1, more - 1, f))
            return false;
    }
    return true;
}

/* Of a domain, or of "*." and all below it; "": of those without a section. */
static bool check_domain(struct search *s, const char *domain, struct fault *f)
{
    int n = conf_match(s->c, span_of(domain), (struct span){0}, s->rules);
    if (conf_relay(s->c, s->rules, n)[0])
        return conf_relay_agrees(s->c, s->rules, n, f);
    return check_hosts(s, n, 0, SIDES, f);
}

/* With a relay for all its MX is not asked, so an mx section comes too late. */
static bool comes_too_late(const struct conf *c, const struct conf_rule *r,
                           struct fault *f)
{
    struct place at = r->values->given[SETTING_POLICY_relay];
    if (!at.line || !c->policy.relay[0])
        return false;
    struct place all = c->given[SETTING_POLICY_relay];
    place_fault(f, -7, at,
                "relay in a section mx can never hold: with that at %s:%d for all mail "
                "no MX is asked; domain sections can take mail out of it",
                all.file, all.line);
    return true;
}

static bool gives_relay(const struct conf_rule *r)
{
    const char *relay = r->values->policy.relay;
    return relay && relay[0];
}

bool relays_check(const struct conf *c, struct fault *f)
{
    struct search s = {.c = c, .left = COMBINATIONS_MAX};
    bool good = true, any = false;
    s.rules = mem_zero((size_t)c->rules_n + SIDES, sizeof *s.rules);
    s.mx = mem_zero((size_t)c->rules_n + 1, sizeof *s.mx);
    for (int i = 0; good && i < c->rules_n; i++) {
        const struct conf_rule *r = &c->rules[i];
        good = !r->mx || !comes_too_late(c, r, f);
        any = any || (r->mx && gives_relay(r));
        if (r->mx && concerns(r->values))
            s.mx[s.mx_n++] = i;
    }
    if (!any)
        s.mx_n = 0;
    good = good && check_domain(&s, "", f);
    for (int i = 0; good && i < c->rules_n; i++)
        if (!c->rules[i].mx && concerns(c->rules[i].values))
            good = check_domain(&s, c->rules[i].pattern, f);
    free(s.rules);
    free(s.mx);
    return good;
}
