/* The pieces that the receiver reads off a command's line: RFC 5321 4.1.2. Pure. Each
 * takes what it read from the front of s. */
#ifndef SINK_COMMAND_H
#define SINK_COMMAND_H

#include "base/buf.h"

bool command_word(struct span *s, struct span word); /* in any case of letters */
void command_spaces(struct span *s);

/* <…>, with quoted strings; what stands between the brackets comes out, printable
 * ASCII. */
bool command_path(struct span *s, struct span *path_out);

/* Is it local@domain? More is not asked: the receiver does not judge names. */
bool command_address_good(struct span address);

/* The parameters behind MAIL's path: NULL when all are good, else the reply. */
const char *command_mail_parameters(struct span rest, bool extended);

#endif
