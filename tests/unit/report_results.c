/* Results: how the lines of a row fold into one, the printed bytes in each format, the
 * other vocabularies, and totals that add up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "report/results.h"

#include "report/attempts.h"

static char dir[] = "/tmp/hikyaku-results-XXXXXX";
static char path[sizeof dir + 32];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/attempts.tsv", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

static int remove_file(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

/* A line in a few words. The time of line n is n seconds past 1970. */
struct story {
    uint32_t row, attempt;
    int code;
    const char *stage;
    enum outcome outcome;
    int next_ms;
    int last_code;
    unsigned flags;
    const char *message;
};

enum { STORY_MAX = 8 };

static void tell(const struct story *story, size_t n)
{
    struct fault f = {0};
    unlink(path);
    struct attempts *a = attempts_create(path, &f);
    assert_non_null(a);
    for (size_t i = 0; i < n; i++) {
        struct attempt line;
        attempt_init(&line);
        line.time_ms = (int64_t)(i + 1) * 1000;
        line.row = story[i].row;
        line.attempt = story[i].attempt;
        line.code = story[i].code;
        line.class = story[i].code == 250   ? CLASS_NONE
                     : story[i].code == -11 ? CLASS_LE
                                            : CLASS_BE;
        line.stage = story[i].stage;
        line.outcome = story[i].outcome;
        line.next_attempt_ms = story[i].next_ms;
        line.last_code = story[i].last_code;
        line.flags = story[i].flags;
        line.email = story[i].row ? SPAN("a@example.jp") : (struct span){0};
        line.message = span_of(story[i].message ? story[i].message : "");
        attempts_append(a, &line);
    }
    assert_true(attempts_write(a, &f));
    attempts_close(a);
}

static struct results *load(uint32_t first, uint32_t last)
{
    struct fault f = {0};
    struct results *r = results_load(path, first, last, &f);
    assert_non_null(r);
    return r;
}

static char list_address[] = "list@example.jp";
static char hostile_address[] = "x\ny";

static struct span list_email(void *arg, uint32_t row)
{
    (void)row;
    return span_of(arg);
}

static struct buf print_as(struct results *r, struct results_print how)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    struct fault f = {0};
    if (!how.email) {
        how.email = list_email;
        how.email_arg = list_address;
    }
    assert_true(results_print(r, out, &how, &f));
    assert_int_equal(fclose(out), 0);
    struct buf b = {0};
    buf_add(&b, text, n);
    free(text);
    return b;
}

#define RETRIED(n)                                                                     \
    {                                                                                  \
        1, n, 451, "wait-rcpt", OUTCOME_RETRY, 90000, 0, 0, "later"                    \
    }

/* clang-format off */
static const struct {
    const char *name;
    struct story story[STORY_MAX];
    struct row_history want;
    const char *code, *last_code, *first, *last; /* as printed */
    const char *flags; /* the same */
} folds[] = {
    {"no line at all", {{0}},
     {OUTCOME_EVENT, 0, 0, false, false, 0, 0, 0, false, false, false, "", ""}, "", "", "", "", ""},
    {"delivered", {{1, 1, 250, "wait-end", OUTCOME_DELIVERED, 0, 0, 0, "ok"}},
     {OUTCOME_DELIVERED, 1, 250, false, false, 1000, 0, 0, false, false, false, "", ""}, "250", "", "00:00:01", "00:00:01", ""},
    {"retry, to come again", {RETRIED(1), RETRIED(2)},
     {OUTCOME_RETRY, 2, 451, false, false, 1000, 90000, 0, false, false, false, "", ""}, "451", "", "00:00:01", "00:00:02", ""},
    {"retry, then delivered",
     {RETRIED(1), {1, 2, 250, "wait-end", OUTCOME_DELIVERED, 0, 0, 0, "ok"}},
     {OUTCOME_DELIVERED, 2, 250, false, false, 1000, 0, 0, false, false, false, "", ""}, "250", "", "00:00:01", "00:00:02", ""},
    {"delivered stays, whatever comes later",
     {{1, 1, 250, "wait-end", OUTCOME_DELIVERED, 0, 0, 0, "ok"}, RETRIED(2),
      {1, 3, 550, "wait-rcpt", OUTCOME_ABSENT, 0, 0, 0, "no"}},
     {OUTCOME_DELIVERED, 1, 250, false, false, 1000, 0, 0, false, false, false, "", ""}, "250", "", "00:00:01", "00:00:01", ""},
    {"delivered wins over an earlier end",
     {{1, 1, 550, "wait-rcpt", OUTCOME_ABSENT, 0, 0, 0, "no"},
      {1, 2, 250, "wait-end", OUTCOME_DELIVERED, 0, 0, 0, "ok"}},
     {OUTCOME_DELIVERED, 2, 250, false, false, 1000, 0, 0, false, false, false, "", ""}, "250", "", "00:00:01", "00:00:02", ""},
    {"among other ends the last one counts",
     {{1, 1, 550, "wait-rcpt", OUTCOME_ABSENT, 0, 0, 0, "no"},
      {1, 2, 554, "wait-data", OUTCOME_ERROR, 0, 0, 0, "no"}},
     {OUTCOME_ERROR, 2, 554, false, false, 1000, 0, 0, false, false, false, "", ""}, "554", "", "00:00:01", "00:00:02", ""},
    {"a retry behind an end is nothing",
     {{1, 1, 550, "wait-rcpt", OUTCOME_ABSENT, 0, 0, 0, "no"}, RETRIED(2)},
     {OUTCOME_ABSENT, 1, 550, false, false, 1000, 0, 0, false, false, false, "", ""}, "550", "", "00:00:01", "00:00:01", ""},
    {"606 keeps what really went wrong, and when",
     {RETRIED(1), {1, 1, 606, "deadline", OUTCOME_ERROR, 0, 451, 0, "later"}},
     {OUTCOME_ERROR, 1, 451, false, false, 1000, 0, 0, false, false, false, "", ""}, "606", "451", "00:00:01", "00:00:01", ""},
    {"607 of a row whose site was never up",
     {{1, 3, 607, "retry-limit", OUTCOME_ERROR, 0, 601, 0, "refused"}},
     {OUTCOME_ERROR, 3, 601, false, false, 0, 0, 0, false, false, false, "", ""}, "607", "601", "", "", ""},
    {"flags stay",
     {{1, 1, 625, "wait-end", OUTCOME_RETRY, 9, 0, FLAG_IN_DOUBT, "lost"},
      {1, 2, 250, "wait-end", OUTCOME_DELIVERED, 0, 0, FLAG_REUSED, "ok"}},
     {OUTCOME_DELIVERED, 2, 250, true, false, 1000, 0, 0, false, false, false, "", ""}, "250", "", "00:00:01", "00:00:02",
     "in-doubt,reused"},
    {"a flag of any line stays",
     {{1, 1, 645, "wait-end", OUTCOME_RETRY, 9, 0, FLAG_ASSUMED, "lost"},
      {1, 2, 250, "wait-end", OUTCOME_DELIVERED, 0, 0, FLAG_REHEARSAL, "ok"}},
     {OUTCOME_DELIVERED, 2, 250, false, true, 1000, 0, 0, false, false, false, "", ""}, "250", "", "00:00:01", "00:00:02",
     "assumed,rehearsal"},
    {"assumed",
     {{1, 1, 250, "wait-end", OUTCOME_DELIVERED, 0, 0, FLAG_IN_DOUBT | FLAG_ASSUMED, ""}},
     {OUTCOME_DELIVERED, 1, 250, true, true, 1000, 0, 0, false, false, false, "", ""}, "250", "", "00:00:01", "00:00:01",
     "in-doubt,assumed"},
    {"final without an attempt", {{1, 0, 611, "addr", OUTCOME_ABSENT, 0, 0, 0, "no @"}},
     {OUTCOME_ABSENT, 0, 0, false, false, 0, 0, 0, false, false, false, "", ""}, "611", "", "", "", ""},
    {"cancelled, never tried", {{0, 0, -11, "run", OUTCOME_EVENT, 0, 0, 0, "storm"}},
     {OUTCOME_ERROR, 0, 0, false, false, 0, 0, 0, false, false, false, "", ""}, "-11", "", "", "", ""},
    {"cancelled while it waited",
     {RETRIED(1), {0, 0, -11, "run", OUTCOME_EVENT, 0, 0, 0, "storm"}},
     {OUTCOME_ERROR, 1, 451, false, false, 1000, 0, 0, false, false, false, "", ""}, "-11", "451", "00:00:01", "00:00:01", ""},
    {"ended before the rest was cancelled",
     {{1, 1, 550, "wait-rcpt", OUTCOME_ABSENT, 0, 0, 0, "no"},
      {0, 0, -11, "run", OUTCOME_EVENT, 0, 0, 0, "storm"}},
     {OUTCOME_ABSENT, 1, 550, false, false, 1000, 0, 0, false, false, false, "", ""}, "550", "", "00:00:01", "00:00:01", ""},
    {"on its way when the rest was cancelled",
     {{0, 0, -11, "run", OUTCOME_EVENT, 0, 0, 0, "storm"},
      {1, 1, 250, "wait-end", OUTCOME_DELIVERED, 0, 0, 0, "ok"}},
     {OUTCOME_DELIVERED, 1, 250, false, false, 2000, 0, 0, false, false, false, "", ""}, "250", "", "00:00:02", "00:00:02", ""},
    {"failed after the rest was cancelled",
     {{0, 0, -11, "run", OUTCOME_EVENT, 0, 0, 0, "storm"}, RETRIED(1)},
     {OUTCOME_ERROR, 1, 451, false, false, 2000, 0, 0, false, false, false, "", ""}, "-11", "451", "00:00:02", "00:00:02", ""},
    {"other events and leases change nothing",
     {{0, 0, 626, "wait-quit", OUTCOME_EVENT, 0, 0, 0, "lost"},
      {0, 0, 0, NULL, OUTCOME_LEASE, 0, 0, 0, "1"},
      {0, 0, -11, "run", OUTCOME_LEASE, 0, 0, 0, "1"},
      {1, 0, 627, "wait-rset", OUTCOME_EVENT, 0, 0, FLAG_IN_DOUBT, "lost"}},
     {OUTCOME_EVENT, 0, 0, false, false, 0, 0, 0, false, false, false, "", ""}, "", "", "", "", ""},
};
/* clang-format on */

static size_t length(const struct story *story)
{
    size_t n = 0;
    while (n < STORY_MAX && (story[n].row || story[n].code || story[n].message))
        n++;
    return n;
}

static struct span column(struct span line, int i)
{
    for (; i > 0; i--) {
        const char *tab = memchr(line.p, '\t', line.n);
        assert_non_null(tab);
        line.n -= (size_t)(tab + 1 - line.p);
        line.p = tab + 1;
    }
    const char *end = memchr(line.p, '\t', line.n);
    return (struct span){line.p, end ? (size_t)(end - line.p) : line.n};
}

static void assert_column(struct span line, int i, const char *want)
{
    struct buf got = {0};
    buf_add_span(&got, column(line, i));
    assert_string_equal(buf_cstr(&got), want);
    buf_finish(&got);
}

static void assert_time(struct span line, int i, const char *want)
{
    char whole[64] = "";
    if (want[0])
        snprintf(whole, sizeof whole, "1970-01-01T%s.000Z", want);
    assert_column(line, i, whole);
}

static void lines_fold(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof folds / sizeof folds[0]; i++) {
        print_message("  %s\n", folds[i].name);
        tell(folds[i].story, length(folds[i].story));
        struct results *r = load(1, 1);
        assert_int_equal(results_damaged(r), 0);
        struct row_history got = results_row(r, 1);
        const struct row_history *want = &folds[i].want;
        assert_int_equal(got.outcome, want->outcome);
        assert_int_equal(got.attempts, want->attempts);
        assert_int_equal(got.last_code, want->last_code);
        assert_int_equal(got.in_doubt, want->in_doubt);
        assert_int_equal(got.assumed, want->assumed);
        assert_int_equal(got.first_ms, want->first_ms);
        assert_int_equal(got.next_ms, want->next_ms);
        struct buf text = print_as(r, (struct results_print){0});
        char *second = memchr(text.p, '\n', text.n);
        assert_non_null(second);
        second++;
        struct span line = {second, (size_t)(text.p + text.n - second) - 1};
        assert_column(line, 2, folds[i].code);
        assert_column(line, 8, folds[i].last_code);
        assert_time(line, 10, folds[i].first);
        assert_time(line, 11, folds[i].last);
        assert_time(line, 12, want->next_ms == 90000 ? "00:01:30" : "");
        assert_column(line, 18, folds[i].flags);
        buf_finish(&text);
        results_free(r);
    }
}

/* A list with one row of each kind; row 5 has no line. */
static void tell_mixed(void)
{
    struct fault f = {0};
    unlink(path);
    struct attempts *a = attempts_create(path, &f);
    assert_non_null(a);
    struct attempt line;
    attempt_init(&line);
    line.time_ms = 1000;
    line.row = 2;
    line.email = SPAN("b@example.jp");
    line.attempt = 1;
    line.code = 250;
    line.stage = "wait-end";
    line.outcome = OUTCOME_DELIVERED;
    line.domain = SPAN("example.jp");
    line.site = SPAN("mx.example.jp");
    line.mx_host = SPAN("mx.example.jp");
    line.mx_address = SPAN("192.0.2.1");
    line.source = SPAN("192.0.2.9");
    line.tls = SPAN("TLSv1.3");
    line.flags = FLAG_REUSED;
    line.message_id = SPAN("<m@x>");
    line.status = "2.0.0";
    line.message = SPAN("2.0.0 \"queued\", as A\\B");
    attempts_append(a, &line);
    attempt_init(&line);
    line.time_ms = 2000;
    line.row = 1;
    line.email = SPAN("a@example.jp");
    line.attempt = 1;
    line.code = 451;
    line.class = CLASS_BE;
    line.stage = "wait-rcpt";
    line.outcome = OUTCOME_RETRY;
    line.next_attempt_ms = 1802000;
    line.message = SPAN("飛脚, later");
    attempts_append(a, &line);
    line.row = 4;
    line.outcome = OUTCOME_ERROR;
    line.code = 606;
    line.stage = "deadline";
    line.last_code = 451;
    line.next_attempt_ms = 0;
    attempts_append(a, &line);
    line.row = 3;
    line.attempt = 0;
    line.code = 611;
    line.stage = "addr";
    line.outcome = OUTCOME_ABSENT;
    line.last_code = 0;
    line.email = SPAN("no\taddress");
    line.message = SPAN("no @");
    attempts_append(a, &line);
    assert_true(attempts_write(a, &f));
    attempts_close(a);
}

#define HEAD                                                                           \
    "row\temail\tcode\tclass\tmessage\toutcome\tstage\tstatus\tlast_code\tattempts\t"  \
    "first_attempt\tlast_attempt\tnext_attempt\tdomain\tmx_host\tmx_address\tsource\t" \
    "tls\tflags\tmessage_id"
#define FIRST  "1970-01-01T00:00:01.000Z"
#define SECOND "1970-01-01T00:00:02.000Z"
#define NEXT   "1970-01-01T00:30:02.000Z"

/* clang-format off */
static const char tsv[] =
    HEAD "\n"
    "1\ta@example.jp\t451\tBE\t飛脚, later\tpending\twait-rcpt\t\t\t1\t" SECOND "\t" SECOND
        "\t" NEXT "\t\t\t\t\t\t\t\n"
    "2\tb@example.jp\t250\t-\t2.0.0 \"queued\", as A\\B\tdelivered\twait-end\t2.0.0\t\t1\t"
        FIRST "\t" FIRST "\t\texample.jp\tmx.example.jp\t192.0.2.1\t192.0.2.9\tTLSv1.3\t"
        "reused\t<m@x>\n"
    "3\tno\\x09address\t611\tBE\tno @\tabsent\taddr\t\t\t0\t\t\t\t\t\t\t\t\t\t\n"
    "4\ta@example.jp\t606\tBE\t飛脚, later\terror\tdeadline\t\t451\t1\t\t\t\t\t\t\t\t\t\t\n"
    "5\tx\\x0ay\t\t\t\tpending\t\t\t\t0\t\t\t\t\t\t\t\t\t\t\n";

static const char csv[] =
    "row,email,code,class,message,outcome,stage,status,last_code,attempts,first_attempt,"
    "last_attempt,next_attempt,domain,mx_host,mx_address,source,tls,flags,message_id\r\n"
    "1,a@example.jp,451,BE,\"飛脚, later\",pending,wait-rcpt,,,1," SECOND "," SECOND
        "," NEXT ",,,,,,,\r\n"
    "2,b@example.jp,250,-,\"2.0.0 \"\"queued\"\", as A\\B\",delivered,wait-end,2.0.0,,1,"
        FIRST "," FIRST ",,example.jp,mx.example.jp,192.0.2.1,192.0.2.9,TLSv1.3,"
        "reused,<m@x>\r\n"
    "3,no\\x09address,611,BE,no @,absent,addr,,,0,,,,,,,,,,\r\n"
    "4,a@example.jp,606,BE,\"飛脚, later\",error,deadline,,451,1,,,,,,,,,,\r\n"
    "5,x\\x0ay,,,,pending,,,,0,,,,,,,,,,\r\n";

static const char jsonl[] =
    "{\"row\":2,\"email\":\"b@example.jp\",\"code\":250,\"class\":\"-\",\"message\":"
    "\"2.0.0 \\\"queued\\\", as A\\\\B\",\"outcome\":\"delivered\",\"stage\":\"wait-end\","
    "\"status\":\"2.0.0\",\"last_code\":null,\"attempts\":1,\"first_attempt\":\"" FIRST
    "\",\"last_attempt\":\"" FIRST "\",\"next_attempt\":null,\"domain\":\"example.jp\","
    "\"mx_host\":\"mx.example.jp\",\"mx_address\":\"192.0.2.1\",\"source\":\"192.0.2.9\","
    "\"tls\":\"TLSv1.3\",\"flags\":\"reused\",\"message_id\":\"<m@x>\"}\n";
/* clang-format on */

static void formats_are_byte_exact(void **state)
{
    (void)state;
    static const struct {
        struct results_print how;
        const char *want;
    } cases[] = {
        {{.format = RESULTS_TSV}, tsv},
        {{.format = RESULTS_CSV}, csv},
        {{.format = RESULTS_JSONL, .only = "delivered"}, jsonl},
    };
    tell_mixed();
    struct results *r = load(1, 5);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct results_print how = cases[i].how;
        how.email = list_email;
        how.email_arg = hostile_address;
        struct buf got = print_as(r, how);
        assert_string_equal(buf_cstr(&got), cases[i].want);
        buf_finish(&got);
    }
    results_free(r);
}

static void meaning_comes_last(void **state)
{
    (void)state;
    tell_mixed();
    struct results *r = load(1, 5);
    struct buf english = print_as(r, (struct results_print){.meaning = MEANING_EN});
    struct buf japanese = print_as(r, (struct results_print){.meaning = MEANING_JA});
    assert_non_null(strstr(buf_cstr(&english), HEAD "\tmeaning\n"));
    const struct code *c = codes_find(611, "addr");
    struct buf want = {0};
    buf_printf(&want, "\t%s\n", c->meaning_en);
    assert_non_null(strstr(english.p, buf_cstr(&want)));
    buf_reset(&want);
    buf_printf(&want, "\t%s\n", c->meaning_ja);
    assert_non_null(strstr(buf_cstr(&japanese), buf_cstr(&want)));
    assert_non_null(strstr(japanese.p, "\tno @\t")); /* the server's words stay */
    buf_finish(&want);
    buf_finish(&english);
    buf_finish(&japanese);
    results_free(r);
}

/* By (code, stage), never by digits. last_code goes by the stage of its own line. */
static void vocabularies(void **state)
{
    (void)state;
    static const struct {
        struct story story[3];
        const char *basic, *basic_last, *five, *five_last;
    } cases[] = {
        {{{1, 1, 250, "wait-end", OUTCOME_DELIVERED, 0, 0, 0, "ok"}},
         "250",
         "",
         "40000",
         ""},
        {{{1, 1, 250, "wait-end", OUTCOME_DELIVERED, 0, 0, FLAG_ASSUMED, "ok"}},
         "250",
         "",
         "40001",
         ""},
        {{{1, 1, 550, "wait-rcpt", OUTCOME_ABSENT, 0, 0, 0, "no"}},
         "550",
         "",
         "42550",
         ""},
        {{{1, 1, 550, "reply-end", OUTCOME_ABSENT, 0, 0, 0, "no"}},
         "559",
         "",
         "42559",
         ""},
        {{{1, 1, 432, "wait-rcpt", OUTCOME_ERROR, 0, 0, 0, "in no table"}},
         "432",
         "",
         "432",
         ""},
        {{{1, 1, 601, "connect-timeout", OUTCOME_RETRY, 9, 0, 0, "slow"},
          {1, 1, 606, "deadline", OUTCOME_ERROR, 0, 601, 0, "slow"}},
         "606",
         "-6",
         "41606",
         "41601"},
        {{{1, 1, 601, "connect-timeout", OUTCOME_RETRY, 9, 601, 0, "slow"}},
         "-6",
         "-6",
         "41601",
         "41601"},
        {{{1, 1, 601, "connect", OUTCOME_RETRY, 9, 0, 0, "refused"},
          {0, 0, -11, "run", OUTCOME_EVENT, 0, 0, 0, "storm"}},
         "606",
         "-1",
         "41607",
         "41601"},
        {{{1, 2, 607, "retry-limit", OUTCOME_ERROR, 0, 601, 0, "its site's failure"}},
         "607",
         "-1",
         "41607",
         "41601"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tell(cases[i].story, length(cases[i].story));
        struct results *r = load(1, 1);
        for (int v = CODES_FIVE_DIGIT; v <= CODES_BASIC; v++) {
            struct buf text =
                print_as(r, (struct results_print){.codes = (enum code_vocabulary)v});
            char *second = strchr(buf_cstr(&text), '\n');
            assert_non_null(second);
            struct span line = span_of(second + 1);
            assert_column(line, 2, v == CODES_BASIC ? cases[i].basic : cases[i].five);
            assert_column(line, 8,
                          v == CODES_BASIC ? cases[i].basic_last : cases[i].five_last);
            buf_finish(&text);
        }
        results_free(r);
    }
}

static void cancelled_rows_say_why(void **state)
{
    (void)state;
    static const struct story story[] = {
        {1, 1, 451, "wait-rcpt", OUTCOME_RETRY, 9000, 0, 0, "its own words"},
        {0, 0, -11, "run", OUTCOME_EVENT, 0, 0, 0, "cancelled: storm"},
    };
    tell(story, 2);
    struct results *r = load(1, 2);
    struct buf got = print_as(r, (struct results_print){0});
    assert_string_equal(
        buf_cstr(&got),
        HEAD "\n"
             "1\ta@example.jp\t-11\tLE\tcancelled: storm; last: its own "
             "words\terror\trun\t5.3.0\t451\t1\t" FIRST "\t" FIRST "\t\t\t\t\t\t\t\t\n"
             "2\tlist@example.jp\t-11\tLE\tcancelled: storm\terror\trun\t5.3.0\t\t0"
             "\t\t\t\t\t\t\t\t\t\t\n");
    buf_finish(&got);
    results_free(r);
}

static void totals_add_up(void **state)
{
    (void)state;
    static const struct story story[] = {
        {2, 1, 625, "wait-end", OUTCOME_RETRY, 9000, 0, FLAG_IN_DOUBT, ""},
        {3, 1, 550, "wait-rcpt", OUTCOME_ABSENT, 0, 0, 0, ""},
        {4, 1, 554, "wait-data", OUTCOME_ERROR, 0, 0, 0, ""},
        {5, 1, 250, "wait-end", OUTCOME_DELIVERED, 0, 0, 0, ""},
        {6, 1, 250, "wait-end", OUTCOME_DELIVERED, 0, 0, FLAG_ASSUMED | FLAG_IN_DOUBT,
         ""},
        {9, 1, 250, "wait-end", OUTCOME_DELIVERED, 0, 0, 0, "no row of this job"},
    };
    tell(story, sizeof story / sizeof story[0]);
    struct results *r = load(2, 8);
    struct totals t = results_totals(r);
    assert_int_equal(results_damaged(r), 1);
    struct buf b = {0};
    totals_line(&b, &t);
    assert_string_equal(buf_cstr(&b),
                        "rows 7 = delivered 2 + error 1 + absent 1 + pending 3 "
                        "(in-doubt 2, assumed 1)");
    buf_reset(&b);
    totals_rate(&b, &t);
    assert_string_equal(buf_cstr(&b), "28.5");
    results_free(r);

    r = load(1, 0); /* an empty list */
    t = results_totals(r);
    assert_int_equal(t.rows, 0);
    buf_finish(&b);
    b = print_as(r, (struct results_print){0});
    assert_string_equal(buf_cstr(&b), HEAD "\n");
    buf_reset(&b);
    totals_rate(&b, &t);
    assert_string_equal(buf_cstr(&b), "-");
    buf_finish(&b);
    results_free(r);
}

static void rate_is_not_flattered(void **state)
{
    (void)state;
    static const struct {
        uint64_t delivered, rows;
        const char *want;
    } cases[] = {
        {0, 1, "0.0"},        {1, 1, "100.0"},  {99999, 100000, "99.9"},
        {991, 1000, "99.1"},  {1, 3000, "0.0"}, {1, 1000, "0.1"},
        {1999, 2000, "99.9"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct totals t = {.rows = cases[i].rows,
                           .delivered = cases[i].delivered,
                           .pending = cases[i].rows - cases[i].delivered};
        struct buf b = {0};
        totals_rate(&b, &t);
        assert_string_equal(buf_cstr(&b), cases[i].want);
        buf_finish(&b);
    }
}

static void only_one_outcome(void **state)
{
    (void)state;
    static const struct {
        const char *only;
        const char *want;
    } cases[] = {
        {"delivered", "2"}, {"error", "4"}, {"absent", "3"}, {"pending", "15"}};
    tell_mixed();
    struct results *r = load(1, 5);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf text = print_as(r, (struct results_print){.only = cases[i].only});
        struct buf rows = {0};
        const char *p = buf_cstr(&text);
        while ((p = strchr(p, '\n')) && p[1])
            buf_add_char(&rows, *++p);
        assert_string_equal(buf_cstr(&rows), cases[i].want);
        buf_finish(&rows);
        buf_finish(&text);
    }
    results_free(r);
}

static void troubles_are_faults(void **state)
{
    (void)state;
    struct fault f = {0};
    assert_null(results_load(path, 1, 1, &f));
    assert_int_equal(f.code, -20);

    tell_mixed();
    struct results *r = load(1, 5);
    assert_int_equal(truncate(path, 400), 0); /* cut underneath us */
    FILE *out = fopen("/dev/null", "w");
    struct results_print how = {.email = list_email, .email_arg = list_address};
    f = (struct fault){0};
    assert_false(results_print(r, out, &how, &f));
    assert_int_equal(f.code, -20);
    fclose(out);
    results_free(r);

    tell_mixed();
    r = load(1, 5);
    out = fopen("/dev/full", "w");
    f = (struct fault){0};
    assert_false(results_print(r, out, &how, &f));
    assert_int_equal(f.code, -20);
    assert_non_null(strstr(f.words, "No space left"));
    fclose(out);
    results_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(lines_fold, remove_file),
        cmocka_unit_test_teardown(formats_are_byte_exact, remove_file),
        cmocka_unit_test_teardown(meaning_comes_last, remove_file),
        cmocka_unit_test_teardown(vocabularies, remove_file),
        cmocka_unit_test_teardown(cancelled_rows_say_why, remove_file),
        cmocka_unit_test_teardown(totals_add_up, remove_file),
        cmocka_unit_test(rate_is_not_flattered),
        cmocka_unit_test_teardown(only_one_outcome, remove_file),
        cmocka_unit_test_teardown(troubles_are_faults, remove_file),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
