/* The recipient list (TSV): read once in one pass, then each row is found by its
 * offset. The file stays the only copy of the text: a row costs 9 bytes here, and is
 * read again with pread when it is needed, so that a file cut short underneath us is an
 * error value, not a SIGBUS. Besides that each domain costs about 100 bytes, and while
 * the list is opened each row (and each line of the exclude file) up to 15 bytes more.
 *
 * recipients_open in one thread; afterwards immutable, and any thread may call the rest
 * with its own struct recipient. Format: docs/list.md. */
#ifndef QUEUE_RECIPIENTS_H
#define QUEUE_RECIPIENTS_H

#include <stdint.h>

#include "base/address.h"
#include "base/buf.h"
#include "base/fault.h"

enum { RECIPIENTS_COLUMNS_MAX = 1000 };
#define RECIPIENTS_NO_DOMAIN UINT32_MAX

struct recipients;

struct recipients_params {
    const char *path;           /* a regular file; nothing here is kept after open */
    const char *name;           /* what messages call it; NULL: path */
    const char *address_column; /* NULL: "email", whatever its case */
    const char *exclude;        /* file of addresses that get 801, NULL: none */
    bool allow_duplicates;
    uint32_t first_row, last_row; /* only these rows are in the job; 0, 0: all */
    const char
        *to; /* proof: every row goes to this address, which address_parse has
                finished; NULL: none. Then duplicates are no matter; a row that has no
                mail of its own (611, 800, excluded) has no proof either */
};

/* NULL and *f: -8 cannot be opened (list or exclude file), -9 the header cannot be
 * read, -10 the header (or the exclude file) is not understood, -20 read error behind
 * the header, -21 the file changes while it is read. words name the file and say what
 * is wrong. */
struct recipients *recipients_open(const struct recipients_params *params,
                                   struct fault *f);
void recipients_free(struct recipients *r); /* NULL is allowed */

/* Data rows in the file: its lines less the header. Row numbers are 1 … rows. */
uint32_t recipients_rows(const struct recipients *r);
/* Rows of the job: first … last; last < first: none. */
uint32_t recipients_first(const struct recipients *r);
uint32_t recipients_last(const struct recipients *r);

int recipients_columns(const struct recipients *r);
const char *const *recipients_column_names(const struct recipients *r);
int recipients_address_column(const struct recipients *r);

/* Lines of the exclude file that were passed over, for they hold no address and are not
 * blank; *line_out (may be NULL): line number of the first. A few are worth a warning;
 * a file where they are the greater part was refused with -10. */
uint32_t recipients_exclude_ignored(const struct recipients *r, uint64_t *line_out);

/* Domains of usable rows of the job, numbered in order of first appearance, A-labels,
 * lower case. With `to`, only its own. */
uint32_t recipients_domains(const struct recipients *r);
const char *recipients_domain_name(const struct recipients *r, uint32_t domain);
/* The domain of a row, or RECIPIENTS_NO_DOMAIN when the row is final from the start or
 * not in the job. */
uint32_t recipients_domain(const struct recipients *r, uint32_t row);
/* For a row of the job: 0 usable, else 611, 800 or 801. No reading is done. */
int recipients_code(const struct recipients *r, uint32_t row);

/* One row, read. A zeroed struct is empty; it keeps memory from row to row. */
struct recipient {
    int code;        /* 0: usable; 611, 800, 801: final from the start */
    char words[160]; /* code != 0: why ("duplicate of row 17") */
    struct address
        address;     /* valid if code is 0 or 801; with `to` and code 0 it is that */
    struct span raw; /* the address field as the list has it, for logs (not clean) */
    struct span *fields; /* one for each column; valid until the next read. With fewer
                            fields in the line (code 800) the missing ones are empty */
    struct buf line;     /* owns the text */
    int fields_cap;
};

/* Read a row again, also one outside the job (then it is judged by itself, and is never
 * a duplicate or excluded). false: the file cannot be read (*f: -20) or does not hold
 * what it held at open (-21). */
bool recipients_read(const struct recipients *r, uint32_t row, struct recipient *out,
                     struct fault *f);
void recipient_finish(struct recipient *r);

#endif
