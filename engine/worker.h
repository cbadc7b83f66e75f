/* A sending loop: its connections, their sessions and messages. Runs on its own thread,
 * or, with workers = 0, on the scheduler's loop; the code is the same, and the two talk
 * through mailboxes either way. */
#ifndef ENGINE_WORKER_H
#define ENGINE_WORKER_H

#include "engine/post.h"
#include "message/template.h"
#include "queue/recipients.h"
#include "resolver/deny.h"

struct worker_params { /* all of it outlives the workers and never changes */
    const struct recipients *list;
    const struct template *template;
    const struct deny *deny; /* may be NULL */
    const char *sender;      /* envelope sender */
    struct smtp_params smtp;
    int64_t connect_limit_us; /* for one address */
    uint16_t port;
};

struct worker {
    const struct worker_params *params;
    struct mailbox *scheduler; /* where reports go */
    struct mailbox inbox;
    uv_loop_t *loop;
    uv_prepare_t flush;              /* posts the report before the loop sleeps */
    struct report *report;           /* being filled */
    struct connection **connections; /* by number; NULL: not ours */
    uint32_t connections_cap;
    char *read_buffer; /* one for all: the session copies only an unfinished line */
};

enum { WORKER_READ_MAX = 64 * 1024 };

/* loop: the worker's own, not yet running, or the scheduler's. TASK_END closes its
 * handles, and a loop of its own then ends by itself. */
void worker_init(struct worker *w, uv_loop_t *loop, const struct worker_params *params,
                 struct mailbox *scheduler);
/* After the loop has run the close callbacks. */
void worker_finish(struct worker *w);

#endif
