/* What scheduler and workers say to each other. Scheduler → worker: struct task.
 * Worker → scheduler: struct report, a batch of events, one a loop turn. */
#ifndef ENGINE_POST_H
#define ENGINE_POST_H

#include "base/buf.h"
#include "engine/mailbox.h"
#include "queue/flight.h"
#include "queue/scheduler.h"
#include "smtp/session.h"
#include "smtp/verdict.h"

enum task_kind {
    TASK_OPEN,   /* make a connection to targets and send it rows */
    TASK_MORE,   /* rows for a connection; if it is gone they come back as RETURNED */
    TASK_RECALL, /* give back the rows that are not begun */
    TASK_STOP,   /* the same, end what is begun, QUIT */
    TASK_FINISH, /* every connection: give back what is not begun, end what is, QUIT */
    TASK_CONTINUE, /* after FINISH: connections may be opened again */
    TASK_ABORT,    /* every connection: close now; what is in flight is lost */
    TASK_END,      /* no connection is left: close the worker's handles */
};

/* A row lent, and its entry in the flight file. */
struct lent {
    uint32_t row;
    uint32_t entry;
};

struct destination;

struct target {
    struct ip address;
    char *host; /* MX host name; in the task's own memory */
};

struct task {
    struct mail mail;
    enum task_kind kind;
    uint32_t connection;
    const struct destination *destination; /* OPEN: how it is treated; the engine's */
    unsigned avoid;                        /* OPEN: bits of enum avoid */
    bool last;                             /* OPEN, MORE: no more rows will come */
    uint8_t source;    /* OPEN: number of the one to bind to; 0: the system chooses */
    uint32_t messages; /* OPEN: at most so many on this connection; 0: no limit */
    int gates_n;       /* OPEN: as in struct order, in the task's own memory */
    struct gate **connect_gates, **mail_gates;
    int32_t dns_us;
    int targets_n;
    struct target *targets;
    int rows_n;
    struct lent rows[];
};

/* One piece of memory, freed with free(). Takes an entry of flight for each row: there
 * must be LEASE_MAX free. */
struct task *task_from_order(const struct order *order, struct flight *flight);
struct task *task_create(enum task_kind kind);

enum event_kind {
    EVENT_CONNECTED, /* TCP stands */
    EVENT_SETTLED,   /* a row's attempt has its verdict */
    EVENT_RETURNED,  /* a row was not begun */
    EVENT_CLOSED,    /* the connection is over */
    EVENT_EPILOGUE, /* trouble that is no row's, with QUIT, RSET or our own sockets: for
                       the log */
};

enum event_text { /* empty where there is none */
                  EVENT_EMAIL,
                  EVENT_MESSAGE_ID,
                  EVENT_TLS,   /* version and cipher */
                  EVENT_WORDS, /* the server's, or ours */
                  EVENT_TEXTS
};

/* In a report these stand one behind another, each followed by its texts (without NULs)
 * and aligned to 8: use event_next. */
struct event {
    enum event_kind kind;
    uint32_t size; /* with texts and padding */
    uint32_t connection;
    struct lent lent; /* SETTLED, RETURNED */
    int target; /* CONNECTED, SETTLED, EPILOGUE: index of the connection's target; -1:
                   none */
    enum close_kind closed; /* CLOSED */
    unsigned avoid;         /* CLOSED: bits of enum avoid, for the site */
    bool reused;            /* SETTLED: not the first on its connection */
    bool heads; /* SETTLED, RETURNED: a message was begun for it; rows that share that
                   one do not say so again */
    struct verdict verdict; /* SETTLED, EPILOGUE, CLOSED_FAILED and _OURS */
    int32_t dns_us, connect_us;
    struct smtp_timings timings;
    uint16_t text_n[EVENT_TEXTS];
    char text[]; /* one behind another */
};

struct event_texts {
    struct span text[EVENT_TEXTS];
};

struct report {
    struct mail mail;
    size_t n; /* bytes used of events */
    size_t cap;
    char events[]; /* aligned to 16 */
};

/* Append an event with its texts (NULL: none) to *report (made or grown as needed). */
struct event *report_add(struct report **report, const struct event *event,
                         const struct event_texts *texts);
struct span event_text(const struct event *event, enum event_text which);
/* The first event (before NULL) or the one after `before`; NULL: no more. */
const struct event *report_next(const struct report *report,
                                const struct event *before);

#endif
