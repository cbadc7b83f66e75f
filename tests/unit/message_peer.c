/* Random templates and hostile values, read back by an independent reader: Python's
 * email package (message_peer.py). What it sees must be what was meant. Without python3
 * the test is skipped. */
#include "base/rng.h"
#include "message/charset.h"
#include "message/encode.h"
#include "tests/unit/message_help.h"

enum { ROUNDS = 400, PARTS = 3 };

/* clang-format off */
static const char *const values[] = {
    "", ".", "..", "-", "--", "--bound", "--bound--", "Taro", "\t", " ", " x ", "=", "=3D",
    "{{name}}", "{{{b}}}", "}}", "\r\n.\r\n", "\n.\n", "\n.\r", "\r.\n", "\r.\r", "\n.\r\n",
    "\r.\r\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\r\nBcc: x@y\r\n\r\n", "\x1b$B", "<script>&\"'",
    "\xc3\xa9", "\xe5\xb1\xb1\xe7\x94\xb0", "\xf0\x9f\x8d\xa3", "=?utf-8?Q?x?=", "a, b <c@d>",
    "\"", "\\", "(", "\xc2\x85", "\xe2\x80\xa8", "From ", "\x7f", "\xef\xbb\xbf",
};
static const struct {
    const char *charset, *coding;
    const char *chars[3]; /* that it holds */
} kinds[] = {
    {"us-ascii", "7bit", {"q", "z", "~"}},
    {"utf-8", "8bit", {"\xc3\xa9", "\xe5\xb1\xb1", "\xf0\x9f\x8d\xa3"}},
    {"utf-8", "quoted-printable", {"\xc3\xa9", "\xe5\xb1\xb1", "q"}},
    {"utf-8", "base64", {"\xc3\xa9", "\xe5\xb1\xb1", "q"}},
    {"utf-8", "7bit", {"q", "z", "~"}},
    {"iso-2022-jp", "7bit", {"\xe5\xb1\xb1", "\xe7\x94\xb0", "q"}},
    {"iso-2022-jp", "base64", {"\xe5\xb1\xb1", "\xe7\x94\xb0", "q"}},
    {"iso-8859-1", "8bit", {"\xc3\xa9", "\xc3\xa8", "q"}},
    {"iso-8859-1", "quoted-printable", {"\xc3\xa9", "\xc3\xa8", "q"}},
    {"shift_jis", "base64", {"\xe8\xa1\xa8", "\xe3\x82\xbd", "q"}},
    {"euc-jp", "8bit", {"\xe8\xa1\xa8", "\xe3\x82\xbd", "q"}},
};
static const char *const common[] = {
    ".", "-", "--", "=", " ", "\t", "\r\n", "\r\n", "\r\n.", "\r\n--", "word ", "a", "<p>", "&",
    "0123456789012345678901234567890123456789012345678901234567890123456789", "From ",
};
/* clang-format on */

#define N_OF(a) (sizeof(a) / sizeof *(a))

static const char *pick(struct rng *r, const char *const *from, size_t n)
{
    return from[rng_below(r, (uint32_t)n)];
}

/* What the rules in docs/template.md make of a value in a text part. */
static void add_meant(struct buf *out, const char *value, bool html)
{
    for (; *value; value++) {
        const unsigned char c = (unsigned char)*value;
        if (c == 0xc2 && (unsigned char)value[1] < 0xa0) {
            buf_add_char(out, ' ');
            value++;
        } else if ((c < ' ' && c != '\t') || c == 0x7f) {
            buf_add_char(out, ' ');
        } else if (html && strchr("&<>\"'", c)) {
            buf_add_str(out, c == '&'   ? "&amp;"
                             : c == '<' ? "&lt;"
                             : c == '>' ? "&gt;"
                             : c == '"' ? "&quot;"
                                        : "&#39;");
        } else {
            buf_add_char(out, *value);
        }
    }
}

struct meant {
    struct buf text;   /* as the template has it, decoded */
    struct buf result; /* as a reader shall see it */
};

static void make_text(struct rng *r, size_t kind, bool html, const char *const *fields,
                      struct meant *m)
{
    for (unsigned n = 1 + rng_below(r, 60); n; n--) {
        if (rng_below(r, 8) == 0) {
            static const char *const names[] = {"name", "b", "c"};
            const uint32_t i = rng_below(r, 3);
            const bool raw = rng_below(r, 4) == 0;
            buf_add_str(&m->text, raw ? "{{{" : "{{ ");
            buf_add_str(&m->text, names[i]);
            buf_add_str(&m->text, raw ? "}}}" : " }}");
            add_meant(&m->result, fields[i], html && !raw);
            continue;
        }
        const char *s = rng_below(r, 3) ? pick(r, common, N_OF(common))
                                        : pick(r, kinds[kind].chars, 3);
        for (unsigned times = rng_below(r, 40) ? 1 : 30; times; times--) {
            buf_add_str(&m->text, s);
            buf_add_str(&m->result, s);
        }
    }
}

/* Everything as =XX, with a soft break wherever it likes. */
static void naive_qp(struct rng *r, struct buf *out, struct span s)
{
    int in_line = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\r') {
            buf_add(out, "\r\n", 2);
            in_line = 0;
            i++;
            continue;
        }
        const bool soft = ++in_line == 25 || rng_below(r, 15) == 0;
        in_line = soft ? 0 : in_line;
        buf_printf(out, "=%02X%s", (unsigned char)s.p[i], soft ? "=\r\n" : "");
    }
}

static void add_encoded(struct rng *r, struct buf *out, size_t kind, struct span text)
{
    struct buf bytes = {0};
    if (charset_is_utf8(span_of(kinds[kind].charset)))
        buf_add_span(&bytes, text);
    else
        assert_true(charset_from_utf8(&bytes, span_of(kinds[kind].charset), text));
    if (strcmp(kinds[kind].coding, "quoted-printable") == 0) {
        naive_qp(r, out, buf_span(&bytes));
    } else if (strcmp(kinds[kind].coding, "base64") == 0) {
        buf_reserve(out, BASE64_BOUND(bytes.n));
        struct base64 b = {.out = out->p + out->n};
        base64_write(&b, buf_span(&bytes));
        base64_finish(&b);
        out->n += b.n;
    } else {
        buf_add_span(out, buf_span(&bytes));
    }
    buf_finish(&bytes);
}

static void write_hex(FILE *to, struct span s, char end)
{
    for (size_t i = 0; i < s.n; i++)
        fprintf(to, "%02x", (unsigned char)s.p[i]);
    fputc(end, to);
}

/* A delimiter of ours by chance would cut the part: then the case proves nothing. */
static bool cuts(const struct buf *b)
{
    return memmem(b->p, b->n, "--bound", 7) != NULL;
}

static void one_case(struct rng *r, FILE *peer)
{
    const char *fields[3];
    for (int i = 0; i < 3; i++)
        fields[i] = pick(r, values, N_OF(values));
    const unsigned parts = rng_below(r, PARTS + 1); /* 0: one text, no multipart */
    struct buf text = {0};
    struct meant m[PARTS] = {0};
    buf_add_str(&text,
                "From: N <n@example.jp>\nSubject: S {{name}} =?utf-8?Q?=C3=A9?= {{b}}\n"
                "To: {{c}} <to@example.net>\nMIME-Version: 1.0\n");
    if (parts)
        buf_add_str(&text, "Content-Type: multipart/mixed; boundary=bound\n\n");
    for (unsigned i = 0; i < (parts ? parts : 1); i++) {
        const size_t kind = rng_below(r, N_OF(kinds));
        const bool html = rng_below(r, 2);
        buf_add_str(&text, parts ? "--bound\r\n" : "");
        buf_printf(
            &text,
            "Content-Type: text/%s; charset=%s\nContent-Transfer-Encoding: %s\n\n",
            html ? "html" : "plain", kinds[kind].charset, kinds[kind].coding);
        do {
            buf_reset(&m[i].text);
            buf_reset(&m[i].result);
            make_text(r, kind, html, fields, &m[i]);
            if (!parts) {
                buf_add_str(&m[i].text, "\r\n");
                buf_add_str(&m[i].result, "\r\n");
            }
        } while (cuts(&m[i].text));
        add_encoded(r, &text, kind, buf_span(&m[i].text));
        buf_add_str(&text, parts ? "\r\n" : "");
    }
    buf_add_str(&text, parts ? "--bound--\n" : "");
    struct buf wire = render3(buf_span(&text), span_of(fields[0]), span_of(fields[1]),
                              span_of(fields[2]));
    assert_non_null(wire.p);
    write_hex(peer, buf_span(&wire), '\t');
    struct buf subject = {0}, name = {0};
    buf_add_str(&subject, "S ");
    add_meant(&subject, fields[0], false);
    buf_add_str(&subject, " \xc3\xa9 ");
    add_meant(&subject, fields[1], false);
    add_meant(&name, fields[2], false);
    write_hex(peer, buf_span(&subject), '\t');
    write_hex(peer, buf_span(&name), '\t');
    for (unsigned i = 0; i < (parts ? parts : 1); i++) {
        write_hex(peer, buf_span(&m[i].result), i + 1 < parts ? '\t' : '\n');
        buf_finish(&m[i].text);
        buf_finish(&m[i].result);
    }
    buf_finish(&subject);
    buf_finish(&name);
    buf_finish(&text);
    buf_finish(&wire);
}

static void python_reads_what_was_meant(void **state)
{
    (void)state;
    /* NOLINTNEXTLINE(bugprone-command-processor): a fixed command of a test */
    if (system("python3 -c 'import email' 2>/dev/null") != 0)
        skip();
    FILE *peer = popen("python3 '" SOURCE_DIR "/tests/unit/message_peer.py'", "w");
    assert_non_null(peer);
    struct rng r = {20261122};
    for (int i = 0; i < ROUNDS; i++)
        one_case(&r, peer);
    assert_int_equal(pclose(peer), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(python_reads_what_was_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
