#include "queue/warmup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"

enum {
    FILE_MODE = 0600,
    NAME_MAX_BYTES = 300, /* of a provider */
    CHUNK = 4096,
    HEAD_MAX = 64,
};
static const char file_name[] = "../.warmup"; /* a job's folder is in its spool */

struct warmup {
    int fd;
    char head[HEAD_MAX]; /* the first line of the day that was read, with its newline */
    off_t read;          /* so far; 0: nothing */
    bool torn;           /* what was read ends within a line */
    struct map numbers;  /* "SOURCE TAB PROVIDER": place in used */
    uint64_t *used;
    uint32_t used_n;
};

uint32_t warmup_cap(const struct warmup_plan *plan, int32_t day)
{
    if (day < plan->start)
        return plan->caps_n ? 0 : UINT32_MAX;
    int32_t at = day - plan->start;
    return at < plan->caps_n ? (uint32_t)plan->caps[at] : UINT32_MAX;
}

struct warmup *warmup_open(int job_dir, struct fault *f)
{
    int fd = openat(job_dir, file_name,
                    O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        fault_set(f, -20, "cannot open \"%s\" of the spool: %s", file_name + 3,
                  strerror(errno));
        return NULL;
    }
    struct warmup *w = mem_zero(1, sizeof *w);
    w->fd = fd;
    return w;
}

static void forget(struct warmup *w)
{
    map_finish(&w->numbers);
    w->numbers = (struct map){0};
    free(w->used);
    w->used = NULL;
    w->used_n = 0;
    w->read = 0;
    w->torn = false;
}

void warmup_close(struct warmup *w)
{
    if (!w)
        return;
    forget(w);
    if (w->fd >= 0)
        close(w->fd);
    free(w);
}

int warmup_fd(const struct warmup *w)
{
    return w->fd;
}

static uint64_t *used_of(struct warmup *w, struct span key)
{
    bool added;
    uint32_t i = map_put(&w->numbers, key, w->used_n, &added, NULL);
    if (added) {
        w->used = mem_resize(w->used, w->used_n + 1, sizeof *w->used);
        w->used[w->used_n++] = 0;
    }
    return &w->used[i];
}

/* "SOURCE TAB PROVIDER TAB MESSAGES"; what is none, a torn one, drew nothing that was
 * sent. */
static void take_line(struct warmup *w, struct span line)
{
    const char *tab = line.n ? memrchr(line.p, '\t', line.n) : NULL;
    if (!tab)
        return;
    size_t key = (size_t)(tab - line.p);
    uint64_t n = 0;
    for (size_t i = key + 1; i < line.n; i++) {
        if (line.p[i] < '0' || line.p[i] > '9' || n > UINT32_MAX)
            return;
        n = n * 10 + (uint64_t)(line.p[i] - '0');
    }
    *used_of(w, (struct span){line.p, key}) += n;
}

/* All that others and we have written since. */
static bool read_on(struct warmup *w, struct buf *text)
{
    ssize_t n;
    do {
        buf_reserve(text, CHUNK);
        n = pread(w->fd, text->p + text->n, CHUNK, w->read + (off_t)text->n);
        text->n += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    size_t at = 0;
    for (const char *end; at < text->n;) {
        end = memchr(text->p + at, '\n', text->n - at);
        if (!end)
            break;
        take_line(w, (struct span){text->p + at, (size_t)(end - text->p) - at});
        at = (size_t)(end - text->p) + 1;
    }
    w->torn = at < text->n;
    w->read += (off_t)at;
    return n == 0;
}

/* The first line of a day's file; how long it is. */
static int head_of(int32_t day, char head[HEAD_MAX])
{
    char date[HEAD_MAX];
    time_t seconds = (time_t)day * 24 * 3600;
    struct tm tm;
    strftime(date, sizeof date, "%Y-%m-%d", gmtime_r(&seconds, &tm));
    return snprintf(head, HEAD_MAX, "#hikyaku-warmup %s\n", date);
}

/* Under the lock: the file is that of the day, and all of it is known. 1; 0: it is of a
 * later day; -1: errno. */
static int come_up(struct warmup *w, int32_t day)
{
    char head[HEAD_MAX], found[HEAD_MAX] = "";
    int length = head_of(day, head);
    ssize_t n = pread(w->fd, found, (size_t)length, 0);
    struct stat st;
    if (n < 0 || fstat(w->fd, &st) != 0)
        return -1;
    int order = memcmp(found, head, (size_t)length);
    if (n == length && found[0] == '#' && order > 0)
        return 0;
    if (order != 0) {
        if (ftruncate(w->fd, 0) != 0 || write(w->fd, head, (size_t)length) != length)
            return -1;
        forget(w);
    }
    if (strcmp(w->head, head) != 0 || st.st_size < w->read)
        forget(w);
    memcpy(w->head, head, sizeof head);
    struct buf text = {0};
    bool good = read_on(w, &text);
    buf_finish(&text);
    return good ? 1 : -1;
}

static void put_key(struct buf *key, const char *source, const char *provider)
{
    buf_printf(key, "%s\t", source);
    text_clean(key, span_of(provider), NAME_MAX_BYTES);
}

struct warmup *warmup_look(const char *spool, int32_t day, struct fault *f)
{
    char head[HEAD_MAX];
    struct buf path = {0}, text = {0};
    buf_printf(&path, "%s/%s", spool, file_name + 3);
    struct warmup *w = mem_zero(1, sizeof *w);
    w->fd = open(buf_cstr(&path), O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    bool good = w->fd >= 0 ? read_on(w, &text) : errno == ENOENT;
    int length = head_of(day, head);
    if (text.n < (size_t)length || memcmp(text.p, head, (size_t)length) != 0)
        forget(w); /* it is of another day */
    buf_finish(&text);
    buf_finish(&path);
    if (good)
        return w;
    fault_set(f, -20, "cannot read \"%s\" of the spool: %s", file_name + 3,
              strerror(errno));
    warmup_close(w);
    return NULL;
}

uint64_t warmup_used(struct warmup *w, const char *source, const char *provider)
{
    struct buf key = {0};
    put_key(&key, source, provider);
    uint64_t used = *used_of(w, buf_span(&key));
    buf_finish(&key);
    return used;
}

static bool append(struct warmup *w, struct span key, uint32_t n)
{
    struct buf line = {0};
    buf_add_str(&line, w->torn ? "\n" : "");
    buf_add_span(&line, key);
    buf_printf(&line, "\t%u\n", n);
    bool good = write(w->fd, line.p, line.n) == (ssize_t)line.n;
    buf_finish(&line);
    return good;
}

enum warmup_draw warmup_draw(struct warmup *w, const struct warmup_ask *ask,
                             uint32_t *n_out, struct fault *f)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct flock unlock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    *n_out = 0;
    if (fcntl(w->fd, F_OFD_SETLK, &lock) != 0)
        return errno == EAGAIN || errno == EACCES
                   ? WARMUP_LATER
                   : (fault_set(f, -20, "cannot lock \"%s\" of the spool: %s",
                                file_name + 3, strerror(errno)),
                      WARMUP_BROKEN);
    enum warmup_draw result = WARMUP_USED_UP;
    struct buf key = {0};
    put_key(&key, ask->source, ask->provider);
    int up = come_up(w, ask->day);
    uint64_t used = up > 0 ? *used_of(w, buf_span(&key)) : 0;
    if (up > 0 && used < ask->cap) {
        uint64_t left = ask->cap - used;
        *n_out = left < ask->want ? (uint32_t)left : ask->want;
        result = WARMUP_DRAWN;
    }
    if (up < 0 || (*n_out && !append(w, buf_span(&key), *n_out))) {
        *n_out = 0;
        fault_set(f, -20, "cannot keep \"%s\" of the spool: %s", file_name + 3,
                  strerror(errno));
        result = WARMUP_BROKEN;
    }
    fcntl(w->fd, F_OFD_SETLK, &unlock);
    buf_finish(&key);
    return result;
}
