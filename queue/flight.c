#include "queue/flight.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"

enum { JOB_ID_MAX = 256 };

static const char magic[8] = "hkfly 1";

struct entry {
    uint32_t row;
    _Atomic uint32_t state;
};

/* The file. */
struct sheet {
    char magic[8];
    char boot_id[FLIGHT_BOOT_ID_MAX];
    char job_id[JOB_ID_MAX];
    struct entry entries[FLIGHT_ENTRIES];
};

struct flight {
    struct sheet *sheet;
    uint32_t *free; /* stack of free entries */
    uint32_t free_n;
};

void flight_boot_id(char out[FLIGHT_BOOT_ID_MAX])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, out, FLIGHT_BOOT_ID_MAX - 1);
    if (fd >= 0)
        close(fd);
    out[n < 0 ? 0 : n] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

struct flight *flight_create(const char *path, const char *job_id, const char *boot_id,
                             struct fault *f)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    /* Space is taken now: a store into a hole of a full disk would be SIGBUS. */
    int error = fd < 0 ? errno : posix_fallocate(fd, 0, sizeof(struct sheet));
    void *p = MAP_FAILED;
    if (!error) {
        p = mmap(NULL, sizeof(struct sheet), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        error = p == MAP_FAILED ? errno : 0;
    }
    if (fd >= 0)
        close(fd);
    if (error) {
        fault_set(f, -20, "cannot make \"%s\": %s", path, strerror(error));
        return NULL;
    }
    struct flight *flight = mem_zero(1, sizeof *flight);
    flight->sheet = p;
    memcpy(flight->sheet->magic, magic, sizeof magic);
    strncpy(flight->sheet->boot_id, boot_id, FLIGHT_BOOT_ID_MAX - 1);
    strncpy(flight->sheet->job_id, job_id, JOB_ID_MAX - 1);
    flight->free = mem_alloc(FLIGHT_ENTRIES * sizeof *flight->free);
    for (uint32_t i = FLIGHT_ENTRIES; i > 0; i--)
        flight->free[flight->free_n++] = i - 1;
    return flight;
}

void flight_close(struct flight *f)
{
    if (!f)
        return;
    munmap(f->sheet, sizeof *f->sheet);
    free(f->free);
    free(f);
}

uint32_t flight_take(struct flight *f, uint32_t row)
{
    if (f->free_n == 0)
        return UINT32_MAX;
    uint32_t entry = f->free[--f->free_n];
    f->sheet->entries[entry].row = row;
    atomic_store_explicit(&f->sheet->entries[entry].state, FLIGHT_LENT,
                          memory_order_release);
    return entry;
}

void flight_give_back(struct flight *f, uint32_t entry)
{
    assert(entry < FLIGHT_ENTRIES && f->free_n < FLIGHT_ENTRIES);
    atomic_store_explicit(&f->sheet->entries[entry].state, FLIGHT_FREE,
                          memory_order_release);
    f->free[f->free_n++] = entry;
}

uint32_t flight_free_entries(const struct flight *f)
{
    return f->free_n;
}

void flight_set(struct flight *f, uint32_t entry, enum flight_state state)
{
    assert(entry < FLIGHT_ENTRIES);
    atomic_store_explicit(&f->sheet->entries[entry].state, state, memory_order_release);
}

enum flight_read
flight_read(const char *path, const char *job_id, const char *boot_id,
            void (*each)(void *arg, uint32_t row, enum flight_state state), void *arg)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? FLIGHT_NONE : FLIGHT_STRANGE;
    struct sheet *sheet = mem_zero(1, sizeof *sheet);
    size_t n = 0;
    for (ssize_t got = 1; got > 0 && n<sizeof *sheet; n += got> 0 ? (size_t)got : 0)
        got = read(fd, (char *)sheet + n, sizeof *sheet - n);
    close(fd);
    /* Without a name for this boot nobody can tell a kill from a power loss. */
    bool good = boot_id[0] && n == sizeof *sheet &&
                memcmp(sheet->magic, magic, sizeof magic) == 0 &&
                strncmp(sheet->boot_id, boot_id, FLIGHT_BOOT_ID_MAX - 1) == 0 &&
                strncmp(sheet->job_id, job_id, JOB_ID_MAX - 1) == 0;
    for (uint32_t i = 0; good && i < FLIGHT_ENTRIES; i++) {
        uint32_t state = atomic_load(&sheet->entries[i].state);
        if (state != FLIGHT_FREE && state <= FLIGHT_OTHER)
            each(arg, sheet->entries[i].row, (enum flight_state)state);
    }
    free(sheet);
    return good ? FLIGHT_GOOD : FLIGHT_STRANGE;
}
