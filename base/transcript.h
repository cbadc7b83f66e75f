/* Texts in the lines of a transcript (docs/session.md): `S: 250 ok\x07`, `C: {9*a}`.
 * Transcripts of the tests, scenarios of the fault server and --trace=smtp write the
 * same lines; this is what they share. Pure. */
#ifndef BASE_TRANSCRIPT_H
#define BASE_TRANSCRIPT_H

#include "base/buf.h"

enum { TRANSCRIPT_TEXT_MAX = 64 * 1024 * 1024 }; /* of one line, unfolded */

/* Append the bytes that text means: \r \n \t \\ \xHH are bytes, {COUNT*text} is
 * repeated. Returns NULL, or what is wrong in words. */
const char *transcript_unescape(struct buf *out, struct span text);

/* Append text so that unescape gives these bytes again: control bytes, what is not
 * UTF-8, backslash and brace are escaped; with `pattern` the star too. */
void transcript_escape(struct buf *out, struct span text, bool pattern);

/* Does a line match the pattern? In a pattern a star is any run of bytes, also none;
 * escapes mean their bytes; everything else is itself. */
bool transcript_match(struct span pattern, struct span line);

#endif
