/* Any template with any values: either it is refused with words and -21, or each row is
 * refused with words, or the wire form is well formed (message_wire.h), the same twice,
 * and its number of header fields and of boundaries does not depend on the values.
 *
 * Input: values, one a line, then an empty line, then the template; when that begins
 * with M, the rest is what follows "Content-Type: text/" in a part of a multipart. */
#include <assert.h>
#include <stdlib.h>

#include "base/text.h"
#include "tests/unit/message_wire.h"

enum { COLUMNS = 4 };

static const char *const columns[COLUMNS] = {"email", "name", "b", "c d"};

/* Up to COLUMNS lines; values are what a list can hold: UTF-8 without TAB, LF and NUL.
 */
static struct span take_fields(struct span in, struct span fields[COLUMNS])
{
    for (int i = 0; i < COLUMNS; i++) {
        const char *lf = in.n ? memchr(in.p, '\n', in.n) : NULL;
        const size_t n = lf ? (size_t)(lf - in.p) : 0;
        if (!lf || n == 0)
            break;
        const struct span value = {in.p, n};
        if (utf8_valid(value) && !memchr(value.p, '\t', n) && !memchr(value.p, '\0', n))
            fields[i] = value;
        in.p += n + 1;
        in.n -= n + 1;
    }
    if (in.n && in.p[0] == '\n')
        return (struct span){in.p + 1, in.n - 1};
    return in;
}

/* Delimiter lines, open or closing, with spaces behind them as RFC 2046 allows. */
static int count_boundaries(const struct buf *b)
{
    static const char mark[] = "\n--bound";
    int n = 0;
    for (size_t at = 0; at + sizeof mark <= b->n; at++) {
        if (memcmp(b->p + at, mark, sizeof mark - 1) != 0)
            continue;
        size_t end = at + sizeof mark - 1;
        if (end + 2 < b->n && memcmp(b->p + end, "--", 2) == 0)
            end += 2;
        while (end < b->n && (b->p[end] == ' ' || b->p[end] == '\t'))
            end++;
        n += end < b->n && b->p[end] == '\r';
    }
    return n;
}

static bool render(const struct template *t, const struct span *fields, struct buf *out,
                   struct wire *w)
{
    struct rendering r = {0};
    struct template_row row = {
        .row = 3, .fields = fields, .to = "a@example.jp", .dotted = true};
    const char *why = NULL;
    bool good = template_render(t, &row, &r, &why);
    assert(good || (why && *why));
    if (good) {
        wire_join(out, &r);
        assert(out->n == r.size);
        size_t size = r.size - r.dots;
        *w = wire_check(buf_span(out));
        if (w->fault) {
            fprintf(stderr, "%s\n%.*s\n", w->fault, (int)out->n, out->p);
            abort();
        }
        struct buf again = {0};
        assert(template_render(t, &row, &r, &why));
        wire_join(&again, &r);
        assert(span_equal(buf_span(out), buf_span(&again)));
        buf_reset(&again);
        row.dotted = false;
        assert(template_render(t, &row, &r, &why));
        wire_join(&again, &r);
        assert(again.n == r.size && again.n == size);
        assert(wire_is_same(buf_span(out), buf_span(&again)));
        buf_finish(&again);
    }
    rendering_finish(&r);
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span fields[COLUMNS], tame[COLUMNS];
    for (int i = 0; i < COLUMNS; i++) {
        fields[i] = SPAN("");
        tame[i] = SPAN("a@example.jp");
    }
    struct span text = take_fields((struct span){(const char *)data, size}, fields);
    struct buf wrapped = {0};
    const bool wrap = text.n && text.p[0] == 'M';
    if (wrap) {
        buf_add_str(&wrapped,
                    "From: a@b.jp\nContent-Type: multipart/mixed; boundary=bound\n"
                    "\n--bound\nContent-Type: text/");
        buf_add(&wrapped, text.p + 1, text.n - 1);
        buf_add_str(&wrapped, "\n--bound--\n");
        text = buf_span(&wrapped);
    }
    const struct template_params params = {.file = "f",
                                           .columns = columns,
                                           .columns_n = COLUMNS,
                                           .hostname = "h.example",
                                           .secret = (const uint8_t *)"s",
                                           .secret_n = 1,
                                           .created_ms = 1795336756000};
    struct fault f = {0};
    struct template *t = template_compile(text, &params, &f);
    if (!t) {
        assert(f.code == -21 && strncmp(f.words, "f:", 2) == 0);
        buf_finish(&wrapped);
        return 0;
    }
    assert(f.code == 0);
    struct buf hostile = {0}, plain = {0};
    struct wire hostile_wire = {0}, plain_wire = {0};
    const bool both = render(t, fields, &hostile, &hostile_wire) &
                      (int)render(t, tame, &plain, &plain_wire);
    if (both) {
        assert(hostile_wire.fields == plain_wire.fields);
        assert(!wrap || count_boundaries(&hostile) == count_boundaries(&plain));
    }
    buf_finish(&hostile);
    buf_finish(&plain);
    buf_finish(&wrapped);
    template_free(t);
    return 0;
}
