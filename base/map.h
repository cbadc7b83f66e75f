/* A map from byte strings to a 32-bit number, open addressing, for names (domains, sites,
 * columns). Keys are copied into the map and stay where they are until finish. No delete.
 * Not thread-safe. A zeroed struct is an empty map. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define MAP_NONE UINT32_MAX /* no key has this value */

struct map_entry {
    const char *key; /* NULL: free slot */
    uint32_t key_n;
    uint32_t value;
    uint64_t hash;
};

struct map {
    struct map_entry *slots;
    uint32_t cap; /* a power of two */
    uint32_t n;
    struct arena keys;
};

void map_finish(struct map *m);

/* The value of the key, or MAP_NONE. */
uint32_t map_get(const struct map *m, struct span key);

/* The value of the key; a key that is new gets `value_if_new`, and *added_out (may be
 * NULL) says so. *key_out (may be NULL) is the map's own copy, NUL-terminated. */
uint32_t map_put(struct map *m, struct span key, uint32_t value_if_new, bool *added_out,
                 const char **key_out);

/* A good 64-bit hash of bytes, for this map and other tables. */
uint64_t hash_bytes(const void *p, size_t n);

#endif
