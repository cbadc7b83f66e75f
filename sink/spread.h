/* Which mood a domain gets in a rehearsal: docs/rehearsal.md. Pure. */
#ifndef SINK_SPREAD_H
#define SINK_SPREAD_H

#include "base/fault.h"
#include "sink/mood.h"

enum { SPREAD_MOODS_MAX = 32 };

struct spread {
    int moods[SPREAD_MOODS_MAX]; /* where domains fall that name none */
    int n;
};

/* names: the moods over which domains are spread; none: those marked so in the table.
 * False and *f (-7): there is no such mood. */
bool spread_init(struct spread *s, const char *const *names, int names_n,
                 struct fault *f);

/* The index in sink_moods of the domain's mood, or one of ANSWER_… (sink/answers.h).
 * arg is a struct spread. Domain in lower case. */
int spread_group_of(void *arg, struct span domain);

#endif
