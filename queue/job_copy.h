/* Bytes from one descriptor to a file, by the quickest way the file systems offer. */
#ifndef QUEUE_JOB_COPY_H
#define QUEUE_JOB_COPY_H

#include <stdbool.h>

#include "queue/job.h"

/* Copy what is left in `from` (a pipe, a file) to the empty file `to`. false: errno;
 * *reading_out says which side failed. */
bool job_copy(int to, int from, bool *reading_out);

/* Size and checksum of a whole file. false: errno. */
bool job_measure(int fd, struct job_file *out);

#endif
