#include "queue/list_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "queue/list_lines.h"

enum { BLOCK_ROWS = 1 << 16, LINE_END_MAX = 2 };

/* Blocks do not move, so that a growing list is never in memory twice. */
struct list_block {
    uint32_t low[BLOCK_ROWS]; /* of the offset */
    uint32_t value[BLOCK_ROWS];
    uint8_t high[BLOCK_ROWS];
};
_Static_assert(sizeof(struct list_block) == (size_t)BLOCK_ROWS * 9, "9 bytes a row");

bool list_file_open(struct list_file *l, const char *path, const char *name,
                    const char *what, struct fault *f)
{
    *l = (struct list_file){.what = what, .name = mem_strdup(name), .fd = -1};
    /* O_NONBLOCK: a FIFO without a writer must not hold us up, it is refused below. */
    l->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (l->fd < 0 || fstat(l->fd, &st) != 0)
        return fault_set(f, -8, "cannot open %s \"%s\": %s", what, name,
                         strerror(errno));
    if (!S_ISREG(st.st_mode))
        return fault_set(f, -8, "cannot open %s \"%s\": %s", what, name,
                         S_ISDIR(st.st_mode) ? strerror(EISDIR) : "Not a regular file");
    if ((uint64_t)st.st_size > LIST_FILE_MAX)
        return fault_set(f, -8, "cannot open %s \"%s\": %s", what, name,
                         strerror(EFBIG));
    posix_fadvise(l->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return true;
}

void list_file_close(struct list_file *l)
{
    if (l->name && l->fd >= 0)
        close(l->fd);
    for (uint32_t i = 0; i < l->blocks_n; i++)
        free(l->blocks[i]);
    free(l->blocks);
    free(l->name);
    *l = (struct list_file){.fd = -1};
}

void list_file_add(struct list_file *l, uint64_t offset, uint32_t value)
{
    assert(l->rows < LIST_ROWS_MAX && offset < LIST_FILE_MAX);
    uint32_t at = l->rows % BLOCK_ROWS;
    if (at == 0) {
        l->blocks = mem_resize(l->blocks, l->blocks_n + 1, sizeof(void *));
        l->blocks[l->blocks_n++] = mem_alloc(sizeof(struct list_block));
    }
    struct list_block *block = l->blocks[l->blocks_n - 1];
    block->low[at] = (uint32_t)offset;
    block->high[at] = (uint8_t)(offset >> 32);
    block->value[at] = value;
    l->rows++;
}

uint32_t list_file_value(const struct list_file *l, uint32_t row)
{
    assert(row >= 1 && row <= l->rows);
    return l->blocks[(row - 1) / BLOCK_ROWS]->value[(row - 1) % BLOCK_ROWS];
}

/* Where a row begins; for the row after the last, where the file ended. */
static uint64_t offset_of(const struct list_file *l, uint32_t row)
{
    assert(row >= 1);
    if (row > l->rows)
        return l->size;
    const struct list_block *block = l->blocks[(row - 1) / BLOCK_ROWS];
    uint32_t at = (row - 1) % BLOCK_ROWS;
    return (uint64_t)block->high[at] << 32 | block->low[at];
}

bool list_file_changed(const struct list_file *l, uint32_t row, struct fault *f)
{
    return fault_set(f, -21, "%s \"%s\" was changed while in use: line of row %u",
                     l->what, l->name, row);
}

/* Read n bytes at offset; fewer only at the end of the file. -1: errno. */
static ssize_t read_all(int fd, char *p, size_t n, uint64_t offset)
{
    size_t have = 0;
    while (have < n) {
        ssize_t got = pread(fd, p + have, n - have, (off_t)(offset + have));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

bool list_file_read(const struct list_file *l, uint32_t row, struct buf *buf,
                    struct span *text, bool *too_long, struct fault *f)
{
    uint64_t begin = offset_of(l, row);
    size_t n = (size_t)(offset_of(l, row + 1) - begin);
    *text = SPAN("");
    *too_long = n > LIST_LINE_MAX + LINE_END_MAX;
    if (*too_long)
        return true;
    /* With the byte before: it must still be the end of the line before. */
    size_t before = begin > 0;
    buf_reset(buf);
    buf_reserve(buf, before + n);
    ssize_t got = read_all(l->fd, buf->p, before + n, begin - before);
    if (got < 0)
        return fault_set(f, -20, "cannot read %s \"%s\": %s", l->what, l->name,
                         strerror(errno));
    buf->n = (size_t)got;
    struct span whole = {buf->p + before, n};
    if (buf->n != before + n || (before && buf->p[0] != '\n'))
        return list_file_changed(l, row, f);
    const char *lf = memchr(whole.p, '\n', n);
    if (lf ? lf != whole.p + n - 1 : row != l->rows)
        return list_file_changed(l, row, f);
    *text = list_line_text(whole, begin);
    *too_long = text->n > LIST_LINE_MAX;
    if (*too_long)
        *text = SPAN("");
    return true;
}
