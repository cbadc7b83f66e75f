/* Which addresses of a file were seen: row numbers, found by a hash of the address. It
 * holds no text; who asks reads the rows that it names and compares. 4 bytes a row for
 * the hashes and 5 to 11 for the table, given back when the list is open. A zeroed
 * struct is empty. */
#ifndef QUEUE_LIST_SEEN_H
#define QUEUE_LIST_SEEN_H

#include <stddef.h>
#include <stdint.h>

struct list_seen {
    uint32_t *hashes;  /* by row; 0: not in the table */
    uint32_t hashes_n; /* up to the last row added */
    size_t hashes_cap;
    uint32_t *slots; /* row numbers, 0: free */
    size_t cap;      /* a power of two, or 0 */
    size_t n;
};

/* Rows come in rising order. */
void list_seen_add(struct list_seen *s, uint32_t row, uint32_t hash);

/* The rows with this hash, one a call, then 0. *probe is 0 at first. */
uint32_t list_seen_next(const struct list_seen *s, uint32_t hash, size_t *probe);

void list_seen_finish(struct list_seen *s);

#endif
