/* Inside a session: the state that its files share. session.c keeps the ring, the end
 * and the contract of session.h; commands.c writes every command; replies.c knows every
 * meaning; clock.c watches the time; auth.c holds the credentials' words. Nobody
 * outside smtp/ includes this. */
#ifndef SMTP_INSIDE_H
#define SMTP_INSIDE_H

#include "base/buf.h"
#include "smtp/session.h"

enum {
    COMMANDS_MAX = 128, /* END, RSET, MAIL, 100 RCPT and DATA are 104 */
    COMMAND_MAX = 1024, /* bytes of one command line; an address is at most 254 */
    DOT_SIZE = 3,
    CHUNK_LINE_MAX = 40, /* BDAT, the size, LAST */
};
_Static_assert(COMMANDS_MAX >= SMTP_RECIPIENTS_MAX + 4, "a group must fit");

/* Of an exchange's next stage, and of what is owed. */
static const enum smtp_stage NOTHING = SMTP_STAGE_COUNT;

/* A command whose reply is owed. */
struct command {
    uint64_t end;     /* offset in the stream behind its last byte */
    int64_t since_us; /* when it was written; END: when the body was begun */
    uint8_t stage;
    uint8_t recipient; /* RCPT */
};

/* A transaction on its way through the dialogue. */
struct exchange {
    struct smtp_transaction *t; /* NULL: settled, though replies may still be owed */
    enum smtp_stage next;       /* to be written for it; NOTHING: a reply comes first */
    int written;                /* RCPT commands */
    int undecided;              /* recipients without a result */
    int accepted;     /* RCPT the server took, whether we still want it or not */
    int recipients_n; /* to be named in it: the first ones of t */
    bool busy;        /* this exchange exists */
    bool mail_answered;
    bool mail_good;
    bool data_good;
    bool behind_dot;     /* its envelope left behind a body, and is not yet answered */
    bool behind_refused; /* and that body was a chunk that was refused then */
    uint64_t body_end;   /* offset in the stream behind the body, before its dot; or
                            before the last byte of a chunk */
};

/* A body on its way: what the peer has acknowledged of it, and when. */
struct body_clock {
    uint64_t progress_at; /* offset in the stream, as last seen */
    int64_t progress_us;
    uint64_t minute_at; /* the same when the minute under measure began */
    int64_t minute_us;
    int slow_minutes;
    int64_t sent_us;    /* when the dot was given away; 0: not yet */
    int64_t arrived_us; /* since when the END limit runs */
    bool arrived;       /* the peer has the dot */
    bool late;          /* it had not at a look behind sent_us */
};

struct smtp_session {
    const struct smtp_params *params;
    struct reply_parser parser;

    /* What the server offers, as said in its last EHLO reply. 8BITMIME and SMTPUTF8 are
     * never needed: bodies are 7-bit, addresses are ASCII. */
    struct {
        bool pipelining, chunking, size, starttls, auth_plain, auth_login;
        uint64_t size_max; /* 0: no limit known */
        uint64_t
            mail_max; /* LIMITS (RFC 9422): transactions of a session, recipients */
        uint64_t rcpt_max; /* of a transaction; 0: no limit known */
    } offers;

    enum smtp_stage due; /* to be written before the first MAIL; NOTHING */
    bool plain;          /* HELO, not EHLO */
    bool handshake;      /* of TLS is under way: nothing is read or written */
    bool secured;
    uint8_t auth_line; /* lines of AUTH that were written */
    bool greeted;
    bool used; /* a transaction was begun on this connection */
    bool finishing;
    bool over;
    bool reset_due; /* a transaction was broken off: RSET before the next */
    bool wants_group;
    bool wants_data;
    bool chunk_known; /* a BDAT was answered as one is */
    bool was_ready;
    unsigned signals;
    uint64_t begun; /* transactions */

    /* A reply is always about pair[0]: pair[1]'s commands come behind pair[0]'s dot. */
    struct exchange pair[2];
    struct command ring[COMMANDS_MAX];
    unsigned ring_first, ring_n;

    /* Output, in the order of the stream: a chunk's line, rest of a body, its dot,
     * commands. */
    char chunk_line[CHUNK_LINE_MAX];
    size_t chunk_line_n, chunk_line_at;
    const struct iovec *piece;
    int pieces_n;
    size_t piece_at;
    size_t dot_at; /* DOT_SIZE: no dot to write */
    struct buf text;
    size_t text_at;
    uint64_t composed; /* offset behind all that was composed */
    uint64_t sent;     /* offset behind all that the kernel has taken */

    struct smtp_wire wire; /* as told before this very receive; else all has arrived */
    bool asked;            /* its command had left us when the reply being read began */

    struct body_clock body_clock;
    int64_t deadline_us;
    int64_t session_end_us; /* INT64_MAX: no limit */
    int64_t handshake_us;   /* when STARTTLS was written */

    struct link settled;
    /* In settled, but not given out yet: its dot was answered, the envelope behind it
     * not. `shifted`: a reply has turned out to be missing or too many. */
    struct smtp_transaction *held;
    bool shifted;
    struct smtp_result fate, epilogue;
    struct smtp_timings timings;
};

/* The i-th oldest command whose reply is owed, i < ring_n. */
struct command *session_owed(struct smtp_session *s, unsigned i);
void session_push(struct smtp_session *s, enum smtp_stage stage, int recipient,
                  int64_t now_us);
struct command session_pop(struct smtp_session *s, int64_t now_us);

void result_set(struct smtp_result *r, enum smtp_how how, enum smtp_stage stage,
                const struct reply *reply);
void result_copy(struct smtp_result *to, const struct smtp_result *from);

/* The message goes out as one chunk (RFC 3030). */
static inline bool session_chunks(const struct smtp_session *s)
{
    return s->params->chunking && s->offers.chunking;
}

void session_note_time(struct smtp_timings *timings, enum smtp_stage stage, int64_t us);

/* For the first so many of its recipients: none of them is decided, all others are. */
void session_exchange_begin(struct exchange *x, struct smtp_transaction *t,
                            int recipients_n);
/* Each recipient is decided exactly once; with the last one its transaction is settled.
 */
void session_decide(struct smtp_session *s, struct exchange *x, int i,
                    const struct smtp_result *why);
void session_decide_rest(struct smtp_session *s, struct exchange *x,
                         const struct smtp_result *why);

/* Give the held transaction out; shifted: its reply has become doubtful for this
 * reason.
 */
void session_release(struct smtp_session *s, const struct smtp_result *why);

/* The connection broke or time ran out: session_end, but for half a line that could
 * never have become a reply. */
void session_break(struct smtp_session *s, struct smtp_result *why);
/* The end of the session: who is not decided shares its fate, or was not tried. */
void session_end(struct smtp_session *s, const struct smtp_result *why);
void session_end_garbage(struct smtp_session *s, enum smtp_stage stage,
                         const char *words, const struct reply *reply);
/* As agreed: nobody is undecided. */
void session_end_quietly(struct smtp_session *s);

/* No MAIL will be sent: the fate is set, QUIT follows. */
void session_give_up(struct smtp_session *s, enum smtp_how how, enum smtp_stage stage,
                     const char *words);

/* The offset in the stream that so many bytes of what was sent lie behind. */
static inline uint64_t session_behind(const struct smtp_session *s, uint64_t bytes)
{
    return s->sent - (bytes < s->sent ? bytes : s->sent);
}
/* codes rules 1 and 4: stage, sending and dot_left of an end. */
void session_locate(struct smtp_session *s, struct smtp_wire wire,
                    struct smtp_result *why);

/* clock.c. A reply has its time as a whole, from when it became the oldest owed. */
void session_set_deadline(struct smtp_session *s, int64_t now_us);
void session_begin_body_clock(struct smtp_session *s, int64_t now_us);

/* auth.c. The next line of AUTH at p, which has room for AUTH_LINE_MAX. */
enum { AUTH_LINE_MAX = 16 + (2 * SMTP_CREDENTIAL_MAX + 2 + 2) / 3 * 4 };
char *session_put_auth(const struct smtp_session *s, char *p);
/* Is there another line to say after a 334? */
bool session_auth_goes_on(const struct smtp_session *s);
/* A server may repeat what we said: then its words are not kept. */
void session_hide_credentials(const struct smtp_session *s, struct reply *r);

/* What is to be written next, once that is allowed; *which_out: for which of the pair.
 */
enum smtp_stage session_next_stage(const struct smtp_session *s, int *which_out);
/* The stage that an unexpected event belongs to. *sending_out: its bytes are still
 * ours. */
enum smtp_stage session_stage_now(const struct smtp_session *s, bool *sending_out);

reply_line_fn session_on_capability;
/* Has the command that a reply which begins now would answer left us? */
bool session_is_asked(struct smtp_session *s);
void session_on_reply(struct smtp_session *s, const struct reply *reply,
                      int64_t now_us);
/* The course is corrected at meeting points only: when no reply is owed. */
void session_turn_back(struct smtp_session *s);

#endif
