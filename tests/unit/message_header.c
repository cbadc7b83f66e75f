/* Values in header fields: encoded, quoted, folded, refused; never another field. */
#include "base/rng.h"
#include "message/encode.h"
#include "tests/unit/message_help.h"

#define F      "From: n@example.jp\n"
#define END    "\n\nx\n"
#define YAMADA "\xe5\xb1\xb1\xe7\x94\xb0"

static void unstructured(void **state)
{
    (void)state;
    expect(F "Subject: Hi {{name}}!" END, "Taro", "\r\nSubject: Hi Taro!\r\n");
    expect(F "Subject: Hi {{name}}!" END, "", "\r\nSubject: Hi !\r\n");
    expect(F "Subject: {{name}}" END, "", "\r\nSubject:\r\n");
    expect(F "Subject: {{name}}" END, "  a  b  ", "\r\nSubject: a  b\r\n");
    expect(F "Subject: Hi {{name}} there" END, YAMADA,
           "\r\nSubject: Hi =?UTF-8?B?5bGx55Sw?= there\r\n");
    expect(F "Subject: Hi {{name}}" END, "caf\xc3\xa9 and tea",
           "\r\nSubject: Hi =?UTF-8?B?Y2Fmw6k=?= and tea\r\n");
    expect(F "Subject: {{name}}" END,
           "=?utf-8?Q?x?=", "\r\nSubject: =?UTF-8?B?PT91dGYtOD9RP3g/PQ==?=\r\n");
    expect(F "Subject: {{name}}" END, "a\r\nBcc: x@y\tz\x01",
           "\r\nSubject: a  Bcc: x@y z\r\n");
    expect(F "Subject: {{name}}" END, "{{b}}", "\r\nSubject: {{b}}\r\n");
    expect(F "Subject: {{name|url}}" END, "a b", "\r\nSubject: a%20b\r\n");
    expect(F "X-Long: a\n\tb\n {{name}}" END, "c", "\r\nX-Long: a b c\r\n");
    /* inside an encoded word of the template */
    expect(F "Subject: =?iso-8859-1?Q?Hi_{{name}}_=E9?=" END, "T",
           "\r\nSubject: Hi T =?UTF-8?B?w6k=?=\r\n");
    expect(F "Subject: =?utf-8?B?e3tuYW1lfX0=?= x" END, "T", "\r\nSubject: T x\r\n");
    /* no placeholder: as it stands */
    expect(F "Subject: =?iso-8859-1?Q?=E9?=\n  folded" END, "",
           "\r\nSubject: =?iso-8859-1?Q?=E9?=\r\n  folded\r\n");
    expect(F "Subject: a\n \n b" END, "", "\r\nSubject: a\r\n b\r\n");
    /* raw UTF-8 in the template */
    expect(F "Subject: " YAMADA END, "", "\r\nSubject: =?UTF-8?B?5bGx55Sw?=\r\n");
    expect("From: " YAMADA " <a@b.jp>\n\n", "",
           "From: =?UTF-8?B?5bGx55Sw?= <a@b.jp>\r\n");
}

static void display_names(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"Taro", "To: Taro <a@b.jp>\r\n"},
        {"Taro Yamada", "To: Taro Yamada <a@b.jp>\r\n"},
        {"Yamada, Taro", "To: \"Yamada, Taro\" <a@b.jp>\r\n"},
        {"J. \"X\" \\Doe", "To: \"J. \\\"X\\\" \\\\Doe\" <a@b.jp>\r\n"},
        {"a  b", "To: \"a  b\" <a@b.jp>\r\n"},
        {"x\" <evil@x>, \"", "To: \"x\\\" <evil@x>, \\\"\" <a@b.jp>\r\n"},
        {"a\r\nBcc: b", "To: \"a  Bcc: b\" <a@b.jp>\r\n"},
        {YAMADA, "To: =?UTF-8?B?5bGx55Sw?= <a@b.jp>\r\n"},
        {"\xc3\xa9, <x@y>", "To: =?UTF-8?B?w6ksIDx4QHk+?= <a@b.jp>\r\n"},
        {"=?x?Q?y?=", "To: =?UTF-8?B?PT94P1E/eT89?= <a@b.jp>\r\n"},
        {"", "To: <a@b.jp>\r\n"},
        {"{{b}}", "To: {{b}} <a@b.jp>\r\n"},
    };
    static const char *const templates[] = {
        F "To: {{name}} <a@b.jp>" END, F "To: \"{{name}}\" <a@b.jp>" END,
        F "To: =?utf-8?Q?{{name}}?= (comment) <a@b.jp> (more)" END,
        F "To: \"=?utf-8?B?e3tuYW1lfX0=?=\"\n\t<a@b.jp>" END};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t k = 0; k < sizeof templates / sizeof *templates; k++)
            expect(templates[k], cases[i][0], cases[i][1]);
    }
    expect("From: {{name}} Team <n@example.jp>\n\nx", "A",
           "From: A Team <n@example.jp>\r\n");
    expect(F "Cc: x@y.jp, {{name}} <a@b.jp>, \"c, d\" <e@f.jp>" END, "n",
           "\r\nCc: x@y.jp, n <a@b.jp>, \"c, d\" <e@f.jp>\r\n");
}

static void address_values(void **state)
{
    (void)state;
    expect(F "To: {{name}}" END, "a@b.jp", "\r\nTo: a@b.jp\r\n");
    expect(F "Reply-To: R <{{ name }}>" END, "a..b@B.jp",
           "\r\nReply-To: R <\"a..b\"@b.jp>\r\n");
    static const char *const bad[] = {"",
                                      "x",
                                      "a@b.jp, c@d.jp",
                                      "<a@b.jp>",
                                      "N <a@b.jp>",
                                      "a@b.jp\r\nBcc: x@y.jp",
                                      "a b@c.jp",
                                      "\xc3\xa9@b.jp"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf out = render1(F "To: {{name}}" END, bad[i]);
        assert_null(out.p);
        out = render1(F "Cc: x <{{name}}>" END, bad[i]);
        assert_null(out.p);
    }
}

static void list_fields(void **state)
{
    (void)state;
#define UNSUB                                                                          \
    F "List-Unsubscribe: <https://x.jp/{{name}}?a=1&b={{ b }}>, <mailto:u@x.jp>" END
    expect(UNSUB, "id7",
           "\r\nList-Unsubscribe: <https://x.jp/id7?a=1&b=>, <mailto:u@x.jp>\r\n");
    expect(UNSUB, "a>b, <c>\r\n", "https://x.jp/a%3Eb%2C%20%3Cc%3E%20%20?a=1");
    expect(F "List-Help: < {{name|url}} >" END, "a b", "\r\nList-Help: <a%20b>\r\n");
    expect(F "List-Help: <{{name}}>" END, "https://x/?a=b&c=%41> \"",
           "\r\nList-Help: <https://x/?a=b&c=%41%3E%20%22>\r\n");
    expect(F "List-Help: <{{name}}{{name}}>" END, "a:", "\r\nList-Help: <a:a%3A>\r\n");
    expect(F "List-Id: {{name}} <news.x.jp>" END, "a, b",
           "\r\nList-Id: \"a, b\" <news.x.jp>\r\n");
    expect(F "List-Unsubscribe-Post: List-Unsubscribe=One-Click" END, "",
           "\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
    char uri[1200];
    memset(uri, 'u', sizeof uri);
    uri[sizeof uri - 1] = '\0';
    struct buf out = render1(UNSUB, uri);
    assert_null(out.p);
    uri[700] = '\0';
    expect(UNSUB, uri, "?a=1&b=>,\r\n <mailto:u@x.jp>\r\n");
}

static struct span filled(size_t n, const char *with)
{
    char *p = malloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = with[i % strlen(with)];
    return (struct span){p, n};
}

static void limits(void **state)
{
    (void)state;
    static const char *const fills[] = {"x",        "x ",           " ",  "\"",  "\\ ",
                                        "\xc3\xa9", "\xe5\xb1\xb1", "=?", "\x01"};
    static const size_t sizes[] = {70, 380, 900, 1000, 4086, 4120, 10u << 20};
    static const char *const templates[] = {F "Subject: {{name}}" END,
                                            F "To: {{name}} <a@b.jp>" END,
                                            F "List-Id: {{name}}" END};
    for (size_t t = 0; t < sizeof templates / sizeof *templates; t++) {
        for (size_t i = 0; i < sizeof fills / sizeof *fills; i++) {
            for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
                const size_t n = sizes[k] / strlen(fills[i]) * strlen(fills[i]);
                const struct span value = filled(n, fills[i]);
                struct buf out =
                    render3(span_of(templates[t]), value, SPAN(""), SPAN(""));
                if ((out.p != NULL) != (n < 4097))
                    fail_msg("%zu of %s", n, fills[i]);
                buf_finish(&out);
                free((void *)(uintptr_t)value.p);
            }
        }
    }
    const struct span half = filled(2048, "x "), more = filled(2049, "x ");
    struct buf out =
        render3(SPAN(F "Subject: {{name}}{{b}}" END), half, half, SPAN(""));
    assert_non_null(out.p);
    buf_finish(&out);
    out = render3(SPAN(F "Subject: {{name}}{{b}}" END), half, more, SPAN(""));
    assert_null(out.p);
    free((void *)(uintptr_t)half.p);
    free((void *)(uintptr_t)more.p);
}

/* Unfolding and decoding gives the text back, whatever words stand beside each other.
 */
static void any_words(void **state)
{
    (void)state;
    static const char *const words[] = {"a",
                                        "longer-word-of-plain-text",
                                        YAMADA YAMADA YAMADA,
                                        "caf\xc3\xa9",
                                        "=?",
                                        "\"q\"",
                                        "x@y",
                                        "\xf0\x9f\x8d\xa3"};
    struct rng r = {11};
    for (int round = 0; round < 1500; round++) {
        struct buf text = {0};
        for (unsigned n = 1 + rng_below(&r, 30); n; n--) {
            buf_add_str(&text, words[rng_below(&r, 8)]);
            if (n > 1)
                buf_add_str(&text, rng_below(&r, 5) ? " " : "   ");
        }
        struct buf out = render3(SPAN("Subject: {{name}}\n" F END), buf_span(&text),
                                 SPAN(""), SPAN(""));
        struct buf flat = {0}, back = {0};
        for (size_t i = 9; i < out.n; i++) {
            if (out.p[i] == '\r' && out.p[i + 2] != ' ')
                break;
            if (out.p[i] != '\r' && out.p[i] != '\n')
                buf_add_char(&flat, out.p[i]);
        }
        assert_true(words_read(&back, span_trim(buf_span(&flat))));
        if (!span_equal(buf_span(&back), buf_span(&text)))
            fail_msg("%.*s\n->\n%.*s\n->\n%.*s", (int)text.n, text.p, (int)flat.n,
                     flat.p, (int)back.n, back.p);
        buf_finish(&text);
        buf_finish(&out);
        buf_finish(&flat);
        buf_finish(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unstructured),   cmocka_unit_test(display_names),
        cmocka_unit_test(address_values), cmocka_unit_test(list_fields),
        cmocka_unit_test(limits),         cmocka_unit_test(any_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
