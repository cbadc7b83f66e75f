/* A job as it lies on disk, running or not, opened to be read: nothing is locked and
 * nothing is changed. */
#ifndef CLI_PAST_H
#define CLI_PAST_H

#include "conf/conf.h"
#include "queue/recipients.h"
#include "report/results.h"

struct past {
    struct conf *conf;       /* job.conf */
    struct recipients *list; /* duplicates are not looked for: they have their lines */
    struct results *results;
};

/* All that can go wrong here means: no such job. Returns -1, or the exit status after
 * one line on standard error; past_close in any case. */
int past_open(struct past *past, const char *dir);
void past_close(struct past *past);

#endif
