/* The replies that made rows wait and that no rule of the user's, or of their own
 * receiver, matched: what a new rule could be about. Alike are those whose words differ
 * only in numbers, addresses and the like. One thread. */
#ifndef REPORT_UNMATCHED_H
#define REPORT_UNMATCHED_H

#include <stdint.h>

#include "base/buf.h"

enum { UNMATCHED_KINDS_MAX = 200 }; /* further kinds are not kept */

struct unmatched;

struct unmatched *unmatched_create(void);
void unmatched_destroy(struct unmatched *u); /* NULL is allowed */

/* words: cleaned, with their enhanced code. */
void unmatched_note(struct unmatched *u, int code, struct span words);

struct unmatched_kind {
    uint64_t count;
    const char *words; /* code and words of the first one; live until destroy */
};
/* The most frequent ones, most first; returns how many (at most max). */
int unmatched_top(const struct unmatched *u, struct unmatched_kind *out, int max);

#endif
