/* One SMTP client dialogue over one connection, without the connection: bytes in, bytes
 * out, a deadline, and signals that are fetched. RFC 5321, 1870 (SIZE), 2034, 2920
 * (PIPELINING), 3030 (CHUNKING), 3207 (STARTTLS), 4954 (AUTH), 9422 (LIMITS). No
 * sockets, threads or clock; nothing here calls back, so nothing can free a session
 * from inside. One holder (a worker), no locks.
 *
 * The way of a session:
 *
 *     s = smtp_session_create(&params, now)         after TCP connect
 *     loop:
 *         if (smtp_session_asks_wire(s)) smtp_session_wire(s, wire)
 *         smtp_session_receive(s, data, n, now)     what the peer sent
 *         while ((signals = smtp_session_take(s)))
 *             SMTP_SETTLED: t = smtp_session_settled(s)   … until NULL; t is yours
 * again SMTP_READY:   smtp_session_submit(s, t, now)    or smtp_session_finish(s)
 *             SMTP_WANTS_TLS: handshake, then smtp_session_secured or _tls_failed
 *             SMTP_OVER:    close the connection, destroy the session
 *         n = smtp_session_output(s, iov, max, now) … write …  smtp_session_sent(s, k,
 * now) wake at smtp_session_deadline(s): smtp_session_expire(s, now, wire) the
 * connection broke: smtp_session_lost(s, words, timed_out, wire, now)
 *
 * One round trip a message (RFC 2920 3.1 lets message content open the next command
 * group): body, dot and the next transaction's MAIL, RCPT, DATA go out in one write, if
 * that next transaction was submitted before the body was written: READY is signalled
 * while one transaction is in flight and no other waits behind it. There is no RSET
 * after a clean 250.
 *
 * Where CHUNKING is offered the message is one chunk, BDAT with LAST, in the place of
 * DATA, 354, body and dot (RFC 3030). Its last byte is to it what the dot is elsewhere:
 * wherever this file says dot, that byte is meant as well.
 *
 * All of pipelining is a ring of commands sent; a reply takes the oldest. write_one()
 * holds every command, on_reply() every meaning, turn_back() every course correction.
 * docs/session.md tells how it thinks. */
#ifndef SMTP_SESSION_H
#define SMTP_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"
#include "smtp/reply.h"
#include "smtp/stages.h"

enum {
    SMTP_RECIPIENTS_MAX = 100, /* in one transaction: RFC 5321 4.5.3.1.8 */
    SMTP_CREDENTIAL_MAX = 512, /* bytes of auth_user and of auth_password, each */
};

enum smtp_pipelining {
    SMTP_PIPELINING_AUTO,  /* body, dot and next envelope in one write, where offered */
    SMTP_PIPELINING_GROUP, /* MAIL, RCPT, DATA in one write; body and dot alone */
    SMTP_PIPELINING_OFF,   /* one command at a time */
};

enum smtp_tls {
    SMTP_TLS_NONE,    /* STARTTLS is not used */
    SMTP_TLS_MAY,     /* used where offered; refused by the server: on in clear */
    SMTP_TLS_REQUIRE, /* no MAIL without it: not offered or refused ends the session */
};

struct smtp_params {
    const char *helo_name; /* like all of this it must outlive the session */
    enum smtp_pipelining pipelining;
    int64_t limit_us[SMTP_STAGE_COUNT]; /* time limit of each stage */
    int64_t session_limit_us;           /* of the whole session; 0: none. Over: 610 */
    enum smtp_tls tls;
    bool secured;          /* TLS stands already (implicit TLS): no STARTTLS */
    const char *auth_user; /* NULL: no AUTH; else it must succeed before MAIL */
    const char *auth_password;
    bool auth_clear; /* AUTH is allowed without TLS */
    bool chunking;   /* BDAT and not DATA, where CHUNKING is offered */
    bool paced; /* submit is called when idle only: a RSET that is due goes by itself
                   and not with the next MAIL */
};

enum smtp_how {
    SMTP_HOW_NONE,    /* not decided */
    SMTP_HOW_REPLY,   /* a reply decided: result.reply */
    SMTP_HOW_LOST,    /* connection lost while sending or waiting at stage */
    SMTP_HOW_TIMEOUT, /* time ran out while sending or waiting at stage */
    SMTP_HOW_GARBAGE, /* what came could not be understood: 602 protocol */
    SMTP_HOW_TLS,     /* STARTTLS could not be had: 602; not in time (timed_out): 610 */
    SMTP_HOW_SESSION_TIMEOUT, /* the whole session's limit: 610 */
    SMTP_HOW_AUTH,            /* AUTH is not offered, or only in clear and that is not
                                 allowed: 535, never sent */
    SMTP_HOW_LOCAL_SIZE,      /* larger than the SIZE announced: 552, never sent */
    SMTP_HOW_UNTRIED, /* not this row's attempt: take a new connection, count nothing
                         (codes rule 5: reused connection closed, 421 to a later MAIL,
                         stopped before its body, 452/552 after an accepted RCPT, more
                         recipients than RCPTMAX, the server does not know BDAT) */
};

/* What became of one recipient, or of the session itself. */
struct smtp_result {
    enum smtp_how how;
    enum smtp_stage stage;
    bool timed_out;     /* TLS: it was the timer */
    bool sending;       /* LOST, TIMEOUT: bytes of stage were not all acknowledged */
    bool dot_left;      /* the dot's last byte was transmitted and no whole reply to it
                           was read: the mail may have arrived (codes rule 4) */
    struct reply reply; /* HOW_REPLY: the reply; else text = reason in words */
};

struct smtp_recipient {
    const char *address; /* finished: local@domain as in struct address */
    uint16_t address_n;
    bool done; /* set by the session once result is final */
    struct smtp_result result;
};

/* Microseconds each step took, from sending the command to its reply; -1: did not
 * happen. */
struct smtp_timings {
    int32_t us[SMTP_STAGE_COUNT];
};

/* A message to some recipients. It and all it points to belong to the caller, who lends
 * them to the session from submit until smtp_session_settled gives the transaction
 * back. */
struct smtp_transaction {
    struct link link;   /* for whoever holds it; the session uses it meanwhile */
    const char *sender; /* "" is the null sender */
    struct smtp_recipient *recipients;
    int recipients_n;         /* 1 … SMTP_RECIPIENTS_MAX */
    const struct iovec *body; /* finished bytes: CRLF, ends in CRLF, no dot line */
    int body_n;
    bool dotted;      /* body is dot-stuffed: as smtp_session_wants_dots says */
    size_t body_size; /* sum of body */
    size_t dots;      /* of it, stuffed: they do not count for SIZE= (RFC 1870 3) */
    struct smtp_timings timings; /* written by the session */
    bool reused;   /* written: not the first transaction of this connection */
    bool body_due; /* written: the body may leave from now on */
};

/* Where the bytes are, asked of the kernel at the moment of trouble: of all bytes that
 * smtp_session_sent() counted, how many the peer's kernel has not acknowledged
 * (SIOCOUTQ) and how many were never transmitted (SIOCOUTQNSD). */
struct smtp_wire {
    uint64_t unacknowledged;
    uint64_t untransmitted;
};

enum smtp_signal {
    SMTP_READY = 1 << 0,   /* submit() is allowed now; signalled again after each submit
                              that leaves room */
    SMTP_SETTLED = 1 << 1, /* smtp_session_settled() has something */
    SMTP_WANTS_TLS =
        1 << 3,         /* the server said 220 to STARTTLS: begin the handshake, then
                         smtp_session_secured or smtp_session_tls_failed. Nothing is
                         written meanwhile; its time limit runs as a deadline */
    SMTP_OVER = 1 << 2, /* nothing more will be read or written: close */
};

struct smtp_session;

struct smtp_session *smtp_session_create(const struct smtp_params *params,
                                         int64_t now_us);
/* Transactions still lent are forgotten: only after OVER and the last settled(). NULL
 * is allowed. */
void smtp_session_destroy(struct smtp_session *s);

void smtp_session_receive(struct smtp_session *s, const char *data, size_t n,
                          int64_t now_us);

/* Fill up to max pieces with what is to be written now; 0 when there is nothing. The
 * pieces stay valid until the next call of any function of this session. */
int smtp_session_output(struct smtp_session *s, struct iovec *iov, int max,
                        int64_t now_us);
/* n bytes of the output went into the kernel (or the TLS pipe). */
void smtp_session_sent(struct smtp_session *s, size_t n, int64_t now_us);

/* Should smtp_session_wire be called before what was read is received? True while a
 * dot's reply is owed: a reply that was read before the peer's kernel had the dot
 * cannot be about it (codes rule 6). Ask the kernel after reading, not before. Who
 * cannot know lets it be: then a byte counts as arrived once it was given away. */
bool smtp_session_asks_wire(const struct smtp_session *s);
void smtp_session_wire(struct smtp_session *s, struct smtp_wire wire);
/* Does the output hold credentials now? A trace hides them. Ask it before
 * smtp_session_sent, after smtp_session_output. */
bool smtp_session_is_secret(const struct smtp_session *s);

/* The connection is gone (all that could be read was received before this call): EOF,
 * reset, or, with timed_out, the kernel's own timeout. words: reason, kept as result
 * text. */
void smtp_session_lost(struct smtp_session *s, const char *words, bool timed_out,
                       struct smtp_wire wire, int64_t now_us);
/* Time of the next deadline in microseconds, INT64_MAX for none. Expire may be called
 * early or late; it does nothing before the deadline. */
int64_t smtp_session_deadline(const struct smtp_session *s);
void smtp_session_expire(struct smtp_session *s, int64_t now_us, struct smtp_wire wire);

/* The handshake after SMTP_WANTS_TLS is done: EHLO follows, and all that was offered
 * before is forgotten (RFC 3207 4.2). */
void smtp_session_secured(struct smtp_session *s, int64_t now_us);
/* The handshake failed, or a record later on: the session is over, fate SMTP_HOW_TLS.
 */
void smtp_session_tls_failed(struct smtp_session *s, const char *words, int64_t now_us);
/* Did the peer take TLS up (secured was called, or params.secured)? */
bool smtp_session_is_secured(const struct smtp_session *s);

/* Signals since the last call; zero: nothing happened. */
unsigned smtp_session_take(struct smtp_session *s);
/* May submit be called right now? */
bool smtp_session_ready(const struct smtp_session *s);
/* Ready: must the bodies be dot-stuffed (RFC 5321 4.5.2)? False: they go by BDAT, as
 * the recipient shall have them. It is the same for all messages of a session. */
bool smtp_session_wants_dots(const struct smtp_session *s);
/* Ready, and a MAIL that is submitted now leaves at once: nothing is in flight, and no
 * reply is owed. Unless params.paced a RSET may go before it. Nothing signals it: ask
 * after each receive. */
bool smtp_session_idle(const struct smtp_session *s);
void smtp_session_submit(struct smtp_session *s, struct smtp_transaction *t,
                         int64_t now_us);
/* The next transaction whose recipients are all decided, oldest first; NULL: none. One
 * whose dot had an envelope behind it comes once that envelope is answered as well:
 * only then is it sure that no reply had slipped into another's place. */
struct smtp_transaction *smtp_session_settled(struct smtp_session *s);

/* No more transactions will come: QUIT after what is in flight, then OVER. */
void smtp_session_finish(struct smtp_session *s, int64_t now_us);
/* Begin no body any more: a transaction whose body has not been written is settled as
 * UNTRIED; then as finish. */
void smtp_session_stop(struct smtp_session *s, int64_t now_us);

/* The session's own end: how NONE while it lives or after a clean QUIT; else why it
 * ended, e.g. a 554 greeting (QUIT follows, OVER comes later) or a loss while idle
 * (LOST at MAIL). Valid until destroy. */
const struct smtp_result *smtp_session_fate(const struct smtp_session *s);
/* Trouble with QUIT or RSET for the log (62x-68x events), how NONE if there was none.
 */
const struct smtp_result *smtp_session_epilogue(const struct smtp_session *s);
/* Are EHLO or HELO, STARTTLS and AUTH done, so that MAIL could be sent? */
bool smtp_session_greeted(const struct smtp_session *s);
/* Did the peer close or reset over an envelope that was on its way behind a dot (loss
 * behind a dot included)? Then the site deserves SMTP_PIPELINING_GROUP for the rest of
 * the run. */
bool smtp_session_wants_group(const struct smtp_session *s);
/* Did the peer fail at its first BDAT? It did not know the command (its message was not
 * tried then), fell silent, closed, or answered what cannot be. Then the site deserves
 * params.chunking = false for the rest of the run. */
bool smtp_session_wants_data(const struct smtp_session *s);
/* The stage a human would name now: of the oldest command without a reply. */
enum smtp_stage smtp_session_stage(const struct smtp_session *s);
/* Greeting, helo, starttls (with the handshake) and auth timings; the other stages are
 * in each transaction's timings. */
const struct smtp_timings *smtp_session_timings(const struct smtp_session *s);

#endif
