#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "report/disk.h"
#include "report/fold.h"

#define ASIDE_HEADER "#hikyaku-damaged 1\noffset\tsize\tline\n"

enum {
    ASIDE_LINE_MAX = ATTEMPT_LINE_MAX, /* bytes of one damaged line that are copied */
    ASIDE_ESCAPED_MAX = 4 * ASIDE_LINE_MAX,
    FLUSH_AT = 256 * 1024,
};

/* The file of the lines set aside before: which offsets it has, and where its last
 * whole line ends. */
struct aside {
    uint64_t *known;
    size_t n, cap;
    uint64_t whole;
};

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void remember(struct aside *it, uint64_t offset)
{
    if (it->n == it->cap) {
        it->cap = it->cap ? 2 * it->cap : 64;
        it->known = mem_resize(it->known, it->cap, sizeof *it->known);
    }
    it->known[it->n++] = offset;
}

static bool read_known(FILE *in, struct aside *it)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, in)) > 0 && line[n - 1] == '\n') {
        it->whole += (uint64_t)n;
        if (line[0] >= '0' && line[0] <= '9')
            remember(it, strtoull(line, NULL, 10));
    }
    free(line);
    if (it->whole < sizeof ASIDE_HEADER - 1)
        it->whole = 0;
    if (it->n)
        qsort(it->known, it->n, sizeof *it->known, compare);
    return !ferror(in);
}

static bool add_fresh(const struct results *r, const struct aside *it, int fd,
                      uint64_t *fresh_out)
{
    struct buf out = {0};
    char *line = mem_alloc(ASIDE_LINE_MAX);
    bool good = true;
    if (it->whole == 0)
        buf_add_str(&out, ASIDE_HEADER);
    for (size_t i = 0; good && i < r->damages_n; i++) {
        const struct damage *d = &r->damages[i];
        if (it->n && bsearch(&d->offset, it->known, it->n, sizeof *it->known, compare))
            continue;
        size_t n = d->size < ASIDE_LINE_MAX ? (size_t)d->size : ASIDE_LINE_MAX;
        good = attempts_reader_raw(r->reader, d->offset, line, n);
        if (!good)
            break;
        buf_printf(&out, "%llu\t%llu\t", (unsigned long long)d->offset,
                   (unsigned long long)d->size);
        text_clean(&out, (struct span){line, n}, ASIDE_ESCAPED_MAX);
        buf_add_char(&out, '\n');
        ++*fresh_out;
        if (out.n >= FLUSH_AT) {
            good = disk_write(fd, out.p, out.n);
            buf_reset(&out);
        }
    }
    good = good && (out.n == 0 || disk_write(fd, out.p, out.n)) && fdatasync(fd) == 0;
    int error = errno;
    free(line);
    buf_finish(&out);
    errno = error;
    return good;
}

bool results_set_aside(const struct results *r, const char *path, uint64_t *fresh_out,
                       struct fault *f)
{
    *fresh_out = 0;
    if (r->damages_n == 0)
        return true;
    struct aside it = {0};
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    FILE *in = fopen(path, "rbe");
    /* What a crash left unfinished is cut off and written anew. */
    bool good = fd >= 0 && in && read_known(in, &it) &&
                ftruncate(fd, (off_t)it.whole) == 0 && add_fresh(r, &it, fd, fresh_out);
    if (!good)
        fault_set(f, -20, "cannot write \"%s\": %s", path, strerror(errno));
    if (in)
        fclose(in);
    if (fd >= 0)
        close(fd);
    free(it.known);
    return good && (it.whole > 0 || disk_sync_folder(path, f));
}
