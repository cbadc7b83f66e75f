/* attempts.tsv: what is appended is read back, whatever it holds; torn and damaged
 * lines are told apart; a file that failed is never trusted again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "report/attempts.h"
#include "report/field.h"

static char dir[] = "/tmp/hikyaku-attempts-XXXXXX";
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

static struct buf slurp(const char *name)
{
    struct buf b = {0};
    FILE *in = fopen(name, "rb");
    assert_non_null(in);
    size_t n;
    do {
        buf_reserve(&b, 65536);
        n = fread(b.p + b.n, 1, 65536, in);
        b.n += n;
    } while (n);
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

static struct attempts *fresh(void)
{
    struct fault f = {0};
    struct attempts *a = attempts_create(path, &f);
    assert_non_null(a);
    assert_int_equal(f.code, 0);
    return a;
}

static void finish(struct attempts *a)
{
    struct fault f = {0};
    assert_true(attempts_write(a, &f));
    assert_true(attempts_sync(a, &f));
    attempts_close(a);
}

static struct attempts_reader *reader(void)
{
    struct fault f = {0};
    struct attempts_reader *r = attempts_reader_open(path, &f);
    assert_non_null(r);
    return r;
}

static const struct attempt sample = {
    .time_ms = INT64_C(1795336756123),
    .row = 17,
    .email = {"taro@example.jp", 15},
    .attempt = 2,
    .code = 451,
    .class = CLASS_BE,
    .stage = "wait-rcpt",
    .outcome = OUTCOME_RETRY,
    .next_attempt_ms = INT64_C(1795338556007),
    .last_code = 450,
    .domain = {"example.jp", 10},
    .site = {"mx.example.jp", 13},
    .mx_host = {"mx1.example.jp", 14},
    .mx_address = {"192.0.2.7", 9},
    .source = {"a", 1},
    .flags = FLAG_IN_DOUBT | FLAG_REUSED,
    .message_id = {"<1@x>", 5},
    .timings_us = {[TIMING_DNS] = 12,
                   [TIMING_CONNECT] = 345,
                   [TIMING_STAGES + SMTP_OPENING] = -1,
                   [TIMING_STAGES + SMTP_HELO] = 0,
                   [TIMING_STAGES + SMTP_STARTTLS] = -1,
                   [TIMING_STAGES + SMTP_AUTH] = -1,
                   [TIMING_STAGES + SMTP_MAIL] = 7,
                   [TIMING_STAGES + SMTP_RCPT] = 8,
                   [TIMING_STAGES + SMTP_DATA] = 9,
                   [TIMING_STAGES + SMTP_BODY] = 1000,
                   [TIMING_STAGES + SMTP_END] = 2147483647,
                   [TIMING_STAGES + SMTP_RSET] = -1,
                   [TIMING_STAGES + SMTP_QUIT] = -1},
    .status = "4.7.1",
    .message = {"greylisted, come back", 21},
};

/* The bytes are the contract: docs/results.md. */
static void line_is_byte_exact(void **state)
{
    (void)state;
    struct attempts *a = fresh();
    attempts_append(a, &sample);
    struct attempt event;
    attempt_init(&event);
    event.time_ms = 5;
    event.outcome = OUTCOME_EVENT;
    event.code = -11;
    event.class = CLASS_LE;
    attempts_append(a, &event);
    assert_int_equal(attempts_lines(a), 2);
    finish(a);
    static const char head[] =
        "#hikyaku-attempts 1\n"
        "time\trow\temail\tattempt\tcode\tclass\tstage\toutcome\tnext_attempt\tlast_"
        "code\t"
        "domain\tsite\tmx_host\tmx_address\tsource\ttls\tflags\tmessage_id\ttimings\t"
        "status\tmessage\tcrc\n";
    static const char line[] =
        "2026-11-22T08:39:16.123Z\t17\ttaro@example.jp\t2\t451\tBE\twait-rcpt\tretry\t"
        "2026-11-22T09:09:16.007Z\t450\texample.jp\tmx.example.jp\tmx1.example.jp\t"
        "192.0.2.7\ta\t\tin-doubt,reused\t<1@x>\t"
        "dns=12,connect=345,helo=0,mail=7,rcpt=8,data=9,body=1000,end=2147483647\t4.7."
        "1\t"
        "greylisted, come back";
    static const char second[] =
        "1970-01-01T00:00:00.005Z\t0\t\t\t-11\tLE\t\tevent\t\t\t\t\t\t\t\t\t\t\t\t\t";
    struct buf want = {0};
    buf_printf(&want, "%s%s\t%08x\n%s\t%08x\n", head, line,
               crc32c(0, line, sizeof line - 1), second,
               crc32c(0, second, sizeof second - 1));
    struct buf got = slurp(path);
    assert_string_equal(buf_cstr(&got), buf_cstr(&want));
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    buf_finish(&want);
    buf_finish(&got);
}

/* Bytes that would like to be something else: field ends, line ends, terminal commands,
 * broken and overlong UTF-8, C1 controls, and innocent text between them. */
static struct span hostile(struct rng *rng, char *to, uint32_t max)
{
    static const char *const pieces[] = {
        "\t",
        "\n",
        "\r\n",
        "\\x09",
        "\\",
        "\x1b[2J",
        "\x7f",
        "\xff",
        "\xc2\x85",
        "\xc0\xaf",
        "\xe9\xa3\x9b",
        "\xf0\x9f\x98",
        "a",
        "\n2026-11-22T08:39:16.123Z\t1\ta@b\t1\t250\t-\twait-end\tdelivered\t",
        "plain words that fill a few machine words",
        "",
    };
    uint32_t n = 0;
    uint32_t aim = rng_below(rng, 4) ? rng_below(rng, 40) : rng_below(rng, max);
    while (n < aim) {
        if (rng_below(rng, 3) == 0) {
            to[n++] = (char)rng_next(rng); /* NUL too */
            continue;
        }
        struct span piece =
            span_of(pieces[rng_below(rng, sizeof pieces / sizeof pieces[0])]);
        if (n + piece.n > max)
            break;
        memcpy(to + n, piece.p, piece.n);
        n += (uint32_t)piece.n;
    }
    return (struct span){to, n};
}

static struct span cleaned(struct buf *b, struct span text, size_t max)
{
    buf_reserve(b, max);
    size_t start = b->n;
    b->n = (size_t)(field_write(b->p + start, text, max) - b->p);
    return (struct span){b->p + start, b->n - start};
}

static void assert_field(struct span got, struct span raw, size_t max)
{
    struct buf b = {0};
    struct span want = cleaned(&b, raw, max);
    assert_true(span_equal(got, want));
    for (size_t i = 0; i < got.n; i++)
        assert_true((unsigned char)got.p[i] >= 0x20 && got.p[i] != 0x7f);
    assert_true(utf8_valid(got));
    buf_finish(&b);
}

enum { TEXTS = 9, HOSTILE_MAX = 20000, ROUNDS = 300 };

static struct span *text_of(struct attempt *a, int i)
{
    struct span *const texts[TEXTS] = {&a->email,   &a->domain,     &a->site,
                                       &a->mx_host, &a->mx_address, &a->source,
                                       &a->tls,     &a->message_id, &a->message};
    return texts[i];
}

static const enum attempt_column text_columns[TEXTS] = {
    ATTEMPT_email,   ATTEMPT_domain,     ATTEMPT_site,
    ATTEMPT_mx_host, ATTEMPT_mx_address, ATTEMPT_source,
    ATTEMPT_tls,     ATTEMPT_message_id, ATTEMPT_message};

/* A random attempt made of `seed` alone, so that it can be made again to compare. */
static void make_attempt(uint64_t seed, struct attempt *a, char (*texts)[HOSTILE_MAX])
{
    struct rng rng = {seed};
    attempt_init(a);
    a->time_ms = (int64_t)(rng_next(&rng) % UINT64_C(4000000000000));
    a->row = (uint32_t)rng_next(&rng);
    a->attempt = rng_below(&rng, 3) ? rng_below(&rng, 50) : (uint32_t)rng_next(&rng);
    a->code = (int)rng_below(&rng, 2 * ATTEMPT_CODE_MAX) - ATTEMPT_CODE_MAX;
    a->last_code = (int)rng_below(&rng, 700);
    a->class = (enum code_class)rng_below(&rng, CLASS_EITHER);
    a->stage = rng_below(&rng, 2) ? "wait-end" : NULL;
    a->outcome = (enum outcome)(rng_below(&rng, OUTCOME_LEASE) + 1);
    if (rng_below(&rng, 2))
        a->next_attempt_ms = a->time_ms + rng_below(&rng, 100000000) + 1;
    a->flags = rng_below(&rng, 32);
    a->status = rng_below(&rng, 2) ? "5.1.1" : "";
    for (int i = 0; i < TIMING_COUNT; i++)
        a->timings_us[i] = rng_below(&rng, 2) ? -1 : (int32_t)(rng_next(&rng) >> 33);
    for (int i = 0; i < TEXTS; i++)
        *text_of(a, i) = hostile(&rng, texts[i], HOSTILE_MAX);
}

static void what_is_appended_is_read_back(void **state)
{
    (void)state;
    struct attempts *a = fresh();
    char(*texts)[HOSTILE_MAX] = mem_alloc(TEXTS * sizeof *texts);
    struct attempt attempt;
    uint64_t offsets[ROUNDS];
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        make_attempt(seed, &attempt, texts);
        attempts_append(a, &attempt);
        struct fault f = {0};
        if (seed % 7 == 0)
            assert_true(attempts_write(a, &f));
    }
    finish(a);

    struct buf file = slurp(path);
    size_t newlines = 0;
    for (size_t i = 0; i < file.n; i++)
        newlines += file.p[i] == '\n';
    assert_int_equal(newlines, ROUNDS + 2);
    buf_finish(&file);

    struct attempts_reader *r = reader();
    struct attempt_line line;
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        make_attempt(seed, &attempt, texts);
        assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_LINE);
        assert_int_equal(line.row, attempt.row);
        assert_int_equal(line.attempt, attempt.attempt);
        assert_int_equal(line.code, attempt.code);
        assert_int_equal(line.last_code, attempt.last_code);
        assert_int_equal(line.outcome, attempt.outcome);
        assert_int_equal(line.time_ms, attempt.time_ms);
        assert_int_equal(line.next_attempt_ms, attempt.next_attempt_ms);
        assert_int_equal(attempt_flags_parse(line.column[ATTEMPT_flags]),
                         attempt.flags);
        for (int i = 0; i < TEXTS; i++)
            assert_field(line.column[text_columns[i]], *text_of(&attempt, i),
                         i == TEXTS - 1 ? ATTEMPT_MESSAGE_MAX : ATTEMPT_TEXT_MAX);
        offsets[seed] = line.offset;
    }
    assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_END);
    struct rng rng = {1};
    for (int i = 0; i < ROUNDS; i++) { /* and in any order, by offset */
        uint64_t seed = rng_below(&rng, ROUNDS);
        make_attempt(seed, &attempt, texts);
        assert_int_equal(attempts_reader_at(r, offsets[seed], &line), ATTEMPTS_LINE);
        assert_int_equal(line.row, attempt.row);
        assert_int_equal(line.offset, offsets[seed]);
    }
    attempts_reader_close(r);
    free(texts);
}

static void safe_text_stays_as_it_is(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *want;
    } cases[] = {
        {"", ""},
        {"abc", "abc"},
        {"eight by", "eight by"},
        {"back\\slash", "back\\slash"},
        {"\x01", "\\x01"},
        {"a tab\there and more", "a tab\\x09here and more"},
        {"at the end\r\n", "at the end\\x0d\\x0a"},
        {"del \x7f", "del \\x7f"},
        {"飛脚", "飛脚"},
        {"C1 \xc2\x85 and \xc2\xa0", "C1 \\xc2\\x85 and \xc2\xa0"},
        {"\xe9\xa3", "\\xe9\\xa3"},
        {"long enough for words \xff.", "long enough for words \\xff."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b = {0};
        struct span once = cleaned(&b, span_of(cases[i].raw), 100);
        assert_int_equal(once.n, strlen(cases[i].want));
        assert_memory_equal(once.p, cases[i].want, once.n);
        assert_true(field_line_good(once));
        struct buf again = {0};
        assert_true(span_equal(cleaned(&again, once, 100), once));
        buf_finish(&b);
        buf_finish(&again);
    }
    struct buf b = {0}; /* cut between characters and escapes */
    assert_int_equal(cleaned(&b, span_of("飛脚"), 5).n, 3);
    assert_int_equal(cleaned(&b, span_of("ab\n"), 5).n, 2);
    assert_int_equal(cleaned(&b, span_of("abcdefghij"), 9).n, 9);
    buf_finish(&b);
    assert_true(field_line_good(SPAN("a\tb\t\tlonger than eight\t")));
    assert_false(field_line_good(SPAN("a\tb\r\tlonger than eight\t")));
    assert_false(field_line_good(SPAN("longer than eight \x7f")));
    assert_false(field_line_good(SPAN("\xc2\x9b")));
    assert_true(field_line_good(SPAN("宛先\tlonger")));
}

static struct buf three_lines(void)
{
    struct attempts *a = fresh();
    for (uint32_t row = 1; row <= 3; row++) {
        struct attempt line = sample;
        line.row = row;
        attempts_append(a, &line);
    }
    finish(a);
    return slurp(path);
}

static size_t line_ends(struct span text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == '\n';
    return n;
}

/* A file cut anywhere: whole lines count, the rest is torn; after open it can be
 * written to, and is good again. */
static void torn_tails(void **state)
{
    (void)state;
    struct buf whole = three_lines();
    struct buf head = {0};
    attempts_header(&head);
    for (size_t n = 0; n < whole.n; n++) {
        struct span part = {whole.p, n};
        spill(path, part);
        struct fault f = {0};
        struct attempts_reader *r = attempts_reader_open(path, &f);
        struct attempts *a = attempts_open(path, &f);
        if (n < head.n) {
            assert_null(r);
            assert_null(a);
            assert_int_equal(f.code, -20);
            continue;
        }
        size_t lines = line_ends(part) - 2;
        struct attempt_line line;
        for (uint32_t row = 1; row <= lines; row++) {
            assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_LINE);
            assert_int_equal(line.row, row);
        }
        if (part.p[n - 1] != '\n')
            assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_TORN);
        assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_END);
        attempts_reader_close(r);

        struct attempt more = sample;
        more.row = 99;
        attempts_append(a, &more);
        finish(a);
        r = reader();
        for (uint32_t row = 1; row <= lines; row++)
            assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_LINE);
        assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_LINE);
        assert_int_equal(line.row, 99);
        assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_END);
        attempts_reader_close(r);
    }
    buf_finish(&whole);
    buf_finish(&head);
}

/* One flipped bit anywhere in the middle line damages that line, or joins it to the
 * next one, or splits it; the other lines are read. */
static void flipped_bits(void **state)
{
    (void)state;
    struct buf whole = three_lines();
    struct buf head = {0};
    attempts_header(&head);
    size_t each = (whole.n - head.n) / 3;
    size_t start = head.n + each;
    for (size_t i = start; i < start + each; i++) {
        for (int bit = 0; bit < 8; bit++) {
            whole.p[i] = (char)(whole.p[i] ^ 1 << bit);
            spill(path, buf_span(&whole));
            struct attempts_reader *r = reader();
            struct attempt_line line;
            int damaged = 0, rows = 0;
            for (enum attempts_read what;
                 (what = attempts_reader_next(r, &line)) != ATTEMPTS_END;) {
                if (what == ATTEMPTS_DAMAGED)
                    damaged++;
                else if (what == ATTEMPTS_LINE)
                    rows += (int)(line.row * line.row);
                else
                    fail();
            }
            bool joined = i == start + each - 1; /* its newline was hit */
            bool split = whole.p[i] == '\n';
            assert_int_equal(rows, joined ? 1 : 1 + 9);
            assert_int_equal(damaged, split ? 2 : 1);
            attempts_reader_close(r);
            whole.p[i] = (char)(whole.p[i] ^ 1 << bit);
        }
    }
    buf_finish(&whole);
    buf_finish(&head);
}

/* A right CRC does not make a wrong line right. */
static void forged_lines(void **state)
{
    (void)state;
    static const char good[] = "2026-11-22T08:39:16.123Z\t1\ta@b\t1\t250\t-\twait-"
                               "end\tdelivered\t\t\t\t\t\t\t\t"
                               "\t\t\t\t\tok";
    static const struct {
        const char *from, *to;
    } changes[] = {
        {"\t1\ta@b", "\t\ta@b"},
        {"\t1\ta@b", "\t-1\ta@b"},
        {"\t1\ta@b", "\t4294967296\ta@b"},
        {"\t1\ta@b", "\t1x\ta@b"},
        {"250", "12345"},
        {"250", "-"},
        {"delivered", "Delivered"},
        {"delivered", ""},
        {"2026-", "2026/"},
        {".123Z", ".12Z"},
        {".123Z", ".123z"},
        {"\tok", "\tok\tok"},
        {"\tok", "ok"},
        {"\tok", "\to\x1bk"},
        {"\tok", "\t\xff"},
        {"a@b", "a@b\r"},
    };
    struct buf file = {0};
    attempts_header(&file);
    buf_printf(&file, "%s\t%08x\n", good, crc32c(0, good, sizeof good - 1));
    enum { CHANGES = sizeof changes / sizeof changes[0] };
    for (size_t i = 0; i < CHANGES; i++) {
        const char *at = strstr(good, changes[i].from);
        assert_non_null(at);
        struct buf line = {0};
        buf_add(&line, good, (size_t)(at - good));
        buf_add_str(&line, changes[i].to);
        buf_add_str(&line, at + strlen(changes[i].from));
        uint32_t crc = crc32c(0, line.p, line.n);
        buf_printf(&file, "%s\t%08x\n", buf_cstr(&line), crc);
        buf_finish(&line);
    }
    for (int i = 0; i < 3 * ATTEMPT_LINE_MAX; i++) /* far too long */
        buf_add_char(&file, 'x');
    buf_printf(&file, "\n%s\t%08X\n", good, 0xabcdefu); /* CRC wrong, in capitals */
    buf_printf(&file, "%s\t%08x\n", good, crc32c(0, good, sizeof good - 1));
    spill(path, buf_span(&file));
    struct attempts_reader *r = reader();
    struct attempt_line line;
    assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_LINE);
    for (size_t i = 0; i < CHANGES + 2; i++) {
        assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_DAMAGED);
        uint64_t offset = line.offset;
        assert_int_equal(attempts_reader_at(r, offset, &line), ATTEMPTS_DAMAGED);
    }
    assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_LINE);
    assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_END);
    attempts_reader_close(r);
    buf_finish(&file);
}

static void add_right_line(struct buf *file, size_t message)
{
    struct buf line = {0};
    buf_add_str(&line, "2026-11-22T08:39:16.123Z\t1\ta@b\t1\t250\t-\twait-end\t"
                       "delivered\t\t\t\t\t\t\t\t\t\t\t\t\t");
    for (size_t i = 0; i < message; i++)
        buf_add_char(&line, 'x');
    uint32_t crc = crc32c(0, line.p, line.n);
    buf_add_span(file, buf_span(&line));
    buf_printf(file, "\t%08x\n", crc);
    buf_finish(&line);
}

/* No line is longer than ATTEMPT_LINE_MAX, nor is the end of a giant one a line of its
 * own, wherever the reader's window ends in it. */
static void giant_lines(void **state)
{
    (void)state;
    for (size_t size = 64 * 1024; size <= 1024 * 1024; size *= 2) {
        struct buf file = {0};
        attempts_header(&file);
        add_right_line(&file, ATTEMPT_LINE_MAX);
        while (file.n < size)
            buf_add_char(&file, 'x');
        add_right_line(&file, 10);
        add_right_line(&file, 20);
        size_t good = file.n;
        while (file.n < good + size)
            buf_add_char(&file, 'x');
        spill(path, buf_span(&file));
        struct attempts_reader *r = reader();
        struct attempt_line line;
        assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_DAMAGED);
        assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_DAMAGED);
        assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_LINE);
        assert_int_equal(line.column[ATTEMPT_message].n, 20);
        assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_TORN);
        assert_int_equal(line.offset, good);
        assert_int_equal(attempts_reader_next(r, &line), ATTEMPTS_END);
        attempts_reader_close(r);
        struct fault f = {0};
        attempts_close(attempts_open(path, &f)); /* cuts a long tail too */
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, good);
        buf_finish(&file);
    }
}

static void create_and_open_refuse(void **state)
{
    (void)state;
    struct fault f = {0};
    assert_null(attempts_open(path, &f));
    assert_int_equal(f.code, -20);
    attempts_close(fresh());
    f = (struct fault){0};
    assert_null(attempts_create(path, &f)); /* never over an old journal */
    assert_int_equal(f.code, -20);
    assert_non_null(strstr(f.words, "File exists"));
    spill(path, SPAN("#hikyaku-attempts 2\ntime\n"));
    f = (struct fault){0};
    assert_null(attempts_open(path, &f));
    assert_int_equal(f.code, -20);
    f = (struct fault){0};
    assert_null(attempts_reader_open(path, &f));
    assert_int_equal(f.code, -20);
}

/* A write that fails half-way poisons the object: not even a write that would succeed
 * follows, for its line would stand behind a torn one. */
static void failed_write_poisons(void **state)
{
    (void)state;
    struct attempts *a = fresh();
    attempts_append(a, &sample);
    struct fault f = {0};
    assert_true(attempts_write(a, &f));
    struct stat st;
    assert_int_equal(stat(path, &st), 0);

    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit tight = {(rlim_t)st.st_size + 100, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    attempts_append(a, &sample);
    bool written = attempts_write(a, &f);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_false(written);
    assert_int_equal(f.code, -20);
    assert_non_null(strstr(f.words, "File too large"));

    attempts_append(a, &sample);
    f = (struct fault){0};
    assert_false(attempts_write(a, &f));
    assert_int_equal(f.code, -20);
    f = (struct fault){0};
    assert_false(attempts_sync(a, &f));
    assert_int_equal(f.code, -20);
    attempts_close(a);
    struct stat now;
    assert_int_equal(stat(path, &now), 0);
    assert_int_equal(now.st_size, st.st_size + 100);

    a = attempts_open(path, &f); /* the next start cuts the torn line and goes on */
    assert_non_null(a);
    attempts_close(a);
    assert_int_equal(stat(path, &now), 0);
    assert_int_equal(now.st_size, st.st_size);
}

enum meddling { RENAMED, REMOVED, REPLACED, CUT, ADDED, MEDDLINGS };

static void meddle(enum meddling what)
{
    char other[sizeof path + 4];
    snprintf(other, sizeof other, "%s.1", path);
    struct buf copy = slurp(path);
    if (what == RENAMED || what == REPLACED)
        assert_int_equal(rename(path, other), 0);
    if (what == REPLACED)
        spill(path, buf_span(&copy));
    if (what == REMOVED)
        unlink(path);
    if (what == CUT)
        assert_int_equal(truncate(path, (off_t)copy.n - 1), 0);
    if (what == ADDED) {
        FILE *out = fopen(path, "a");
        fputs("no newline", out);
        fclose(out);
    }
    unlink(other);
    buf_finish(&copy);
}

/* The disk says no, for as long as it is told to. */
static bool sync_fails;
int fdatasync(int fd)
{
    if (!sync_fails)
        return fsync(fd);
    errno = EIO;
    return -1;
}

/* Whoever comes behind a failed sync, on whatever thread, has its words. */
static void failed_sync_poisons(void **state)
{
    (void)state;
    struct fault f = {0};
    unlink(path);
    struct attempts *a = attempts_create(path, &f);
    assert_non_null(a);
    struct attempt line;
    attempt_init(&line);
    line.outcome = OUTCOME_EVENT;
    attempts_append(a, &line);
    assert_true(attempts_write(a, &f));
    sync_fails = true;
    assert_false(attempts_sync(a, &f));
    sync_fails = false;
    assert_int_equal(f.code, -20);
    assert_non_null(strstr(f.words, "cannot sync \""));
    struct fault later = {0}, again = {0};
    attempts_append(a, &line);
    assert_false(attempts_write(a, &later));
    assert_string_equal(later.words, f.words);
    assert_false(attempts_sync(a, &again)); /* it would succeed now */
    assert_string_equal(again.words, f.words);
    attempts_close(a);
}

static void somebody_else_changed_the_file(void **state)
{
    (void)state;
    for (int what = RENAMED; what < MEDDLINGS; what++) {
        unlink(path);
        struct attempts *a = fresh();
        attempts_append(a, &sample);
        struct fault f = {0};
        assert_true(attempts_write(a, &f));
        meddle((enum meddling)what);
        assert_true(attempts_write(a, &f)); /* nothing to write */
        attempts_append(a, &sample);
        assert_false(attempts_write(a, &f));
        assert_int_equal(f.code, -20);
        assert_false(attempts_sync(a, &f));
        attempts_close(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(line_is_byte_exact, remove_file),
        cmocka_unit_test_teardown(what_is_appended_is_read_back, remove_file),
        cmocka_unit_test(safe_text_stays_as_it_is),
        cmocka_unit_test_teardown(torn_tails, remove_file),
        cmocka_unit_test_teardown(flipped_bits, remove_file),
        cmocka_unit_test_teardown(forged_lines, remove_file),
        cmocka_unit_test_teardown(giant_lines, remove_file),
        cmocka_unit_test_teardown(create_and_open_refuse, remove_file),
        cmocka_unit_test_teardown(failed_write_poisons, remove_file),
        cmocka_unit_test_teardown(failed_sync_poisons, remove_file),
        cmocka_unit_test_teardown(somebody_else_changed_the_file, remove_file),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
