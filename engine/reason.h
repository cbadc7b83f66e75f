/* Why a site is left alone, on one line: "rule 4.7.28 FILE:LINE after 421 4.7.28
 * unusual rate" or, when no connection could be made, "after 601 connection refused".
 * The scheduler and the other jobs of the spool keep it as it is; here it is made, and
 * taken apart again for programs. Pure. */
#ifndef ENGINE_REASON_H
#define ENGINE_REASON_H

#include "base/buf.h"

enum {
    REASON_WORDS_MAX = 512,
    REASON_FAILURE_MAX = 120, /* as long as there are sites that do not answer */
};

/* rule: its name; NULL: none decided it. words: behind the code, at most words_max
 * bytes of them. */
void reason_add(struct buf *out, const char *rule, int code, struct span words,
                size_t words_max);

/* Of such a line the rule, and the reply with its code; both point into it, and are
 * empty where it has none. */
struct reason {
    struct span rule, reply;
};
struct reason reason_split(const char *why);

#endif
