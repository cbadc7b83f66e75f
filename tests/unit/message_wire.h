/* What every rendered message must be, whatever went in: shared by the unit tests and
 * the fuzz target of message/. */
#ifndef TESTS_MESSAGE_WIRE_H
#define TESTS_MESSAGE_WIRE_H

#include <stdio.h>
#include <string.h>

#include "message/template.h"

struct wire {
    const char *fault; /* NULL: good */
    int fields;        /* of the top header */
};

static inline void wire_join(struct buf *out, const struct rendering *r)
{
    buf_reset(out);
    for (int i = 0; i < r->pieces_n; i++)
        buf_add(out, r->pieces[i].iov_base, r->pieces[i].iov_len);
    if (out->n != r->size)
        fprintf(stderr, "size %zu, pieces hold %zu\n", r->size, out->n);
}

static inline const char *wire_line_fault(struct span line, bool header)
{
    if (line.n > 998)
        return "line over 998 octets";
    if (line.n && line.p[0] == '.' && (line.n < 2 || line.p[1] != '.'))
        return "dot not stuffed";
    size_t blanks = 0;
    for (size_t i = 0; i < line.n; i++) {
        const unsigned char c = (unsigned char)line.p[i];
        if (c >= 0x80 || c == 0 || c == '\r')
            return "8-bit, NUL or bare CR";
        if (header && (c < 0x20 || c == 0x7f) && c != '\t')
            return "control byte in a header";
        blanks += c == ' ' || c == '\t';
    }
    if (header && line.n && blanks == line.n)
        return "blank line inside a header";
    if (header && line.n && line.p[0] != ' ' && line.p[0] != '\t' &&
        !memchr(line.p, ':', line.n))
        return "header line without a name";
    return NULL;
}

static inline struct wire wire_check(struct span text)
{
    struct wire w = {0};
    bool header = true;
    for (size_t at = 0; at < text.n && !w.fault;) {
        const char *lf = memchr(text.p + at, '\n', text.n - at);
        const size_t end = lf ? (size_t)(lf - text.p) : text.n;
        if (!lf || end == at || text.p[end - 1] != '\r') {
            w.fault = "line does not end in CRLF";
            break;
        }
        const struct span line = {text.p + at, end - 1 - at};
        header = header && line.n;
        w.fault = wire_line_fault(line, header);
        w.fields += header && line.p[0] != ' ' && line.p[0] != '\t';
        at = end + 1;
    }
    return w;
}

/* Is it the plain form of the dot-stuffed one? */
static inline bool wire_is_same(struct span dotted, struct span plain)
{
    size_t at = 0, line = 0;
    for (size_t i = 0; i < dotted.n; i++) {
        if (line++ == 0 && dotted.p[i] == '.')
            continue;
        if (at == plain.n || plain.p[at++] != dotted.p[i])
            return false;
        if (dotted.p[i] == '\n')
            line = 0;
    }
    return at == plain.n;
}

#endif
