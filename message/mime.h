/* The shape of OUR template as RFC 5322 and RFC 2045/2046 describe it: lines, header
 * fields, Content-Type, parts between boundaries. Strict: what is odd is an error of
 * the template's author, not something to guess about. Not a parser for foreign mail.
 * Pure. */
#ifndef MESSAGE_MIME_H
#define MESSAGE_MIME_H

#include "base/buf.h"
#include "base/fault.h"

enum { MIME_DEPTH_MAX = 16, MIME_PARTS_MAX = 1000, MIME_NAME_MAX = 76 };

/* Say what is wrong in which line: code -21, "FILE:LINE: …". Returns false. */
bool mime_wrong(struct fault *f, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Walks over lines that end in CRLF, LF or CR, or at the end of the text. */
struct lines {
    struct span text;
    size_t at;
    int line; /* number of the line that comes next */
};
bool lines_next(struct lines *l, struct span *line_out);

/* Append text with every line end as CRLF. */
void lines_normalise(struct buf *out, struct span text);

struct mime_field {
    struct span name;
    struct span value; /* unfolded, trimmed, without its line end */
    struct span raw; /* "Name: value" as it stands, lines end in CRLF; no blank lines */
    int line;
};

struct mime_fields {
    struct mime_field *list;
    int n, cap;
};

/* Read fields up to and with the empty line, or to the end. Copies go into the arena.
 */
bool mime_fields_read(struct lines *l, struct arena *arena, struct mime_fields *out,
                      const char *file, struct fault *f);
const struct mime_field *mime_field_find(const struct mime_fields *fields,
                                         const char *name);

struct mime_type {
    struct span type;                   /* "text"; never empty */
    struct span subtype;                /* "html" */
    struct span boundary, charset;      /* unquoted; p NULL: absent */
    size_t charset_from, charset_until; /* the value of charset= in the field's value */
};

/* Parse the value of a Content-Type; spans point into value or the arena. */
bool mime_type_read(struct span value, struct arena *arena, struct mime_type *out);

/* The next part of a multipart body. 1: a part (*part_out, *line_out its first line);
 * 0: the close delimiter; -1: the text ends without it. Both flags begin as false. */
struct mime_parts {
    struct lines lines;
    struct span boundary;
    bool started, closed;
};
int mime_parts_next(struct mime_parts *p, struct span *part_out, int *line_out);

#endif
