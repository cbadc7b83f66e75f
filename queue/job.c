#include "queue/job.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "queue/job_copy.h"

enum {
    SUFFIX = 4,      /* random letters and digits */
    NAME_TRIES = 16, /* of default names */
    ASIDE_MAX = 128, /* ".new-", name, "-", suffix */
    FILE_MODE = 0600,
    DIRECTORY_MODE = 0700,
};
static const char aside_prefix[] = ".new-";
static const char lock_name[] = "lock";
static const int directory_flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

bool job_name_valid(struct span name)
{
    if (name.n == 0 || name.n > JOB_NAME_MAX || name.p[0] == '.' || name.p[0] == '-')
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
              (c >= 'A' && c <= 'Z') || c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

/* errno becomes the end of the words. */
static enum job_result blame(struct fault *f, enum job_result result, const char *doing,
                             const char *object)
{
    fault_set(f, -20, "cannot %s \"%s\": %s", doing, object, strerror(errno));
    return result;
}

static enum job_result blame_taken(struct fault *f, const char *name)
{
    fault_set(f, -20,
              "cannot create job \"%s\": there is one already; resume that, or choose "
              "another name",
              name);
    return JOB_NAME_TAKEN;
}

static void random_suffix(char out[SUFFIX + 1])
{
    static const char signs[] = "abcdefghijklmnopqrstuvwxyz234567";
    unsigned char bytes[SUFFIX];
    while (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        ;
    for (int i = 0; i < SUFFIX; i++)
        out[i] = signs[bytes[i] % 32];
    out[SUFFIX] = '\0';
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- the spool ---- */

static bool sync_path(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = fsync(fd) == 0;
    int error = errno;
    close(fd);
    errno = error;
    return ok;
}

/* Make one directory and sync the one above. */
static bool make_directory(char *path, int *made)
{
    if (mkdir(path, DIRECTORY_MODE) != 0)
        return errno == EEXIST;
    ++*made;
    char *slash = strrchr(path, '/');
    if (!slash)
        return sync_path(".");
    if (slash == path)
        return sync_path("/");
    *slash = '\0';
    bool ok = sync_path(path);
    *slash = '/';
    return ok;
}

/* mkdir -p; *made counts what did not exist. The path has no slash at its end. */
static bool make_directories(char *path, int *made)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool ok = make_directory(path, made);
        *slash = '/';
        if (!ok)
            return false;
    }
    return make_directory(path, made);
}

/* Take away again what make_directories made; somebody else's files keep it. */
static void remove_directories(const char *path, int made)
{
    char *rest = mem_strdup(path);
    for (; made > 0 && rest[0] && rmdir(rest) == 0; made--) {
        char *slash = strrchr(rest, '/');
        if (!slash)
            break;
        *slash = '\0';
    }
    free(rest);
}

/* ---- directories aside ---- */

static DIR *list_directory(int fd)
{
    int own = openat(fd, ".", directory_flags);
    DIR *d = own >= 0 ? fdopendir(own) : NULL;
    if (!d && own >= 0)
        close(own);
    return d;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Remove a directory and the files in it. */
static void remove_directory(int spool, const char *name, int dir)
{
    DIR *d = list_directory(dir);
    if (!d)
        return;
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (!is_dots(e->d_name))
            unlinkat(dir, e->d_name, 0);
    closedir(d);
    unlinkat(spool, name, AT_REMOVEDIR);
}

/* Is this still the directory that has this name? */
static bool has_name(int spool, const char *name, int dir)
{
    struct stat here, there;
    return fstatat(spool, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstat(dir, &here) == 0 && here.st_dev == there.st_dev &&
           here.st_ino == there.st_ino;
}

/* Remove a directory aside whose process is dead: whose lock is free, or which has
 * none, for in the spool's lock nobody is between making the one and the other. When we
 * hold the lock of what has that name still, it cannot become a job any more. */
static void sweep_one(int spool, const char *name)
{
    int dir = openat(spool, name, directory_flags);
    if (dir < 0)
        return;
    int lock = openat(dir, lock_name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    bool dead = lock < 0 ? errno == ENOENT : flock(lock, LOCK_EX | LOCK_NB) == 0;
    if (dead && has_name(spool, name, dir))
        remove_directory(spool, name, dir);
    if (lock >= 0)
        close(lock);
    close(dir);
}

static void sweep(int spool)
{
    DIR *d = list_directory(spool);
    if (!d)
        return;
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (strncmp(e->d_name, aside_prefix, sizeof aside_prefix - 1) == 0)
            sweep_one(spool, e->d_name);
    closedir(d);
}

/* ---- the lock ---- */

/* Open the lock file in job->dir and take it; write our number into it for people. */
enum { LOCK_TRIES = 100, LOCK_PAUSE_NS = 1000 * 1000 };

/* 0 or errno. Who only asks (job_held) shares the lock for a moment: that is nobody who
 * holds the job. */
static int lock_alone(int lock)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(lock, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EINTR && errno != EWOULDBLOCK)
            return errno;
        if (flock(lock, LOCK_SH | LOCK_NB) != 0 && errno != EINTR)
            return errno;
        flock(lock, LOCK_UN);
        nanosleep(&pause, NULL);
    }
    return EWOULDBLOCK;
}

static enum job_result take_lock(struct job *job, struct fault *f)
{
    job->lock = openat(job->dir, lock_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
                       FILE_MODE);
    if (job->lock < 0)
        return blame(f, JOB_CANNOT_OPEN, "open the lock of", job->path);
    char pid[16] = "";
    int error = lock_alone(job->lock);
    if (error == EWOULDBLOCK) {
        ssize_t n = pread(job->lock, pid, sizeof pid - 1, 0);
        int digits = (int)strspn(n > 0 ? pid : "", "0123456789");
        fault_set(f, -20, "another process (%.*s) holds job \"%s\"",
                  digits ? digits : 1, digits ? pid : "?", job->path);
        return JOB_BUSY;
    }
    errno = error;
    if (error)
        return blame(f, JOB_IO, "lock", job->path);
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(job->lock, 0) != 0 || pwrite(job->lock, pid, (size_t)n, 0) != n)
        return blame(f, JOB_IO, "write the lock of", job->path);
    return JOB_DONE;
}

static void release(struct job *job)
{
    if (job->path) {
        if (job->lock >= 0)
            close(job->lock); /* the lock goes with it */
        if (job->dir >= 0)
            close(job->dir);
    }
    free(job->path);
    free(job->spool);
    *job = (struct job){.dir = -1, .lock = -1};
}

/* ---- a new job ---- */

static bool exists(int spool, const char *name)
{
    struct stat st;
    return fstatat(spool, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void default_name(char out[JOB_NAME_MAX + 1], int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(out, JOB_NAME_MAX + 1, "%Y%m%d-%H%M%S-", &tm);
    random_suffix(out + n);
}

static enum job_result choose_name(struct job *job, int spool, const char *name,
                                   int64_t wall_ms, struct fault *f)
{
    if (name) {
        memcpy(job->name, name, strlen(name) + 1);
        if (!exists(spool, name))
            return JOB_DONE;
    } else {
        for (int i = 0; i < NAME_TRIES; i++) {
            default_name(job->name, wall_ms);
            if (!exists(spool, job->name))
                return JOB_DONE;
        }
    }
    return blame_taken(f, job->name);
}

/* Make and lock the directory aside. The spool is locked. */
static enum job_result make_aside(struct job *job, int spool, struct fault *f)
{
    char name[ASIDE_MAX];
    char suffix[SUFFIX + 1];
    random_suffix(suffix);
    snprintf(name, sizeof name, "%s%s-%s", aside_prefix, job->name, suffix);
    struct buf path = {0};
    buf_printf(&path, "%s/%s", job->spool, name);
    job->path = mem_strdup(buf_cstr(&path));
    buf_finish(&path);
    if (mkdirat(spool, name, DIRECTORY_MODE) != 0)
        return blame(f, JOB_CANNOT_CREATE, "create", job->path);
    job->aside = true;
    job->dir = openat(spool, name, directory_flags);
    if (job->dir < 0)
        return blame(f, JOB_CANNOT_CREATE, "open", job->path);
    enum job_result result = take_lock(job, f);
    return result == JOB_CANNOT_OPEN ? JOB_CANNOT_CREATE : result;
}

static enum job_result begin_in(struct job *job, int spool, const char *name,
                                int64_t wall_ms, struct fault *f)
{
    /* Some network file systems cannot lock a directory: then nothing is swept there.
     */
    if (flock(spool, LOCK_EX) == 0)
        sweep(spool);
    enum job_result result = choose_name(job, spool, name, wall_ms, f);
    return result ? result : make_aside(job, spool, f);
}

enum job_result job_begin(struct job *job, const char *spool, const char *name,
                          int64_t wall_ms, struct fault *f)
{
    *job = (struct job){.dir = -1, .lock = -1};
    if (name && !job_name_valid(span_of(name))) {
        fault_set(
            f, -20,
            "\"%s\" is no name for a job: letters, digits, \".\", \"_\", \"-\", at "
            "most %d, the first neither \".\" nor \"-\"",
            name, JOB_NAME_MAX);
        return JOB_BAD_NAME;
    }
    struct buf path = {0};
    buf_add_str(&path, spool);
    while (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    int made = 0;
    buf_cstr(&path);
    bool ok = path.n > 0 && make_directories(path.p, &made);
    job->spool = ok ? realpath(path.p, NULL) : NULL;
    job->spool_made = made;
    buf_finish(&path);
    int fd = job->spool ? open(job->spool, directory_flags) : -1;
    enum job_result result = fd < 0 ? blame(f, JOB_CANNOT_CREATE, "create spool", spool)
                                    : begin_in(job, fd, name, wall_ms, f);
    if (fd >= 0)
        close(fd);
    if (result)
        job_abandon(job);
    return result;
}

static int create_file(struct job *job, const char *file)
{
    assert(job->aside && !strchr(file, '/'));
    return openat(job->dir, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
}

enum job_result job_put_copy(struct job *job, const char *file, int fd,
                             const char *from, struct job_file *out, struct fault *f)
{
    int to = create_file(job, file);
    if (to < 0)
        return blame(f, JOB_IO, "create", file);
    bool reading = false;
    bool ok = job_copy(to, fd, &reading);
    if (ok) {
        reading = false;
        ok = job_measure(to, out);
    }
    enum job_result result = ok        ? JOB_DONE
                             : reading ? blame(f, JOB_IO, "read", from)
                                       : blame(f, JOB_IO, "write", file);
    close(to);
    return result;
}

enum job_result job_put_text(struct job *job, const char *file, struct span text,
                             struct job_file *out, struct fault *f)
{
    int to = create_file(job, file);
    if (to < 0)
        return blame(f, JOB_IO, "create", file);
    bool ok = true;
    for (size_t at = 0; ok && at < text.n;) {
        ssize_t n = write(to, text.p + at, text.n - at);
        ok = n >= 0 || errno == EINTR;
        at += n > 0 ? (size_t)n : 0;
    }
    struct job_file measured;
    ok = ok && job_measure(to, out ? out : &measured);
    enum job_result result = ok ? JOB_DONE : blame(f, JOB_IO, "write", file);
    close(to);
    return result;
}

/* Sync every file of the job, whoever made it, then the directory. */
static enum job_result sync_job(struct job *job, struct fault *f)
{
    DIR *d = list_directory(job->dir);
    if (!d)
        return blame(f, JOB_IO, "read", job->path);
    enum job_result result = JOB_DONE;
    for (const struct dirent *e; !result;) {
        errno = 0; /* readdir tells its end from an error by it alone */
        e = readdir(d);
        if (!e && errno)
            result = blame(f, JOB_IO, "read", job->path);
        if (!e)
            break;
        if (is_dots(e->d_name))
            continue;
        int fd = openat(job->dir, e->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fsync(fd) != 0)
            result = blame(f, JOB_IO, "sync", e->d_name);
        if (fd >= 0)
            close(fd);
    }
    closedir(d);
    if (!result && fsync(job->dir) != 0)
        result = blame(f, JOB_IO, "sync", job->path);
    return result;
}

/* Rename, never onto something that is there. */
static bool rename_new(int spool, const char *from, const char *to)
{
    if (renameat2(spool, from, spool, to, RENAME_NOREPLACE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS)
        return false;
    /* The file system has no such call. A job is never empty, so that rename refuses
     * it; an empty directory or a file is looked for. */
    if (exists(spool, to)) {
        errno = EEXIST;
        return false;
    }
    return renameat(spool, from, spool, to) == 0;
}

enum job_result job_commit(struct job *job, struct fault *f)
{
    assert(job->aside && job->path);
    enum job_result result = sync_job(job, f);
    if (result)
        return result;
    int spool = open(job->spool, directory_flags);
    if (spool < 0)
        return blame(f, JOB_IO, "open", job->spool);
    const char *aside = base_of(job->path);
    if (!rename_new(spool, aside, job->name)) {
        result = errno == EEXIST || errno == ENOTEMPTY
                     ? blame_taken(f, job->name)
                     : blame(f, JOB_IO, "create job", job->name);
    } else if (fsync(spool) != 0) {
        result = blame(f, JOB_IO, "sync", job->spool);
        renameat(spool, job->name, spool,
                 aside); /* it must not be there after a crash */
    } else {
        struct buf path = {0};
        buf_printf(&path, "%s/%s", job->spool, job->name);
        free(job->path);
        job->path = mem_strdup(buf_cstr(&path));
        buf_finish(&path);
        job->aside = false;
    }
    close(spool);
    return result;
}

void job_abandon(struct job *job)
{
    if (job->aside) {
        assert(job->path && job->spool);
        int spool = open(job->spool, directory_flags);
        if (spool >= 0 && job->dir >= 0)
            remove_directory(spool, base_of(job->path), job->dir);
        if (spool >= 0)
            close(spool);
    }
    if (job->spool)
        remove_directories(job->spool, job->spool_made);
    release(job);
}

/* ---- old jobs ---- */

enum job_result job_find(const char *spool, const char *name_or_path,
                         struct buf *path_out, struct fault *f)
{
    struct buf path = {0};
    if (!strchr(name_or_path, '/')) {
        if (!job_name_valid(span_of(name_or_path))) {
            fault_set(f, -20, "\"%s\" is no name of a job", name_or_path);
            return JOB_CANNOT_OPEN;
        }
        buf_printf(&path, "%s/", spool);
    }
    buf_add_str(&path, name_or_path);
    char *real = realpath(buf_cstr(&path), NULL);
    enum job_result result = JOB_DONE;
    if (!real)
        result = blame(f, JOB_CANNOT_OPEN, "open job", name_or_path);
    buf_add_str(&path, "/job.conf");
    if (!result && access(buf_cstr(&path), F_OK) != 0)
        result = blame(f, JOB_CANNOT_OPEN, "open job", name_or_path);
    if (!result)
        buf_add_str(path_out, real);
    free(real);
    buf_finish(&path);
    return result;
}

static bool younger(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

enum job_result job_newest(const char *spool, struct buf *name_out, struct fault *f)
{
    DIR *d = opendir(spool);
    if (!d)
        return blame(f, JOB_CANNOT_OPEN, "open spool", spool);
    char newest[JOB_NAME_MAX + 1] = "";
    struct timespec when = {0};
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        char list[sizeof e->d_name + sizeof "/list.tsv"];
        struct stat st;
        if (!job_name_valid(span_of(e->d_name)))
            continue;
        snprintf(list, sizeof list, "%s/list.tsv", e->d_name);
        if (fstatat(dirfd(d), list, &st, 0) != 0)
            continue;
        /* Made in the same tick: the name decides, so that the answer is always the
         * same. */
        bool same = !younger(&st.st_mtim, &when) && !younger(&when, &st.st_mtim);
        if (!newest[0] || younger(&st.st_mtim, &when) ||
            (same && strcmp(e->d_name, newest) > 0)) {
            memcpy(newest, e->d_name, strlen(e->d_name) + 1);
            when = st.st_mtim;
        }
    }
    closedir(d);
    if (!newest[0]) {
        fault_set(f, -20, "there is no job in spool \"%s\"", spool);
        return JOB_CANNOT_OPEN;
    }
    buf_add_str(name_out, newest);
    return JOB_DONE;
}

enum job_result job_lock(struct job *job, const char *path, struct fault *f)
{
    *job = (struct job){.dir = -1, .lock = -1};
    job->path = realpath(path, NULL);
    if (!job->path)
        return blame(f, JOB_CANNOT_OPEN, "open job", path);
    snprintf(job->name, sizeof job->name, "%s", base_of(job->path));
    job->dir = open(job->path, directory_flags);
    enum job_result result =
        job->dir < 0 ? blame(f, JOB_CANNOT_OPEN, "open job", path) : take_lock(job, f);
    if (result)
        release(job);
    return result;
}

bool job_held(const char *path)
{
    struct buf name = {0};
    buf_printf(&name, "%s/%s", path, lock_name);
    int lock = open(buf_cstr(&name), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    buf_finish(&name);
    bool held =
        lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (lock >= 0)
        close(lock);
    return held;
}

void job_unlock(struct job *job)
{
    assert(!job->aside);
    release(job);
}
