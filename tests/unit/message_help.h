/* Compile and render in one call, for the tests of message/. */
#ifndef TESTS_MESSAGE_HELP_H
#define TESTS_MESSAGE_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/message_wire.h"

enum { COLUMNS = 6 };
static const char *const column_names[COLUMNS] = {"email", "name", "b",
                                                  "c",     "Name", "\xe5\x90\x8d"};

static const struct template_params test_params = {
    .file = "m.eml",
    .columns = column_names,
    .columns_n = COLUMNS,
    .hostname = "mx1.example.jp",
    .secret = (const uint8_t *)"0123456789abcdef",
    .secret_n = 16,
    .created_ms = 1795336756000,
};

static inline struct template *compile_good(struct span text)
{
    struct fault f = {0};
    char *copy = malloc(text.n + 1); /* the template must not need it afterwards */
    memcpy(copy, text.p, text.n);
    struct template *t =
        template_compile((struct span){copy, text.n}, &test_params, &f);
    free(copy);
    if (!t)
        fail_msg("%d %s\n%.*s", f.code, f.words, (int)text.n, text.p);
    return t;
}

/* Render with name, b, c; a NULL is an empty field. Returns the wire form (free with
 * buf_finish), p NULL when the row is refused. Checks what always holds. */
static inline struct buf render3(struct span text, struct span name, struct span b,
                                 struct span c)
{
    struct template *t = compile_good(text);
    const struct span fields[COLUMNS] = {
        SPAN("to@example.net"), name, b, c, SPAN("big"), SPAN("kanji")};
    struct template_row row = {
        .row = 7, .fields = fields, .to = "to@example.net", .dotted = true};
    struct rendering r = {0};
    struct buf out = {0};
    const char *why = NULL;
    if (template_render(t, &row, &r, &why)) {
        wire_join(&out, &r);
        const size_t size = r.size - r.dots;
        const struct wire w = wire_check(buf_span(&out));
        if (w.fault)
            fail_msg("%s:\n%.*s", w.fault, (int)out.n, out.p);
        struct buf again = {0};
        assert_true(template_render(t, &row, &r, &why));
        wire_join(&again, &r);
        assert_true(span_equal(buf_span(&out), buf_span(&again)));
        buf_reset(&again);
        row.dotted = false; /* the same, but for the dots */
        assert_true(template_render(t, &row, &r, &why));
        wire_join(&again, &r);
        assert_int_equal(again.n, r.size);
        assert_int_equal(again.n, size);
        assert_int_equal(r.dots, 0);
        assert_true(wire_is_same(buf_span(&out), buf_span(&again)));
        buf_finish(&again);
    } else {
        assert_non_null(why);
    }
    rendering_finish(&r);
    template_free(t);
    return out;
}

static inline struct buf render1(const char *text, const char *name)
{
    return render3(span_of(text), span_of(name), SPAN(""), SPAN(""));
}

static inline bool holds(const struct buf *b, const char *what)
{
    return b->p && memmem(b->p, b->n, what, strlen(what)) != NULL;
}

static inline void expect(const char *text, const char *name, const char *want)
{
    struct buf out = render1(text, name);
    if (!holds(&out, want))
        fail_msg("want:\n%s\nin:\n%.*s", want, (int)out.n, out.p ? out.p : "");
    buf_finish(&out);
}

#endif
