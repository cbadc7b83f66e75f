/* The kinds of values: check, store, print. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "conf/forms.h"
#include "conf/settings.h"

enum { DURATIONS_MAX = 32, NUMBERS_MAX = 366, SHOWN_MAX = 80 };

/* The words of a setting that is one of some, in the order of its enum in conf.h. */
enum { CHOICE_WORDS_MAX = 5 };
static const char *const choices[KIND_COUNT][CHOICE_WORDS_MAX] = {
    [KIND_PIPELINING] = {"auto", "group", "off"},
    [KIND_CHUNKING] = {"auto", "off"},
    [KIND_TLS] = {"none", "may", "encrypt", "verify"},
    [KIND_TLS_VERSION] = {"1.0", "1.1", "1.2", "1.3"},
    [KIND_RELAY_TLS] = {"starttls", "implicit", "none"},
    [KIND_END_TIMEOUT] = {"retry", "assume", "fail"},
    [KIND_SCOPE] = {"auto", "rcpt", "path", "site", "source"},
};
/* In the order of enum conf_action_word. */
static const char *const action_words[] = {"retry", "fail",      "suspend",
                                           "slow",  "reconnect", "treat-as"};
enum { ACTION_WORDS = 6 };
static const char *const network_words[] = {"loopback",   "self",      "private",
                                            "link-local", "multicast", "reserved"};
enum { NETWORK_WORDS = 6 };

static int choice_count(enum setting_kind kind)
{
    int n = 0;
    while (n < CHOICE_WORDS_MAX && choices[kind][n])
        n++;
    return n;
}

static int word_index(const char *const *words, int n, const char *text)
{
    for (int i = 0; i < n; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    return -1;
}

static bool is_network(const char *text)
{
    return word_index(network_words, NETWORK_WORDS, text) >= 0 || form_network(text);
}

/* A word, or "treat-as" and a code. */
static bool action_parse(const char *text, struct conf_action *out)
{
    static const struct span prefix = {"treat-as ", 9};
    int64_t code = 0;
    int word = word_index(action_words, CONF_ACTION_TREAT_AS, text);
    if (span_starts_nocase(span_of(text), prefix) &&
        form_number(span_of(text + prefix.n), &code) &&
        ((code >= 400 && code <= 599) || code == 850))
        word = CONF_ACTION_TREAT_AS;
    if (word >= 0)
        *out = (struct conf_action){(enum conf_action_word)word, (int)code};
    return word >= 0;
}

static bool plain(struct span s) /* no control bytes */
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return true;
}

static void *member_of(const struct setting *s, const struct conf *c)
{
    return (char *)(uintptr_t)c + s->offset;
}

static bool set_string(char **member, char *value)
{
    free(*member);
    *member = value;
    return true;
}

static char *path_absolute(const char *path, const char *file)
{
    struct buf b = {0};
    if (path[0] != '/') {
        if (file[0] != '/') {
            char cwd[PATH_MAX];
            buf_add_str(&b, getcwd(cwd, sizeof cwd) ? cwd : ".");
            buf_add_char(&b, '/');
        }
        buf_add_span(&b, folder_of(file));
    }
    buf_add_str(&b, path);
    char *whole = mem_strdup(buf_cstr(&b));
    buf_finish(&b);
    return whole;
}

static bool add_string(struct conf_strings *list, const char *text)
{
    list->items = mem_resize(list->items, (size_t)list->n + 1, sizeof *list->items);
    list->items[list->n++] = mem_strdup(text);
    return true;
}

static bool add_pattern(struct conf_strings *list, bool good, struct buf *pattern)
{
    if (good)
        add_string(list, buf_cstr(pattern));
    buf_finish(pattern);
    return good;
}

static bool add_number(int64_t **items, int *n, int64_t v)
{
    *items = mem_resize(*items, (size_t)*n + 1, sizeof **items);
    (*items)[(*n)++] = v;
    return true;
}

static int64_t count_most(const struct setting *s)
{
    return s->kind == KIND_DURATIONS ? DURATIONS_MAX
           : s->kind == KIND_NUMBERS ? NUMBERS_MAX
                                     : s->most;
}

static bool duration_good(const struct setting *s, struct span text, int64_t *ms_out)
{
    return duration_parse(text, ms_out) && *ms_out >= s->least && *ms_out <= s->most;
}

static bool take_number(const struct setting *s, int64_t v, void *member)
{
    if (v < s->least || v > s->most)
        return false;
    memcpy(member, &v, sizeof v);
    return true;
}

static bool take_word(const struct setting *s, const char *text, void *member)
{
    int word = word_index(choices[s->kind], choice_count(s->kind), text);
    if (word >= 0) /* an enum of such small numbers is an unsigned int to gcc, clang */
        *(unsigned *)member = (unsigned)word;
    return word >= 0;
}

/* Store the value if it is good. */
static bool take(const struct setting *s, const char *text, struct place at,
                 void *member)
{
    struct span t = span_of(text);
    struct buf pattern = {0};
    struct conf_durations *durations = member;
    struct conf_numbers *numbers = member;
    int32_t day;
    int64_t v;
    switch (s->kind) {
    case KIND_HOSTNAME:
        return form_hostname(t) && set_string(member, mem_strdup(text));
    case KIND_RELAY:
        return (t.n == 0 || form_relay(t)) && set_string(member, mem_strdup(text));
    case KIND_ADDRESS:
        return form_address(t) && set_string(member, mem_strdup(text));
    case KIND_PATH:
    case KIND_FILE:
    case KIND_TEXT:
        if ((int64_t)t.n < s->least || (int64_t)t.n > s->most)
            return false;
        return set_string(member, s->kind != KIND_TEXT && t.n
                                      ? path_absolute(text, at.file)
                                      : mem_strdup(text));
    case KIND_NUMBER:
    case KIND_WORKERS:
        return form_number(t, &v) && take_number(s, v, member);
    case KIND_RATE:
        return rate_parse(t, &v) && take_number(s, v, member);
    case KIND_DURATION:
        return duration_good(s, t, &v) && take_number(s, v, member);
    case KIND_YESNO:
        *(bool *)member = strcmp(text, "yes") == 0;
        return *(bool *)member || strcmp(text, "no") == 0;
    case KIND_HOURS:
        return hours_parse(t, member);
    case KIND_DATE:
        return day_parse(t, &day) && set_string(member, mem_strdup(text));
    case KIND_ACTION:
        return action_parse(text, member);
    case KIND_PIPELINING:
    case KIND_CHUNKING:
    case KIND_TLS:
    case KIND_TLS_VERSION:
    case KIND_RELAY_TLS:
    case KIND_END_TIMEOUT:
    case KIND_SCOPE:
        return take_word(s, text, member);
    case KIND_SERVERS:
        return form_server(t) && add_string(member, text);
    case KIND_NETWORKS:
        return is_network(text) && add_string(member, text);
    case KIND_NAMES: /* they are looked up when all is read */
        return add_string(member, text);
    case KIND_DURATIONS:
        return duration_good(s, t, &v) && add_number(&durations->ms, &durations->n, v);
    case KIND_NUMBERS:
        return form_number(t, &v) && v >= s->least && v <= s->most &&
               add_number(&numbers->items, &numbers->n, v);
    case KIND_MX_HOSTS:
        return add_pattern(member, pattern_of_hosts(t, &pattern), &pattern);
    case KIND_DOMAINS:
        return add_pattern(member, pattern_of_domain(t, &pattern), &pattern);
    case KIND_COUNT:
        break;
    }
    assert(s->kind < KIND_COUNT);
    return false;
}

/* What a number, duration or rate looks like, for who wrote another thing. */
static const char *form_hint(const struct setting *s, struct span text)
{
    if (s->kind == KIND_DURATION || s->kind == KIND_DURATIONS)
        return "; durations are 500ms, 5s, 30m, 24h, 2d";
    if (s->kind == KIND_RATE)
        return "; rates are 5/s, 100/min, 500/h";
    bool number =
        s->kind == KIND_NUMBER || s->kind == KIND_WORKERS || s->kind == KIND_NUMBERS;
    if (number && text.n > 1 && text.p[0] == '0' && form_digits(text))
        return "; numbers have no leading zeros";
    return "";
}

bool value_take(const struct setting *s, const char *text, struct place at,
                struct conf *c, struct fault *f)
{
    struct buf name = {0}, range = {0};
    setting_full_name(&name, s);
    bool good = false;
    if (!plain(span_of(text)))
        place_fault(f, -7, at, "%s must hold no control characters", buf_cstr(&name));
    else if (setting_is_list(s) && value_count(s, c) >= count_most(s))
        place_fault(f, -7, at, "%s has more than %d values", buf_cstr(&name),
                    (int)count_most(s));
    else
        good = take(s, text, at, member_of(s, c));
    if (!good && !f->code) {
        value_range(&range, s);
        place_fault(f, -7, at, "%s must be %s, not \"%.*s\"%s%s", buf_cstr(&name),
                    buf_cstr(&range), SHOWN_MAX, text,
                    strlen(text) > SHOWN_MAX ? " …" : "", form_hint(s, span_of(text)));
    }
    buf_finish(&name);
    buf_finish(&range);
    return good;
}

/* In single quotes only \ and ' need a backslash; in "…" ${} would be expanded. */
void value_put_quoted(struct buf *out, const char *text)
{
    assert(plain(span_of(text)));
    buf_add_char(out, '\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            buf_add_char(out, '\\');
        buf_add_char(out, *text);
    }
    buf_add_char(out, '\'');
}

static void put_duration(struct buf *out, int64_t ms)
{
    struct buf text = {0};
    duration_print(&text, ms);
    value_put_quoted(out, buf_cstr(&text));
    buf_finish(&text);
}

static void put_rate(struct buf *out, int64_t per_hour)
{
    struct buf text = {0};
    rate_print(&text, per_hour);
    value_put_quoted(out, buf_cstr(&text));
    buf_finish(&text);
}

static void put_hours(struct buf *out, const struct hours *hours)
{
    char text[HOURS_TEXT_MAX];
    hours_print(hours, text);
    value_put_quoted(out, text);
}

static void put_strings(struct buf *out, const struct conf_strings *list)
{
    for (int i = 0; i < list->n; i++) {
        buf_add_str(out, i ? ", " : "");
        value_put_quoted(out, list->items[i]);
    }
}

static void put_durations(struct buf *out, const struct conf_durations *list)
{
    for (int i = 0; i < list->n; i++) {
        buf_add_str(out, i ? ", " : "");
        put_duration(out, list->ms[i]);
    }
}

static void put_numbers(struct buf *out, const struct conf_numbers *list)
{
    for (int i = 0; i < list->n; i++)
        buf_printf(out, i ? ", %lld" : "%lld", (long long)list->items[i]);
}

void value_put_action(struct buf *out, const struct conf_action *action)
{
    buf_add_str(out, action_words[action->word]);
    if (action->word == CONF_ACTION_TREAT_AS)
        buf_printf(out, " %d", action->code);
}

static void put_action(struct buf *out, const struct conf_action *action)
{
    struct buf text = {0};
    value_put_action(&text, action);
    value_put_quoted(out, buf_cstr(&text));
    buf_finish(&text);
}

void value_put(struct buf *out, const struct setting *s, const struct conf *c)
{
    const void *member = member_of(s, c);
    buf_add_str(out, setting_is_list(s) ? "{" : "");
    switch (s->kind) {
    case KIND_HOSTNAME:
    case KIND_PATH:
    case KIND_FILE:
    case KIND_TEXT:
    case KIND_RELAY:
    case KIND_DATE:
    case KIND_ADDRESS:
        value_put_quoted(out, *(char *const *)member);
        break;
    case KIND_NUMBER:
    case KIND_WORKERS:
        buf_add_i64(out, *(const int64_t *)member);
        break;
    case KIND_DURATION:
        put_duration(out, *(const int64_t *)member);
        break;
    case KIND_RATE:
        put_rate(out, *(const int64_t *)member);
        break;
    case KIND_YESNO:
        buf_add_str(out, *(const bool *)member ? "yes" : "no");
        break;
    case KIND_HOURS:
        put_hours(out, member);
        break;
    case KIND_ACTION:
        put_action(out, member);
        break;
    case KIND_PIPELINING:
    case KIND_CHUNKING:
    case KIND_TLS:
    case KIND_TLS_VERSION:
    case KIND_RELAY_TLS:
    case KIND_END_TIMEOUT:
    case KIND_SCOPE:
        value_put_quoted(out, choices[s->kind][*(const unsigned *)member]);
        break;
    case KIND_SERVERS:
    case KIND_NETWORKS:
    case KIND_NAMES:
    case KIND_MX_HOSTS:
    case KIND_DOMAINS:
        put_strings(out, member);
        break;
    case KIND_DURATIONS:
        put_durations(out, member);
        break;
    case KIND_NUMBERS:
        put_numbers(out, member);
        break;
    case KIND_COUNT:
        assert(s->kind < KIND_COUNT);
    }
    buf_add_str(out, setting_is_list(s) ? "}" : "");
}

static void add_words(struct buf *out, const char *const *words, int n,
                      const char *last)
{
    for (int i = 0; i < n; i++) {
        buf_add_str(out, i == 0 ? "" : i == n - 1 ? last : ", ");
        buf_add_str(out, words[i]);
    }
}

static void add_durations(struct buf *out, const struct setting *s)
{
    buf_add_str(out, "a duration from ");
    duration_print(out, s->least);
    buf_add_str(out, " to ");
    duration_print(out, s->most);
}

static void add_list(struct buf *out, const struct setting *s)
{
    int most = (int)s->most;
    if (s->kind == KIND_SERVERS) {
        buf_printf(out, "a list of at most %d, each address, address:port or [v6]:port",
                   most);
    } else if (s->kind == KIND_MX_HOSTS) {
        buf_printf(out, "a list of at most %d patterns of host names, with * and ?",
                   most);
    } else if (s->kind == KIND_DOMAINS) {
        buf_printf(out, "a list of at most %d, each a domain, or *. and a domain",
                   most);
    } else if (s->kind == KIND_NETWORKS) {
        buf_printf(out, "a list of at most %d, each address, address/length, ", most);
        add_words(out, network_words, NETWORK_WORDS, " or ");
    } else if (s->kind == KIND_NAMES) {
        buf_printf(out, "a list of 1 to %d names", most);
    } else if (s->kind == KIND_NUMBERS) {
        buf_printf(out, "a list of 1 to %d whole numbers up to %d", NUMBERS_MAX, most);
    } else {
        buf_printf(out, "a list of 1 to %d, each ", DURATIONS_MAX);
        add_durations(out, s);
    }
}

void value_range(struct buf *out, const struct setting *s)
{
    switch (s->kind) {
    case KIND_HOSTNAME:
        buf_add_str(out, "a DNS name or an address literal");
        break;
    case KIND_PATH:
        buf_printf(out, "a path of at most %d bytes", (int)s->most);
        break;
    case KIND_FILE:
        buf_printf(out, "a path of at most %d bytes, or none", (int)s->most);
        break;
    case KIND_RELAY:
        buf_add_str(out, "host:port, or none");
        break;
    case KIND_ADDRESS:
        buf_add_str(out, "an IPv4 or IPv6 address");
        break;
    case KIND_TEXT:
        buf_printf(out, "a text of at most %d bytes", (int)s->most);
        break;
    case KIND_NUMBER:
    case KIND_WORKERS:
        buf_printf(out, "a whole number from %lld to %lld", (long long)s->least,
                   (long long)s->most);
        break;
    case KIND_DURATION:
        add_durations(out, s);
        break;
    case KIND_RATE:
        buf_add_str(out, "a rate of at most ");
        rate_print(out, s->most);
        buf_add_str(out, ", or 0 for no limit");
        break;
    case KIND_YESNO:
        buf_add_str(out, "yes or no");
        break;
    case KIND_HOURS:
        buf_add_str(out, "HH:MM-HH:MM, two different times, or none");
        break;
    case KIND_DATE:
        buf_add_str(out, "a day such as 2026-11-20");
        break;
    case KIND_ACTION:
        add_words(out, action_words, ACTION_WORDS, " or ");
        buf_add_str(out, " and a code");
        break;
    case KIND_PIPELINING:
    case KIND_CHUNKING:
    case KIND_TLS:
    case KIND_TLS_VERSION:
    case KIND_RELAY_TLS:
    case KIND_END_TIMEOUT:
    case KIND_SCOPE:
        add_words(out, choices[s->kind], choice_count(s->kind), " or ");
        break;
    case KIND_SERVERS:
    case KIND_NETWORKS:
    case KIND_MX_HOSTS:
    case KIND_DOMAINS:
    case KIND_NAMES:
    case KIND_DURATIONS:
    case KIND_NUMBERS:
        add_list(out, s);
        break;
    case KIND_COUNT:
        assert(s->kind < KIND_COUNT);
    }
}

int value_count(const struct setting *s, const struct conf *c)
{
    const void *member = member_of(s, c);
    if (s->kind == KIND_DURATIONS)
        return ((const struct conf_durations *)member)->n;
    if (s->kind == KIND_NUMBERS)
        return ((const struct conf_numbers *)member)->n;
    return ((const struct conf_strings *)member)->n;
}

void value_free(const struct setting *s, struct conf *c)
{
    void *member = member_of(s, c);
    if (s->kind == KIND_HOSTNAME || s->kind == KIND_PATH || s->kind == KIND_FILE ||
        s->kind == KIND_TEXT || s->kind == KIND_RELAY || s->kind == KIND_ADDRESS ||
        s->kind == KIND_DATE)
        free(*(char **)member);
    if (s->kind == KIND_DURATIONS)
        free(((struct conf_durations *)member)->ms);
    else if (s->kind == KIND_NUMBERS)
        free(((struct conf_numbers *)member)->items);
    else if (setting_is_list(s)) {
        struct conf_strings *list = member;
        for (int i = 0; i < list->n; i++)
            free(list->items[i]);
        free(list->items);
    }
}
