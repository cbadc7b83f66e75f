/* queue/recipients: headers, rows, duplicates and exclusions, one line of a table each;
 * a naive reader beside the real one on random lists; files that change underneath. */
#include <fcntl.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "queue/recipients.h"

#define BOM "\xef\xbb\xbf"

/* A file that is only in memory, with a path like any other. */
struct file {
    int fd;
    char path[64];
};

static struct file file_of(const char *p, size_t n)
{
    struct file file = {.fd = memfd_create("list", MFD_CLOEXEC)};
    assert_true(file.fd >= 0);
    snprintf(file.path, sizeof file.path, "/proc/self/fd/%d", file.fd);
    while (n > 0) {
        ssize_t written = write(file.fd, p, n);
        assert_true(written > 0);
        p += written;
        n -= (size_t)written;
    }
    return file;
}

static struct recipients *open_with(struct span text, struct recipients_params params,
                                    struct fault *f)
{
    struct file file = file_of(text.p, text.n);
    params.path = file.path;
    *f = (struct fault){0};
    struct recipients *r = recipients_open(&params, f);
    close(file.fd);
    assert_int_equal(r == NULL, f->code != 0);
    return r;
}

static struct recipients *open_good(struct span text, struct recipients_params params)
{
    struct fault f;
    struct recipients *r = open_with(text, params, &f);
    if (!r)
        fail_msg("%d %s", f.code, f.words);
    return r;
}

static void read_row(const struct recipients *r, uint32_t row, struct recipient *out)
{
    struct fault f = {0};
    if (!recipients_read(r, row, out, &f))
        fail_msg("row %u: %d %s", row, f.code, f.words);
}

/* ---- the header ---- */

struct header {
    struct span text;
    const char *asked; /* address column, NULL: default */
    int code;          /* 0: good */
    const char *words; /* a part of the fault, or the name of the address column */
};

#define T(literal)                                                                     \
    {                                                                                  \
        literal, sizeof(literal) - 1                                                   \
    }

/* clang-format off */
static const struct header headers[] = {
    {T("email\n"), NULL, 0, "email"},
    {T("email"), NULL, 0, "email"},
    {T("email\r\n"), NULL, 0, "email"},
    {T("email\r"), NULL, 0, "email"},
    {T(BOM "email\n"), NULL, 0, "email"},
    {T(BOM "Email\tname\r\n"), NULL, 0, "Email"},
    {T("name\tEMAIL\n"), NULL, 0, "EMAIL"},
    {T("name\t email \n"), NULL, 0, "email"},
    {T("first name\temail\tpoints_2\ta-b\tx.y\n"), NULL, 0, "email"},
    {T("名前\temail\tメール\n"), NULL, 0, "email"},
    {T("名前\temail\tメール\n"), "メール", 0, "メール"},
    {T("имя\temail\tÉtat\n"), NULL, 0, "email"},
    {T("email\tmail\n"), "mail", 0, "mail"},
    {T("email\tMail\n"), "mail", 0, "Mail"},
    {T("email\tEmail\n"), "Email", 0, "Email"},
    {T("email\tEmail\n"), "email", 0, "email"},
    {T("a\tb\n"), "b", 0, "b"},

    {T(""), NULL, -9, "the file is empty"},
    {T(BOM), NULL, -10, "blank"},
    {T("\n"), NULL, -10, "blank"},
    {T("\r\n"), NULL, -10, "blank"},
    {T("  \n"), NULL, -10, "blank"},
    {T("\na@b.jp\n"), NULL, -10, "blank"},
    {T("name\n"), NULL, -10, "no column \"email\""},
    {T("a@b.jp\nc@d.jp\n"), NULL, -10, "column 1 \"a@b.jp\""},
    {T("email\n"), "mail", -10, "no column \"mail\""},
    {T("email\tEmail\n"), NULL, -10, "more than one column \"email\""},
    {T("email\tEmail\n"), "EMAIL", -10, "more than one column \"EMAIL\""},
    {T("email\tname\tname\n"), NULL, -10, "column 3 \"name\" is there twice"},
    {T("email\tname\t name\n"), NULL, -10, "twice"},
    {T("email\t\n"), NULL, -10, "column 2 \"\" has no name"},
    {T("email\t\tname\n"), NULL, -10, "column 2 \"\" has no name"},
    {T("\temail\n"), NULL, -10, "column 1 \"\" has no name"},
    {T("email\t  \tname\n"), NULL, -10, "no name"},
    {T("email\tna{me\n"), NULL, -10, "column 2 \"na{me\""},
    {T("email\t{{name}}\n"), NULL, -10, "column 2"},
    {T("email\tna|me\n"), NULL, -10, "column 2"},
    {T("email\tna\x01me\n"), NULL, -10, "column 2 \"na\\x01me\""},
    {T("email\tna\x7fme\n"), NULL, -10, "column 2"},
    {T("email\tna\xc2\x85me\n"), NULL, -10, "column 2"},
    {T("email\tname?\n"), NULL, -10, "letters, digits"},
    {T("email\rname\n"), NULL, -10, "CR"},
    {T("email\ra@b.jp\rc@d.jp\r"), NULL, -10, "CR"},
    {T("email,name\n"), NULL, -10, "no TAB"},
    {T("email;name\na@b.jp;x\n"), NULL, -10, "no TAB"},
    {T("\"email\"\t\"name\"\n"), NULL, -10, "column 1"},
    {T("email\tna\0me\n"), NULL, -10, "NUL"},
    {T("email\tcaf\xe9\n"), NULL, -10, "not UTF-8"},
    {T("email\t\x96\xbc\x91\x4f\n"), NULL, -10, "not UTF-8"}, /* Shift_JIS */
    {T("\xff\xfe" "e\0m\0a\0i\0l\0\n\0"), NULL, -10, "UTF-16"},
    {T("\xfe\xff" "\0e\0m\0a\0i\0l\0\n"), NULL, -10, "UTF-16"},
    {T("e\0m\0a\0i\0l\0\n\0"), NULL, -10, "UTF-16"},
    {T("\0e\0m\0a\0i\0l\0\n"), NULL, -10, "UTF-16"},
    {T("PK\x03\x04\x14\x00\x06"), NULL, -10, "NUL"}, /* a spreadsheet */
};
/* clang-format on */

static void headers_are_understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        const struct header *h = &headers[i];
        struct fault f;
        struct recipients *r = open_with(
            h->text, (struct recipients_params){.address_column = h->asked}, &f);
        if (f.code != h->code)
            fail_msg("header %zu \"%s\": %d %s", i, h->text.p, f.code, f.words);
        if (h->code) {
            if (!strstr(f.words, h->words))
                fail_msg("header %zu: \"%s\" is not in: %s", i, h->words, f.words);
            assert_non_null(strstr(f.words, "/proc/self/fd/"));
            continue;
        }
        assert_string_equal(recipients_column_names(r)[recipients_address_column(r)],
                            h->words);
        assert_int_equal(recipients_rows(r), 0);
        assert_true(recipients_last(r) < recipients_first(r));
        recipients_free(r);
    }
}

static void names_have_limits(void **state)
{
    (void)state;
    struct buf b = {0};
    struct fault f;
    buf_add_str(&b, "email");
    for (int i = 1; i < RECIPIENTS_COLUMNS_MAX; i++)
        buf_printf(&b, "\tc%d", i);
    struct recipients *r = open_good(buf_span(&b), (struct recipients_params){0});
    assert_int_equal(recipients_columns(r), RECIPIENTS_COLUMNS_MAX);
    assert_string_equal(recipients_column_names(r)[999], "c999");
    recipients_free(r);
    buf_add_str(&b, "\tone more\n");
    assert_null(open_with(buf_span(&b), (struct recipients_params){0}, &f));
    assert_int_equal(f.code, -10);
    buf_reset(&b);
    buf_printf(&b, "email\t%0255d", 0);
    recipients_free(open_good(buf_span(&b), (struct recipients_params){0}));
    buf_add_str(&b, "0");
    assert_null(open_with(buf_span(&b), (struct recipients_params){0}, &f));
    assert_int_equal(f.code, -10);
    buf_finish(&b);
}

static void what_cannot_be_opened(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *words;
    } cases[] = {
        {"/nonexistent/x.tsv",
         "cannot open list \"/nonexistent/x.tsv\": No such file or directory"},
        {"/tmp", "cannot open list \"/tmp\": Is a directory"},
        {"/dev/null", "cannot open list \"/dev/null\": Not a regular file"},
        {"", "cannot open list \"\": No such file or directory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fault f = {0};
        assert_null(
            recipients_open(&(struct recipients_params){.path = cases[i].path}, &f));
        assert_int_equal(f.code, -8);
        assert_string_equal(f.words, cases[i].words);
    }
    struct fault f;
    assert_null(open_with(SPAN("email\na@b.jp\n"),
                          (struct recipients_params){.exclude = "/nonexistent"}, &f));
    assert_int_equal(f.code, -8);
    assert_string_equal(
        f.words,
        "cannot open exclude file \"/nonexistent\": No such file or directory");
}

/* ---- one row ---- */

struct row {
    struct span line;
    int code;
    const char *words; /* a part; for code 0 the finished address */
};

/* clang-format off */
static const struct row rows[] = { /* behind "name\temail\tpoints" */
    {T("Taro\ta@b.jp\t1"), 0, "a@b.jp"},
    {T("\ta@b.jp\t"), 0, "a@b.jp"},
    {T("Taro\t  Taro@B.jp \t1"), 0, "Taro@b.jp"},
    {T("太郎\ta@日本語.jp\t１"), 0, "a@xn--wgv71a119e.jp"},
    {T("{{email}}\ta@b.jp\t{{{x"), 0, "a@b.jp"},
    {T("a\r\ta@b.jp\t\r.\r"), 0, "a@b.jp"}, /* lone CRs: the message encodes them */
    {T("\x01\x1b[31m\ta@b.jp\t\x7f"), 0, "a@b.jp"},
    {T("\"quoted\"\ta@b.jp\t\"x"), 0, "a@b.jp"},
    {T("\xc2\x85\ta@b.jp\t\xe2\x80\xa8"), 0, "a@b.jp"}, /* NEL, LS: no line ends here */
    {T("\xf0\x9f\x98\x80\ta..b@b.jp\t"), 0, "\"a..b\"@b.jp"},

    {T(""), 800, "blank"},
    {T(" "), 800, "1 fields instead of 3"},
    {T("Taro\ta@b.jp"), 800, "2 fields instead of 3"},
    {T("a@b.jp"), 800, "1 fields instead of 3"},
    {T("Taro\ta@b.jp\t1\t"), 800, "more fields than the header's 3"},
    {T("Taro\ta@b.jp\t1\t2\t3\t4\t5"), 800, "more fields"},
    {T("\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t"), 800, "more fields"},
    {T("Taro\t\t1"), 800, "the address is empty"},
    {T("Taro\t   \t1"), 800, "the address is empty"},
    {T("\t\t"), 800, "the address is empty"},
    {T("Ta\0ro\ta@b.jp\t1"), 800, "NUL"},
    {T("Taro\ta\0@b.jp\t1"), 800, "NUL"},
    {T("\0"), 800, "NUL"},
    {T("12345678\ta@b.jp\t1234567\0"), 800, "NUL"},
    {T("Taro\xff\ta@b.jp\t1"), 800, "not UTF-8"},
    {T("Taro\ta@b.jp\t\xc3"), 800, "not UTF-8"},
    {T("Taro\ta@caf\xe9.jp\t1"), 800, "not UTF-8"},
    {T("\xed\xa0\x80\ta@b.jp\t1"), 800, "not UTF-8"},
    {T("\xc0\xaf\ta@b.jp\t1"), 800, "not UTF-8"},
    {T("\x91\xbe\x98Y\ta@b.jp\t1"), 800, "not UTF-8"},

    {T("Taro\tab.jp\t1"), 611, "no @"},
    {T("Taro\tTaro <a@b.jp>\t1"), 611, "display name"},
    {T("Taro\ta@[1.2.3.4]\t1"), 611, "literal"},
    {T("Taro\ta@b.jp.\t1"), 611, "trailing dot"},
    {T("Taro\ta\r@b.jp\t1"), 611, "control"},
    {T("Taro\ta@b.jp\r\t1"), 611, "control"},
    {T("Taro\t太郎@b.jp\t1"), 611, "not ASCII"},
    {T("Taro\ta@b.jp,c@d.jp\t1"), 611, "host name"},
};
/* clang-format on */
enum { ROWS = sizeof rows / sizeof rows[0] };

static void check_rows(const struct recipients *r)
{
    struct recipient p = {0};
    assert_int_equal(recipients_rows(r), ROWS);
    for (uint32_t row = 1; row <= ROWS; row++) {
        const struct row *want = &rows[row - 1];
        read_row(r, row, &p);
        if (p.code != want->code || p.code != recipients_code(r, row))
            fail_msg("row %u: %d %s", row, p.code, p.words);
        if (!strstr(p.code ? p.words : p.address.text, want->words))
            fail_msg("row %u: %s%s", row, p.address.text, p.words);
        assert_int_equal(recipients_domain(r, row) == RECIPIENTS_NO_DOMAIN,
                         p.code != 0);
        if (p.code == 0) {
            assert_string_equal(p.words, "");
            assert_string_equal(recipients_domain_name(r, recipients_domain(r, row)),
                                p.address.text + p.address.domain_at);
        }
    }
    recipient_finish(&p);
}

/* All rows in one file, with each kind of line end, with and without the last. */
static void rows_are_judged_alone(void **state)
{
    (void)state;
    for (int form = 0; form < 6; form++) {
        struct buf b = {0};
        buf_add_str(&b, "name\temail\tpoints\n");
        for (int i = 0; i < ROWS; i++) {
            bool last = i == ROWS - 1;
            buf_add_span(&b, rows[i].line);
            if (!last || form < 3)
                buf_add_str(&b, (form % 3 ? i + form : 0) % 3 ? "\r\n" : "\n");
        }
        struct recipients *r = open_good(
            buf_span(&b), (struct recipients_params){.allow_duplicates = true});
        check_rows(r);
        recipients_free(r);
        buf_finish(&b);
    }
}

static void fields_are_kept_as_they_are(void **state)
{
    (void)state;
    struct recipients *r = open_good(
        SPAN("email\ta\tb\n a@b.jp \t  x \t{{a}}\r\nonly\n\n\"a\"@b.jp\tx\ty\tz\n"),
        (struct recipients_params){0});
    struct recipient p = {0};
    read_row(r, 1, &p);
    assert_true(span_equal(p.raw, SPAN(" a@b.jp ")));
    assert_true(span_equal(p.fields[0], SPAN(" a@b.jp ")));
    assert_true(span_equal(p.fields[1], SPAN("  x ")));
    assert_true(span_equal(p.fields[2], SPAN("{{a}}")));
    read_row(r, 2, &p);
    assert_true(span_equal(p.raw, SPAN("only")));
    assert_int_equal(p.fields[1].n + p.fields[2].n, 0);
    read_row(r, 3, &p);
    assert_int_equal(p.raw.n + p.fields[1].n + p.fields[2].n, 0);
    read_row(r, 4, &p);
    assert_true(span_equal(p.fields[2], SPAN("y")));
    assert_int_equal(p.code, 800);
    recipient_finish(&p);
    recipients_free(r);
}

static void a_cell_of_ten_megabytes(void **state)
{
    (void)state;
    enum { CELL = 10 << 20, TOO_LONG = 16 << 20 };
    struct buf b = {0};
    buf_add_str(&b, "email\ttext\na@b.jp\t");
    size_t start = b.n;
    buf_reserve(&b, 2 * TOO_LONG + 1000);
    memset(b.p + b.n, 'x', CELL);
    b.n += CELL;
    buf_add_str(&b, "\nc@d.jp\tsmall\r\ne@f.jp\t");
    memset(b.p + b.n, 'y', TOO_LONG);
    b.n += TOO_LONG;
    buf_add_str(&b, "\r\ng@h.jp\tlast");
    struct recipients *r = open_good(buf_span(&b), (struct recipients_params){0});
    assert_int_equal(recipients_rows(r), 4);
    struct recipient p = {0};
    read_row(r, 1, &p);
    assert_int_equal(p.code, 0);
    assert_true(span_equal(p.fields[1], (struct span){b.p + start, CELL}));
    read_row(r, 2, &p);
    assert_string_equal(p.address.text, "c@d.jp");
    assert_true(p.line.cap < CELL); /* the giant is gone */
    read_row(r, 3, &p);
    assert_int_equal(p.code, 800);
    assert_string_equal(p.words, "the line is longer than 16 MiB");
    assert_int_equal(p.raw.n + p.fields[1].n, 0);
    read_row(r, 4, &p);
    assert_string_equal(p.address.text, "g@h.jp");
    recipient_finish(&p);
    recipients_free(r);
    buf_finish(&b);
}

/* The limit is the same when a row is judged first and when it is read again, at each
 * line end; and a file without any line end is no danger. */
static void the_longest_line(void **state)
{
    (void)state;
    enum { LONGEST = 16 << 20 };
    static const char *const ends[] = {"", "\n", "\r\n", "\r"};
    for (int over = 0; over <= 2; over++) {
        for (size_t end = 0; end < 4; end++) {
            struct buf b = {0};
            buf_add_str(&b, "email\tt\n");
            size_t line = b.n;
            buf_add_str(&b, "a@b.jp\t");
            buf_reserve(&b, LONGEST + 100);
            size_t n = LONGEST + (size_t)over - (b.n - line);
            memset(b.p + b.n, 'x', n);
            b.n += n;
            buf_add_str(&b, ends[end]);
            struct recipients *r =
                open_good(buf_span(&b), (struct recipients_params){0});
            assert_int_equal(recipients_rows(r), 1);
            assert_int_equal(recipients_code(r, 1), over ? 800 : 0);
            struct recipient p = {0};
            read_row(r, 1, &p);
            assert_int_equal(p.code, over ? 800 : 0);
            recipient_finish(&p);
            recipients_free(r);
            buf_finish(&b);
        }
    }
}

/* ---- duplicates, ranges, proofs, exclusions ---- */

static void codes_are(const struct recipients *r, const char *want)
{
    struct buf b = {0};
    struct recipient p = {0};
    for (uint32_t row = recipients_first(r); row <= recipients_last(r); row++) {
        read_row(r, row, &p);
        assert_int_equal(p.code, recipients_code(r, row));
        buf_printf(&b, "%s%u:%d", b.n ? " " : "", row, p.code);
        if (p.code == 801)
            buf_printf(&b, "(%s)", p.words);
    }
    assert_string_equal(buf_cstr(&b), want);
    buf_finish(&b);
    recipient_finish(&p);
}

static const struct span twins = T("email\n"
                                   "a@b.jp\n"      /* 1 */
                                   "A@B.JP\n"      /* 2: case */
                                   "bad\n"         /* 3 */
                                   "\"a\"@b.jp\n"  /* 4: quotes */
                                   " a@b.jp\n"     /* 5: spaces */
                                   "bad\n"         /* 6: no duplicate of a bad one */
                                   "a@bücher.jp\n" /* 7 */
                                   "a@BÜCHER.jp\n" /* 8 */
                                   "a@xn--bcher-kva.jp\n" /* 9 */
                                   "a..b@b.jp\n"          /* 10 */
                                   "\"A..b\"@b.jp\n"      /* 11 */
                                   "b@b.jp\n"             /* 12 */
                                   "a+b@b.jp\n");         /* 13 */

static void later_rows_of_an_address_are_duplicates(void **state)
{
    (void)state;
    struct recipients *r = open_good(twins, (struct recipients_params){0});
    codes_are(r,
              "1:0 2:801(duplicate of row 1) 3:611 4:801(duplicate of row 1) "
              "5:801(duplicate of row 1) 6:611 7:0 8:801(duplicate of row 7) "
              "9:801(duplicate of row 7) 10:0 11:801(duplicate of row 10) 12:0 13:0");
    assert_int_equal(recipients_domains(r), 2);
    assert_string_equal(recipients_domain_name(r, 0), "b.jp");
    assert_string_equal(recipients_domain_name(r, 1), "xn--bcher-kva.jp");
    struct recipient p = {0};
    read_row(r, 2, &p);
    assert_string_equal(p.address.text, "A@b.jp"); /* its own address, for the log */
    recipient_finish(&p);
    recipients_free(r);

    r = open_good(twins, (struct recipients_params){.allow_duplicates = true});
    codes_are(r, "1:0 2:0 3:611 4:0 5:0 6:611 7:0 8:0 9:0 10:0 11:0 12:0 13:0");
    recipients_free(r);
}

static void a_range_is_a_list_of_its_own(void **state)
{
    (void)state;
    struct recipients *r =
        open_good(twins, (struct recipients_params){.first_row = 2, .last_row = 4});
    assert_int_equal(recipients_rows(r), 13);
    codes_are(r, "2:0 3:611 4:801(duplicate of row 2)");
    assert_int_equal(recipients_domain(r, 7), RECIPIENTS_NO_DOMAIN);
    assert_int_equal(recipients_domains(r), 1);
    struct recipient p = {0};
    read_row(r, 8, &p);
    assert_int_equal(p.code, 0);
    recipient_finish(&p);
    recipients_free(r);

    r = open_good(twins, (struct recipients_params){.first_row = 12, .last_row = 99});
    codes_are(r, "12:0 13:0");
    recipients_free(r);
    r = open_good(twins, (struct recipients_params){.first_row = 12});
    codes_are(r, "12:0 13:0");
    recipients_free(r);
    r = open_good(twins, (struct recipients_params){.first_row = 14, .last_row = 20});
    assert_true(recipients_last(r) < recipients_first(r));
    assert_int_equal(recipients_domains(r), 0);
    recipients_free(r);
}

static void a_proof_goes_to_one_address(void **state)
{
    (void)state;
    struct recipients *r = open_good(
        twins,
        (struct recipients_params){.to = "me@x.jp", .first_row = 1, .last_row = 3});
    codes_are(r, "1:0 2:0 3:611");
    assert_int_equal(recipients_domains(r), 1);
    assert_string_equal(recipients_domain_name(r, 0), "x.jp");
    assert_int_equal(recipients_domain(r, 2), 0);
    struct recipient p = {0};
    read_row(r, 2, &p);
    assert_string_equal(p.address.text, "me@x.jp");
    assert_true(span_equal(p.raw, SPAN("A@B.JP")));
    recipient_finish(&p);
    recipients_free(r);
}

struct exclusion {
    struct span text;
    const char *column;
    int code;
    uint32_t ignored;
    const char *codes; /* of the list below, or a part of the fault's words */
    uint64_t ignored_line;
};

#define OUT(n) #n ":801(excluded)"

/* clang-format off */
static const struct exclusion exclusions[] = {
    {T(""), NULL, 0, 0, "1:0 2:0 3:0 4:611", 0},
    {T("b@x.jp\n"), NULL, 0, 0, "1:0 " OUT(2) " 3:0 4:611", 0},
    {T("b@x.jp"), NULL, 0, 0, "1:0 " OUT(2) " 3:0 4:611", 0},
    {T(BOM "B@X.JP\r\n\r\n  \n a@x.jp \r\n"), NULL, 0, 0, OUT(1) " " OUT(2) " 3:0 4:611", 0},
    {T("b@x.jp\nb@x.jp\nB@x.jp\n"), NULL, 0, 0, "1:0 " OUT(2) " 3:0 4:611", 0},
    {T("c@x.jp\n# no address\nd@x.jp\n"), NULL, 0, 1, "1:0 2:0 " OUT(3) " 4:611", 2},
    {T("bad\nb@x.jp\n"), NULL, 0, 1, "1:0 " OUT(2) " 3:0 4:611", 1},
    {T("address\na@x.jp\nb@x.jp\n"), NULL, 0, 1, OUT(1) " " OUT(2) " 3:0 4:611", 1},
    {T("email\nb@x.jp\n"), NULL, 0, 0, "1:0 " OUT(2) " 3:0 4:611", 0},
    {T("Email\treason\nb@x.jp\tbounce\nc@x.jp\n"), NULL, 0, 0, "1:0 " OUT(2) " " OUT(3) " 4:611", 0},
    {T(BOM "reason\temail\nbounce\tb@x.jp\tx\ty\n\xff\tc@x.jp\n"), NULL, 0, 0, "1:0 " OUT(2) " " OUT(3) " 4:611", 0},
    {T("reason\temail\nbounce\nbounce\tb@x.jp\n"), NULL, 0, 1, "1:0 " OUT(2) " 3:0 4:611", 2},
    {T("reason\tmail\nbounce\tb@x.jp\n"), "mail", 0, 0, "1:0 " OUT(2) " 3:0 4:611", 0},
    {T("reason\tmail\nbounce\tb@x.jp\n"), NULL, -10, 0, "no header with the address column", 0},
    {T("b@x.jp\tbounce\n"), NULL, -10, 0, "no header with the address column", 0},
    {T("email\tx{y\nb@x.jp\t\n"), NULL, -10, 0, "column 2", 0},
    {T("id,email\n1,b@x.jp\n"), NULL, -10, 0, "most of its lines are not addresses, the first is line 1", 0},
    {T("Taro <b@x.jp>\n"), NULL, -10, 0, "line 1", 0},
    {T("b\0@\0x\0.\0j\0p\0\n\0"), NULL, -10, 0, "NUL", 0},
    {T("\xff\xfe" "b\0@\0x\0.\0j\0p\0\n\0"), NULL, -10, 0, "NUL", 0},
};
/* clang-format on */

static void excluded_addresses_get_no_mail(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof exclusions / sizeof exclusions[0]; i++) {
        const struct exclusion *e = &exclusions[i];
        struct file file = file_of(e->text.p, e->text.n);
        char list[256];
        snprintf(list, sizeof list, "%s\na@x.jp\nb@x.jp\nc@x.jp\nbad\n",
                 e->column ? e->column : "email");
        struct fault f;
        struct recipients *r =
            open_with(span_of(list),
                      (struct recipients_params){.exclude = file.path,
                                                 .address_column = e->column},
                      &f);
        close(file.fd);
        if (f.code != e->code)
            fail_msg("exclusion %zu: %d %s", i, f.code, f.words);
        if (f.code) {
            if (!strstr(f.words, e->codes) || !strstr(f.words, "exclude file"))
                fail_msg("exclusion %zu: %s", i, f.words);
            continue;
        }
        codes_are(r, e->codes);
        uint64_t line;
        assert_int_equal(recipients_exclude_ignored(r, &line), e->ignored);
        assert_int_equal(line, e->ignored_line);
        recipients_free(r);
    }
}

static void excluded_comes_before_duplicate(void **state)
{
    (void)state;
    struct file file = file_of("a@b.jp\n", 7);
    struct recipients *r = open_good(
        twins, (struct recipients_params){.exclude = file.path, .last_row = 3});
    codes_are(r, OUT(1) " " OUT(2) " 3:611");
    assert_int_equal(recipients_domains(r), 0);
    recipients_free(r);
    r = open_good(twins, (struct recipients_params){
                             .exclude = file.path, .last_row = 3, .to = "a@b.jp"});
    codes_are(r, OUT(1) " " OUT(2) " 3:611");
    recipients_free(r);
    close(file.fd);
}

/* ---- a file that changes underneath ---- */

static const char stable[] =
    "email\tname\na@b.jp\tTaro\nc@d.jp\tJiro\nbad\tx\na@b.jp\t\n";

struct change {
    size_t at;
    const char *bytes; /* NULL: cut the file here */
    uint32_t row;      /* that is no longer readable */
};

static const struct change changes[] = {
    {sizeof stable - 2, NULL, 4}, /* the last line end only */
    {20, NULL, 1},
    {11, NULL, 1},
    {0, NULL, 1},
    {10, " ", 1},
    {13, "x", 1},
    {13, "\n", 1},
    {22, "x", 1},
    {22, "x", 2},
    {25, "x", 2},
    {23, "\t\t", 2},
    {23, "\xff\xff", 2},
    {35, "a@b", 3},
    {35, "a@c", 3},
    {35, "\t\t", 3},
    {23, "\0", 2},
};

static void a_changed_file_is_found_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        const struct change *c = &changes[i];
        struct file file = file_of(stable, sizeof stable - 1);
        struct fault f = {0};
        struct recipients *r =
            recipients_open(&(struct recipients_params){.path = file.path}, &f);
        assert_non_null(r);
        if (!c->bytes)
            assert_int_equal(ftruncate(file.fd, (off_t)c->at), 0);
        else
            assert_true(pwrite(file.fd, c->bytes, *c->bytes ? strlen(c->bytes) : 1,
                               (off_t)c->at) > 0);
        struct recipient p = {0};
        if (recipients_read(r, c->row, &p, &f))
            fail_msg("change %zu: not found out", i);
        assert_int_equal(f.code, -21);
        assert_non_null(strstr(f.words, file.path));
        recipient_finish(&p);
        recipients_free(r);
        close(file.fd);
    }
}

static void a_file_that_grows_does_not(void **state)
{
    (void)state;
    struct file file = file_of("email\na@b.jp", 12);
    struct fault f = {0};
    struct recipients *r =
        recipients_open(&(struct recipients_params){.path = file.path}, &f);
    assert_non_null(r);
    assert_int_equal(write(file.fd, "x\ny@z.jp\n", 9), 9);
    codes_are(r, "1:0");
    recipients_free(r);
    close(file.fd);
}

/* ---- beside a naive reader ---- */

/* UTF-8 by the table of RFC 3629 section 4, one character at a time. */
static bool naive_utf8(const unsigned char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t c = s[i];
        size_t more = c < 0x80                ? 0
                      : c >= 0xc0 && c < 0xe0 ? 1
                      : c >= 0xe0 && c < 0xf0 ? 2
                      : c >= 0xf0 && c < 0xf8 ? 3
                                              : 9;
        if (more == 9 || i + more >= n)
            return false;
        c &= more == 0 ? 0x7fu : 0x3fu >> more;
        for (size_t k = 1; k <= more; k++) {
            if (s[i + k] >> 6 != 2)
                return false;
            c = c << 6 | (s[i + k] & 0x3fu);
        }
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            return false;
        i += more + 1;
    }
    return true;
}

enum { NAIVE_COLUMNS = 3, NAIVE_ADDRESS = 1, NAIVE_ROWS_MAX = 400 };

struct naive {
    int code;
    uint32_t first; /* of a duplicate */
    struct span fields[1024];
    int fields_n;
    struct address address;
};

static void naive_judge(struct naive *row, struct span line)
{
    row->fields_n = 1;
    row->fields[0] = (struct span){line.p, 0};
    bool nul = false;
    for (size_t i = 0; i < line.n; i++) {
        nul |= line.p[i] == '\0';
        if (line.p[i] == '\t')
            row->fields[row->fields_n++] = (struct span){line.p + i + 1, 0};
        else
            row->fields[row->fields_n - 1].n++;
    }
    row->code = 800;
    if (line.n == 0 || nul || !naive_utf8((const unsigned char *)line.p, line.n) ||
        row->fields_n != NAIVE_COLUMNS)
        return;
    enum address_result result =
        address_parse(row->fields[NAIVE_ADDRESS], &row->address);
    row->code = result == ADDRESS_OK ? 0 : result == ADDRESS_BAD ? 611 : 800;
}

/* Read all rows behind the header. */
static uint32_t naive_read(struct span text, struct naive *out)
{
    uint32_t n = 0;
    size_t at = 0;
    for (bool header = true; at < text.n; header = false) {
        size_t end = at;
        while (end < text.n && text.p[end] != '\n')
            end++;
        struct span line = {text.p + at, end - at};
        at = end + 1;
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (header)
            continue;
        struct naive *row = &out[n++];
        naive_judge(row, line);
        for (uint32_t i = 0; i + 1 < n && row->code == 0; i++) {
            if (out[i].code == 0 && span_equal_nocase(span_of(out[i].address.text),
                                                      span_of(row->address.text))) {
                row->code = 801;
                row->first = i + 1;
            }
        }
    }
    return n;
}

static void make_list(struct rng *rng, struct buf *b)
{
    static const struct span pieces[] = {
        T("a"),
        T("b"),
        T("A"),
        T("a@b.jp"),
        T("a@b.jp"),
        T("a@b.jp"),
        T("B@c.jp"),
        T("d@日本.jp"),
        T("\t"),
        T("\t"),
        T("\t"),
        T("\t\t"),
        T("x\t"),
        T("\ta@b.jp\t"),
        T("x\ta@c.jp\ty"),
        T("x\tb@c.jp\t"),
        T("\tB@C.jp\t"),
        T("x\te@d.jp\tz\n"),
        T("\n"),
        T("\n"),
        T("\n"),
        T("\r\n"),
        T("\r"),
        T("\0"),
        T("\xff"),
        T("日本"),
        T("\xe3\x81"),
        T("é"),
        T("{{name}}"),
        T("\r\n.\r\n"),
        T(" "),
        T("<"),
        T("@"),
        T("\xef\xbb\xbf"),
        T("\t\t\t\t\t\t\t\t"),
        T("\x7f"),
        T("12345678"),
    };
    enum { PIECES = sizeof pieces / sizeof pieces[0] };
    buf_reset(b);
    buf_add_str(b, "name\temail\tpoints");
    buf_add_str(b, rng_below(rng, 2) ? "\n" : "\r\n");
    uint32_t n = rng_below(rng, 120);
    for (uint32_t i = 0; i < n; i++)
        buf_add_span(b, pieces[rng_below(rng, PIECES)]);
}

static void compare(const struct recipients *r, const struct naive *rows_naive,
                    uint32_t n)
{
    struct recipient p = {0};
    assert_int_equal(recipients_rows(r), n);
    for (uint32_t row = 1; row <= n; row++) {
        const struct naive *want = &rows_naive[row - 1];
        read_row(r, row, &p);
        assert_int_equal(p.code, want->code);
        assert_int_equal(recipients_code(r, row), want->code);
        for (int i = 0; i < NAIVE_COLUMNS; i++)
            assert_true(span_equal(p.fields[i],
                                   i < want->fields_n ? want->fields[i] : SPAN("")));
        char words[64] = "";
        if (want->code == 801)
            snprintf(words, sizeof words, "duplicate of row %u", want->first);
        if (want->code == 0 || want->code == 801) {
            assert_string_equal(p.words, words);
            assert_string_equal(p.address.text, want->address.text);
        }
    }
    recipient_finish(&p);
}

static void agrees_with_a_naive_reader(void **state)
{
    (void)state;
    enum { LISTS = 3000 };
    struct naive *naive = calloc(NAIVE_ROWS_MAX, sizeof *naive);
    assert_non_null(naive);
    struct buf b = {0};
    uint32_t counts[1000] = {0};
    for (uint64_t seed = 1; seed <= LISTS; seed++) {
        struct rng rng = {seed};
        make_list(&rng, &b);
        uint32_t n = naive_read(buf_span(&b), naive);
        struct recipients *r = open_good(buf_span(&b), (struct recipients_params){0});
        compare(r, naive, n);
        recipients_free(r);
        for (uint32_t i = 0; i < n; i++)
            counts[naive[i].code]++;
    }
    /* The generator does reach each kind of row. */
    assert_true(counts[0] > 100 && counts[611] > 100 && counts[800] > 100 &&
                counts[801] > 100);
    buf_finish(&b);
    free(naive);
}

/* ---- what a row costs ---- */

static long status_kb(const char *key)
{
    FILE *file = fopen("/proc/self/status", "r");
    assert_non_null(file);
    char line[256];
    long kb = -1;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0)
            kb = strtol(line + strlen(key), NULL, 10);
    fclose(file);
    return kb;
}

/* Let the high-water mark begin anew: proc(5), clear_refs. */
static bool forget_peak(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, "5", 1) == 1;
    if (fd >= 0)
        close(fd);
    return ok;
}

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

static void a_row_costs_little(void **state)
{
    (void)state;
    /* Just above 3/4 of a power of two, where the table of duplicates is at its
     * emptiest. */
    enum { MANY = 400000, DOMAINS = 12, ROW_MAX = 32, ROW_KEPT = 10, READ_KB = 1024 };
    struct buf b = {0};
    buf_add_str(&b, "email\tname\n");
    for (int i = 0; i < MANY; i++)
        buf_printf(&b, "user%d@domain%d.example\tTaro Yamada\n", i, i % DOMAINS);
    struct file file = file_of(b.p, b.n);
    buf_finish(&b);
    malloc_trim(0); /* what other tests left must not serve here */
    bool measurable = forget_peak();
    long before = status_kb("VmRSS:");
    struct fault f = {0};
    struct recipients *r =
        recipients_open(&(struct recipients_params){.path = file.path}, &f);
    long peak = status_kb("VmHWM:") - before;
    long kept = status_kb("VmRSS:") - before;
    assert_non_null(r);
    assert_int_equal(recipients_rows(r), MANY);
    assert_int_equal(recipients_domains(r), DOMAINS);
    assert_int_equal(recipients_domain(r, MANY), (MANY - 1) % DOMAINS);
    struct recipient p = {0};
    read_row(r, MANY, &p);
    assert_string_equal(p.address.text, "user399999@domain3.example");
    recipient_finish(&p);
    recipients_free(r);
    close(file.fd);
#ifdef SANITIZED
    (void)measurable, (void)peak, (void)kept;
#else
    if (!measurable)
        skip();
    print_message("a row: %ld bytes at the peak, %ld kept\n", peak * 1024 / MANY,
                  kept * 1024 / MANY);
    assert_true(peak * 1024 <= (long)ROW_MAX * MANY);
    assert_true((kept - READ_KB) * 1024 <= (long)ROW_KEPT * MANY);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_understood),
        cmocka_unit_test(names_have_limits),
        cmocka_unit_test(what_cannot_be_opened),
        cmocka_unit_test(rows_are_judged_alone),
        cmocka_unit_test(fields_are_kept_as_they_are),
        cmocka_unit_test(a_cell_of_ten_megabytes),
        cmocka_unit_test(the_longest_line),
        cmocka_unit_test(later_rows_of_an_address_are_duplicates),
        cmocka_unit_test(a_range_is_a_list_of_its_own),
        cmocka_unit_test(a_proof_goes_to_one_address),
        cmocka_unit_test(excluded_addresses_get_no_mail),
        cmocka_unit_test(excluded_comes_before_duplicate),
        cmocka_unit_test(a_changed_file_is_found_out),
        cmocka_unit_test(a_file_that_grows_does_not),
        cmocka_unit_test(agrees_with_a_naive_reader),
        cmocka_unit_test(a_row_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
