/* Compiling: the template is walked once, part by part; what is the same for all
 * becomes literals, the rest steps. */
#include "message/template.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "message/compile.h"

static bool walk(struct compiler *c, struct span text, int line, int depth,
                 bool digest);

static bool walk_parts(struct compiler *c, const struct entity *e)
{
    const struct span boundary = e->type.boundary;
    const bool digest = span_equal_nocase(e->type.subtype, SPAN("digest"));
    struct mime_parts parts = {.lines = {.text = e->body, .line = e->body_line},
                               .boundary = boundary};
    struct span part;
    int line = 0, n = 0, more;
    while ((more = mime_parts_next(&parts, &part, &line)) == 1) {
        if (++c->parts_n > MIME_PARTS_MAX)
            return compile_wrong(c, line, "too many parts");
        emit_literal(c, n++ ? SPAN("\r\n--") : SPAN("--"));
        emit_literal(c, boundary);
        emit_literal(c, SPAN("\r\n"));
        if (!walk(c, part, line, e->depth + 1, digest))
            return false;
    }
    if (more < 0 || n == 0)
        return compile_wrong(c, e->type_field->line,
                             n || parts.started
                                 ? "multipart without its closing boundary"
                                 : "multipart without its boundary");
    emit_literal(c, SPAN("\r\n--"));
    emit_literal(c, boundary);
    emit_literal(c, e->depth ? SPAN("--") : SPAN("--\r\n"));
    return true;
}

static bool walk_multipart(struct compiler *c, const struct entity *e)
{
    const struct span boundary = e->type.boundary;
    const int line = e->type_field->line;
    if (!boundary.n || boundary.n > 70 || boundary.p[boundary.n - 1] == ' ')
        return compile_wrong(c, line,
                             "multipart needs a boundary of 1 to 70 characters");
    enum transfer transfer;
    if (!transfer_of(c, e, &transfer))
        return false;
    if (transfer == TRANSFER_QP || transfer == TRANSFER_BASE64)
        return compile_wrong(c, e->coding_field->line, "a multipart cannot be encoded");
    if (span_equal_nocase(e->type.subtype, SPAN("signed")) ||
        span_equal_nocase(e->type.subtype, SPAN("encrypted"))) {
        const bool outer = c->sealed;
        c->sealed = true;
        const bool good = walk_parts(c, e);
        c->sealed = outer;
        return good && leaf_opaque(c, e, "a signed or encrypted part");
    }
    /* 8bit is not true any more: the parts leave as 7bit. */
    return emit_fields(c, e, &(struct heading){.lines = e->type_field->raw}) &&
           walk_parts(c, e);
}

/* ---- the top of the message ---- */

static bool check_top(struct compiler *c, const struct mime_fields *fields)
{
    static const struct {
        const char *name, *what;
    } refused[] = {
        {"Bcc", "Bcc would be seen by every recipient"},
        {"Resent-Bcc", "Resent-Bcc would be seen by every recipient"},
        {"Return-Path", "Return-Path belongs to the receiving system"},
        {"Message-ID", "leave Message-ID out: each recipient gets one of his own"},
    };
    static const char *const once[] = {
        "From", "Sender",  "Reply-To",     "To",           "Cc",
        "Date", "Subject", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const struct mime_field *field = mime_field_find(fields, refused[i].name);
        if (field)
            return compile_wrong(c, field->line, refused[i].what);
    }
    for (size_t i = 0; i < sizeof once / sizeof *once; i++) {
        int n = 0;
        for (int k = 0; k < fields->n; k++) {
            if (span_equal_nocase(fields->list[k].name, span_of(once[i])) && n++)
                return mime_wrong(c->fault, c->params->file, fields->list[k].line,
                                  "a second %s", once[i]);
        }
    }
    return true;
}

/* From: gives the envelope sender, so its address must be the same for all. */
static bool take_from(struct compiler *c, const struct mime_fields *fields)
{
    const struct mime_field *from = mime_field_find(fields, "From");
    if (!from)
        return compile_wrong(c, 1, "no From");
    struct field field;
    const struct scan scan = compile_scan(c, from->line);
    if (!field_compile(&scan, from, FIELD_ADDRESS, &field))
        return false;
    for (int i = 0; i < field.elements_n; i++) {
        if (field.elements[i].inner.n != 1)
            return compile_wrong(
                c, from->line,
                "From: the address must be there and the same for all rows");
    }
    if (!field.elements_n)
        return compile_wrong(c, from->line, "From without an address");
    const struct span address = field.elements[0].inner.list[0].text;
    c->t->from = arena_strndup(&c->t->arena, address.p, address.n);
    return true;
}

static bool read_entity(struct compiler *c, struct span text, int line, bool digest,
                        struct entity *e)
{
    struct lines l = {.text = text, .line = line};
    if (!mime_fields_read(&l, &c->t->arena, &e->fields, c->params->file, c->fault))
        return false;
    e->body = (struct span){text.p + l.at, text.n - l.at};
    e->body_line = l.line;
    e->type_field = mime_field_find(&e->fields, "Content-Type");
    e->coding_field = mime_field_find(&e->fields, "Content-Transfer-Encoding");
    if (!compile_fixed(c, e->type_field) || !compile_fixed(c, e->coding_field))
        return false;
    e->coding = e->coding_field ? e->coding_field->value : SPAN("7bit");
    const struct span value = e->type_field ? e->type_field->value
                              : digest      ? SPAN("message/rfc822")
                                            : SPAN("text/plain");
    return mime_type_read(value, &c->t->arena, &e->type) ||
           compile_wrong(c, e->type_field->line, "malformed Content-Type");
}

static bool walk(struct compiler *c, struct span text, int line, int depth, bool digest)
{
    if (depth > MIME_DEPTH_MAX)
        return compile_wrong(c, line, "multiparts nested too deep");
    struct entity e = {.depth = depth};
    bool good = read_entity(c, text, line, digest, &e);
    if (good && depth == 0)
        good = check_top(c, &e.fields) && take_from(c, &e.fields);
    if (!good)
        ;
    else if (span_equal_nocase(e.type.type, SPAN("multipart")))
        good = walk_multipart(c, &e);
    else if (span_equal_nocase(e.type.type, SPAN("message")))
        good = leaf_opaque(c, &e, "a message inside");
    else if (span_equal_nocase(e.type.type, SPAN("text")))
        good = leaf_text(c, &e);
    else
        good = leaf_blob(c, &e);
    free(e.fields.list);
    return good;
}

/* ---- public ---- */

/* The right side of Message-ID: the last labels of the host name that fit. */
static bool take_hostname(struct compiler *c)
{
    const char *host = c->params->hostname;
    while (strlen(host) > HOSTNAME_ROOM) {
        const char *dot = strchr(host, '.');
        host = dot ? dot + 1 : host + strlen(host) - HOSTNAME_ROOM;
    }
    const size_t n = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_.[]:");
    if (n == 0 || host[n])
        return compile_wrong(c, 1, "the host name cannot stand in a Message-ID");
    memcpy(c->t->hostname, host, n + 1);
    return true;
}

static bool check_nul(struct compiler *c, struct span text)
{
    struct lines l = {.text = text, .line = 1};
    struct span line;
    for (int number = 1; lines_next(&l, &line); number = l.line) {
        if (memchr(line.p, '\0', line.n))
            return compile_wrong(c, number, "NUL");
    }
    return true;
}

struct template *template_compile(struct span text,
                                  const struct template_params *params, struct fault *f)
{
    struct template *t = mem_zero(1, sizeof *t);
    struct compiler c = {.t = t, .params = params, .fault = f};
    if (text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0) {
        text.p += 3;
        text.n -= 3;
    }
    const bool good =
        check_nul(&c, text) && take_hostname(&c) && walk(&c, text, 1, 0, false);
    if (good) {
        emit_flush(&c);
        t->identity = identity_create(params->secret, params->secret_n);
        t->size = program_size(t);
    }
    buf_finish(&c.pending);
    if (good)
        return t;
    template_free(t);
    return NULL;
}

void template_free(struct template *t)
{
    if (!t)
        return;
    identity_destroy(t->identity);
    arena_finish(&t->arena);
    free(t->steps);
    free(t);
}

const char *template_from(const struct template *t)
{
    return t->from;
}

bool template_is_common(const struct template *t)
{
    for (int i = 0; i < t->steps_n; i++)
        if (t->steps[i].kind != STEP_LITERAL && t->steps[i].kind != STEP_MESSAGE_ID)
            return false;
    return true;
}

size_t template_size(const struct template *t)
{
    return t->size;
}
