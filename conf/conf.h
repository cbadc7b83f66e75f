/* The settings: hikyaku.conf (libConfuse grammar) made into one immutable struct. One
 * table (conf/settings.def) makes struct members, parser, defaults, docs/settings.md
 * and the writer. confuse.h is included in conf/ only; conf.h in engine/ and cli/ only:
 * the other rooms take small params structs.
 *
 * Load in one thread at start (libConfuse has one lexer a process); afterwards any
 * thread may read. */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"
#include "base/when.h"

struct conf_strings { /* a list of strings */
    char **items;
    int n;
};

struct conf_durations { /* a list of durations in ms */
    int64_t *ms;
    int n;
};

struct conf_numbers { /* a list of numbers */
    int64_t *items;
    int n;
};

enum conf_pipelining {
    CONF_PIPELINING_AUTO,
    CONF_PIPELINING_GROUP,
    CONF_PIPELINING_OFF
};

enum conf_chunking { CONF_CHUNKING_AUTO, CONF_CHUNKING_OFF };

enum conf_tls { CONF_TLS_NONE, CONF_TLS_MAY, CONF_TLS_ENCRYPT, CONF_TLS_VERIFY };

enum conf_tls_version {
    CONF_TLS_VERSION_1_0,
    CONF_TLS_VERSION_1_1,
    CONF_TLS_VERSION_1_2,
    CONF_TLS_VERSION_1_3
};

enum conf_relay_tls {
    CONF_RELAY_TLS_STARTTLS,
    CONF_RELAY_TLS_IMPLICIT,
    CONF_RELAY_TLS_NONE
};

enum conf_end_timeout {
    CONF_END_TIMEOUT_RETRY,
    CONF_END_TIMEOUT_ASSUME,
    CONF_END_TIMEOUT_FAIL
};

enum conf_scope {
    CONF_SCOPE_AUTO,
    CONF_SCOPE_RCPT,
    CONF_SCOPE_PATH,
    CONF_SCOPE_SITE,
    CONF_SCOPE_SOURCE
};

enum conf_action_word {
    CONF_ACTION_RETRY,
    CONF_ACTION_FAIL,
    CONF_ACTION_SUSPEND,
    CONF_ACTION_SLOW,
    CONF_ACTION_RECONNECT,
    CONF_ACTION_TREAT_AS
};

struct conf_action {
    enum conf_action_word word;
    int code; /* of TREAT_AS */
};

/* What a kind of setting is in a struct. A string is never NULL. */
#define CONF_TYPE_HOSTNAME    char *
#define CONF_TYPE_PATH        char * /* absolute */
#define CONF_TYPE_TEXT        char *
#define CONF_TYPE_ADDRESS     char * /* IPv4 or IPv6 */
#define CONF_TYPE_NUMBER      int64_t
#define CONF_TYPE_WORKERS     int64_t
#define CONF_TYPE_DURATION    int64_t /* ms */
#define CONF_TYPE_RATE        int64_t /* an hour; 0: no limit */
#define CONF_TYPE_YESNO       bool
#define CONF_TYPE_HOURS       struct hours
#define CONF_TYPE_DATE        char * /* "2026-11-20": day_parse likes it */
#define CONF_TYPE_FILE        char * /* absolute, or "" */
#define CONF_TYPE_RELAY       char * /* "host:port", or "" */
#define CONF_TYPE_PIPELINING  enum conf_pipelining
#define CONF_TYPE_CHUNKING    enum conf_chunking
#define CONF_TYPE_TLS         enum conf_tls
#define CONF_TYPE_TLS_VERSION enum conf_tls_version
#define CONF_TYPE_RELAY_TLS   enum conf_relay_tls
#define CONF_TYPE_END_TIMEOUT enum conf_end_timeout
#define CONF_TYPE_ACTION      struct conf_action
#define CONF_TYPE_SCOPE       enum conf_scope
#define CONF_TYPE_MX_HOSTS    struct conf_strings   /* patterns, lower case */
#define CONF_TYPE_DOMAINS     struct conf_strings   /* the same, A-labels */
#define CONF_TYPE_SERVERS     struct conf_strings   /* none: those of resolv.conf */
#define CONF_TYPE_NETWORKS    struct conf_strings   /* words and networks, or none */
#define CONF_TYPE_NAMES       struct conf_strings   /* at least one */
#define CONF_TYPE_DURATIONS   struct conf_durations /* at least one; the last repeats */
#define CONF_TYPE_NUMBERS     struct conf_numbers   /* at least one */

/* The members are the names of the table, in its order. */
#define MEMBER(name, kind, ...) CONF_TYPE_##kind name;

struct conf_resolver { /* servers, timeout … */
#define RESOLVER MEMBER
#include "conf/settings.def"
};

struct conf_storm { /* window, min … */
#define STORM MEMBER
#include "conf/settings.def"
};

struct conf_timeout { /* connect, greeting … */
#define TIMEOUT MEMBER
#include "conf/settings.def"
};

struct conf_policy { /* retry_interval, lifetime … */
#define POLICY MEMBER
#include "conf/settings.def"
    struct conf_timeout timeout;
};

struct conf_reaction { /* text, mx, domains … */
#define REPLY(name, member, kind, ...) CONF_TYPE_##kind member;
#include "conf/settings.def"
};

struct conf_source { /* address, hostname */
#define SOURCE MEMBER
#include "conf/settings.def"
};

struct conf_pool { /* sources */
#define POOL MEMBER
#include "conf/settings.def"
};

struct conf_warmup { /* start, caps */
#define WARMUP MEMBER
#include "conf/settings.def"
};

/* The job { } section: written into SPOOL/JOB/job.conf, never accepted in a user's
 * file: there id is "" and all else empty, 0 or false. first_row and last_row 0: all
 * rows. */
struct conf_job {
#define JOB MEMBER
#include "conf/settings.def"
};

struct conf { /* hostname, spool … */
#define TOP MEMBER
#include "conf/settings.def"
    struct conf_resolver resolver;
    struct conf_storm storm;
    struct conf_policy policy;
    struct conf_job job;
    struct conf_reaction reply; /* of a struct conf_reply's values; here the defaults */
    struct conf_rule *rules;    /* in the order of the files */
    int rules_n;
    struct conf_reply *replies; /* likewise, and behind them those of the program */
    int replies_n;
    struct conf_named *sources, *pools, *warmups; /* in the order of the files */
    int sources_n, pools_n, warmups_n;
    struct conf_source source; /* of a struct conf_named's values; here zero */
    struct conf_pool pool;     /* the same */
    struct conf_warmup warmup; /* the same */
    struct place *given;       /* where each setting stands; conf/'s own */
    struct arena names;        /* of files, for the places */
};
#undef MEMBER

/* A section domain "…" { } or mx "…" { }: what some destinations are treated by. */
struct conf_rule {
    bool mx;
    char *pattern;       /* lower case, A-labels; of a domain: "name" or "*.name" */
    struct conf *values; /* what it gives stands in values->policy, and nothing else */
};

/* A section reply "…" { }. */
struct conf_reply {
    char *title;
    char *place;         /* "FILE:LINE" */
    bool shipped;        /* it came with the program: receivers.conf */
    struct conf *values; /* in values->reply, all keys */
};

/* A section source "…" { }, pool "…" { } or warmup "…" { }. No two of a kind have the
 * same name. */
struct conf_named {
    char *name;
    struct conf *values; /* it stands in values->source, ->pool or ->warmup alone */
    const char *file;    /* where it stands; as long as the settings live */
    int line;
};
enum { CONF_SOURCES_MAX = 255 };

/* Read a settings file. path NULL: all defaults. A job { } section is allowed only with
 * `is_job`. On failure NULL and *f: -4 cannot be opened, -5 cannot be read or parsed,
 * -6 unknown keyword (with the nearest known one), -7 bad value. The words begin
 * "FILE:LINE: ", or "FILE: " where no line is at fault (the file itself, a default of
 * this machine). Relative paths in the file become absolute, relative to the folder of
 * the file that they stand in. May ask the DNS for the machine's full name, a few
 * seconds at most, if the hostname is not set and the system's name has no dot. */
struct conf *conf_load(const char *path, bool is_job, struct fault *f);
void conf_free(struct conf *c); /* NULL is allowed */

/* The settings as they stand, every key with its value, as a file that
 * conf_load(is_job) reads back to the same struct; but policy.connection_rate only when
 * it was given: what is the default depends on the destination. job may be NULL.
 * Strings must hold no control bytes, those of job neither (asserted: conf_load refuses
 * them). */
void conf_write(struct buf *out, const struct conf *c, const struct conf_job *job);

/* The rules that match a destination, by number, the strongest first: its own domain,
 * "*." domains from the longest to the shortest, mx in the order of the files. hosts:
 * the names of its most preferred MX hosts with commas between, empty while they are
 * not known. Both in lower case. Where those of domains, or policy { }, say that it has
 * a relay, its MX is not asked, and none of mx matches. out has room for rules_n;
 * returns how many. */
int conf_match(const struct conf *c, struct span domain, struct span hosts, int *out);
/* The relay with these rules, "host:port"; "": none. */
const char *conf_relay(const struct conf *c, const int *rules, int n);
/* Does what stands beside it fit: a password that is its own, nothing in clear that
 * must not be? Always without a relay. conf_load looks at the combinations of its
 * sections; where there are too many, who sends must not give such a relay its
 * password, nor mail in clear. False and *f (-7). */
bool conf_relay_agrees(const struct conf *c, const int *rules, int n, struct fault *f);
/* The policy with these rules: each key from the first that gives it, else from
 * policy { }; with a relay there is no connection_rate by default. Strings and lists
 * stay c's. */
void conf_policy_of(const struct conf *c, const int *rules, int n,
                    struct conf_policy *out);
/* The same in the middle of a run that began with other settings of the same sections:
 * what a reload cannot change is as it was then. */
void conf_policy_now(const struct conf *c, const struct conf *begun, const int *rules,
                     int n, struct conf_policy *out);
/* Where a key of policy { } stands, "FILE:LINE"; from: the settings, or the values of a
 * section. False: it is not given there. */
bool conf_place(struct buf *out, const struct conf *from, const char *key);
/* The one of these rules whose limits are shared by all that it matches: the first that
 * gives connections, connection_rate, message_rate or unknown_limit. -1: none does. */
int conf_budget(const struct conf *c, const int *rules, int n);

/* What a section gives holds for all that it matches, for each source by itself. */
enum conf_limit {
    CONF_LIMIT_CONNECTIONS,
    CONF_LIMIT_MESSAGE_RATE,
    CONF_LIMIT_CONNECTION_RATE,
    CONF_LIMITS
};
/* The rules among these whose limits bound others beside those of their own budget, or
 * these from without: all that give one, but for that of conf_budget where it is for
 * nobody else. out has room for n; returns how many. */
int conf_outer(const struct conf *c, const int *rules, int n, int *out);
/* What the rule gives itself; 0: no limit. */
int64_t conf_limit(const struct conf *c, int rule, enum conf_limit limit);
/* The first of the weaker rules whose limit is less than what the i-th gives; -1: none.
 */
int conf_tighter(const struct conf *c, const int *rules, int n, int i,
                 enum conf_limit limit);
/* "FILE:LINE: …", why that limit of the rule is in vain. */
void conf_print_tighter(struct buf *out, const struct conf *c, int rule, int tighter,
                        enum conf_limit limit);
/* The quiet hours that this section gives; NULL: it does not. */
const struct hours *conf_rule_hours(const struct conf *c, int rule);
/* conf_policy_of with a line for each key: name, value, and FILE:LINE or "default",
 * with TABs between. */
void conf_explain(struct buf *out, const struct conf *c, const int *rules, int n);
/* Have both the same sections, in the same order? */
bool conf_same_rules(const struct conf *a, const struct conf *b);
/* What is another in c than in the settings that a running job began with, and stays as
 * it began: "policy.port (FILE:LINE), domain 'a.example': relay (FILE:LINE)". Returns
 * how many keys. Both have the same sections. */
int conf_not_taken(struct buf *out, const struct conf *begun, const struct conf *c);

/* Which sources send where policy.pool is `pool`: their numbers, from 1, in out, which
 * has room for sources_n. Returns how many; none when there are no sources at all. */
int conf_sources_of(const struct conf *c, const char *pool, uint8_t *out);
/* The warm-up of a source; NULL: it has none. */
const struct conf_warmup *conf_warmup_of(const struct conf *c,
                                         const struct conf_named *source);
/* Have both the same sections source, pool and warmup? */
bool conf_same_sources(const struct conf *a, const struct conf *b);

/* Does policy { } or a section let several recipients share a message? Then "FILE:LINE"
 * of the first that does in *place. */
bool conf_shares_messages(const struct conf *c, struct buf *place);

/* Where a key of it stands, "FILE:LINE"; its title if it is not given. */
void conf_reply_place(struct buf *out, const struct conf_reply *r, const char *key);
/* The keys that it gives, as in a file; and what it does: "suspend for 10m, text …". */
void conf_reply_print(struct buf *out, const struct conf_reply *r);
void conf_reply_what(struct buf *out, const struct conf_reply *r);

/* docs/settings.md, made from the table. */
void conf_document(struct buf *out);

#endif
