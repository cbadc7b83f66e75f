/* The socket `control` in the directory of a running job: who runs the job as the same
 * user may ask how it goes, and steer it. One line a connection, a word or two; the
 * answer is "ok N" on the first line, then N bytes of what was asked for, or "no WHY".
 * One that ends sooner was cut by the job's end.
 *
 * The server belongs to the scheduler's loop. control_ask is for any other process. */
#ifndef ENGINE_CONTROL_H
#define ENGINE_CONTROL_H

#include <uv.h>

#include "base/buf.h"
#include "base/fault.h"

/* enum's name, the line; behind that of WHY stands a space and a row's number */
/* clang-format off */
#define CONTROL_COMMANDS(X) \
    X(STATUS,      "status")      \
    X(STATUS_JSON, "status json") \
    X(WHY,         "why")         \
    X(PAUSE,       "pause")       \
    X(CONTINUE,    "continue")    \
    X(CANCEL,      "cancel")      \
    X(RELOAD,      "reload")
/* clang-format on */

enum control_command {
#define X(name, line) CONTROL_##name,
    CONTROL_COMMANDS(X)
#undef X
        CONTROL_UNKNOWN
};

/* A line without its end. WHY: of which row; any number, the list may have no such. */
enum control_command control_parse(struct span line, uint32_t *row_out);
const char *control_line(enum control_command command);

/* Append what was asked for; false: why not, in words on one line. row: as in
 * control_parse. */
typedef bool control_fn(void *arg, enum control_command command, uint32_t row,
                        struct buf *answer);

struct control;
/* path: of the directory that is open as fd. The job's lock is held, so that a socket
 * that is there is a dead one's. NULL and -20 in *f: there is none then. */
struct control *control_open(uv_loop_t *loop, const char *path, int fd, control_fn *fn,
                             void *arg, struct fault *f);
/* Remove the socket, close everything; memory goes when the loop has run the close
 * callbacks. NULL is allowed. */
void control_close(struct control *c);

enum control_result {
    CONTROL_OK,
    CONTROL_REFUSED, /* *answer has the reason */
    CONTROL_NOBODY,  /* nobody listens: the job does not run, or ended meanwhile */
    CONTROL_BROKEN,  /* -20 in *f */
};
/* Say it to the job in the directory, wait for the answer: what stands behind the first
 * line, or the reason. row: of WHY; 0. */
enum control_result control_ask(const char *path, enum control_command command,
                                uint32_t row, struct buf *answer, struct fault *f);

#endif
