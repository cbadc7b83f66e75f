#include "report/attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "base/text.h"
#include "report/disk.h"
#include "report/field.h"

enum {
    READ_WINDOW = 512 * 1024, /* read at once by next() */
    READ_AT = 4 * 1024, /* by at(): some ten lines, as neighbours are asked next */
    SECOND_LEN = 20,    /* "2026-11-22T08:39:16." */
    CRC_LEN = 8,
};
_Static_assert(READ_WINDOW >= 2 * ATTEMPT_LINE_MAX, "a whole line fits in the window");

/* Bytes of the file, from `base` on. */
struct window {
    char *p;
    size_t n, cap;
    uint64_t base;
};

struct second {
    char text[SECOND_LEN];
    int64_t ms;
};

struct attempts_reader {
    int fd;
    struct window next;               /* the window of next() */
    size_t used;                      /* bytes of it that were handed out */
    struct window at;                 /* the window of at() */
    struct second time, next_attempt; /* parsed last; most lines share it */
};

static bool number(struct span text, uint32_t max, uint32_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(text.p[i] - '0');
        if (v > max)
            return false;
    }
    *out = (uint32_t)v;
    return true; /* an empty field is 0 */
}

static bool code_number(struct span text, int *out)
{
    bool minus = text.n > 1 && text.p[0] == '-';
    if (minus) {
        text.p++;
        text.n--;
    }
    uint32_t v;
    if (!number(text, ATTEMPT_CODE_MAX, &v))
        return false;
    *out = minus ? -(int)v : (int)v;
    return true;
}

static bool parse_time(struct span text, struct second *cache, int64_t *ms_out)
{
    uint32_t ms = 0;
    if (text.n != RFC3339_MS_LEN)
        return false;
    if (memcmp(text.p, cache->text, SECOND_LEN) == 0) {
        if (text.p[RFC3339_MS_LEN - 1] != 'Z' ||
            !number((struct span){text.p + SECOND_LEN, 3}, 999, &ms))
            return false;
        *ms_out = cache->ms + ms;
        return true;
    }
    if (!time_rfc3339_ms_parse(text, ms_out))
        return false;
    number((struct span){text.p + SECOND_LEN, 3}, 999, &ms);
    memcpy(cache->text, text.p, SECOND_LEN);
    cache->ms = *ms_out - ms;
    return true;
}

static bool parse_outcome(struct span word, enum outcome *out)
{
    for (int o = OUTCOME_DELIVERED; o <= OUTCOME_LEASE; o++) {
        if (span_equal(word, span_of(outcome_word((enum outcome)o)))) {
            *out = (enum outcome)o;
            return true;
        }
    }
    return false;
}

/* The CRC is of the line before its last TAB. */
static bool crc_good(struct span line)
{
    if (line.n < CRC_LEN + 1 || line.p[line.n - CRC_LEN - 1] != '\t')
        return false;
    uint32_t want = 0;
    for (size_t i = line.n - CRC_LEN; i < line.n; i++) {
        char c = line.p[i];
        if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
            return false;
        want = want << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return crc32c(0, line.p, line.n - CRC_LEN - 1) == want;
}

static bool split(struct span text, struct span column[ATTEMPT_COLUMN_COUNT])
{
    const char *p = text.p;
    const char *end = text.p + text.n;
    for (int i = 0; i < ATTEMPT_crc; i++) {
        const char *start = p;
        while (p < end && *p != '\t')
            p++;
        if (p == end)
            return false;
        column[i] = (struct span){start, (size_t)(p - start)};
        p++;
    }
    column[ATTEMPT_crc] = (struct span){p, (size_t)(end - p)};
    return memchr(p, '\t', (size_t)(end - p)) == NULL;
}

/* The line without its newline. */
static enum attempts_read parse(struct attempts_reader *r, struct span line,
                                uint64_t offset, struct attempt_line *out)
{
    out->offset = offset;
    out->size = line.n;
    out->text = line;
    const struct span *c = out->column;
    bool good = line.n < ATTEMPT_LINE_MAX && crc_good(line) && field_line_good(line) &&
                split(line, out->column) && c[ATTEMPT_row].n > 0 &&
                number(c[ATTEMPT_row], UINT32_MAX, &out->row) &&
                number(c[ATTEMPT_attempt], UINT32_MAX, &out->attempt) &&
                code_number(c[ATTEMPT_code], &out->code) &&
                code_number(c[ATTEMPT_last_code], &out->last_code) &&
                parse_outcome(c[ATTEMPT_outcome], &out->outcome) &&
                parse_time(c[ATTEMPT_time], &r->time, &out->time_ms);
    out->next_attempt_ms = 0;
    if (good && c[ATTEMPT_next_attempt].n)
        good = parse_time(c[ATTEMPT_next_attempt], &r->next_attempt,
                          &out->next_attempt_ms);
    return good ? ATTEMPTS_LINE : ATTEMPTS_DAMAGED;
}

bool attempt_form(struct span text, struct attempt_line *out)
{
    *out = (struct attempt_line){.size = text.n, .text = text};
    const struct span *c = out->column;
    return split(text, out->column) && c[ATTEMPT_row].n > 0 &&
           number(c[ATTEMPT_row], UINT32_MAX, &out->row) &&
           code_number(c[ATTEMPT_code], &out->code) &&
           parse_outcome(c[ATTEMPT_outcome], &out->outcome);
}

/* Read more behind what the window holds: 1, 0 at the end of the file, -1 and errno. */
static int read_more(int fd, struct window *w)
{
    for (;;) {
        ssize_t n = pread(fd, w->p + w->n, w->cap - w->n, (off_t)(w->base + w->n));
        if (n < 0 && errno == EINTR)
            continue;
        if (n > 0)
            w->n += (size_t)n;
        return n > 0 ? 1 : (int)n;
    }
}

/* Forget what was handed out, and read more. */
static int slide(struct attempts_reader *r)
{
    struct window *w = &r->next;
    memmove(w->p, w->p + r->used, w->n - r->used);
    w->n -= r->used;
    w->base += r->used;
    r->used = 0;
    return read_more(r->fd, w);
}

enum attempts_read attempts_reader_next(struct attempts_reader *r,
                                        struct attempt_line *out)
{
    struct window *w = &r->next;
    bool too_long = false;
    uint64_t offset = w->base + r->used;
    for (;;) {
        const char *start = w->p + r->used;
        size_t n = w->n - r->used;
        const char *newline = memchr(start, '\n', n);
        if (newline) {
            size_t length = (size_t)(newline - start);
            r->used += length + 1;
            if (!too_long)
                return parse(r, (struct span){start, length}, offset, out);
            out->offset = offset;
            out->size = w->base + r->used - 1 - offset;
            out->text = (struct span){0};
            return ATTEMPTS_DAMAGED;
        }
        if (n >= ATTEMPT_LINE_MAX) {
            too_long = true;
            r->used = w->n;
        }
        int more = slide(r);
        if (more < 0)
            return ATTEMPTS_IO;
        if (more == 0) {
            out->offset = offset;
            r->used = w->n;
            out->size = w->base + w->n - offset;
            return too_long || n > 0 ? ATTEMPTS_TORN : ATTEMPTS_END;
        }
    }
}

/* The line at offset, when the window holds all of it. */
static const char *whole_line(const struct window *w, uint64_t offset, size_t *n_out)
{
    if (offset < w->base || offset - w->base >= w->n)
        return NULL;
    const char *start = w->p + (offset - w->base);
    size_t n = w->n - (size_t)(offset - w->base);
    const char *newline = memchr(start, '\n', n);
    *n_out = newline ? (size_t)(newline - start) : 0;
    return newline ? start : NULL;
}

enum attempts_read attempts_reader_at(struct attempts_reader *r, uint64_t offset,
                                      struct attempt_line *out)
{
    struct window *w = &r->at;
    size_t n;
    const char *line = whole_line(w, offset, &n);
    if (!line) {
        w->base = offset;
        w->n = 0;
        w->cap = READ_AT;
    }
    while (!line) {
        if (w->n == w->cap) {
            if (w->cap >= ATTEMPT_LINE_MAX)
                return ATTEMPTS_DAMAGED;
            w->cap *= 2; /* the memory is there */
        }
        int more = read_more(r->fd, w);
        if (more < 0)
            return ATTEMPTS_IO;
        if (more == 0)
            return w->n ? ATTEMPTS_TORN : ATTEMPTS_END;
        line = whole_line(w, offset, &n);
    }
    return parse(r, (struct span){line, n}, offset, out);
}

bool attempts_reader_raw(const struct attempts_reader *r, uint64_t offset, char *p,
                         size_t n)
{
    return disk_read_at(r->fd, p, n, offset);
}

void attempts_reader_close(struct attempts_reader *r)
{
    if (!r)
        return;
    if (r->fd >= 0)
        close(r->fd);
    free(r->next.p);
    free(r->at.p);
    free(r);
}

/* Pass over the first two lines; false if they are not those of an attempts log. */
static bool skip_header(struct attempts_reader *r)
{
    struct buf want = {0};
    attempts_header(&want);
    int more = 1;
    while (r->next.n < want.n && more > 0)
        more = read_more(r->fd, &r->next);
    bool good =
        r->next.n >= want.n && memcmp(r->next.p, want.p, want.n) == 0 && more >= 0;
    r->used = want.n;
    buf_finish(&want);
    return good;
}

struct attempts_reader *attempts_reader_open(const char *path, struct fault *f)
{
    struct attempts_reader *r = mem_zero(1, sizeof *r);
    r->next = (struct window){.p = mem_alloc(READ_WINDOW), .cap = READ_WINDOW};
    r->at = (struct window){.p = mem_alloc(ATTEMPT_LINE_MAX), .cap = READ_AT};
    r->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0)
        fault_set(f, -20, "cannot open \"%s\": %s", path, strerror(errno));
    else if (!skip_header(r))
        fault_set(f, -20, "\"%s\" is no attempts log", path);
    else
        return r;
    attempts_reader_close(r);
    return NULL;
}
