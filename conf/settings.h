/* Inside conf/: the table of settings, and what a value of each kind may be. */
#ifndef CONF_SETTINGS_H
#define CONF_SETTINGS_H

#include "conf/conf.h"

enum conf_section {
    SECTION_TOP,
    SECTION_RESOLVER,
    SECTION_STORM,
    SECTION_POLICY,
    SECTION_TIMEOUT,
    SECTION_SOURCE, /* from here to REPLY: each has a name, or a code */
    SECTION_POOL,
    SECTION_WARMUP,
    SECTION_DOMAIN,
    SECTION_MX,
    SECTION_REPLY,
    SECTION_JOB,
    SECTION_COUNT
};

struct section {
    const char *name; /* "" for the top */
    enum conf_section parent;
    const char *title; /* in docs/settings.md */
    const char *about;
};

enum setting_kind {
    KIND_HOSTNAME,
    KIND_PATH,
    KIND_FILE, /* a path, or none */
    KIND_TEXT,
    KIND_RELAY, /* host:port, or none */
    KIND_ADDRESS,
    KIND_NUMBER,
    KIND_WORKERS, /* a number; default: online processors */
    KIND_DURATION,
    KIND_RATE,
    KIND_YESNO,
    KIND_HOURS,
    KIND_DATE,
    KIND_ACTION,
    KIND_PIPELINING, /* from here to SCOPE: one word of some */
    KIND_CHUNKING,
    KIND_TLS,
    KIND_TLS_VERSION,
    KIND_RELAY_TLS,
    KIND_END_TIMEOUT,
    KIND_SCOPE,
    KIND_SERVERS, /* from here on: lists */
    KIND_NETWORKS,
    KIND_NAMES,
    KIND_DURATIONS,
    KIND_NUMBERS,
    KIND_MX_HOSTS,
    KIND_DOMAINS,
    KIND_COUNT
};

struct setting {
    enum conf_section section;
    enum setting_kind kind;
    const char *name;
    size_t offset, size; /* of its member in struct conf */
    const char
        *fallback; /* default, in libConfuse words; "" may mean: ask the machine */
    int64_t least, most;
    const char *about;
};

enum {
#define SETTING(section, member, name, ...) SETTING_##section##_##name,
#include "conf/settings.def"
    SETTING_COUNT
};

extern const struct section sections[SECTION_COUNT];
extern const struct setting settings[SETTING_COUNT];

bool section_is_named(enum conf_section section);
/* The section whose keys it holds: of domain and mx policy, else itself. */
enum conf_section section_keys(enum conf_section section);

/* By name in a section; NULL, or SECTION_COUNT, if there is none. */
const struct setting *setting_find(enum conf_section in, struct span name);
enum conf_section section_find(enum conf_section in, struct span name);

/* The keyword of that section that looks most like it, NULL if none does. */
const char *setting_nearest(enum conf_section in, struct span name);
/* A section that has such a keyword; SECTION_COUNT if none has. Never job. section: it
 * should be that of a section, else that of a key; the other if there is none. */
enum conf_section setting_elsewhere(struct span name, bool section);

bool setting_is_list(const struct setting *s);
/* Of policy or policy.timeout. */
bool setting_is_policy(const struct setting *s);
/* Does a running job keep it as it began? Sections source, pool and warmup, which it
 * keeps as a whole, are not asked for. */
bool setting_stays(const struct setting *s);

/* "policy.timeout.connect"; "policy" */
void setting_full_name(struct buf *out, const struct setting *s);
void section_full_name(struct buf *out, enum conf_section section);

/* Of the rules that match, from that one on, who gives a key of policy first: its index
 * in rules, or n: policy { } or the default. And what that one gives. */
int rules_giver(const struct conf *c, const int *rules, int n, int from,
                const struct setting *s);
const struct conf *rules_values(const struct conf *c, const int *rules, int n, int i);

/* Every relay with what stands beside it: conf_relay_agrees of all combinations of
 * sections that there may be. */
bool relays_check(const struct conf *c, struct fault *f);

/* Where something stands in the settings files. */
struct place {
    const char *file;
    int line; /* 0: no line at all */
};

/* fault_set with "FILE:LINE: " in front. */
bool place_fault(struct fault *f, int code, struct place at, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Check one value and store it in c; a value of a list is put behind the others. On a
 * bad one false and -7. */
bool value_take(const struct setting *s, const char *text, struct place at,
                struct conf *c, struct fault *f);
/* The value as it stands in c, in libConfuse words: `25`, `'30m'`, `{'a', 'b'}`. */
void value_put(struct buf *out, const struct setting *s, const struct conf *c);
/* What a value may be: "a whole number from 0 to 256". */
void value_range(struct buf *out, const struct setting *s);
/* The bytes of conf/receivers.conf: the reply rules that come with the program. */
extern const char conf_receivers[];
extern const size_t conf_receivers_n;

/* A domain "name" or "*.name", a pattern of host names: as conf.h has them. False: it
 * is none. */
bool pattern_of_domain(struct span text, struct buf *out);
bool pattern_of_hosts(struct span text, struct buf *out);
/* The name of a section of this kind, as it is kept. False: it cannot have such a name;
 * title_form says what it must be. */
bool title_take(enum conf_section section, struct span text, struct buf *out);
const char *title_form(enum conf_section section);
/* In single quotes, with what backslashes it needs. */
void value_put_quoted(struct buf *out, const char *text);
/* The words of an action, without quotes. */
void value_put_action(struct buf *out, const struct conf_action *action);
/* The sections warmup, source and pool, each as it was given. */
void write_sources(struct buf *out, const struct conf *c);

int value_count(const struct setting *s, const struct conf *c); /* of a list */
void value_free(const struct setting *s, struct conf *c);

/* file's folder with the slash, "" if it has none: a piece of file. */
struct span folder_of(const char *file);

#endif
