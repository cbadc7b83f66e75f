/* A job on disk: the directory SPOOL/NAME with job.conf, list.tsv, message.eml,
 * attempts.tsv and lock (mode 0700, files 0600). It is created complete or not at all:
 * built aside as SPOOL/.new-NAME-xxxx, every file and the directory synced, then
 * renamed, then the spool synced. Whoever holds the lock owns the job; a job is locked
 * from before it has its name, so that nobody can come between. The lock is the
 * kernel's (flock): it ends with its holder, however that dies, and no file has to be
 * removed.
 *
 * The way of a new job:   job_begin, job_put_* …, job_commit, … job_unlock
 *            or, if something fails before the commit:   job_abandon
 * The way of an old one:  job_find, job_lock, … job_unlock
 *
 * A struct job belongs to one thread. No clock is read here. */
#ifndef QUEUE_JOB_H
#define QUEUE_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"

enum { JOB_NAME_MAX = 64 };

/* Why not. The fault has code -20 in each case; exit statuses are for cli/ to give, as
 * the remarks say. */
enum job_result {
    JOB_DONE,
    JOB_BAD_NAME,      /* not a name for a job: 64 */
    JOB_CANNOT_OPEN,   /* there is no such job, or it may not be opened: 66 */
    JOB_CANNOT_CREATE, /* the spool or the directory cannot be made: 73 */
    JOB_NAME_TAKEN,    /* 73 */
    JOB_IO,            /* reading, writing or syncing failed: 74 */
    JOB_BUSY,          /* another process holds it: 75 */
};

/* A job that we hold. A zeroed struct is none. */
struct job {
    char *path; /* of the directory as it is now: aside, after the commit SPOOL/NAME */
    char name[JOB_NAME_MAX + 1];
    char *spool;    /* NULL for a job that was not begun here */
    int spool_made; /* components of its path that did not exist before */
    int dir;        /* both open while the job is held */
    int lock;
    bool aside; /* between begin and commit */
};

/* A file that was put into the job. */
struct job_file {
    uint64_t size;
    uint32_t crc32c;
};

/* May this be the name of a job? Letters, digits, ".", "_" and "-", the first neither
 * "." nor
 * "-", at most JOB_NAME_MAX bytes. */
bool job_name_valid(struct span name);

/* Make the spool if need be (0700, with its parents), sweep away what dead processes
 * left aside in it, make a directory aside and lock it. name NULL: YYYYMMDD-HHMMSS-xxxx
 * of wall_ms in UTC, as all times in logs are. A name that is taken already is said
 * here, so that nothing is copied in vain; job_commit is the judge. */
enum job_result job_begin(struct job *job, const char *spool, const char *name,
                          int64_t wall_ms, struct fault *f);

/* Copy all of fd from where it stands, a pipe or a file, into a new file of the job: by
 * reflink or copy_file_range if the file systems can, else by reading and writing.
 * `from` is its name for faults. out is measured on the copy. fd stays open. JOB_IO if
 * not. */
enum job_result job_put_copy(struct job *job, const char *file, int fd,
                             const char *from, struct job_file *out, struct fault *f);
/* Put text into a new file of the job. out may be NULL. */
enum job_result job_put_text(struct job *job, const char *file, struct span text,
                             struct job_file *out, struct fault *f);

/* Sync every file in the directory, then the directory; give it its name; sync the
 * spool. The lock is kept. On failure the job is still aside: abandon it. */
enum job_result job_commit(struct job *job, struct fault *f);

/* Remove what is aside with all its files, and let go. After the commit, or for a job
 * that was never begun: only job_unlock. */
void job_abandon(struct job *job);

/* The directory of JOB: a name under spool, or, with a slash in it, a path. Appends an
 * absolute path to *path_out. */
enum job_result job_find(const char *spool, const char *name_or_path,
                         struct buf *path_out, struct fault *f);

/* The name of the job that was made last (whose list.tsv is the youngest, for it never
 * changes). JOB_CANNOT_OPEN if there is none. */
enum job_result job_newest(const char *spool, struct buf *name_out, struct fault *f);

/* Take an existing job. JOB_BUSY: another process (its number is in the words) holds
 * it. */
enum job_result job_lock(struct job *job, const char *path, struct fault *f);
/* Does a process hold the job now? It is not disturbed; but who wants to take the job
 * in this very moment may find it busy. */
bool job_held(const char *path);
/* Let go. A zeroed job is allowed. */
void job_unlock(struct job *job);

#endif
