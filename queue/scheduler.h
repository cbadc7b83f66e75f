/* Who is sent to, when, over which connection. A pure structure with time as an
 * argument: the engine asks it for orders and tells it what happened; a simulator may
 * do the same. One thread (the scheduler's). No I/O, no clock, nothing of SMTP:
 * verdicts come in as struct settlement.
 *
 * A row's way: its domain's FIFO, until the domain's MX set is known (scheduler_ask,
 * scheduler_resolved) → its site's ready FIFO → lent to a connection (scheduler_next) →
 * settled: final, or into the retry wheel, and from there once more. Domains with the
 * same MX set and the same policy share a site; what one connection can carry is a
 * site. How many connections a site may have is its window (queue/site.h).
 *
 * Rows lent are a lease: about 200 ms of what the connection sends. A lease can be
 * taken back: RECALL makes the worker return what it has not begun. */
#ifndef QUEUE_SCHEDULER_H
#define QUEUE_SCHEDULER_H

#include "base/buf.h"
#include "base/rng.h"
#include "codes/codes.h"
#include "queue/gate.h"
#include "queue/recipients.h"
#include "queue/rows.h"
#include "resolver/mx.h"

enum {
    LEASE_MAX = 1000,           /* rows lent to one connection at most */
    LEASE_FIRST = 4,            /* to a new connection */
    LEASE_US = 200 * 1000,      /* what a lease should last */
    STALL_US = 2 * 1000 * 1000, /* a connection that settles nothing for so long gives
                                   back what it has not begun */
    UNREACHABLE_RESOLVER_US =
        10 * 1000 * 1000,        /* pause before a domain is asked again after 608 */
    NO_SOCKET_US = 1000 * 1000,  /* nothing is opened so long after CLOSED_OURS */
    FEWER_US = 60 * 1000 * 1000, /* and so long not more than were open then */
    PROBE_US =
        5 * 1000 * 1000, /* from one probe of a network that is down to the next */
};

struct board;

/* Jobs that send by one path at a time divide its connections and rates. */
struct sharing {
    uint32_t jobs;   /* that do, this one included */
    uint32_t before; /* of them before this one, in an order that all of them know */
    uint32_t turn; /* whose turn it is to have one more, where they cannot be divided */
};

/* What bounds destinations beside their provider's limits: of one source to all that
 * this budget is for, whatever their providers. */
struct scheduler_budget {
    uint32_t number;      /* from 1: destinations that name the same one share it */
    uint64_t key;         /* the same in all jobs */
    uint32_t connections; /* UINT32_MAX: no limit */
    int64_t message_rate, connection_rate; /* per hour; 0: no limit */
};

struct scheduler_policy {
    const int64_t *retry_interval_ms; /* the last one repeats */
    int retry_intervals;
    int64_t lifetime_ms;
    uint32_t max_attempts;            /* 0: as many as the lifetime allows */
    uint32_t connections;             /* of one source to one provider */
    uint32_t messages_per_connection; /* 0: no limit */
    uint32_t recipients;              /* rows that may share a message; 0: one */
    /* Whose limits are these: destinations with the same number, from 1, share one
     * budget; 0: each site has its own. */
    uint32_t provider;
    uint64_t key;         /* the same in all jobs that treat these destinations alike */
    int64_t message_rate; /* of one source to one provider, per hour; 0: no limit */
    int64_t connection_rate;              /* the same */
    const struct scheduler_budget *outer; /* outlive the scheduler */
    int outer_n;
    const uint8_t *sources; /* numbers of those that may send; outlive the scheduler */
    int sources_n;          /* 0: the system chooses (source 0) */
    uint32_t unknown_percent; /* absent results that stop a provider; 0: never */
    int64_t unknown_pause_ms; /* for so long */
    int64_t quiet_until_us;   /* as in scheduler_quiet, to begin with */
};

/* The policy of a domain of the list, whose MX set is NULL or has a code as long as its
 * hosts are not known. Returns the policy's number: the same for what is treated by the
 * same settings, 0 for the one in the params, and for a new one the last one and one,
 * with *fresh and the policy in *out. */
typedef uint32_t scheduler_policy_fn(void *arg, uint32_t domain,
                                     const struct mx_set *set,
                                     struct scheduler_policy *out, bool *fresh);

/* What an earlier run of the job knows of a row. Times on this run's monotonic clock,
 * so they may be negative. */
struct row_past {
    bool final; /* it has its result */
    uint32_t attempts;
    int64_t first_us; /* of its first attempt; valid if attempts > 0 */
    int64_t due_us;   /* of its next attempt */
    uint8_t source;   /* number of the one whose MAIL for it was answered last; 0: none:
                         it may leave from any */
    bool doubted;     /* an attempt may have delivered it */
};
typedef void row_past_fn(void *arg, uint32_t row, struct row_past *out);

/* How many messages may be begun from a source to a provider, until *until_us: then it
 * is asked again, and sooner when they are used up. 0: none before then; UINT32_MAX: no
 * limit. policy: number of one that shares the limits of the provider; a provider that
 * is one site alone is called `site`. */
typedef uint32_t scheduler_allow_fn(void *arg, uint8_t source, uint32_t policy,
                                    const char *site, int64_t now_us,
                                    int64_t *until_us);

struct scheduler_params {
    const struct recipients *list;  /* must outlive the scheduler */
    struct scheduler_policy policy; /* number 0; retry_interval_ms must outlive it */
    scheduler_policy_fn *policy_of; /* NULL: number 0 for all */
    void *policy_arg;
    scheduler_allow_fn *allow; /* NULL: as many as the policies allow */
    void *allow_arg;
    int64_t retry_longest_ms; /* no policy lets a row wait for longer; 0: as `policy` */
    uint32_t connections_total;  /* over all sites: what file descriptors allow */
    int sources_n;               /* highest number of a source; 0: there are none */
    const uint64_t *source_keys; /* by number: the same in all jobs that send from it;
                                    NULL: the numbers are */
    uint32_t refusals_max; /* about us, one behind another, before a path is left alone
                              for a retry interval, and longer each time; 0: never */
    uint64_t seed;
    int64_t now_us;    /* monotonic */
    int64_t epoch_us;  /* the job's beginning on the same clock, at most now_us */
    int64_t until_us;  /* no row is tried later; 0: there is no such end */
    row_past_fn *past; /* NULL: every row is new */
    void *past_arg;
};

#define NO_CONNECTION UINT32_MAX

struct scheduler;

struct scheduler *scheduler_create(const struct scheduler_params *params);
void scheduler_destroy(struct scheduler *s);

/* ---- resolving ---- */

/* The next domain that must be looked up (its number in the list), RECIPIENTS_NO_DOMAIN
 * when there is none. Each is given out once and must come back through
 * scheduler_resolved. */
uint32_t scheduler_ask(struct scheduler *s);
/* The answer; takes the reference. With set->code the domain's rows come out of
 * scheduler_unresolvable one by one; code 608 keeps them waiting instead, and nothing
 * counts; so does 710 while the network is down, for the resolver has none either. */
void scheduler_resolved(struct scheduler *s, uint32_t domain, struct mx_set *set,
                        int64_t now_us);
/* The next row whose domain could not be resolved: settle it with set's code. Row 0:
 * none. */
uint32_t scheduler_unresolvable(struct scheduler *s, const struct mx_set **set_out);

/* ---- lending ---- */

enum order_kind {
    ORDER_NONE,
    ORDER_OPEN,   /* make a new connection with these targets and lend it these rows */
    ORDER_MORE,   /* lend these rows too */
    ORDER_RECALL, /* give back what is not begun: scheduler_recall alone */
    ORDER_STOP,   /* the same, then end with what is begun: scheduler_recall alone */
};

/* What a site's servers do badly with, as its connections found out: not done again in
 * this run. */
enum avoid {
    AVOID_AHEAD = 1 << 0, /* an envelope behind a body: pipelining = group, not auto */
    AVOID_BDAT = 1 << 1,  /* chunking = off, not auto */
};

struct order {
    enum order_kind kind;
    uint32_t connection; /* number; reused after scheduler_closed */
    const char *site;    /* name, lives as long as the scheduler */
    unsigned avoid;      /* bits of enum avoid, for this site */
    bool last;           /* no row waits for this site: QUIT after the last */
    uint32_t policy;     /* OPEN: its number */
    uint32_t messages;   /* OPEN: at most so many on this connection; 0: no limit */
    uint8_t source;      /* OPEN: number of the one to bind to; 0: the system chooses */
    /* OPEN: to be passed (gates_pass) before each connect and each MAIL. The gates live
     * as long as the connection: until scheduler_closed; the lists until the next
     * scheduler call. */
    int gates_n;
    struct gate *const *connect_gates, *const *mail_gates;
    int32_t dns_us; /* OPEN: what the lookup took, for the first row's timings */
    int targets_n;  /* OPEN */
    struct mx_target
        targets[MX_TARGETS_MAX]; /* host names live until the next scheduler call */
    int rows_n;
    uint32_t rows[LEASE_MAX];
};

/* The next order, or ORDER_NONE when nothing may be done now. */
enum order_kind scheduler_next(struct scheduler *s, struct order *out, int64_t now_us);
/* A connection must give back what it has not begun: RECALL, since it has stalled, or
 * STOP, since its path was closed. False: none for now. */
bool scheduler_recall(struct scheduler *s, struct order *out, int64_t now_us);
/* A lease was on its way for long (to the disk): its connection did not stall. */
void scheduler_posted(struct scheduler *s, uint32_t connection, int64_t now_us);
/* When to call scheduler_advance (and then scheduler_next, scheduler_ask) again at the
 * latest. */
int64_t scheduler_wake(const struct scheduler *s);
/* Rows that are due, windows that may open again, stalled connections. */
void scheduler_advance(struct scheduler *s, int64_t now_us);

/* ---- what happened ---- */

struct settlement {       /* a verdict, as far as queueing is concerned */
    enum outcome outcome; /* DELIVERED, ERROR, ABSENT: final; RETRY */
    bool counted;         /* was it an attempt of the row? if not: again at once */
    bool worked;     /* its connection works: MAIL could be sent and was answered */
    bool in_doubt;   /* it may have been delivered although we do not know */
    bool about_us;   /* refused for what we are or do, not for its address */
    bool absent;     /* refused because there is no such address */
    bool joined;     /* its message is one that another row is settled for already */
    int64_t wait_us; /* RETRY: the receiver asked for this pause; 0: it did not. Not
                        obeyed if the row would be over by then */
};

struct decision { /* what became of the row */
    bool final;
    int ended;        /* 606, 607: its retries are over, a second line says so */
    uint32_t attempt; /* number of this attempt; of the last one when not counted */
    int64_t next_us;  /* not final: when it is tried again (now: at once) */
    bool first_doubt; /* in doubt, and it never was before */
    bool given_up; /* in doubt for the second time: final, it is not sent once more */
    /* What it showed of its receiver. */
    enum notice {
        NOTICE_NONE,
        NOTICE_REFUSALS, /* its path is left alone until notice_us: it refuses us */
        NOTICE_UNKNOWN,  /* the same of its provider: too many addresses are unknown */
    } notice;
    int64_t notice_us;
};

/* A row has its result: one lent to `connection`, or, with NO_CONNECTION, one from
 * scheduler_unresolvable or scheduler_round. */
struct decision scheduler_settle(struct scheduler *s, uint32_t connection, uint32_t row,
                                 const struct settlement *what, int64_t now_us);
/* A message was begun on the connection for rows that come back all the same, since we
 * broke it off: it counts for whatever counts messages. */
void scheduler_spent(struct scheduler *s, uint32_t connection);
/* A lent row that was not begun comes back; it goes first. */
void scheduler_returned(struct scheduler *s, uint32_t connection, uint32_t row,
                        int64_t now_us);

enum close_kind {
    CLOSED_CLEAN,   /* QUIT, limit of messages, idle */
    CLOSED_ENOUGH,  /* by the server, right behind a reply, with nothing in flight */
    CLOSED_LOST,    /* broke off after it had worked */
    CLOSED_FAILED,  /* no target let us send MAIL */
    CLOSED_OURS,    /* our machine had no socket for it (609): nobody's attempt */
    CLOSED_NETWORK, /* it failed or broke while the network is down: nobody's attempt */
};
/* Rows with this connection. */
uint32_t scheduler_lent(const struct scheduler *s, uint32_t connection);
/* The connection takes no more rows, but some are still on their way to it and will be
 * returned; scheduler_closed follows then. */
void scheduler_ending(struct scheduler *s, uint32_t connection);
enum round {
    ROUND_NONE,
    ROUND_SOURCE, /* failed from this source: the site is left to the others */
    ROUND_SITE,   /* failed */
};
/* The connection is over; all its rows were settled or returned before. avoid: what
 * the site is spared from now on. With OURS the whole job opens no connection for a
 * while, and then fewer. With FAILED and no other connection open, this may be a failed
 * round, of the site or, while others of its sources may be tried, of the source: at
 * once, before any other call, take its rows out of scheduler_round. */
enum round scheduler_closed(struct scheduler *s, uint32_t connection,
                            enum close_kind how, unsigned avoid, int64_t now_us);
/* The next row that was ready when the round failed, and could leave by no other way:
 * settle it with the failure that the connection had (RETRY, counted). Row 0: none
 * left. */
uint32_t scheduler_round(struct scheduler *s);
/* That failure, for people: a line or less, copied, and kept for each such site until a
 * connection works there. Right after scheduler_closed was ROUND_SITE. */
void scheduler_round_why(struct scheduler *s, const char *why);

/* Give out no orders any more, ask nothing; what is lent is being settled or returned.
 */
void scheduler_stop(struct scheduler *s);

/* ---- standing still ---- */

/* The same until it is called with false. Whoever calls it with true tells every
 * connection to end. The time between does not count for the lifetime of rows. */
void scheduler_pause(struct scheduler *s, bool pause, int64_t now_us);
/* While the network is down one connection at a time is opened, after a pause: a probe
 * of one site after the other, beside the connections that stood. Neither does this
 * time count. */
void scheduler_network(struct scheduler *s, bool down, int64_t now_us);
/* Other settings for the first n of the policies that are known, from now on; what
 * waits already waits for as long as it was told. Their providers and outer budgets
 * stay, with other limits; an outer budget that none of them names has none. */
void scheduler_set_policies(struct scheduler *s,
                            const struct scheduler_policy *policies, uint32_t n);
/* Quiet hours of a policy that is known: nothing is begun for its destinations, those
 * connections are told to end, and the time does not count for the lifetime of rows
 * that are ready. until_us: when that will be over, for people; 0: it is over. */
void scheduler_quiet(struct scheduler *s, uint32_t number, int64_t until_us);
/* From now on this job has a place on that board (queue/board.h) among those of its
 * spool, and what receivers said to any of them goes for all; a path that has
 * connections is shared when it has none for a moment. NULL: it has no place any more,
 * only while no connection is open. */
void scheduler_join(struct scheduler *s, struct board *board);
/* On a board: whatever the others did or were told since is taken in. Twice a second.
 * jobs: that have a place. */
void scheduler_hear(struct scheduler *s, uint32_t jobs, int64_t now_us);
/* Without a board: so every path is shared. Connections over our share end after what
 * they have begun. */
void scheduler_share(struct scheduler *s, const struct sharing *share);

enum reach {
    REACH_PATH,   /* the provider, from this source */
    REACH_SITE,   /* these MX hosts, from all sources */
    REACH_SOURCE, /* all receivers, from this source */
};
struct suspension {
    enum reach reach;
    bool slow; /* half the connections and half the rates, instead of nothing: of a
                  SITE all paths of its provider, of a SOURCE all that it has by now */
    int64_t for_us;
    uint32_t connections; /* to begin with after it, then one more at a time; 0: as
                             before */
    const char *why;      /* in words, copied */
};
/* Whom a suspension from this connection would meet: to be compared alone. */
const void *scheduler_reached(const struct scheduler *s, uint32_t connection,
                              const struct suspension *what);
/* What a reply on this connection says of more than its row. What is lent there and not
 * begun comes back. */
void scheduler_suspend(struct scheduler *s, uint32_t connection,
                       const struct suspension *what, int64_t now_us);

/* After scheduler_stop, when every row that was lent is back: the next row without a
 * result, which is final from now on (606). Row 0: none is left. */
uint32_t scheduler_expire(struct scheduler *s, uint32_t *attempts_out);

/* ---- figures ---- */

struct scheduler_stats {
    uint64_t pending; /* rows without a final result */
    uint64_t lent, ready, waiting, asking;
    uint32_t connections, sites, domains;
    int64_t due_us; /* when the first of those that wait is tried again; INT64_MAX: none
                       waits */
};
struct scheduler_stats scheduler_stats(const struct scheduler *s);
bool scheduler_done(const struct scheduler *s); /* no row is pending */

/* What a site lacks that has rows waiting. */
enum lack {
    LACK_PROOF = 1 << 0,  /* its first connection is on its way */
    LACK_WINDOW = 1 << 1, /* as many connections as it takes calmly, or is proven */
    LACK_CONNECTIONS = 1 << 2, /* the setting, or what it may have on its way back */
    LACK_RATE = 1 << 3,
    LACK_CONNECTION_RATE = 1 << 4,
    LACK_PATH = 1 << 5,     /* suspended */
    LACK_BRAKE = 1 << 6,    /* too many unknown addresses */
    LACK_ROUND = 1 << 7,    /* no connection could be made */
    LACK_SOCKETS = 1 << 8,  /* our own machine's */
    LACK_QUIET = 1 << 9,    /* quiet hours */
    LACK_JOB = 1 << 10,     /* scheduler_pause: the whole job stands still */
    LACK_WARMUP = 1 << 11,  /* a new source has sent what it may today */
    LACK_NETWORK = 1 << 12, /* scheduler_network: one probe at a time */
};
/* In words, the strongest first, joined by ", "; nothing lacks: "sending". */
void scheduler_lacks(unsigned lacks, struct buf *out);
/* One of them in a fixed word for programs, the strongest is number 0; NULL: there are
 * no more. */
const char *scheduler_lack_word(unsigned lacks, int number);
/* The strongest of them alone; of none, none. */
unsigned scheduler_strongest(unsigned lacks);

struct site_view {
    const char *name;
    uint32_t waiting;             /* rows ready or lent */
    uint32_t connections, window; /* in use, and what it may have now */
    unsigned lacks;               /* enum lack: why it is not quicker */
    int64_t until_us;             /* when the longest of them ends; 0: no such time */
    const char *why; /* of a suspension or a failed round: until the next call; or NULL
                      */
    uint32_t retrying; /* rows that wait for their next attempt: scheduler_survey alone,
                          0 elsewhere */
    int64_t due_us;    /* of the first of these; valid if there are any */
};
/* The sites with most rows ready, most first; returns how many (at most max). */
int scheduler_slowest(const struct scheduler *s, struct site_view *out, int max,
                      int64_t now_us);

/* Rows whose hosts are not known. */
enum lookup_kind {
    LOOKUP_MUTE,   /* no name server answers: asked again at due_us */
    LOOKUP_ASKED,  /* being looked up, or next */
    LOOKUP_FAILED, /* the last lookup failed for a while: again with their next attempt
                    */
    LOOKUP_LATER,  /* none in this run yet: first with their next attempt */
    LOOKUPS
};
struct lookup_view {
    uint64_t rows;
    uint32_t domains;
    const char *domain; /* one of them; NULL: there is none */
    int64_t due_us;     /* of the first; 0: no such time */
};

/* All rows that are pending, and what holds them up. */
struct survey {
    struct site_view *sites; /* those with most rows first, waiting or retrying; the
                                caller's, room for sites_max */
    int sites_max, sites_n;
    uint32_t more_sites; /* that found no room, */
    uint64_t more_rows;  /* with so many rows */
    struct lookup_view lookups[LOOKUPS];
};
/* Fills in what stands behind sites_max. Looks at every row: for who asks now and then.
 * What is told of a site goes for rows that wait for their next attempt too. */
void scheduler_survey(const struct scheduler *s, struct survey *out, int64_t now_us);

/* Where one row stands. */
struct row_view {
    enum row_state state;
    bool asked;     /* ASKING: its domain's lookup is on its way */
    int failed;     /* WAITING: its domain's last lookup failed, with this code; 0 */
    int64_t due_us; /* WAITING: its next attempt; ASKING: no name server answers, its
                       domain is asked again then; 0: no such time */
    uint8_t source; /* it leaves from this one; 0: from any */
    struct site_view site; /* of its domain; for WAITING as if it were ready. name NULL:
                              not known */
};
/* A row of the list, that of no domain too. */
void scheduler_view_row(const struct scheduler *s, uint32_t row, struct row_view *out,
                        int64_t now_us);

#endif
