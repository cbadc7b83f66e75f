#include "queue/list_lines.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

enum { READ_SIZE = 256 * 1024, LINE_END_MAX = 2 };

struct span list_line_text(struct span whole, uint64_t offset)
{
    if (offset == 0 && whole.n >= 3 && memcmp(whole.p, "\xef\xbb\xbf", 3) == 0) {
        whole.p += 3;
        whole.n -= 3;
    }
    if (whole.n && whole.p[whole.n - 1] == '\n')
        whole.n--;
    if (whole.n && whole.p[whole.n - 1] == '\r')
        whole.n--;
    return whole;
}

/* Read more behind what is in the buffer; what was given makes room first. */
static bool fill(struct list_lines *l)
{
    if (l->given) {
        assert(l->buf.p);
        l->buf.n -= l->given;
        memmove(l->buf.p, l->buf.p + l->given, l->buf.n);
        l->given = 0;
    }
    buf_reserve(&l->buf, READ_SIZE);
    ssize_t n;
    do
        n = pread(l->fd, l->buf.p + l->buf.n, READ_SIZE, (off_t)(l->offset + l->buf.n));
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return false;
    l->ended = n == 0;
    l->buf.n += (size_t)n;
    return true;
}

static void give(struct list_lines *l, size_t n, struct list_line *out)
{
    struct span whole = {l->buf.p + l->given, n};
    out->offset = l->offset;
    out->bytes = n;
    out->text = list_line_text(whole, l->offset);
    out->too_long = out->text.n > LIST_LINE_MAX;
    if (out->too_long)
        out->text = SPAN("");
    l->given += n;
    l->offset += n;
}

/* Step over the rest of a line that is too long to keep. */
static enum list_lines_result skip(struct list_lines *l, struct list_line *out)
{
    *out = (struct list_line){.text = SPAN(""), .offset = l->offset, .too_long = true};
    for (;;) {
        const char *start = l->buf.p + l->given;
        size_t n = l->buf.n - l->given;
        const char *lf = memchr(start, '\n', n);
        if (lf)
            n = (size_t)(lf - start) + 1;
        l->given += n;
        l->offset += n;
        out->bytes += n;
        if (lf || l->ended)
            return LIST_LINES_ONE;
        if (!fill(l))
            return LIST_LINES_ERROR;
    }
}

enum list_lines_result list_lines_next(struct list_lines *l, struct list_line *out)
{
    if (!l->buf.p && !fill(l)) /* the first call */
        return LIST_LINES_ERROR;
    size_t searched = 0;
    for (;;) {
        const char *start = l->buf.p + l->given;
        size_t n = l->buf.n - l->given;
        const char *lf =
            n > searched ? memchr(start + searched, '\n', n - searched) : NULL;
        if (lf) {
            give(l, (size_t)(lf - start) + 1, out);
            return LIST_LINES_ONE;
        }
        if (l->ended) {
            if (n == 0)
                return LIST_LINES_END;
            give(l, n, out);
            return LIST_LINES_ONE;
        }
        if (n > LIST_LINE_MAX + LINE_END_MAX)
            return skip(l, out);
        searched = n;
        if (!fill(l))
            return LIST_LINES_ERROR;
    }
}

void list_lines_finish(struct list_lines *l)
{
    buf_finish(&l->buf);
}
