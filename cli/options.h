/* The options that send, check and rehearse share: one table makes parser and --help.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum blast_command { BLAST_SEND = 1, BLAST_CHECK = 2, BLAST_REHEARSE = 4 };

struct blast_options {
    const char *config; /* or HIKYAKU_CONFIG; NULL: defaults */
    const char *list;   /* "-": standard input */
    const char *message;
    const char *job; /* NULL: a name is made */
    const char *from;
    const char *address_column;
    const char *exclude;
    const char *to;
    const char *start, *until; /* times (base/when.h) */
    const char *explain;       /* check: this address or domain alone, without a list */
    uint32_t first_row, last_row; /* 0, 0: all */
    bool allow_duplicates;
    bool rehearsal; /* nothing leaves the machine */
    bool quiet, json;
    unsigned traces; /* enum trace */
};

/* Returns -1 when the options are good, else the exit status (0 after --help). */
int options_parse(enum blast_command command, int argc, char **argv,
                  struct blast_options *out);

#endif
