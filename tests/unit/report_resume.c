/* What resume needs of the log: leases, run events, damage, a log written anew. The
 * promise behind all: whatever happens to the file, a row that was lent ends with its
 * result, or leased, or damaged; never silently as if it had not been sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "report/attempts.h"
#include "report/leases.h"
#include "report/results.h"

static char dir[] = "/tmp/hikyaku-resume-XXXXXX";
static char path[sizeof dir + 32], aside[sizeof dir + 32], fresh[sizeof dir + 32];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/attempts.tsv", dir);
    snprintf(fresh, sizeof fresh, "%s/attempts.tsv.new", dir);
    snprintf(aside, sizeof aside, "%s/attempts.damaged", dir);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    unlink(path);
    unlink(aside);
    unlink(fresh);
    return 0;
}

static int remove_dir(void **state)
{
    remove_files(state);
    return rmdir(dir);
}

static struct buf slurp(const char *name)
{
    struct buf b = {0};
    FILE *in = fopen(name, "rb");
    assert_non_null(in);
    char chunk[4096];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, in)) > 0)
        buf_add(&b, chunk, n);
    fclose(in);
    return b;
}

static void spill(const char *name, struct span text)
{
    FILE *out = fopen(name, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(text.p, 1, text.n, out), text.n);
    assert_int_equal(fclose(out), 0);
}

static struct attempts *begin(void)
{
    struct fault f = {0};
    unlink(path);
    struct attempts *a = attempts_create(path, &f);
    assert_non_null(a);
    return a;
}

static struct attempts *reopen(void)
{
    struct fault f = {0};
    struct attempts *a = attempts_open(path, &f);
    assert_non_null(a);
    return a;
}

static void finish(struct attempts *a)
{
    struct fault f = {0};
    assert_true(attempts_write(a, &f));
    attempts_close(a);
}

static void lease(struct attempts *a, const char *ranges)
{
    struct attempt line;
    attempt_init(&line);
    line.time_ms = 5000;
    line.outcome = OUTCOME_LEASE;
    line.site = SPAN("mx.example.jp");
    line.message = span_of(ranges);
    attempts_append(a, &line);
}

static void tried(struct attempts *a, uint32_t row, uint32_t attempt, int code,
                  unsigned flags)
{
    struct attempt line;
    attempt_init(&line);
    line.time_ms = 6000 + attempt;
    line.row = row;
    line.email = SPAN("taro@example.jp");
    line.attempt = attempt;
    line.code = code;
    line.class = code == 250 ? CLASS_NONE : CLASS_BE;
    line.stage = "wait-end";
    line.outcome = code == 250                ? OUTCOME_DELIVERED
                   : code < 500 || code > 600 ? OUTCOME_RETRY
                                              : OUTCOME_ERROR;
    line.flags = flags;
    line.message = SPAN("some words");
    if (line.outcome == OUTCOME_RETRY)
        line.next_attempt_ms = 90000;
    attempts_append(a, &line);
}

/* Behind the header and so many more lines, as far as there are any. */
static size_t behind(const struct buf *b, unsigned lines)
{
    size_t at = 0;
    const char *newline;
    for (unsigned i = 0; i < lines + 2; i++, at = (size_t)(newline - b->p) + 1)
        if (!(newline = memchr(b->p + at, '\n', b->n - at)))
            break;
    return at;
}

/* In two parts, another cut each time: what is read on must not make a difference. */
static struct results *load(uint32_t last)
{
    static unsigned turn;
    struct fault f = {0};
    struct buf all = slurp(path);
    size_t cut = behind(&all, turn++ % 5);
    assert_int_equal(truncate(path, (off_t)cut), 0);
    struct results *r = results_load(path, 1, last, &f);
    assert_non_null(r);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    assert_int_equal(fwrite(all.p + cut, 1, all.n - cut, file), all.n - cut);
    assert_int_equal(fclose(file), 0);
    assert_true(results_read_on(r, path, &f));
    buf_finish(&all);
    return r;
}

/* Flip one bit of the n-th line (from 0, behind the header), `at` bytes into it. */
static void flip(size_t line, size_t at, int bit)
{
    struct buf b = slurp(path);
    size_t offset = 0;
    for (size_t i = 0; i < line + 2; i++)
        offset = (size_t)((char *)memchr(b.p + offset, '\n', b.n - offset) - b.p) + 1;
    b.p[offset + at] = (char)(b.p[offset + at] ^ (1 << bit));
    spill(path, buf_span(&b));
    buf_finish(&b);
}

/* Which of the rows 1 … 9 are leased (l), damaged (D, leased too), in doubt (i), final
 * (f), cancelled (c), or nothing of that (.). */
static void assert_rows(const char *want)
{
    struct results *r = load((uint32_t)strlen(want));
    char got[16] = "";
    for (uint32_t row = 1; row <= strlen(want); row++) {
        struct row_history h = results_row(r, row);
        assert_true(!h.damaged || h.leased);
        assert_true(!h.cancelled || h.outcome == OUTCOME_ERROR);
        got[row - 1] = h.damaged                   ? 'D'
                       : h.leased                  ? 'l'
                       : h.in_doubt                ? 'i'
                       : h.cancelled               ? 'c'
                       : h.outcome < OUTCOME_RETRY ? 'f'
                                                   : '.';
    }
    assert_string_equal(got, want);
    results_free(r);
}

static const char too_big[] = "4294967296,99999999999999999999999,1";

static void ranges_are_read_whatever_they_are(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
        bool good;
    } cases[] = {
        {"", "", true},
        {"1", "1-1 ", true},
        {"5-9,12", "5-9 12-12 ", true},
        {"7-7", "7-7 ", true},
        {"12,5-9,1", "12-12 5-9 1-1 ", true},
        {"1-4294967295", "1-4294967295 ", true},
        {too_big, "1-1 ", false},
        {"0", "", false},
        {"0-3", "", false},
        {"9-5,2", "2-2 ", false},
        {"1-", "", false},
        {"-1,3", "3-3 ", false},
        {"1--2,3", "3-3 ", false},
        {"1-2-3,4", "4-4 ", false},
        {"1,,2", "1-1 2-2 ", false},
        {",", "", false},
        {"1, 2", "1-1 ", false},
        {"x,+1,0x1,2", "2-2 ", false},
        {"3 ,4", "4-4 ", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct span text = span_of(cases[i].text);
        struct buf got = {0};
        struct row_range range;
        bool good = true;
        while (row_range_next(&text, &range, &good))
            buf_printf(&got, "%u-%u ", range.from, range.to);
        assert_string_equal(buf_cstr(&got), cases[i].want);
        assert_int_equal(good, cases[i].good);
        buf_finish(&got);
    }
}

static void lent_until_the_next_line(void **state)
{
    (void)state;
    struct attempts *a = begin();
    lease(a, "1-3,5");
    tried(a, 2, 1, 451, 0);
    tried(a, 5, 1, 250, 0);
    finish(a);
    assert_rows("l.l.f.");
    a = reopen();
    lease(a, "2,5"); /* 5 has its result: nobody lends it */
    tried(a, 1, 1, 550, 0);
    finish(a);
    assert_rows("fll.f.");
    a = reopen();
    attempts_event(a, 7000, RUN_RESUMED, (struct span){0});
    finish(a);
    assert_rows("f...f.");
}

static void a_clean_end_takes_rows_back(void **state)
{
    (void)state;
    struct fault f = {0};
    struct attempts *a = begin();
    lease(a, "1-4");
    tried(a, 1, 1, 250, 0);
    assert_true(attempts_end(a, 7000, RUN_STOPPED, &f));
    attempts_close(a);
    assert_rows("f...");
    struct results *r = load(4);
    assert_int_equal(results_end(r), RUN_STOPPED);
    results_free(r);
    a = reopen();
    lease(a, "2");
    finish(a);
    assert_rows("fl..");
    r = load(4);
    assert_int_equal(results_end(r), RUN_NONE);
    results_free(r);
    a = reopen();
    tried(a, 2, 1, 250, 0);
    assert_true(attempts_end(a, 7000, RUN_FINISHED, &f));
    attempts_close(a);
    r = load(2);
    assert_int_equal(results_end(r), RUN_FINISHED);
    results_free(r);
}

static void times_of_a_row(void **state)
{
    (void)state;
    struct attempts *a = begin();
    tried(a, 1, 1, 451, 0);
    tried(a, 1, 2, 625, FLAG_IN_DOUBT);
    finish(a);
    struct results *r = load(1);
    struct row_history h = results_row(r, 1);
    assert_int_equal(h.first_ms, 6001);
    assert_int_equal(h.last_ms, 6002);
    assert_int_equal(h.next_ms, 90000);
    assert_int_equal(h.attempts, 2);
    assert_int_equal(h.last_code, 625);
    assert_true(h.in_doubt);
    results_free(r);
}

static void cancelled_and_taken_up_again(void **state)
{
    (void)state;
    struct attempts *a = begin();
    lease(a, "1-4");
    tried(a, 1, 1, 250, 0);
    tried(a, 2, 1, 451, 0);
    attempts_event(a, 7000, RUN_CANCELLED, SPAN("cancelled by the operator"));
    tried(a, 3, 1, 550, 0);
    finish(a);
    assert_rows("fcflc"); /* row 4 was on its way */
    struct results *r = load(5);
    assert_true(results_cancelled(r));
    assert_true(results_row(r, 4).cancelled);
    assert_int_equal(results_row(r, 2).next_ms, 0);
    results_free(r);
    a = reopen();
    attempts_event(a, 8000, RUN_RETRY, (struct span){0});
    finish(a);
    assert_rows("f.fl.");
    r = load(5);
    assert_false(results_cancelled(r));
    struct row_history h = results_row(r, 2);
    assert_int_equal(h.outcome, OUTCOME_RETRY);
    assert_int_equal(h.attempts, 1);
    assert_int_equal(h.next_ms, 90000);
    assert_int_equal(results_totals(r).pending, 3);
    results_free(r);
    a = reopen();
    attempts_event(a, 9000, RUN_CANCELLED, SPAN("storm"));
    finish(a);
    assert_rows("fcflc");
}

/* Lines that only look like an event of the job. */
static void no_stranger_speaks_for_the_job(void **state)
{
    (void)state;
    struct attempts *a = begin();
    lease(a, "1-2");
    struct attempt line;
    attempt_init(&line);
    line.time_ms = 1;
    line.outcome = OUTCOME_EVENT;
    line.message = SPAN("run resumed");
    line.stage = "wait-quit"; /* a server's words */
    attempts_append(a, &line);
    line.stage = "run";
    line.code = 626;
    attempts_append(a, &line);
    line.code = 0;
    line.message = SPAN("run resumed too");
    attempts_append(a, &line);
    line.message = SPAN("run resumed");
    line.row = 1;
    attempts_append(a, &line);
    line.row = 0;
    line.outcome = OUTCOME_LEASE;
    attempts_append(a, &line); /* and as a lease it lends nothing that can be read */
    finish(a);
    assert_rows("ll.");
    struct results *r = load(3);
    assert_int_equal(results_hidden_leases(r), 1);
    results_free(r);
}

/* Where the columns of lines stand (they all begin with 24 bytes of time). */
enum { AT_ROW = 25 };

static void a_lost_result_is_damage(void **state)
{
    (void)state;
    struct fault f = {0};
    struct attempts *a = begin();
    lease(a, "1-4");        /* line 0 */
    tried(a, 1, 1, 250, 0); /* 1 */
    tried(a, 2, 1, 250, 0); /* 2: will be damaged */
    tried(a, 3, 1, 250, 0); /* 3 */
    finish(a);
    flip(2, AT_ROW, 0); /* row 3, it says now; but one bit tells that it was 2 */
    assert_rows("fDfl.");
    flip(2, AT_ROW + 2, 1); /* two do not */
    assert_rows("fDfD.");
    a = reopen();
    lease(a, "2");
    assert_true(attempts_end(a, 7000, RUN_STOPPED, &f)); /* proves nothing of row 2 */
    attempts_close(a);
    assert_rows("fDfD.");
    struct results *r = load(5);
    assert_int_equal(results_totals(r).in_doubt, 2);
    assert_int_equal(results_damaged(r), 1);
    assert_int_equal(results_hidden_leases(r), 1);
    results_free(r);
    a = reopen();
    tried(a, 2, 1, 625, FLAG_IN_DOUBT);
    tried(a, 4, 1, 625, FLAG_IN_DOUBT);
    attempts_event(a, 7000, RUN_RESUMED, (struct span){0});
    finish(a);
    assert_rows("fifi."); /* judged, once */
    flip(6, 40, 0);       /* the line that judged row 2 */
    assert_rows("fDfi.");
}

static void a_missing_attempt_may_have_been_in_doubt(void **state)
{
    (void)state;
    struct attempts *a = begin();
    lease(a, "1-2");
    tried(a, 1, 1, 625, FLAG_IN_DOUBT); /* line 1: will be damaged */
    lease(a, "1");
    tried(a, 1, 2, 250, 0);
    tried(a, 2, 1, 451, 0);
    finish(a);
    flip(1, 45, 3);
    flip(1, 46, 3);
    assert_rows("i.");
}

static void a_decision_shows_it_too(void **state)
{
    (void)state;
    struct attempts *a = begin();
    lease(a, "1-2");
    tried(a, 1, 1, 625, FLAG_IN_DOUBT); /* line 1: will be damaged */
    tried(a, 1, 1, 606, 0);
    tried(a, 2, 1, 451, 0);
    tried(a, 2, 1, 606, 0);
    finish(a);
    flip(1, 45, 3);
    flip(1, 46, 3);
    assert_rows("i.");
}

static void a_damaged_lease_lends_what_can_be_read(void **state)
{
    (void)state;
    struct attempts *a = begin();
    lease(a, "1-3,5");      /* line 0 */
    tried(a, 1, 1, 250, 0); /* 1 */
    finish(a);
    flip(0, 3, 0); /* its time */
    assert_rows("fll.l.");
    struct results *r = load(6);
    assert_int_equal(results_hidden_leases(r), 0);
    results_free(r);
    flip(0, 4, 0);
    assert_rows("fDD.D.");
    r = load(6);
    assert_int_equal(results_hidden_leases(r), 1);
    results_free(r);
    /* With a lease hidden, a damaged line stands for the row it names as well. */
    a = reopen();
    tried(a, 6, 1, 250, 0); /* 2 */
    finish(a);
    flip(2, 3, 0);
    assert_rows("fDD.DD");
    flip(2, 4, 0);
    assert_rows("fDD.DD");
}

static void a_damaged_cancel_is_obeyed(void **state)
{
    (void)state;
    struct attempts *a = begin();
    attempts_event(a, 7000, RUN_CANCELLED, SPAN("storm"));
    finish(a);
    flip(0, 3, 0);
    assert_rows("cc");
    flip(0, 4, 0);
    assert_rows("cc");
}

static void damage_is_set_aside_once(void **state)
{
    (void)state;
    struct fault f = {0};
    uint64_t n;
    struct attempts *a = begin();
    lease(a, "1-3");
    for (uint32_t row = 1; row <= 3; row++)
        tried(a, row, 1, 250, 0);
    finish(a);
    struct results *r = load(3);
    assert_true(results_set_aside(r, aside, &n, &f)); /* nothing to do, no file */
    assert_int_equal(n, 0);
    assert_int_equal(access(aside, F_OK), -1);
    results_free(r);
    flip(2, 30, 7); /* no UTF-8 any more */
    r = load(3);
    assert_true(results_set_aside(r, aside, &n, &f));
    assert_int_equal(n, 1);
    assert_true(results_set_aside(r, aside, &n, &f));
    assert_int_equal(n, 0);
    results_free(r);
    flip(1, 30, 0);
    r = load(3);
    assert_true(results_set_aside(r, aside, &n, &f));
    assert_int_equal(n, 1);
    struct buf got = slurp(aside);
    assert_non_null(strstr(buf_cstr(&got), "#hikyaku-damaged 1\noffset\tsize\tline\n"));
    assert_non_null(strstr(buf_cstr(&got), "\\x09")); /* TABs of the line itself */
    size_t whole = got.n;
    /* Torn at any byte, it is made whole again. */
    for (size_t cut = 0; cut < whole; cut++) {
        spill(aside, (struct span){got.p, cut});
        assert_true(results_set_aside(r, aside, &n, &f));
        assert_in_range(n, 1, 2);
        struct buf again = slurp(aside);
        assert_int_equal(again.n, whole);
        buf_finish(&again);
        assert_true(results_set_aside(r, aside, &n, &f));
        assert_int_equal(n, 0);
    }
    buf_finish(&got);
    results_free(r);
}

static ino_t inode(void)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_ino;
}

static void a_log_is_renewed_unless_it_ended(void **state)
{
    (void)state;
    struct fault f = {0};
    bool renewed;
    struct attempts *a = begin();
    lease(a, "1-3");
    tried(a, 1, 1, 250, 0);
    finish(a);
    struct buf before = slurp(path);
    ino_t old = inode();
    spill(fresh, SPAN("left by a process that died here"));
    assert_true(attempts_renew(path, &renewed, &f));
    assert_true(renewed);
    assert_int_not_equal(inode(), old);
    assert_int_equal(access(fresh, F_OK), -1);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    struct buf after = slurp(path);
    assert_true(span_equal(buf_span(&before), buf_span(&after)));
    buf_finish(&after);

    a = reopen();
    assert_true(attempts_end(a, 7000, RUN_STOPPED, &f));
    attempts_close(a);
    old = inode();
    assert_true(attempts_renew(path, &renewed, &f));
    assert_false(renewed);
    assert_int_equal(inode(), old);
    a = reopen(); /* a kill right behind the first half of a line */
    lease(a, "2");
    finish(a);
    after = slurp(path);
    spill(path, (struct span){after.p, after.n - 5});
    assert_true(attempts_renew(path, &renewed, &f));
    assert_true(renewed);
    struct buf cut = slurp(path);
    assert_true(cut.n < after.n - 5 && cut.p[cut.n - 1] == '\n');
    buf_finish(&cut);
    buf_finish(&after);
    buf_finish(&before);
}

/* From now on, files of this process may have so many bytes. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_IGN);
}

static void no_room_leaves_all_as_it_was(void **state)
{
    (void)state;
    struct fault f = {0};
    bool renewed = true;
    uint64_t n;
    struct attempts *a = begin();
    lease(a, "1-3");
    for (uint32_t row = 1; row <= 3; row++)
        tried(a, row, 1, 250, 0);
    finish(a);
    flip(2, 30, 0);
    struct buf before = slurp(path);
    ino_t old = inode();
    struct results *r = load(3);
    a = reopen();
    tried(a, 4, 1, 250, 0);
    limit_files(before.n - 1);
    assert_false(attempts_renew(path, &renewed, &f));
    assert_false(renewed);
    assert_int_equal(f.code, -20);
    assert_int_equal(access(fresh, F_OK), -1);
    assert_int_equal(inode(), old);
    f.code = 0; /* what cannot be written does not end cleanly */
    assert_false(attempts_end(a, 7000, RUN_STOPPED, &f));
    assert_int_equal(f.code, -20);
    limit_files(20);
    f.code = 0;
    assert_false(results_set_aside(r, aside, &n, &f));
    assert_int_equal(f.code, -20);
    limit_files(RLIM_INFINITY);
    f.code = 0;
    assert_false(attempts_end(a, 7000, RUN_STOPPED, &f)); /* nor later */
    attempts_close(a);
    struct buf after = slurp(path);
    assert_true(span_equal(buf_span(&before), buf_span(&after)));
    assert_true(results_set_aside(r, aside, &n, &f));
    assert_int_equal(n, 1);
    results_free(r);
    buf_finish(&after);
    buf_finish(&before);
}

static void what_is_no_log_is_not_renewed(void **state)
{
    (void)state;
    struct fault f = {0};
    assert_false(attempts_renew("/nowhere/attempts.tsv", NULL, &f));
    assert_int_equal(f.code, -20);
    spill(path, SPAN("something else\n"));
    f.code = 0;
    assert_false(attempts_renew(path, NULL, &f));
    assert_int_equal(f.code, -20);
    struct buf b = slurp(path);
    assert_string_equal(buf_cstr(&b), "something else\n");
    buf_finish(&b);
}

/* A small run of a job: what a row would be said to be if all of the log were there. */
enum { STORY_ROWS = 9 };

static void write_story(void)
{
    struct attempts *a = begin();
    tried(a, 9, 0, 550, 0); /* final from the start, never lent */
    lease(a, "1-3,7");
    tried(a, 1, 1, 250, 0);
    tried(a, 2, 1, 451, 0);
    lease(a, "4-6");
    tried(a, 3, 1, 550, 0);
    tried(a, 4, 1, 250, 0);
    lease(a, "2");
    tried(a, 7, 1, 625, FLAG_IN_DOUBT);
    tried(a, 2, 2, 250, 0);
    finish(a); /* and here it was killed: 5 and 6 are lent */
}

/* Is nothing of this row lost silently? `sent`: rows that were lent and have no
 * result. */
static bool accounted(const struct results *r, uint32_t row)
{
    struct row_history h = results_row(r, row);
    bool final = h.outcome < OUTCOME_RETRY;
    switch (row) {
    case 8:
        return !final && !h.leased && !h.in_doubt; /* never lent */
    case 5:
    case 6:
        return h.leased && !final;
    case 7: /* its flag must stay, or the row be in doubt */
        return !final && (h.leased || h.in_doubt);
    case 9:
        return true; /* never lent: nothing can have been sent */
    default:
        return final || h.leased;
    }
}

static void torn_anywhere(void **state)
{
    (void)state;
    write_story();
    struct buf whole = slurp(path), header = {0};
    attempts_header(&header);
    for (size_t cut = header.n; cut < whole.n; cut++) {
        spill(path, (struct span){whole.p, cut});
        struct results *torn = load(STORY_ROWS);
        struct row_history before[STORY_ROWS];
        for (uint32_t row = 1; row <= STORY_ROWS; row++)
            before[row - 1] = results_row(torn, row);
        assert_int_equal(results_damaged(torn), 0);
        results_free(torn);
        attempts_close(reopen()); /* cuts */
        struct results *r = load(STORY_ROWS);
        for (uint32_t row = 1; row <= STORY_ROWS; row++) {
            struct row_history h = results_row(r, row);
            assert_int_equal(h.outcome, before[row - 1].outcome);
            assert_int_equal(h.leased, before[row - 1].leased);
        }
        results_free(r);
    }
    buf_finish(&whole);
    buf_finish(&header);
}

static void flipped_anywhere(void **state)
{
    (void)state;
    write_story();
    struct buf whole = slurp(path), header = {0};
    attempts_header(&header);
    unsigned silent = 0;
    for (size_t at = header.n; at < whole.n - 1; at++) {
        for (int bit = 0; bit < 8; bit++) {
            whole.p[at] = (char)(whole.p[at] ^ (1 << bit));
            spill(path, buf_span(&whole));
            struct results *r = load(STORY_ROWS);
            assert_int_not_equal(results_damaged(r), 0);
            int doubted = 0;
            for (uint32_t row = 1; row <= STORY_ROWS; row++) {
                doubted += results_row(r, row).damaged;
                if (accounted(r, row))
                    continue;
                silent++;
                print_message("row %u, byte %zu, bit %d\n", row, at, bit);
            }
            assert_in_range(doubted, 0, 2); /* a broken newline: two lines */
            results_free(r);
            whole.p[at] = (char)(whole.p[at] ^ (1 << bit));
        }
    }
    assert_int_equal(silent, 0);
    buf_finish(&whole);
    buf_finish(&header);
}

/* Bits here and there, and stretches of zeros as a power loss leaves them, behind the
 * leases: nothing that was lent is forgotten. */
static void hurt_at_random(void **state)
{
    (void)state;
    struct attempts *a = begin();
    lease(a, "1-9");
    finish(a);
    struct buf front = slurp(path);
    a = reopen();
    for (uint32_t row = 1; row <= STORY_ROWS; row++)
        tried(a, row, 1, row % 3 == 0 ? 451 : row % 3 == 1 ? 250 : 550, 0);
    for (uint32_t row = 3; row <= STORY_ROWS; row += 3) {
        char one[2] = {(char)('0' + row), 0};
        lease(a, one);
        tried(a, row, 2, 250, 0);
    }
    finish(a);
    struct buf whole = slurp(path);
    char *hurt = malloc(whole.n);
    assert_non_null(hurt);
    struct rng rng = {7};
    for (int round = 0; round < 3000; round++) {
        memcpy(hurt, whole.p, whole.n);
        size_t end = whole.n - 1; /* not the last newline: that would be a torn tail */
        for (uint32_t i = rng_below(&rng, 6) + 1; i > 0; i--) {
            size_t at = front.n + rng_below(&rng, (uint32_t)(end - front.n));
            size_t n = rng_below(&rng, 4) ? 1 : rng_below(&rng, 700);
            if (n == 1)
                hurt[at] = (char)(hurt[at] ^ (1 << rng_below(&rng, 8)));
            else
                memset(hurt + at, 0, n < end - at ? n : end - at);
        }
        spill(path, (struct span){hurt, whole.n});
        struct results *r = load(STORY_ROWS);
        for (uint32_t row = 1; row <= STORY_ROWS; row++) {
            struct row_history h = results_row(r, row);
            /* Its second lease and result may both be gone, and then that is said. */
            bool told = h.outcome == OUTCOME_RETRY && results_hidden_leases(r) > 0;
            if (h.outcome >= OUTCOME_RETRY && !h.leased && !told)
                print_message("round %d, row %u\n", round, row);
            assert_true(h.outcome < OUTCOME_RETRY || h.leased || told);
        }
        results_free(r);
    }
    free(hurt);
    buf_finish(&front);
    buf_finish(&whole);
}

static void lease_from(struct attempts *a, const char *source, const char *ranges)
{
    struct attempt line;
    attempt_init(&line);
    line.time_ms = 5000;
    line.outcome = OUTCOME_LEASE;
    line.source = span_of(source);
    line.message = span_of(ranges);
    attempts_append(a, &line);
}

/* A row goes on from the address that it was lent to. */
static void test_the_last_source_is_known(void **state)
{
    (void)state;
    struct attempts *a = begin();
    lease_from(a, "a", "1-3");
    tried(a, 1, 1, 451, 0);
    tried(a, 3, 1, 250, 0);
    lease_from(a, "b", "1,3-9");
    tried(a, 1, 2, 451, 0);
    lease(a, "2"); /* by a run that let the system choose */
    finish(a);
    struct results *r = load(5);
    static const char *const want[] = {"b", "", "a", "b", "b"};
    for (uint32_t row = 1; row <= 5; row++)
        assert_string_equal(results_row(r, row).source, want[row - 1]);
    results_free(r);
    /* More names than there can be sources: the others are forgotten. */
    a = begin();
    for (uint32_t i = 1; i <= 256; i++) {
        char name[8], row[8];
        snprintf(name, sizeof name, "s%u", i);
        snprintf(row, sizeof row, "%u", i);
        lease_from(a, name, row);
    }
    finish(a);
    r = load(256);
    assert_string_equal(results_row(r, 1).source, "s1");
    assert_string_equal(results_row(r, 255).source, "s255");
    assert_string_equal(results_row(r, 256).source, "");
    results_free(r);
}

static void tried_from(struct attempts *a, const char *source, uint32_t attempt,
                       int code, const char *stage)
{
    struct attempt line;
    attempt_init(&line);
    line.time_ms = 6000 + attempt;
    line.row = 1;
    line.attempt = attempt;
    line.code = code;
    line.class = CLASS_BE;
    line.stage = stage;
    line.outcome = OUTCOME_RETRY;
    line.source = span_of(source);
    line.next_attempt_ms = 90000;
    attempts_append(a, &line);
}

/* Only the address that MAIL was answered to is one that a receiver knows. */
static void a_row_is_bound_where_mail_was_answered(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        int code;
        const char *stage, *bound;
    } story[] = {
        {"a", 421, "wait-opening", ""}, {"a", 450, "wait-rcpt", "a"},
        {"b", 601, "connect", "a"},     {"b", 642, "wait-from", "a"},
        {"c", 451, "wait-from", "c"},   {"", 451, "wait-from", "c"},
    };
    for (size_t n = 0; n < sizeof story / sizeof story[0]; n++) {
        struct attempts *a = begin();
        for (size_t i = 0; i <= n; i++) {
            lease_from(a, story[i].source, "1");
            tried_from(a, story[i].source, (uint32_t)i + 1, story[i].code,
                       story[i].stage);
        }
        lease_from(a, "d", "1"); /* and the run ended */
        finish(a);
        struct results *r = load(1);
        assert_string_equal(results_row(r, 1).source, "d");
        assert_string_equal(results_row(r, 1).bound, story[n].bound);
        results_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_source_is_known),
        cmocka_unit_test_teardown(a_row_is_bound_where_mail_was_answered, remove_files),
        cmocka_unit_test(ranges_are_read_whatever_they_are),
        cmocka_unit_test_teardown(lent_until_the_next_line, remove_files),
        cmocka_unit_test_teardown(a_clean_end_takes_rows_back, remove_files),
        cmocka_unit_test_teardown(times_of_a_row, remove_files),
        cmocka_unit_test_teardown(cancelled_and_taken_up_again, remove_files),
        cmocka_unit_test_teardown(no_stranger_speaks_for_the_job, remove_files),
        cmocka_unit_test_teardown(a_lost_result_is_damage, remove_files),
        cmocka_unit_test_teardown(a_missing_attempt_may_have_been_in_doubt,
                                  remove_files),
        cmocka_unit_test_teardown(a_decision_shows_it_too, remove_files),
        cmocka_unit_test_teardown(a_damaged_lease_lends_what_can_be_read, remove_files),
        cmocka_unit_test_teardown(a_damaged_cancel_is_obeyed, remove_files),
        cmocka_unit_test_teardown(damage_is_set_aside_once, remove_files),
        cmocka_unit_test_teardown(a_log_is_renewed_unless_it_ended, remove_files),
        cmocka_unit_test_teardown(no_room_leaves_all_as_it_was, remove_files),
        cmocka_unit_test_teardown(what_is_no_log_is_not_renewed, remove_files),
        cmocka_unit_test_teardown(torn_anywhere, remove_files),
        cmocka_unit_test_teardown(flipped_anywhere, remove_files),
        cmocka_unit_test_teardown(hurt_at_random, remove_files),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
