/* Inside a connection: the state that its three files share. connection.c carries the
 * session, messages.c its rows, dial.c gets from one target to the next until MAIL can
 * be said. Nobody else includes this. Worker's thread only. */
#ifndef ENGINE_DIAL_H
#define ENGINE_DIAL_H

#include "engine/connection.h"
#include "engine/lent.h"
#include "engine/slot.h"
#include "engine/stream.h"

enum {
    IDLE_US = 2 * 1000 * 1000, /* a connection without rows waits so long for more */
    SLOTS = 2,                 /* a transaction in flight and the next one behind it */
};

struct connection {
    struct worker *worker;
    struct task *task; /* the targets live in it */
    uint32_t number;
    int target;    /* the one being tried or talked to */
    bool in_clear; /* TLS failed with this target, and it may be done without */
    struct stream stream;
    uv_timer_t timer;
    int64_t timer_us;         /* when it fires; INT64_MAX: not started */
    int64_t connect_began_us; /* while connecting, else 0 */
    int32_t connect_us;
    int64_t idle_until_us;     /* INT64_MAX: not idle */
    int64_t again_us;          /* a gate is closed: when to ask it again; INT64_MAX */
    struct smtp_params params; /* the session's */
    struct smtp_session *session;
    struct lent_queue rows; /* not begun */
    uint32_t left;          /* messages it may still begin; UINT32_MAX: no limit */
    bool last;              /* no more rows will come */
    bool finishing;
    bool moving;     /* MAIL was refused here: the rows go on with the next target */
    bool moved;      /* and that is done once */
    bool broken_off; /* we ended the session before its time */
    int64_t
        finish_until_us; /* finishing: then it is broken off, unless a dot has left */
    bool trouble;        /* a transaction was lost or cut short: no clean end */
    unsigned avoid;      /* bits of enum avoid that a session wished for */
    bool begun_first;    /* the first row's timings have dns= and connect= */
    struct slot slots[SLOTS];
};

/* dial.c */
/* The first one that can be reached; may end the connection. */
void dial_first(struct connection *c);
bool dial_has_next(const struct connection *c);
/* The present one, as soon as its gate is open; may end the connection. */
void dial_target(struct connection *c);
void dial_next(struct connection *c); /* leave this target for the next one */
/* This target failed before MAIL: the next one within the attempt, or the end. */
void dial_failed(struct connection *c, const struct verdict *verdict,
                 struct span words);
void dial_refused(struct connection *c, bool timed_out, const char *words); /* by TCP */
void dial_connected(struct connection *c); /* TCP stands: begin the session */

/* messages.c */
/* What can be begun now is; or the session finishes, or idles. */
void messages_begin(struct connection *c, int64_t now);
void messages_settle(struct connection *c); /* all that the session has decided */
/* A body that was asked for is about to be written: from now on its dot may have left.
 */
void messages_mark(struct connection *c);

/* connection.c */
/* recipient: whose result it is, or NULL. */
struct verdict connection_judge(const struct connection *c, const struct smtp_result *r,
                                const struct address *recipient);
struct span connection_words(const struct smtp_result *r); /* the server's, or ours */
/* Not begun (slot NULL), or begun in vain and nobody's attempt. */
void connection_returned(struct connection *c, struct slot *slot, struct lent lent);
int64_t connection_now_us(void);
/* A result of the slot's i-th row, or, with slot NULL, of one that has none. */
void connection_settled(struct connection *c, struct slot *slot, int i,
                        struct lent lent, const struct verdict *verdict,
                        struct span words);
void connection_begin_tls(struct connection *c);
void connection_end_session(struct connection *c);
/* why and words: what a CLOSED_FAILED or _OURS failed with; else NULL and nothing. */
void connection_close(struct connection *c, enum close_kind how,
                      const struct verdict *why, struct span words);
void connection_set_timer(struct connection *c, int64_t now);
void connection_on_event(uv_poll_t *poll, int status, int events);

#endif
