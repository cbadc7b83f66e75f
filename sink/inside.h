/* The inside of one server, shared by server.c, opening.c and message.c; nobody else
 * includes this. */
#ifndef SINK_INSIDE_H
#define SINK_INSIDE_H

#include "sink/auth.h"
#include "sink/data.h"
#include "sink/world.h"

enum state {
    STATE_COMMAND,
    STATE_DATA,
    STATE_CHUNK,
    STATE_TLS,    /* said 220 to STARTTLS: until secured, nothing is a command */
    STATE_SILENT, /* a mood's: listens and never answers */
    STATE_DEAF, /* a mood's: to whatever comes next, an answer in clear, and the end */
    STATE_CLOSED, /* whatever else arrives is not read */
};

struct sink_server {
    struct sink_world *world;
    const struct mood *mood;
    int64_t now_us; /* of the receive that is going on */
    enum state state;

    struct buf line; /* start of an unfinished command */
    bool line_cr;    /* its last byte, kept or not, is CR */
    bool line_long;
    int bad_commands;

    struct buf peer; /* its address */
    struct buf helo; /* the name it gave last */
    bool greeted;
    bool extended;     /* EHLO, not HELO */
    bool may_pipeline; /* the peer has read our offer */
    bool secured;      /* under TLS */
    struct auth auth;
    bool mail_open;
    int recipients;
    struct buf sender;
    struct buf rcpts; /* accepted, each ended by a NUL */
    int messages;

    bool chunks; /* the transaction's message comes by BDAT */
    bool chunk_last, chunk_failed;
    uint64_t chunk_left;       /* octets of the chunk that is being read */
    const char *chunk_refusal; /* what they will get; NULL: they are kept */

    struct data_scan scan;
    bool header_done;
    struct buf header; /* the message's first kilobytes, for its Message-ID */
    struct buf kept;   /* the message as it came, when it is to be kept */

    struct buf
        out; /* replies; out.p[0] is byte number `taken` of this connection's output */
    uint64_t taken;
    uint64_t released;      /* byte number up to which delays have passed */
    uint64_t record_wanted; /* bytes of the record that must be written before */
    struct buf marks;       /* of struct mark, oldest first, from marks_at on */
    size_t marks_at;
};

void server_reply(struct sink_server *s, const char *text);
void server_reply_bad(struct sink_server *s, const char *text); /* 421 in the end */
void server_close(struct sink_server *s);
void server_forget_transaction(struct sink_server *s);

/* Is this text among the percent that a trouble of a mood hits? Salted, so that the
 * troubles of one mood hit different addresses. */
static inline bool server_hit(struct span text, int percent, unsigned salt)
{
    return percent && (hash_bytes(text.p, text.n) >> salt) % 100 < (unsigned)percent;
}

/* message.c: from DATA or BDAT to the reply. The two that take bytes return where they
 * stopped. */
void message_begin(struct sink_server *s);
const char *message_take_data(struct sink_server *s, const char *p, const char *end);
void message_bdat(struct sink_server *s, struct span rest);
const char *message_take_chunk(struct sink_server *s, const char *p, const char *end);

/* opening.c: the commands before MAIL, and what EHLO offers. */
bool opening_offers_pipelining(const struct sink_server *s);
void opening_ehlo(struct sink_server *s, struct span rest);
void opening_helo(struct sink_server *s, struct span rest);
void opening_starttls(struct sink_server *s, struct span rest);
void opening_auth(struct sink_server *s, struct span rest);
void opening_auth_line(struct sink_server *s, struct span line); /* behind a 334 */

#endif
