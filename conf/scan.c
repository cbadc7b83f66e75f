#include "conf/scan.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"

enum {
    FILES_MAX = 100, /* also the end of a file that includes itself */
    FILE_BYTES_MAX = 1 << 20,
    NESTING_MAX = 16,  /* braces inside braces; the grammar needs 3 */
    VARIABLE_MAX = 64, /* bytes of a name in ${} */
    RULES_MAX = 1000,
};

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_STRING, TOKEN_MARK };

struct token {
    enum token_kind kind;
    struct span text; /* with its quotes */
    struct place at;
};

struct reader { /* of one file */
    struct scan *scan;
    const char *p, *end;
    struct place at;
    bool is_job;
    int rule; /* number of the rule whose section is being read; -1: none */
    struct fault *f;
};

static bool is_mark(const struct token *t, char c)
{
    return t->kind == TOKEN_MARK && t->text.p[0] == c;
}

/* Over blanks and comments. */
static bool skip(struct reader *r)
{
    while (r->p < r->end) {
        bool two = r->end - r->p >= 2;
        if (*r->p == '\n') {
            r->at.line++;
            r->p++;
        } else if (*r->p == ' ' || *r->p == '\t' ||
                   (two && r->p[0] == '\r' && r->p[1] == '\n')) {
            r->p++;
        } else if (*r->p == '#' || (two && memcmp(r->p, "//", 2) == 0)) {
            while (r->p < r->end && *r->p != '\n')
                r->p++;
        } else if (two && memcmp(r->p, "/*", 2) == 0) {
            const char *close = memmem(r->p + 2, (size_t)(r->end - r->p) - 2, "*/", 2);
            if (!close)
                return place_fault(r->f, -5, r->at, "this comment is not closed");
            for (; r->p < close + 2; r->p++)
                r->at.line += *r->p == '\n';
        } else {
            break;
        }
    }
    return true;
}

/* ${NAME} or ${NAME:-otherwise} in "…": libConfuse puts nothing for a name that is not
 * set, and looks for the brace beyond the closing quote. */
static bool variable(struct reader *r)
{
    const char *name = r->p + 2, *p = name;
    while (p < r->end && (*p == '_' || (*p >= '0' && *p <= '9') ||
                          (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z')))
        p++;
    char text[VARIABLE_MAX + 1];
    size_t n = (size_t)(p - name);
    bool otherwise = r->end - p >= 2 && memcmp(p, ":-", 2) == 0;
    if (otherwise)
        while (p < r->end && !strchr("}\"\\\r\n", *p))
            p++;
    if (n == 0 || n >= sizeof text || p == r->end || *p != '}')
        return place_fault(r->f, -5, r->at,
                           "${ in \"…\" must be ${NAME} or ${NAME:-otherwise}; "
                           "in '…' it is itself");
    memcpy(text, name, n);
    text[n] = '\0';
    if (!otherwise && !getenv(text))
        return place_fault(r->f, -7, r->at, "${%s} is not set in the environment",
                           text);
    r->p = p + 1;
    return true;
}

static bool escape(struct reader *r, char quote)
{
    char c = r->end - r->p >= 2 ? r->p[1] : '\n';
    if (quote == '"' && c != '\n' && c != '\\' && c != '"' && c != '$')
        return place_fault(r->f, -5, r->at,
                           "write a backslash in \"…\" twice; in '…' it is itself");
    r->p +=
        (unsigned char)c < 0x20 ? 1 : 2; /* control bytes are looked at by string() */
    return true;
}

static bool string(struct reader *r)
{
    char quote = *r->p++;
    while (r->p < r->end && *r->p != quote) {
        unsigned char c = (unsigned char)*r->p;
        if (c == '\n' || c == '\r')
            break;
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return place_fault(r->f, -5, r->at, "control character in a string");
        if (c == '\\') {
            if (!escape(r, quote))
                return false;
        } else if (quote == '"' && c == '$' && r->end - r->p >= 2 && r->p[1] == '{') {
            if (!variable(r))
                return false;
        } else {
            r->p++;
        }
    }
    if (r->p == r->end || *r->p != quote)
        return place_fault(r->f, -5, r->at, "this string is not closed on its line");
    r->p++;
    return true;
}

/* What may stand without quotes. */
static bool in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("_.:/@-", c));
}

static bool word(struct reader *r)
{
    const char *start = r->p;
    while (r->p < r->end && in_word(*r->p))
        r->p++;
    if (r->p > start && !memmem(start, (size_t)(r->p - start), "//", 2) &&
        !(r->p < r->end && *r->p == '*' && r->p[-1] == '/'))
        return true;
    if (r->p > start)
        return place_fault(r->f, -5, r->at, "// and /* inside a word must be quoted");
    if ((unsigned char)*r->p < 0x20 || *r->p == 0x7f)
        return place_fault(r->f, -5, r->at, "control character outside a string");
    size_t n = utf8_sequence((struct span){r->p, (size_t)(r->end - r->p)});
    return place_fault(r->f, -5, r->at, "\"%.*s\" must stand in quotes", n ? (int)n : 1,
                       r->p);
}

static bool next(struct reader *r, struct token *t)
{
    if (!skip(r))
        return false;
    *t = (struct token){TOKEN_END, {r->p, 0}, r->at};
    if (r->p == r->end)
        return true;
    bool good = true;
    if (*r->p && strchr("{}()=,+", *r->p)) {
        t->kind = TOKEN_MARK;
        r->p++;
    } else if (*r->p == '"' || *r->p == '\'') {
        t->kind = TOKEN_STRING;
        good = string(r);
    } else {
        t->kind = TOKEN_WORD;
        good = word(r);
    }
    t->text.n = (size_t)(r->p - t->text.p);
    return good;
}

/* Strings, comments and braces are whole: told first, so that a brace that is missing
 * is not taken for an unknown keyword further down. */
static bool whole(struct reader r)
{
    struct place open[NESTING_MAX];
    int depth = 0;
    struct token t;
    for (;;) {
        if (!next(&r, &t))
            return false;
        if (t.kind == TOKEN_END)
            break;
        if (is_mark(&t, '{')) {
            if (depth == NESTING_MAX)
                return place_fault(r.f, -5, t.at, "too many braces inside braces");
            open[depth++] = t.at;
        } else if (is_mark(&t, '}') && depth-- == 0) {
            return place_fault(r.f, -5, t.at, "this } closes nothing");
        }
    }
    if (depth)
        return place_fault(r.f, -5, open[depth - 1], "this { is not closed");
    return true;
}

static bool unexpected(struct reader *r, const struct token *t, const char *due)
{
    if (t->kind == TOKEN_END)
        return place_fault(r->f, -5, t->at, "the file ends where %s is due", due);
    return place_fault(r->f, -5, t->at, "%.*s where %s is due", (int)t->text.n,
                       t->text.p, due);
}

static void emit(struct reader *r, const struct token *t)
{
    struct scan *s = r->scan;
    size_t n = s->lines.n / sizeof t->at;
    struct place last = scan_line(s, (int)n);
    if (n == 0 || last.file != t->at.file || last.line != t->at.line) {
        if (n)
            buf_add_char(&s->text, '\n');
        buf_add(&s->lines, &t->at, sizeof t->at);
    }
    buf_add_span(&s->text, t->text);
    buf_add_char(&s->text, ' ');
}

static bool once(struct reader *r, struct place *seen, const struct token *t)
{
    if (seen->line)
        return place_fault(r->f, -7, t->at, "\"%.*s\" is given twice, first at %s:%d",
                           (int)t->text.n, t->text.p, seen->file, seen->line);
    *seen = t->at;
    return true;
}

static void add_value(struct reader *r, const struct setting *s, const struct token *t)
{
    struct scan_value v = {s, t->at, r->rule};
    buf_add(&r->scan->values, &v, sizeof v);
    emit(r, t);
}

/* Behind a key: = value, or = { values }. Commas are libConfuse's. */
static bool assignment(struct reader *r, const struct setting *s)
{
    struct token t;
    if (!next(r, &t))
        return false;
    if (!is_mark(&t, '='))
        return unexpected(r, &t, "=");
    emit(r, &t);
    if (!next(r, &t))
        return false;
    if (t.kind == TOKEN_WORD || t.kind == TOKEN_STRING) {
        add_value(r, s, &t);
        return true;
    }
    if (!is_mark(&t, '{'))
        return unexpected(r, &t, "a value");
    struct place open = t.at;
    emit(r, &t);
    for (;;) {
        if (!next(r, &t))
            return false;
        if (t.kind == TOKEN_WORD || t.kind == TOKEN_STRING)
            add_value(r, s, &t);
        else if (is_mark(&t, ',') || is_mark(&t, '}'))
            emit(r, &t);
        else if (is_mark(&t, '=') || is_mark(&t, '{')) /* the next key or section */
            return place_fault(r->f, -5, open, "this { is not closed");
        else
            return unexpected(r, &t, ", or }");
        if (is_mark(&t, '}'))
            return true;
    }
}

static bool unknown(struct reader *r, enum conf_section in, const struct token *t)
{
    struct reader ahead = *r; /* `timeout = 5s` is a key, `timeout { }` a section */
    struct token behind;
    bool is_key = next(&ahead, &behind) && is_mark(&behind, '=');
    const char *near = setting_nearest(in, t->text);
    enum conf_section home = setting_elsewhere(t->text, !is_key);
    struct buf hint = {0};
    if (near) {
        buf_printf(&hint, "; did you mean \"%s\"?", near);
    } else if (home == SECTION_TOP) {
        buf_add_str(&hint, " here; it stands outside any section");
    } else if (home < SECTION_COUNT) {
        buf_add_str(&hint, " here; it belongs in ");
        section_full_name(&hint, home);
        buf_add_str(&hint, " { }");
    }
    place_fault(r->f, -6, t->at, "unknown keyword \"%.*s\"%s", (int)t->text.n,
                t->text.p, buf_cstr(&hint));
    buf_finish(&hint);
    return false;
}

static bool read_file(struct reader *r, const char *path, struct place from,
                      enum conf_section in);

/* ("file"), relative to the file that it stands in. */
static bool include(struct reader *r, enum conf_section in)
{
    struct token open, name, close;
    if (!next(r, &open))
        return false;
    if (!is_mark(&open, '('))
        return unexpected(r, &open, "(");
    if (!next(r, &name))
        return false;
    if (name.kind != TOKEN_STRING)
        return unexpected(r, &name, "a quoted file name");
    if (!next(r, &close))
        return false;
    if (!is_mark(&close, ')'))
        return unexpected(r, &close, ")");
    struct span file = {name.text.p + 1, name.text.n - 2};
    if (file.n == 0 || memchr(file.p, '\\', file.n) || memmem(file.p, file.n, "${", 2))
        return place_fault(r->f, -7, name.at,
                           "a file name in include() is taken as it stands, "
                           "without backslash and ${}");
    struct buf path = {0};
    if (file.p[0] != '/')
        buf_add_span(&path, folder_of(r->at.file));
    buf_add_span(&path, file);
    struct reader inner = {
        .scan = r->scan, .is_job = r->is_job, .rule = r->rule, .f = r->f};
    bool good = read_file(&inner, buf_cstr(&path), name.at, in);
    buf_finish(&path);
    return good;
}

/* Its name is taken as it stands. */
static bool begin_rule(struct reader *r, enum conf_section section,
                       const struct token *title)
{
    struct span text = title->text;
    if (title->kind == TOKEN_STRING)
        text = (struct span){text.p + 1, text.n - 2};
    struct buf pattern = {0};
    bool good = title_take(section, text, &pattern);
    struct scan *s = r->scan;
    struct scan_rule fresh = {
        .section = section, .at = title->at, .values = s->values.n};
    fresh.pattern = arena_strndup(&s->names, buf_cstr(&pattern), pattern.n);
    buf_finish(&pattern);
    if (!good)
        return place_fault(r->f, -7, title->at, "%s must be %s, not %.*s",
                           sections[section].name, title_form(section),
                           (int)title->text.n, title->text.p);
    for (int i = 0; section != SECTION_REPLY && i < scan_rules(s); i++) {
        const struct scan_rule *other = scan_rule(s, i);
        if (other->section == section && strcmp(other->pattern, fresh.pattern) == 0)
            return place_fault(
                r->f, -7, title->at, "%s \"%s\" is given twice, first at %s:%d",
                sections[section].name, fresh.pattern, other->at.file, other->at.line);
    }
    r->rule = scan_rules(s);
    if (r->rule == RULES_MAX)
        return place_fault(r->f, -7, title->at, "more than %d sections with a name",
                           RULES_MAX);
    buf_add(&s->rules, &fresh, sizeof fresh);
    return true;
}

static bool statements(struct reader *r, enum conf_section in);

/* Behind the keyword of a section with a name. libConfuse would make one section of two
 * with the same title: a reply's is its number. */
static bool rule(struct reader *r, enum conf_section section)
{
    struct token t;
    if (!next(r, &t))
        return false;
    if (t.kind != TOKEN_WORD && t.kind != TOKEN_STRING)
        return unexpected(r, &t, "a name in quotes");
    if (!begin_rule(r, section, &t))
        return false;
    char number[16];
    snprintf(number, sizeof number, "%d", r->rule);
    if (section == SECTION_REPLY)
        t.text = span_of(number);
    emit(r, &t);
    if (!next(r, &t))
        return false;
    if (!is_mark(&t, '{'))
        return unexpected(r, &t, "{");
    emit(r, &t);
    bool good = statements(r, section_keys(section));
    r->rule = -1;
    return good;
}

/* Where a key or section is noted as given. */
static struct place *noted(struct reader *r, const struct setting *key,
                           enum conf_section section)
{
    if (r->rule < 0)
        return key ? &r->scan->keys[key - settings] : &r->scan->sections[section];
    struct scan_rule *of = scan_rule(r->scan, r->rule);
    return key ? &of->keys[key - settings] : &of->timeout;
}

/* What stands in a file, or between the braces of a section. */
static bool statements(struct reader *r, enum conf_section in)
{
    for (;;) {
        struct token t;
        if (!next(r, &t))
            return false;
        if (t.kind == TOKEN_END)
            return true;
        if (is_mark(&t, '}')) {
            emit(r, &t);
            return true;
        }
        if (t.kind != TOKEN_WORD)
            return unexpected(r, &t, "a keyword");
        if (span_equal(t.text, SPAN("include"))) {
            if (!include(r, in))
                return false;
            continue;
        }
        const struct setting *key = setting_find(in, t.text);
        enum conf_section section = section_find(in, t.text);
        if (!key &&
            (section == SECTION_COUNT || (section == SECTION_JOB && !r->is_job)))
            return unknown(r, in, &t);
        bool titled = section_is_named(section);
        if (!titled && !once(r, noted(r, key, section), &t))
            return false;
        emit(r, &t);
        if (titled) {
            if (!rule(r, section))
                return false;
            continue;
        }
        if (key) {
            if (!assignment(r, key))
                return false;
            continue;
        }
        if (!next(r, &t))
            return false;
        if (!is_mark(&t, '{'))
            return unexpected(r, &t, "{");
        emit(r, &t);
        if (!statements(r, section))
            return false;
    }
}

static bool load(struct buf *out, int fd)
{
    for (;;) {
        buf_reserve(out, 4096);
        ssize_t n = read(fd, out->p + out->n, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        out->n += (size_t)n;
        if (out->n > FILE_BYTES_MAX) {
            errno = EFBIG;
            return false;
        }
    }
}

static bool read_text(struct reader *r, const char *file, struct span text,
                      enum conf_section in)
{
    r->p = text.p;
    r->end = text.p + text.n;
    r->at = (struct place){file, 1};
    if (text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0)
        r->p += 3; /* byte-order mark */
    return whole(*r) && statements(r, in);
}

static bool read_file(struct reader *r, const char *path, struct place from,
                      enum conf_section in)
{
    if (r->scan->files++ == FILES_MAX)
        return place_fault(r->f, -5, from,
                           "more than %d files are included; does one include itself?",
                           FILES_MAX);
    const char *file = arena_strndup(&r->scan->names, path, strlen(path));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return place_fault(r->f, -4, from, "cannot open settings file \"%s\": %s", path,
                           strerror(errno));
    struct buf bytes = {0};
    bool good = load(&bytes, fd);
    if (!good)
        place_fault(r->f, -5, from, "cannot read settings file \"%s\": %s", path,
                    strerror(errno));
    close(fd);
    if (good) {
        buf_reserve(&bytes, 1); /* an empty file, too, has an address */
        good = read_text(r, file, buf_span(&bytes), in);
    }
    buf_finish(&bytes);
    return good;
}

bool scan_read(struct scan *s, const char *path, bool is_job, struct fault *f)
{
    struct reader r = {.scan = s, .is_job = is_job, .rule = -1, .f = f};
    return read_file(&r, path, (struct place){path, 0}, SECTION_TOP);
}

bool scan_read_text(struct scan *s, const char *name, struct span text, struct fault *f)
{
    struct reader r = {.scan = s, .rule = -1, .f = f};
    return read_text(&r, name, text, SECTION_TOP);
}

void scan_finish(struct scan *s)
{
    buf_finish(&s->text);
    buf_finish(&s->lines);
    buf_finish(&s->values);
    buf_finish(&s->rules);
    arena_finish(&s->names);
}

struct place scan_line(const struct scan *s, int n)
{
    if (n < 1 || (size_t)n > s->lines.n / sizeof(struct place))
        return (struct place){"", 0};
    return ((const struct place *)(const void *)s->lines.p)[n - 1];
}

int scan_rules(const struct scan *s)
{
    return (int)(s->rules.n / sizeof(struct scan_rule));
}

struct scan_rule *scan_rule(const struct scan *s, int i)
{
    return (struct scan_rule *)(void *)s->rules.p + i;
}

struct place scan_value_place(const struct scan *s, const struct scan_rule *rule,
                              const struct setting *of, int i)
{
    const struct scan_value *v = (const void *)s->values.p;
    const struct scan_value *end = v + s->values.n / sizeof *v;
    for (v += (rule ? rule->values : 0) / sizeof *v; v < end; v++)
        if (v->setting == of && v->rule == (rule ? rule - scan_rule(s, 0) : -1) &&
            i-- == 0)
            return v->at;
    return (struct place){"", 0};
}
