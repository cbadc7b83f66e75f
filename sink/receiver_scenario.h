/* The fault server's libuv shell: plays scenarios (sink/scenario.h), each at an address
 * of its own, until SIGINT or SIGTERM. Blocks; takes those two signals for as long. */
#ifndef SINK_RECEIVER_SCENARIO_H
#define SINK_RECEIVER_SCENARIO_H

#include <stdint.h>

#include "base/fault.h"
#include "sink/scenario.h"

struct scenario_params {
    const char *const *files;
    int files_n;
    const char
        *address; /* IPv4; of the first scenario, each next one the next address */
    int port;
    enum scenario_cut cut;
    bool secure; /* put STARTTLS before them: scenario_read */
    /* Called for each once all listen, and for each complaint as it comes. */
    void (*on_listening)(void *arg, const char *name, const char *address, int port);
    void (*on_complaint)(void *arg, const char *words);
    void *arg;
};

struct scenario_counts {
    uint64_t connections;
    uint64_t complaints;
};

/* False and *f: -7 a file cannot be read, 609 an address cannot be listened at. */
bool scenario_serve(const struct scenario_params *p, struct scenario_counts *counts_out,
                    struct fault *f);

#endif
