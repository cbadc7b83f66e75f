/* Inside the forecast: what its files share. forecast.c runs the scheduler and asks for
 * its reasons; forecast_line.c is the far end of its orders: connections and gates. */
#ifndef CLI_FORECAST_INSIDE_H
#define CLI_FORECAST_INSIDE_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "cli/forecast.h"

enum {
    FORECAST_BEGIN_US = 1000 * 1000, /* on the false clock */
    LACKS_MAX = 16,                  /* bits of enum lack */
};
_Static_assert(LACK_WARMUP < 1 << LACKS_MAX, "each lack has its time");

/* What becomes due: a connection, or a gate that some of them wait at. */
struct due {
    struct heap_node node;
    bool of_door;
};

struct passage { /* of all gates that limit the same */
    uint64_t passed;
    int64_t interval_ns; /* as the last one passed; 0: there is no limit */
};

struct door { /* connections at the same gates, first come, first served */
    struct due due;
    struct gate **gates; /* of those that wait; others when others come */
    struct passage **passages;
    int gates_n;
    struct link waiting;
    uint32_t group; /* whose limit it is */
    enum lack lack; /* what they lack who wait here */
};

enum phase {
    PHASE_NONE,
    PHASE_GATE,    /* wants to connect */
    PHASE_OPENING, /* up to the answer to the last EHLO */
    PHASE_OPEN,
    PHASE_CLOSING, /* QUIT is said */
};

/* One message is on its way while the next one's envelope is: that is a round trip for
 * each message, as long as the next one is there in time. Under a rate MAIL is said
 * only when nothing else is under way, as engine/connection.c does it. */
struct connection {
    struct due due;
    enum phase phase;
    uint32_t number, group, policy;
    /* Lent, from rows[first] on: first those whose message is on its way, then those
     * whose envelope is, then what is not begun. */
    uint32_t *rows;
    uint32_t first, rows_n, cap;
    uint32_t body, envelope; /* rows; 0: none is */
    uint32_t left;           /* messages; UINT32_MAX: no limit */
    bool last;
    int64_t body_done_us, envelope_done_us;
    int percent;           /* of what is assumed, for the present message */
    int64_t idle_until_us; /* valid if nothing is under way */
    struct door *connect_door, *mail_door;
    struct link at_door;
    int64_t opened_us, ready_us;
};

struct account {                          /* of a group */
    int64_t open_us, own_us, renewing_us; /* of its connections: all their time, what of
                                             it waited for us, what the limit of
                                             messages cost */
    int64_t held_us;                      /* by quiet hours, before its last message; or
                                             to the end, when rows are left */
    int views;                            /* in the present sample */
    unsigned used_up;                     /* enum lack: rates that were */
    int64_t waited_us;                    /* while it was looked at */
    int64_t *lack_us;                     /* of that, by bit of enum lack; or NULL */
};

struct lookup {
    uint32_t domain;
    int64_t done_us;
};

struct treatment { /* of the destinations of one policy */
    uint32_t recipients, provider;
    const struct scheduler_budget *outer; /* as the gates of an order, but the first */
    struct hours hours;
    bool quiet;
    int64_t quiet_from_us, quiet_us; /* since when; and in all before that */
};

/* Whose cap of the day that is, all bytes of it. */
struct drawer {
    uint64_t source, provider;
    const char *site; /* NULL: of no one site */
};

struct run {
    const struct forecast_params *p;
    struct forecast *out;
    struct scheduler *scheduler;
    struct heap heap;
    struct connection *connections;
    struct map door_of;    /* by the bytes of a struct door_key */
    struct map passage_of; /* the same */
    struct map group_of;   /* by those of a pointer to a name */
    uint32_t *row_of;      /* of each domain: its last row */
    uint32_t *policy_of;   /* of each domain: the number of its policy */
    struct map drawers;    /* by the bytes of a struct drawer */
    int32_t *drawn;        /* of each: the day that it has drawn all of */
    uint32_t drawn_n;
    struct door **doors;
    uint32_t doors_n;
    struct passage **passages;
    uint32_t passages_n;
    struct account *accounts;
    struct lookup *lookups; /* a ring: each takes as long as the others */
    uint32_t lookups_first, lookups_n;
    struct mx_set *nowhere;
    struct rng rng;
    int64_t now_us, own_free_ns;
    int64_t looked_us, look_us; /* the last time and the next */
    struct treatment *policies; /* by number */
    uint32_t policies_n;
    int64_t hours_us; /* when the first of them begin or end */
    struct order order;
};

int64_t forecast_wall_ms(const struct run *r, int64_t us);

/* forecast_line.c */
void line_order(struct run *r, const struct order *o); /* carry it out */
void line_due(struct run *r, struct due *due);         /* its time has come */

#endif
