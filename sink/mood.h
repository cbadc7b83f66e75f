/* How the built-in receiver behaves: one line a mood. A mood is what a site is like: it
 * accepts, it is far away, it refuses some recipients, greylists, closes after n messages,
 * limits connections. Immutable; any thread. */
#ifndef SINK_MOOD_H
#define SINK_MOOD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct mood {
    const char *name;            /* "accept", "distant", "picky" … */
    const char *meaning;         /* for --help */
    int delay_ms;                /* every reply comes this much after what it answers, like a distant host */
    int refuse_percent;          /* of RCPT, decided by a hash of the address: the same every time */
    const char *refuse_reply;    /* "550 5.1.1 no such user" */
    int greylist_s;              /* first RCPT of an address gets 450 until this many seconds passed; 0: no */
    int close_after;             /* messages on one connection, then it closes silently; 0: no limit */
    int connections;             /* more at once get 421; 0: no limit */
    const char *greeting;        /* NULL: 220; else sent instead, and closed ("554 …", "421 …") */
    bool pipelining;             /* offered in EHLO */
};

extern const struct mood sink_moods[];
extern const int sink_moods_n;
const struct mood *sink_mood_find(struct span name); /* NULL: none of that name */

#endif
