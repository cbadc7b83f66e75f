/* Names and what is known of them: a hash table that forgets the least recently used
 * entry when it is full. Entries are embedded in the structs of their owner. An entry
 * that is being worked on is awake and never forgotten. One thread; no clock. */
#ifndef RESOLVER_CACHE_H
#define RESOLVER_CACHE_H

#include <stdint.h>

#include "base/list.h"

struct cache_entry {
    struct cache_entry *next; /* in its bucket */
    struct link link;         /* resting: by last use; awake: the owner's to use */
    const char *name;         /* the owner's; must live as long as the entry */
    int64_t expires_us;       /* the owner's; what is known holds until then */
    uint32_t hash;
    uint16_t type; /* names of different types are different */
};

typedef void cache_free_fn(struct cache_entry *e);

struct cache {
    struct cache_entry **buckets;
    uint32_t buckets_n; /* a power of two */
    uint32_t n;
    uint32_t most; /* resting entries go when there are more */
    struct link resting;
    cache_free_fn *free_entry;
};

void cache_init(struct cache *c, uint32_t most, cache_free_fn *free_entry);
void cache_finish(struct cache *c); /* frees every entry, awake ones too */

struct cache_entry *cache_find(const struct cache *c, uint16_t type, const char *name);
/* Add an entry that is not there, awake; name and type are set. */
void cache_add(struct cache *c, struct cache_entry *e);
/* Its work is done, or it was used again: it rests, as the one used last. */
void cache_rest(struct cache *c, struct cache_entry *e);
/* Its link is the owner's again. */
void cache_wake(struct cache_entry *e);
/* Forget an entry that is awake. */
void cache_drop(struct cache *c, struct cache_entry *e);

#endif
