#include "queue/board.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "queue/flight.h"

enum {
    FILE_MODE = 0600,
    PEN = BOARD_JOBS_MAX, /* the byte whose lock allows to change who has which slot */
    PEN_YIELDS = 100,     /* it is held for microseconds … */
    PEN_NAPS = 200,       /* … or for milliseconds, by who joins … */
    JOIN_NAPS = 5000,     /* … or longer, by the first one, on a slow disk */
    NAP_NS = 1000 * 1000,
    PROBES_MAX = 128,    /* slots that are looked at for a key */
    LIMITS_S = 600,      /* so long the limits of a job hold for others: one may wait
                            for its rate without a connection */
    WANTED_S = 3,        /* a job that wants a connection says so twice a second */
    STOPPED_S = 30 * 60, /* board_open */
    LATE_S = 60 * 60,
    TURN_US = 30 * 1000 * 1000, /* one job's turn, where there are too few for all */
    GRACE_US = 1000 * 1000, /* so long a slot is whose it was given to, until used */
};
static const char file_name[] = "../.running"; /* a job's folder is in its spool */
static const char magic[8] = "hkrun 2";
/* No word lasts for longer, nor may a gate be shut for longer. */
static const int64_t longest_us = INT64_C(8) * 24 * 3600 * 1000 * 1000;
static const int64_t gate_longest_us = INT64_C(16) * 3600 * 1000 * 1000;
static const int64_t ways_back_us = INT64_C(3600) * 1000 * 1000;

/* The file. */
struct sheet {
    char magic[8];
    char boot_id[FLIGHT_BOOT_ID_MAX];
    int64_t apart_us;              /* wall clock minus the monotonic one */
    _Atomic int64_t seen_us;       /* when somebody last looked up a slot */
    _Atomic uint64_t joined;       /* by place; the dead too, until somebody notices */
    _Atomic uint32_t told;         /* board_told */
    _Atomic int64_t wide_until_us; /* no word of board_tell_wide is for longer */
    struct board_slot slots[BOARD_SLOTS];
};

struct board {
    int fd, place;
    bool pen_stuck; /* somebody has it who was stopped, as it seems */
    struct sheet *sheet;
};

/* ---- locks ---- */

static struct flock byte_at(off_t place)
{
    return (struct flock){
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = place, .l_len = 1};
}

static void pen_give(struct board *b)
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

static bool pen_take(struct board *b)
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

/* ---- slots; with the pen ---- */

static bool has_come(int64_t us, int64_t now_us)
{
    return us <= now_us;
}

static uint32_t connections(const struct sheet *sheet, const struct board_slot *slot)
{
    uint64_t joined = atomic_load(&sheet->joined);
    uint32_t n = 0;
    for (; joined; joined &= joined - 1)
        n += atomic_load(&slot->open[__builtin_ctzll(joined)]);
    return n;
}

/* Nobody needs it, and nothing in it is still to come. */
static bool is_over(const struct sheet *sheet, const struct board_slot *slot,
                    int64_t now_us)
{
    return has_come(atomic_load(&slot->connects.full_ns) / 1000, now_us) &&
           has_come(atomic_load(&slot->mails.full_ns) / 1000, now_us) &&
           has_come(atomic_load(&slot->closed_until_us), now_us) &&
           has_come(atomic_load(&slot->slow_until_us), now_us) &&
           has_come(atomic_load(&slot->kept_until_us), now_us) &&
           connections(sheet, slot) == 0;
}

/* The key's slot; else, with `fresh`, the first that can become it. */
static struct board_slot *find(struct sheet *sheet, uint64_t key, bool fresh,
                               int64_t now_us)
{
    struct board_slot *room = NULL;
    assert(key);
    for (uint64_t i = 0; i < PROBES_MAX; i++) {
        struct board_slot *slot = &sheet->slots[(key + i) % BOARD_SLOTS];
        uint64_t has = atomic_load(&slot->key);
        if (has == key)
            return slot;
        if (!room && (has == 0 || (fresh && is_over(sheet, slot, now_us))))
            room = slot;
        if (has == 0)
            break;
    }
    if (!room || !fresh)
        return NULL;
    /* The key last: who is killed in between has emptied a slot that was over. */
    const struct board_slot fresh_slot = {.allowed = UINT32_MAX};
    const size_t rest = offsetof(struct board_slot, connects);
    memcpy((char *)room + rest, (const char *)&fresh_slot + rest,
           sizeof fresh_slot - rest);
    atomic_store(&room->key, key);
    return room;
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
        if (sheet->slots[i].key && !is_over(sheet, &sheet->slots[i], now_us))
            memcpy(&kept[n++], &sheet->slots[i], sizeof *kept);
    memset(sheet->slots, 0, sizeof sheet->slots);
    for (int i = 0; i < n; i++) {
        struct board_slot *slot = find(sheet, kept[i].key, true, now_us);
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

/* ---- paths ---- */

struct board_slot *board_take(struct board *b, uint64_t key, int64_t now_us)
{
    if (!pen_take(b))
        return NULL;
    struct board_slot *slot = find(b->sheet, key, true, now_us);
    if (slot && slot->kept_until_us < now_us + GRACE_US)
        atomic_store(&slot->kept_until_us, now_us + GRACE_US);
    atomic_store(&b->sheet->seen_us, now_us);
    pen_give(b);
    return slot;
}

/* Seconds since this job last said that it wants connections, modulo 18 hours. The last
 * one of these is none: our own time may be a little older than what it said. */
static int silent_s(const struct board_slot *slot, int place, int64_t now_us)
{
    uint16_t s = (uint16_t)(now_us / 1000000 - atomic_load(&slot->wanted[place]));
    return s > UINT16_MAX - LATE_S ? 0 : s;
}

static void say_limits(struct board_limits *said, const struct limits *limits)
{
    atomic_store(&said->connections, limits->connections);
    atomic_store(&said->message_rate, (uint32_t)limits->message_rate);
    atomic_store(&said->connection_rate, (uint32_t)limits->connection_rate);
}

static struct limits limits_said(const struct board_limits *said)
{
    return (struct limits){atomic_load(&said->connections),
                           atomic_load(&said->message_rate),
                           atomic_load(&said->connection_rate)};
}

struct sharing board_share(struct board *b, struct board_slot *slot,
                           struct limits *limits, int64_t now_us)
{
    struct sharing share = {.jobs = 1, .turn = (uint32_t)(now_us / TURN_US)};
    uint64_t others = atomic_load(&b->sheet->joined) & ~(UINT64_C(1) << b->place);
    say_limits(&slot->limits[b->place], limits);
    atomic_store(&slot->wanted[b->place], (uint16_t)(now_us / 1000000));
    atomic_store(&b->sheet->seen_us, now_us);
    for (; others; others &= others - 1) {
        int place = __builtin_ctzll(others);
        int silent =
            atomic_load(&slot->open[place]) ? 0 : silent_s(slot, place, now_us);
        struct limits said = limits_said(&slot->limits[place]);
        if (silent <= LIMITS_S && said.connections > 0) /* else it never said any */
            limits_join(limits, &said);
        if (silent > WANTED_S)
            continue;
        share.jobs++;
        share.before += place < b->place;
    }
    return share;
}

bool board_open(struct board *b, struct board_slot *slot, uint32_t most, int64_t now_us)
{
    /* First ours, then the sum: of two at once one at least sees the other. */
    atomic_fetch_add(&slot->open[b->place], 1);
    uint32_t n = connections(b->sheet, slot);
    for (int place = 0; n > most && place < BOARD_JOBS_MAX; place++)
        if (place != b->place && silent_s(slot, place, now_us) > STOPPED_S)
            n -= atomic_load(&slot->open[place]);
    if (n <= most)
        return true;
    board_close(b, slot);
    return false;
}

void board_close(struct board *b, struct board_slot *slot)
{
    atomic_fetch_sub(&slot->open[b->place], 1);
}

uint32_t board_connections(const struct board *b, const struct board_slot *slot)
{
    return connections(b->sheet, slot);
}

/* ---- words ---- */

static void set_why(struct board_slot *slot, const char *why)
{
    utf8_copy(slot->why, sizeof slot->why, why);
}

void board_tell(struct board *b, struct board_slot *slot, const struct board_word *word,
                int64_t now_us)
{
    if (!pen_take(b))
        return;
    int64_t until_us = word->closed_until_us > now_us ? word->closed_until_us : now_us;
    bool weaker = slot->closed_until_us > until_us; /* than what another job was told */
    if (!weaker) {
        atomic_store(&slot->closed_until_us, word->closed_until_us);
        atomic_store(&slot->allowed, word->allowed);
        atomic_store(&slot->kept_until_us,
                     until_us +
                         (word->allowed == UINT32_MAX ? GRACE_US : ways_back_us));
        set_why(slot, word->why);
    }
    bool was_slow = slot->slow_until_us > now_us;
    if (word->slow_until_us > now_us && (!was_slow || word->slow >= slot->slow)) {
        atomic_store(&slot->slow, word->slow);
        atomic_store(&slot->slow_until_us, word->slow_until_us);
    }
    pen_give(b);
    atomic_fetch_add(&b->sheet->told, 1);
}

bool board_widen(struct board *b, struct board_slot *slot, uint32_t was,
                 uint32_t allowed, int64_t now_us)
{
    if (!has_come(atomic_load(&slot->closed_until_us), now_us) ||
        !atomic_compare_exchange_strong(&slot->allowed, &was, allowed))
        return false;
    atomic_store(&slot->kept_until_us, now_us + ways_back_us);
    atomic_fetch_add(&b->sheet->told, 1);
    return true;
}

void board_hear(struct board *b, const struct board_slot *slot, struct board_word *out)
{
    bool pen = pen_take(b);
    *out = (struct board_word){.closed_until_us = atomic_load(&slot->closed_until_us),
                               .allowed = atomic_load(&slot->allowed),
                               .slow = atomic_load(&slot->slow),
                               .slow_until_us = atomic_load(&slot->slow_until_us)};
    if (pen) {
        memcpy(out->why, slot->why, sizeof out->why);
        pen_give(b);
    }
}

void board_tell_wide(struct board *b, uint64_t key, int64_t closed_until_us,
                     const char *why, int64_t now_us)
{
    if (!pen_take(b))
        return;
    struct board_slot *slot = find(b->sheet, key, true, now_us);
    if (slot && closed_until_us > slot->closed_until_us) {
        atomic_store(&slot->closed_until_us, closed_until_us);
        set_why(slot, why);
        if (closed_until_us > b->sheet->wide_until_us)
            atomic_store(&b->sheet->wide_until_us, closed_until_us);
    }
    pen_give(b);
    atomic_fetch_add(&b->sheet->told, 1);
}

bool board_hear_wide(struct board *b, uint64_t key, int64_t now_us,
                     struct board_word *out)
{
    if (has_come(atomic_load(&b->sheet->wide_until_us), now_us) || !pen_take(b))
        return false;
    const struct board_slot *slot = find(b->sheet, key, false, now_us);
    bool closed = slot && slot->closed_until_us > now_us;
    *out = (struct board_word){.closed_until_us = closed ? slot->closed_until_us : 0,
                               .allowed = UINT32_MAX};
    if (closed)
        memcpy(out->why, slot->why, sizeof out->why);
    pen_give(b);
    return closed;
}

uint32_t board_told(const struct board *b)
{
    return atomic_load(&b->sheet->told);
}
