/* What a damaged line was, when only one bit of it, or of a newline, is wrong. Pure. */
#ifndef REPORT_MEND_H
#define REPORT_MEND_H

#include "base/buf.h"

/* Write at out (text.n bytes) what differs from text in one bit and is right: one line,
 * or two with a newline between, that had become one. False: there is none.
 *
 * CRC-32C tells single bits apart in lines far longer than ours, but rubbish is taken
 * for a line about once in 2^32 / (8 text.n) times. So it is a hint about which rows a
 * line was, and never a result. */
bool mend_line(struct span text, char *out);

#endif
