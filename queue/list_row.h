/* What one line of a list is worth. Pure; any thread. The same line is judged alike
 * when the list is opened and when the row is read again. */
#ifndef QUEUE_LIST_ROW_H
#define QUEUE_LIST_ROW_H

#include "base/address.h"
#include "base/buf.h"
#include "queue/list_columns.h"

enum list_verdict {
    LIST_GOOD,
    LIST_BLANK,
    LIST_TOO_LONG,
    LIST_NUL,
    LIST_NOT_UTF8,
    LIST_FIELDS, /* too few or too many */
    LIST_NO_ADDRESS,
    LIST_BAD_ADDRESS,
};

struct list_row {
    enum list_verdict verdict;
    int fields_n; /* fields of the line; columns + 1 stands for any number above */
    struct address address; /* whole if LIST_GOOD, its why if LIST_BAD_ADDRESS */
};

/* Cut a line at its TABs. fields has room for each column; those that the line does not
 * have come out empty. Returns the number of fields, columns + 1 for any number above.
 */
int list_row_split(struct span line, const struct list_columns *columns,
                   struct span *fields);

/* Judge a line without its line end. fields as above. */
void list_row_judge(struct list_row *row, struct span line, bool too_long,
                    const struct list_columns *columns, struct span *fields);

int list_row_code(enum list_verdict v); /* 0, 611, 800 */
/* Why the row is not good, for people; out is NUL-terminated. */
void list_row_words(const struct list_row *row, const struct list_columns *columns,
                    char *out, size_t size);

#endif
