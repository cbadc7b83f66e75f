/* What a template may hold, what it becomes, and how it is refused. */
#include "tests/unit/message_help.h"

#define F     "From: n@example.jp\n"
#define TEXT  F "Content-Type: text/plain; charset=utf-8\n\n"
#define HTML  F "Content-Type: text/html; charset=utf-8\n\n"
#define MIXED F "Content-Type: multipart/mixed; boundary=b\n\n"

/* clang-format off */
static const struct {
    const char *text, *words;
} refused[] = {
    {F "Subject: {{nope}}\n\n", "m.eml:2: the list has no column nope"},
    {F "\n1\n2 {{ Nope }}\n", "m.eml:4: the list has no column Nope"},
    {F "\n{{NAME}}\n", "m.eml:3: several columns differ from this only in case: NAME"},
    {F "\na\n{{name\n}}\n", "m.eml:4: {{ is not closed on its line"},
    {F "\n{{{name}}\n", "m.eml:3: {{ is not closed on its line"},
    {F "Subject: {{name\n\nx", "m.eml:2: {{ is not closed on its line"},
    {F "\n{{name|upper}}", "m.eml:3: unknown filter (there is only url): upper"},
    {F "\n{{}}", "m.eml:3: the list has no column "},
    {F "Bcc: a@b.jp\n\n", "m.eml:2: Bcc would be seen by every recipient"},
    {F "bcc:\n\n", "m.eml:2: Bcc would be seen by every recipient"},
    {F "X: y\nReturn-Path: <a@b.jp>\n\n", "m.eml:3: Return-Path belongs to the receiving system"},
    {F "Message-ID: <1@x>\n\n", "m.eml:2: leave Message-ID out: each recipient gets one of his own"},
    {"Subject: x\n\n", "m.eml:1: no From"},
    {"", "m.eml:1: no From"},
    {"X: y\nFrom: \n\n", "m.eml:2: From without an address"},
    {"From: Somebody\n\n", "m.eml:1: From: not an address"},
    {"From: Somebody <>\n\n", "m.eml:1: From: not an address"},
    {"From: {{email}}\n\n", "m.eml:1: From: the address must be there and the same for all rows"},
    {"From: N <{{email}}>\n\n", "m.eml:1: From: the address must be there and the same for all rows"},
    {F F "\n", "m.eml:2: a second From"},
    {F "Subject: a\nX: y\nsubject: b\n\n", "m.eml:4: a second Subject"},
    {"From n@example.jp Sun Nov 22\n" F "\n", "m.eml:1: malformed header: want \"Name: …\""},
    {F "no colon here\n\n", "m.eml:2: malformed header: want \"Name: …\""},
    {F "Na me: x\n\n", "m.eml:2: malformed header: want \"Name: …\""},
    {F "X-{{name}}: x\n\n", "m.eml:2: malformed header: want \"Name: …\""},
    {F ".X: x\n\n", "m.eml:2: malformed header: want \"Name: …\""},
    {" X: y\n" F "\n", "m.eml:1: header begins with a space"},
    {F "X: a\x01\n\n", "m.eml:2: control character in a header"},
    {F "X: \xff\n\n", "m.eml:2: X: neither ASCII nor UTF-8"},
    {F "Subject: =?utf-8?Q?=ff?=\n\n", "m.eml:2: Subject: an encoded word that cannot be decoded"},
    {F "Subject: =?nope?Q?a?=\n\n", "m.eml:2: Subject: an encoded word that cannot be decoded"},
    {F "Date: {{name}}\n\n", "m.eml:2: Date: neither a placeholder, nor 8-bit text, nor a line over 998 octets can stand here"},
    {F "Content-Type: text/{{name}}\n\n", "m.eml:2: Content-Type: neither a placeholder, nor 8-bit text, nor a line over 998 octets can stand here"},
    {F "To: {{name}}@example.jp\n\n", "m.eml:2: To: a placeholder must be the whole address or stand in a display name"},
    {F "To: N <{{email|url}}>\n\n", "m.eml:2: To: a placeholder must be the whole address or stand in a display name"},
    {F "To: <{{email}}\n\n", "m.eml:2: To: < without >"},
    {F "To: <{{email}}> x\n\n", "m.eml:2: To: text behind >"},
    {F "List-Unsubscribe: <https://x/\xc3\xa9{{name}}>\n\n", "m.eml:2: List-Unsubscribe: a character that cannot stand in a URI"},
    {F "Content-Type: text\n\n", "m.eml:2: malformed Content-Type"},
    {F "Content-Type: text/plain; charset=\n\n", "m.eml:2: malformed Content-Type"},
    {F "Content-Type: text/plain; charset=nope\n\n", "m.eml:2: unknown charset nope"},
    {F "Content-Type: text/plain; charset=utf-8\n\n\xff", "m.eml:4: text that is not in its charset utf-8"},
    {F "\n\xff", "m.eml:3: 8-bit text that is not UTF-8 needs its charset"},
    {F "Content-Transfer-Encoding: rot13\n\n", "m.eml:2: Content-Transfer-Encoding: want 7bit, 8bit, binary, quoted-printable or base64"},
    {F "Content-Transfer-Encoding: base64\n\n!", "m.eml:4: a part that is not base64"},
    {F "Content-Transfer-Encoding: quoted-printable\n\n=XX", "m.eml:4: a part that is not quoted-printable"},
    {F "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nAA==\n", "m.eml:5: NUL in a text part"},
    {F "Content-Type: multipart/mixed\n\n", "m.eml:2: multipart needs a boundary of 1 to 70 characters"},
    {MIXED "x", "m.eml:2: multipart without its boundary"},
    {MIXED "--b\n\nx\n", "m.eml:2: multipart without its closing boundary"},
    {MIXED "--b--\n", "m.eml:2: multipart without its boundary"},
    {MIXED "--b\n\nx\n{{nope}}\n--b--\n", "m.eml:7: the list has no column nope"},
    {MIXED "--b\nContent-Transfer-Encoding: quoted-printable\n\na=\nb\n{{no=\npe}}\n--b--\n", "m.eml:9: the list has no column nope"},
    {F "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n--b\n\n--b--\n", "m.eml:3: a multipart cannot be encoded"},
    {F "Content-Type: multipart/signed; boundary=b\n\n--b\n\n{{name}}\n--b--\n", "m.eml:6: a placeholder would break the signature: name"},
    {F "Content-Type: multipart/signed; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\ne3tuYW1lfX0=\n--b--\n", "m.eml:7: a placeholder would break the signature: name"},
    {F "Content-Type: multipart/signed; boundary=b\n\n--b\n\n\xc3\xa9\n--b--\n", "m.eml:4: a signed or encrypted part must be 7bit with lines of at most 998 octets"},
    {F "Content-Type: message/rfc822\n\nX: \xc3\xa9\n", "m.eml:4: a message inside must be 7bit with lines of at most 998 octets"},
};
/* clang-format on */

static void refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct fault f = {0};
        struct template *t =
            template_compile(span_of(refused[i].text), &test_params, &f);
        if (t || f.code != -21 || strcmp(f.words, refused[i].words) != 0)
            fail_msg("%s\nsays: %d %s\nwant: %s", refused[i].text, f.code, f.words,
                     refused[i].words);
        template_free(t);
    }
    struct fault f = {0};
    assert_null(template_compile(SPAN(F "\na\nb\0c"), &test_params, &f));
    assert_string_equal(f.words, "m.eml:4: NUL");
}

static void adds_what_is_missing(void **state)
{
    (void)state;
    expect(F "\nx", "", "\r\nDate: Sun, 22 Nov 2026 08:39:16 +0000\r\n");
    expect(F "\nx", "", "\r\nTo: to@example.net\r\n");
    expect(F "\nx", "", "\r\nMessage-ID: <");
    expect(F "\nx", "", "@mx1.example.jp>\r\n");
    struct buf out =
        render1(F "Date: Mon, 1 Jan 2024 00:00:00 +0000\nTo: a@b.jp\n\nx", "");
    assert_false(holds(&out, "2026"));
    assert_false(holds(&out, "to@example.net"));
    assert_false(holds(&out, "MIME-Version"));
    assert_true(holds(&out, "\r\n\r\nx\r\n"));
    buf_finish(&out);
    expect(TEXT "x", "", "\r\nMIME-Version: 1.0\r\n");
    expect(F "Mime-version: 1.0\nContent-Type: text/plain\n\n{{name}}", "v",
           "Mime-version: 1.0\r\nContent-Type: text/plain\r\n"
           "Content-Transfer-Encoding: 7bit\r\nDate:");
    expect("\xef\xbb\xbf" F "\nx", "", "From: n@example.jp\r\n");
    expect(F, "", ">\r\n\r\n");
}

static void plain_text(void **state)
{
    (void)state;
    expect(TEXT "Hi {{name}}!\n", "Taro", "7bit\r\n");
    expect(TEXT "Hi {{ name }}!\n", "Taro", "\r\n\r\nHi Taro!\r\n");
    expect(TEXT "{{{name}}} {{name|url}} {{ name | url }}", "<&>",
           "\r\n\r\n<&> %3C%26%3E %3C%26%3E\r\n");
    expect(TEXT "{{B}}{{Name}}{{name}}}", "x", "\r\n\r\nbigx}\r\n");
    expect(TEXT "{{\xe5\x90\x8d}}", "", "\r\n\r\nkanji\r\n");
    expect(TEXT "{{name}}", "{{name}} {{b}}", "\r\n\r\n{{name}} {{b}}\r\n");
    expect(TEXT "a{{name}}b", "\t", "a\tb");
    expect(TEXT "a{{name}}b", "\r\n", "a  b");
    expect(TEXT "one\rtwo\nthree\r\nfour\n\rfive", "",
           "\r\n\r\none\r\ntwo\r\nthree\r\nfour\r\n\r\nfive\r\n");
    /* no charset declared, but the bytes are UTF-8 */
    expect(F "\nh\xc3\xa9, this is long enough not to be base64 {{name}}\n", "v",
           "Content-Type: text/plain; charset=utf-8\r\n"
           "Content-Transfer-Encoding: quoted-printable\r\n\r\nh=C3=A9, this");
    expect(F "\nh\xc3\xa9, this is long enough not to be base64\n", "",
           "Content-Type: text/plain; charset=utf-8\r\n"
           "Content-Transfer-Encoding: quoted-printable\r\n\r\nh=C3=A9, this");
    /* ASCII template, other values */
    expect(F "\n{{name}}\n", "\xc3\xa9",
           "Content-Type: text/plain; charset=utf-8\r\n"
           "Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9\r\n");
    expect(
        F "Content-Type: text/plain; charset=\"us-ascii\"; format=flowed\n\n{{name}}\n",
        "\xc3\xa9", "Content-Type: text/plain; charset=utf-8; format=flowed\r\n");
}

static void html_text(void **state)
{
    (void)state;
    expect(HTML "<p>{{name}}", "<script>\"'&", "<p>&lt;script&gt;&quot;&#39;&amp;\r\n");
    expect(HTML "<p>{{{name}}}", "<b>", "<p><b>\r\n");
    expect(HTML "<a href=\"?{{name|url}}\">", "a b\"", "<a href=\"?a%20b%22\">\r\n");
}

static void quoted_printable(void **state)
{
    (void)state;
#define QP                                                                             \
    F "Content-Transfer-Encoding: quoted-printable\nContent-Type: text/plain; "        \
      "charset=utf-8\n\n"
    expect(QP "a=3D{{na=\nme}}=C3=A9\n", "=\xc3\xa9",
           "\r\n\r\na=3D=3D=C3=A9=C3=A9\r\n");
    expect(QP "=7B=7Bname=7D=7D", "v", "\r\n\r\nv\r\n");
    expect(QP "a {{name}}\nb", "", "\r\n\r\na=20\r\nb\r\n");
    expect(QP "{{name}}.\n", "", "\r\n\r\n=2E\r\n");
    expect(QP "{{name}}\n", ".", "\r\n\r\n=2E\r\n");
    expect(QP "{{name}}\n", "x ", "\r\n\r\nx=20\r\n");
    /* a soft break in front of the literal, when it would pass 76 */
    char want[200];
    for (int n = 50; n < 76; n++) {
        char name[80] = {0};
        memset(name, 'v', (size_t)n);
        const int fits = n + 10 <= 76; /* with the CRLF behind it */
        snprintf(want, sizeof want, "\r\n\r\n%s%s0123456789\r\n", name,
                 fits ? "" : "=\r\n");
        expect(QP "{{name}}0123456789\n", name, want);
    }
    expect(QP "a=\nb=\n", "", "Content-Transfer-Encoding: quoted-printable\r\n");
}

static void base64_text(void **state)
{
    (void)state; /* "a {{name}}!\n" */
    expect(
        F "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n"
          "\nYSB7e25hbWV9fSEK\n",
        "\xc3\xa9", "base64\r\nMIME-Version");
    expect(F "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
             "Content-Transfer-Encoding: base64\n\nYSB7e25hbWV9fSEK\n",
           "\xc3\xa9", "\r\n\r\nYSDDqSENCg==\r\n");
    expect(MIXED "--b\nContent-Transfer-Encoding: base64\n\nYSB7e25hbWV9fSEK\n--b--\n",
           "b", "base64\r\n\r\nYSBiIQ0K\r\n--b--\r\n");
}

/* "{{name}} 山" in ISO-2022-JP; a value it holds, one it cannot, an escape in a value.
 */
static void iso_2022_jp(void **state)
{
    (void)state;
#define JIS                                                                            \
    F "Content-Type: text/plain; "                                                     \
      "charset=ISO-2022-JP\n\n{{name}}\x1b$B;3\x1b(B{{b}}\n.\n"
    expect(JIS, "a", "\r\n\r\na\x1b$B;3\x1b(B\r\n..\r\n");
    expect(JIS, "\xe7\x94\xb0",
           "Content-Type: text/plain; charset=ISO-2022-JP\r\n"
           "Content-Transfer-Encoding: 7bit\r\n");
    expect(JIS, "\xe7\x94\xb0", "\r\n\r\n\x1b$BED\x1b(B\x1b$B;3\x1b(B\r\n");
    expect(JIS, "\x1b$B", "\r\n\r\n $B\x1b$B;3");
    expect(JIS, "\xf0\x9f\x8d\xa3",
           "Content-Type: text/plain; charset=utf-8\r\n"
           "Content-Transfer-Encoding: base64\r\n");
    expect(F "Content-Type: text/plain; charset=iso-2022-jp\n\n\x1b$B;3\x1b(B\n", "",
           "\r\n\r\n\x1b$B;3\x1b(B\r\n");
}

static void other_charsets(void **state)
{
    (void)state;
#define LATIN F "Content-Type: text/plain; charset=iso-8859-1\n\n"
    expect(LATIN "caf\xe9 long enough to be quoted-printable {{name}}\n", "\xc3\xa8",
           "charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n");
    expect(LATIN "caf\xe9 long enough to be quoted-printable {{name}}\n", "\xc3\xa8",
           "caf=E9 long enough to be quoted-printable=20=E8\r\n");
    expect(LATIN "caf\xe9 long enough to be quoted-printable {{name}}\n",
           "\xe5\xb1\xb1",
           "charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n");
    expect(LATIN "caf\xe9 long enough to be quoted-printable {{name}}\n",
           "\xe5\xb1\xb1",
           "caf=C3=A9 long enough to be quoted-printable=20=E5=B1=B1\r\n");
    /* Shift_JIS: the second byte of 表 is a backslash, of ソ too; braces are found
     * after decoding only: 毓{ is \x9f\x7b */
    expect(F "Content-Type: text/plain; charset=Shift_JIS\n\n\x95\x5c\x9f\x7b{name} "
             "{{name}}",
           "x", "charset=Shift_JIS\r\nContent-Transfer-Encoding: ");
    /* UTF-16 in base64: "{{name}}" */
    expect(F "Content-Type: text/plain; charset=utf-16le\nContent-Transfer-Encoding: "
             "base64\n"
             "\newB7AG4AYQBtAGUAfQB9AA==\n",
           "v", "Content-Type: text/plain; charset=utf-8\r\n");
}

static char *repeat(const char *what, size_t n, const char *before, const char *after)
{
    char *p = malloc(strlen(before) + n * strlen(what) + strlen(after) + 1);
    strcpy(p, before);
    char *at = p + strlen(p);
    for (; n; n--)
        at = stpcpy(at, what);
    strcpy(at, after);
    return p;
}

static void long_lines(void **state)
{
    (void)state;
    char *text = repeat("x", 1200, TEXT, "\n{{name}}");
    expect(text, "v", "quoted-printable\r\n");
    free(text);
    text = repeat("x", 1200, TEXT, "\n");
    expect(text, "v", "quoted-printable\r\n");
    free(text);
    text = repeat("x", 990, TEXT "{{name}}", "\n");
    expect(text, "12345678", "7bit\r\n");
    expect(text, "123456789", "quoted-printable\r\n");
    expect(text, ".2345678", "quoted-printable\r\n"); /* the stuffed dot counts */
    free(text);
    text = repeat("x", 1200, F "Subject: ", "\n\n");
    expect(text, "", "Subject: =?UTF-8?");
    free(text);
    text = repeat("a@b.jp, ", 200, F "Cc: ", "c@d.jp\n\n");
    expect(text, "", "c@d.jp\r\n");
    free(text);
    text = repeat("QUJD", 400,
                  MIXED "--b\nContent-Type: image/png\n"
                        "Content-Transfer-Encoding: base64\n\n",
                  "\n--b--\n");
    expect(text, "", "QUJDQUJD\r\nQUJD");
    free(text);
}

static void attachments(void **state)
{
    (void)state;
#define IMAGE MIXED "--b\nContent-Type: image/x; charset=x\n"
    expect(IMAGE "\nab\ncd {{nope}}\n--b--", "",
           "\r\n\r\nab\r\ncd {{nope}}\r\n--b--\r\n");
    expect(IMAGE "Content-Transfer-Encoding: 8bit\n\n\xff\n--b--", "",
           "Content-Transfer-Encoding: base64\r\n\r\n/w==\r\n--b--\r\n");
    expect(IMAGE "Content-Transfer-Encoding: binary\n\n\xff\n\xff\n--b--", "",
           "base64\r\n\r\n/wr/\r\n--b--\r\n");
    expect(IMAGE "Content-Transfer-Encoding: 8bit\n\n\xff\n\xff\n--b--", "",
           "base64\r\n\r\n/w0K/w==\r\n--b--\r\n");
    expect(IMAGE "Content-Transfer-Encoding: 8bit\n\na\n--b--", "",
           "Content-Transfer-Encoding: 7bit\r\n\r\na\r\n--b--\r\n");
    expect(IMAGE "\n\n--b--", "", "\r\n\r\n\r\n--b--\r\n");
    expect(IMAGE "\n.\n..\n--b--", "", "\r\n\r\n..\r\n...\r\n--b--\r\n");
    expect(MIXED "--b\nContent-Type: message/rfc822\n\nSubject: {{x}}\n\n.\n--b--", "",
           "\r\n\r\nSubject: {{x}}\r\n\r\n..\r\n--b--\r\n");
    expect(F "Content-Type: multipart/signed; "
             "boundary=s\n\npre\n--s\n\n{{other}}\n--s--\npost",
           "", "\r\n\r\npre\r\n--s\r\n\r\n{{other}}\r\n--s--\r\npost\r\n");
    expect(F "Content-Type: multipart/digest; boundary=s\n\n--s\n\nX: {{y}}\n\n--s--\n",
           "", "\r\n--s\r\n\r\nX: {{y}}\r\n\r\n--s--\r\n");
}

static void nested(void **state)
{
    (void)state;
    expect(F "Content-Type: multipart/mixed;\n boundary=\"o u\"\n"
             "Content-Transfer-Encoding: 8bit\n\npreamble\n--o u\n"
             "Content-Type: multipart/alternative; boundary=in\n\n--in\n\nA {{name}}\n"
             "--in\nContent-Type: text/html\n\n<p>{{name}}\n--in--\nepilogue\n--o u  \n"
             "Content-Type: text/csv\n\n{{name}}\n--o u--\n",
           "x&y",
           "\r\n\r\n--o u\r\n"
           "Content-Type: multipart/alternative; boundary=in\r\n\r\n"
           "--in\r\nContent-Type: text/plain; charset=us-ascii\r\n"
           "Content-Transfer-Encoding: 7bit\r\n\r\nA x&y\r\n"
           "--in\r\nContent-Type: text/html\r\n"
           "Content-Transfer-Encoding: 7bit\r\n\r\n<p>x&amp;y\r\n--in--\r\n"
           "--o u\r\nContent-Type: text/csv\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
           "x&y\r\n--o u--\r\n");
}

/* No value makes a boundary, alone or together with the template. */
static void no_forged_boundary(void **state)
{
    (void)state;
    static const char *const bodies[] = {"{{name}}",
                                         "-{{name}}",
                                         "--{{name}}",
                                         "{{b}}{{name}}",
                                         "x\n{{b}}-{{b}}{{name}}",
                                         "-{{b}}-b{{b}}"};
    static const char *const values[] = {"--b", "-b", "b", "--b--", "--b  "};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            char text[400];
            snprintf(text, sizeof text, MIXED "--b\n\n%s\n--b--\n", bodies[i]);
            struct buf out = render1(text, values[k]);
            int n = 0;
            for (size_t at = 0; at + 4 < out.n; at++)
                n += memcmp(out.p + at, "\n--b", 4) == 0;
            if (n != 2)
                fail_msg("%.*s", (int)out.n, out.p);
            buf_finish(&out);
        }
    }
    expect(MIXED "--b\n\n- {{name}}\n--b--\n", "x", "7bit\r\n\r\n- x\r\n--b--\r\n");
}

static void dots(void **state)
{
    (void)state;
    expect(TEXT ".{{name}}\n", ".", "\r\n\r\n...\r\n");
    expect(TEXT "{{name}}.\n", "", "\r\n\r\n..\r\n");
    expect(TEXT "{{name}}.\n", "x", "\r\n\r\nx.\r\n");
    expect(TEXT "{{name}}\n", ".", "\r\n\r\n..\r\n");
    expect(TEXT "{{b}}{{name}}\n", ".a", "\r\n\r\n..a\r\n");
    expect(TEXT "x{{name}}\n", ".", "\r\n\r\nx.\r\n");
    expect(TEXT "{{name}}\n.\n..\n{{b}}.", "", "\r\n\r\n\r\n..\r\n...\r\n..\r\n");
    expect(TEXT ".", "", "\r\n\r\n..\r\n");
    expect(F "\n.\n", "", "\r\n\r\n..\r\n");
}

static void template_facts(void **state)
{
    (void)state;
    struct template *t =
        compile_good(SPAN("From: =?utf-8?Q?=C3=A9?= <N@EXAMPLE.jp>,\n b@c.jp\n"
                          "Subject: {{name}}\n\n{{b}}abc\n"));
    assert_string_equal(template_from(t), "N@example.jp");
    struct span fields[COLUMNS] = {{0}};
    const struct template_row row = {.row = 7, .fields = fields, .to = ""};
    struct rendering r = {0};
    const char *why = NULL;
    assert_true(template_render(t, &row, &r, &why));
    assert_int_equal(r.size, template_size(t));
    char first[sizeof r.message_id];
    memcpy(first, r.message_id, sizeof first);
    struct buf out = {0};
    wire_join(&out, &r);
    assert_true(holds(&out, first));
    const struct template_row other = {.row = 8, .fields = fields, .to = ""};
    assert_true(template_render(t, &other, &r, &why));
    assert_string_not_equal(first, r.message_id);
    buf_finish(&out);
    rendering_finish(&r);
    rendering_finish(&r);
    template_free(t);
    template_free(NULL);
}

static void long_hostname(void **state)
{
    (void)state;
    struct template_params p = test_params;
    char *host = repeat("label12.", 30, "", "example.jp");
    p.hostname = host;
    struct fault f = {0};
    struct template *t = template_compile(SPAN(F "\n"), &p, &f);
    assert_non_null(t);
    template_free(t);
    p.hostname = "a b";
    assert_null(template_compile(SPAN(F "\n"), &p, &f));
    assert_int_equal(f.code, -21);
    free(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses),
        cmocka_unit_test(adds_what_is_missing),
        cmocka_unit_test(plain_text),
        cmocka_unit_test(html_text),
        cmocka_unit_test(quoted_printable),
        cmocka_unit_test(base64_text),
        cmocka_unit_test(iso_2022_jp),
        cmocka_unit_test(other_charsets),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(attachments),
        cmocka_unit_test(nested),
        cmocka_unit_test(no_forged_boundary),
        cmocka_unit_test(dots),
        cmocka_unit_test(template_facts),
        cmocka_unit_test(long_hostname),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
