/* How the built-in receiver behaves: one line a mood. A mood is what a site is like: it
 * accepts, it is far away, it refuses some recipients, greylists, closes after n
 * messages, limits connections. A zeroed struct with a name accepts everything in
 * lock-step; every field that is 0 or NULL is a trouble that does not happen.
 * Immutable; any thread. */
#ifndef SINK_MOOD_H
#define SINK_MOOD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* What becomes of STARTTLS (RFC 3207). */
enum mood_starttls {
    STARTTLS_NONE,    /* it is not offered */
    STARTTLS_WORKS,   /* and the EHLO list behind it is another one */
    STARTTLS_REFUSED, /* offered, and then 454 */
    STARTTLS_SILENT,  /* 220, and never a word again */
    STARTTLS_CLEAR,   /* 220, and then the server goes on in clear */
    STARTTLS_INJECTS, /* a 250 behind the 220 in the same segment, then TLS */
};

/* What becomes of BDAT (RFC 3030). */
enum mood_chunking {
    CHUNKING_NONE,    /* it is not offered, and unknown */
    CHUNKING_WORKS,   /* a transaction ends with its last chunk, taken or refused */
    CHUNKING_STRICT,  /* where that was refused it ends with RSET */
    CHUNKING_UNKNOWN, /* offered, and then 502; its octets are read as commands */
};

struct mood {
    const char *name;    /* "accept", "distant", "picky" … */
    const char *meaning; /* for --help */
    int delay_ms;        /* every reply comes this much after what it answers, like a
                            distant host; the delays of pipelined replies overlap */
    int refuse_percent; /* of RCPT, decided by a hash of the address: always the same */
    const char *refuse_reply; /* "550 5.1.1 no such user" */
    int greylist_s;    /* RCPT of an address gets 450 until this many seconds passed
                          since its first one; 0: no */
    int defer_percent; /* of addresses, by hash: the first RCPT of such an address … */
    const char *defer_reply; /* … gets this ("451 …"), the next one passes */
    int connections;         /* more at once get 421; 0: no limit */
    int recipients;          /* of a message: more get 452; 0: SINK_RECIPIENTS_MAX */
    int filter_percent; /* of messages, by hash of the first recipient: refused … */
    const char *filter_reply; /* … with this in reply to the dot */
    const char *greeting;     /* NULL: 220; else sent instead, and closed ("554 …") */
    const char *close_reply; /* NULL: closes silently behind the last 250; else the next
                                MAIL gets this ("421 …") first */
    int close_after; /* messages on one connection, then it closes; 0: no limit */
    bool pipelining; /* offered in EHLO; where STARTTLS works this is so behind it, and
                        the other way round before it */
    enum mood_chunking chunking;
    enum mood_starttls starttls;
    bool tls_at_once; /* TLS from the first byte (RFC 8314), no STARTTLS */
    bool tls_needed;  /* MAIL in clear gets 530 */
    bool auth;        /* MAIL without AUTH gets 530; offered in clear only when there is
                         no STARTTLS */
    bool helo_only;   /* an old host: EHLO gets 502 */
    bool spread;      /* in a rehearsal, domains that name no mood may fall here:
                         only moods in which every row ends without waiting long */
};

extern const struct mood sink_moods[];
extern const int sink_moods_n;
const struct mood *sink_mood_find(struct span name); /* NULL: none of that name */

#endif
