#include "base/map.h"

#include <stdlib.h>

#include "base/mem.h"

enum { MAP_FIRST = 16 };

__extension__ typedef unsigned __int128 uint128;

/* wyhash-like multiply and fold: not for hostile tables bigger than a list of names. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    uint128 r = (uint128)a * b;
    return (uint64_t)r ^ (uint64_t)(r >> 64);
}

uint64_t hash_bytes(const void *p, size_t n)
{
    const unsigned char *s = p;
    uint64_t h = 0x2d358dccaa6c78a5u ^ n;
    while (n >= 8) {
        uint64_t word;
        memcpy(&word, s, 8);
        h = fold(h ^ word, 0x8bb84b93962eacc9u);
        s += 8;
        n -= 8;
    }
    uint64_t tail = 0;
    if (n)
        memcpy(&tail, s, n);
    h = fold(h ^ tail, 0x4b33a62ed433d4a3u);
    return fold(h, 0x9e3779b97f4a7c15u);
}

void map_finish(struct map *m)
{
    free(m->slots);
    arena_finish(&m->keys);
    *m = (struct map){0};
}

static struct map_entry *find(const struct map *m, struct span key, uint64_t hash)
{
    uint32_t mask = m->cap - 1;
    for (uint32_t i = (uint32_t)hash & mask;; i = (i + 1) & mask) {
        struct map_entry *e = &m->slots[i];
        if (!e->key || (e->hash == hash &&
                        span_equal((struct span){e->key, e->key_n}, key)))
            return e;
    }
}

static void grow(struct map *m)
{
    struct map_entry *old = m->slots;
    uint32_t old_cap = m->cap;
    m->cap = old_cap ? old_cap * 2 : MAP_FIRST;
    m->slots = mem_zero(m->cap, sizeof *m->slots);
    for (uint32_t i = 0; i < old_cap; i++)
        if (old[i].key)
            *find(m, (struct span){old[i].key, old[i].key_n}, old[i].hash) = old[i];
    free(old);
}

uint32_t map_get(const struct map *m, struct span key)
{
    if (m->cap == 0)
        return MAP_NONE;
    const struct map_entry *e = find(m, key, hash_bytes(key.p, key.n));
    return e->key ? e->value : MAP_NONE;
}

uint32_t map_put(struct map *m, struct span key, uint32_t value_if_new, bool *added_out,
                 const char **key_out)
{
    if (m->n >= m->cap / 4 * 3)
        grow(m);
    uint64_t hash = hash_bytes(key.p, key.n);
    struct map_entry *e = find(m, key, hash);
    bool added = !e->key;
    if (added) {
        e->key = arena_strndup(&m->keys, key.p, key.n);
        e->key_n = (uint32_t)key.n;
        e->hash = hash;
        e->value = value_if_new;
        m->n++;
    }
    if (added_out)
        *added_out = added;
    if (key_out)
        *key_out = e->key;
    return e->value;
}
