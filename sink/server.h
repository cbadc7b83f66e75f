/* The receiver's side of one SMTP connection, sans-IO: bytes in, bytes out, a deadline.
 * RFC 5321, 1870, 2034, 2920, 3030, 3207, 4954, 6152. One holder, no locks, no clock.
 * Used by demo, rehearse, tests and bench.
 *
 * It is strict, because it exists to show what a sender does: a command ends at CRLF
 * and nowhere else, data ends at CRLF.CRLF and nowhere else, and what a sender should
 * not do (bare CR or LF, commands ahead of a reply without PIPELINING) is counted. */
#ifndef SINK_SERVER_H
#define SINK_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "sink/mood.h"

enum {
    SINK_COMMAND_MAX = 2048,          /* bytes of one command with its CRLF */
    SINK_RECIPIENTS_MAX = 100,        /* of one transaction: RFC 5321 4.5.3.1.8 */
    SINK_SIZE_MAX = 50 * 1024 * 1024, /* bytes of one message, offered as SIZE */
    SINK_BAD_COMMANDS_MAX = 20,       /* 500s on one connection, then 421 */
    SINK_OUTPUT_MAX = 64 * 1024,      /* replies not yet taken: stop reading above */
};

/* Shared by all connections of one receiver; belongs to one thread. */
struct sink_counts {
    uint64_t connections;
    uint64_t refused_connections; /* greeted with something else than 220 */
    uint64_t messages;            /* accepted: their dot was answered 250 */
    uint64_t recipients;          /* of accepted messages */
    uint64_t refused;      /* RCPT answered 5xx, and messages refused at the dot */
    uint64_t deferred;     /* RCPT answered 4xx */
    uint64_t bytes;        /* of accepted messages, unstuffed, without the dot */
    uint64_t bare;         /* messages, accepted or not, with a CR or LF alone */
    uint64_t early;        /* commands sent before they might be: before the greeting
                              or a reply, when PIPELINING was not offered */
    uint64_t bad_commands; /* answered 500, 501, 502, 503 or 555 */
    uint64_t chunked;      /* of messages: they came by BDAT */
    uint64_t secured;      /* connections on which a TLS handshake was finished */
    uint64_t authenticated;
    int open;
    bool record_failed; /* the record cannot be written: nobody is answered */
};

struct sink_world;

/* record_fd >= 0: one line
 * "UNIXMS\tRCPT\tSENDER\tMESSAGE-ID\tBYTES\tPEER\tHELO\n" for each accepted recipient
 * is written before its 250 leaves; the fd stays the caller's. keep_dir: NULL, or a
 * folder where each accepted message is stored as N.eml, N from 1 (tests). */
struct sink_world *sink_world_create(int record_fd, const char *keep_dir);
void sink_world_destroy(struct sink_world *w); /* servers go first; NULL is allowed */
/* What wall clock belongs to now_us 0, for the first column of the record. */
void sink_world_set_wall(struct sink_world *w, int64_t unix_us_at_zero);
struct sink_counts *sink_world_counts(struct sink_world *w);

/* Write the record lines gathered so far: once for many servers, before their output is
 * taken (sink_server_output does it otherwise, for itself). False: the record cannot be
 * written, now and ever after; then no output comes out any more and the connections
 * must be dropped, because a 250 without its line would be a lie. */
bool sink_world_flush(struct sink_world *w);

struct sink_server;
/* mood and world must outlive it. open_on_mood: connections open at this mood's
 * listener, this one included. */
struct sink_server *sink_server_create(struct sink_world *w, const struct mood *mood,
                                       int open_on_mood, int64_t now_us);
/* Where it connects from, for the record; it is empty there without this. */
void sink_server_set_peer(struct sink_server *s, struct span address);
void sink_server_destroy(struct sink_server *s); /* NULL is allowed */
void sink_server_receive(struct sink_server *s, const char *data, size_t n,
                         int64_t now_us);
/* What may leave now; replies that a mood delays come when their time has come. Valid
 * until the next call for this server. */
struct span sink_server_output(struct sink_server *s, int64_t now_us);
void sink_server_sent(struct sink_server *s, size_t n);
/* When output will have more than now; INT64_MAX: not by waiting. */
int64_t sink_server_deadline(const struct sink_server *s);
/* Too many replies wait to be taken: call receive again when some are. */
bool sink_server_full(const struct sink_server *s);
/* 220 to STARTTLS was taken: what comes next from the wire belongs to TLS. Until
 * sink_server_secured, bytes that are received are dropped, and counted as early. */
bool sink_server_wants_tls(const struct sink_server *s);
/* The handshake is done; from now on receive and output are plaintext. All that was
 * said in clear is forgotten (RFC 3207 4.2). With a mood's tls_at_once the shell begins
 * TLS by itself and the greeting goes out under it. */
void sink_server_secured(struct sink_server *s);
/* The last reply was taken (or there was none): close. */
bool sink_server_over(const struct sink_server *s);

#endif
