/* What an earlier run left, made ready to go on with: the log read back, and a line for
 * every row that the run's end left in doubt. */
#ifndef CLI_REPLAY_H
#define CLI_REPLAY_H

#include "cli/blast.h"

struct replay {
    struct results *results;
    uint64_t in_doubt; /* rows that were found in doubt now */
};

/* The job is locked, its list is open in b. Returns -1, or the exit status after one
 * line on standard error. */
int replay_job(struct replay *r, const struct job *job, const struct blast *b);
/* What was cancelled is pending again, in the log and in r. The same return. */
int replay_take_up(struct replay *r, const struct job *job);
void replay_finish(struct replay *r);

#endif
