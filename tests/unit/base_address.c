/* base/address: a table of decisions, one line each, and properties on random input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/address.h"
#include "base/rng.h"

#define X16 "xxxxxxxxxxxxxxxx"
#define X60 X16 X16 X16 "xxxxxxxxxxxx"
#define X63 X60 "xxx"
#define X64 X60 "xxxx"

struct good {
    const char *text;
    const char *finished;
};

struct bad {
    const char *text;
    const char *why; /* a part of it */
};

/* Names in the manner of the isemail collection; what it calls valid but unwise is
 * decided here, one by one. */
/* clang-format off */
static const struct good good[] = {
    {"test@example.com", "test@example.com"},
    {"test@iana.org", "test@iana.org"},
    {"a@b.jp", "a@b.jp"},
    {"Taro.Yamada@Example.CO.JP", "Taro.Yamada@example.co.jp"},
    {"test@about.museum", "test@about.museum"},
    {"test@a.b.c.d.e.f", "test@a.b.c.d.e.f"},
    {"!#$%&`*+/=?^`{|}~@iana.org", "!#$%&`*+/=?^`{|}~@iana.org"},
    {"user+tag@example.com", "user+tag@example.com"},
    {"o'brien@example.com", "o'brien@example.com"},
    {"{{name}}@example.com", "{{name}}@example.com"},
    {"=?utf-8?q?a?=@example.com", "=?utf-8?q?a?=@example.com"},
    {"-@example.com", "-@example.com"},
    {"--help@example.com", "--help@example.com"},
    {"_@example.com", "_@example.com"},
    {"123@example.com", "123@example.com"},
    /* outer spaces go, nothing else */
    {" a@example.com", "a@example.com"},
    {"a@example.com   ", "a@example.com"},
    {"   a@example.com   ", "a@example.com"},
    /* dots that a Japanese carrier once sold: quoted, RFC 5321 4.1.2 */
    {"a..b@docomo.ne.jp", "\"a..b\"@docomo.ne.jp"},
    {".a@docomo.ne.jp", "\".a\"@docomo.ne.jp"},
    {"a.@docomo.ne.jp", "\"a.\"@docomo.ne.jp"},
    {".@docomo.ne.jp", "\".\"@docomo.ne.jp"},
    {"...@docomo.ne.jp", "\"...\"@docomo.ne.jp"},
    {"a.-.b@docomo.ne.jp", "a.-.b@docomo.ne.jp"},
    /* quoted local parts: kept where needed, taken off where not */
    {"\"a..b\"@docomo.ne.jp", "\"a..b\"@docomo.ne.jp"},
    {"\"test\"@iana.org", "test@iana.org"},
    {"\"a.b\"@iana.org", "a.b@iana.org"},
    {"\"\\a\"@iana.org", "a@iana.org"},
    {"\"\\\"\"@iana.org", "\"\\\"\"@iana.org"},
    {"\"\\\\\"@iana.org", "\"\\\\\"@iana.org"},
    {"\"a@b\"@iana.org", "\"a@b\"@iana.org"},
    {"\"a\\@b\"@iana.org", "\"a@b\"@iana.org"},
    {"\"a,b\"@iana.org", "\"a,b\"@iana.org"},
    {"\"<a>\"@iana.org", "\"<a>\"@iana.org"},
    {"\"()[]:;,\"@iana.org", "\"()[]:;,\"@iana.org"},
    {"\"a\"@IANA.org", "a@iana.org"},
    /* lengths that just fit */
    {X64 "@iana.org", X64 "@iana.org"},
    {"\"" X60 "..\"@iana.org", "\"" X60 "..\"@iana.org"},
    {"." X60 "x@iana.org", "\"." X60 "x\"@iana.org"},
    {"\"" X64 "\"@iana.org", X64 "@iana.org"},
    {"a@" X63 ".com", "a@" X63 ".com"},
    {"a@" X63 "." X63 "." X63 "." X60, "a@" X63 "." X63 "." X63 "." X60},
    /* domains */
    {"test@e", "test@e"},
    {"test@localhost", "test@localhost"},
    {"test@nic.no", "test@nic.no"},
    {"test@c--n.com", "test@c--n.com"},
    {"test@ab--cd.com", "test@ab--cd.com"},
    {"test@123.com", "test@123.com"},
    {"test@3com", "test@3com"},
    {"test@a_b.example.com", "test@a_b.example.com"},
    {"test@_mail.example.com", "test@_mail.example.com"},
    {"test@1.2.3.4a", "test@1.2.3.4a"},
    {"a@xn--wgv71a119e.jp", "a@xn--wgv71a119e.jp"},
    {"a@XN--WGV71A119E.jp", "a@xn--wgv71a119e.jp"},
    {"a@日本語.jp", "a@xn--wgv71a119e.jp"},
    {"a@日本語.JP", "a@xn--wgv71a119e.jp"},
    {"a@例え。テスト", "a@xn--r8jz45g.xn--zckzah"},
    {"a@ＡＢＣ.jp", "a@abc.jp"},
    {"a@Straße.de", "a@xn--strae-oqa.de"},
    {"a@straße.de", "a@xn--strae-oqa.de"},
    {"a@xn--fa-hia.de", "a@xn--fa-hia.de"},
    {"a@bücher.example", "a@xn--bcher-kva.example"},
    {"a@пример.рф", "a@xn--e1afmkfd.xn--p1ai"},
    {"a@a_b.日本.jp", "a@a_b.xn--wgv71a.jp"},
};

static const struct bad bad[] = {
    {"test", "no @"},
    {"x", "no @"},
    {"@", "nothing stands before"},
    {"@example.com", "nothing stands before"},
    {"test@", "nothing stands behind"},
    {"test@@example.com", "more than one @"},
    {"a@b@example.com", "more than one @"},
    {"a@example.com@", "more than one @"},
    {"a@x.jp,b@y.jp", "no host name"},
    {"a@x.jp;b@y.jp", "no host name"},
    {"a@x.jp, b@y.jp", "no host name"},
    {"a, b@y.jp", "needs quotes"},
    /* white space and control bytes: nothing that could end a command */
    {"a b@example.com", "space"},
    {"a@exam ple.com", "space"},
    {"a @example.com", "space"},
    {"a@ example.com", "space"},
    {"\"a b\"@example.com", "space"},
    {"\"a\\ b\"@example.com", "space"},
    {"\ta@example.com", "control"},
    {"a@example.com\t", "control"},
    {"a\r@example.com", "control"},
    {"a\n@example.com", "control"},
    {"a@example.com\r", "control"},
    {"a@example.com\n", "control"},
    {"a@example.com\r\nRCPT TO:<b@example.com>", "control"},
    {"a@b\r\n.\r\n", "control"},
    {"a\r\n.\r\n@b", "control"},
    {"\"a\r\n\"@b", "control"},
    {"\"a\\\r\n\"@b", "control"},
    {"a\x7f@example.com", "control"},
    {"a@exam\x7fple.com", "control"},
    {"a\x01@example.com", "control"},
    {"\"\t\"@example.com", "control"},
    /* forms of a header or of RFC 821, not of an address */
    {"<a@example.com>", "display name"},
    {"a@example.com>", "display name"},
    {"Taro <a@example.com>", "display name"},
    {"Taro<a@example.com>", "display name"},
    {"\"Taro\" <a@example.com>", "display name"},
    {"\"Taro\"<a@example.com>", "display name"},
    {"a@example.com (Taro)", "space"},
    {"a@example.com(Taro)", "no host name"},
    {"(Taro)a@example.com", "needs quotes"},
    {"a(Taro)@example.com", "needs quotes"},
    {"mailto:a@example.com", "needs quotes"},
    {"@a:b@example.com", "source route"},
    {"@a,@b:c@example.com", "source route"},
    {"a!b%c@[1.2.3.4]", "literal"},
    {"a@[1.2.3.4]", "literal"},
    {"a@[IPv6:::1]", "literal"},
    {"a@[RFC-5322-domain-literal]", "literal"},
    {"a@[", "literal"},
    {"a@1.2.3.4", "ends in a number"},
    {"a@123", "ends in a number"},
    {"a@example.123", "ends in a number"},
    /* the local part */
    {"\"\"@example.com", "nothing stands before"},
    {"\"", "no end"},
    {"\"a", "no end"},
    {"\"a\\", "no end"},
    {"\"a\\\"@example.com", "no end"},
    {"\"a@example.com", "no end"},
    {"\"a\"", "no @"},
    {"\"a\"b@example.com", "needs quotes"},
    {"\"a\"\"b\"@example.com", "needs quotes"},
    {"\"a\".\"b\"@example.com", "needs quotes"},
    {"a\"b\"@example.com", "needs quotes"},
    {"a\"@example.com", "needs quotes"},
    {"a\\b@example.com", "needs quotes"},
    {"a\\@b@example.com", "needs quotes"},
    {"a:b@example.com", "needs quotes"},
    {"a[b]@example.com", "needs quotes"},
    {"日本@example.com", "not ASCII"},
    {"caf\xc3\xa9@example.com", "not ASCII"},
    {"caf\xe9@example.com", "not ASCII"},
    {"\"caf\xc3\xa9\"@example.com", "not ASCII"},
    {"\xef\xbb\xbf" "a@example.com", "not ASCII"},
    {"a\xc2\xa0@example.com", "not ASCII"},
    {"\xe3\x80\x80" "a@example.com", "not ASCII"},
    {"ａ＠example.com", "not ASCII"},
    /* lengths that just do not fit */
    {X64 "x@example.com", "64 octets"},
    {"." X60 "xx@example.com", "64 octets"},
    {"." X63 "@example.com", "64 octets"},
    {"\"" X64 "x\"@example.com", "64 octets"},
    {"\"" X60 "...\"@example.com", "64 octets"},
    {"\"" X60 "\\\"x\"@example.com", "64 octets"},
    {"\"" X60 "\\\"\\\"\"@example.com", "64 octets"},
    {"a@" X64 ".com", "63 octets"},
    {"a@" X63 "." X63 "." X63 "." X60 "x", "254 octets"},
    {"a@" X63 "." X63 "." X63 "." X60 "xx", "253 octets"},
    {"ab@" X63 "." X63 "." X63 "." X60, "254 octets"},
    {"aa@" X63 "." X63 "." X63 "." X63 "." X63, "253 octets"},
    /* the domain */
    {"a@example.com.", "trailing dot"},
    {"a@.example.com", "empty label"},
    {"a@example..com", "empty label"},
    {"a@.", "empty label"},
    {"a@..", "empty label"},
    {"a@-", "hyphen"},
    {"a@-example.com", "hyphen"},
    {"a@example-.com", "hyphen"},
    {"a@example.com-", "hyphen"},
    {"a@_", "neither letters nor digits"},
    {"a@_._", "neither letters nor digits"},
    {"a@exa!mple.com", "no host name"},
    {"a@example.com/x", "no host name"},
    {"a@example.com:25", "no host name"},
    {"a@*.example.com", "no host name"},
    {"a@\"example\".com", "no host name"},
    {"a@exam\\ple.com", "no host name"},
    {"a@{{domain}}", "no host name"},
    {"a@example.com\xff", "not UTF-8"},
    {"a@\xe9xample.com", "not UTF-8"},
    {"a@\xed\xa0\x80.com", "not UTF-8"},
    {"a@I❤.ws", "internationalised"},
    {"a@\xf0\x9f\x98\x80.com", "internationalised"},
    {"a@xn--i-7iq.ws", "A-label"},
    {"a@xn--zzzzzzzzz.com", "A-label"},
    {"a@xn--a.com", "A-label"},
    {"a@xn--.com", "hyphen"},
    {"a@ok.xn--a", "A-label"},
    {"a@١a.com", "internationalised"},
    {"a@-日.jp", "internationalised"},
    {"a@日..jp", "empty label"},
    {"a@日本.jp.", "trailing dot"},
    {"a@日本.jp。", "trailing dot"},
    {"a@日本。123", "ends in a number"},
    {"a@日本.jp x", "space"},
    {"a@日本.jp@x", "more than one @"},
    {"a@日本.jp\r\nDATA", "control"},
    {"a@a℀b.com", "no host name"},       /* maps to a/c */
    {"a@\xe2\x80\x8d" "a.com", "internationalised"}, /* zero width joiner */
};
/* clang-format on */

enum { GOOD = sizeof good / sizeof good[0], BAD = sizeof bad / sizeof bad[0] };

static void comes_out_finished(void **state)
{
    (void)state;
    for (int i = 0; i < GOOD; i++) {
        struct address a;
        enum address_result result = address_parse(span_of(good[i].text), &a);
        if (result != ADDRESS_OK)
            fail_msg("%s: refused: %s", good[i].text, a.why ? a.why : "empty");
        assert_string_equal(a.text, good[i].finished);
        assert_int_equal(a.n, strlen(a.text));
        assert_int_equal(a.text[a.domain_at - 1], '@');
        assert_null(a.why);
        /* What is finished stays as it is. */
        struct address again;
        assert_int_equal(address_parse(span_of(a.text), &again), ADDRESS_OK);
        assert_string_equal(again.text, a.text);
        assert_int_equal(again.domain_at, a.domain_at);
    }
}

static void is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < BAD; i++) {
        struct address a;
        enum address_result result = address_parse(span_of(bad[i].text), &a);
        if (result != ADDRESS_BAD)
            fail_msg("%s: not refused but %s", bad[i].text, a.text);
        if (!strstr(a.why, bad[i].why))
            fail_msg("%s: %s", bad[i].text, a.why);
        assert_string_equal(a.text, "");
        assert_int_equal(a.n, 0);
    }
}

static void nothing_is_empty(void **state)
{
    (void)state;
    struct address a;
    assert_int_equal(address_parse((struct span){0}, &a), ADDRESS_EMPTY);
    assert_int_equal(address_parse(SPAN(""), &a), ADDRESS_EMPTY);
    assert_int_equal(address_parse(SPAN("    "), &a), ADDRESS_EMPTY);
    assert_int_equal(address_parse(SPAN("\t"), &a), ADDRESS_BAD);
}

static void nul_is_a_control_byte(void **state)
{
    (void)state;
    struct address a;
    assert_int_equal(address_parse(SPAN("a\0@b.jp"), &a), ADDRESS_BAD);
    assert_non_null(strstr(a.why, "control"));
    assert_int_equal(address_parse(SPAN("a@b\0.jp"), &a), ADDRESS_BAD);
    assert_non_null(strstr(a.why, "control"));
    assert_int_equal(address_parse(SPAN("a@日\0.jp"), &a), ADDRESS_BAD);
    assert_non_null(strstr(a.why, "control"));
}

/* Every byte at every place, against the grammar written down once more. */
static void each_byte_at_each_place(void **state)
{
    (void)state;
    const char *atext = "!#$%&'*+-/=?^_`{|}~";
    for (int c = 0; c < 256; c++) {
        bool alnum =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool in_local = alnum || c == '.' || (c && strchr(atext, c));
        bool in_quotes = c > ' ' && c < 0x7f && c != '"'; /* "a\b" is ab */
        bool in_domain = alnum || c == '.' || c == '-' || c == '_';
        struct address a;
        char local[] = "axb@c.jp";
        local[1] = (char)c;
        assert_int_equal(address_parse((struct span){local, 8}, &a) == ADDRESS_OK,
                         in_local);
        char quoted[] = "\"axb\"@c.jp";
        quoted[2] = (char)c;
        assert_int_equal(address_parse((struct span){quoted, 10}, &a) == ADDRESS_OK,
                         in_quotes);
        char domain[] = "a@bxc.jp";
        domain[3] = (char)c;
        assert_int_equal(address_parse((struct span){domain, 8}, &a) == ADDRESS_OK,
                         in_domain);
    }
}

/* Whatever comes in: what goes out is one SMTP word, and stable. */
static void random_text_is_harmless(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "a",  "b",   ".",     "..",     "@",    "\"", "\\",   " ",    "<",      ">",
        "-",  "_",   "xn--",  "日",     "jp",   "1",  "\r\n", "\t",   "é",      "\xff",
        "@b", ".jp", "[1.2]", "wgv71a", "RCPT", "(",  ")",    "\\\"", "a@b.jp", ",",
    };
    enum { PIECES = sizeof pieces / sizeof pieces[0], ROUNDS = 200000 };
    struct rng rng = {20261122};
    struct buf text = {0};
    int accepted = 0;
    for (int round = 0; round < ROUNDS; round++) {
        buf_reset(&text);
        for (uint32_t n = rng_below(&rng, 9); n > 0; n--)
            buf_add_str(&text, pieces[rng_below(&rng, PIECES)]);
        struct address a;
        if (address_parse(buf_span(&text), &a) != ADDRESS_OK)
            continue;
        accepted++;
        for (int i = 0; i < a.n; i++)
            assert_true(a.text[i] > ' ' && a.text[i] < 0x7f);
        assert_true(a.text[a.n] == '\0' && a.domain_at - 1 <= ADDRESS_LOCAL_MAX);
        struct address again;
        assert_int_equal(address_parse(span_of(a.text), &again), ADDRESS_OK);
        assert_string_equal(again.text, a.text);
    }
    buf_finish(&text);
    assert_true(accepted > ROUNDS / 100); /* the pieces do make addresses */
}

static void ten_megabytes_are_refused_quickly(void **state)
{
    (void)state;
    enum { BIG = 10 << 20 };
    char *big = malloc(BIG);
    assert_non_null(big);
    static const char *const starts[] = {"a", "a@b", "\"a", "a@日", "a@[", " "};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        for (size_t filler = 0; filler < 3; filler++) {
            memset(big, "x. "[filler], BIG);
            memcpy(big, starts[i], strlen(starts[i]));
            big[BIG - 1] = 'x';
            struct address a;
            assert_int_equal(address_parse((struct span){big, BIG}, &a), ADDRESS_BAD);
        }
    }
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_out_finished),
        cmocka_unit_test(is_refused),
        cmocka_unit_test(nothing_is_empty),
        cmocka_unit_test(nul_is_a_control_byte),
        cmocka_unit_test(each_byte_at_each_place),
        cmocka_unit_test(random_text_is_harmless),
        cmocka_unit_test(ten_megabytes_are_refused_quickly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
