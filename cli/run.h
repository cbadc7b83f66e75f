/* A job that is ours, run to its end: what send, rehearse and resume have in common
 * once the job directory stands. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "cli/blast.h"

struct run {
    struct blast *blast;
    struct job *job;      /* locked */
    struct totals totals; /* of the rows as they stand; pending are the others */
    bool rehearsing;
    const char *record; /* rehearsing: the receiver's record, a file name in the job */
    /* Of earlier runs; NULL: the job is new. Freed, and set to NULL, once it was read.
     */
    struct results **past;
};

/* Run the engine with the face that the options ask for; print the sum. The exit
 * status. */
int run_job(const struct run *run);

/* From here to the engine's own handlers signals wait: a job that stands
 * must not die without a word. run_job does it too. */
void run_hold_signals(void);

/* "JOBDIR/file", to be freed. */
char *run_path(const struct job *job, const char *file);

/* Print the fault, and give the exit status that belongs to a job_ function's result.
 */
int job_fault(const struct fault *f, enum job_result result);

#endif
