/* Text parts with placeholders: each form that a part may go out in, made ready. */
#include "message/charset.h"
#include "message/program.h"

enum { GROUPS_LEAST = 64 }; /* shorter literals are encoded again for each row */

static const char *const CODING_NAMES[] = {"7bit", "quoted-printable", "base64"};

static struct span keep(struct arena *arena, struct span s)
{
    return (struct span){arena_strndup(arena, s.p, s.n), s.n};
}

static void stuff_dots(struct buf *out, struct span text, bool at_start)
{
    for (size_t i = 0; i < text.n;) {
        if (text.p[i] == '.' && at_start)
            buf_add_char(out, '.');
        const char *lf = memchr(text.p + i, '\n', text.n - i);
        const size_t n = lf ? (size_t)(lf - text.p) + 1 - i : text.n - i;
        buf_add(out, text.p + i, n);
        i += n;
        at_start = true;
    }
}

struct text text_keep(struct arena *arena, struct span bytes, bool at_start)
{
    struct text t = {.plain = keep(arena, bytes)};
    t.dotted = t.plain;
    const bool first = at_start && bytes.n && bytes.p[0] == '.';
    if (!first && !(bytes.n && memmem(bytes.p, bytes.n, "\n.", 2)))
        return t;
    struct buf dotted = {0};
    stuff_dots(&dotted, bytes, at_start);
    t.dotted = keep(arena, buf_span(&dotted));
    buf_finish(&dotted);
    return t;
}

bool body_is_plain(struct span bytes)
{
    size_t column = 0;
    for (size_t i = 0; i < bytes.n; i++) {
        const unsigned char c = (unsigned char)bytes.p[i];
        if (c >= 0x80 || c == 0)
            return false;
        if (c == '\n') {
            column = 0;
            continue;
        }
        column += column == 0 && c == '.' ? 2 : c != '\r';
        if (column > LINE_OCTETS_MAX)
            return false;
    }
    return true;
}

/* Base64 adds a third, QP two octets for each that it must encode. */
bool body_wants_base64(struct span bytes)
{
    size_t encoded = 0;
    for (size_t i = 0; i < bytes.n; i++) {
        const unsigned char c = (unsigned char)bytes.p[i];
        encoded +=
            c >= 0x7f || c == '=' || (c < ' ' && c != '\r' && c != '\n' && c != '\t');
    }
    return encoded > bytes.n / 6;
}

void body_encode(struct buf *out, struct span bytes, enum coding coding)
{
    if (coding == CODING_QP) {
        buf_reserve(out, QP_BOUND(bytes.n));
        size_t column = 0;
        out->n += qp_write(out->p + out->n, bytes, &column);
    } else {
        buf_reserve(out, BASE64_BOUND(bytes.n));
        struct base64 b = {.out = out->p + out->n};
        base64_write(&b, bytes);
        base64_finish(&b);
        out->n += b.n;
    }
}

/* The value with another charset; a long one is folded behind each semicolon. */
static void type_rewrite(struct buf *out, const struct body_plan *plan,
                         struct span charset)
{
    const struct span value = plan->type_field->value;
    const bool given = plan->type.charset.p != NULL;
    const bool folds = value.n + charset.n + 24 > LINE_OCTETS_GOOD;
    const char *const fold = folds ? "\r\n " : " ";
    bool quoted = false;
    buf_add_str(out, "Content-Type: ");
    for (size_t i = 0; i < value.n; i++) {
        if (given && i == plan->type.charset_from) {
            buf_add_span(out, charset);
            i = plan->type.charset_until;
            if (i == value.n)
                break;
        }
        const char c = value.p[i];
        buf_add_char(out, c);
        if (c == '\\' && quoted && i + 1 < value.n)
            buf_add_char(out, value.p[++i]);
        else if (c == '"')
            quoted = !quoted;
        if (c != ';' || quoted)
            continue;
        while (i + 1 < value.n && (value.p[i + 1] == ' ' || value.p[i + 1] == '\t'))
            i++;
        if (i + 1 < value.n)
            buf_add_str(out, fold);
    }
    if (!given) {
        if (out->p[out->n - 1] != ';')
            buf_add_char(out, ';');
        buf_add_str(out, fold);
        buf_add_str(out, "charset=");
        buf_add_span(out, charset);
    }
    buf_add(out, "\r\n", 2);
}

void body_heading(struct buf *out, const struct body_plan *plan, struct span charset,
                  enum coding coding)
{
    if (!plan->type_field) {
        buf_add_str(out, "Content-Type: text/plain; charset=");
        buf_add_span(out, charset);
        buf_add(out, "\r\n", 2);
    } else if (plan->type.charset.p ? span_equal_nocase(plan->type.charset, charset)
                                    : charset_is_ascii(charset)) {
        buf_add_span(out, plan->type_field->raw);
    } else {
        type_rewrite(out, plan, charset);
    }
    buf_add_str(out, "Content-Transfer-Encoding: ");
    buf_add_str(out, CODING_NAMES[coding]);
    buf_add(out, "\r\n", 2);
}

/* ---- forms ---- */

static void measure(struct literal *l)
{
    const struct span s = l->text.dotted;
    const char *first = memmem(s.p, s.n, "\r\n", 2);
    const char *last = s.n ? memrchr(s.p, '\n', s.n) : NULL;
    l->breaks = first != NULL;
    l->first = first ? (size_t)(first - s.p) : s.n;
    l->last = first ? (size_t)(s.p + s.n - last - 1) : s.n;
    l->dashes = dashes_after(0, (struct span){s.p + s.n - l->last, l->last});
}

/* The literal texts in this charset; false when it cannot hold them. */
static bool convert(struct buf *out, struct span text, struct span charset)
{
    if (charset_is_utf8(charset)) {
        buf_add_span(out, text);
        return true;
    }
    return charset_from_utf8(out, charset, text);
}

/* A long literal is encoded once for each way in which the threes of base64 may fall.
 */
static void encode_groups(struct arena *arena, struct literal *l)
{
    const struct span raw = l->text.plain;
    if (raw.n < GROUPS_LEAST)
        return;
    for (size_t skip = 0; skip < 3; skip++) {
        const size_t n = (raw.n - skip) / 3 * 3;
        struct base64 b = {.out = arena_alloc(arena, BASE64_BOUND(n))};
        base64_write(&b, (struct span){raw.p + skip, n});
        l->groups[skip].lines = (struct span){b.out, b.n};
        l->groups[skip].column = b.column;
    }
}

struct forge {
    struct arena *arena;
    const struct body_plan *plan;
    const struct segments *text;
    struct part *part;
};

/* Add the form when it can be: 7bit needs plain literals. */
static void add_form(struct forge *f, struct span charset, enum coding coding)
{
    struct form *form = &f->part->forms[f->part->forms_n];
    *form = (struct form){.coding = coding};
    form->ascii_only = charset_is_ascii(charset);
    if (!charset_is_utf8(charset))
        form->charset = keep(f->arena, charset).p;
    form->literals = arena_alloc(f->arena, (size_t)f->text->n * sizeof *form->literals);
    struct buf bytes = {0}, coded = {0};
    bool good = true;
    for (int i = 0; i < f->text->n && good; i++) {
        buf_reset(&bytes);
        buf_reset(&coded);
        good = convert(&bytes, f->text->list[i].text, charset);
        if (coding == CODING_QP)
            body_encode(&coded, buf_span(&bytes), coding);
        else
            buf_add_span(&coded, buf_span(&bytes));
        form->literals[i] = (struct literal){0};
        struct text *text = &form->literals[i].text;
        if (coding == CODING_7BIT) {
            good = good && body_is_plain(buf_span(&bytes));
            *text = text_keep(f->arena, buf_span(&coded), false);
        } else { /* QP writes no dot at the start of a line, base64 writes none */
            text->plain = text->dotted = keep(f->arena, buf_span(&coded));
        }
        measure(&form->literals[i]);
        if (coding == CODING_BASE64)
            encode_groups(f->arena, &form->literals[i]);
    }
    buf_reset(&coded);
    body_heading(&coded, f->plan, charset, coding);
    form->heading = keep(f->arena, buf_span(&coded));
    buf_finish(&bytes);
    buf_finish(&coded);
    f->part->forms_n += good;
}

static enum coding choose(const struct body_plan *plan, const struct segments *text,
                          struct span charset)
{
    if (plan->coding_given)
        return plan->coding;
    struct buf all = {0};
    for (int i = 0; i < text->n; i++)
        convert(&all, text->list[i].text, charset);
    const enum coding coding =
        body_wants_base64(buf_span(&all)) ? CODING_BASE64 : CODING_QP;
    buf_finish(&all);
    return coding;
}

void body_compile(struct arena *arena, const struct body_plan *plan,
                  const struct segments *text, struct part *part)
{
    struct forge f = {arena, plan, text, part};
    part->slots_n = text->n - 1;
    part->slots = arena_alloc(arena, (size_t)part->slots_n * sizeof *part->slots);
    for (int i = 0; i < part->slots_n; i++)
        part->slots[i] = (struct slot){text->list[i].column, text->list[i].escape};
    const struct span utf8 = SPAN("utf-8");
    const struct span charset =
        charset_holds_ascii(plan->charset) ? plan->charset : utf8;
    if (!plan->coding_given)
        add_form(&f, charset, CODING_7BIT);
    if (!charset_is_utf8(charset))
        add_form(&f, charset, choose(plan, text, charset));
    add_form(&f, charset_is_utf8(charset) ? charset : utf8, choose(plan, text, utf8));
}
