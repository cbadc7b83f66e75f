/* The story of single rows: their lines of the attempts log in plain English sentences,
 * with what else in it concerns them: leases, and events of the whole job that met them
 * pending. One thread. What a row's result is says report/results.h, never this. */
#ifndef REPORT_STORY_H
#define REPORT_STORY_H

#include <stddef.h>

#include "base/buf.h"
#include "base/fault.h"
#include "report/attempts.h"

struct story {
    uint32_t row;    /* whose; the rest is empty before, and filled by stories_read */
    struct buf text; /* what happened, oldest first: lines that end in \n */
    struct buf site; /* the site that was named last, "" for none */
    int64_t lent_ms; /* lent to a connection of that site, and no line since; 0: not */

    bool final, cancelled, doubted, damaged; /* so far; private */
};

/* Read the log's first `size` bytes (results_size: so both tell of the same moment,
 * even of a running job). stories are in order of their rows, each row once. Meanings
 * of codes are in Japanese or English. False: -20. Finish them in any case. */
bool stories_read(const char *attempts_path, uint64_t size, struct story *stories,
                  size_t n, bool japanese, struct fault *f);
void story_finish(struct story *story);

#endif
