/* What all connections of one receiver share: counts, the record, kept messages, and
 * which addresses were seen before. For server.c only; the public part is in server.h.
 */
#ifndef SINK_WORLD_H
#define SINK_WORLD_H

#include "base/map.h"
#include "sink/server.h"

struct sink_world {
    struct sink_counts counts;
    int record_fd;
    int64_t wall_us;       /* of now_us 0 */
    struct buf record;     /* lines not yet written */
    uint64_t record_added; /* bytes of lines ever made, and ever written */
    uint64_t record_written;
    char *keep_dir;
    struct map seen; /* address → milliseconds since the world's first such address */
    int64_t seen_from_us;
};

struct world_message {
    struct span sender;
    struct span recipients; /* each ended by a NUL */
    struct span message_id;
    uint64_t bytes;
    struct span peer, helo;
    int64_t now_us;
};

/* Milliseconds since the address was first asked about here; -1: this is the first
 * time. */
int64_t world_seen_ms(struct sink_world *w, struct span address, int64_t now_us);

/* Gather a record line for each recipient. */
void world_record(struct sink_world *w, const struct world_message *m);

/* Store one message, not stuffed any more; false: it could not be stored. */
bool world_keep(struct sink_world *w, struct span message);

#endif
