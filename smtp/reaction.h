/* Reaction rules: what a receiver says to people in its replies, made into what is to
 * be done: try later, fail, stop sending there for a while. Codes first, words second:
 * a title ("421 4.7.28"), then a text (PCRE2, searched in the cleaned reply whatever
 * the case), then where and when it was said. The first rule that matches wins. No I/O,
 * no clock. One thread holds a compiled list. Rules: docs/settings.md,
 * docs/codes.md 11. */
#ifndef SMTP_REACTION_H
#define SMTP_REACTION_H

#include "base/fault.h"
#include "smtp/verdict.h"

enum reaction_action {
    REACTION_RETRY,     /* tried later, whatever the code */
    REACTION_FAIL,      /* final */
    REACTION_SUSPEND,   /* retry, and nothing more is sent for a while */
    REACTION_SLOW,      /* retry, with half the connections and rates for a while */
    REACTION_RECONNECT, /* again at once on a new connection */
    REACTION_TREAT_AS,  /* as if the code had been another one */
};

enum reaction_reach { REACTION_PATH, REACTION_SITE, REACTION_SOURCE };

struct reaction_rule {
    /* A basic code ("421", "4xx"), an enhanced one ("4.7.28", "4.7.x"), or both. */
    const char *title;
    const char *text;  /* PCRE2; "" any */
    const char *stage; /* as the log has it: "wait-rcpt"; "" any */
    /* By one of these hosts or domains (base/pattern.h); none: by any. */
    const char *const *hosts, *const *domains;
    int hosts_n, domains_n;
    enum reaction_action action;
    int treat_as;              /* TREAT_AS: 400-599, or 850 */
    enum reaction_reach reach; /* SUSPEND, SLOW: what stands still */
    int64_t for_ms;            /* SUSPEND, SLOW: so long; RETRY: wait so long */
    uint32_t
        connections;  /* SUSPEND: begin with so many, add one at a time; 0: as before */
    bool shipped;     /* it came with the program */
    const char *name; /* for people: title and FILE:LINE */
};

enum {
    /* Of one rule and one reply: what a text of 512 bytes costs with any sane pattern
     * is a tenth of it. One that needs more does not match. */
    REACTION_STEPS_MAX = 20000,
    REACTION_HEAP_KB = 256,
};

struct reactions;

/* Rules and what they point to must outlive the list. NULL: *f (-7) says what is wrong
 * with rule *bad_out, and *key_out with which of its keys ("" for the title). */
struct reactions *reactions_create(const struct reaction_rule *rules, int n,
                                   int *bad_out, const char **key_out, struct fault *f);
void reactions_destroy(struct reactions *r); /* NULL is allowed */

struct reaction_reply {
    int code;
    const char *step;         /* as the log has it; "reply-end" is "wait-end" too */
    struct span text;         /* cleaned, with its enhanced code */
    struct span host, domain; /* who said it; of whose address; empty: not known */
};

/* NULL: none matches. */
const struct reaction_rule *reactions_find(struct reactions *r,
                                           const struct reaction_reply *reply);
/* A rule whose text needed more steps or memory than it may have, for one of the
 * replies so far. Each such rule once; NULL: no other. */
const struct reaction_rule *reactions_gave_up(struct reactions *r);
/* Could it match a reply by this host about this domain? */
bool reaction_concerns(const struct reaction_rule *rule, struct span host,
                       struct span domain);
/* Did somebody mean such replies: the user's own rule, or one of the program that names
 * hosts or domains? */
bool reaction_is_special(const struct reaction_rule *rule);

/* What the rule makes of a verdict on a reply. The code stays the server's, and what
 * the attempt was not counted for before stays uncounted. reused: the row was not the
 * first of its connection; only then RECONNECT costs it no attempt, so that it cannot
 * go round for ever. */
void reaction_apply(const struct reaction_rule *rule, bool reused, struct verdict *v);

/* Does the text name a code before its words ("4.7.28 …")? out: class, subject, detail;
 * any class, also one that contradicts the basic code (421 5.7.32 is seen). */
bool reaction_enhanced(struct span text, uint16_t out[3]);

#endif
