#include "report/attempts.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "base/text.h"
#include "report/disk.h"
#include "report/field.h"

const char *const attempt_column_names[ATTEMPT_COLUMN_COUNT] = {
#define X(name) [ATTEMPT_##name] = #name,
    ATTEMPT_COLUMNS(X)
#undef X
};

/* clang-format off */
static const struct { unsigned flag; struct span word; } flag_words[] = {
    {FLAG_IN_DOUBT,  {"in-doubt", 8}},
    {FLAG_ASSUMED,   {"assumed", 7}},
    {FLAG_REUSED,    {"reused", 6}},
    {FLAG_REHEARSAL, {"rehearsal", 9}},
    {FLAG_RELAY,     {"relay", 5}},
};
enum { FLAG_WORDS = sizeof flag_words / sizeof flag_words[0] };

/* Words of the timings column with their equals sign. */
static const struct span timing_words[TIMING_COUNT] = {
    [TIMING_DNS] = {"dns=", 4},
    [TIMING_CONNECT] = {"connect=", 8},
#define X(name, waiting, sending, key, ...) \
    [TIMING_STAGES + SMTP_##name] = {#key "=", sizeof #key},
    SMTP_STAGES(X)
#undef X
};
/* clang-format on */

enum {
    SECOND_LEN = 20,     /* "2026-11-22T08:39:16." */
    NUMBERS_ROOM = 2048, /* all that is neither text nor message, and the TABs */
    TEXT_FIELDS = 11,    /* email, stage, domain … message_id, status */
    TAIL_CHUNK = 64 * 1024,
};
_Static_assert(TEXT_FIELDS *ATTEMPT_TEXT_MAX + ATTEMPT_MESSAGE_MAX + NUMBERS_ROOM <=
                   ATTEMPT_LINE_MAX,
               "every line fits");

/* A second as text: most lines share it with the line before. */
struct second {
    int64_t second;
    char text[SECOND_LEN];
};

struct attempts {
    int fd;
    char *path;
    struct buf buf;
    uint64_t lines;
    struct second time, next_attempt;
    dev_t device; /* of the file that was opened: another one in its place is no journal
                   */
    ino_t inode;
    off_t size;     /* all that was written and is believed */
    off_t reserved; /* the file system has kept room up to here */
    /* What failed, and its words, which are there before: each of the two threads that
     * write and sync has its own. */
    atomic_bool write_failed, sync_failed;
    struct fault write_fault, sync_fault;
};

static bool is_broken(const struct attempts *a)
{
    return a->write_failed || a->sync_failed;
}

/* Nothing is trusted any more; the reason is the first one's. */
static bool fail_again(const struct attempts *a, struct fault *f)
{
    const struct fault *why = a->write_failed ? &a->write_fault : &a->sync_fault;
    return fault_set(f, why->code, "%s", why->words);
}

void attempt_init(struct attempt *a)
{
    *a = (struct attempt){0};
    for (int i = 0; i < TIMING_COUNT; i++)
        a->timings_us[i] = -1;
}

void attempts_header(struct buf *out)
{
    buf_add_str(out, ATTEMPTS_MAGIC);
    for (int i = 0; i < ATTEMPT_COLUMN_COUNT; i++) {
        buf_add_char(out, i ? '\t' : '\n');
        buf_add_str(out, attempt_column_names[i]);
    }
    buf_add_char(out, '\n');
}

/* The pieces of a line. Each writes at `to` and returns the end of what it wrote; room
 * for the longest line was made before. */

static char *put(char *to, struct span s)
{
    memcpy(to, s.p, s.n);
    return to + s.n;
}

static char *put_number(char *to, uint32_t v)
{
    char digits[10];
    int i = sizeof digits;
    do {
        digits[--i] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    return put(to, (struct span){digits + i, sizeof digits - (size_t)i});
}

static char *put_code(char *to, int code)
{
    assert(code >= -ATTEMPT_CODE_MAX && code <= ATTEMPT_CODE_MAX);
    if (code == 0)
        return to;
    if (code < 0)
        *to++ = '-';
    return put_number(to, (uint32_t)abs(code));
}

static char *put_word(char *to, const char *word)
{
    return word ? field_write(to, span_of(word), ATTEMPT_TEXT_MAX) : to;
}

static char *put_time(char *to, struct second *cache, int64_t ms)
{
    int64_t second = ms / 1000;
    int rest = (int)(ms % 1000);
    if (rest < 0) {
        rest += 1000;
        second--;
    }
    if (second != cache->second) {
        char text[RFC3339_MS_LEN];
        time_rfc3339_ms(ms, text);
        memcpy(cache->text, text, SECOND_LEN);
        cache->second = second;
    }
    memcpy(to, cache->text, SECOND_LEN);
    to[SECOND_LEN] = (char)('0' + rest / 100);
    to[SECOND_LEN + 1] = (char)('0' + rest / 10 % 10);
    to[SECOND_LEN + 2] = (char)('0' + rest % 10);
    to[SECOND_LEN + 3] = 'Z';
    return to + RFC3339_MS_LEN;
}

char *attempt_flags_write(char *to, unsigned flags)
{
    bool first = true;
    for (int i = 0; flags && i < FLAG_WORDS; i++) {
        if (!(flags & flag_words[i].flag))
            continue;
        if (!first)
            *to++ = ',';
        to = put(to, flag_words[i].word);
        first = false;
    }
    return to;
}

unsigned attempt_flags_parse(struct span text)
{
    unsigned flags = 0;
    while (text.n) {
        const char *comma = memchr(text.p, ',', text.n);
        size_t n = comma ? (size_t)(comma - text.p) : text.n;
        for (int i = 0; i < FLAG_WORDS; i++)
            if (span_equal((struct span){text.p, n}, flag_words[i].word))
                flags |= flag_words[i].flag;
        n += comma != NULL;
        text.p += n;
        text.n -= n;
    }
    return flags;
}

static char *put_timings(char *to, const int32_t us[TIMING_COUNT])
{
    bool first = true;
    for (int i = 0; i < TIMING_COUNT; i++) {
        if (us[i] < 0)
            continue;
        if (!first)
            *to++ = ',';
        to = put(to, timing_words[i]);
        to = put_number(to, (uint32_t)us[i]);
        first = false;
    }
    return to;
}

static char *put_column(char *to, struct attempts *a, const struct attempt *line,
                        enum attempt_column column)
{
    switch (column) {
    case ATTEMPT_time:
        return put_time(to, &a->time, line->time_ms);
    case ATTEMPT_row:
        return put_number(to, line->row);
    case ATTEMPT_email:
        return field_write(to, line->email, ATTEMPT_TEXT_MAX);
    case ATTEMPT_attempt:
        return line->attempt ? put_number(to, line->attempt) : to;
    case ATTEMPT_code:
        return put_code(to, line->code);
    case ATTEMPT_class:
        assert(line->class != CLASS_EITHER);
        return put_word(to, code_class_word(line->class));
    case ATTEMPT_stage:
        return put_word(to, line->stage);
    case ATTEMPT_outcome:
        return put_word(to, outcome_word(line->outcome));
    case ATTEMPT_next_attempt:
        return line->next_attempt_ms
                   ? put_time(to, &a->next_attempt, line->next_attempt_ms)
                   : to;
    case ATTEMPT_last_code:
        return put_code(to, line->last_code);
    case ATTEMPT_domain:
        return field_write(to, line->domain, ATTEMPT_TEXT_MAX);
    case ATTEMPT_site:
        return field_write(to, line->site, ATTEMPT_TEXT_MAX);
    case ATTEMPT_mx_host:
        return field_write(to, line->mx_host, ATTEMPT_TEXT_MAX);
    case ATTEMPT_mx_address:
        return field_write(to, line->mx_address, ATTEMPT_TEXT_MAX);
    case ATTEMPT_source:
        return field_write(to, line->source, ATTEMPT_TEXT_MAX);
    case ATTEMPT_tls:
        return field_write(to, line->tls, ATTEMPT_TEXT_MAX);
    case ATTEMPT_flags:
        return attempt_flags_write(to, line->flags);
    case ATTEMPT_message_id:
        return field_write(to, line->message_id, ATTEMPT_TEXT_MAX);
    case ATTEMPT_timings:
        return put_timings(to, line->timings_us);
    case ATTEMPT_status:
        return put_word(to, line->status);
    case ATTEMPT_message:
        return field_write(to, line->message, ATTEMPT_MESSAGE_MAX);
    case ATTEMPT_crc:
    case ATTEMPT_COLUMN_COUNT:
        break;
    }
    return to;
}

void attempts_append(struct attempts *a, const struct attempt *line)
{
    if (is_broken(a))
        return;
    buf_reserve(&a->buf, ATTEMPT_LINE_MAX);
    char *start = a->buf.p + a->buf.n;
    char *to = start;
    for (int i = 0; i < ATTEMPT_crc; i++) {
        to = put_column(to, a, line, (enum attempt_column)i);
        *to++ = '\t';
    }
    uint32_t crc = crc32c(0, start, (size_t)(to - start) - 1);
    for (int shift = 28; shift >= 0; shift -= 4)
        *to++ = "0123456789abcdef"[crc >> shift & 15];
    *to++ = '\n';
    a->buf.n += (size_t)(to - start);
    a->lines++;
}

uint64_t attempts_lines(const struct attempts *a)
{
    return a->lines;
}

/* Is the file at our path still the one that we wrote, and all of it? */
static bool unchanged(const struct attempts *a, struct fault *f)
{
    struct stat st;
    if (stat(a->path, &st) != 0)
        return fault_set(f, -20, "cannot find \"%s\" again: %s", a->path,
                         strerror(errno));
    if (st.st_dev != a->device || st.st_ino != a->inode)
        return fault_set(f, -20, "\"%s\" was replaced by another file", a->path);
    if (st.st_size != a->size)
        return fault_set(f, -20, "\"%s\" was %s by somebody else", a->path,
                         st.st_size < a->size ? "cut" : "written to");
    return true;
}

static bool write_all(struct attempts *a, struct fault *f)
{
    for (size_t done = 0; done < a->buf.n;) {
        ssize_t n = write(a->fd, a->buf.p + done, a->buf.n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fault_set(f, -20, "cannot write \"%s\": %s", a->path,
                             n < 0 ? strerror(errno) : "nothing was taken");
        done += (size_t)n;
        a->size += n;
    }
    buf_reset(&a->buf);
    return true;
}

bool attempts_write(struct attempts *a, struct fault *f)
{
    if (is_broken(a))
        return fail_again(a, f);
    if (a->buf.n == 0)
        return true;
    if (unchanged(a, &a->write_fault) && write_all(a, &a->write_fault))
        return true;
    a->write_failed = true;
    return fail_again(a, f);
}

bool attempts_sync(struct attempts *a, struct fault *f)
{
    if (is_broken(a))
        return fail_again(a, f);
    if (fdatasync(a->fd) == 0)
        return true;
    fault_set(&a->sync_fault, -20, "cannot sync \"%s\": %s", a->path, strerror(errno));
    a->sync_failed = true;
    return fail_again(a, f);
}

enum { RESERVE_AHEAD = 4 * 1024 * 1024 }; /* so that it is asked for seldom */

/* 1: kept, 0: no room, -1: this file system cannot keep room. */
static int keep_room(const struct attempts *a, off_t upto)
{
    int failed;
    do
        failed = fallocate(a->fd, FALLOC_FL_KEEP_SIZE, a->size, upto - a->size);
    while (failed && errno == EINTR);
    return !failed ? 1 : errno == ENOSPC || errno == EDQUOT ? 0 : -1;
}

bool attempts_reserve(struct attempts *a, uint64_t bytes)
{
    off_t need = a->size + (off_t)(a->buf.n + bytes);
    if (need <= a->reserved)
        return true;
    off_t upto = need + RESERVE_AHEAD;
    int kept = keep_room(a, upto);
    if (kept == 0) {
        upto = need;
        kept = keep_room(a, upto);
    }
    if (kept != 0)
        a->reserved = upto;
    return kept != 0;
}

void attempts_close(struct attempts *a)
{
    if (!a)
        return;
    /* Room that was kept and not used goes back, if the file is still as we left it. */
    struct stat st;
    if (a->fd >= 0 && a->reserved > a->size && !is_broken(a) &&
        fstat(a->fd, &st) == 0 && st.st_size == a->size) {
        int ignored = ftruncate(a->fd, a->size); /* it is for the disk's sake alone */
        (void)ignored;
    }
    if (a->fd >= 0)
        close(a->fd);
    buf_finish(&a->buf);
    free(a->path);
    free(a);
}

static struct attempts *writer(const char *path, int flags, struct fault *f)
{
    struct attempts *a = mem_zero(1, sizeof *a);
    a->path = mem_strdup(path);
    a->time.second = a->next_attempt.second = INT64_MIN;
    a->fd = open(path, flags | O_APPEND | O_CLOEXEC, 0600);
    struct stat st;
    if (a->fd < 0 || fstat(a->fd, &st) != 0) {
        fault_set(f, -20, "cannot open \"%s\": %s", path, strerror(errno));
        attempts_close(a);
        return NULL;
    }
    a->device = st.st_dev;
    a->inode = st.st_ino;
    a->size = st.st_size;
    return a;
}

struct attempts *attempts_create(const char *path, struct fault *f)
{
    struct attempts *a = writer(path, O_WRONLY | O_CREAT | O_EXCL, f);
    if (!a)
        return NULL;
    attempts_header(&a->buf);
    if (attempts_write(a, f))
        return a;
    attempts_close(a);
    return NULL;
}

static bool header_good(const struct attempts *a)
{
    struct buf want = {0}, got = {0};
    attempts_header(&want);
    buf_reserve(&got, want.n);
    bool good = a->size >= (off_t)want.n && disk_read_at(a->fd, got.p, want.n, 0) &&
                memcmp(got.p, want.p, want.n) == 0;
    buf_finish(&want);
    buf_finish(&got);
    return good;
}

/* Cut off what stands behind the last newline: the line was never complete. */
static bool cut_tail(struct attempts *a, struct fault *f)
{
    char *chunk = mem_alloc(TAIL_CHUNK);
    const char *newline = NULL;
    off_t end = a->size;
    while (!newline && end > 0) { /* the header has one */
        size_t n = end < TAIL_CHUNK ? (size_t)end : TAIL_CHUNK;
        end -= (off_t)n;
        if (!disk_read_at(a->fd, chunk, n, (uint64_t)end))
            break;
        newline = memrchr(chunk, '\n', n);
    }
    off_t size = newline ? end + (newline - chunk) + 1 : 0;
    free(chunk);
    if (!newline)
        return fault_set(f, -20, "cannot read \"%s\"", a->path);
    if (size < a->size && ftruncate(a->fd, size) != 0)
        return fault_set(f, -20, "cannot cut the unfinished last line of \"%s\": %s",
                         a->path, strerror(errno));
    a->size = size;
    return true;
}

struct attempts *attempts_open(const char *path, struct fault *f)
{
    struct attempts *a = writer(path, O_RDWR, f);
    if (!a)
        return NULL;
    if (!header_good(a))
        fault_set(f, -20, "\"%s\" does not begin as an attempts log", path);
    else if (cut_tail(a, f))
        return a;
    attempts_close(a);
    return NULL;
}
