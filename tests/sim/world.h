/* The world in a box: the real scheduler, sessions, verdicts and MX sets against seeded
 * servers under a false clock, in one thread, without sockets and without sleeping. A
 * seed is a whole world; the same seed is the same world, event for event.
 *
 *     events.c      what happens when
 *     plan.c        what the world is like: list, names, machines, troubles
 *     net.c         TCP as a sender sees it: windows, acknowledgements, resets
 *     connection.c  what engine/connection.c does with libuv
 *     desk.c        what engine/engine.c and settle.c do around the scheduler
 *     hand.c        rules and operators: suspensions, pauses, other jobs, the end
 *     record.c      what came to whom, as receivers count it, and who may have what
 *     promises.c    what must hold, in each moment and at the end
 *     cases.c       worlds that ask one question
 *     forecast.c    worlds whose end was foretold */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <inttypes.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/when.h"
#include "queue/board.h"
#include "queue/flight.h"
#include "queue/gate.h"
#include "queue/network.h"
#include "queue/scheduler.h"
#include "queue/warmup.h"
#include "sink/server.h"
#include "smtp/session.h"
#include "smtp/verdict.h"

#define SECOND_US INT64_C(1000000)
#define MINUTE_US (60 * SECOND_US)
#define HOUR_US   (60 * MINUTE_US)
#define NEVER     INT64_MAX

struct world;

/* ---- what happens when ---- */

enum event_kind {
    EVENT_WIRE,       /* a segment, an acknowledgement, a server that speaks */
    EVENT_CONNECTION, /* a connection's timer */
    EVENT_TASKS,      /* the log is synced: orders reach their connections */
    EVENT_REPORTS,    /* news reach the scheduler */
    EVENT_ANSWER,     /* of DNS */
    EVENT_WAKE,       /* the scheduler's timer */
    EVENT_STOP,       /* somebody ends the run */
    EVENT_HAND,       /* a rule or an operator steps in */
    EVENT_HOURS,      /* quiet hours begin or end */
};

struct event {
    int64_t at_us;
    uint64_t number; /* those of one moment in order */
    enum event_kind kind;
    uint32_t who;
    uint32_t generation; /* of who: an older one means nothing any more */
};

struct events {
    struct event *heap;
    uint32_t n, cap;
    uint64_t numbers;
};

void events_add(struct events *e, int64_t at_us, enum event_kind kind, uint32_t who,
                uint32_t generation);
bool events_take(struct events *e, struct event *out);
void events_finish(struct events *e);

/* ---- what the world is like ---- */

enum door {
    DOOR_OPEN,
    DOOR_REFUSED,    /* connect() is refused */
    DOOR_DROPPED,    /* connect() is never answered */
    DOOR_SPEECHLESS, /* connects, and never says a word */
};

enum blow {
    FAULT_NONE,
    FAULT_RESET,
    FAULT_CLOSE,
    FAULT_GONE,    /* the machine vanishes: nothing is acknowledged any more */
    FAULT_FREEZE,  /* its program reads no more; its kernel goes on for a while */
    FAULT_PAUSE,   /* the same, but it wakes up again */
    FAULT_MUTE,    /* it takes everything and says nothing */
    FAULT_GARBAGE, /* it says what is no SMTP, and goes on */
    FAULT_LOSE,    /* the next line it says is lost: all replies shift */
    FAULT_TWICE,   /* the next line is said twice */
    FAULT_COUNT
};

struct machine { /* what stands behind one address */
    struct rng rng;
    struct mood mood, later_mood; /* the second from turn_us on */
    int64_t turn_us;
    int64_t burst_us; /* the first and the second for so long in turn; 0: no turns */
    enum door door;   /* until door_until_us; then it works */
    int64_t door_until_us;
    int refuse_percent; /* of connections */
    int64_t latency_us; /* one way */
    uint32_t window;    /* bytes on their way to it at once */
    uint32_t receive_buffer;
    uint32_t cut;         /* bytes of a segment at most */
    int64_t slow_us;      /* between two bytes it says; 0: it is not slow */
    int fault_percent;    /* of connections */
    uint32_t fault_bytes; /* somewhere within so many */
    unsigned faults;      /* a bit for each kind that may happen */
    int open;
    uint32_t tried; /* connect() */
};

enum { SITE_MACHINES_MAX = 4 };

struct place { /* an MX set and its machines */
    uint32_t first, machines_n;
    uint32_t policy; /* number of its settings */
    bool good;       /* whatever comes is taken at once: what it gets may be measured */
};

enum {
    OTHERS_MAX = 3,
    SOURCES_MAX = 4,
    PROVIDERS_MAX = 2,
    OUTER_MAX = 3,
    TOGETHER_MAX = 20
};

enum name_kind {
    NAME_GOOD,
    NAME_UNKNOWN, /* NXDOMAIN */
    NAME_NULL_MX,
    NAME_BARE,     /* no MX but an address */
    NAME_FAILING,  /* SERVFAIL until the turn, then good */
    NAME_UNUSABLE, /* REFUSED until the turn, then good */
};

struct name {
    uint32_t place;
    enum name_kind kind;
    int64_t turn_us;
    uint32_t ttl_s;
};

struct plan {
    uint64_t seed;
    uint32_t rows, names_n, places_n, machines_n;
    struct name *names;
    struct place *places;
    struct machine *machines;
    struct recipients *list;
    int64_t dead_from_us, dead_until_us; /* no name server answers anything */
    int64_t cut_from_us, cut_until_us;   /* our own network leads nowhere */
    bool cut_is_known;                   /* to our own table of routes */
    int64_t intervals_ms[3];
    struct scheduler_policy policy;             /* number 0 */
    struct scheduler_policy others[OTHERS_MAX]; /* from 1; lives of rows are the same */
    uint8_t sources[OTHERS_MAX + 1][SOURCES_MAX];
    struct scheduler_budget outer[OTHERS_MAX + 1][OUTER_MAX]; /* of each policy */
    struct scheduler_policy outer_limits[OUTER_MAX + 1];      /* the same, by number */
    uint32_t others_n;
    int sources_n;                      /* highest number in the policies' sources */
    int64_t begin_ms;                   /* on the wall, when the first run begins */
    struct hours hours[OTHERS_MAX + 1]; /* quiet ones, of each policy */
    const struct warmup_plan *warmups;  /* of each source; NULL: none has one */
    struct warmup_plan drawn_warmups[SOURCES_MAX];
    int64_t caps[3]; /* of those */
    uint32_t refusals_max;
    int hands;              /* so often a rule or an operator steps in … */
    int64_t hands_us;       /* … after so long at most */
    bool limited;           /* drawn by plan_draw_limited */
    bool boarded;           /* what is known of paths outlives the process */
    uint32_t giant_percent; /* of the rows are of the first name */
    uint32_t connections_total;
    struct smtp_params smtp;
    struct verdict_policy verdict;
    int64_t connect_limit_us;
    int64_t sync_us; /* a sync of the log takes up to so long */
    int slow_syncs;  /* of 1000: seconds */
    int64_t news_us; /* from a worker to the scheduler at most */
    int no_sockets;  /* of 1000 connections: our own machine has no socket */
    int stops;       /* the run is ended so often and resumed */
    bool lingers;    /* close() leaves what is unsent to the kernel, as it did */
    bool trace;
};

/* Random worlds; changes to a plan are made between draw and make_list. */
void plan_draw(struct plan *p, uint64_t seed);
/* The same, smaller, with providers, sources, limits and what receivers make of us. */
void plan_draw_limited(struct plan *p, uint64_t seed);
const struct scheduler_policy *plan_policy(const struct plan *p, uint32_t number);
/* A day of usual settings, with as many rows. */
void plan_draw_day(struct plan *p, uint64_t seed, uint32_t places, uint32_t rows);
/* Calm places, one machine and one name each. */
void plan_draw_calm(struct plan *p, uint64_t seed, uint32_t places, uint32_t rows);
void plan_make_list(struct plan *p);
void plan_free(struct plan *p);
struct machine *plan_machine(struct plan *p, const struct ip *address);
/* The answer of a lookup that ends now. */
struct mx_set *plan_resolve(const struct plan *p, uint32_t name, int64_t now_us,
                            int64_t took_us);

/* A machine without troubles. */
void machine_calm(struct machine *m, uint64_t seed);

/* ---- TCP ---- */

enum segment_kind { SEGMENT_DATA, SEGMENT_FIN, SEGMENT_RST };

struct segment {
    int64_t at_us;
    uint64_t n; /* bytes; in acks: the stream up to here */
    enum segment_kind kind;
};

struct flow { /* on its way, in order */
    struct segment *segments;
    uint32_t first, n, cap;
    int64_t last_us;
    struct buf bytes;
    size_t taken;
};

struct connection;

struct wire {
    uint32_t number, generation;
    struct machine *machine;
    struct rng rng;
    struct mood mood;
    struct connection *connection; /* NULL: it has closed */
    struct sink_server *server;    /* NULL: it is over there */
    struct flow up, down, acks;
    struct buf unsent; /* in our kernel */
    uint64_t written, transmitted, acknowledged, arrived, consumed, told;
    bool fin_due; /* behind what is unsent */
    bool cut_off; /* reset or closed by us at once: nothing more leaves */
    bool answers_reset;
    bool gone, frozen, mute, loses, doubles, shifted;
    int64_t thaw_us, give_up_us; /* the kernel's own patience */
    struct buf inbox;            /* arrived, not read by the program there */
    bool inbox_end;              /* and our end behind it */
    enum blow fault;
    uint64_t fault_at; /* byte of the stream */
    bool fault_down;
    uint64_t fed, said;
    int64_t wake_us; /* earliest event of it in the heap */
    char line[32];   /* what leaves, as far as the line goes */
    size_t line_n;
    bool header;           /* it is a Message-ID, and no MAIL, that comes next */
    uint32_t line_message; /* the one that leaves, by its number */
    uint64_t chunk_left;   /* of its chunk; 0: it has a dot, or none is under way */
    uint32_t taken;        /* of the last one that was taken */
    uint32_t mails;        /* that began to leave */
    bool misleads;         /* a reply was lost, what follows stands in its place */
};

struct wire *wire_open(struct world *w, struct machine *m, struct connection *c);
/* How many bytes our kernel takes. */
size_t wire_write(struct world *w, struct wire *wire, const struct iovec *pieces,
                  int n);
struct smtp_wire wire_where(const struct wire *wire);
void wire_close(struct world *w, struct wire *wire, bool linger);
void wire_turn(struct world *w, struct wire *wire);
void wire_free(struct world *w, struct wire *wire);

/* ---- connections and the desk ---- */

struct row_queue {
    uint32_t *rows;
    uint32_t head, end, cap;
};

struct slot_row {
    uint32_t row, dots_before; /* of it, when it was begun */
    char address[80];
};

struct slot {   /* a message */
    int rows_n; /* 0: free */
    bool marked, told;
    struct smtp_transaction transaction;
    struct slot_row rows[TOGETHER_MAX];
    struct smtp_recipient recipients[TOGETHER_MAX];
    char body[256];
    struct iovec piece;
};

enum { SLOTS = 2 };

struct connection {
    struct world *w;
    uint32_t number, generation;
    struct order *order; /* the targets live in it */
    int target;
    struct wire *wire;
    int64_t connect_began_us, connect_at_us; /* connecting: when it is decided */
    enum door door;
    int64_t idle_until_us, finish_until_us, again_us;
    struct smtp_params params;
    struct smtp_session *session;
    int64_t session_began_us;
    struct row_queue rows;
    uint32_t left, begun;
    uint32_t late; /* MAILs that left after it was told to end */
    bool last, finishing, broken_off, trouble, moving, moved;
    unsigned avoid;
    int together; /* rows that may share a message */
    struct slot slots[SLOTS];
    int64_t wake_us;
};

/* A message by its number: how many bytes. dotted: as DATA wants it. */
int sim_message(const struct world *w, char *out, size_t size, uint32_t number,
                bool dotted);

/* The verbs of engine/connection.h. */
void connection_open(struct world *w, struct order *order);
void connection_lend(struct connection *c, const struct order *order);
void connection_recall(struct connection *c);
void connection_finish(struct connection *c);
void connection_abort(struct connection *c);
void connection_free(struct connection *c); /* as if the process died */
/* Whom the message with this number in its Message-ID is for; how many. */
int message_rows(const struct world *w, uint32_t number, uint32_t rows[TOGETHER_MAX]);
/* What its wire brings. */
void connection_read(struct connection *c, const char *data, size_t n);
void connection_lost(struct connection *c, bool timed_out, const char *words);
void connection_writable(struct connection *c);
void connection_timer(struct connection *c);

enum news_kind { NEWS_CONNECTED, NEWS_SETTLED, NEWS_RETURNED, NEWS_CLOSED };

struct news {
    int64_t at_us;
    enum news_kind kind;
    uint32_t connection, row;
    struct verdict verdict;
    bool worked;
    unsigned avoid;
    bool heads; /* SETTLED, RETURNED: the first to tell of a message */
    enum close_kind closed;
};

void desk_report(struct world *w, const struct news *news);

struct seen_site;
struct seen_path;

struct lane { /* a connection as the scheduler's thread sees it */
    bool open, has_closed, told_to_stop, brought;
    struct news closed;
    const char *site;
    struct seen_site *seen;
    struct seen_path *path;
    uint8_t source;
    uint32_t lent;
    int64_t opened_us;
    int64_t progress_us; /* rows came, or went */
};

struct held_order {
    int64_t at_us;
    struct order *order;
};

/* What is true of a row, whatever the engine believes. */
struct story {
    uint8_t finals;
    bool lent, flagged, assumed;
    bool misled;     /* its server took it and lost the 250 for it */
    uint8_t outcome; /* of the last attempt, enum outcome */
    uint8_t flight;  /* enum flight_state */
    uint8_t source;  /* MAIL was answered there last; 0: any may come */
    uint16_t accepted;
    uint16_t dots; /* left our machine */
    uint16_t attempts;
    int last_code, ended;
    int64_t first_us, due_us, lent_us, settled_us;
    int64_t waited_us; /* due, and not yet lent: we let it wait */
};

enum passing { PASSING_CONNECT, PASSING_MAIL, PASSINGS };

/* A bucket that leaks: what has come, as the time that it takes by the rate. */
struct meter {
    int64_t level_us, at_us;
    int64_t interval_us; /* of the rate that held for the last one */
};

/* A provider as one source sees it. */
struct seen_path {
    struct meter came[PASSINGS]; /* to the receivers */
    int64_t mails_until_us; /* worked off is what may be on its way there, or lost */
    struct gate lent[PASSINGS]; /* what the scheduler lent or opened */
    bool rested[PASSINGS];      /* when its rate changed: that may be forgotten */
    uint32_t lanes, untold;     /* connections; not told to end, for record_told */
    uint32_t allowed, good;     /* connections on its way back; UINT32_MAX: all */
    int64_t closed_until_us;
    int64_t kept_until_us; /* then the next life may have forgotten `allowed` */
    uint32_t slow;         /* the rates are halved so often, for sure until */
    int64_t slow_until_us;
    bool pace_unsure; /* it may be slow for longer, or have rested and been forgotten */
    bool may_be_fewer; /* connections than `allowed` */
    struct today {     /* of a source that is being warmed up */
        int32_t day;
        uint32_t drawn, mails;
        bool unsure; /* a MAIL may have been said twice */
    } today;
};

struct seen_provider {
    const struct scheduler_policy *policy;
    uint32_t memory;
    int64_t braked_until_us;
    struct seen_path paths[SOURCES_MAX + 1];
};

struct seen_site {
    const char *name; /* the scheduler's own: no other site has it */
    uint32_t memory;
    const struct scheduler_policy *policy;
    struct seen_provider *provider;
    struct seen_provider *outer[OUTER_MAX]; /* whose limits hold for it too */
    int outer_n;
    int64_t closed_until_us, ruled_until_us; /* at all; by a rule */
    int64_t left_until_us[SOURCES_MAX + 1];  /* it failed from there, others go first */
    int64_t bound_until_us[SOURCES_MAX + 1]; /* so long its own rows may wait */
    uint32_t ready[SOURCES_MAX + 1];         /* for sure, by source; for record_waits */
};

/* What receivers know of us from life to life, and so do we, by the board. */
struct memory {
    struct seen_path paths[SOURCES_MAX + 1];
    int64_t braked_until_us; /* of a provider */
    int64_t ruled_until_us;  /* of a site */
};

/* One life of the process as its receivers saw it. */
struct record {
    struct map site_numbers; /* by the name's address */
    struct seen_site **sites;
    uint32_t sites_n;
    struct seen_provider *shared[PROVIDERS_MAX + 1];
    struct seen_provider *outer[OUTER_MAX + 1]; /* by number */
    struct seen_site **of_domain;               /* NULL: nothing was lent of it yet */
    bool *asked; /* by domain: its hosts are not known now */
    int64_t source_until_us[SOURCES_MAX + 1];
    struct sharing share;
    bool restrained; /* just now: record_told looks */
};

struct world {
    struct plan *plan;
    int64_t now_us;
    struct events events;
    struct rng rng; /* of our own machine */
    struct scheduler *scheduler;
    struct sink_world *sink;
    int record_fd;
    uint64_t messages; /* read from the record */

    struct connection **connections;
    uint32_t connection_generations;
    struct wire **wires;
    uint32_t wires_n, wires_cap;
    uint32_t *free_wires;
    uint32_t free_wires_n;
    uint32_t wire_generations;

    struct network network;
    bool reached;              /* a host was connected to in this run */
    int64_t down_us, stood_us; /* since when; and how long before that */
    struct lane *lanes;
    uint32_t lanes_open;
    struct order order;
    struct held_order *tasks;
    uint32_t tasks_first, tasks_n, tasks_cap;
    int64_t tasks_last_us;
    struct news *news;
    uint32_t news_first, news_n, news_cap;
    int64_t news_last_us;
    uint32_t lookups;
    int64_t short_until_us; /* of sockets */
    int64_t wake_us;
    bool stopping, finishing, killed;
    uint64_t taken; /* events */
    uint64_t stop_at;

    struct record record;
    struct map memory_numbers; /* "provider N", "policy N SITE", "site SITE" */
    struct memory *memories;
    uint32_t memories_n;
    int64_t source_until_us[SOURCES_MAX + 1]; /* from life to life, too */
    bool source_was_slow[SOURCES_MAX + 1];    /* the same */
    int board_fd;
    struct board *board;               /* NULL: this world has none */
    uint32_t policies[OTHERS_MAX + 1]; /* the scheduler's number → the plan's */
    uint32_t policies_n;
    bool quiet[OTHERS_MAX + 1]; /* by the scheduler's number */
    int hands_left;
    bool paused;
    int64_t paused_us;     /* since when */
    struct story *stories; /* from 1 */
    struct shared {
        int n;
        uint32_t rows[TOGETHER_MAX];
    } * shared; /* messages for several; a row's own has its number */
    uint32_t shared_n;
    uint64_t pending;
    uint64_t attempts, delivered, errors, doubts, twice;
    int64_t good_done_us; /* the last row of a good place */
    uint64_t hash;
    uint64_t idle_turns; /* of promise_idle */
    struct buf line;
};

/* What single questions ask: test_sim --cases, --forecast, --day. */
void cases_run(void);
void forecast_run(void);
void cases_day(void);

void world_run(struct world *w, struct plan *p);
void world_finish(struct world *w);
void desk_turn(struct world *w);
void desk_start(struct world *w);
void desk_tasks(struct world *w);
void desk_news(struct world *w);
void desk_answer(struct world *w, uint32_t domain);

/* Our own network leads nowhere at this time. */
static inline bool world_is_cut(const struct world *w, int64_t at_us)
{
    return at_us >= w->plan->cut_from_us && at_us < w->plan->cut_until_us;
}

/* What a clock on the wall shows. */
static inline int64_t world_wall_ms(const struct world *w)
{
    return w->plan->begin_ms + (w->now_us - SECOND_US) / 1000;
}

/* A line of this world's log. */
void world_log(struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- promises ---- */

/* What does not hold ends the program, with the seed. */
void promise(bool holds, const struct world *w, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void promise_order(struct world *w, const struct order *order);
void promise_idle(struct world *w); /* no row waits while its path could take it */
void promise_end(struct world *w);
uint32_t row_name(const struct world *w, uint32_t row); /* its number in the plan */

/* ---- the record ---- */

void record_begin(struct world *w);
void record_finish(struct world *w);
void record_forget(struct world *w); /* all lives */
/* What is lent, opened, settled, closed and restrained, as it happens; each promises
 * that it may be. */
void record_order(struct world *w, const struct order *order);
void record_settled(struct world *w, struct lane *lane, const struct verdict *v,
                    const struct settlement *what, const struct decision *d);
void record_closed(struct world *w, const struct lane *lane, enum round round);
void record_suspended(struct world *w, const struct lane *lane,
                      const struct suspension *what);
void record_shared(struct world *w, const struct sharing *share);
/* scheduler_allow_fn: what is left of a cap, a part at a time. Each run has its own. */
uint32_t record_allow(void *world, uint8_t source, uint32_t policy, const char *site,
                      int64_t now_us, int64_t *until_us);
/* A MAIL has passed its gates: it may break off before it is seen. */
void record_passed(struct world *w, const struct connection *c);
/* A connection is begun, a MAIL begins to leave: what receivers see. */
void record_connect(struct world *w, const struct connection *c);
void record_mail(struct world *w, struct wire *wire);
/* MAIL was refused here, and is said to the next host: one message of a day's cap. */
void record_moved(struct world *w, const struct connection *c);
/* After the desk's turn: who must not go on was told so. */
void record_told(struct world *w);
/* Which rows are ready, for sure. */
void record_ready(struct world *w);
/* A site with rows that no connection has: what is said to keep them does, and nothing
 * is kept that could go. */
void record_waits(struct world *w, const struct site_view *view);

/* ---- rules and operators ---- */

void hand_begin(struct world *w);
void hand_turn(struct world *w, const struct event *e);
/* Ends the run: politely, at once, or by the death of the process. */
void hand_stop(struct world *w);

#endif
