/* The code table: its shape, its lookups and what is printed from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "codes/codes.h"

enum { LINES = 97 };

static const struct code *const table_end = codes_table + LINES;

static void expect(int code, const char *stage, const char *name)
{
    const struct code *c = codes_find(code, stage);
    assert_non_null(c);
    assert_string_equal(c->name, name);
}

static void lookup_takes_exact_stage_first(void **state)
{
    (void)state;
    expect(250, "wait-end", "DELIVERED");
    expect(250, "wait-end-assumed", "DELIVERED_ASSUMED");
    expect(601, "connect", "CONNECT_FAILED");
    expect(601, "connect-timeout", "CONNECT_TIMEOUT");
    expect(602, "session", "SESSION_LOST");
    expect(602, "protocol", "PROTOCOL_GARBAGE");
    expect(550, "reply-end", "R550_AT_END");
    expect(625, "wait-end", "WAIT_END_CLOSED");
    expect(665, "send-dend", "SEND_DEND_CLOSED");
}

static void lookup_of_a_reply_falls_back(void **state)
{
    (void)state;
    expect(550, "wait-rcpt", "R550_NO_USER");
    expect(550, "wait-data", "R550_NO_USER");
    expect(550, "wait-end", "R550_AT_END");
    expect(554, "wait-end", "R554_FAILED"); /* has no line of its own for the end */
    expect(421, "wait-opening", "R421_CLOSING");
}

static void lookup_of_a_single_line_ignores_the_stage(void **state)
{
    (void)state;
    expect(606, "wait-rcpt", "EXPIRED");
    expect(-11, "", "STORM_ABORT");
}

static void lookup_fails_honestly(void **state)
{
    (void)state;
    assert_null(codes_find(999, "wait-rcpt"));
    assert_null(codes_find(0, "reply"));
    assert_null(codes_find(602, "wait-rcpt")); /* two lines, neither fits */
    assert_null(codes_find(250, "wait-rcpt")); /* a 250 there delivers nothing */
    assert_null(codes_find(250, "reply"));
}

static void numbers_follow_the_stage(void **state)
{
    (void)state;
    assert_int_equal(codes_number(550, "wait-rcpt", CODES_BASIC), 550);
    assert_int_equal(codes_number(550, "reply-end", CODES_BASIC), 559);
    assert_int_equal(codes_number(550, "reply-end", CODES_FIVE_DIGIT), 42559);
    assert_int_equal(codes_number(601, "connect", CODES_BASIC), -1);
    assert_int_equal(codes_number(601, "connect-timeout", CODES_BASIC), -6);
    assert_int_equal(codes_number(608, "dns", CODES_FIVE_DIGIT), 41605);
    assert_int_equal(codes_number(609, "socket", CODES_FIVE_DIGIT), 41601);
    assert_int_equal(codes_number(250, "wait-end-assumed", CODES_FIVE_DIGIT), 40001);
    assert_int_equal(codes_number(625, "wait-end", CODES_NATIVE), 625);
    assert_int_equal(codes_number(499, "wait-rcpt", CODES_BASIC), 499);
    assert_int_equal(codes_number(499, "wait-rcpt", CODES_FIVE_DIGIT), 499);
}

static void words(void **state)
{
    (void)state;
    assert_string_equal(code_class_word(CLASS_NONE), "-");
    assert_string_equal(code_class_word(CLASS_LE), "LE");
    assert_string_equal(code_class_word(CLASS_BE), "BE");
    assert_string_equal(code_class_word(CLASS_EITHER), "LE/BE");
    assert_string_equal(outcome_word(OUTCOME_DELIVERED), "delivered");
    assert_string_equal(outcome_word(OUTCOME_ERROR), "error");
    assert_string_equal(outcome_word(OUTCOME_ABSENT), "absent");
    assert_string_equal(outcome_word(OUTCOME_RETRY), "retry");
    assert_string_equal(outcome_word(OUTCOME_EVENT), "event");
    assert_string_equal(outcome_word(OUTCOME_LEASE), "lease");
}

/* Pairs and names are unique; the lines of a code are neighbours; the most wanted line
 * is the first. */
static void shape(void **state)
{
    (void)state;
    assert_int_equal(codes_count, LINES);
    assert_ptr_equal(codes_find(250, "wait-end"), codes_table);
    for (const struct code *a = codes_table; a < table_end; a++) {
        for (const struct code *b = a + 1; b < table_end; b++) {
            assert_false(a->code == b->code && strcmp(a->stage, b->stage) == 0);
            assert_string_not_equal(a->name, b->name);
            if (a->code == b->code)
                assert_int_equal(a->code, (b - 1)->code);
        }
        assert_ptr_equal(codes_find(a->code, a->stage), a);
    }
}

static bool one_of(const char *word, const char *const *list)
{
    while (*list && strcmp(*list, word) != 0)
        list++;
    return *list != NULL;
}

static void each_line_makes_sense(void **state)
{
    (void)state;
    static const char *const disables[] = {"now", "count", "consec", "none", NULL};
    for (const struct code *c = codes_table; c < table_end; c++) {
        assert_int_equal(c->outcome == OUTCOME_DELIVERED, c->code == 250);
        assert_int_equal(c->outcome == OUTCOME_DELIVERED, c->class == CLASS_NONE);
        assert_int_equal(c->outcome == OUTCOME_DELIVERED, c->status[0] == '2');
        assert_false(c->retry && c->outcome == OUTCOME_ABSENT);
        assert_true(c->outcome <= OUTCOME_ABSENT || c->outcome == OUTCOME_EVENT);
        assert_true(c->weight_tenths == 0 || c->weight_tenths == 1 ||
                    c->weight_tenths == 5 || c->weight_tenths == 10);
        assert_true(one_of(c->disable, disables));
        if (strcmp(c->place, "user") != 0 && c->outcome != OUTCOME_ABSENT)
            assert_true(c->weight_tenths <= 1); /* our trouble is not the address's */
        if (c->code >= 400 && c->code < 600) {
            assert_int_equal(c->retry, c->code < 500);
            assert_int_equal(c->status[0], '0' + c->code / 100);
            assert_memory_equal(c->stage, "reply", 5);
        }
    }
}

static void five_digit_numbers_keep_their_ranges(void **state)
{
    (void)state;
    for (const struct code *c = codes_table; c < table_end; c++) {
        int n = c->five_digit;
        if (c->code == 250)
            assert_in_range(n, 40000, 40001);
        else if (c->code >= 400 && c->code < 600)
            assert_in_range(n, 42400, 42599);
        else
            assert_true((n >= 41600 && n <= 41699) || n == 42550 || n == 42559 ||
                        n == 90000 || (n >= 91001 && n <= 91003));
    }
}

/* The digit means different steps in the two halves of the grid: 624 is the DATA
 * command and 625 the dot, but 664 is the body and 665 the dot. */
static void grid(void **state)
{
    (void)state;
    static const char *const waiting[] = {"wait-opening", "wait-helo", "wait-from",
                                          "wait-rcpt",    "wait-data", "wait-end",
                                          "wait-quit",    "wait-rset"};
    static const char *const sending[] = {"send-helo", "send-from", "send-rcpt",
                                          "send-dcmd", "send-data", "send-dend",
                                          "send-quit", "send-rset"};
    for (int i = 0; i < 8; i++) {
        assert_string_equal(codes_find(620 + i, "")->stage, waiting[i]);
        assert_string_equal(codes_find(640 + i, "")->stage, waiting[i]);
        assert_string_equal(codes_find(660 + i, "")->stage, sending[i]);
        assert_string_equal(codes_find(680 + i, "")->stage, sending[i]);
        bool event = i >= 6; /* QUIT and RSET never change a recipient */
        for (int base = 620; base <= 680; base += 20) {
            const struct code *c = codes_find(base + i, "");
            assert_int_equal(c->outcome, event ? OUTCOME_EVENT : OUTCOME_ERROR);
            assert_int_equal(c->retry, !event);
            assert_int_equal(c->five_digit, 41000 + c->code);
        }
    }
}

static size_t count(const char *text, char wanted)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == wanted;
    return n;
}

static void printed_as_tsv(void **state)
{
    (void)state;
    struct buf out = {0};
    codes_print(&out, CODES_TSV);
    const char *text = buf_cstr(&out);
    assert_int_equal(count(text, '\n'), LINES + 1);
    assert_int_equal(count(text, '\t'), (LINES + 1) * 15);
    assert_non_null(strstr(text,
                           "code\tclass\tplace\tstage\tretry\toutcome\tweight\tbasic\t"
                           "five_digit\tdsn\tdisable\tname\tmeaning_en\tmeaning_ja\t"
                           "trigger\tnote\n"));
    assert_non_null(strstr(
        text, "\n552\tBE\tuser\treply\tno\terror\t0.1\t552\t42552\t5.2.2\tcount\t"
              "R552_QUOTA\tstorage allocation exceeded\t相手の容量超過\t"));
    assert_non_null(strstr(text, "\n626\tLE/BE\tsystem\twait-quit\tno\tkeep\t0\t"));
    buf_finish(&out);
}

static void printed_as_text(void **state)
{
    (void)state;
    struct buf english = {0}, japanese = {0};
    codes_print(&english, CODES_TEXT_ENGLISH);
    codes_print(&japanese, CODES_TEXT_JAPANESE);
    assert_int_equal(count(buf_cstr(&english), '\n'), LINES + 1);
    assert_int_equal(count(buf_cstr(&japanese), '\n'), LINES + 1);
    assert_non_null(strstr(english.p,
                           "  550 BE     reply-end         absent     no     "
                           "5.2.0   550 after the final dot"));
    assert_non_null(strstr(japanese.p, "5.2.0   本文終端後の550"));
    assert_null(strstr(english.p, "本文"));
    buf_finish(&english);
    buf_finish(&japanese);
}

static void read_whole(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, f)) > 0)
        buf_add(out, piece, n);
    fclose(f);
}

/* docs/codes.md is words written by hand around the generated table. */
static void document_is_up_to_date(void **state)
{
    (void)state;
    static const char path[] = SOURCE_DIR "/docs/codes.md";
    static const char mark[] = "| Code |";
    struct buf page = {0}, want = {0};
    read_whole(path, &page);
    codes_document(&want);
    char *table = strstr(buf_cstr(&page), mark);
    assert_non_null(table);
    if (getenv("WRITE_DOCS")) { /* the table is the end of the page: write it anew */
        page.n = (size_t)(table - page.p);
        buf_add_span(&page, buf_span(&want));
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_int_equal(fwrite(page.p, 1, page.n, f), page.n);
        assert_int_equal(fclose(f), 0);
        table = strstr(buf_cstr(&page), mark);
    }
    if (strcmp(table, buf_cstr(&want)) != 0)
        fail_msg(
            "docs/codes.md is not what codes.def makes; WRITE_DOCS=1 writes it anew");
    buf_finish(&page);
    buf_finish(&want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lookup_takes_exact_stage_first),
        cmocka_unit_test(lookup_of_a_reply_falls_back),
        cmocka_unit_test(lookup_of_a_single_line_ignores_the_stage),
        cmocka_unit_test(lookup_fails_honestly),
        cmocka_unit_test(numbers_follow_the_stage),
        cmocka_unit_test(words),
        cmocka_unit_test(shape),
        cmocka_unit_test(each_line_makes_sense),
        cmocka_unit_test(five_digit_numbers_keep_their_ranges),
        cmocka_unit_test(grid),
        cmocka_unit_test(printed_as_tsv),
        cmocka_unit_test(printed_as_text),
        cmocka_unit_test(document_is_up_to_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
