/* The fault server: a file says what one server does to its connections, in the lines
 * of a transcript (docs/scenarios.md). scenario_read makes a list of acts of it, which
 * never changes again; a player carries them out on one connection, sans-IO: bytes in,
 * bytes out, a deadline, and how much it wishes to read. sink/receiver_scenario.h is
 * its shell. One thread. */
#ifndef SINK_SCENARIO_H
#define SINK_SCENARIO_H

#include "base/buf.h"
#include "base/fault.h"
#include "smtp/tls.h"

enum {
    SCENARIO_SECTIONS_MAX = 16,       /* connections that differ */
    SCENARIO_INPUT_MAX = 1024 * 1024, /* heard too early: no more is read above */
};

/* X(kind, word, what stands behind it): the verbs of a scenario. A word that is NULL is
 * made of another line. */
/* clang-format off */
#define SCENARIO_ACTS(X)                                                         \
    X(SAY,       "S:",        TEXT)     /* and S>: bytes to send */              \
    X(HEAR,      "C:",        TEXT)     /* wait for a line that matches */       \
    X(HEAR_BODY, NULL,        NOTHING)  /* wait for a message up to its dot */   \
    X(ANY,       "any",       NOTHING)  /* wait for some bytes; drop them */     \
    X(WAIT,      "T",         DURATION) /* let time pass */                      \
    X(QUIET,     "quiet",     DURATION) /* the same; and nothing may be heard */ \
    X(CLOSE,     "X close",   NOTHING)  /* close(): what comes later gets RST */ \
    X(RESET,     "X reset",   NOTHING)  /* RST now */                            \
    X(SHUTDOWN,  "shutdown",  NOTHING)  /* say no more, go on listening */       \
    X(READ,      "read",      READ)     /* how fast to read from now on */       \
    X(SLOW,      "slow",      DURATION) /* so long before each byte; 0: no */    \
    X(GARBAGE,   "garbage",   NUMBER)   /* so many random bytes */               \
    X(TLS,       "tls",       NOTHING)  /* shake hands; from now on under TLS */ \
    X(TLS_CLOSE, "tls-close", NOTHING)  /* say close_notify */
/* clang-format on */

enum act_kind {
#define X(kind, ...) ACT_##kind,
    SCENARIO_ACTS(X)
#undef X
        ACT_COUNT
};

struct act {
    enum act_kind kind;
    int line;         /* of the file */
    struct span text; /* SAY: bytes; HEAR: pattern */
    int64_t us;       /* WAIT, SLOW; READ: between two reads */
    size_t n;         /* READ: bytes at once, SIZE_MAX: no limit; GARBAGE */
};

struct scenario {
    char *name;         /* the file's, without folder and ending */
    int receive_buffer; /* SO_RCVBUF of its connections; 0: the kernel's choice */
    bool hold;          /* what is said is never cut: its point is to arrive at once */
    struct act *acts;   /* of all sections */
    int acts_n;
    int sections[SCENARIO_SECTIONS_MAX + 1]; /* where each begins; the last: its end */
    int sections_n;
    struct arena texts;
};

/* secure: STARTTLS is put before the first EHLO of each connection, so that the same
 * happens under TLS; a file with `clear` stays as it is. NULL and *f (-7, with file and
 * line). */
struct scenario *scenario_read(const char *path, bool secure, struct fault *f);
void scenario_free(struct scenario *s); /* NULL is allowed */

/* How output is cut into writes, whatever the file says; a client must not care. */
enum scenario_cut { SCENARIO_WHOLE, SCENARIO_BYTES, SCENARIO_RANDOM };

enum player_end {
    PLAYER_PLAYS,
    PLAYER_SHUT,  /* shutdown(SHUT_WR), then it plays on */
    PLAYER_CLOSE, /* read what is there, then close() */
    PLAYER_RESET, /* close() with SO_LINGER 0 */
};

struct player;

/* connection: 1 for the first one of this scenario; behind the last section, the last
 * one is played again. tls: of the server's side, outlives the player; NULL: no
 * scenario asks for it. */
struct player *player_create(const struct scenario *s, int connection,
                             enum scenario_cut cut, struct tls_context *tls,
                             int64_t now_us);
void player_free(struct player *p); /* NULL is allowed */

void player_receive(struct player *p, const char *data, size_t n, int64_t now_us);
/* The peer closed or reset. */
void player_lost(struct player *p, int64_t now_us);
/* What may leave now, in one write; valid until the next call. */
struct span player_output(struct player *p, int64_t now_us);
void player_sent(struct player *p, size_t n, int64_t now_us);
/* How many bytes to read at most now; 0: do not read. */
size_t player_appetite(const struct player *p, int64_t now_us);
/* When output or appetite may be more than now; INT64_MAX: not by waiting. */
int64_t player_deadline(const struct player *p, int64_t now_us);
/* What the connection has come to; PLAYER_SHUT once. */
enum player_end player_end(struct player *p);
/* What the client did otherwise than the file says, one clean line; NULL: nothing.
 * Then the connection is to be closed. */
const char *player_complaint(struct player *p);

#endif
