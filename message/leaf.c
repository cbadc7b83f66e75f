/* Parts that are no multiparts: text in which placeholders are looked for, attachments
 * that pass, messages and signed parts that must not change. */
#include <string.h>

#include "base/text.h"
#include "message/charset.h"
#include "message/compile.h"

static bool ends_line(struct span s)
{
    return s.n >= 2 && s.p[s.n - 2] == '\r' && s.p[s.n - 1] == '\n';
}

/* The end of a body: a message ends in CRLF, a part in a multipart ends where it ends.
 */
static void emit_body(struct compiler *c, const struct entity *e, struct span bytes)
{
    emit_literal(c, bytes);
    if (e->depth == 0 && bytes.n && !ends_line(bytes))
        emit_literal(c, SPAN("\r\n"));
}

/* Signed parts, messages inside: not a byte may change, so they must be fit to pass. */
bool leaf_opaque(struct compiler *c, const struct entity *e, const char *what)
{
    struct buf bytes = {0};
    lines_normalise(&bytes, e->body);
    bool good = body_is_plain(buf_span(&bytes));
    if (!good)
        good = mime_wrong(c->fault, c->params->file, e->body_line,
                          "%s must be 7bit with lines of at most 998 octets", what);
    good = good && emit_fields(c, e, &(struct heading){.keep = true});
    if (good)
        emit_body(c, e, buf_span(&bytes));
    buf_finish(&bytes);
    return good;
}

bool transfer_of(struct compiler *c, const struct entity *e, enum transfer *out)
{
    static const struct {
        const char *name;
        enum transfer transfer;
    } names[] = {
        {"7bit", TRANSFER_LINES},    {"8bit", TRANSFER_LINES},
        {"binary", TRANSFER_BINARY}, {"quoted-printable", TRANSFER_QP},
        {"base64", TRANSFER_BASE64},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (span_equal_nocase(e->coding, span_of(names[i].name))) {
            *out = names[i].transfer;
            return true;
        }
    }
    return compile_wrong(c, e->coding_field->line,
                         "Content-Transfer-Encoding: want 7bit, 8bit, binary, "
                         "quoted-printable or base64");
}

/* The bytes that the transfer encoding carries. */
static bool transfer_decode(struct compiler *c, const struct entity *e,
                            enum transfer transfer, struct buf *out)
{
    bool good = true;
    if (transfer == TRANSFER_QP)
        good = qp_read(out, e->body);
    else if (transfer == TRANSFER_BASE64)
        good = base64_read(out, e->body);
    else
        lines_normalise(out, e->body);
    return good ||
           compile_wrong(c, e->body_line,
                         transfer == TRANSFER_QP ? "a part that is not quoted-printable"
                                                 : "a part that is not base64");
}

/* Emit a part that is the same for all in another coding. */
static bool emit_recoded(struct compiler *c, const struct entity *e, struct span bytes,
                         const struct body_plan *plan, enum coding coding)
{
    struct buf lines = {0}, coded = {0};
    body_heading(&lines, plan, plan->charset, coding);
    if (coding == CODING_7BIT)
        buf_add_span(&coded, bytes);
    else
        body_encode(&coded, bytes, coding);
    if (coding == CODING_BASE64 && e->depth && coded.n)
        coded.n -= 2; /* the boundary brings its own line end */
    const bool good = emit_fields(c, e, &(struct heading){.lines = buf_span(&lines)});
    if (good)
        emit_body(c, e, buf_span(&coded));
    buf_finish(&lines);
    buf_finish(&coded);
    return good;
}

/* A part that is the same for all: as it stands when it can pass, else recoded. */
static bool emit_unchanging(struct compiler *c, const struct entity *e,
                            enum transfer transfer, struct span bytes,
                            const struct body_plan *plan)
{
    struct buf raw = {0};
    lines_normalise(&raw, e->body);
    const bool passes = body_is_plain(buf_span(&raw));
    const bool named_right = transfer == TRANSFER_QP || transfer == TRANSFER_BASE64 ||
                             span_equal_nocase(e->coding, SPAN("7bit"));
    bool good;
    if (passes && named_right) {
        good = emit_fields(c, e, &(struct heading){.keep = true});
        if (good)
            emit_body(c, e, buf_span(&raw));
    } else if (passes && transfer == TRANSFER_LINES) {
        good = emit_recoded(c, e, bytes, plan, CODING_7BIT);
    } else {
        good = emit_recoded(c, e, bytes, plan, plan->coding);
    }
    buf_finish(&raw);
    return good;
}

/* An attachment: its bytes reach the reader as they are. */
bool leaf_blob(struct compiler *c, const struct entity *e)
{
    enum transfer transfer;
    if (!transfer_of(c, e, &transfer))
        return false;
    struct buf bytes = {0};
    bool good = true;
    if (transfer == TRANSFER_BINARY)
        buf_add_span(&bytes, e->body);
    else
        good = transfer_decode(c, e, transfer, &bytes);
    const struct body_plan plan = {.type_field = e->type_field,
                                   .type = e->type,
                                   .charset = e->type.charset.p ? e->type.charset
                                                                : SPAN("us-ascii"),
                                   .coding = CODING_BASE64};
    good = good && emit_unchanging(c, e, transfer, buf_span(&bytes), &plan);
    buf_finish(&bytes);
    return good;
}

/* ---- text parts ---- */

/* The line of the file in which the text behind `before` stands. */
static int text_line(const void *context, struct span before)
{
    const struct entity *e = context;
    int breaks = 0;
    for (size_t i = 0; i < before.n; i++)
        breaks += before.p[i] == '\n';
    if (span_equal_nocase(e->coding, SPAN("base64")))
        return e->body_line;
    if (!span_equal_nocase(e->coding, SPAN("quoted-printable")))
        return e->body_line + breaks;
    struct lines l = {.text = e->body, .line = e->body_line};
    struct span line;
    while (breaks && lines_next(&l, &line)) {
        const struct span trimmed = span_trim(line);
        breaks -= !trimmed.n || trimmed.p[trimmed.n - 1] != '=';
    }
    return l.line;
}

/* The charset that the bytes are in: what is declared, or what they plainly are. */
static bool text_charset(struct compiler *c, const struct entity *e, struct span bytes,
                         struct span *out)
{
    *out = e->type.charset.p ? e->type.charset : SPAN("us-ascii");
    const int line = e->type_field ? e->type_field->line : e->body_line;
    if (charset_is_ascii(*out) && has_8bit(bytes)) {
        if (!utf8_valid(bytes))
            return compile_wrong(c, line,
                                 "8-bit text that is not UTF-8 needs its charset");
        *out = SPAN("utf-8");
    }
    return charset_known(*out) ||
           mime_wrong(c->fault, c->params->file, line, "unknown charset %.*s",
                      (int)(out->n < 60 ? out->n : 60), out->p);
}

static enum escape text_escape(const struct mime_type *type)
{
    return span_equal_nocase(type->subtype, SPAN("html")) ||
                   span_equal_nocase(type->subtype, SPAN("x-amp-html"))
               ? ESCAPE_HTML
               : ESCAPE_NONE;
}

static bool emit_text(struct compiler *c, const struct entity *e,
                      const struct body_plan *plan, const struct segments *text)
{
    struct part *part = arena_alloc(&c->t->arena, sizeof *part);
    *part = (struct part){.delimited = e->depth > 0};
    body_compile(&c->t->arena, plan, text, part);
    if (!emit_fields(c, e, &(struct heading){.part = part}))
        return false;
    emit_step(c, (struct step){.kind = STEP_BODY, .part = part});
    return true;
}

static bool walk_text_decoded(struct compiler *c, const struct entity *e,
                              enum transfer transfer, struct span bytes)
{
    struct body_plan plan = {.type_field = e->type_field, .type = e->type};
    plan.coding_given = transfer == TRANSFER_QP || transfer == TRANSFER_BASE64;
    plan.coding = plan.coding_given
                      ? transfer == TRANSFER_QP ? CODING_QP : CODING_BASE64
                  : body_wants_base64(bytes) ? CODING_BASE64
                                             : CODING_QP;
    if (!text_charset(c, e, bytes, &plan.charset))
        return false;
    struct buf utf8 = {0}, text = {0};
    bool good = charset_to_utf8(&utf8, plan.charset, bytes);
    if (!good)
        good = mime_wrong(c->fault, c->params->file, e->body_line,
                          "text that is not in its charset %.*s", (int)plan.charset.n,
                          plan.charset.p);
    lines_normalise(&text, buf_span(&utf8));
    buf_finish(&utf8);
    if (e->depth == 0 && !ends_line(buf_span(&text)))
        buf_add(&text, "\r\n", 2);
    if (good && text.n && memchr(text.p, '\0', text.n))
        good = compile_wrong(c, e->body_line, "NUL in a text part");
    const struct span kept = {arena_strndup(&c->t->arena, text.p, text.n), text.n};
    buf_finish(&text);
    struct scan scan = compile_scan(c, e->body_line);
    scan.line_of = text_line;
    scan.context = e;
    struct segments segments;
    if (!good || !placeholders_scan(&scan, kept, text_escape(&e->type), &segments))
        return false;
    if (segments.n > 1)
        return emit_text(c, e, &plan, &segments);
    return emit_unchanging(c, e, transfer, bytes, &plan);
}

bool leaf_text(struct compiler *c, const struct entity *e)
{
    enum transfer transfer;
    if (!transfer_of(c, e, &transfer))
        return false;
    if (transfer == TRANSFER_BINARY) /* text has lines, whatever it is called */
        transfer = TRANSFER_LINES;
    struct buf bytes = {0};
    const bool good = transfer_decode(c, e, transfer, &bytes) &&
                      walk_text_decoded(c, e, transfer, buf_span(&bytes));
    buf_finish(&bytes);
    return good;
}
