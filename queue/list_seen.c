#include "queue/list_seen.h"

#include <assert.h>
#include <sys/mman.h>

#include "base/mem.h"

enum { FIRST_CAP = 1 << 10 };

/* Zeroed memory straight from the system, and straight back: malloc would keep what was
 * freed in holes, at the cost of as many bytes a row for the whole run. */
static uint32_t *take_pages(size_t cap)
{
    void *p = mmap(NULL, cap * sizeof(uint32_t), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        die_oom();
    return p;
}

static void give_pages(uint32_t *p, size_t cap)
{
    if (p)
        munmap(p, cap * sizeof *p);
}

static void double_hashes(struct list_seen *s)
{
    if (s->hashes_cap == 0) {
        s->hashes_cap = FIRST_CAP;
        s->hashes = take_pages(FIRST_CAP);
        return;
    }
    size_t bytes = s->hashes_cap * sizeof *s->hashes;
    void *p = mremap(s->hashes, bytes, 2 * bytes, MREMAP_MAYMOVE);
    if (p == MAP_FAILED)
        die_oom();
    s->hashes = p;
    s->hashes_cap *= 2;
}

/* 0 in hashes means that the row is not in the table. */
static uint32_t not_zero(uint32_t hash)
{
    return hash ? hash : 1;
}

static void insert(struct list_seen *s, uint32_t row)
{
    size_t at = s->hashes[row] & (s->cap - 1);
    while (s->slots[at])
        at = (at + 1) & (s->cap - 1);
    s->slots[at] = row;
}

/* The old slots go before the new ones come: the hashes are enough to fill them, and
 * memory never holds both. */
static void grow(struct list_seen *s)
{
    give_pages(s->slots, s->cap);
    s->cap = s->cap ? s->cap * 2 : FIRST_CAP;
    s->slots = take_pages(s->cap);
    for (uint32_t row = 1; row < s->hashes_n; row++)
        if (s->hashes[row])
            insert(s, row);
}

void list_seen_add(struct list_seen *s, uint32_t row, uint32_t hash)
{
    assert(row >= 1 && row >= s->hashes_n);
    while (row >= s->hashes_cap)
        double_hashes(s);
    if (s->n >= s->cap / 4 * 3)
        grow(s);
    s->hashes[row] = not_zero(hash);
    s->hashes_n = row + 1;
    insert(s, row);
    s->n++;
}

uint32_t list_seen_next(const struct list_seen *s, uint32_t hash, size_t *probe)
{
    if (s->cap == 0)
        return 0;
    hash = not_zero(hash);
    for (;;) {
        uint32_t row = s->slots[(hash + (*probe)++) & (s->cap - 1)];
        if (row == 0 || s->hashes[row] == hash)
            return row;
    }
}

void list_seen_finish(struct list_seen *s)
{
    give_pages(s->hashes, s->hashes_cap);
    give_pages(s->slots, s->cap);
    *s = (struct list_seen){0};
}
