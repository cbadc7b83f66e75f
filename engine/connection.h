/* One connection of a worker: it tries its targets one after another within one attempt
 * (RFC 5321 5.1), then carries a session and the rows lent to it. Owned by its worker;
 * worker's thread only. It frees itself when it is over, after EVENT_CLOSED was
 * reported. */
#ifndef ENGINE_CONNECTION_H
#define ENGINE_CONNECTION_H

#include "engine/worker.h"

struct connection;

/* Takes the task (TASK_OPEN). */
void connection_open(struct worker *w, struct task *task);
/* More rows (TASK_MORE); the task stays the caller's. */
void connection_lend(struct connection *c, const struct task *task);
void connection_recall(struct connection *c); /* give back what is not begun */
void connection_finish(struct connection *c); /* recall, end what is begun, QUIT */
void connection_abort(struct connection *c);  /* close now */

#endif
