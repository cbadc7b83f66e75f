/* The flight file: what each lent row is doing at this very moment, in a small mapped
 * file that is never synced. A store to memory costs nothing and survives the death of
 * this process, so after a kill the next one knows exactly which rows may have been
 * delivered without a result in the log. After a power loss (another boot id) it says
 * nothing, and the leases in the log do.
 *
 * Entries are given out and taken back by the scheduler's thread; the state of an entry
 * is stored by the worker that carries the row. A row's entry is taken back only after
 * the line with its result was written and synced. */
#ifndef QUEUE_FLIGHT_H
#define QUEUE_FLIGHT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"

enum {
    FLIGHT_ENTRIES = 65536,  /* rows lent at once at most */
    FLIGHT_BOOT_ID_MAX = 40, /* of /proc/sys/kernel/random/boot_id */
};

enum flight_state {
    FLIGHT_FREE,
    FLIGHT_LENT,  /* nothing of its dot has left */
    FLIGHT_DOT,   /* the dot may have left, no reply to it was read */
    FLIGHT_TAKEN, /* 250 was read for it */
    FLIGHT_OTHER, /* another answer was read, or it was given back */
};

struct flight;

/* The kernel's name for this run of the machine; "" where there is none. */
void flight_boot_id(char out[FLIGHT_BOOT_ID_MAX]);

/* Make the file of a job, or begin it anew: all entries free. -20 in *f. */
struct flight *flight_create(const char *path, const char *job_id, const char *boot_id,
                             struct fault *f);
void flight_close(struct flight *f); /* NULL is allowed */

/* Take an entry for a row, state LENT. UINT32_MAX: all are in use. */
uint32_t flight_take(struct flight *f, uint32_t row);
void flight_give_back(struct flight *f, uint32_t entry);
uint32_t flight_free_entries(const struct flight *f);
/* Any thread that carries the row. */
void flight_set(struct flight *f, uint32_t entry, enum flight_state state);

/* What a former process left. boot and job must be the same as then, else
 * FLIGHT_STRANGE. */
enum flight_read { FLIGHT_GOOD, FLIGHT_STRANGE, FLIGHT_NONE };
/* Calls each(arg, row, state) for every entry that is not free. */
enum flight_read
flight_read(const char *path, const char *job_id, const char *boot_id,
            void (*each)(void *arg, uint32_t row, enum flight_state state), void *arg);

#endif
