#include "report/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

bool disk_read_at(int fd, char *p, size_t n, uint64_t offset)
{
    while (n) {
        ssize_t got = pread(fd, p, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got < 0 ? errno : EIO;
            return false;
        }
        p += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
    return true;
}

bool disk_write(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            errno = done < 0 ? errno : EIO;
            return false;
        }
        p += done;
        n -= (size_t)done;
    }
    return true;
}

bool disk_sync_folder(const char *path, struct fault *f)
{
    const char *slash = strrchr(path, '/');
    struct buf folder = {0};
    buf_add(&folder, path, slash ? (size_t)(slash - path) + 1 : 0);
    if (!slash)
        buf_add_str(&folder, ".");
    int fd = open(buf_cstr(&folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (!good)
        fault_set(f, -20, "cannot sync the folder of \"%s\": %s", path,
                  strerror(errno));
    if (fd >= 0)
        close(fd);
    buf_finish(&folder);
    return good;
}
