#include "queue/job_copy.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/mem.h"

enum { CHUNK = 256 * 1024 };
#define RANGE_MAX ((size_t)1 << 30)

/* A reflink takes the file whole, so the reader must not have begun. */
static bool clone_file(int to, int from)
{
    struct stat st;
    return fstat(from, &st) == 0 && S_ISREG(st.st_mode) &&
           lseek(from, 0, SEEK_CUR) == 0 && ioctl(to, FICLONE, from) == 0;
}

/* The kernel copies as far as it can and likes to; the rest is left to read and write.
 * Both positions move, so nothing is lost when it refuses half-way. */
static void copy_ranges(int to, int from)
{
    struct stat st;
    if (fstat(from, &st) != 0 || !S_ISREG(st.st_mode))
        return;
    while (copy_file_range(from, NULL, to, NULL, RANGE_MAX, 0) > 0)
        ;
}

static bool write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t written = write(fd, p, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        p += written;
        n -= (size_t)written;
    }
    return true;
}

bool job_copy(int to, int from, bool *reading_out)
{
    *reading_out = true;
    if (clone_file(to, from))
        return true;
    copy_ranges(to, from);
    char *chunk = mem_alloc(CHUNK);
    bool ok = true;
    for (;;) {
        ssize_t n = read(from, chunk, CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        ok = n >= 0;
        if (n <= 0)
            break;
        ok = write_all(to, chunk, (size_t)n);
        *reading_out = ok;
        if (!ok)
            break;
    }
    int error = errno;
    free(chunk);
    errno = error;
    return ok;
}

bool job_measure(int fd, struct job_file *out)
{
    *out = (struct job_file){0};
    char *chunk = mem_alloc(CHUNK);
    ssize_t n;
    do {
        n = pread(fd, chunk, CHUNK, (off_t)out->size);
        if (n > 0) {
            out->crc32c = crc32c(out->crc32c, chunk, (size_t)n);
            out->size += (uint64_t)n;
        }
    } while (n > 0 || (n < 0 && errno == EINTR));
    int error = errno;
    free(chunk);
    errno = error;
    return n == 0;
}
