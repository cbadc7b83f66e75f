/* Header fields that are not passed as they stand: with placeholders, with bytes that
 * are not ASCII, or with a line that is too long. The value is taken apart once, here.
 */
#include "base/address.h"
#include "base/mem.h"
#include "base/text.h"
#include "message/program.h"

#include <stdlib.h>

/* clang-format off */
static const struct {
    const char *name;
    enum field_kind kind;
} kinds[] = {
    {"From", FIELD_ADDRESS}, {"Sender", FIELD_ADDRESS}, {"Reply-To", FIELD_ADDRESS},
    {"To", FIELD_ADDRESS}, {"Cc", FIELD_ADDRESS}, {"Errors-To", FIELD_ADDRESS},
    {"Disposition-Notification-To", FIELD_ADDRESS}, {"Return-Receipt-To", FIELD_ADDRESS},
    {"Mail-Followup-To", FIELD_ADDRESS}, {"Mail-Reply-To", FIELD_ADDRESS},
    {"Date", FIELD_FIXED}, {"In-Reply-To", FIELD_FIXED}, {"References", FIELD_FIXED},
    {"MIME-Version", FIELD_FIXED}, {"Received", FIELD_FIXED},
    {"DKIM-Signature", FIELD_FIXED}, {"Authentication-Results", FIELD_FIXED},
    {"Content-Type", FIELD_FIXED}, {"Content-Transfer-Encoding", FIELD_FIXED},
    {"Content-Disposition", FIELD_FIXED}, {"Content-ID", FIELD_FIXED},
    {"Content-Location", FIELD_FIXED}, {"Content-Language", FIELD_FIXED},
};
/* clang-format on */

enum field_kind field_kind_of(struct span name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (span_equal_nocase(name, span_of(kinds[i].name)))
            return kinds[i].kind;
    }
    if (span_starts_nocase(name, SPAN("List-")))
        return FIELD_LIST;
    if (span_starts_nocase(name, SPAN("Resent-")) ||
        span_starts_nocase(name, SPAN("ARC-")))
        return FIELD_FIXED;
    return FIELD_TEXT;
}

static bool wrong(const struct scan *s, const struct mime_field *from, const char *what)
{
    return mime_wrong(s->fault, s->params->file, s->line, "%.*s: %s", (int)from->name.n,
                      from->name.p, what);
}

/* ---- taking a value apart ---- */

/* Behind the thing that begins at value.p[i]: a placeholder, a quoted string, a
 * comment, or one byte. */
static size_t skip_one(struct span value, size_t i)
{
    const char *p = value.p;
    if (p[i] == '{' && i + 1 < value.n && p[i + 1] == '{') {
        const char *end = memmem(p + i, value.n - i, "}}", 2);
        if (end)
            return (size_t)(end - p) + 2;
    }
    if (p[i] == '"') {
        for (i++; i < value.n && p[i] != '"'; i++) {
            if (p[i] == '\\' && i + 1 < value.n)
                i++;
        }
        return i < value.n ? i + 1 : i;
    }
    if (p[i] == '(') {
        int depth = 0;
        for (; i < value.n; i++) {
            if (p[i] == '(')
                depth++;
            else if (p[i] == ')' && --depth == 0)
                return i + 1;
            else if (p[i] == '\\' && i + 1 < value.n)
                i++;
        }
        return i;
    }
    return i + 1;
}

/* The text up to a comma outside quotes, comments, placeholders and <>. */
static struct span take_element(struct span *rest)
{
    bool angle = false;
    size_t i = 0;
    while (i < rest->n && (angle || rest->p[i] != ',')) {
        if (rest->p[i] == '<')
            angle = true;
        else if (rest->p[i] == '>')
            angle = false;
        i = angle ? i + 1 : skip_one(*rest, i);
    }
    const struct span one = span_trim((struct span){rest->p, i});
    i += i < rest->n;
    rest->p += i;
    rest->n -= i;
    return one;
}

/* A display name as its reader sees it: quotes and comments taken off, encoded words
 * decoded. */
static bool phrase_read(struct buf *out, struct span raw)
{
    struct buf flat = {0};
    for (size_t i = 0; i < raw.n;) {
        const size_t end = skip_one(raw, i);
        if (raw.p[i] == '"') {
            for (size_t k = i + 1; k < end && raw.p[k] != '"'; k++) {
                if (raw.p[k] == '\\' && k + 1 < end)
                    k++;
                buf_add_char(&flat, raw.p[k]);
            }
        } else if (raw.p[i] != '(') {
            buf_add(&flat, raw.p + i, end - i);
        }
        i = end;
    }
    const bool good = words_read(out, span_trim(buf_span(&flat)));
    buf_finish(&flat);
    return good;
}

static struct span keep(struct arena *arena, const struct buf *b)
{
    return (struct span){arena_strndup(arena, b->p, b->n), b->n};
}

static bool scan_name(const struct scan *s, const struct mime_field *from,
                      struct span raw, struct segments *out)
{
    struct buf text = {0};
    const bool good = phrase_read(&text, raw) && utf8_valid(buf_span(&text));
    const struct span kept = keep(s->arena, &text);
    buf_finish(&text);
    if (!good)
        return wrong(s, from, "an encoded word that cannot be decoded");
    if (!kept.n)
        return true;
    return placeholders_scan(s, kept, ESCAPE_LINE, out);
}

static bool scan_address(const struct scan *s, const struct mime_field *from,
                         struct span raw, struct segments *out)
{
    if (!placeholders_scan(s, raw, ESCAPE_NONE, out))
        return false;
    if (out->n > 2 || (out->n == 2 && (out->list[0].text.n || out->list[1].text.n ||
                                       out->list[0].escape == ESCAPE_URL)))
        return wrong(s, from,
                     "a placeholder must be the whole address or stand in a "
                     "display name");
    if (out->n == 2)
        return true;
    struct address address;
    if (address_parse(raw, &address) != ADDRESS_OK)
        return wrong(s, from, "not an address");
    out->list[0].text =
        (struct span){arena_strndup(s->arena, address.text, address.n), address.n};
    return true;
}

/* The text between < and > of List-*: values are percent-encoded; one that begins the
 * URI is a whole URI and keeps what belongs to a URI. */
static bool scan_uri(const struct scan *s, const struct mime_field *from,
                     struct span raw, struct segments *out)
{
    struct buf text = {0};
    for (size_t i = 0; i < raw.n;) {
        const size_t end = raw.p[i] == '{' ? skip_one(raw, i) : i + 1;
        if (raw.p[i] != ' ' && raw.p[i] != '\t')
            buf_add(&text, raw.p + i, end - i);
        i = end;
    }
    const struct span kept = keep(s->arena, &text);
    buf_finish(&text);
    if (!placeholders_scan(s, kept, ESCAPE_URL, out))
        return false;
    if (out->n > 1 && !out->list[0].text.n)
        out->list[0].escape = ESCAPE_URI;
    for (int i = 0; i < out->n; i++) {
        if (!escape_not_needed(out->list[i].text, ESCAPE_URI))
            return wrong(s, from, "a character that cannot stand in a URI");
    }
    return true;
}

static bool compile_element(const struct scan *s, const struct mime_field *from,
                            enum field_kind kind, struct span raw, struct element *out)
{
    *out = (struct element){0};
    size_t open = 0;
    while (open < raw.n && raw.p[open] != '<')
        open = skip_one(raw, open);
    if (open >= raw.n) { /* no <> */
        if (kind == FIELD_LIST)
            return scan_name(s, from, raw, &out->name);
        struct buf text = {0}; /* without comments */
        for (size_t i = 0; i < raw.n; i = skip_one(raw, i)) {
            if (raw.p[i] != '(')
                buf_add(&text, raw.p + i, skip_one(raw, i) - i);
        }
        const struct span kept = span_trim(keep(s->arena, &text));
        buf_finish(&text);
        return scan_address(s, from, kept, &out->inner);
    }
    const char *close = memchr(raw.p + open, '>', raw.n - open);
    if (!close)
        return wrong(s, from, "< without >");
    const size_t at = (size_t)(close - raw.p);
    for (size_t i = at + 1; i < raw.n; i = skip_one(raw, i)) {
        if (raw.p[i] != ' ' && raw.p[i] != '\t' && raw.p[i] != '(')
            return wrong(s, from, "text behind >");
    }
    const struct span inner = {raw.p + open + 1, at - open - 1};
    out->angle = true;
    return scan_name(s, from, (struct span){raw.p, open}, &out->name) &&
           (kind == FIELD_LIST ? scan_uri(s, from, inner, &out->inner)
                               : scan_address(s, from, span_trim(inner), &out->inner));
}

static bool compile_elements(const struct scan *s, const struct mime_field *from,
                             enum field_kind kind, struct field *out)
{
    struct element *list = NULL;
    int n = 0;
    bool good = true;
    struct span rest = from->value;
    while (rest.n && good) {
        const struct span raw = take_element(&rest);
        if (!raw.n)
            continue;
        list = mem_resize(list, (size_t)n + 1, sizeof *list);
        good = compile_element(s, from, kind, raw, &list[n++]);
    }
    if (good && n) {
        out->elements = arena_alloc(s->arena, (size_t)n * sizeof *list);
        memcpy(out->elements, list, (size_t)n * sizeof *list);
        out->elements_n = n;
    }
    free(list);
    return good;
}

bool field_compile(const struct scan *s, const struct mime_field *from,
                   enum field_kind kind, struct field *out)
{
    *out = (struct field){.name = from->name, .kind = kind};
    out->name.p = arena_strndup(s->arena, from->name.p, from->name.n);
    if (kind == FIELD_FIXED)
        return wrong(s, from,
                     "neither a placeholder, nor 8-bit text, nor a line over 998 "
                     "octets can stand here");
    if (!utf8_valid(from->value))
        return wrong(s, from, "neither ASCII nor UTF-8");
    if (kind != FIELD_TEXT)
        return compile_elements(s, from, kind, out);
    struct buf text = {0};
    const bool good = words_read(&text, from->value) && utf8_valid(buf_span(&text));
    const struct span kept = keep(s->arena, &text);
    buf_finish(&text);
    if (!good)
        return wrong(s, from, "an encoded word that cannot be decoded");
    out->elements = arena_alloc(s->arena, sizeof *out->elements);
    out->elements[0] = (struct element){0};
    out->elements_n = 1;
    return placeholders_scan(s, kept, ESCAPE_LINE, &out->elements[0].name);
}
