#include "message/mime.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

bool mime_wrong(struct fault *f, const char *file, int line, const char *format, ...)
{
    char words[sizeof f->words];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    return fault_set(f, -21, "%s:%d: %s", file, line, words);
}

bool lines_next(struct lines *l, struct span *line_out)
{
    if (l->at >= l->text.n)
        return false;
    const char *p = l->text.p + l->at;
    const size_t left = l->text.n - l->at;
    size_t n = 0;
    while (n < left && p[n] != '\r' && p[n] != '\n')
        n++;
    *line_out = (struct span){p, n};
    l->at += n;
    if (n < left)
        l->at += p[n] == '\r' && n + 1 < left && p[n + 1] == '\n' ? 2 : 1;
    l->line++;
    return true;
}

void lines_normalise(struct buf *out, struct span text)
{
    struct lines l = {.text = text};
    struct span line;
    while (lines_next(&l, &line)) {
        buf_add_span(out, line);
        if (line.p + line.n < text.p + text.n)
            buf_add(out, "\r\n", 2);
    }
}

static bool is_blank(struct span s)
{
    return span_trim(s).n == 0;
}

static bool has_control(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return true;
    }
    return false;
}

/* Length of the field name in front of the colon, 0 when it is none (RFC 5322 2.2). */
static size_t name_length(struct span line)
{
    for (size_t i = 0; i < line.n && i <= MIME_NAME_MAX && line.p[0] != '.'; i++) {
        const unsigned char c = (unsigned char)line.p[i];
        if (c == ':')
            return i;
        if (c < 33 || c > 126 || c == '{')
            return 0;
    }
    return 0;
}

static void add_field(struct mime_fields *fields, struct mime_field field)
{
    if (fields->n == fields->cap) {
        fields->cap = fields->cap ? 2 * fields->cap : 16;
        fields->list =
            mem_resize(fields->list, (size_t)fields->cap, sizeof *fields->list);
    }
    fields->list[fields->n++] = field;
}

/* Text collected while the lines of one field come in. */
struct collected {
    struct buf raw, value;
    struct span name;
    int line;
};

static void end_field(struct collected *c, struct arena *arena, struct mime_fields *out)
{
    if (!c->name.n)
        return;
    const struct span value = span_trim(buf_span(&c->value));
    add_field(out, (struct mime_field){
                       .name = c->name,
                       .value = {arena_strndup(arena, value.p, value.n), value.n},
                       .raw = {arena_strndup(arena, c->raw.p, c->raw.n), c->raw.n},
                       .line = c->line,
                   });
    buf_reset(&c->raw);
    buf_reset(&c->value);
}

bool mime_fields_read(struct lines *l, struct arena *arena, struct mime_fields *out,
                      const char *file, struct fault *f)
{
    struct collected c = {0};
    struct span line;
    bool good = true;
    while (good) {
        const int number = l->line;
        if (!lines_next(l, &line) || line.n == 0)
            break;
        if (has_control(line)) {
            good = mime_wrong(f, file, number, "control character in a header");
        } else if (line.p[0] == ' ' || line.p[0] == '\t') {
            if (!c.name.n)
                good = mime_wrong(f, file, number, "header begins with a space");
            else if (is_blank(
                         line)) /* readers differ whether such a line ends it all */
                continue;
            buf_add_span(&c.value, line);
        } else {
            const size_t n = name_length(line);
            if (!n) {
                good =
                    mime_wrong(f, file, number, "malformed header: want \"Name: …\"");
                break;
            }
            end_field(&c, arena, out);
            c.name = (struct span){line.p, n};
            c.line = number;
            buf_add(&c.value, line.p + n + 1, line.n - n - 1);
        }
        buf_add_span(&c.raw, line);
        buf_add(&c.raw, "\r\n", 2);
    }
    if (good)
        end_field(&c, arena, out);
    buf_finish(&c.raw);
    buf_finish(&c.value);
    return good;
}

const struct mime_field *mime_field_find(const struct mime_fields *fields,
                                         const char *name)
{
    for (int i = 0; i < fields->n; i++) {
        if (span_equal_nocase(fields->list[i].name, span_of(name)))
            return &fields->list[i];
    }
    return NULL;
}

/* ---- Content-Type ----------------------------------------------------------- */

struct cursor {
    struct span s;
    size_t at;
};

static void skip_space(struct cursor *c)
{
    int depth = 0; /* comments may nest */
    for (; c->at < c->s.n; c->at++) {
        const char ch = c->s.p[c->at];
        if (ch == '(')
            depth++;
        else if (ch == ')' && depth)
            depth--;
        else if (ch == '\\' && depth && c->at + 1 < c->s.n)
            c->at++;
        else if (!depth && ch != ' ' && ch != '\t')
            return;
    }
}

static struct span take_token(struct cursor *c)
{
    const size_t from = c->at;
    while (c->at < c->s.n && c->s.p[c->at] > ' ' && c->s.p[c->at] < 0x7f &&
           !strchr("()<>@,;:\\\"/[]?=", c->s.p[c->at]))
        c->at++;
    return (struct span){c->s.p + from, c->at - from};
}

static bool take_quoted(struct cursor *c, struct arena *arena, struct span *out)
{
    char *text = arena_alloc(arena, c->s.n + 1);
    size_t n = 0;
    for (c->at++; c->at < c->s.n && c->s.p[c->at] != '"'; c->at++) {
        if (c->s.p[c->at] == '\\' && c->at + 1 < c->s.n)
            c->at++;
        text[n++] = c->s.p[c->at];
    }
    if (c->at == c->s.n)
        return false;
    c->at++;
    *out = (struct span){text, n};
    return true;
}

static bool take_char(struct cursor *c, char want)
{
    skip_space(c);
    if (c->at == c->s.n || c->s.p[c->at] != want)
        return false;
    c->at++;
    skip_space(c);
    return true;
}

bool mime_type_read(struct span value, struct arena *arena, struct mime_type *out)
{
    *out = (struct mime_type){0};
    struct cursor c = {.s = value};
    skip_space(&c);
    out->type = take_token(&c);
    if (!out->type.n || !take_char(&c, '/'))
        return false;
    out->subtype = take_token(&c);
    if (!out->subtype.n)
        return false;
    while (take_char(&c, ';') && c.at < c.s.n) {
        if (c.s.p[c.at] == ';')
            continue;
        const struct span name = take_token(&c);
        if (!name.n || !take_char(&c, '='))
            return false;
        const size_t from = c.at;
        struct span text;
        if (c.at < c.s.n && c.s.p[c.at] == '"') {
            if (!take_quoted(&c, arena, &text))
                return false;
        } else {
            text = take_token(&c);
            if (!text.n)
                return false;
        }
        if (span_equal_nocase(name, SPAN("boundary"))) {
            out->boundary = text;
        } else if (span_equal_nocase(name, SPAN("charset"))) {
            out->charset = text;
            out->charset_from = from;
            out->charset_until = c.at;
        }
    }
    skip_space(&c);
    return c.at == c.s.n;
}

/* ---- multipart -------------------------------------------------------------- */

/* 0: not a delimiter, 1: "--boundary", 2: "--boundary--" (spaces may follow). */
static int delimiter(struct span line, struct span boundary)
{
    if (line.n < boundary.n + 2 || memcmp(line.p, "--", 2) != 0 ||
        memcmp(line.p + 2, boundary.p, boundary.n) != 0)
        return 0;
    struct span rest = {line.p + 2 + boundary.n, line.n - 2 - boundary.n};
    if (is_blank(rest))
        return 1;
    if (rest.n >= 2 && memcmp(rest.p, "--", 2) == 0 &&
        is_blank((struct span){rest.p + 2, rest.n - 2}))
        return 2;
    return 0;
}

int mime_parts_next(struct mime_parts *p, struct span *part_out, int *line_out)
{
    struct span line;
    while (!p->started) { /* the preamble */
        if (!lines_next(&p->lines, &line))
            return -1;
        const int kind = delimiter(line, p->boundary);
        if (kind == 2)
            return 0;
        p->started = kind == 1;
    }
    if (p->closed)
        return 0;
    const size_t from = p->lines.at;
    *line_out = p->lines.line;
    size_t before = from; /* end of the line before, without its line end */
    while (lines_next(&p->lines, &line)) {
        const int kind = delimiter(line, p->boundary);
        if (!kind) {
            before = (size_t)(line.p + line.n - p->lines.text.p);
            continue;
        }
        *part_out = (struct span){p->lines.text.p + from, before - from};
        p->closed = kind == 2; /* what follows is the epilogue */
        return 1;
    }
    return -1;
}
