#define PCRE2_CODE_UNIT_WIDTH 8
#include "smtp/reaction.h"

#include <assert.h>
#include <pcre2.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pattern.h"

enum { ANY = -1, BASIC_DIGITS = 3, ENHANCED_PARTS = 3, PART_MAX = 999 };

struct title {
    int8_t basic[BASIC_DIGITS]; /* ANY: an x */
    int16_t enhanced[ENHANCED_PARTS];
    bool has_enhanced;
};

struct compiled {
    const struct reaction_rule *rule;
    struct title title;
    pcre2_code *text; /* NULL: any */
    bool gave_up;     /* it did, and nobody was told yet */
    bool told;
};

struct reactions {
    struct compiled *rules;
    int n;
    pcre2_match_data *match;
    pcre2_match_context *limits;
};

/* ---- titles ---- */

/* A whole number of at most three digits in front of the rest. */
static bool take_number(struct span *rest, int *out)
{
    size_t n = 0;
    int v = 0;
    for (; n < rest->n && n <= 3 && rest->p[n] >= '0' && rest->p[n] <= '9'; n++)
        v = v * 10 + (rest->p[n] - '0');
    if (n == 0 || n > 3)
        return false;
    *rest = (struct span){rest->p + n, rest->n - n};
    *out = v;
    return true;
}

/* "4.7.28"; with wild, x for any number. */
static bool take_enhanced(struct span *rest, bool wild, int16_t out[ENHANCED_PARTS])
{
    struct span at = *rest;
    for (int i = 0; i < ENHANCED_PARTS; i++) {
        if (i > 0) {
            if (at.n == 0 || at.p[0] != '.')
                return false;
            at = (struct span){at.p + 1, at.n - 1};
        }
        int v = ANY;
        if (wild && at.n && (at.p[0] == 'x' || at.p[0] == 'X'))
            at = (struct span){at.p + 1, at.n - 1};
        else if (!take_number(&at, &v))
            return false;
        out[i] = (int16_t)v;
    }
    if (at.n && at.p[0] != ' ')
        return false;
    *rest = at;
    return true;
}

static bool take_basic(struct span *rest, int8_t out[BASIC_DIGITS])
{
    if (rest->n < BASIC_DIGITS || (rest->n > BASIC_DIGITS && rest->p[3] != ' '))
        return false;
    for (int i = 0; i < BASIC_DIGITS; i++) {
        char c = rest->p[i];
        if (c != 'x' && c != 'X' && (c < '0' || c > '9'))
            return false;
        out[i] = (int8_t)(c == 'x' || c == 'X' ? ANY : c - '0');
    }
    *rest = (struct span){rest->p + BASIC_DIGITS, rest->n - BASIC_DIGITS};
    return out[0] == 4 || out[0] == 5; /* no rule is about success */
}

static bool title_parse(const char *text, struct title *out)
{
    struct span rest = span_of(text);
    *out = (struct title){.basic = {ANY, ANY, ANY}};
    out->has_enhanced = take_enhanced(&rest, true, out->enhanced);
    if (!out->has_enhanced) {
        if (!take_basic(&rest, out->basic))
            return false;
        if (rest.n) {
            rest = (struct span){rest.p + 1, rest.n - 1};
            out->has_enhanced = take_enhanced(&rest, true, out->enhanced);
            if (!out->has_enhanced)
                return false;
        }
    }
    return rest.n == 0 && (!out->has_enhanced || out->enhanced[0] == 4 ||
                           out->enhanced[0] == 5 || out->basic[0] != ANY);
}

bool reaction_enhanced(struct span text, uint16_t out[3])
{
    int16_t parts[ENHANCED_PARTS];
    if (!take_enhanced(&text, false, parts) || (parts[0] != 4 && parts[0] != 5))
        return false;
    for (int i = 0; i < ENHANCED_PARTS; i++)
        out[i] = (uint16_t)parts[i];
    return true;
}

static bool title_matches(const struct title *t, int code, const uint16_t *enhanced)
{
    int digits[BASIC_DIGITS] = {code / 100, code / 10 % 10, code % 10};
    for (int i = 0; i < BASIC_DIGITS; i++)
        if (t->basic[i] != ANY && t->basic[i] != digits[i])
            return false;
    if (!t->has_enhanced)
        return true;
    for (int i = 0; i < ENHANCED_PARTS; i++)
        if (!enhanced || (t->enhanced[i] != ANY && t->enhanced[i] != enhanced[i]))
            return false;
    return true;
}

/* ---- compiling ---- */

/* Those before QUIT: when that is answered all is decided. */
static bool stage_known(const char *stage)
{
    for (int i = 0; i < SMTP_QUIT; i++)
        if (strcmp(smtp_stages[i].waiting, stage) == 0)
            return true;
    return stage[0] == '\0';
}

/* "wait-opening, wait-helo …", each once. */
static void put_stages(struct buf *out)
{
    const char *last = "";
    for (int i = 0; i < SMTP_QUIT; last = smtp_stages[i++].waiting)
        if (strcmp(smtp_stages[i].waiting, last) != 0)
            buf_printf(out, "%s%s", out->n ? ", " : "", smtp_stages[i].waiting);
}

static bool stage_fault(const char *stage, struct fault *f)
{
    struct buf known = {0};
    put_stages(&known);
    fault_set(f, -7, "reply.stage must be one of %s, not \"%s\"", buf_cstr(&known),
              stage);
    buf_finish(&known);
    return false;
}

static bool text_compile(const char *text, pcre2_code **out, struct fault *f)
{
    int error;
    size_t at;
    if (!text[0])
        return true;
    /* Bytes, not characters: what a receiver sends need not be UTF-8. */
    *out = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_CASELESS,
                         &error, &at, NULL);
    if (*out)
        return true;
    if (error == PCRE2_ERROR_HEAP_FAILED)
        die_oom();
    PCRE2_UCHAR words[160];
    pcre2_get_error_message(error, words, sizeof words);
    return fault_set(f, -7, "reply.text: %s at offset %zu of \"%s\"",
                     (const char *)words, at, text);
}

static bool rule_compile(struct compiled *c, const char **key, struct fault *f)
{
    const struct reaction_rule *rule = c->rule;
    *key = "";
    if (!title_parse(rule->title, &c->title))
        return fault_set(f, -7,
                         "reply must be a code such as \"421\", \"4xx\", \"4.7.28\", "
                         "\"4.7.x\" or \"550 5.7.1\", not \"%s\"",
                         rule->title);
    *key = "stage";
    if (!stage_known(rule->stage))
        return stage_fault(rule->stage, f);
    *key = "text";
    return text_compile(rule->text, &c->text, f);
}

struct reactions *reactions_create(const struct reaction_rule *rules, int n,
                                   int *bad_out, const char **key_out, struct fault *f)
{
    struct reactions *r = mem_zero(1, sizeof *r);
    r->rules = mem_zero((size_t)n, sizeof *r->rules);
    r->match = pcre2_match_data_create(1, NULL);
    r->limits = pcre2_match_context_create(NULL);
    if (!r->match || !r->limits)
        die_oom();
    pcre2_set_match_limit(r->limits, REACTION_STEPS_MAX);
    pcre2_set_heap_limit(r->limits, REACTION_HEAP_KB);
    for (; r->n < n; r->n++) {
        struct compiled *c = &r->rules[r->n];
        c->rule = &rules[r->n];
        if (!rule_compile(c, key_out, f)) {
            *bad_out = r->n;
            reactions_destroy(r);
            return NULL;
        }
    }
    return r;
}

void reactions_destroy(struct reactions *r)
{
    if (!r)
        return;
    for (int i = 0; i < r->n; i++)
        pcre2_code_free(r->rules[i].text);
    pcre2_match_data_free(r->match);
    pcre2_match_context_free(r->limits);
    free(r->rules);
    free(r);
}

/* ---- matching ---- */

bool reaction_concerns(const struct reaction_rule *rule, struct span host,
                       struct span domain)
{
    bool by_host = rule->hosts_n == 0, by_domain = rule->domains_n == 0;
    for (int i = 0; !by_host && i < rule->hosts_n; i++)
        by_host = host.n && pattern_is_host(rule->hosts[i], host);
    for (int i = 0; !by_domain && i < rule->domains_n; i++)
        by_domain = pattern_is_domain(rule->domains[i], domain);
    return by_host && by_domain;
}

bool reaction_is_special(const struct reaction_rule *rule)
{
    return !rule->shipped || rule->hosts_n || rule->domains_n;
}

static bool at_stage(const char *wanted, const char *step)
{
    if (!wanted[0] || strcmp(wanted, step) == 0)
        return true;
    return strcmp(step, "reply-end") == 0 && strcmp(wanted, "wait-end") == 0;
}

/* Out of steps or memory is no match: the reply decides as if there were no rule. */
static bool has_text(struct reactions *r, struct compiled *c, struct span reply)
{
    if (!c->text)
        return true;
    int found = pcre2_match(c->text, (PCRE2_SPTR)(reply.n ? reply.p : ""), reply.n, 0,
                            0, r->match, r->limits);
    c->gave_up |= found < PCRE2_ERROR_NOMATCH && !c->told;
    return found >= 0;
}

const struct reaction_rule *reactions_find(struct reactions *r,
                                           const struct reaction_reply *reply)
{
    uint16_t enhanced[3];
    bool has = reaction_enhanced(reply->text, enhanced);
    for (int i = 0; i < r->n; i++) {
        struct compiled *c = &r->rules[i];
        if (title_matches(&c->title, reply->code, has ? enhanced : NULL) &&
            at_stage(c->rule->stage, reply->step) &&
            reaction_concerns(c->rule, reply->host, reply->domain) &&
            has_text(r, c, reply->text))
            return c->rule;
    }
    return NULL;
}

const struct reaction_rule *reactions_gave_up(struct reactions *r)
{
    for (int i = 0; i < r->n; i++) {
        struct compiled *c = &r->rules[i];
        if (c->gave_up) {
            c->gave_up = false;
            c->told = true;
            return c->rule;
        }
    }
    return NULL;
}

/* ---- what it makes of a verdict ---- */

static void try_later(struct verdict *v)
{
    v->outcome = OUTCOME_RETRY;
    v->about_us = false; /* known trouble with a known cure is no storm */
}

void reaction_apply(const struct reaction_rule *rule, bool reused, struct verdict *v)
{
    if (!v->counted) /* another connection, at once: nothing is decided yet */
        return;
    v->generic = false;
    switch (rule->action) {
    case REACTION_RETRY:
        try_later(v);
        break;
    case REACTION_FAIL:
        v->outcome = OUTCOME_ERROR;
        break;
    case REACTION_SUSPEND: /* it stays bad news about us */
    case REACTION_SLOW:
        v->outcome = OUTCOME_RETRY;
        break;
    case REACTION_RECONNECT:
        try_later(v);
        v->counted = !reused;
        break;
    case REACTION_TREAT_AS:
        verdict_treat_as(v, rule->treat_as);
        if (v->outcome == OUTCOME_RETRY)
            try_later(v);
        break;
    }
}
