/* Is it our own network? When hosts that could be connected to a while ago cannot any
 * more, at NETWORK_SITES sites at least, and none has answered for `silence_us`,
 * the trouble is ours, and no row should pay for it. So it is when our own machine has
 * no route.
 *
 * Only sites that did connect in this run are witnesses: the tail of every job consists
 * of hosts that never answer, and would look like a network that is down for ever. For
 * the same reason it is believed to be down for `patience_us` at most; then it must
 * have worked again before it can be down again. Pure, time is an argument. */
#ifndef QUEUE_NETWORK_H
#define QUEUE_NETWORK_H

#include "base/map.h"

enum { NETWORK_SITES = 3 };

struct network {
    int64_t silence_us, patience_us;
    int64_t heard_us; /* when a host last said anything */
    int64_t down_us;  /* since when it is down */
    int64_t back_us;  /* when it was heard again, the last time that it was down */
    bool down;
    bool unrouted;     /* it is, because our own routes lead nowhere */
    bool given_up;     /* it was down for too long */
    struct map sites;  /* that connected once; the value is an index of silence */
    uint32_t *silence; /* the spell of silence in which it last failed */
    uint32_t silence_cap;
    uint32_t spell;     /* number of this spell of silence */
    uint32_t witnesses; /* sites that failed in it */
};

void network_init(struct network *n, int64_t silence_us, int64_t patience_us,
                  int64_t now_us);
void network_finish(struct network *n);
/* Other settings; what is known of the network stays. */
void network_set(struct network *n, int64_t silence_us, int64_t patience_us);

/* A host of the site connected. True: the network was down and is up again. */
bool network_connected(struct network *n, struct span site, int64_t now_us);
/* A connection that stands was heard; the same. */
bool network_heard(struct network *n, int64_t now_us);
/* No host of the site could be connected to. True: the network is down from now on. */
bool network_failed(struct network *n, struct span site, int64_t now_us);
/* Our own routes do not lead to any of its hosts, nor to one that was reached before,
 * if there was one: no time and no other site is needed to be sure. The same. */
bool network_unrouted(struct network *n, int64_t now_us);
/* Has a connection that was opened then our network to blame when nothing comes? It is
 * down, or was so meanwhile: then TCP may be longer in coming back than our patience
 * with an answer. */
bool network_excuses(const struct network *n, int64_t opened_us);
/* It was down for too long: count as ever. True once. */
bool network_give_up(struct network *n, int64_t now_us);

#endif
