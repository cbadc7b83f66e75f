#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "report/attempts.h"
#include "report/disk.h"

enum { COPY_CHUNK = 1024 * 1024 };

/* Where the line before `end` begins: behind the newline before its own. */
static bool line_start(int fd, uint64_t end, char *chunk, uint64_t *start_out)
{
    uint64_t from = end > ATTEMPT_LINE_MAX ? end - ATTEMPT_LINE_MAX : 0;
    size_t n = (size_t)(end - from);
    if (n == 0 || !disk_read_at(fd, chunk, n, from) || chunk[n - 1] != '\n')
        return false;
    const char *newline = memrchr(chunk, '\n', n - 1);
    *start_out = newline ? from + (size_t)(newline - chunk) + 1 : from;
    return newline != NULL;
}

/* Is the last line whole, and a clean end? */
static bool ended(const char *path, int fd, uint64_t size, char *chunk)
{
    uint64_t start;
    struct attempt_line line;
    struct fault ignored = {0};
    if (!line_start(fd, size, chunk, &start))
        return false;
    struct attempts_reader *r = attempts_reader_open(path, &ignored);
    bool read = r && attempts_reader_at(r, start, &line) == ATTEMPTS_LINE;
    enum run_event what = read ? attempt_run_event(&line) : RUN_NONE;
    attempts_reader_close(r);
    return what == RUN_STOPPED || what == RUN_FINISHED;
}

/* All of the log up to its last newline. */
static bool copy(int from, int to, uint64_t size, char *chunk)
{
    uint64_t whole = 0; /* bytes up to the last newline */
    for (uint64_t done = 0; done < size;) {
        size_t n = size - done < COPY_CHUNK ? (size_t)(size - done) : COPY_CHUNK;
        if (!disk_read_at(from, chunk, n, done) || !disk_write(to, chunk, n))
            return false;
        const char *newline = memrchr(chunk, '\n', n);
        if (newline)
            whole = done + (size_t)(newline - chunk) + 1;
        done += n;
    }
    return ftruncate(to, (off_t)whole) == 0;
}

static bool replace(const char *path, int from, uint64_t size, char *chunk,
                    struct fault *f)
{
    struct buf fresh = {0};
    buf_printf(&fresh, "%s.new", path);
    unlink(buf_cstr(&fresh)); /* of a process that died here */
    int to = open(buf_cstr(&fresh), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = to >= 0 && copy(from, to, size, chunk) && fsync(to) == 0;
    int error = errno;
    if (to >= 0 && close(to) != 0 && good) {
        good = false;
        error = errno;
    }
    if (good && rename(buf_cstr(&fresh), path) != 0) {
        good = false;
        error = errno;
    }
    if (!good) {
        if (to >= 0)
            unlink(buf_cstr(&fresh));
        fault_set(f, -20, "cannot write \"%s\" anew: %s", path, strerror(error));
    }
    buf_finish(&fresh);
    return good && disk_sync_folder(path, f);
}

bool attempts_renew(const char *path, bool *renewed_out, struct fault *f)
{
    struct attempts_reader *reader = attempts_reader_open(path, f);
    if (!reader) /* no log of ours: it is not for us to write it anew */
        return false;
    attempts_reader_close(reader);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        fault_set(f, -20, "cannot open \"%s\": %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    char *chunk = mem_alloc(COPY_CHUNK);
    bool need = !ended(path, fd, (uint64_t)st.st_size, chunk);
    bool good = !need || replace(path, fd, (uint64_t)st.st_size, chunk, f);
    free(chunk);
    close(fd);
    if (renewed_out)
        *renewed_out = need && good;
    return good;
}
