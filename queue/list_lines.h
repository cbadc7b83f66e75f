/* The lines of a file from its beginning to its end, in one pass of big reads. Line
 * ends are LF or CRLF, mixed as they come; the last one may be missing. A line that is
 * longer than LIST_LINE_MAX is stepped over without keeping it in memory. */
#ifndef QUEUE_LIST_LINES_H
#define QUEUE_LIST_LINES_H

#include <stdint.h>

#include "base/buf.h"

enum { LIST_LINE_MAX = 16 << 20 }; /* a 10 MB cell passes */

struct list_line {
    struct span
        text; /* without its line end; valid until the next call; empty if too_long */
    uint64_t offset; /* of its first byte in the file */
    uint64_t bytes;  /* with its line end */
    bool too_long;
};

/* A zeroed struct with fd set is at the beginning. The file's own position is not used.
 */
struct list_lines {
    int fd;
    struct buf buf;  /* what was read and not yet given */
    size_t given;    /* bytes of buf that were given before */
    uint64_t offset; /* of the next line; in the end, the size of the file */
    bool ended;
};

enum list_lines_result { LIST_LINES_ONE, LIST_LINES_END, LIST_LINES_ERROR /* errno */ };
enum list_lines_result list_lines_next(struct list_lines *l, struct list_line *out);
void list_lines_finish(struct list_lines *l);

/* A line that begins at offset, without its end (LF, CRLF, or at the end of the file
 * nothing or the CR of a CRLF that was cut) and without the byte-order mark of the
 * file. */
struct span list_line_text(struct span whole, uint64_t offset);

#endif
