/* From what a user calls a job to its directory. */
#ifndef CLI_FIND_H
#define CLI_FIND_H

#include "base/buf.h"

/* Append the absolute path of JOB, a name under the spool or a path. config: --config,
 * or NULL; only a name needs settings. Returns -1, or the exit status after one line on
 * standard error. */
int find_job(const char *config, const char *job, struct buf *path);

#endif
