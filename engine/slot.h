/* Rows on their way over a connection as one message: their fields, the rendered
 * message, and the transaction that lends both to a session. Mostly that is one row;
 * several where a policy allows more recipients for a message that is the same for all.
 * Worker's thread only. */
#ifndef ENGINE_SLOT_H
#define ENGINE_SLOT_H

#include "engine/worker.h"

struct slot_row {
    struct lent lent;
    struct recipient fields;
};

struct slot {
    int rows_n;  /* 0: free */
    bool marked; /* flight knows that its dot may have left */
    bool told;   /* an event has said that the message was begun */
    struct smtp_transaction transaction;
    struct slot_row *rows; /* of the transaction's recipients */
    struct smtp_recipient *recipients;
    int rows_cap;
    struct rendering rendering;
};

/* Read the row and render its message into a free slot; rows_max: how many may join it;
 * dotted: it is dot-stuffed, as the session wants it.
 * False: it cannot be sent; *code_out (-20, -21 the list cannot be read, 800 the row
 * cannot be rendered) and *words_out say why, and the slot stays free. */
bool slot_prepare(struct slot *slot, const struct worker_params *params,
                  struct lent lent, int rows_max, bool dotted, int *code_out,
                  struct fault *words_out);
/* The row shares the message, if it is of the same domain and there is room. False: it
 * goes by itself. */
bool slot_join(struct slot *slot, const struct worker_params *params, struct lent lent);
void slot_finish(struct slot *slot); /* frees what it holds */

#endif
