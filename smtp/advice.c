#include "smtp/advice.h"

enum { CLOCK_PARTS = 3, NUMBER_DIGITS_MAX = 7 };

/* Words that ask for a pause. A time counts only directly behind one of them, with
 * nothing but `between` before it. */
static const char *const asking[] = {
    "again",       "try",      "retry",      "retrying",    "wait",      "waiting",
    "back",        "later",    "resend",     "reconnect",   "resubmit",  "delay",
    "delayed",     "greylist", "greylisted", "greylisting", "graylist",  "graylisted",
    "graylisting", "blocked",  "banned",     "throttled",   "suspended", "retry-after",
};
static const char *const between[] = {
    "in",      "for",     "after",   "at",      "least",  "about", "approximately",
    "another", "again",   "later",   "within",  "please", "the",   "next",
    "time",    "period",  "minimum", "of",      "is",     "it",    "more",
    "than",    "sending", "your",    "message", "mail",
};

static const struct {
    const char *word;
    int64_t ms;
} units[] = {
    {"s", 1000},       {"sec", 1000},      {"secs", 1000},     {"second", 1000},
    {"seconds", 1000}, {"m", 60000},       {"min", 60000},     {"mins", 60000},
    {"minute", 60000}, {"minutes", 60000}, {"h", 3600000},     {"hr", 3600000},
    {"hrs", 3600000},  {"hour", 3600000},  {"hours", 3600000}, {"d", 86400000},
    {"day", 86400000}, {"days", 86400000},
};

static const struct {
    const char *word;
    int64_t value;
} numbers[] = {
    {"a", 1},    {"an", 1},   {"one", 1},  {"two", 2},      {"three", 3},
    {"four", 4}, {"five", 5}, {"ten", 10}, {"fifteen", 15}, {"thirty", 30},
};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static bool is_one_of(const char *const *words, size_t n, struct span w)
{
    for (size_t i = 0; i < n; i++)
        if (span_equal_nocase(span_of(words[i]), w))
            return true;
    return false;
}

static int64_t unit_of(struct span w)
{
    for (size_t i = 0; i < COUNT(units); i++)
        if (span_equal_nocase(span_of(units[i].word), w))
            return units[i].ms;
    return 0;
}

/* A word with what ends it: a sentence that ends takes its request with it. */
struct word {
    struct span text;
    bool ends, colon;
};

static bool is_gap(char c)
{
    return strchr(" \t,()[]<>=\"'", c) != NULL; /* a NUL is one too */
}

static bool next_word(struct span *rest, struct word *w)
{
    while (rest->n && is_gap(rest->p[0]))
        *rest = (struct span){rest->p + 1, rest->n - 1};
    size_t n = 0;
    while (n < rest->n && !is_gap(rest->p[n]))
        n++;
    *w = (struct word){.text = {rest->p, n}};
    *rest = (struct span){rest->p + n, rest->n - n};
    while (w->text.n && strchr(".;:!?", w->text.p[w->text.n - 1])) {
        w->colon |= w->text.p[w->text.n - 1] == ':';
        w->ends |= w->text.p[w->text.n - 1] != ':';
        w->text.n--;
    }
    return n > 0;
}

static size_t digits_in_front(struct span s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n;
}

static int64_t number_of(struct span digits)
{
    int64_t v = 0;
    for (size_t i = 0; i < digits.n; i++)
        v = v * 10 + (digits.p[i] - '0');
    return v;
}

/* "00:04:59" or "4:59"; 0: it is none. */
static int64_t clock_of(struct span s)
{
    int64_t seconds = 0;
    int parts = 0;
    for (;;) {
        size_t n = digits_in_front(s);
        if (n < 1 || n > 2 || (parts && n != 2) || parts == CLOCK_PARTS)
            return 0;
        int64_t v = number_of((struct span){s.p, n});
        if (parts && v > 59)
            return 0;
        seconds = seconds * 60 + v;
        parts++;
        if (n == s.n)
            break;
        if (s.p[n] != ':')
            return 0;
        s = (struct span){s.p + n + 1, s.n - n - 1};
    }
    return parts > 1 ? seconds * 1000 : 0;
}

/* "10 minutes", "300s", "an hour", in front of the rest, is added to *sum. bare: a
 * number alone is seconds. */
static bool take_time(struct span *rest, bool bare, int64_t *sum)
{
    struct span at = *rest;
    struct word w, unit;
    if (!next_word(&at, &w))
        return false;
    size_t n = digits_in_front(w.text);
    int64_t value = -1;
    for (size_t i = 0; n == 0 && i < COUNT(numbers); i++)
        if (span_equal_nocase(span_of(numbers[i].word), w.text))
            value = numbers[i].value;
    if (n > NUMBER_DIGITS_MAX || (n == 0 && value < 0))
        return false;
    if (n)
        value = number_of((struct span){w.text.p, n});
    int64_t ms = 0;
    struct span glued = {w.text.p + n, w.text.n - n};
    struct span behind = at;
    if (n && glued.n)
        ms = unit_of(glued);
    else if (!w.ends && next_word(&behind, &unit) && (ms = unit_of(unit.text)))
        at = behind;
    else if (bare && n)
        ms = 1000;
    if (ms == 0)
        return false;
    *rest = at;
    *sum += value * ms;
    return true;
}

/* "1 hour and 30 minutes ago" is none. */
static int64_t take_times(struct span rest, bool bare)
{
    int64_t ms = 0;
    struct word w;
    if (!take_time(&rest, bare, &ms))
        return 0;
    struct span at = rest;
    if (next_word(&at, &w) && span_equal_nocase(w.text, SPAN("and")))
        rest = at;
    take_time(&rest, false, &ms);
    if (next_word(&rest, &w) && span_equal_nocase(w.text, SPAN("ago")))
        return 0;
    return ms;
}

int64_t advice_wait_ms(struct span text)
{
    bool asked = false;
    int64_t ms = 0;
    struct word w;
    for (struct span rest = text; ms == 0;) {
        struct span here = rest;
        if (!next_word(&rest, &w))
            return 0;
        if (asked)
            ms = clock_of(w.text);
        if (asked && ms == 0)
            ms = take_times(here, false);
        bool field = span_equal_nocase(w.text, SPAN("retry-after"));
        if (ms == 0 && field)
            ms = take_times(rest, true);
        asked = !w.ends && (is_one_of(asking, COUNT(asking), w.text) ||
                            (asked && is_one_of(between, COUNT(between), w.text)));
    }
    return ms < ADVICE_LEAST_MS  ? ADVICE_LEAST_MS
           : ms > ADVICE_MOST_MS ? ADVICE_MOST_MS
                                 : ms;
}
