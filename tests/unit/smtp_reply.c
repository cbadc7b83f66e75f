/* The reply parser: each case whole and at every split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"
#include "smtp/reply.h"

struct good {
    const char *input;
    int code;
    const char *text;
    const char *enhanced; /* "" for none */
};

struct bad {
    const char *input;
    const char *text;
};

/* clang-format off */
static const struct good goods[] = {
    {"250 ok\r\n",                         250, "ok",                     ""},
    {"250\r\n",                            250, "",                       ""},
    {"250 \r\n",                           250, "",                       ""},
    {"250 ok\n",                           250, "ok",                     ""},
    {"599 x\r\n",                          599, "x",                      ""},
    {"200 x\r\n",                          200, "x",                      ""},
    {"250-a\r\n250-b\r\n250 c\r\n",        250, "a b c",                  ""},
    {"250-a\r\n250\r\n",                   250, "a",                      ""},
    {"250-\r\n250 b\r\n",                  250, "b",                      ""},
    {"550 5.1.1 no such user\r\n",         550, "5.1.1 no such user",     "5.1.1"},
    {"550-5.7.26 a\r\n550 5.7.1 b\r\n",    550, "5.7.26 a 5.7.1 b",       "5.7.26"},
    {"550-a\r\n550 5.7.1 b\r\n",           550, "a 5.7.1 b",              "5.7.1"},
    {"550 5.7.515 denied\r\n",             550, "5.7.515 denied",         "5.7.515"},
    {"550 5.1.1\r\n",                      550, "5.1.1",                  "5.1.1"},
    {"550 5.1.1\tx\r\n",                   550, "5.1.1\\x09x",            "5.1.1"},
    {"550 #5.1.0 rejected\r\n",            550, "#5.1.0 rejected",        "5.1.0"},
    {"250 5.1.1 unknown\r\n",              250, "5.1.1 unknown",          ""},
    {"421 5.7.32 x\r\n",                   421, "5.7.32 x",               ""},
    {"550 5..1\r\n",                       550, "5..1",                   ""},
    {"550 5.1.\r\n",                       550, "5.1.",                   ""},
    {"550 5.1\r\n",                        550, "5.1",                    ""},
    {"550 5.1000.1 x\r\n",                 550, "5.1000.1 x",             ""},
    {"550 5.1.9999\r\n",                   550, "5.1.9999",               ""},
    {"550 5.1.1x\r\n",                     550, "5.1.1x",                 ""},
    {"550 5.1.1.1\r\n",                    550, "5.1.1.1",                ""},
    {"550 a\rb\r\n",                       550, "a\\x0db",                ""},
    {"550 a\r\r\n",                        550, "a\\x0d",                 ""},
    {"550 \x1b[31m\x7f\xff\\\r\n",         550, "\\x1b[31m\\x7f\\xff\\\\", ""},
    {"550 \xe3\x81\x82\xc2\x85\r\n",       550, "\xe3\x81\x82\\xc2\\x85", ""},
};

static const struct bad bads[] = {
    {"25\r\n",                    "25"},
    {"2500 x\r\n",                "2500 x"},
    {"250OK\r\n",                 "250OK"},
    {"250\tok\r\n",               "250\\x09ok"},
    {"abc\r\n",                   "abc"},
    {" 250 x\r\n",                " 250 x"},
    {"+250 x\r\n",                "+250 x"},
    {"-50 x\r\n",                 "-50 x"},
    {"150 x\r\n",                 "150 x"},
    {"600 x\r\n",                 "600 x"},
    {"2\xc2\xb2" "5 x\r\n",       "2\xc2\xb2" "5 x"},
    {"\r\n",                      ""},
    {"\n",                        ""},
    {"250-a\r\n550 b\r\n",        "550 b"},
    {"250-a\r\n250x\r\n",         "250x"},
    {"250-a\r\n\r\n",             ""},
};
/* clang-format on */

static void print_enhanced(const struct reply *r, char out[32])
{
    out[0] = '\0';
    if (r->enhanced[0])
        snprintf(out, 32, "%u.%u.%u", r->enhanced[0], r->enhanced[1], r->enhanced[2]);
}

/* Feed n bytes in three pieces, cut at a and at b. */
static enum reply_result feed(struct reply_parser *p, const char *data, size_t n,
                              size_t cut_a, size_t cut_b, size_t *used_out)
{
    enum reply_result result = REPLY_MORE;
    size_t at = 0;
    while (at < n && result == REPLY_MORE) {
        size_t stop = at < cut_a ? cut_a : at < cut_b ? cut_b : n;
        stop = stop < n ? stop : n;
        size_t used;
        /* Each piece in memory of its own size: a sanitizer sees a byte too far. */
        char *piece = mem_alloc(stop - at);
        memcpy(piece, data + at, stop - at);
        result = reply_feed(p, piece, stop - at, &used);
        free(piece);
        assert_true(used <= stop - at);
        if (result == REPLY_MORE)
            assert_int_equal(used, stop - at);
        at += used;
    }
    *used_out = at;
    return result;
}

static void good_replies_at_every_split(void **state)
{
    (void)state;
    for (size_t g = 0; g < sizeof goods / sizeof goods[0]; g++) {
        char both[200];
        size_t n = strlen(goods[g].input);
        size_t all = (size_t)snprintf(both, sizeof both, "%s221 next", goods[g].input);
        for (size_t a = 1; a <= n; a++)
            for (size_t b = a; b <= n; b++) {
                struct reply_parser p;
                reply_parser_init(&p);
                size_t used;
                assert_int_equal(feed(&p, both, all, a, b, &used), REPLY_DONE);
                assert_int_equal(used, n);
                assert_false(reply_unfinished(&p));
                char enhanced[32];
                print_enhanced(&p.reply, enhanced);
                assert_int_equal(p.reply.code, goods[g].code);
                assert_string_equal(p.reply.text, goods[g].text);
                assert_int_equal(p.reply.text_n, strlen(goods[g].text));
                assert_string_equal(enhanced, goods[g].enhanced);
                /* The parser is clean again: nothing stale in the next reply. */
                assert_int_equal(feed(&p, "221 x\n", 6, a, b, &used), REPLY_DONE);
                assert_string_equal(p.reply.text, "x");
                assert_int_equal(p.reply.enhanced[0], 0);
            }
    }
}

static void bad_replies_at_every_split(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof bads / sizeof bads[0]; c++) {
        size_t n = strlen(bads[c].input);
        for (size_t a = 1; a <= n; a++)
            for (size_t b = a; b <= n; b++) {
                struct reply_parser p;
                reply_parser_init(&p);
                size_t used;
                assert_int_equal(feed(&p, bads[c].input, n, a, b, &used),
                                 REPLY_GARBAGE);
                assert_string_equal(p.reply.text, bads[c].text);
            }
    }
}

static void an_unfinished_reply_says_so(void **state)
{
    (void)state;
    struct reply_parser p;
    size_t used;
    reply_parser_init(&p);
    assert_false(reply_unfinished(&p));
    assert_int_equal(reply_feed(&p, "2", 1, &used), REPLY_MORE);
    assert_true(reply_unfinished(&p));
    assert_int_equal(reply_feed(&p, "50-a\r\n", 6, &used), REPLY_MORE);
    assert_true(reply_unfinished(&p));
    assert_int_equal(reply_feed(&p, "250 b\r\n", 7, &used), REPLY_DONE);
    assert_false(reply_unfinished(&p));
}

/* `lines` lines of `width` bytes, the last one ending the reply. */
static char *many_lines(size_t lines, size_t width)
{
    char *data = mem_alloc(lines * width);
    memset(data, 'x', lines * width);
    for (size_t i = 0; i < lines; i++) {
        memcpy(data + i * width, i + 1 < lines ? "250-" : "250 ", 4);
        memcpy(data + (i + 1) * width - 2, "\r\n", 2);
    }
    return data;
}

static enum reply_result feed_lines(size_t lines, size_t width, size_t step,
                                    struct reply_parser *p)
{
    char *data = many_lines(lines, width);
    reply_parser_init(p);
    enum reply_result result = REPLY_MORE;
    for (size_t at = 0; at < lines * width && result == REPLY_MORE;) {
        size_t left = lines * width - at, used;
        result = reply_feed(p, data + at, left < step ? left : step, &used);
        at += used;
    }
    free(data);
    return result;
}

static void the_limits_are_exact(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 7, 4096, SIZE_MAX};
    for (int i = 0; i < 4; i++) {
        struct reply_parser p;
        assert_int_equal(feed_lines(1, REPLY_LINE_MAX, steps[i], &p), REPLY_DONE);
        assert_int_equal(p.reply.text_n, REPLY_TEXT_MAX);
        assert_int_equal(feed_lines(1, REPLY_LINE_MAX + 1, steps[i], &p),
                         REPLY_GARBAGE);
        assert_int_equal(feed_lines(REPLY_SIZE_MAX / 64, 64, steps[i], &p), REPLY_DONE);
        assert_int_equal(feed_lines(REPLY_SIZE_MAX / 64 + 1, 64, steps[i], &p),
                         REPLY_GARBAGE);
    }
}

static void a_cut_text_is_still_clean(void **state)
{
    (void)state;
    char input[900] = "550 ";
    for (size_t shift = 0; shift < 5; shift++) {
        size_t n = 4;
        memset(input + n, 'a', shift);
        for (n += shift; n < 800; n += 3)
            memcpy(input + n, "\xe3\x81\x82", 3);
        memcpy(input + n, "\r\n", 2);
        struct reply_parser p;
        reply_parser_init(&p);
        size_t used;
        assert_int_equal(reply_feed(&p, input, n + 2, &used), REPLY_DONE);
        assert_true(p.reply.text_n <= REPLY_TEXT_MAX);
        assert_true(p.reply.text_n > REPLY_TEXT_MAX - 3);
        assert_true(utf8_valid(span_of(p.reply.text)));

        struct reply why;
        reply_explain(&why, "words of ours", &p.reply);
        assert_true(why.text_n <= REPLY_TEXT_MAX && why.text_n > REPLY_TEXT_MAX - 3);
        assert_true(utf8_valid(span_of(why.text)));
        assert_memory_equal(why.text, "words of ours: 550 ", 19);
        assert_int_equal(why.code, 0);
    }
}

struct lines {
    char text[100];
};

static void note_line(void *arg, const char *line, size_t n, bool first)
{
    struct lines *l = arg;
    size_t at = strlen(l->text);
    snprintf(l->text + at, sizeof l->text - at, "%s%.*s;", first ? "!" : "", (int)n,
             line);
}

static void lines_are_told_as_they_come(void **state)
{
    (void)state;
    const char *input = "250-mx.x\r\n250-SIZE\t5\r\n250\r\n250 PIPELINING\r\n";
    for (size_t a = 1; a < 22; a++) {
        struct lines l = {""};
        struct reply_parser p;
        reply_parser_init(&p);
        p.on_line = note_line;
        p.on_line_arg = &l;
        size_t used;
        assert_int_equal(feed(&p, input, strlen(input), a, a, &used), REPLY_DONE);
        assert_string_equal(l.text, "!mx.x;SIZE\t5;;");
        assert_int_equal(feed(&p, "250 x\n", 6, a, a, &used), REPLY_DONE);
        assert_string_equal(l.text, "!mx.x;SIZE\t5;;!x;");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_replies_at_every_split),
        cmocka_unit_test(bad_replies_at_every_split),
        cmocka_unit_test(an_unfinished_reply_says_so),
        cmocka_unit_test(the_limits_are_exact),
        cmocka_unit_test(a_cut_text_is_still_clean),
        cmocka_unit_test(lines_are_told_as_they_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
