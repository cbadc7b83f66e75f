/* Inside the board: the mapped file, and the lock that allows to change who has which
 * slot. board.c has places and the file, board_slots.c what stands in the slots. Nobody
 * outside those two includes this. */
#ifndef QUEUE_BOARD_INSIDE_H
#define QUEUE_BOARD_INSIDE_H

#include "queue/board.h"
#include "queue/flight.h"

/* The file. */
struct sheet {
    char magic[8];
    char boot_id[FLIGHT_BOOT_ID_MAX];
    int64_t apart_us;              /* wall clock minus the monotonic one */
    _Atomic int64_t seen_us;       /* when somebody last looked up a slot */
    _Atomic uint64_t joined;       /* by place; the dead too, until somebody notices */
    _Atomic uint32_t told;         /* board_told */
    _Atomic int64_t wide_until_us; /* no word of board_tell_wide is for longer */
    struct board_slot slots[BOARD_SLOTS];
};

struct board {
    int fd, place;
    bool pen_stuck; /* somebody has it who was stopped, as it seems */
    struct sheet *sheet;
};

/* False: it cannot be had, for somebody is stopped who has it. */
bool pen_take(struct board *b);
void pen_give(struct board *b);

/* ---- with the pen ---- */

/* Nobody needs it, and nothing in it is still to come. */
bool slot_is_over(const struct sheet *sheet, const struct board_slot *slot,
                  int64_t now_us);
/* The key's slot; else, with `fresh`, the first that can become it. NULL: none. */
struct board_slot *slot_find(struct sheet *sheet, uint64_t key, bool fresh,
                             int64_t now_us);

#endif
