/* Compiling a template: what template.c (structure), emit.c (output, header fields) and
 * leaf.c (parts that are no multiparts) share while they walk over it. */
#ifndef MESSAGE_COMPILE_H
#define MESSAGE_COMPILE_H

#include "message/program.h"

struct compiler {
    struct template *t;
    const struct template_params *params;
    struct fault *fault;
    struct buf pending; /* literal bytes that are not yet a step */
    bool sealed;        /* inside a signed part: look, but emit nothing */
    int parts_n;
};

/* Message or part: header fields and a body. */
struct entity {
    struct mime_fields fields;
    const struct mime_field *type_field, *coding_field; /* NULL: absent */
    struct mime_type type;
    struct span coding; /* "7bit" when absent */
    struct span body;
    int body_line;
    int depth;
};

/* What stands in the header for the body: as in the template, other lines, or a part's.
 */
struct heading {
    bool keep;
    struct span lines;
    const struct part *part;
};

/* "FILE:LINE: what"; false. */
bool compile_wrong(struct compiler *c, int line, const char *what);
struct scan compile_scan(struct compiler *c, int line);
bool has_8bit(struct span s);

/* emit.c. In a signed part all of them do nothing but look. */
void emit_literal(struct compiler *c, struct span s);
void emit_step(struct compiler *c, struct step step);
void emit_flush(struct compiler *c); /* what is pending becomes a step */
/* Content-Type or Content-Transfer-Encoding (NULL: absent) must hold no placeholder. */
bool compile_fixed(struct compiler *c, const struct mime_field *from);
/* All header fields, those the template leaves out, and the empty line. */
bool emit_fields(struct compiler *c, const struct entity *e, const struct heading *h);

/* leaf.c */
/* What the words of Content-Transfer-Encoding mean. */
enum transfer { TRANSFER_LINES, TRANSFER_BINARY, TRANSFER_QP, TRANSFER_BASE64 };
bool transfer_of(struct compiler *c, const struct entity *e, enum transfer *out);
bool leaf_text(struct compiler *c, const struct entity *e);
bool leaf_blob(struct compiler *c, const struct entity *e); /* attachments */
bool leaf_opaque(struct compiler *c, const struct entity *e, const char *what);

#endif
