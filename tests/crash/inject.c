/* A preload library that makes one call of a program go wrong, to see what it does
 * then.
 *
 *     LD_PRELOAD=…/libinject.so INJECT=CLASSES:N:ACTION program …
 *
 * CLASSES  of calls that count, with commas: write send sync rename open truncate mmap
 *          socket malloc libmalloc. write, sync, open, truncate and mmap count for
 * files below INJECT_ROOT only (sync and rename: directories too), socket and send for
 * all. N        the call that is hit, counted from 1 over all threads; 0: none. ACTION
 * kill    kill -9 before the call; a write is cut short first forget  the power fails
 * before the call: files lose what was written since their last sync but for a random
 * part, a rename whose directory was not synced may be undone, then kill -9 an errno:
 * EIO ENOSPC EDQUOT EMFILE ENOMEM; with + behind it all later calls fail too
 *
 * INJECT_COUNT    a file that gets the number of calls counted (8 bytes), always
 * current INJECT_BOOT_ID  what is read instead of /proc/sys/kernel/random/boot_id
 * INJECT_SHADOW   a path beside INJECT_ROOT where a file that is renamed over is kept
 * INJECT_SEED     of what is random */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum call_class {
    WRITE,
    SEND,
    SYNC,
    RENAME,
    OPEN,
    TRUNCATE,
    MMAP,
    SOCKET,
    MALLOC,
    LIBMALLOC
};
enum action { NOTHING, KILL, FORGET, FAIL };
enum { FILES_MAX = 64, OWN_DESCRIPTORS = 600, PATH_ROOM = 4096 };

/* clang-format off */
static const char *const class_words[] = {
    "write", "send", "sync", "rename", "open", "truncate", "mmap", "socket", "malloc", "libmalloc"};
static const struct { const char *word; int error; } errors[] = {
    {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EMFILE", EMFILE},
    {"ENOMEM", ENOMEM}};
/* clang-format on */

/* A file that is open for writing, held by a descriptor of our own. */
struct file {
    dev_t device;
    ino_t inode;
    int fd;
    off_t synced;
};

static struct {
    unsigned classes;
    uint64_t at;
    enum action action;
    int error;
    bool lasting;
    uintptr_t program, program_end; /* addresses of the program itself */
    char root[PATH_ROOM];
    const char *boot_id, *shadow;
    _Atomic uint64_t own_count, *count;
    atomic_bool dying;    /* nothing is sent or written any more */
    pthread_mutex_t lock; /* of what follows */
    struct file files[FILES_MAX];
    int files_n;
    bool renamed, shadowed; /* since the last sync of a directory */
    char from[PATH_ROOM], to[PATH_ROOM];
    uint64_t random;
    bool active;
} in = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- the real calls ---- */

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t count, size_t each);
extern void *__libc_realloc(void *p, size_t n);

/* POSIX: how an object pointer becomes a function. */
#define REAL(name)                                                                     \
    static __typeof__(name) *call;                                                     \
    if (!call)                                                                         \
    *(void **)&call = dlsym(RTLD_NEXT, #name)

static int real_open(const char *path, int flags, mode_t mode)
{
    REAL(openat);
    return call(AT_FDCWD, path, flags, mode);
}

static ssize_t real_write(int fd, const void *p, size_t n)
{
    REAL(write);
    return call(fd, p, n);
}

static int real_ftruncate(int fd, off_t size)
{
    REAL(ftruncate);
    return call(fd, size);
}

static int real_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    REAL(renameat);
    return call(from_dir, from, to_dir, to);
}

/* ---- the power failure ---- */

static uint64_t random_below(uint64_t n)
{
    in.random ^= in.random << 13;
    in.random ^= in.random >> 7;
    in.random ^= in.random << 17;
    return in.random % n;
}

/* Some of what was not synced may be on the disk all the same, up to any byte, and a
 * block that was never written reads as zeros. */
static void forget_file(const struct file *file)
{
    struct stat st;
    if (fstat(file->fd, &st) != 0 || st.st_size <= file->synced)
        return;
    uint64_t lost = (uint64_t)(st.st_size - file->synced);
    uint64_t kept = random_below(2) ? random_below(lost + 1) : 0;
    real_ftruncate(file->fd, file->synced + (off_t)kept);
    if (random_below(4) == 0)
        real_ftruncate(file->fd,
                       file->synced + (off_t)(kept + random_below(lost - kept + 1)));
}

static void forget(void)
{
    for (int i = 0; i < in.files_n; i++)
        forget_file(&in.files[i]);
    if (!in.renamed || random_below(2))
        return;
    real_renameat(AT_FDCWD, in.to, AT_FDCWD, in.from);
    if (in.shadowed)
        real_renameat(AT_FDCWD, in.shadow, AT_FDCWD, in.to);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Is it this call's turn? True: it must fail, errno is set. torn: what of a write is
 * done before a kill. */
static bool hit(enum call_class class, int torn_fd, const void *p, size_t n)
{
    if (in.dying)
        die();
    if (!in.active || !(in.classes & 1u << class))
        return false;
    uint64_t number = atomic_fetch_add(in.count, 1) + 1;
    bool now = number == in.at || (in.lasting && in.at && number > in.at);
    if (!now || in.action == NOTHING)
        return false;
    if (in.action == FAIL) {
        errno = in.error;
        return true;
    }
    pthread_mutex_lock(&in.lock);
    in.dying = true;
    if (in.action == FORGET)
        forget();
    else if (n)
        real_write(torn_fd, p, random_below(n + 1));
    die();
    return true;
}

/* ---- which file it is ---- */

static bool path_of(int fd, char out[PATH_ROOM])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATH_ROOM - 1);
    out[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static bool below_root(const char *path)
{
    size_t n = strlen(in.root);
    return n && strncmp(path, in.root, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static bool ours(int fd)
{
    char path[PATH_ROOM];
    return in.active && path_of(fd, path) && below_root(path);
}

/* dir and name as one path; a name that is absolute stands for itself. */
static void join(int dir, const char *name, char out[PATH_ROOM])
{
    char folder[PATH_ROOM] = "";
    if (name[0] != '/' && dir != AT_FDCWD)
        path_of(dir, folder);
    size_t n = strlen(folder);
    memcpy(out, folder, n);
    if (n)
        out[n++] = '/';
    strncpy(out + n, name, PATH_ROOM - n - 1);
    out[PATH_ROOM - 1] = '\0';
}

static struct file *find_file(const struct stat *st)
{
    for (int i = 0; i < in.files_n; i++)
        if (in.files[i].inode == st->st_ino && in.files[i].device == st->st_dev)
            return &in.files[i];
    return NULL;
}

/* Is this its name? */
static bool is_named(const char *path, const char *name)
{
    size_t n = strlen(path), k = strlen(name);
    return n > k && path[n - k - 1] == '/' && strcmp(path + n - k, name) == 0;
}

/* What a file has when it is opened is on the disk, unless we know better. The lock has
 * no content that matters, and cutting the mapped flight would be SIGBUS here. */
static void opened(int fd, int flags)
{
    struct stat st;
    char path[PATH_ROOM];
    if (!in.active || fd < 0 || (flags & O_ACCMODE) == O_RDONLY || fstat(fd, &st) ||
        !S_ISREG(st.st_mode) || !path_of(fd, path) || !below_root(path) ||
        is_named(path, "lock") || is_named(path, "flight"))
        return;
    pthread_mutex_lock(&in.lock);
    if (!find_file(&st) && in.files_n < FILES_MAX) {
        int own = fcntl(fd, F_DUPFD_CLOEXEC, OWN_DESCRIPTORS);
        if (own >= 0)
            in.files[in.files_n++] =
                (struct file){st.st_dev, st.st_ino, own, st.st_size};
    }
    pthread_mutex_unlock(&in.lock);
}

static void synced(const struct stat *before)
{
    pthread_mutex_lock(&in.lock);
    if (S_ISDIR(before->st_mode)) {
        in.renamed = in.shadowed = false;
        if (in.shadow)
            unlink(in.shadow);
    } else {
        struct file *file = find_file(before);
        if (file && before->st_size > file->synced)
            file->synced = before->st_size;
    }
    pthread_mutex_unlock(&in.lock);
}

/* ---- the calls ---- */

ssize_t write(int fd, const void *p, size_t n)
{
    if (!ours(fd))
        return real_write(fd, p, n);
    if (hit(WRITE, fd, p, n))
        return -1;
    if (in.action == FORGET) /* not while files are cut */
        pthread_mutex_lock(&in.lock);
    ssize_t done = real_write(fd, p, n);
    if (in.action == FORGET)
        pthread_mutex_unlock(&in.lock);
    return done;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    REAL(pwrite);
    if (ours(fd) && hit(WRITE, fd, NULL, 0))
        return -1;
    return call(fd, p, n, at);
}

ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t n,
                        unsigned flags)
{
    REAL(copy_file_range);
    if (ours(to) && hit(WRITE, to, NULL, 0))
        return -1;
    return call(from, from_at, to, to_at, n, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    REAL(sendmsg);
    return hit(SEND, fd, NULL, 0) ? -1 : call(fd, m, flags);
}

ssize_t send(int fd, const void *p, size_t n, int flags)
{
    REAL(send);
    return hit(SEND, fd, NULL, 0) ? -1 : call(fd, p, n, flags);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    REAL(writev);
    return hit(SEND, fd, NULL, 0) ? -1 : call(fd, v, n);
}

static int sync_with(int fd, int (*call)(int))
{
    struct stat before;
    bool known = ours(fd) && fstat(fd, &before) == 0;
    if (known && hit(SYNC, fd, NULL, 0))
        return -1;
    int result = call(fd);
    if (known && result == 0)
        synced(&before);
    return result;
}

int fsync(int fd)
{
    REAL(fsync);
    return sync_with(fd, call);
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    return sync_with(fd, call);
}

/* Keep what is needed to undo it. */
static bool before_rename(int from_dir, const char *from, int to_dir, const char *to)
{
    char source[PATH_ROOM], target[PATH_ROOM];
    join(from_dir, from, source);
    join(to_dir, to, target);
    if (!in.active || !below_root(target))
        return false;
    if (hit(RENAME, -1, NULL, 0))
        return true;
    pthread_mutex_lock(&in.lock);
    memcpy(in.from, source, PATH_ROOM);
    memcpy(in.to, target, PATH_ROOM);
    in.renamed = true;
    in.shadowed = in.shadow && (unlink(in.shadow), link(target, in.shadow) == 0);
    pthread_mutex_unlock(&in.lock);
    return false;
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    return before_rename(AT_FDCWD, from, AT_FDCWD, to) ? -1 : call(from, to);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    if (before_rename(from_dir, from, to_dir, to))
        return -1;
    return real_renameat(from_dir, from, to_dir, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to,
              unsigned flags)
{
    REAL(renameat2);
    if (before_rename(from_dir, from, to_dir, to))
        return -1;
    return call(from_dir, from, to_dir, to, flags);
}

static int open_as(int dir, const char *path, int flags, mode_t mode)
{
    REAL(openat);
    char whole[PATH_ROOM];
    if (in.boot_id && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0)
        path = in.boot_id;
    if (in.active) {
        join(dir, path, whole);
        if (below_root(whole) && hit(OPEN, -1, NULL, 0))
            return -1;
    }
    int fd = call(dir, path, flags, mode);
    opened(fd, flags);
    return fd;
}

static mode_t mode_of(int flags, va_list args)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return open_as(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return open_as(dir, path, flags, mode);
}

/* What a fortified build calls. */
int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
    return open_as(AT_FDCWD, path, flags, 0);
}

int __openat_2(int dir, const char *path, int flags);
int __openat_2(int dir, const char *path, int flags)
{
    return open_as(dir, path, flags, 0);
}

int ftruncate(int fd, off_t size)
{
    if (ours(fd) && hit(TRUNCATE, fd, NULL, 0))
        return -1;
    return real_ftruncate(fd, size);
}

int posix_fallocate(int fd, off_t at, off_t n)
{
    REAL(posix_fallocate);
    if (ours(fd) && hit(TRUNCATE, fd, NULL, 0))
        return errno;
    return call(fd, at, n);
}

void *mmap(void *p, size_t n, int protection, int flags, int fd, off_t at)
{
    REAL(mmap);
    if (fd >= 0 && ours(fd) && hit(MMAP, fd, NULL, 0))
        return MAP_FAILED;
    return call(p, n, protection, flags, fd, at);
}

int socket(int family, int type, int protocol)
{
    REAL(socket);
    return hit(SOCKET, -1, NULL, 0) ? -1 : call(family, type, protocol);
}

static bool hit_malloc(const void *caller)
{
    uintptr_t at = (uintptr_t)caller;
    bool own = at >= in.program && at < in.program_end;
    return hit(own ? MALLOC : LIBMALLOC, -1, NULL, 0);
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t n)
{
    return hit_malloc(CALLER) ? NULL : __libc_malloc(n);
}

void *calloc(size_t count, size_t each)
{
    return hit_malloc(CALLER) ? NULL : __libc_calloc(count, each);
}

void *realloc(void *p, size_t n)
{
    return hit_malloc(CALLER) ? NULL : __libc_realloc(p, n);
}

/* ---- what is wished for ---- */

static bool parse_action(const char *word)
{
    if (strcmp(word, "kill") == 0 || strcmp(word, "forget") == 0) {
        in.action = word[0] == 'k' ? KILL : FORGET;
        return true;
    }
    size_t n = strcspn(word, "+");
    in.action = FAIL;
    in.lasting = word[n] == '+';
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (strlen(errors[i].word) == n && strncmp(errors[i].word, word, n) == 0)
            in.error = errors[i].error;
    return in.error != 0;
}

static bool parse_classes(char *words)
{
    char *rest;
    for (char *w = strtok_r(words, ",", &rest); w; w = strtok_r(NULL, ",", &rest)) {
        unsigned before = in.classes;
        for (unsigned i = 0; i < sizeof class_words / sizeof class_words[0]; i++)
            if (strcmp(class_words[i], w) == 0)
                in.classes |= 1u << i;
        if (in.classes == before)
            return false;
    }
    return in.classes != 0;
}

/* The first object is the program. */
static int find_program(struct dl_phdr_info *object, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
            continue;
        in.program = object->dlpi_addr + part->p_vaddr;
        in.program_end = in.program + part->p_memsz;
    }
    return 1;
}

static void in_child(void)
{
    in.active = false;
}

static void map_count(const char *path)
{
    int fd = real_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void *p = fd >= 0 && real_ftruncate(fd, 8) == 0
                  ? mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                  : MAP_FAILED;
    if (fd >= 0)
        close(fd);
    if (p == MAP_FAILED)
        return;
    in.count = p;
    *in.count = 0;
}

__attribute__((constructor)) static void begin(void)
{
    char words[256];
    const char *wish = getenv("INJECT"), *root = getenv("INJECT_ROOT"),
               *count = getenv("INJECT_COUNT"), *seed = getenv("INJECT_SEED");
    if (!wish)
        return;
    snprintf(words, sizeof words, "%s", wish);
    char *number = strchr(words, ':');
    char *action = number ? strchr(number + 1, ':') : NULL;
    in.boot_id = getenv("INJECT_BOOT_ID");
    in.shadow = getenv("INJECT_SHADOW");
    if (root)
        snprintf(in.root, sizeof in.root, "%s", root);
    in.random = (seed ? strtoull(seed, NULL, 10) : 0) * 2 + 0x9e3779b97f4a7c15u;
    in.count = &in.own_count;
    if (count)
        map_count(count);
    bool good = action;
    if (good) {
        *number = *action = '\0';
        in.at = strtoull(number + 1, NULL, 10);
        good = parse_classes(words) && parse_action(action + 1);
    }
    if (!good) {
        fprintf(stderr, "inject: \"%s\" is no CLASSES:N:ACTION\n", wish);
        _exit(64);
    }
    dl_iterate_phdr(find_program, NULL);
    pthread_atfork(NULL, NULL, in_child);
    in.active = true;
}
