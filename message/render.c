/* A compiled template and a row become finished bytes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "message/charset.h"
#include "message/program.h"

enum { PIECES_FIRST = 64 };

struct rendering_tools {
    struct identity_worker *identity;
    struct converters *converters;
    struct buf line, merged; /* scratch of one header field */
    struct buf text;         /* scratch of one converted value */
};

static void put(struct rendering *out, struct span s)
{
    if (s.n == 0)
        return;
    if (out->pieces_n == out->pieces_cap) {
        out->pieces_cap = out->pieces_cap ? 2 * out->pieces_cap : PIECES_FIRST;
        out->pieces =
            mem_resize(out->pieces, (size_t)out->pieces_cap, sizeof *out->pieces);
    }
    /* iovec has no const; nobody writes through it */
    out->pieces[out->pieces_n++] = (struct iovec){(void *)(uintptr_t)s.p, s.n};
    out->size += s.n;
}

static void put_dot(struct rendering *out)
{
    put(out, SPAN("."));
    out->dots++;
}

/* As it goes out now. */
static struct span ready(struct rendering *out, const struct text *text)
{
    if (!out->dotted)
        return text->plain;
    out->dots += text->dotted.n - text->plain.n;
    return text->dotted;
}

/* ---- values of text parts ---- */

struct value {
    struct span bytes; /* escaped, in the charset of the form */
    bool ascii;
};

static bool is_ascii(struct span s)
{
    unsigned char all = 0;
    for (size_t i = 0; i < s.n; i++)
        all |= (unsigned char)s.p[i];
    return all < 0x80;
}

/* False: the charset of the form cannot hold it. */
static bool value_make(struct rendering *out, const struct form *form,
                       enum escape escape, struct span raw, struct value *v)
{
    *v = (struct value){raw, true};
    if (escape_not_needed(raw, escape))
        return true;
    const size_t n = escape_write(NULL, raw, escape);
    char *p = arena_alloc(&out->arena, n);
    escape_write(p, raw, escape);
    v->bytes = (struct span){p, n};
    v->ascii = is_ascii(v->bytes);
    if (v->ascii || !form->charset)
        return true;
    if (form->ascii_only)
        return false;
    struct buf *text = &out->tools->text;
    buf_reset(text);
    if (!converters_run(&out->tools->converters, form->charset, text, v->bytes))
        return false;
    v->bytes = (struct span){arena_strndup(&out->arena, text->p, text->n), text->n};
    v->ascii = is_ascii(v->bytes); /* ISO-2022-JP is */
    return true;
}

/* ---- the three codings ---- */

/* Where a 7bit body stands. */
struct place {
    size_t column; /* with a stuffed dot */
    int dashes;
    bool valued; /* a value stands in this line */
};

/* One stretch without line ends, or up to the first of them. */
static bool plain_stretch(struct rendering *out, const struct part *part,
                          struct place *at, struct span s, struct span whole)
{
    if (whole.n && at->column == 0 && whole.p[0] == '.') {
        if (out->dotted)
            put_dot(out);
        at->column = 1;
    }
    at->column += s.n;
    at->dashes = dashes_after(at->dashes, s);
    put(out, whole);
    return at->column <= LINE_OCTETS_MAX &&
           !(part->delimited && at->valued && at->dashes == 2);
}

static bool body_7bit(struct rendering *out, const struct part *part,
                      const struct form *form, const struct span *fields)
{
    struct place at = {0};
    for (int i = 0;; i++) {
        const struct literal *l = &form->literals[i];
        const struct span bytes = ready(out, &l->text);
        if (!plain_stretch(out, part, &at, (struct span){bytes.p, l->first}, bytes))
            return false;
        if (l->breaks)
            at = (struct place){l->last, l->dashes, false};
        if (i == part->slots_n)
            return true;
        const struct slot *slot = &part->slots[i];
        struct value v;
        if (!value_make(out, form, slot->escape, fields[slot->column], &v) || !v.ascii)
            return false;
        at.valued = true;
        if (!plain_stretch(out, part, &at, v.bytes, v.bytes))
            return false;
    }
}

static bool body_qp(struct rendering *out, const struct part *part,
                    const struct form *form, const struct span *fields)
{
    size_t column = 0;
    for (int i = 0;; i++) {
        const struct literal *l = &form->literals[i];
        if (column && column + l->first > QP_COLUMN_MAX + (size_t)l->breaks) {
            put(out, SPAN("=\r\n"));
            column = 0;
        }
        put(out, l->text.plain);
        column = l->breaks ? l->last : column + l->last;
        if (i == part->slots_n)
            return true;
        const struct slot *slot = &part->slots[i];
        struct value v;
        if (!value_make(out, form, slot->escape, fields[slot->column], &v))
            return false;
        char *p = arena_alloc(&out->arena, QP_BOUND(v.bytes.n));
        put(out, (struct span){p, qp_write(p, v.bytes, &column)});
    }
}

enum { JOIN_OCTETS = 12 }; /* raw, for the ends of a literal and its line end */

/* A base64 body comes in turns: lines made ready, and what is encoded now. */
struct weaver {
    struct rendering *out;
    struct base64 b;
    size_t given; /* of b.out: is in pieces already */
};

static void give(struct weaver *w)
{
    put(w->out, (struct span){w->b.out + w->given, w->b.n - w->given});
    w->given = w->b.n;
}

static void weave(struct weaver *w, const struct literal *l)
{
    const size_t skip = (3 - w->b.held_n) % 3;
    const struct span raw = l->text.plain, lines = l->groups[skip].lines;
    if (!lines.p) {
        base64_write(&w->b, raw);
        return;
    }
    const size_t rest = (raw.n - skip) % 3;
    base64_write(&w->b, (struct span){raw.p, skip});
    base64_break(&w->b);
    give(w);
    put(w->out, lines);
    w->b.column = l->groups[skip].column;
    base64_write(&w->b, (struct span){raw.p + raw.n - rest, rest});
}

/* The boundary brings its own line end. */
static void take_line_end(struct rendering *out)
{
    struct iovec *last = &out->pieces[out->pieces_n - 1];
    last->iov_len -= 2;
    out->size -= 2;
    out->pieces_n -= last->iov_len == 0;
}

static bool body_base64(struct rendering *out, const struct part *part,
                        const struct form *form, const struct span *fields)
{
    struct value *values =
        arena_alloc(&out->arena, (size_t)part->slots_n * sizeof *values);
    size_t n = 0;
    for (int i = 0; i <= part->slots_n; i++) {
        const struct literal *l = &form->literals[i];
        n += JOIN_OCTETS + (l->groups[0].lines.p ? 0 : l->text.plain.n);
        if (i == part->slots_n)
            break;
        const struct slot *slot = &part->slots[i];
        if (!value_make(out, form, slot->escape, fields[slot->column], &values[i]))
            return false;
        n += values[i].bytes.n;
    }
    const int pieces_n = out->pieces_n;
    struct weaver w = {.out = out};
    w.b.out = arena_alloc(&out->arena, BASE64_BOUND(n));
    for (int i = 0; i < part->slots_n; i++) {
        weave(&w, &form->literals[i]);
        base64_write(&w.b, values[i].bytes);
    }
    weave(&w, &form->literals[part->slots_n]);
    base64_finish(&w.b);
    assert(w.b.n <= BASE64_BOUND(n));
    give(&w);
    if (part->delimited && out->pieces_n > pieces_n)
        take_line_end(out);
    return true;
}

/* The first form that holds the values. Its heading goes to the place kept for it. */
static void body(struct rendering *out, const struct part *part,
                 const struct span *fields, int heading_at)
{
    const int pieces_n = out->pieces_n;
    const size_t size = out->size, dots = out->dots;
    for (int i = 0; i < part->forms_n; i++) {
        const struct form *form = &part->forms[i];
        out->pieces_n = pieces_n;
        out->size = size;
        out->dots = dots;
        const bool good =
            form->coding == CODING_7BIT ? body_7bit(out, part, form, fields)
            : form->coding == CODING_QP ? body_qp(out, part, form, fields)
                                        : body_base64(out, part, form, fields);
        if (!good)
            continue;
        out->pieces[heading_at] =
            (struct iovec){(void *)(uintptr_t)form->heading.p, form->heading.n};
        out->size += form->heading.n;
        return;
    }
    abort(); /* the last form holds everything */
}

/* ---- steps ---- */

static void put_copy(struct rendering *out, const struct buf *b)
{
    put(out, (struct span){arena_strndup(&out->arena, b->p, b->n), b->n});
}

static bool put_field(struct rendering *out, const struct field *field,
                      const struct span *fields, const char **why)
{
    struct rendering_tools *tools = out->tools;
    buf_reset(&tools->line);
    const struct composer c = {fields, &tools->line, &tools->merged};
    if (!field_compose(&c, field, why))
        return false;
    put_copy(out, &tools->line);
    return true;
}

static void put_to(struct rendering *out, const char *to)
{
    struct buf *line = &out->tools->line;
    buf_reset(line);
    buf_add_str(line, "To: ");
    buf_add_str(line, to);
    buf_add(line, "\r\n", 2);
    put_copy(out, line);
}

static void make_message_id(const struct template *t, uint32_t row,
                            struct rendering *out)
{
    const size_t host_n = strlen(t->hostname);
    assert(IDENTITY_LEN + 1 + host_n < sizeof out->message_id);
    identity_make(t->identity, &out->tools->identity, row, out->message_id);
    out->message_id[IDENTITY_LEN] = '@';
    memcpy(out->message_id + IDENTITY_LEN + 1, t->hostname, host_n + 1);
}

static void put_message_id(struct rendering *out)
{
    struct buf *line = &out->tools->line;
    buf_reset(line);
    buf_add_str(line, "Message-ID: <");
    buf_add_str(line, out->message_id);
    buf_add_str(line, ">\r\n");
    put_copy(out, line);
}

bool template_render(const struct template *t, const struct template_row *row,
                     struct rendering *out, const char **why)
{
    rendering_reset(out);
    out->dotted = row->dotted;
    if (!out->tools)
        out->tools = mem_zero(1, sizeof *out->tools);
    make_message_id(t, row->row, out);
    int heading_at = -1;
    for (int i = 0; i < t->steps_n; i++) {
        const struct step *step = &t->steps[i];
        switch (step->kind) {
        case STEP_LITERAL:
            put(out, ready(out, &step->literal));
            break;
        case STEP_FIELD:
            if (!put_field(out, step->field, row->fields, why))
                return false;
            break;
        case STEP_TO:
            put_to(out, row->to);
            break;
        case STEP_MESSAGE_ID:
            put_message_id(out);
            break;
        case STEP_HEADING:
            heading_at = out->pieces_n;
            put(out, SPAN("?")); /* filled in by body() */
            out->size--;
            break;
        case STEP_BODY:
            body(out, step->part, row->fields, heading_at);
            break;
        }
    }
    return true;
}

size_t program_size(const struct template *t)
{
    size_t n = 0;
    struct buf line = {0}, merged = {0};
    for (int i = 0; i < t->steps_n; i++) {
        const struct step *step = &t->steps[i];
        const char *why = NULL;
        if (step->kind == STEP_LITERAL)
            n += step->literal.plain.n;
        if (step->kind == STEP_TO)
            n += strlen("To: \r\n");
        if (step->kind == STEP_MESSAGE_ID)
            n += strlen("Message-ID: <@>\r\n") + IDENTITY_LEN + strlen(t->hostname);
        if (step->kind == STEP_FIELD) {
            buf_reset(&line);
            field_compose(&(struct composer){NULL, &line, &merged}, step->field, &why);
            n += line.n;
        }
        if (step->kind == STEP_BODY) {
            const struct form *form = &step->part->forms[0];
            size_t text_n = 0;
            for (int k = 0; k <= step->part->slots_n; k++)
                text_n += form->literals[k].text.plain.n;
            n += form->heading.n;
            n += form->coding == CODING_BASE64 ? BASE64_BOUND(text_n) : text_n;
        }
    }
    buf_finish(&line);
    buf_finish(&merged);
    return n;
}

void rendering_reset(struct rendering *r)
{
    r->pieces_n = 0;
    r->size = r->dots = 0;
    r->message_id[0] = '\0';
    arena_reset(&r->arena);
}

void rendering_finish(struct rendering *r)
{
    if (r->tools) {
        identity_worker_destroy(r->tools->identity);
        converters_finish(&r->tools->converters);
        buf_finish(&r->tools->line);
        buf_finish(&r->tools->merged);
        buf_finish(&r->tools->text);
        free(r->tools);
    }
    arena_finish(&r->arena);
    free(r->pieces);
    *r = (struct rendering){0};
}
