#include "conf/conf.h"

#include <assert.h>
#include <confuse.h>
#include <netdb.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "conf/scan.h"
#include "conf/settings.h"
#include "conf/sources.h"

/* libConfuse gives its error function no place for an argument. */
static struct {
    const struct scan *scan;
    struct fault *f;
} parsing;

__attribute__((format(printf, 2, 0))) static void
on_error(cfg_t *cfg, const char *format, va_list args)
{
    char words[256];
    vsnprintf(words, sizeof words, format, args);
    struct place at = scan_line(parsing.scan, cfg->line);
    place_fault(parsing.f, -5, at, "%s", words);
}

/* The table as libConfuse wants it. All values are strings to it: its numbers take
 * `010` for 8. Sections that hang on a section come first, so that they are ready. */
struct options {
    cfg_opt_t of[SECTION_COUNT][SETTING_COUNT + SECTION_COUNT + 1];
};

static void fill_options(struct options *o)
{
    for (int section = SECTION_COUNT - 1; section >= 0; section--) {
        cfg_opt_t *next = o->of[section];
        for (const struct setting *s = settings; s < settings + SETTING_COUNT; s++) {
            if ((int)s->section != section)
                continue;
            if (setting_is_list(s))
                *next++ = (cfg_opt_t)CFG_STR_LIST(
                    s->name, (char *)(uintptr_t)s->fallback, CFGF_NONE);
            else
                *next++ = (cfg_opt_t)CFG_STR(s->name, s->fallback, CFGF_NONE);
        }
        for (int i = SECTION_TOP + 1; i < SECTION_COUNT; i++)
            if ((int)sections[i].parent == section) {
                enum conf_section s = (enum conf_section)i;
                *next++ = (cfg_opt_t)CFG_SEC(
                    sections[i].name, o->of[section_keys(s)],
                    section_is_named(s) ? CFGF_MULTI | CFGF_TITLE : CFGF_NONE);
            }
        *next = (cfg_opt_t)CFG_END();
    }
}

/* options must outlive it. */
static cfg_t *new_cfg(struct options *options)
{
    fill_options(options);
    cfg_t *cfg = cfg_init(options->of[SECTION_TOP], CFGF_NONE);
    if (!cfg)
        die_oom();
    return cfg;
}

static cfg_t *section_of(cfg_t *top, enum conf_section section)
{
    if (section == SECTION_TOP)
        return top;
    return cfg_getsec(section_of(top, sections[section].parent),
                      sections[section].name);
}

/* The machine's full name. A name with a dot is believed; else the resolver of the
 * system is asked, which reads /etc/hosts first; its patience with dead servers is cut
 * short. */
static void system_hostname(struct buf *out)
{
    char name[256] = "";
    gethostname(name, sizeof name - 1);
    buf_add_str(out, name);
    if (strchr(name, '.'))
        return;
    res_init();
    int patience = _res.retrans, tries = _res.retry;
    _res.retrans = 1;
    _res.retry = 1;
    struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(name, NULL, &hints, &found) == 0) {
        if (found->ai_canonname && strchr(found->ai_canonname, '.')) {
            buf_reset(out);
            buf_add_str(out, found->ai_canonname);
        }
        freeaddrinfo(found);
    }
    _res.retrans = patience;
    _res.retry = tries;
}

/* What the machine says where the table has no default. */
static bool ask_machine(const struct setting *s, struct place at, struct buf *out,
                        struct fault *f)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    long processors;
    switch (s->kind) {
    case KIND_HOSTNAME:
        system_hostname(out);
        return true;
    case KIND_WORKERS:
        processors = sysconf(_SC_NPROCESSORS_ONLN);
        buf_add_i64(out, processors < 1         ? 1
                         : processors > s->most ? s->most
                                                : processors);
        return true;
    case KIND_PATH:
        /* The XDG rules: a relative path there is to be ignored. */
        if (state && state[0] == '/')
            buf_printf(out, "%s/hikyaku", state);
        else if (home && home[0] == '/')
            buf_printf(out, "%s/.local/state/hikyaku", home);
        else
            return place_fault(f, -7, at, "%s must be set, for HOME is not", s->name);
        return true;
    case KIND_FILE:
    case KIND_TEXT:
    case KIND_RELAY:
    case KIND_ADDRESS:
    case KIND_NUMBER:
    case KIND_DURATION:
    case KIND_RATE:
    case KIND_YESNO:
    case KIND_HOURS:
    case KIND_DATE:
    case KIND_PIPELINING:
    case KIND_CHUNKING:
    case KIND_TLS:
    case KIND_TLS_VERSION:
    case KIND_RELAY_TLS:
    case KIND_END_TIMEOUT:
    case KIND_ACTION:
    case KIND_SCOPE:
    case KIND_SERVERS:
    case KIND_NETWORKS:
    case KIND_NAMES:
    case KIND_DURATIONS:
    case KIND_NUMBERS:
    case KIND_MX_HOSTS:
    case KIND_DOMAINS:
    case KIND_COUNT:
        break;
    }
    return true;
}

/* No value in the files, and no default in the table. */
static bool asks_machine(const struct setting *s, const struct scan *scan)
{
    return scan->keys[s - settings].line == 0 && s->fallback[0] == '\0';
}

/* libConfuse loses values without a word when it has no memory for them. A list from a
 * file may be of any length. */
static void check_number(const struct setting *s, int n, bool given)
{
    int expected = 1;
    if (setting_is_list(s)) {
        if (given)
            return;
        expected = 0;
        for (const char *c = s->fallback; *c; c++)
            expected += *c == '"';
        expected /= 2;
    }
    if (n != expected)
        die_oom();
}

static bool is_empty(const struct setting *s, struct place at, struct fault *f)
{
    struct buf name = {0};
    setting_full_name(&name, s);
    place_fault(f, -7, at, "%s must hold at least one %s", buf_cstr(&name),
                s->kind == KIND_NAMES     ? "name"
                : s->kind == KIND_NUMBERS ? "number"
                                          : "duration");
    buf_finish(&name);
    return false;
}

/* The values that libConfuse has for it; at: where the key stands, line 0 for a
 * default. */
static bool take_values(const struct setting *s, cfg_t *in, const struct scan *scan,
                        const struct scan_rule *rule, struct place at, struct conf *c,
                        struct fault *f)
{
    cfg_opt_t *opt = cfg_getopt(in, s->name);
    assert(opt);
    int n = (int)cfg_opt_size(opt);
    bool good = true, given = at.line > 0;
    check_number(s, n, given);
    for (int i = 0; good && i < n; i++) {
        if (given)
            at = scan_value_place(scan, rule, s, i);
        const char *text = cfg_opt_getnstr(opt, (unsigned)i);
        if (!text)
            die_oom();
        good = value_take(s, text, at, c, f);
    }
    if (good && n == 0 &&
        (s->kind == KIND_DURATIONS || s->kind == KIND_NAMES || s->kind == KIND_NUMBERS))
        good = is_empty(s, at, f);
    return good;
}

/* Of a section that may be missing, or be there often. */
static bool take_default(const struct setting *s, const char *file, struct conf *c,
                         struct fault *f)
{
    return setting_is_list(s) ||
           value_take(s, s->fallback, (struct place){file, 0}, c, f);
}

static bool take_setting(const struct setting *s, cfg_t *cfg, const struct scan *scan,
                         const char *path, struct conf *c, struct fault *f)
{
    struct place at = scan->keys[s - settings];
    if (at.line == 0)
        at.file = path ? path : "settings";
    if (s->section == SECTION_REPLY)
        return take_default(s, at.file, c, f);
    if (section_is_named(s->section))
        return true;
    if (!asks_machine(s, scan))
        return take_values(s, section_of(cfg, s->section), scan, NULL, at, c, f);
    struct buf asked = {0};
    bool good =
        ask_machine(s, at, &asked, f) && value_take(s, buf_cstr(&asked), at, c, f);
    buf_finish(&asked);
    return good;
}

static struct place *copy_places(const struct place *from)
{
    struct place *to = mem_alloc(SETTING_COUNT * sizeof *to);
    memcpy(to, from, SETTING_COUNT * sizeof *to);
    return to;
}

static struct conf *new_values(const struct scan_rule *from)
{
    struct conf *values = mem_zero(1, sizeof *values);
    values->given = copy_places(from->keys);
    return values;
}

/* Where the next section of its kind goes. */
static void add_named(struct conf *c, const struct scan_rule *from, struct conf *values)
{
    struct conf_named named = {mem_strdup(from->pattern), values, from->at.file,
                               from->at.line};
    if (from->section == SECTION_SOURCE) {
        c->sources = mem_resize(c->sources, (size_t)c->sources_n + 1, sizeof named);
        c->sources[c->sources_n++] = named;
    } else if (from->section == SECTION_POOL) {
        c->pools = mem_resize(c->pools, (size_t)c->pools_n + 1, sizeof named);
        c->pools[c->pools_n++] = named;
    } else if (from->section == SECTION_WARMUP) {
        c->warmups = mem_resize(c->warmups, (size_t)c->warmups_n + 1, sizeof named);
        c->warmups[c->warmups_n++] = named;
    } else {
        c->rules = mem_resize(c->rules, (size_t)c->rules_n + 1, sizeof *c->rules);
        c->rules[c->rules_n++] =
            (struct conf_rule){from->section == SECTION_MX, named.name, values};
    }
}

/* A section domain, mx, source, pool or warmup: what it gives alone. */
static bool take_rule(cfg_t *in, const struct scan *scan, const struct scan_rule *from,
                      struct conf *c, struct fault *f)
{
    struct conf *values = new_values(from);
    bool good = true;
    add_named(c, from, values);
    for (const struct setting *s = settings; good && s < settings + SETTING_COUNT;
         s++) {
        struct place key = from->keys[s - settings];
        if (key.line)
            good = take_values(
                s, s->section == SECTION_TIMEOUT ? cfg_getsec(in, "timeout") : in, scan,
                from, key, values, f);
    }
    return good;
}

/* What the action has no use for is a mistake. given: where the keys stand. */
static bool action_fits(const struct conf_reaction *reply, const struct place *given,
                        struct fault *f)
{
    bool suspends = reply->action.word == CONF_ACTION_SUSPEND;
    bool about_us = suspends || reply->action.word == CONF_ACTION_SLOW;
    if (!about_us && reply->scope > CONF_SCOPE_RCPT)
        return place_fault(f, -7, given[SETTING_REPLY_scope],
                           "reply.scope can only be rcpt unless its action is suspend "
                           "or slow");
    if (!about_us && reply->pause && reply->action.word != CONF_ACTION_RETRY)
        return place_fault(f, -7, given[SETTING_REPLY_for],
                           "reply.for belongs to the actions retry, suspend and slow");
    if (!suspends && reply->connections)
        return place_fault(f, -7, given[SETTING_REPLY_connections],
                           "reply.connections belongs to the action suspend");
    return true;
}

static bool take_reply(cfg_t *in, const struct scan *scan, const struct scan_rule *from,
                       struct conf *c, bool shipped, struct fault *f)
{
    struct conf *values = new_values(from);
    struct buf place = {0};
    buf_printf(&place, "%s:%d", from->at.file, from->at.line);
    c->replies = mem_resize(c->replies, (size_t)c->replies_n + 1, sizeof *c->replies);
    c->replies[c->replies_n++] = (struct conf_reply){
        mem_strdup(from->pattern), mem_strdup(buf_cstr(&place)), shipped, values};
    buf_finish(&place);
    bool good = true;
    for (const struct setting *s = settings; good && s < settings + SETTING_COUNT;
         s++) {
        struct place key = from->keys[s - settings];
        if (s->section == SECTION_REPLY)
            good = key.line ? take_values(s, in, scan, from, key, values, f)
                            : take_default(s, from->at.file, values, f);
    }
    return good && action_fits(&values->reply, from->keys, f);
}

/* The sections that have a name. libConfuse keeps each kind by itself. */
static bool take_titled(cfg_t *cfg, const struct scan *scan, struct conf *c,
                        bool shipped, struct fault *f)
{
    unsigned at[SECTION_COUNT] = {0};
    bool good = true;
    for (int i = 0; good && i < scan_rules(scan); i++) {
        const struct scan_rule *from = scan_rule(scan, i);
        cfg_t *in = cfg_getnsec(cfg, sections[from->section].name, at[from->section]++);
        assert(in);
        good = from->section == SECTION_REPLY
                   ? take_reply(in, scan, from, c, shipped, f)
                   : take_rule(in, scan, from, c, f);
    }
    return good;
}

static bool parse(cfg_t *cfg, struct scan *scan, struct fault *f)
{
    parsing.scan = scan;
    parsing.f = f;
    cfg_set_error_function(cfg, on_error);
    /* Sections are made by cfg_init, before there is an error function; they take it
     * over when they are parsed. */
    bool good = cfg_parse_buf(cfg, buf_cstr(&scan->text)) == CFG_SUCCESS;
    if (!good) /* if it kept its reason to itself */
        place_fault(f, -5, scan_line(scan, 1), "cannot be parsed");
    return good;
}

static bool take_shipped(struct conf *c, struct fault *f)
{
    struct scan scan = {0};
    struct options *options = mem_zero(1, sizeof *options);
    cfg_t *cfg = new_cfg(options);
    bool good = scan_read_text(&scan, "receivers.conf",
                               (struct span){conf_receivers, conf_receivers_n}, f) &&
                parse(cfg, &scan, f) && take_titled(cfg, &scan, c, true, f);
    cfg_free(cfg);
    free(options);
    scan_finish(&scan);
    return good;
}

struct conf *conf_load(const char *path, bool is_job, struct fault *f)
{
    struct conf *c = mem_zero(1, sizeof *c);
    struct scan scan = {0};
    struct options *options = mem_zero(1, sizeof *options);
    cfg_t *cfg = new_cfg(options);
    bool good = !path || (scan_read(&scan, path, is_job, f) && parse(cfg, &scan, f));
    /* The machine is asked last: it may take its time, and a mistake is told at once.
     */
    for (int last = 0; last <= 1; last++)
        for (int i = 0; good && i < SETTING_COUNT; i++)
            if (asks_machine(&settings[i], &scan) == last)
                good = take_setting(&settings[i], cfg, &scan, path, c, f);
    c->given = copy_places(scan.keys);
    good = good && take_titled(cfg, &scan, c, false, f) && sources_check(c, &scan, f) &&
           relays_check(c, f);
    if (good && c->receivers)
        good = take_shipped(c, f);
    cfg_free(cfg);
    free(options);
    c->names = scan.names; /* the places need them */
    scan.names = (struct arena){0};
    scan_finish(&scan);
    if (good)
        return c;
    conf_free(c);
    return NULL;
}

static void free_named(struct conf_named *list, int n)
{
    for (int i = 0; i < n; i++) {
        free(list[i].name);
        conf_free(list[i].values);
    }
    free(list);
}

void conf_free(struct conf *c)
{
    if (!c)
        return;
    for (int i = 0; i < SETTING_COUNT; i++)
        value_free(&settings[i], c);
    for (int i = 0; i < c->rules_n; i++) {
        free(c->rules[i].pattern);
        conf_free(c->rules[i].values);
    }
    free(c->rules);
    for (int i = 0; i < c->replies_n; i++) {
        free(c->replies[i].title);
        free(c->replies[i].place);
        conf_free(c->replies[i].values);
    }
    free(c->replies);
    free_named(c->sources, c->sources_n);
    free_named(c->pools, c->pools_n);
    free_named(c->warmups, c->warmups_n);
    free(c->given);
    arena_finish(&c->names);
    free(c);
}
