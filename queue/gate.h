/* A limit of so many a time: messages to a provider, or connections. GCRA (ITU-T I.371)
 * with a burst of half a second's worth, so that what is half a second late on its way
 * is still within rate × (T + 1 s) for any stretch of T at the receiver, or, for rates
 * of one a second and below, rate × T + 1.
 *
 * The scheduler makes gates and paces its leases by them; workers pass them when the
 * command is about to leave, so that the receiver sees the limit held whatever happened
 * in between. Any thread, lock-free; time is an argument, one clock for all. */
#ifndef QUEUE_GATE_H
#define QUEUE_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { GATE_LOOSE_US = 2 * 1000 * 1000 }; /* gate_limit_loosely */

struct gate_clock {
    _Atomic int64_t full_ns;     /* when all that has passed is worked off */
    _Atomic int64_t interval_ns; /* that the last one has behind it */
};

struct gate {                  /* all zero: no limit */
    struct gate_clock *shared; /* who passes it shares this clock; NULL: its own */
    struct gate_clock own;
    _Atomic int64_t interval_ns; /* from one to the next; 0: no limit */
    _Atomic int64_t ahead_ns;    /* of its time one may pass, after a rest */
};

/* From now on; per_hour 0: no limit. */
void gate_limit(struct gate *g, int64_t per_hour);
/* The same for who only prepares what then passes a gate: two seconds' worth may be on
 * its way there. */
void gate_limit_loosely(struct gate *g, int64_t per_hour);
/* From now on it has the clock of others, or its own again (NULL), which goes on from
 * there. Only while nobody else may pass. */
void gate_share(struct gate *g, struct gate_clock *shared);
/* Is there a limit? */
bool gate_limits(const struct gate *g);
/* May one pass now? Then it has. False: *again_us is when to ask again. */
bool gate_pass(struct gate *g, int64_t now_us, int64_t *again_us);
/* The same of several, in whatever order: one passes all of them at once or none. Is
 * there a limit among them? */
bool gates_pass(struct gate *const *gates, int n, int64_t now_us, int64_t *again_us);
bool gates_limit(struct gate *const *gates, int n);
/* Is all worked off that has passed? */
bool gate_is_rested(const struct gate *g, int64_t now_us);
/* When the next one may pass, if nobody passes before; in the past: now. */
int64_t gate_opens_us(const struct gate *g);

#endif
