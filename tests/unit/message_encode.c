/* Encodings by themselves, against known vectors and back again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "message/charset.h"
#include "message/encode.h"
#include "message/identity.h"

static void base64_vectors(void **state)
{
    (void)state; /* RFC 4648 10 */
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg==\r\n"},
                                           {"fo", "Zm8=\r\n"},
                                           {"foo", "Zm9v\r\n"},
                                           {"foobar", "Zm9vYmFy\r\n"},
                                           {"fooba", "Zm9vYmE=\r\n"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char out[64];
        struct base64 b = {.out = out};
        base64_write(&b, span_of(pairs[i][0]));
        base64_finish(&b);
        assert_true(span_equal((struct span){out, b.n}, span_of(pairs[i][1])));
        struct buf back = {0};
        assert_true(base64_read(&back, span_of(pairs[i][1])));
        assert_true(span_equal(buf_span(&back), span_of(pairs[i][0])));
        buf_finish(&back);
    }
    struct buf out = {0};
    assert_false(base64_read(&out, SPAN("Zg==Zg==")));
    assert_false(base64_read(&out, SPAN("Z!==")));
    assert_false(base64_read(&out, SPAN("Z")));
    buf_finish(&out);
}

/* Random text of the bytes that hurt, in random pieces. */
static size_t random_text(struct rng *r, char *p, size_t max)
{
    static const char bad[] = "..--= \tab\x01\xff\xc3z";
    size_t n = rng_below(r, (uint32_t)max), at = 0;
    while (at + 2 <= n) {
        if (rng_below(r, 12) == 0) {
            p[at++] = '\r';
            p[at++] = '\n';
        } else {
            p[at++] = bad[rng_below(r, sizeof bad - 1)];
        }
    }
    return at;
}

static void base64_in_pieces(void **state)
{
    (void)state;
    struct rng r = {1};
    for (int round = 0; round < 2000; round++) {
        char text[400], whole[700], pieces[700];
        const size_t n = random_text(&r, text, sizeof text);
        assert_true(BASE64_BOUND(n) <= sizeof whole);
        struct base64 a = {.out = whole}, b = {.out = pieces};
        base64_write(&a, (struct span){text, n});
        base64_finish(&a);
        assert_true(a.n <= BASE64_BOUND(n));
        for (size_t at = 0; at < n;) {
            const size_t step = rng_below(&r, (uint32_t)(n - at)) + 1;
            base64_write(&b, (struct span){text + at, step});
            at += step;
        }
        base64_finish(&b);
        assert_true(span_equal((struct span){whole, a.n}, (struct span){pieces, b.n}));
        struct buf back = {0};
        assert_true(base64_read(&back, (struct span){whole, a.n}));
        assert_true(span_equal(buf_span(&back), (struct span){text, n}));
        buf_finish(&back);
    }
}

static void qp_check_lines(struct span s)
{
    size_t column = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\r') {
            assert_true(i + 1 < s.n && s.p[i + 1] == '\n');
            assert_true(column <= 76);
            assert_false(i && (s.p[i - 1] == ' ' || s.p[i - 1] == '\t'));
            column = 0;
            i++;
            continue;
        }
        assert_true(s.p[i] >= ' ' || s.p[i] == '\t');
        assert_false(column == 0 && (s.p[i] == '.' || s.p[i] == '-'));
        column++;
    }
    assert_true(column <= 76);
}

static void qp_there_and_back(void **state)
{
    (void)state;
    struct rng r = {2};
    for (int round = 0; round < 3000; round++) {
        char text[300], coded[1200];
        const size_t n = random_text(&r, text, sizeof text);
        assert_true(QP_BOUND(n) <= sizeof coded);
        size_t column = 0;
        const size_t coded_n = qp_write(coded, (struct span){text, n}, &column);
        assert_true(coded_n <= QP_BOUND(n));
        qp_check_lines((struct span){coded, coded_n});
        struct buf back = {0};
        assert_true(qp_read(&back, (struct span){coded, coded_n}));
        assert_true(span_equal(buf_span(&back), (struct span){text, n}));
        buf_finish(&back);
    }
}

static void qp_reading(void **state)
{
    (void)state;
    struct buf out = {0};
    assert_true(qp_read(&out, SPAN("a=\r\nb =  \nc=3d\rd  \r\ne=")));
    assert_true(span_equal(buf_span(&out), SPAN("ab c=\r\nd\r\ne")));
    assert_false(qp_read(&out, SPAN("a=zz")));
    assert_false(qp_read(&out, SPAN("a\xc3\xa9")));
    buf_finish(&out);
}

static void words_reading(void **state)
{
    (void)state; /* RFC 2047 8 */
    static const char *const pairs[][2] = {
        {"(=?ISO-8859-1?Q?a?=)", "(a)"},
        {"(=?ISO-8859-1?Q?a?= b)", "(a b)"},
        {"(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"},
        {"(=?ISO-8859-1?Q?a?=  =?UTF-8?Q?b?=)", "(ab)"},
        {"=?ISO-8859-1?Q?a_b?=", "a b"},
        {"=?iso-8859-1*en?q?=E9?=", "\xc3\xa9"},
        {"=?ISO-2022-JP?B?GyRCOzNFRBsoQg==?=", "\xe5\xb1\xb1\xe7\x94\xb0"},
        {"=?UTF-8?B?5bE=?= =?UTF-8?B?sQ==?=", "\xe5\xb1\xb1"},
        {"=?x", "=?x"},
        {"a =?= b", "a =?= b"},
        {"=?utf-8?Q?{{name}}?=", "{{name}}"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct buf out = {0};
        const bool good = words_read(&out, span_of(pairs[i][0]));
        if (!good || !span_equal(buf_span(&out), span_of(pairs[i][1])))
            fail_msg("%s: %.*s", pairs[i][0], (int)out.n, out.p);
        buf_finish(&out);
    }
    struct buf out = {0};
    assert_false(words_read(&out, SPAN("=?no-such?Q?a?=")));
    assert_false(words_read(&out, SPAN("=?utf-8?Q?=ff?=")));
    buf_finish(&out);
}

static void words_there_and_back(void **state)
{
    (void)state;
    static const char *const chars[] = {
        "a", " ", "=", "?", "\"", "\xc3\xa9", "\xe5\xb1\xb1", "\xf0\x9f\x8d\xa3", "_"};
    struct rng r = {3};
    for (int round = 0; round < 2000; round++) {
        struct buf text = {0}, out = {0}, flat = {0}, back = {0};
        const unsigned kinds = 1 + rng_below(&r, 9);
        for (unsigned n = 1 + rng_below(&r, 120); n; n--)
            buf_add_str(&text, chars[rng_below(&r, kinds)]);
        size_t column = 9 + rng_below(&r, 60);
        const size_t indent = column;
        words_write(&out, buf_span(&text), &column);
        size_t line = indent;
        for (size_t i = 0; i < out.n; i++) {
            if (out.p[i] == '\r') {
                i += 1;
                line = 0;
                continue;
            }
            buf_add_char(&flat, out.p[i]);
            line++;
            assert_true(line <= 76);
        }
        assert_int_equal(line, column);
        assert_true(words_read(&back, buf_span(&flat)));
        const struct span read = back.n && back.p[0] == ' ' && text.p[0] != ' '
                                     ? (struct span){back.p + 1, back.n - 1}
                                     : buf_span(&back);
        if (!span_equal(read, buf_span(&text)) &&
            !(back.n == text.n + 1 && memcmp(back.p + 1, text.p, text.n) == 0))
            fail_msg("%.*s -> %.*s", (int)text.n, text.p, (int)out.n, out.p);
        buf_finish(&text);
        buf_finish(&out);
        buf_finish(&flat);
        buf_finish(&back);
    }
}

static void escapes(void **state)
{
    (void)state;
    static const struct {
        enum escape escape;
        const char *in, *out;
    } cases[] = {
        {ESCAPE_NONE, "a\tb\rc\nd\x1b\x7f", "a\tb c d  "},
        {ESCAPE_NONE, "\xc2\x85x\xc2\xa0", " x\xc2\xa0"},
        {ESCAPE_NONE, "\xff\xe5\xb1", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {ESCAPE_LINE, "a\tb\r\nc", "a b  c"},
        {ESCAPE_HTML, "<a href=\"'&'\">\t",
         "&lt;a href=&quot;&#39;&amp;&#39;&quot;&gt;\t"},
        {ESCAPE_URL, "a b/?&=\xc3\xa9~-._%", "a%20b%2F%3F%26%3D%C3%A9~-._%25"},
        {ESCAPE_URL, "a\r\nb", "a%20%20b"},
        {ESCAPE_URL, "\xf0\x9f\x92\xa9", "%F0%9F%92%A9"},
        {ESCAPE_URI, "https://x/?a=b&c=%20#d<>\" {",
         "https://x/?a=b&c=%20#d%3C%3E%22%20%7B"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[200];
        const struct span in = span_of(cases[i].in);
        assert_false(escape_not_needed(in, cases[i].escape));
        const size_t n = escape_write(out, in, cases[i].escape);
        assert_int_equal(n, escape_write(NULL, in, cases[i].escape));
        if (!span_equal((struct span){out, n}, span_of(cases[i].out)))
            fail_msg("case %zu: %.*s", i, (int)n, out);
    }
    for (int e = 0; e < ESCAPES; e++)
        assert_true(escape_not_needed(SPAN("Az09-._~"), (enum escape)e));
}

static void charsets(void **state)
{
    (void)state;
    static const char *const hold[] = {"utf-8",      "us-ascii", "iso-8859-1",
                                       "shift_jis",  "euc-jp",   "windows-1252",
                                       "iso-2022-jp"};
    for (size_t i = 0; i < sizeof hold / sizeof *hold; i++) {
        if (!charset_known(span_of(hold[i])) || !charset_holds_ascii(span_of(hold[i])))
            fail_msg("%s", hold[i]);
    }
    assert_false(charset_holds_ascii(SPAN("utf-16")));
    assert_false(charset_holds_ascii(SPAN("utf-7")));
    assert_false(charset_known(SPAN("no-such-charset")));
    assert_false(charset_known(SPAN("ASCII//TRANSLIT")));
    struct buf out = {0};
    assert_true(charset_from_utf8(&out, SPAN("iso-2022-jp"), SPAN("\xe5\xb1\xb1")));
    assert_true(span_equal(buf_span(&out), SPAN("\x1b$B;3\x1b(B")));
    assert_false(charset_from_utf8(&out, SPAN("iso-8859-1"), SPAN("\xe5\xb1\xb1")));
    buf_finish(&out);
}

/* HMAC-SHA-256, computed once by Python's hmac module:
 * base64.b32encode(hmac.digest(b"0123456789abcdef", row.to_bytes(4), "sha256")[:20]) */
static void identities(void **state)
{
    (void)state;
    struct identity *id = identity_create((const uint8_t *)"0123456789abcdef", 16);
    struct identity *other = identity_create((const uint8_t *)"x", 1);
    struct identity_worker *w = NULL, *w2 = NULL;
    char a[IDENTITY_LEN], b[IDENTITY_LEN];
    identity_make(id, &w, 7, a);
    assert_memory_equal(a, "y3ciwjxnldhkw3uy5s3apeh5gsaazqah", IDENTITY_LEN);
    identity_make(id, &w, 70000, b);
    assert_memory_equal(b, "ghg63lvk3pw4n5g57aon6oq62tuhtews", IDENTITY_LEN);
    identity_make(other, &w, 7, b); /* the same worker, another key */
    assert_memory_not_equal(a, b, IDENTITY_LEN);
    identity_make(id, &w2, 7, b);
    assert_memory_equal(a, b, IDENTITY_LEN);
    identity_worker_destroy(w);
    identity_worker_destroy(w2);
    identity_destroy(id);
    identity_destroy(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_vectors),    cmocka_unit_test(base64_in_pieces),
        cmocka_unit_test(qp_there_and_back), cmocka_unit_test(qp_reading),
        cmocka_unit_test(words_reading),     cmocka_unit_test(words_there_and_back),
        cmocka_unit_test(escapes),           cmocka_unit_test(charsets),
        cmocka_unit_test(identities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
