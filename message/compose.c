/* A header field for one row: values merged, encoded for where they land, folded. */
#include <string.h>

#include "base/address.h"
#include "message/program.h"

enum {
    WORD_PLAIN_MAX = 400, /* a longer word is encoded, so that it can be folded */
    URI_MAX = 900,
};

/* ---- merging ---- */

/* Append the literal texts and escaped values. */
static void merge(struct buf *out, const struct segments *s, const struct span *values)
{
    for (int i = 0; i < s->n; i++) {
        const struct segment *one = &s->list[i];
        buf_add_span(out, one->text);
        if (one->column == NO_COLUMN || !values)
            continue;
        const struct span value = values[one->column];
        if (escape_not_needed(value, one->escape)) {
            buf_add_span(out, value);
        } else if (value.n <= HEADER_VALUE_MAX + 1) {
            const size_t n = escape_write(NULL, value, one->escape);
            buf_reserve(out, n);
            escape_write(out->p + out->n, value, one->escape);
            out->n += n;
        } else { /* too long anyway: its length is all that counts */
            buf_reserve(out, value.n);
            memset(out->p + out->n, 'x', value.n);
            out->n += value.n;
        }
    }
}

/* ---- writing ---- */

/* Template text may hold what no value can: decoded words with control bytes. */
static bool is_harmless(struct span s)
{
    return escape_not_needed(s, ESCAPE_LINE);
}

/* Can the word stand as it is? "=?" must not be taken for an encoded word. */
static bool is_plain(struct span s)
{
    return s.n <= WORD_PLAIN_MAX && is_harmless(s) && !memmem(s.p, s.n, "=?", 2);
}

struct writer {
    struct buf *out;
    size_t column;
};

static void put(struct writer *w, struct span s)
{
    buf_add_span(w->out, s);
    w->column += s.n;
}

static void fold(struct writer *w)
{
    buf_add(w->out, "\r\n ", 3);
    w->column = 1;
}

/* A space, or a new line when what comes next is too long for this one. */
static void space_before(struct writer *w, size_t next_n)
{
    if (w->column + 1 + next_n > LINE_OCTETS_GOOD && w->column > 1)
        fold(w);
    else
        put(w, SPAN(" "));
}

static void put_encoded(struct writer *w, struct span s)
{
    words_write(w->out, s, &w->column);
}

/* End of the spaces, then of the word, that begin at s.p[i]. */
static size_t word_end(struct span s, size_t i)
{
    while (i < s.n && s.p[i] == ' ')
        i++;
    while (i < s.n && s.p[i] != ' ')
        i++;
    return i;
}

/* Plain words, folded at spaces; s is empty or begins with a space. */
static void put_words(struct writer *w, struct span s)
{
    for (size_t i = 0, end; i < s.n; i = end) {
        end = word_end(s, i);
        if (w->column + (end - i) > LINE_OCTETS_GOOD) {
            buf_add(w->out, "\r\n", 2);
            w->column = 0;
        }
        put(w, (struct span){s.p + i, end - i});
    }
}

/* Words that are plain stay so; from the first that is not to the last that is not, all
 * are encoded together. The text has no outer spaces. */
static void put_text(struct writer *w, struct span s)
{
    size_t from = s.n, until = s.n;
    for (size_t i = 0, end; i < s.n; i = end) {
        end = word_end(s, i);
        if (is_plain((struct span){s.p + i, end - i}))
            continue;
        if (from == s.n)
            from = i + (i > 0); /* one space stays in front of it */
        until = end;
    }
    if (s.n)
        put(w, SPAN(" "));
    if (from) { /* never fold right behind the colon */
        const size_t first = word_end(s, 0);
        const size_t plain_n = from < s.n ? from - 1 : from;
        put(w, (struct span){s.p, first});
        put_words(w, (struct span){s.p + first, plain_n - first});
    }
    if (from < s.n) {
        if (from)
            put(w, SPAN(" "));
        put_encoded(w, (struct span){s.p + from, until - from});
        put_words(w, (struct span){s.p + until, s.n - until});
    }
}

static bool is_atoms(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        if (c != ' ' && (c < '!' || c > '~' || strchr("()<>[]:;@\\,.\"", c)))
            return false;
    }
    return !memmem(s.p, s.n, "  ", 2);
}

/* A display name: atoms, a quoted string, or encoded words. */
static void put_phrase(struct writer *w, struct span s)
{
    bool plain = true;
    for (size_t i = 0, end; i < s.n && plain; i = end) {
        end = word_end(s, i);
        plain = is_plain((struct span){s.p + i, end - i});
    }
    if (!plain) {
        space_before(w, 0);
        put_encoded(w, s);
        return;
    }
    const bool quoted = !is_atoms(s);
    space_before(w, s.n < LINE_OCTETS_GOOD / 2 ? s.n + 2 : 0);
    if (quoted)
        put(w, SPAN("\""));
    for (size_t i = 0, end; i < s.n; i = end) {
        end = word_end(s, i);
        if (i && w->column + (end - i) > LINE_OCTETS_GOOD) {
            buf_add(w->out, "\r\n", 2);
            w->column = 0;
        }
        for (size_t k = i; k < end; k++) {
            if (quoted && (s.p[k] == '"' || s.p[k] == '\\'))
                put(w, SPAN("\\"));
            put(w, (struct span){s.p + k, 1});
        }
    }
    if (quoted)
        put(w, SPAN("\""));
}

/* ---- fields ---- */

static const char TOO_LONG[] = "a header value over 4 KB";

/* Merge into the scratch buffer behind what is there; *total counts the whole field. */
static bool merge_bounded(const struct composer *c, const struct segments *s,
                          size_t *total, struct span *out, const char **why)
{
    buf_reset(c->merged);
    merge(c->merged, s, c->values);
    *total += c->merged->n;
    if (*total > HEADER_VALUE_MAX) {
        *why = TOO_LONG;
        return false;
    }
    struct span text = buf_span(c->merged);
    for (size_t i = 0; i < text.n; i++) { /* TABs and the like in template text */
        const unsigned char b = (unsigned char)text.p[i];
        if (b < 0x20 || b == 0x7f)
            c->merged->p[i] = ' ';
    }
    *out = span_trim(text);
    return true;
}

static bool compose_address(struct writer *w, const struct element *e, struct span text,
                            const struct composer *c, const char **why)
{
    struct address address;
    if (e->inner.n > 1 && c->values) { /* else template_compile has made it ready */
        if (address_parse(text, &address) != ADDRESS_OK) {
            *why = "a value in an address header is not an address";
            return false;
        }
        text = (struct span){address.text, address.n};
    }
    space_before(w, text.n + (e->angle ? 2 : 0));
    if (e->angle)
        put(w, SPAN("<"));
    put(w, text);
    if (e->angle)
        put(w, SPAN(">"));
    return true;
}

static bool compose_element(struct writer *w, const struct field *field,
                            const struct element *e, const struct composer *c,
                            size_t *total, const char **why)
{
    struct span text;
    if (e->name.n) {
        if (!merge_bounded(c, &e->name, total, &text, why))
            return false;
        if (field->kind == FIELD_TEXT)
            put_text(w, text);
        else if (text.n)
            put_phrase(w, text);
    }
    if (!e->inner.n)
        return true;
    if (!merge_bounded(c, &e->inner, total, &text, why))
        return false;
    if (field->kind == FIELD_ADDRESS)
        return compose_address(w, e, text, c, why);
    if (text.n > URI_MAX) {
        *why = "a URI in a List- header that is too long for a line";
        return false;
    }
    space_before(w, text.n + 2);
    put(w, SPAN("<"));
    put(w, text);
    put(w, SPAN(">"));
    return true;
}

bool field_compose(const struct composer *c, const struct field *field,
                   const char **why)
{
    struct writer w = {.out = c->out};
    size_t total = 0;
    put(&w, field->name);
    put(&w, SPAN(":"));
    for (int i = 0; i < field->elements_n; i++) {
        if (i)
            put(&w, SPAN(","));
        if (!compose_element(&w, field, &field->elements[i], c, &total, why))
            return false;
    }
    buf_add(c->out, "\r\n", 2);
    return true;
}
