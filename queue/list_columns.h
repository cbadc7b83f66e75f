/* The header line of a list: its column names, and which of them is the address. */
#ifndef QUEUE_LIST_COLUMNS_H
#define QUEUE_LIST_COLUMNS_H

#include "base/buf.h"
#include "base/fault.h"

enum { LIST_NAME_MAX = 255 }; /* octets of a column name */

/* What the header line says. A zeroed struct is empty. */
struct list_columns {
    const char **names; /* without outer spaces */
    int n;
    int address; /* index of the address column */
    struct arena arena;
};

/* Understand a header line. address_column NULL: "email", whatever its case. false and
 * *f
 * (-10): `what` and `path` name the file in its words. */
bool list_columns_parse(struct list_columns *c, struct span line,
                        const char *address_column, const char *what, const char *path,
                        struct fault *f);
void list_columns_finish(struct list_columns *c);

/* Is there an address column in this line, taken as a header? */
bool list_columns_named(struct span line, const char *address_column);

#endif
