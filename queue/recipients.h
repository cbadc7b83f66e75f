/* The recipient list (TSV): read once in one pass, then each row is found by its offset.
 * The file stays the only copy of the text: a row costs 9 bytes here, and is read again
 * with pread when it is needed, so that a file cut short underneath us is an error value,
 * not a SIGBUS.
 *
 * recipients_open in one thread; afterwards immutable, and any thread may call the rest with
 * its own struct recipient. Format: docs/list.md. */
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
    const char *path;
    const char *address_column;  /* NULL: "email", whatever its case */
    const char *exclude;         /* file of addresses that get 801, NULL: none */
    bool allow_duplicates;
    uint32_t first_row, last_row; /* only these rows are in the job; 0, 0: all */
    const char *to;              /* proof: every row goes to this finished address; NULL: none.
                                    Then duplicates are no matter */
};

/* NULL and *f: -8 cannot be opened (list or exclude file), -9 the header cannot be read, -10
 * the header is not understood. words name the file and, with -10, what is wrong. */
struct recipients *recipients_open(const struct recipients_params *params, struct fault *f);
void recipients_free(struct recipients *r); /* NULL is allowed */

uint32_t recipients_rows(const struct recipients *r);  /* data rows in the file; row numbers 1 … rows */
uint32_t recipients_first(const struct recipients *r); /* rows of the job: first … last */
uint32_t recipients_last(const struct recipients *r);  /* last < first: none */

int recipients_columns(const struct recipients *r);
const char *const *recipients_column_names(const struct recipients *r);
int recipients_address_column(const struct recipients *r);

/* Domains of usable rows, numbered in order of first appearance, A-labels, lower case. */
uint32_t recipients_domains(const struct recipients *r);
const char *recipients_domain_name(const struct recipients *r, uint32_t domain);
/* The domain of a row, or RECIPIENTS_NO_DOMAIN when the row is final from the start. */
uint32_t recipients_domain(const struct recipients *r, uint32_t row);

/* One row, read. A zeroed struct is empty; it keeps memory from row to row. */
struct recipient {
    int code;                    /* 0: usable; 611, 800, 801: final from the start */
    char words[160];             /* code != 0: why ("duplicate of row 17") */
    struct address address;      /* valid if code is 0 or 801 */
    struct span raw;             /* the address field as the list has it, for logs (not clean) */
    struct span *fields;         /* one for each column; valid until the next read. With fewer fields
                                    in the line (code 800) the missing ones are empty */
    struct buf line;             /* owns the text */
    int fields_cap;
};

/* Read a row again. false: the file cannot be read or does not hold what it held at open
 * (*f: -21 or -20). */
bool recipients_read(const struct recipients *r, uint32_t row, struct recipient *out,
                     struct fault *f);
void recipient_finish(struct recipient *r);

#endif
