/* A row on its way over a connection: its fields, its rendered message, and the
 * transaction that lends both to a session. Worker's thread only. */
#ifndef ENGINE_SLOT_H
#define ENGINE_SLOT_H

#include "engine/worker.h"

struct slot {
    struct lent lent; /* row 0: free */
    bool marked;      /* flight knows that its dot may have left */
    struct smtp_transaction transaction;
    struct smtp_recipient recipient;
    struct recipient fields;
    struct rendering rendering;
};

/* Read and render the row into a free slot. False: it cannot be sent; *code_out (-20,
 * -21 the list cannot be read, 800 the row cannot be rendered) and *words_out say why,
 * and the slot stays free. */
bool slot_prepare(struct slot *slot, const struct worker_params *params,
                  struct lent lent, int *code_out, struct fault *words_out);
void slot_finish(struct slot *slot); /* frees what it holds */

#endif
