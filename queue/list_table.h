/* A file whose lines hold addresses, and which addresses were seen in it so far: what
 * finds duplicates in the list and tells who is in the exclude file. An address found
 * by its hash is compared with the text of the row, so that no two addresses are ever
 * taken for one. One thread. */
#ifndef QUEUE_LIST_TABLE_H
#define QUEUE_LIST_TABLE_H

#include "base/address.h"
#include "queue/list_columns.h"
#include "queue/list_file.h"
#include "queue/list_seen.h"

/* An address as it is compared: finished, and its ASCII letters in lower case. */
struct list_key {
    char text[ADDRESS_MAX];
    size_t n;
    uint32_t hash;
};
void list_key_make(struct list_key *key, const struct address *address);

struct list_table {
    struct list_file file;
    struct list_columns columns;
    struct list_seen seen;
    struct span *fields; /* scratch: one for each column */
    struct buf line;
};

/* The first row with this address, 0: none. false and *f: the file cannot be read
 * again. */
bool list_table_find(struct list_table *t, const struct list_key *key,
                     uint32_t *row_out, struct fault *f);

/* Give back all that is only needed while rows are added: the set and the scratch. */
void list_table_settle(struct list_table *t);
void list_table_close(struct list_table *t);

/* The exclude file: addresses one a line, or a TSV with the address column. Lines that
 * hold no address are counted; more of them than addresses means that the file is
 * something else than we think, and is refused: silence would send mail to people who
 * must not get any. */
struct list_excluded {
    uint32_t ignored;      /* neither blank nor an address */
    uint64_t ignored_line; /* line number of the first of them */
};

/* Read it whole. false and *f: -8, -10, -20. Close it also after that. */
bool list_exclude_open(struct list_table *t, const char *path,
                       const char *address_column, struct list_excluded *out,
                       struct fault *f);

#endif
