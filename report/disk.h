/* Reading and writing whole pieces of files, and syncing a name. Only for report/. */
#ifndef REPORT_DISK_H
#define REPORT_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"

/* Fill p with n bytes of the file at offset; false and errno if it has not that many.
 */
bool disk_read_at(int fd, char *p, size_t n, uint64_t offset);
/* False and errno if not all was written. */
bool disk_write(int fd, const char *p, size_t n);
/* Sync the directory in which path stands. False: -20. */
bool disk_sync_folder(const char *path, struct fault *f);

#endif
