/* The output side of compiling: literals and steps, header fields, and the fields that
 * the template leaves out. */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "message/compile.h"

bool compile_wrong(struct compiler *c, int line, const char *what)
{
    return mime_wrong(c->fault, c->params->file, line, "%s", what);
}

bool has_8bit(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] >= 0x80)
            return true;
    }
    return false;
}

static void add_step(struct compiler *c, struct step step)
{
    struct template *t = c->t;
    if (t->steps_n == t->steps_cap) {
        t->steps_cap = t->steps_cap ? 2 * t->steps_cap : 16;
        t->steps = mem_resize(t->steps, (size_t)t->steps_cap, sizeof *t->steps);
    }
    t->steps[t->steps_n++] = step;
}

void emit_flush(struct compiler *c)
{
    if (!c->pending.n)
        return;
    const struct template *t = c->t;
    const bool at_start = !t->steps_n || t->steps[t->steps_n - 1].kind != STEP_BODY;
    add_step(c, (struct step){.kind = STEP_LITERAL,
                              .literal = text_keep(&c->t->arena, buf_span(&c->pending),
                                                   at_start)});
    buf_reset(&c->pending);
}

void emit_step(struct compiler *c, struct step step)
{
    if (c->sealed)
        return;
    emit_flush(c);
    add_step(c, step);
}

void emit_literal(struct compiler *c, struct span s)
{
    if (!c->sealed)
        buf_add_span(&c->pending, s);
}

struct scan compile_scan(struct compiler *c, int line)
{
    return (struct scan){.params = c->params,
                         .arena = &c->t->arena,
                         .fault = c->fault,
                         .line = line,
                         .sealed = c->sealed};
}

/* ---- header fields ---- */

static bool field_is_static(const struct field *field)
{
    for (int i = 0; i < field->elements_n; i++) {
        if (field->elements[i].name.n > 1 || field->elements[i].inner.n > 1)
            return false;
    }
    return true;
}

/* Nothing to look for and nothing to repair: the field passes as it stands. */
static bool field_passes(const struct mime_field *field, struct span decoded)
{
    return !memmem(decoded.p, decoded.n, "{{", 2) && !has_8bit(field->raw) &&
           body_is_plain(field->raw);
}

static bool emit_field(struct compiler *c, const struct mime_field *from)
{
    const enum field_kind kind = field_kind_of(from->name);
    const struct scan scan = compile_scan(c, from->line);
    struct buf decoded = {0};
    buf_reserve(&decoded, 1); /* memmem wants memory even when there is no text */
    bool good = words_read(&decoded, from->value);
    if (!good)
        good = mime_wrong(c->fault, c->params->file, from->line,
                          "%.*s: an encoded word that cannot be decoded",
                          (int)from->name.n, from->name.p);
    const bool passes = good && field_passes(from, buf_span(&decoded));
    if (good && c->sealed) {
        struct segments ignored;
        good = placeholders_scan(&scan, buf_span(&decoded), ESCAPE_LINE, &ignored);
    }
    buf_finish(&decoded);
    if (!good || c->sealed)
        return good;
    if (passes) {
        emit_literal(c, from->raw);
        return true;
    }
    struct field *field = arena_alloc(&c->t->arena, sizeof *field);
    if (!field_compile(&scan, from, kind, field))
        return false;
    if (!field_is_static(field)) {
        emit_step(c, (struct step){.kind = STEP_FIELD, .field = field});
        return true;
    }
    struct buf merged = {0};
    const char *why = NULL;
    good = field_compose(&(struct composer){NULL, &c->pending, &merged}, field, &why);
    buf_finish(&merged);
    return good || compile_wrong(c, from->line, why);
}

bool compile_fixed(struct compiler *c, const struct mime_field *from)
{
    if (!from || field_passes(from, from->value))
        return true;
    struct field ignored;
    const struct scan scan = compile_scan(c, from->line);
    return field_compile(&scan, from, FIELD_FIXED, &ignored);
}

static void emit_heading(struct compiler *c, const struct entity *e,
                         const struct heading *h)
{
    if (h->part)
        emit_step(c, (struct step){.kind = STEP_HEADING});
    else if (!h->keep)
        emit_literal(c, h->lines);
    else if (e->type_field)
        emit_literal(c, e->type_field->raw);
}

/* What the template leaves out and every message needs. */
static void emit_missing(struct compiler *c, const struct entity *e,
                         const struct heading *h)
{
    if (!mime_field_find(&e->fields, "MIME-Version") && (e->type_field || !h->keep))
        emit_literal(c, SPAN("MIME-Version: 1.0\r\n"));
    if (!mime_field_find(&e->fields, "Date")) {
        char date[RFC5322_DATE_MAX];
        time_rfc5322(c->params->created_ms, date);
        emit_literal(c, SPAN("Date: "));
        emit_literal(c, span_of(date));
        emit_literal(c, SPAN("\r\n"));
    }
    if (!mime_field_find(&e->fields, "To"))
        emit_step(c, (struct step){.kind = STEP_TO});
    emit_step(c, (struct step){.kind = STEP_MESSAGE_ID});
}

bool emit_fields(struct compiler *c, const struct entity *e, const struct heading *h)
{
    for (int i = 0; i < e->fields.n; i++) {
        const struct mime_field *field = &e->fields.list[i];
        if (field == e->type_field)
            emit_heading(c, e, h);
        else if (field == e->coding_field && !h->keep)
            continue; /* stands in the heading */
        else if (!emit_field(c, field))
            return false;
    }
    if (e->depth == 0)
        emit_missing(c, e, h);
    if (!e->type_field)
        emit_heading(c, e, h);
    emit_literal(c, SPAN("\r\n"));
    return true;
}
