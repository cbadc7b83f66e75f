#include "resolver/cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

enum { CACHE_FIRST = 64 };

static uint32_t hash_of(uint16_t type, const char *name)
{
    uint64_t h = hash_bytes(name, strlen(name)) + type;
    return (uint32_t)(h ^ h >> 32);
}

void cache_init(struct cache *c, uint32_t most, cache_free_fn *free_entry)
{
    *c = (struct cache){.most = most, .free_entry = free_entry};
    c->buckets_n = CACHE_FIRST;
    c->buckets = mem_zero(c->buckets_n, sizeof(struct cache_entry *));
    link_init(&c->resting);
}

void cache_finish(struct cache *c)
{
    for (uint32_t i = 0; i < c->buckets_n; i++) {
        for (struct cache_entry *e = c->buckets[i], *next; e; e = next) {
            next = e->next;
            c->free_entry(e);
        }
    }
    free(c->buckets);
    *c = (struct cache){0};
}

struct cache_entry *cache_find(const struct cache *c, uint16_t type, const char *name)
{
    uint32_t hash = hash_of(type, name);
    struct cache_entry *e = c->buckets[hash & (c->buckets_n - 1)];
    while (e && (e->hash != hash || e->type != type || strcmp(e->name, name) != 0))
        e = e->next;
    return e;
}

static void grow(struct cache *c)
{
    uint32_t buckets_n = c->buckets_n * 2;
    struct cache_entry **buckets = mem_zero(buckets_n, sizeof(struct cache_entry *));
    for (uint32_t i = 0; i < c->buckets_n; i++) {
        for (struct cache_entry *e = c->buckets[i], *next; e; e = next) {
            next = e->next;
            e->next = buckets[e->hash & (buckets_n - 1)];
            buckets[e->hash & (buckets_n - 1)] = e;
        }
    }
    free(c->buckets);
    c->buckets = buckets;
    c->buckets_n = buckets_n;
}

static void forget(struct cache *c, struct cache_entry *e)
{
    struct cache_entry **at = &c->buckets[e->hash & (c->buckets_n - 1)];
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    link_remove(&e->link);
    c->n--;
    c->free_entry(e);
}

static void shrink(struct cache *c)
{
    while (c->n > c->most && !link_alone(&c->resting))
        forget(c, CONTAINER_OF(c->resting.next, struct cache_entry, link));
}

void cache_add(struct cache *c, struct cache_entry *e)
{
    if (c->n >= c->buckets_n)
        grow(c);
    e->hash = hash_of(e->type, e->name);
    e->next = c->buckets[e->hash & (c->buckets_n - 1)];
    c->buckets[e->hash & (c->buckets_n - 1)] = e;
    link_init(&e->link);
    c->n++;
    shrink(c);
}

void cache_rest(struct cache *c, struct cache_entry *e)
{
    link_append(&c->resting, &e->link);
    shrink(c);
}

void cache_wake(struct cache_entry *e)
{
    link_remove(&e->link);
}

void cache_drop(struct cache *c, struct cache_entry *e)
{
    forget(c, e);
}
