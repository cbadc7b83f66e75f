/* Arbitrary bytes as an attempts log. The reader gives no more lines than there are
 * newlines, no field with a control byte, and every line again at its offset; the
 * results add up and print; damage is set aside once; a renewed log folds to the same;
 * after open, a line appended to the rubbish is read back. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "report/attempts.h"
#include "report/results.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { ROWS = 20, TESTED_LINES = 64 };

static char path[] = "/dev/shm/hikyaku-fuzz-XXXXXX"; /* syncs cost nothing there */
static char aside[sizeof path + 8];

static void remove_file(void)
{
    unlink(path);
    unlink(aside);
}

/* The header, and then the input; each line with a right CRC when the first byte is
 * odd, so that the fuzzer need not find checksums. */
static void write_log(struct span input)
{
    struct buf file = {0};
    attempts_header(&file);
    bool right = input.n && input.p[0] & 1;
    while (input.n) {
        const char *newline = memchr(input.p, '\n', input.n);
        size_t n = newline ? (size_t)(newline - input.p) : input.n;
        buf_add(&file, input.p, n);
        if (right)
            buf_printf(&file, "\t%08x", crc32c(0, input.p, n));
        if (newline)
            buf_add_char(&file, '\n');
        n += newline != NULL;
        input.p += n;
        input.n -= n;
    }
    FILE *out = fopen(path, "wb");
    assert(out && fwrite(file.p, 1, file.n, out) == file.n);
    assert(fclose(out) == 0);
    buf_finish(&file);
}

static void check_fields(const struct attempt_line *line)
{
    for (int i = 0; i < ATTEMPT_COLUMN_COUNT; i++)
        for (size_t k = 0; k < line->column[i].n; k++)
            assert((unsigned char)line->column[i].p[k] >= 0x20);
}

/* Read all; returns good lines. *last_out is the row of the last one. */
static size_t read_all(size_t newlines, uint32_t *last_out)
{
    struct fault f = {0};
    struct attempts_reader *r = attempts_reader_open(path, &f);
    assert(r);
    struct attempt_line line, again;
    size_t good = 0, all = 0;
    uint64_t offsets[TESTED_LINES];
    uint32_t rows[TESTED_LINES];
    enum attempts_read what;
    while ((what = attempts_reader_next(r, &line)) != ATTEMPTS_END) {
        assert(what != ATTEMPTS_IO);
        all += what != ATTEMPTS_TORN;
        if (what != ATTEMPTS_LINE)
            continue;
        check_fields(&line);
        if (good < TESTED_LINES) {
            offsets[good] = line.offset;
            rows[good] = line.row;
        }
        good++;
        *last_out = line.row;
    }
    assert(all == newlines);
    for (size_t i = good < TESTED_LINES ? good : TESTED_LINES; i-- > 0;) {
        assert(attempts_reader_at(r, offsets[i], &again) == ATTEMPTS_LINE);
        assert(again.row == rows[i]);
    }
    attempts_reader_close(r);
    return good;
}

static struct span email(void *arg, uint32_t row)
{
    (void)row;
    return *(struct span *)arg;
}

/* Every row of a folded log in a few bytes; and what must hold of each. */
static void rows_of(const struct results *r, struct buf *out)
{
    for (uint32_t row = 1; row <= ROWS; row++) {
        struct row_history h = results_row(r, row);
        assert(!h.damaged || h.leased);
        assert(!h.leased || h.cancelled || h.outcome >= OUTCOME_RETRY);
        assert(!h.cancelled || (h.outcome == OUTCOME_ERROR && results_cancelled(r)));
        buf_printf(out, "%d %d%d%d ", (int)h.outcome, h.leased, h.damaged, h.in_doubt);
    }
}

static void check_resume(struct results *r)
{
    struct fault f = {0};
    uint64_t fresh = 0;
    struct buf before = {0}, after = {0};
    assert(results_set_aside(r, aside, &fresh, &f) && fresh <= results_damaged(r));
    assert(results_set_aside(r, aside, &fresh, &f) && fresh == 0);
    unlink(aside);
    rows_of(r, &before);
    bool renewed;
    assert(attempts_renew(path, &renewed, &f));
    assert(renewed == (results_end(r) == RUN_NONE));
    struct results *again = results_load(path, 1, ROWS, &f);
    assert(again);
    rows_of(again, &after);
    assert(span_equal(buf_span(&before), buf_span(&after)));
    results_free(again);
    buf_finish(&before);
    buf_finish(&after);
}

static void check_results(struct span input)
{
    struct fault f = {0};
    struct results *r = results_load(path, 1, ROWS, &f);
    assert(r);
    check_resume(r);
    struct totals t = results_totals(r);
    assert(t.rows == ROWS);
    for (int format = RESULTS_TSV; format <= RESULTS_JSONL; format++) {
        char *text = NULL;
        size_t n = 0;
        FILE *out = open_memstream(&text, &n);
        struct results_print how = {.format = (enum results_format)format,
                                    .codes = CODES_FIVE_DIGIT,
                                    .meaning = MEANING_JA,
                                    .email = email,
                                    .email_arg = &input};
        assert(results_print(r, out, &how, &f));
        fclose(out);
        size_t lines = 0;
        for (size_t i = 0; i < n; i++)
            lines += text[i] == '\n';
        assert(lines == (format == RESULTS_JSONL ? ROWS : ROWS + 1));
        free(text);
    }
    results_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static bool made;
    if (!made) {
        int fd = mkstemp(path);
        assert(fd >= 0);
        close(fd);
        snprintf(aside, sizeof aside, "%s.damaged", path);
        atexit(remove_file);
        made = true;
    }
    struct span input = {(const char *)data, n};
    size_t newlines = 0;
    for (size_t i = 0; i < n; i++)
        newlines += data[i] == '\n';
    write_log(input);
    uint32_t last = 0;
    size_t good = read_all(newlines, &last);
    assert(good <= newlines);
    check_results(input);

    struct fault f = {0};
    struct attempts *a = attempts_open(path, &f);
    assert(a);
    struct attempt more;
    attempt_init(&more);
    more.row = 4242;
    more.outcome = OUTCOME_RETRY;
    more.email = more.message = input;
    attempts_append(a, &more);
    assert(attempts_write(a, &f));
    attempts_close(a);
    assert(read_all(newlines + 1, &last) == good + 1 && last == 4242);
    return 0;
}
