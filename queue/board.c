#include "queue/board_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    FILE_MODE = 0600,
    PEN = BOARD_JOBS_MAX, /* the byte whose lock allows to change who has which slot */
    PEN_YIELDS = 100,     /* it is held for microseconds … */
    PEN_NAPS = 200,       /* … or for milliseconds, by who joins … */
    JOIN_NAPS = 5000,     /* … or longer, by the first one, on a slow disk */
    NAP_NS = 1000 * 1000,
};
static const char file_name[] = "../.running"; /* a job's folder is in its spool */
static const char magic[8] = "hkrun 3";
/* No word lasts for longer, nor may a gate be shut for longer. */
static const int64_t longest_us = INT64_C(8) * 24 * 3600 * 1000 * 1000;
static const int64_t gate_longest_us = INT64_C(16) * 3600 * 1000 * 1000;

/* ---- locks ---- */

static struct flock byte_at(off_t place)
{
    return (struct flock){
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = place, .l_len = 1};
}

void pen_give(struct board *b)
{
    struct flock lock = byte_at(PEN);
    lock.l_type = F_UNLCK;
    fcntl(b->fd, F_OFD_SETLK, &lock);
}

/* Patiently, but only once: whoever was stopped with it must not stop all others. */
static bool pen_wait(struct board *b, int naps)
{
    static const struct timespec nap = {.tv_nsec = NAP_NS};
    struct flock lock = byte_at(PEN);
    int tries = b->pen_stuck ? 1 : PEN_YIELDS + naps;
    for (int i = 0; i < tries; i++) {
        b->pen_stuck = fcntl(b->fd, F_OFD_SETLK, &lock) != 0;
        if (!b->pen_stuck)
            return true;
        if (i < PEN_YIELDS)
            sched_yield();
        else
            nanosleep(&nap, NULL);
    }
    return false;
}

bool pen_take(struct board *b)
{
    return pen_wait(b, PEN_NAPS);
}

/* Has somebody else this place? */
static bool is_held(int fd, int place)
{
    struct flock lock = byte_at(place);
    return fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

/* The first place that nobody has; -1 with errno. */
static int take_place(int fd)
{
    for (int place = 0; place < BOARD_JOBS_MAX; place++) {
        struct flock lock = byte_at(place);
        if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
            return place;
        if (errno != EAGAIN && errno != EACCES)
            return -1;
    }
    errno = EUSERS;
    return -1;
}

/* What a job that is gone had open is open no more. */
static void empty_place(struct sheet *sheet, int place)
{
    for (int i = 0; i < BOARD_SLOTS; i++)
        if (atomic_load(&sheet->slots[i].key)) {
            atomic_store(&sheet->slots[i].open[place], 0);
            atomic_store(&sheet->slots[i].wanted[place], 0);
            atomic_store(&sheet->slots[i].limits[place].connections, 0);
        }
    atomic_fetch_and(&sheet->joined, ~(UINT64_C(1) << place));
}

/* ---- the file; with the pen ---- */

/* What of a time was left when the file was last used, less what has passed since. */
static int64_t moved(int64_t us, int64_t seen_us, int64_t passed_us, int64_t now_us,
                     int64_t longest)
{
    if (us <= seen_us || us - seen_us <= passed_us)
        return 0;
    int64_t left_us = us - seen_us - passed_us;
    return now_us + (left_us < longest ? left_us : longest);
}

/* The machine was started again: its monotonic clock is another one. A wall clock that
 * went back meanwhile says that no time has passed. Nobody's bytes are believed to say
 * more than could have been told. */
static void move_clocks(struct sheet *sheet, struct board_now now)
{
    int64_t seen_us = sheet->seen_us > 0 ? sheet->seen_us : 0;
    int64_t passed_us = now.wall_us - sheet->apart_us - seen_us;
    passed_us = passed_us > 0 ? passed_us : 0;
    for (int i = 0; i < BOARD_SLOTS; i++) {
        struct board_slot *slot = &sheet->slots[i];
        _Atomic int64_t *gates[] = {&slot->connects.full_ns, &slot->mails.full_ns};
        _Atomic int64_t *words[] = {&slot->closed_until_us, &slot->slow_until_us,
                                    &slot->kept_until_us};
        if (!slot->key)
            continue;
        for (size_t k = 0; k < sizeof gates / sizeof gates[0]; k++)
            *gates[k] =
                moved(*gates[k] / 1000, seen_us, passed_us, now.us, gate_longest_us) *
                1000;
        for (size_t k = 0; k < sizeof words / sizeof words[0]; k++)
            *words[k] = moved(*words[k], seen_us, passed_us, now.us, longest_us);
        slot->why[BOARD_WHY_MAX - 1] = '\0';
    }
    sheet->wide_until_us =
        moved(sheet->wide_until_us, seen_us, passed_us, now.us, longest_us);
}

/* Slots that are over make the way to the others longer. */
static void clean(struct sheet *sheet, int64_t now_us)
{
    struct board_slot *kept = mem_alloc(sizeof sheet->slots);
    int n = 0;
    for (int i = 0; i < BOARD_SLOTS; i++)
        if (sheet->slots[i].key && !slot_is_over(sheet, &sheet->slots[i], now_us))
            memcpy(&kept[n++], &sheet->slots[i], sizeof *kept);
    memset(sheet->slots, 0, sizeof sheet->slots);
    for (int i = 0; i < n; i++) {
        struct board_slot *slot = slot_find(sheet, kept[i].key, true, now_us);
        if (slot)
            memcpy(slot, &kept[i], sizeof *slot);
    }
    free(kept);
}

/* Whatever stands in the file, it is a sheet of this boot afterwards. */
static void make_good(struct sheet *sheet, const char *boot_id, struct board_now now)
{
    if (memcmp(sheet->magic, magic, sizeof magic) != 0) {
        memset(sheet, 0, sizeof *sheet);
        memcpy(sheet->magic, magic, sizeof magic);
    } else if (!boot_id[0] ||
               strncmp(sheet->boot_id, boot_id, FLIGHT_BOOT_ID_MAX - 1) != 0) {
        move_clocks(sheet, now);
    }
    strncpy(sheet->boot_id, boot_id, FLIGHT_BOOT_ID_MAX - 1);
    sheet->apart_us = now.wall_us - now.us;
    sheet->seen_us = now.us;
    clean(sheet, now.us);
}

/* 0 or errno. */
static int map(struct board *b)
{
    /* Space is taken now: a store into a hole of a full disk would be SIGBUS. */
    int error = posix_fallocate(b->fd, 0, sizeof(struct sheet));
    if (error)
        return error;
    void *p =
        mmap(NULL, sizeof(struct sheet), PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
    if (p == MAP_FAILED)
        return errno;
    b->sheet = p;
    return 0;
}

/* Those whose holder is gone; a bit for each that is left. */
static uint64_t bury(struct board *b)
{
    uint64_t joined = atomic_load(&b->sheet->joined), dead = 0;
    for (int place = 0; place < BOARD_JOBS_MAX; place++)
        if (joined >> place & 1 && place != b->place && !is_held(b->fd, place))
            dead |= UINT64_C(1) << place;
    if (dead && pen_take(b)) {
        for (int place = 0; place < BOARD_JOBS_MAX; place++)
            if (dead >> place & 1 && !is_held(b->fd, place)) /* nor by a new one */
                empty_place(b->sheet, place);
        pen_give(b);
    }
    return atomic_load(&b->sheet->joined);
}

/* ---- taking part ---- */

/* Is nobody else there? Places are taken with the pen, so nobody comes meanwhile. */
static bool is_alone(const struct board *b)
{
    for (int place = 0; place < BOARD_JOBS_MAX; place++)
        if (place != b->place && is_held(b->fd, place))
            return false;
    return true;
}

/* With the pen. 0 or errno. */
static int sit_down(struct board *b, const char *boot_id, struct board_now now)
{
    b->place = take_place(b->fd);
    if (b->place < 0)
        return errno;
    int error = map(b);
    if (error)
        return error;
    if (is_alone(b)) {
        b->sheet->joined = 0;
        make_good(b->sheet, boot_id, now);
    }
    if (memcmp(b->sheet->magic, magic, sizeof magic) != 0) { /* of another version */
        munmap(b->sheet, sizeof *b->sheet);
        return EBUSY;
    }
    empty_place(b->sheet, b->place);
    atomic_fetch_or(&b->sheet->joined, UINT64_C(1) << b->place);
    return 0;
}

/* 0 or errno. */
static int begin(struct board *b, const char *boot_id, struct board_now now)
{
    if (!pen_wait(b, JOIN_NAPS))
        return EBUSY;
    int error = sit_down(b, boot_id, now);
    pen_give(b);
    return error;
}

struct board *board_join_file(int fd, const char *boot_id, struct board_now now,
                              bool *full_out, struct fault *f)
{
    struct board *b = mem_zero(1, sizeof *b);
    b->fd = fd;
    int error = fd < 0 ? errno : begin(b, boot_id, now);
    *full_out = error == EUSERS;
    if (!error)
        return b;
    if (error == EUSERS)
        fault_set(f, -20, "more than %d jobs of this spool run", BOARD_JOBS_MAX);
    else
        fault_set(f, -20, "cannot use \"%s\" of the spool: %s", file_name + 3,
                  strerror(error));
    if (fd >= 0)
        close(fd);
    free(b);
    return NULL;
}

/* Nothing but a file of the spool, for whoever owns that: root begins jobs for others,
 * too. 0 or errno. */
static int make_ours(int fd, int job_dir)
{
    struct stat file, spool;
    if (fstat(fd, &file) != 0 || fstatat(job_dir, "..", &spool, 0) != 0)
        return errno;
    if (!S_ISREG(file.st_mode))
        return EINVAL;
    if (file.st_nlink > 1) /* it is another file as well */
        return EMLINK;
    if (geteuid() == 0 && file.st_uid == 0 && spool.st_uid != 0)
        return fchown(fd, spool.st_uid, spool.st_gid) == 0 ? 0 : errno;
    return 0;
}

struct board *board_join(int job_dir, const char *boot_id, struct board_now now,
                         bool *full_out, struct fault *f)
{
    int fd = openat(job_dir, file_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
                    FILE_MODE);
    int error = fd < 0 ? 0 : make_ours(fd, job_dir);
    if (error) {
        close(fd);
        fd = -1;
        errno = error;
    }
    return board_join_file(fd, boot_id, now, full_out, f);
}

void board_leave(struct board *b)
{
    if (!b)
        return;
    if (pen_take(b)) { /* else somebody will find it dead */
        empty_place(b->sheet, b->place);
        pen_give(b);
    }
    munmap(b->sheet, sizeof *b->sheet);
    close(b->fd);
    free(b);
}

bool board_is_gone(const struct board *b)
{
    struct stat st;
    return fstat(b->fd, &st) == 0 && st.st_nlink == 0;
}

uint32_t board_jobs(struct board *b, uint32_t *before_out)
{
    uint64_t living = bury(b) | UINT64_C(1) << b->place;
    *before_out =
        (uint32_t)__builtin_popcountll(living & ((UINT64_C(1) << b->place) - 1));
    return (uint32_t)__builtin_popcountll(living);
}

uint32_t board_look(const char *spool)
{
    uint32_t n = 0;
    struct buf path = {0};
    buf_printf(&path, "%s/%s", spool, file_name + 3);
    int fd = open(buf_cstr(&path), O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    for (int place = 0; fd >= 0 && place < BOARD_JOBS_MAX; place++) {
        struct flock lock = byte_at(place);
        n += fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    }
    if (fd >= 0)
        close(fd);
    buf_finish(&path);
    return n;
}
