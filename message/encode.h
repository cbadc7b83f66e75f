/* Bytes into the forms that mail can carry and back: quoted-printable and base64
 * (RFC 2045), encoded words (RFC 2047), percent (RFC 3986) and HTML escapes. Pure; any
 * thread. Writers fill memory of the caller, whose size the *_BOUND tells. */
#ifndef MESSAGE_ENCODE_H
#define MESSAGE_ENCODE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum {
    LINE_OCTETS_MAX = 998, /* RFC 5322 2.1.1, without CRLF, with a stuffed dot */
    LINE_OCTETS_GOOD = 76, /* encoded lines, folded headers */
    QP_COLUMN_MAX = 75,    /* leaves room for the "=" of a soft break */
};

/* How a value is escaped before it is encoded. */
enum escape {
    ESCAPE_NONE, /* only control bytes become spaces */
    ESCAPE_HTML, /* & < > " ' */
    ESCAPE_URL,  /* all but RFC 3986 unreserved */
    ESCAPE_URI,  /* a whole URI: only what no URI can hold */
    ESCAPE_LINE, /* header text: TAB too becomes a space */
    ESCAPES,
};

/* True when every byte stands for itself under this escape and is ASCII. */
bool escape_not_needed(struct span value, enum escape escape);
/* Write the escaped value, or only count when out is NULL. Control characters (C0 but
 * TAB, DEL, C1) become spaces, bytes that are not UTF-8 become U+FFFD. */
size_t escape_write(char *out, struct span value, enum escape escape);

/* Quoted-printable of text whose lines end in CRLF. *column is where the first byte
 * lands and, afterwards, where the next would. A dot or dash at the start of a line or
 * of the span, and a space at the end of either, are encoded: so the output needs no
 * stuffing, is no boundary, and may be joined to anything on both sides. */
#define QP_BOUND(n) (3 * (n) + (3 * (n) / 70 + 2) * 3)
size_t qp_write(char *out, struct span text, size_t *column);
/* False: not quoted-printable. Lines may end in any way; hard breaks come out as CRLF.
 */
bool qp_read(struct buf *out, struct span text);

/* Base64 in lines of 76, in pieces: begin with a zeroed struct, finish once. */
struct base64 {
    char *out;
    size_t n;
    size_t column;
    unsigned char held[3];
    unsigned held_n;
};
#define BASE64_BOUND(n) ((n) / 3 * 4 + 4 + ((n) / 57 + 2) * 2)
void base64_write(struct base64 *b, struct span bytes);
void base64_break(
    struct base64 *b); /* end the line, if one is begun; no byte is held */
void base64_finish(struct base64 *b); /* padding; a CRLF when the line is not empty */
bool base64_read(struct buf *out, struct span text); /* spaces and line ends pass */

/* Append the decoded text: encoded words come out as UTF-8, spaces between two of them
 * vanish, everything else stays. False: a word that cannot be decoded. */
bool words_read(struct buf *out, struct span text);

/* Append text (non-ASCII UTF-8 or whatever must not be read as it stands) as encoded
 * words, each in at most 76 columns, split between characters only. *column is where
 * the next byte lands, after a space. */
void words_write(struct buf *out, struct span text, size_t *column);

#endif
