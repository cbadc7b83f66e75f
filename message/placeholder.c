/* {{column}}, {{{column}}}, {{column|url}}. */
#include <stdlib.h>

#include "base/mem.h"
#include "message/program.h"

struct placeholder {
    struct span name;
    struct span filter; /* p NULL: none */
    bool triple;
    size_t n; /* of the whole; 0: not closed on its line */
};

/* s begins with "{{". */
static struct placeholder read_one(struct span s)
{
    struct placeholder p = {.triple = s.n > 2 && s.p[2] == '{'};
    const size_t braces = p.triple ? 3 : 2;
    size_t i = braces;
    for (;; i++) {
        if (i + braces > s.n || s.p[i] == '\r' || s.p[i] == '\n')
            return p;
        if (memcmp(s.p + i, "}}}", braces) == 0)
            break;
    }
    p.n = i + braces;
    p.name = span_trim((struct span){s.p + braces, i - braces});
    const char *bar = p.name.n ? memrchr(p.name.p, '|', p.name.n) : NULL;
    if (bar) {
        p.filter =
            span_trim((struct span){bar + 1, (size_t)(p.name.p + p.name.n - bar - 1)});
        p.name = span_trim((struct span){p.name.p, (size_t)(bar - p.name.p)});
    }
    return p;
}

enum { COLUMN_UNKNOWN = -1, COLUMN_AMBIGUOUS = -2 };

/* Exactly as the list spells it, else the only one that differs in ASCII case alone. */
static int column_find(const struct template_params *params, struct span name)
{
    int found = COLUMN_UNKNOWN;
    for (int i = 0; i < params->columns_n; i++) {
        const struct span column = span_of(params->columns[i]);
        if (span_equal(column, name))
            return i;
        if (span_equal_nocase(column, name))
            found = found == COLUMN_UNKNOWN ? i : COLUMN_AMBIGUOUS;
    }
    return found;
}

static bool wrong(const struct scan *s, struct span before, const char *what,
                  struct span which)
{
    const int line = s->line_of ? s->line_of(s->context, before) : s->line;
    const int n = which.n > 100 ? 100 : (int)which.n;
    return mime_wrong(s->fault, s->params->file, line, "%s%.*s", what, n,
                      which.n ? which.p : "");
}

static bool check(const struct scan *s, struct span before, struct placeholder p,
                  int column)
{
    if (!p.n)
        return wrong(s, before, "{{ is not closed on its line", (struct span){0});
    if (p.filter.p && !span_equal_nocase(p.filter, SPAN("url")))
        return wrong(s, before, "unknown filter (there is only url): ", p.filter);
    if (column == COLUMN_AMBIGUOUS)
        return wrong(s, before,
                     "several columns differ from this only in case: ", p.name);
    if (column == COLUMN_UNKNOWN)
        return wrong(s, before, "the list has no column ", p.name);
    if (s->sealed)
        return wrong(s, before, "a placeholder would break the signature: ", p.name);
    return true;
}

static void add(struct segments *out, struct segment one)
{
    if ((out->n & (out->n - 1)) == 0) /* grows at each power of two */
        out->list =
            mem_resize(out->list, out->n ? 2 * (size_t)out->n : 1, sizeof *out->list);
    out->list[out->n++] = one;
}

bool placeholders_scan(const struct scan *s, struct span text, enum escape plain,
                       struct segments *out)
{
    struct segments found = {0};
    bool good = true;
    size_t from = 0;
    for (size_t at = 0; at + 1 < text.n;) {
        const char *brace = memmem(text.p + at, text.n - at, "{{", 2);
        if (!brace)
            break;
        at = (size_t)(brace - text.p);
        const struct placeholder p = read_one((struct span){brace, text.n - at});
        const int column = p.n ? column_find(s->params, p.name) : COLUMN_UNKNOWN;
        if (s->sealed && column < 0) { /* not ours, it only looks so */
            at += 2;
            continue;
        }
        good = check(s, (struct span){text.p, at}, p, column);
        if (!good)
            break;
        const enum escape escape = p.filter.p                         ? ESCAPE_URL
                                   : p.triple && plain == ESCAPE_HTML ? ESCAPE_NONE
                                                                      : plain;
        add(&found, (struct segment){{text.p + from, at - from}, column, escape});
        from = at += p.n;
    }
    add(&found, (struct segment){{text.p + from, text.n - from}, NO_COLUMN, plain});
    const size_t bytes = (size_t)found.n * sizeof *found.list;
    out->list = arena_alloc(s->arena, bytes);
    memcpy(out->list, found.list, bytes);
    out->n = found.n;
    free(found.list);
    return good;
}
