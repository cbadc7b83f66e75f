/* The newsletter: an RFC 5322 message with {{column}} placeholders, compiled once into
 * literal and field pieces, and rendered for each row into finished bytes for DATA or
 * BDAT: CRLF only, lines of at most 998 octets, 7bit/QP/base64, dot-stuffed for DATA
 * and but for that the same. The rules are in docs/template.md.
 *
 * template_compile once, in one thread; afterwards the template is immutable and any
 * thread may render. The same template, row and job render to the same bytes at every
 * attempt. */
#ifndef MESSAGE_TEMPLATE_H
#define MESSAGE_TEMPLATE_H

#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/fault.h"

struct template;

struct template_params {
    const char *file;           /* for messages: "message.eml" */
    const char *const *columns; /* the list's column names, in order */
    int columns_n;
    int address_column;    /* index: what To: is made from when absent */
    const char *hostname;  /* right side of Message-ID */
    const uint8_t *secret; /* key of the Message-ID HMAC-SHA-256 */
    size_t secret_n;
    int64_t created_ms; /* Unix time of the job: Date: when absent */
};

/* Compile. text is the whole file; neither it nor params are needed afterwards. On
 * failure NULL and *f: -21, words "FILE:LINE: …": unknown placeholder, unclosed {{,
 * NUL, malformed header, Bcc, Return-Path or Message-ID, no From, multipart without its
 * boundary, charset that iconv does not know, undecodable part … */
struct template *template_compile(struct span text,
                                  const struct template_params *params,
                                  struct fault *f);
void template_free(struct template *t); /* NULL is allowed */

/* The address in From: (its first mailbox), which is the envelope sender without
 * --from. */
const char *template_from(const struct template *t);
/* Is it the same message for all rows, but for its Message-ID? No placeholder stands in
 * it, and a To of its own does. Row 0 renders it with one Message-ID for all. */
bool template_is_common(const struct template *t);
/* Bytes of a rendering whose fields are empty, for plans. */
size_t template_size(const struct template *t);

/* A finished message. A zeroed struct is empty; reset keeps memory for the next. The
 * pieces point into the template, the arena and the fields given to template_render. */
struct rendering {
    struct iovec *pieces;
    int pieces_n, pieces_cap;
    size_t size;          /* sum of pieces */
    size_t dots;          /* of it, stuffed: the message is smaller by them */
    bool dotted;          /* as the row said */
    char message_id[128]; /* without <>, NUL-terminated */
    struct arena arena;
    struct rendering_tools *tools; /* of render.c: converters, scratch, a keyed HMAC */
};

struct template_row {
    uint32_t row;              /* 1 …: with the secret it makes the Message-ID; 0: see
                                  template_is_common */
    const struct span *fields; /* one for each column, bytes of the list (UTF-8) */
    const char *to;            /* the finished recipient address, for To: */
    bool dotted;               /* dot-stuffed (RFC 5321 4.5.2), for DATA */
};

/* Render one row; what out held before is forgotten. A rendering belongs to one thread
 * at a time. false: this row cannot be rendered (code 800): *why is static text, e.g. a
 * header value over 4 KB. */
bool template_render(const struct template *t, const struct template_row *row,
                     struct rendering *out, const char **why);
void rendering_reset(struct rendering *r);
void rendering_finish(struct rendering *r);

#endif
