/* --trace=smtp: what is said and heard on each connection, in the lines of a transcript
 * (docs/session.md, docs/scenarios.md) behind the connection's number:
 *
 *     [17] # mx1.example.net 192.0.2.1
 *     [17] S: 220 mx1.example.net ESMTP
 *     [17] C: EHLO sender.example
 *     [17] T 1.204
 *     [17] S: 250 mx1.example.net
 *
 * so that `sed -n 's/^\[17\] //p'` makes a scenario of it. Messages are C> {body},
 * credentials a star: neither is ever written. A talk belongs to one thread; each line
 * is written whole, so that threads may share the file. No clock here: time is an
 * argument. */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/fault.h"

/* What can be traced: X(BIT, word). */
/* clang-format off */
#define TRACES(X) \
    X(SMTP, "smtp")
/* clang-format on */

enum trace_index {
#define X(name, word) TRACE_INDEX_##name,
    TRACES(X)
#undef X
        TRACE_COUNT
};
enum trace {
#define X(name, word) TRACE_##name = 1 << TRACE_INDEX_##name,
    TRACES(X)
#undef X
};

/* "smtp", or several words with commas. False: a word is none of them. */
bool trace_parse(struct span words, unsigned *traces_out);

/* Begin: before there are threads, once. file NULL: standard error. False and *f (-20)
 * when it cannot be opened. Without it nothing is traced. */
bool trace_begin(unsigned traces, const char *file, struct fault *f);
bool trace_on(enum trace what);
void trace_end(void);

struct trace_talk;

/* host and address are for the comment that stands first. NULL when smtp is not traced;
 * all functions below then do nothing. */
struct trace_talk *trace_talk_begin(uint32_t connection, const char *host,
                                    const char *address, int64_t now_us);
void trace_talk_heard(struct trace_talk *t, const char *data, size_t n, int64_t now_us);
/* The first n bytes of what the pieces hold. */
void trace_talk_said(struct trace_talk *t, const struct iovec *pieces, size_t n,
                     int64_t now_us);
/* The handshake is done; words: version and cipher. */
void trace_talk_secured(struct trace_talk *t, const char *words, int64_t now_us);
/* how: "close", "reset" or "timeout" (docs/session.md: X), NULL: we closed. Frees t. */
void trace_talk_end(struct trace_talk *t, const char *how, int64_t now_us);

#endif
