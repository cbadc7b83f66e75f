/* What template.c compiles and render.c runs: the message as a list of steps. Finished
 * bytes stand in literals; only what depends on the row is left to do. All memory is
 * the template's arena, unchanging after template_compile. */
#ifndef MESSAGE_PROGRAM_H
#define MESSAGE_PROGRAM_H

#include "message/encode.h"
#include "message/identity.h"
#include "message/mime.h"
#include "message/template.h"

enum {
    NO_COLUMN = -1,
    HEADER_VALUE_MAX = 4096, /* a merged header value, before it is encoded */
    FORMS_MAX = 3,
    HOSTNAME_ROOM = 127 - IDENTITY_LEN - 1, /* in rendering.message_id */
};

/* Literal text (UTF-8, decoded), then a value; the last of a row has NO_COLUMN. */
struct segment {
    struct span text;
    int column;
    enum escape escape;
};

struct segments {
    struct segment *list;
    int n;
};

/* ---- header fields with placeholders ---- */

enum field_kind {
    FIELD_TEXT,    /* unstructured: one element, name only */
    FIELD_ADDRESS, /* mailboxes */
    FIELD_LIST,    /* List-*: URIs in <> */
    FIELD_FIXED,   /* no placeholder may stand in it */
};

/* One mailbox or one URI of a comma list. */
struct element {
    struct segments name;  /* display name or phrase; n 0: none */
    struct segments inner; /* address or URI; n 0: none */
    bool angle;            /* inner stands in <> */
};

struct field {
    struct span name;
    enum field_kind kind;
    struct element *elements;
    int elements_n;
};

/* ---- text parts with placeholders ---- */

enum coding { CODING_7BIT, CODING_QP, CODING_BASE64 };

/* Finished bytes, and the same with dots stuffed (RFC 5321 4.5.2); mostly no line
 * begins with one, and both are one. */
struct text {
    struct span plain, dotted;
};

/* Bytes between two values in the coding of a form. 7bit: no dot is stuffed at the very
 * first byte, of which only rendering knows whether it begins a line. QP: finished.
 * Base64: raw, and when there are many also finished lines, see below. */
struct literal {
    struct text text;
    size_t first; /* octets of the first line, without CRLF; dots are stuffed */
    size_t last;  /* octets of the last line: where the next value begins */
    bool breaks;  /* has more than one line */
    int dashes;   /* dashes_after(0, last line) */
    struct {
        struct span
            lines; /* base64 of bytes + skip, in whole threes, on lines of its own */
        size_t column; /* of its end */
    } groups[3];       /* by skip; p NULL: too short for that */
};

/* One way for the part to go out. The first that can hold the row's values is taken;
 * the last is UTF-8 in QP or base64, which holds everything. */
struct form {
    enum coding coding;
    const char *charset;      /* for iconv; NULL: UTF-8 */
    bool ascii_only;          /* charset is us-ascii */
    struct span heading;      /* Content-Type and Content-Transfer-Encoding lines */
    struct literal *literals; /* slots_n + 1 */
};

struct slot {
    int column;
    enum escape escape;
};

struct part {
    struct slot *slots;
    int slots_n;
    struct form forms[FORMS_MAX];
    int forms_n;
    bool delimited; /* inside a multipart: no line may become a boundary */
};

/* ---- the message ---- */

enum step_kind {
    STEP_LITERAL,
    STEP_FIELD,
    STEP_TO,
    STEP_MESSAGE_ID,
    STEP_HEADING, /* the heading of the part that the next STEP_BODY renders */
    STEP_BODY,
};

struct step {
    enum step_kind kind;
    struct text literal;
    const struct field *field;
    const struct part *part;
};

struct template
{
    struct arena arena;
    struct step *steps;
    int steps_n, steps_cap;
    struct identity *identity;
    char hostname[HOSTNAME_ROOM + 1];
    const char *from;
    size_t size;
};

/* ---- between the files of this room ---- */

/* placeholder.c: cut decoded text at its placeholders. */
struct scan {
    const struct template_params *params;
    struct arena *arena;
    struct fault *fault;
    int line; /* of the text's first byte … */
    int (*line_of)(const void *context, struct span before); /* … or how to find it */
    const void *context;
    bool sealed; /* inside a signed part: any placeholder is an error */
};
bool placeholders_scan(const struct scan *s, struct span text, enum escape plain,
                       struct segments *out);

/* field.c: which kind, and compile one whose value is not passed as it stands. */
enum field_kind field_kind_of(struct span name);
bool field_compile(const struct scan *s, const struct mime_field *from,
                   enum field_kind kind, struct field *out);

/* compose.c: a field for one row (NULL: no placeholders in it). Appends "Name: …CRLF".
 * sizing: values are empty, addresses are not looked at. */
struct composer {
    const struct span *values; /* by column; NULL: all empty, for plans */
    struct buf *out;
    struct buf *merged; /* scratch */
};
bool field_compose(const struct composer *c, const struct field *field,
                   const char **why);

/* body.c: the forms of a text part. */
struct body_plan {
    const struct mime_field *type_field; /* NULL: no Content-Type */
    struct mime_type type;
    struct span charset; /* of the text as it stands; never empty */
    bool coding_given;   /* the template says QP or base64: it stays so */
    enum coding coding;
};
bool body_is_plain(struct span bytes); /* can go out as 7bit as it stands */
bool body_wants_base64(struct span bytes);
void body_encode(struct buf *out, struct span bytes, enum coding coding);
void body_heading(struct buf *out, const struct body_plan *plan, struct span charset,
                  enum coding coding);
void body_compile(struct arena *arena, const struct body_plan *plan,
                  const struct segments *text, struct part *part);

/* Does a line begin with two dashes, as a boundary does? Goes on from the state of the
 * text in front, 0 at the start of a line: 0, 1 dashes and nothing else, 2: yes, -1:
 * no. */
static inline int dashes_after(int state, struct span s)
{
    for (size_t i = 0; i < s.n && (state == 0 || state == 1); i++)
        state = s.p[i] == '-' ? state + 1 : -1;
    return state;
}

/* render.c: bytes of a rendering whose fields are empty. */
size_t program_size(const struct template *t);

/* body.c: a copy in the arena, and one with a dot more in front of each line that
 * begins with one, the first line too when at_start says so. */
struct text text_keep(struct arena *arena, struct span bytes, bool at_start);

#endif
