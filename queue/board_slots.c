#include "queue/board_inside.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "base/text.h"

enum {
    PROBES_MAX = 128,    /* slots that are looked at for a key */
    LIMITS_S = 600,      /* so long the limits of a job hold for others: one may wait
                            for its rate without a connection */
    WANTED_S = 3,        /* a job that wants a connection says so twice a second */
    STOPPED_S = 30 * 60, /* board_open */
    LATE_S = 60 * 60,
    TURN_US = 30 * 1000 * 1000, /* one job's turn, where there are too few for all */
    GRACE_US = 1000 * 1000, /* so long a slot is whose it was given to, until used */
};
static const int64_t ways_back_us = INT64_C(3600) * 1000 * 1000;

/* ---- slots; with the pen ---- */

static bool has_come(int64_t us, int64_t now_us)
{
    return us <= now_us;
}

static uint32_t connections(const struct sheet *sheet, const struct board_slot *slot)
{
    uint64_t joined = atomic_load(&sheet->joined);
    uint32_t n = 0;
    for (; joined; joined &= joined - 1)
        n += atomic_load(&slot->open[__builtin_ctzll(joined)]);
    return n;
}

bool slot_is_over(const struct sheet *sheet, const struct board_slot *slot,
                  int64_t now_us)
{
    return has_come(atomic_load(&slot->connects.full_ns) / 1000, now_us) &&
           has_come(atomic_load(&slot->mails.full_ns) / 1000, now_us) &&
           has_come(atomic_load(&slot->closed_until_us), now_us) &&
           has_come(atomic_load(&slot->slow_until_us), now_us) &&
           has_come(atomic_load(&slot->kept_until_us), now_us) &&
           connections(sheet, slot) == 0;
}

struct board_slot *slot_find(struct sheet *sheet, uint64_t key, bool fresh,
                             int64_t now_us)
{
    struct board_slot *room = NULL;
    assert(key);
    for (uint64_t i = 0; i < PROBES_MAX; i++) {
        struct board_slot *slot = &sheet->slots[(key + i) % BOARD_SLOTS];
        uint64_t has = atomic_load(&slot->key);
        if (has == key)
            return slot;
        if (!room && (has == 0 || (fresh && slot_is_over(sheet, slot, now_us))))
            room = slot;
        if (has == 0)
            break;
    }
    if (!room || !fresh)
        return NULL;
    /* The key last: who is killed in between has emptied a slot that was over. */
    const struct board_slot fresh_slot = {.allowed = UINT32_MAX};
    const size_t rest = offsetof(struct board_slot, connects);
    memcpy((char *)room + rest, (const char *)&fresh_slot + rest,
           sizeof fresh_slot - rest);
    atomic_store(&room->key, key);
    return room;
}

/* ---- paths ---- */

struct board_slot *board_take(struct board *b, uint64_t key, int64_t now_us)
{
    if (!pen_take(b))
        return NULL;
    struct board_slot *slot = slot_find(b->sheet, key, true, now_us);
    if (slot && slot->kept_until_us < now_us + GRACE_US)
        atomic_store(&slot->kept_until_us, now_us + GRACE_US);
    atomic_store(&b->sheet->seen_us, now_us);
    pen_give(b);
    return slot;
}

/* Seconds since this job last said that it wants connections, modulo 18 hours. The last
 * one of these is none: our own time may be a little older than what it said. */
static int silent_s(const struct board_slot *slot, int place, int64_t now_us)
{
    uint16_t s = (uint16_t)(now_us / 1000000 - atomic_load(&slot->wanted[place]));
    return s > UINT16_MAX - LATE_S ? 0 : s;
}

static void say_limits(struct board_limits *said, const struct limits *limits)
{
    atomic_store(&said->connections, limits->connections);
    atomic_store(&said->message_rate, (uint32_t)limits->message_rate);
    atomic_store(&said->connection_rate, (uint32_t)limits->connection_rate);
}

static struct limits limits_said(const struct board_limits *said)
{
    return (struct limits){atomic_load(&said->connections),
                           atomic_load(&said->message_rate),
                           atomic_load(&said->connection_rate)};
}

struct sharing board_share(struct board *b, struct board_slot *slot,
                           struct limits *limits, int64_t now_us)
{
    struct sharing share = {.jobs = 1, .turn = (uint32_t)(now_us / TURN_US)};
    uint64_t others = atomic_load(&b->sheet->joined) & ~(UINT64_C(1) << b->place);
    say_limits(&slot->limits[b->place], limits);
    atomic_store(&slot->wanted[b->place], (uint16_t)(now_us / 1000000));
    atomic_store(&b->sheet->seen_us, now_us);
    for (; others; others &= others - 1) {
        int place = __builtin_ctzll(others);
        int silent =
            atomic_load(&slot->open[place]) ? 0 : silent_s(slot, place, now_us);
        struct limits said = limits_said(&slot->limits[place]);
        if (silent <= LIMITS_S && said.connections > 0) /* else it never said any */
            limits_join(limits, &said);
        if (silent > WANTED_S)
            continue;
        share.jobs++;
        share.before += place < b->place;
    }
    return share;
}

bool board_open(struct board *b, struct board_slot *slot, uint32_t most, int64_t now_us)
{
    /* First ours, then the sum: of two at once one at least sees the other. */
    atomic_fetch_add(&slot->open[b->place], 1);
    uint32_t n = connections(b->sheet, slot);
    for (int place = 0; n > most && place < BOARD_JOBS_MAX; place++)
        if (place != b->place && silent_s(slot, place, now_us) > STOPPED_S)
            n -= atomic_load(&slot->open[place]);
    if (n <= most)
        return true;
    board_close(b, slot);
    return false;
}

void board_close(struct board *b, struct board_slot *slot)
{
    atomic_fetch_sub(&slot->open[b->place], 1);
}

uint32_t board_connections(const struct board *b, const struct board_slot *slot)
{
    return connections(b->sheet, slot);
}

/* ---- words ---- */

static void set_why(struct board_slot *slot, const char *why)
{
    utf8_copy(slot->why, sizeof slot->why, why);
}

void board_tell(struct board *b, struct board_slot *slot, const struct board_word *word,
                int64_t now_us)
{
    if (!pen_take(b))
        return;
    int64_t until_us = word->closed_until_us > now_us ? word->closed_until_us : now_us;
    bool weaker = slot->closed_until_us > until_us; /* than what another job was told */
    if (!weaker) {
        atomic_store(&slot->closed_until_us, word->closed_until_us);
        atomic_store(&slot->allowed, word->allowed);
        atomic_store(&slot->kept_until_us,
                     until_us +
                         (word->allowed == UINT32_MAX ? GRACE_US : ways_back_us));
        set_why(slot, word->why);
    }
    bool was_slow = slot->slow_until_us > now_us;
    if (word->slow_until_us > now_us && (!was_slow || word->slow >= slot->slow)) {
        atomic_store(&slot->slow, word->slow);
        atomic_store(&slot->slow_until_us, word->slow_until_us);
    }
    pen_give(b);
    atomic_fetch_add(&b->sheet->told, 1);
}

bool board_widen(struct board *b, struct board_slot *slot, uint32_t was,
                 uint32_t allowed, int64_t now_us)
{
    if (!has_come(atomic_load(&slot->closed_until_us), now_us) ||
        !atomic_compare_exchange_strong(&slot->allowed, &was, allowed))
        return false;
    atomic_store(&slot->kept_until_us, now_us + ways_back_us);
    atomic_fetch_add(&b->sheet->told, 1);
    return true;
}

void board_hear(struct board *b, const struct board_slot *slot, struct board_word *out)
{
    bool pen = pen_take(b);
    *out = (struct board_word){.closed_until_us = atomic_load(&slot->closed_until_us),
                               .allowed = atomic_load(&slot->allowed),
                               .slow = atomic_load(&slot->slow),
                               .slow_until_us = atomic_load(&slot->slow_until_us)};
    if (pen) {
        memcpy(out->why, slot->why, sizeof out->why);
        pen_give(b);
    }
}

void board_tell_wide(struct board *b, uint64_t key, int64_t closed_until_us,
                     const char *why, int64_t now_us)
{
    if (!pen_take(b))
        return;
    struct board_slot *slot = slot_find(b->sheet, key, true, now_us);
    if (slot && closed_until_us > slot->closed_until_us) {
        atomic_store(&slot->closed_until_us, closed_until_us);
        set_why(slot, why);
        if (closed_until_us > b->sheet->wide_until_us)
            atomic_store(&b->sheet->wide_until_us, closed_until_us);
    }
    pen_give(b);
    atomic_fetch_add(&b->sheet->told, 1);
}

bool board_hear_wide(struct board *b, uint64_t key, int64_t now_us,
                     struct board_word *out)
{
    if (has_come(atomic_load(&b->sheet->wide_until_us), now_us) || !pen_take(b))
        return false;
    const struct board_slot *slot = slot_find(b->sheet, key, false, now_us);
    bool closed = slot && slot->closed_until_us > now_us;
    *out = (struct board_word){.closed_until_us = closed ? slot->closed_until_us : 0,
                               .allowed = UINT32_MAX};
    if (closed)
        memcpy(out->why, slot->why, sizeof out->why);
    pen_give(b);
    return closed;
}

uint32_t board_told(const struct board *b)
{
    return atomic_load(&b->sheet->told);
}
