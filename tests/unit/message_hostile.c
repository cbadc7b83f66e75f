/* What wants to break out: smuggled ends of data, forged headers, giants, many threads.
 */
#include <pthread.h>

#include "tests/unit/message_help.h"

#define F "From: n@example.jp\n"

/* What receivers have taken for the end of data (SMTP smuggling), NUL apart. */
static const char *const sequences[] = {
    "\n.\n",         "\n.\r",         "\r.\n",         "\r.\r",     "\n.\r\n",
    "\r.\r\n",       "\r\n.\n",       "\r\n.\r",       "\r\n.\r\n", "\r\n.\r\r\n",
    "\r\r\n.\r\r\n", "\r\n\r\n.\r\n", "\r\n.\r\n\r\n",
};
enum { SEQUENCES = sizeof sequences / sizeof *sequences };

static int count(const struct buf *b, const char *what)
{
    int n = 0;
    for (size_t at = 0; at + strlen(what) <= b->n; at++)
        n += memcmp(b->p + at, what, strlen(what)) == 0;
    return n;
}

/* render3 has checked that there are CRLFs only, and no line of one dot. */
static void smuggling_in_values(void **state)
{
    (void)state;
    static const char *const bodies[] = {"{{name}}",           "a{{name}}b\n",
                                         "{{b}}{{name}}{{b}}", "\n{{name}}",
                                         "{{name|url}}",       "{{{name}}}\n."};
    static const char *const types[] = {
        "", "Content-Type: text/html; charset=utf-8\n",
        "Content-Transfer-Encoding: quoted-printable\n",
        "Content-Type: text/plain; charset=iso-2022-jp\n"};
    for (size_t i = 0; i < SEQUENCES; i++) {
        char value[80];
        snprintf(value, sizeof value, "x%sMAIL FROM:<a@b>%s", sequences[i],
                 sequences[i]);
        for (size_t k = 0; k < sizeof bodies / sizeof *bodies; k++) {
            for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
                char text[300];
                snprintf(text, sizeof text, F "%sSubject: {{name}}\nX: {{name}}\n\n%s",
                         types[t], bodies[k]);
                struct buf out = render1(text, value);
                assert_non_null(out.p);
                assert_int_equal(count(&out, "\r\nMAIL"), 0);
                assert_int_equal(count(&out, "\r\n.\r\n"), 0);
                buf_finish(&out);
            }
        }
    }
}

static void smuggling_in_the_template(void **state)
{
    (void)state;
    static const char *const codings[] = {"7bit", "8bit", "binary"};
    for (size_t i = 0; i < SEQUENCES; i++) {
        for (size_t k = 0; k < sizeof codings / sizeof *codings; k++) {
            for (int with = 0; with < 2; with++) {
                char text[300];
                snprintf(text, sizeof text,
                         F "Content-Transfer-Encoding: %s\n\na%sMAIL%s%s", codings[k],
                         sequences[i], sequences[i], with ? "{{name}}" : "");
                struct buf out = render1(text, ".");
                /* Each line of a dot is there, stuffed: none is lost or ends the data.
                 */
                assert_int_equal(count(&out, "\r\n.\r\n"), 0);
                assert_true(count(&out, "\r\n..") >= 1 || holds(&out, "base64"));
                buf_finish(&out);
            }
        }
    }
    struct fault f = {0};
    assert_null(template_compile(SPAN(F "\na\r\n\0.\r\n"), &test_params, &f));
    assert_int_equal(f.code, -21);
}

static void no_forged_field(void **state)
{
    (void)state;
    static const char *const values[] = {"x\r\nBcc: v@x.jp",
                                         "x\nBcc: v@x.jp",
                                         "x\rBcc: v@x.jp",
                                         "\r\n\r\nBcc: v@x.jp",
                                         "x\r\n Bcc: v@x.jp",
                                         "=?utf-8?Q?=0D=0ABcc:_v?=",
                                         "\xe2\x80\xa8"
                                         "Bcc: v@x.jp",
                                         "\x0b\x0c\x1c\x85",
                                         "\xc2\x85"
                                         "Bcc: v"};
    static const char *const fields[] = {"Subject: {{name}}",
                                         "X-A: {{name}}{{name}}",
                                         "To: {{name}} <a@b.jp>",
                                         "Reply-To: \"{{name}}\" <a@b.jp>",
                                         "List-Id: {{name}} <x.y>",
                                         "List-Help: <{{name}}>",
                                         "List-Help: <https://x/{{name}}>",
                                         "Subject: =?utf-8?Q?{{name}}?="};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        char text[300];
        snprintf(text, sizeof text, F "%s\n\nx", fields[i]);
        struct buf tame = render1(text, "v");
        const int want = wire_check(buf_span(&tame)).fields;
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            struct buf out = render1(text, values[k]);
            assert_int_equal(wire_check(buf_span(&out)).fields, want);
            assert_int_equal(count(&out, "\nBcc"), 0);
            assert_int_equal(count(&out, "\n Bcc"), 0);
            buf_finish(&out);
        }
        buf_finish(&tame);
    }
}

static void giant_value(void **state)
{
    (void)state;
    enum { GIANT = 10 << 20 };
    char *p = malloc(GIANT);
    memset(p, '<', GIANT);
    const struct span giant = {p, GIANT};
    struct buf out = render3(SPAN(F "Content-Type: text/html\n\n{{name}}"), giant,
                             SPAN(""), SPAN(""));
    assert_true(out.n > GIANT * (size_t)4); /* &lt; */
    buf_finish(&out);
    memset(p, '.', GIANT);
    out = render3(SPAN(F "\n{{name}}"), giant, SPAN(""), SPAN(""));
    assert_true(holds(&out, "quoted-printable"));
    buf_finish(&out);
    free(p);
}

/* ---- many threads, one template ---- */

enum { THREADS = 4, ROWS = 300 };

struct crew {
    const struct template *t;
    struct buf all; /* of one thread: every rendering in row order */
};

static void *render_rows(void *arg)
{
    struct crew *crew = arg;
    struct rendering r = {0};
    struct buf one = {0};
    for (uint32_t row = 1; row <= ROWS; row++) {
        const struct span fields[COLUMNS] = {
            SPAN("a@b.jp"),
            row % 2 ? SPAN("plain") : SPAN("\xe7\x94\xb0"),
            row % 3 ? SPAN("") : SPAN("\xf0\x9f\x8d\xa3"),
            SPAN("c"),
            SPAN(""),
            SPAN("")};
        const struct template_row one_row = {
            .row = row, .fields = fields, .to = "a@b.jp", .dotted = true};
        const char *why = NULL;
        if (!template_render(crew->t, &one_row, &r, &why))
            break;
        wire_join(&one, &r);
        buf_add_span(&crew->all, buf_span(&one));
    }
    buf_finish(&one);
    rendering_finish(&r);
    return NULL;
}

static void threads_agree(void **state)
{
    (void)state;
    struct template *t = compile_good(
        SPAN(F "Subject: {{name}}\nContent-Type: text/plain; charset=iso-2022-jp\n\n"
               "\x1b$B;3\x1b(B {{name}}{{b}}\n"));
    struct crew crews[THREADS] = {0};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        crews[i].t = t;
        assert_int_equal(pthread_create(&threads[i], NULL, render_rows, &crews[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(count(&crews[0].all, "Message-ID: <"), ROWS);
    for (int i = 0; i < THREADS; i++) {
        assert_true(span_equal(buf_span(&crews[0].all), buf_span(&crews[i].all)));
        if (i)
            buf_finish(&crews[i].all);
    }
    buf_finish(&crews[0].all);
    template_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smuggling_in_values),
        cmocka_unit_test(smuggling_in_the_template),
        cmocka_unit_test(no_forged_field),
        cmocka_unit_test(giant_value),
        cmocka_unit_test(threads_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
