/* Which name server is asked next, and whether any is alive: pure, time is an argument
 * (microseconds, monotonic). The failover that c-ares would do for us would hide what
 * the servers said. */
#ifndef RESOLVER_SERVERS_H
#define RESOLVER_SERVERS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SERVERS_MAX = 8,
    SERVERS_SILENT = 3, /* silences in a row that put a server aside … */
};
#define SERVERS_ASIDE_US INT64_C(30000000) /* … for this long */

struct servers {
    int n;
    int rounds;               /* over silent servers, for one question */
    int64_t timeout_us;       /* of one query */
    int64_t answered_us;      /* when one answered last */
    int64_t waiting_since_us; /* first query sent after that; INT64_MAX: none */
    bool dead;                /* nobody has answered anything for twice the timeout */
    struct {
        int silent;       /* silences in a row */
        bool unreachable; /* a probe among them */
        int64_t aside_until_us;
    } each[SERVERS_MAX];
};

/* The way of one question over the servers. A zeroed struct is a fresh one. */
struct servers_way {
    uint8_t asked;    /* bits: silent in this round */
    uint8_t answered; /* bits: gave an answer that is no use; not asked again */
    int round;
};

void servers_init(struct servers *s, int n, int rounds, int64_t timeout_us);

/* The server to ask now, -1: the way is at its end. Servers put aside are left out as
 * long as another one is up. More rounds only while all were silent; when all are dead,
 * one round is all. */
int servers_next(const struct servers *s, struct servers_way *way, int64_t now_us);

void servers_sent(struct servers *s, int64_t now_us);
/* Silence over TCP puts no server aside: it may be well over UDP. */
void servers_silent(struct servers *s, struct servers_way *way, int server, bool tcp,
                    int64_t now_us);
/* A probe, which any server can answer, found no answer. */
void servers_unreachable(struct servers *s, int server, int64_t now_us);
void servers_answered(struct servers *s, int server, int64_t now_us);
/* Nothing is on the wire any more: silence now means nothing. */
void servers_idle(struct servers *s);
/* True once, when the servers are found to be dead: each was silent, and none has
 * answered anything for twice the timeout. */
bool servers_died(struct servers *s, int64_t now_us);

#endif
