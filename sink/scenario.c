#include "sink/scenario.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/transcript.h"

enum takes { TAKES_NOTHING, TAKES_TEXT, TAKES_NUMBER, TAKES_DURATION, TAKES_READ };

static const struct verb {
    const char *word;
    enum takes takes;
} verbs[ACT_COUNT] = {
#define X(kind, word, takes) [ACT_##kind] = {word, TAKES_##takes},
    SCENARIO_ACTS(X)
#undef X
};

/* Lines for whoever runs the scenario and compares the log (docs/scenarios.md). */
static const char *const others[] = {"=",    "epilogue", "rcpt", "mx",
                                     "body", "drop",     "wire"};

struct reader {
    struct scenario *scenario;
    const char *path;
    int line;
    bool secure; /* STARTTLS is still to be put before this connection's EHLO */
    bool secure_all;
    struct buf text;
    struct fault *fault;
};

static bool wrong(struct reader *r, const char *words)
{
    return fault_set(r->fault, -7, "%s:%d: %s", r->path, r->line, words);
}

/* Is `word` at the front of the line, alone or before a space? The rest comes out. */
static bool begins(struct span line, const char *word, struct span *rest)
{
    size_t n = strlen(word);
    if (line.n < n || memcmp(line.p, word, n) != 0 || (line.n > n && line.p[n] != ' '))
        return false;
    *rest = (struct span){line.p + n, line.n - n};
    if (rest->n) {
        rest->p++;
        rest->n--;
    }
    return true;
}

static bool number_of(struct span text, size_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || n > TRANSCRIPT_TEXT_MAX)
            return false;
        n = n * 10 + (size_t)(text.p[i] - '0');
    }
    *out = n;
    return text.n > 0;
}

/* Seconds with decimals, as in transcripts, or a duration such as 200ms. */
static bool time_of(struct span text, int64_t *us)
{
    char copy[32];
    char *end;
    int64_t ms;
    if (text.n == 0 || text.n >= sizeof copy)
        return false;
    if (duration_parse(text, &ms)) {
        *us = ms * 1000;
        return true;
    }
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    double seconds = strtod(copy, &end);
    if (*end || !(seconds >= 0 && seconds < 1e6))
        return false;
    *us = (int64_t)(seconds * 1e6);
    return true;
}

/* "nothing", "all", "10" or "10 200ms". */
static bool pace_of(struct span text, struct act *act)
{
    const char *space = memchr(text.p, ' ', text.n);
    struct span first = {text.p, space ? (size_t)(space - text.p) : text.n};
    act->n = SIZE_MAX;
    if (span_equal(text, SPAN("all")))
        return true;
    act->n = 0;
    if (span_equal(text, SPAN("nothing")))
        return true;
    if (!number_of(first, &act->n) || !act->n)
        return false;
    return !space || time_of((struct span){space + 1, text.n - first.n - 1}, &act->us);
}

static void add_act(struct reader *r, const struct act *act)
{
    struct scenario *s = r->scenario;
    s->acts = mem_resize(s->acts, (size_t)s->acts_n + 1, sizeof *s->acts);
    s->acts[s->acts_n++] = *act;
    s->sections[s->sections_n] = s->acts_n;
}

/* RFC 3207, before the EHLO that the file begins with. */
static void add_starttls(struct reader *r)
{
    const struct act acts[] = {
        {.kind = ACT_HEAR, .text = SPAN("EHLO *")},
        {.kind = ACT_SAY, .text = SPAN("250-mx.x hello\r\n250 STARTTLS\r\n")},
        {.kind = ACT_HEAR, .text = SPAN("STARTTLS")},
        {.kind = ACT_SAY, .text = SPAN("220 go ahead\r\n")},
        {.kind = ACT_TLS},
    };
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        struct act act = acts[i];
        act.line = r->line;
        add_act(r, &act);
    }
    r->secure = false;
}

/* The text of S: becomes its bytes; a pattern stays as it is. */
static bool add_text(struct reader *r, struct act *act, struct span text, bool line)
{
    struct scenario *s = r->scenario;
    if (act->kind == ACT_HEAR && !line) {
        act->kind = ACT_HEAR_BODY;
        if (!span_equal(text, SPAN("{body}")))
            return wrong(r, "behind C> only {body} is known");
    } else if (act->kind == ACT_HEAR) {
        if (r->secure && span_starts_nocase(text, SPAN("EHLO")))
            add_starttls(r);
        act->text = (struct span){arena_strndup(&s->texts, text.p, text.n), text.n};
    } else {
        buf_reset(&r->text);
        const char *why = transcript_unescape(&r->text, text);
        if (why)
            return wrong(r, why);
        if (line)
            buf_add(&r->text, "\r\n", 2);
        act->text.p = arena_strndup(&s->texts, r->text.n ? r->text.p : "", r->text.n);
        act->text.n = r->text.n;
    }
    add_act(r, act);
    return true;
}

static bool take_act(struct reader *r, enum act_kind kind, struct span rest)
{
    struct act act = {.kind = kind, .line = r->line};
    bool good = true;
    switch (verbs[kind].takes) {
    case TAKES_TEXT:
        return add_text(r, &act, rest, true);
    case TAKES_NOTHING:
        good = rest.n == 0;
        break;
    case TAKES_NUMBER:
        good = number_of(rest, &act.n);
        break;
    case TAKES_DURATION:
        good = time_of(rest, &act.us);
        break;
    case TAKES_READ:
        good = pace_of(rest, &act);
        break;
    }
    if (!good)
        return wrong(r, "what stands behind the verb is not understood");
    add_act(r, &act);
    return true;
}

static bool take_section(struct reader *r, struct span rest)
{
    struct scenario *s = r->scenario;
    size_t n;
    if (!number_of(rest, &n) || n != (size_t)s->sections_n + (s->acts_n > 0 ? 1 : 0))
        return wrong(r, "connections are numbered from 1, in order");
    if (n > SCENARIO_SECTIONS_MAX)
        return wrong(r, "too many connections");
    s->sections_n = (int)n;
    r->secure = r->secure_all;
    s->sections[n - 1] = s->sections[n] = s->acts_n;
    return true;
}

static bool take_line(struct reader *r, struct span line)
{
    struct span rest;
    if (!line.n || line.p[0] == '#')
        return true;
    if (begins(line, "connection", &rest))
        return take_section(r, rest);
    if (begins(line, "receive-buffer", &rest)) {
        size_t n;
        if (!number_of(rest, &n))
            return wrong(r, "receive-buffer needs a number of bytes");
        r->scenario->receive_buffer = (int)n;
        return true;
    }
    if (begins(line, "clear", &rest)) {
        r->secure = r->secure_all = false;
        return true;
    }
    if (begins(line, "hold", &rest)) {
        r->scenario->hold = true;
        return true;
    }
    struct act raw = {.line = r->line};
    if (begins(line, "S>", &rest)) {
        raw.kind = ACT_SAY;
        return add_text(r, &raw, rest, false);
    }
    if (begins(line, "C>", &rest)) {
        raw.kind = ACT_HEAR;
        return add_text(r, &raw, rest, false);
    }
    for (int i = 0; i < ACT_COUNT; i++)
        if (verbs[i].word && begins(line, verbs[i].word, &rest))
            return take_act(r, (enum act_kind)i, rest);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (begins(line, others[i], &rest))
            return true;
    return wrong(r, "unknown line");
}

static void take_name(struct scenario *s, const char *path)
{
    const char *slash = strrchr(path, '/');
    s->name = mem_strdup(slash ? slash + 1 : path);
    char *dot = strrchr(s->name, '.');
    if (dot)
        *dot = '\0';
}

struct scenario *scenario_read(const char *path, bool secure, struct fault *f)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        fault_set(f, -7, "cannot open scenario \"%s\": %s", path, strerror(errno));
        return NULL;
    }
    struct scenario *s = mem_zero(1, sizeof *s);
    struct reader r = {.scenario = s, .path = path, .fault = f};
    r.secure = r.secure_all = secure;
    take_name(s, path);
    s->sections_n = 1;
    char *line = NULL;
    size_t cap = 0;
    bool good = true;
    for (ssize_t n; good && (n = getline(&line, &cap, file)) > 0;) {
        r.line++;
        good = take_line(&r, (struct span){line, (size_t)n - (line[n - 1] == '\n')});
    }
    if (good && ferror(file))
        good = wrong(&r, "cannot be read");
    free(line);
    fclose(file);
    buf_finish(&r.text);
    if (good)
        return s;
    scenario_free(s);
    return NULL;
}

void scenario_free(struct scenario *s)
{
    if (!s)
        return;
    free(s->name);
    free(s->acts);
    arena_finish(&s->texts);
    free(s);
}
