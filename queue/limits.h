/* What a path may have at most, by settings. Pure; any thread. */
#ifndef QUEUE_LIMITS_H
#define QUEUE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

struct limits {
    uint32_t connections;
    int64_t message_rate, connection_rate; /* per hour; 0: none */
};

static inline void limits_init(struct limits *limits) /* there are none */
{
    *limits = (struct limits){.connections = UINT32_MAX};
}

static inline int64_t limits_slower(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* And these: the least of both. */
static inline void limits_join(struct limits *limits, const struct limits *other)
{
    if (other->connections < limits->connections)
        limits->connections = other->connections;
    limits->message_rate = limits_slower(limits->message_rate, other->message_rate);
    limits->connection_rate =
        limits_slower(limits->connection_rate, other->connection_rate);
}

static inline bool limits_equal(const struct limits *a, const struct limits *b)
{
    return a->connections == b->connections && a->message_rate == b->message_rate &&
           a->connection_rate == b->connection_rate;
}

#endif
