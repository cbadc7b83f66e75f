#include "queue/share.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MODE = 0600 };
static const char file_name[] = "../.running"; /* a job's folder is in its spool */

static struct flock bytes(off_t from, off_t to)
{
    return (struct flock){
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = from, .l_len = to - from};
}

/* The first byte that nobody has. 0 or errno. */
static int take_place(int fd)
{
    for (off_t place = 0; place < SHARE_JOBS_MAX; place++) {
        struct flock lock = bytes(place, place + 1);
        if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
            return 0;
        if (errno != EAGAIN && errno != EACCES)
            return errno;
    }
    return EUSERS;
}

bool share_join(struct share *s, int job_dir, struct fault *f)
{
    int fd = openat(job_dir, file_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
                    FILE_MODE);
    int error = fd < 0 ? errno : take_place(fd);
    *s = (struct share){.open = fd >= 0, .fd = fd, .jobs = 1};
    if (error == EUSERS)
        return fault_set(f, -20, "more than %d jobs of this spool run", SHARE_JOBS_MAX);
    if (error)
        return fault_set(f, -20, "cannot lock \"%s\" of the spool: %s", file_name + 3,
                         strerror(error));
    return true;
}

/* Locks of others from one byte to before another. The kernel names any of them, not
 * the first: what lies before and behind is asked for again. -1: no answer. */
static int count_others(int fd, off_t from, off_t to)
{
    struct flock lock = bytes(from, to);
    if (from >= to)
        return 0;
    if (fcntl(fd, F_OFD_GETLK, &lock) != 0)
        return -1;
    if (lock.l_type == F_UNLCK)
        return 0;
    off_t behind = lock.l_len ? lock.l_start + lock.l_len : to;
    int before = count_others(fd, from, lock.l_start);
    int after = count_others(fd, behind, to);
    return before < 0 || after < 0 ? -1 : before + 1 + after;
}

uint32_t share_count(struct share *s)
{
    int others = s->open ? count_others(s->fd, 0, SHARE_JOBS_MAX) : 0;
    if (others >= 0)
        s->jobs = 1 + (uint32_t)others;
    return s->jobs;
}

void share_leave(struct share *s)
{
    if (s->open)
        close(s->fd);
    *s = (struct share){0};
}
