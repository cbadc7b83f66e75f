/* check --explain: how a destination is treated, and by which line of the settings. */
#ifndef CLI_EXPLAIN_H
#define CLI_EXPLAIN_H

#include "cli/options.h"

/* The exit status. */
int explain(const struct blast_options *options, const char *command);

#endif
