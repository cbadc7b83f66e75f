/* A file of lines that was read once, and where each line stands in it: 9 bytes a line,
 * a 5-byte offset and a 4-byte value of its owner's. Lines are read again with pread,
 * so that a file that was cut underneath us is an error value, not a SIGBUS.
 *
 * One thread fills it; then any thread may read. Lines are numbered from 1; the header,
 * if the file has one, is not among them. */
#ifndef QUEUE_LIST_FILE_H
#define QUEUE_LIST_FILE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"

#define LIST_FILE_MAX ((uint64_t)1 << 40) /* bytes: what an offset can say */
enum { LIST_ROWS_MAX = 0x7fffffff };

struct list_file {
    const char *what; /* "list", "exclude file": static, for faults */
    char *name;       /* for messages */
    int fd;
    uint64_t size; /* where the last line ends */
    uint32_t rows;
    struct list_block **blocks;
    uint32_t blocks_n;
};

/* Open a regular file. false and *f: -8. Close it also after that. */
bool list_file_open(struct list_file *l, const char *path, const char *name,
                    const char *what, struct fault *f);
void list_file_close(struct list_file *l);

/* One more line, which begins at offset. Its number is l->rows afterwards. */
void list_file_add(struct list_file *l, uint64_t offset, uint32_t value);

uint32_t list_file_value(const struct list_file *l, uint32_t row);

/* Read a line again; *text is it without its line end, in buf; *too_long is as
 * list_lines_next said. false and *f: -20 it cannot be read, -21 what stands there is
 * no longer one whole line. */
bool list_file_read(const struct list_file *l, uint32_t row, struct buf *buf,
                    struct span *text, bool *too_long, struct fault *f);

/* The fault for a row that does not say what it said. */
bool list_file_changed(const struct list_file *l, uint32_t row, struct fault *f);

#endif
