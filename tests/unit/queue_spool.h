/* A spool that vanishes with the test, and the open folder of a job in it, for the
 * tests of what jobs share. */
#ifndef TESTS_QUEUE_SPOOL_H
#define TESTS_QUEUE_SPOOL_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char spool[64];
static int job; /* its folder is open; the jobs of one spool may all be this one */

static inline int make_spool(void **state)
{
    char path[80];
    (void)state;
    snprintf(spool, sizeof spool, "/tmp/hikyaku-spool-XXXXXX");
    if (!mkdtemp(spool))
        return -1;
    snprintf(path, sizeof path, "%s/job", spool);
    if (mkdir(path, 0700) != 0)
        return -1;
    job = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return job < 0 ? -1 : 0;
}

static inline int remove_spool(void **state)
{
    char command[80];
    (void)state;
    close(job);
    snprintf(command, sizeof command, "rm -rf '%s'", spool);
    return system(command); /* NOLINT(bugprone-command-processor,cert-env33-c) */
}

#endif
