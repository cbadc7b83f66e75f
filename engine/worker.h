/* A sending loop: its connections, their sessions and messages. Runs on its own thread,
 * or, with workers = 0, on the scheduler's loop; the code is the same, and the two talk
 * through mailboxes either way. */
#ifndef ENGINE_WORKER_H
#define ENGINE_WORKER_H

#include "engine/post.h"
#include "message/template.h"
#include "queue/recipients.h"
#include "resolver/deny.h"
#include "smtp/tls.h"

/* How the hosts of a policy are spoken to. It never changes; connections keep the one
 * that they were opened with. */
struct destination {
    struct smtp_params smtp;
    struct verdict_policy verdict; /* without the domain */
    bool tls_verify;               /* the certificate must be the host's */
    int tls;                       /* by which of the worker's params.tls */
    int64_t connect_limit_us;      /* for one address */
    uint16_t port;
    int recipients; /* of one message, at least 1 */
};

/* An address to send from. Number n of struct order and struct task is sources[n - 1].
 */
struct worker_source {
    const char *name;
    struct ip address;
    const char *helo_name;
};

struct worker_params { /* all of it outlives the workers */
    const struct recipients *list;
    const struct template *template;
    const struct deny *deny; /* may be NULL */
    struct flight *flight;   /* states of the rows that are lent */
    const char *sender;      /* envelope sender */
    const struct worker_source *sources;
    int sources_n;                       /* at most 255 */
    const struct tls_client_params *tls; /* every kind that a destination wants */
    int tls_n;                           /* at least 1 */
};

struct worker {
    const struct worker_params *params;
    struct mailbox *scheduler; /* where reports go */
    struct mailbox inbox;
    uv_loop_t *loop;
    uv_timer_t later;                /* wakes for it when it was too soon */
    int64_t posted_us;               /* when the last report was posted */
    uv_prepare_t flush;              /* posts the report before the loop sleeps */
    bool finishing;                  /* no connection is opened any more */
    struct report *report;           /* being filled */
    struct connection **connections; /* by number; NULL: not ours */
    uint32_t connections_cap;
    struct tls_context **tls; /* as in params; NULL: not wanted yet */
    char *read_buffer;   /* one for all: the session copies only an unfinished line */
    char *cipher_buffer; /* likewise, for what TLS reads */
};

enum { WORKER_READ_MAX = 64 * 1024 };

/* loop: the worker's own, not yet running, or the scheduler's. TASK_END closes its
 * handles, and a loop of its own then ends by itself. */
void worker_init(struct worker *w, uv_loop_t *loop, const struct worker_params *params,
                 struct mailbox *scheduler);
/* After the loop has run the close callbacks. */
void worker_finish(struct worker *w);
/* Its context of that number in params.tls. */
struct tls_context *worker_tls(struct worker *w, int number);

#endif
