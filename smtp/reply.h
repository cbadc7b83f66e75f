/* The reply parser: bytes of a stranger in, one clean reply out. RFC 5321 4.2, enhanced
 * codes RFC 2034/3463. No I/O, no allocation. Any thread; one parser, one holder.
 *
 * Accepted although sloppy: LF without CR, a code without text, lines up to
 * REPLY_LINE_MAX. Refused as garbage: anything but three digits 2xx-5xx followed by SP,
 * `-` or the line's end; lines of one reply with different codes; over-long lines and
 * replies. A CR alone ends no line. */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    REPLY_LINE_MAX = 8 * 1024,  /* bytes of one line with its end */
    REPLY_SIZE_MAX = 64 * 1024, /* bytes of one reply, all lines */
    REPLY_TEXT_MAX = 512,       /* kept of the text, cleaned; the rest is cut */
};

struct reply {
    int code;             /* 200-599; 0: none */
    uint16_t enhanced[3]; /* class, subject, detail; class 0: none. Only when its class
                             agrees with the code's first digit */
    uint16_t text_n;
    char text[REPLY_TEXT_MAX + 1]; /* all lines' text (enhanced code included), joined
                                  by one space, cleaned (base/text.h), NUL-terminated */
};

/* Receives each text line of an EHLO reply, code and separator cut off, not cleaned;
 * `first` for the line that holds the domain. */
typedef void reply_line_fn(void *arg, const char *line, size_t n, bool first);

struct reply_parser {
    struct reply reply;     /* the reply being read */
    uint32_t size;          /* bytes of this reply so far */
    uint32_t line_n;        /* bytes of the unfinished line */
    uint16_t raw_n;         /* kept raw bytes of the unfinished line */
    bool first_done;        /* the first line of this reply is complete */
    reply_line_fn *on_line; /* NULL: nobody asks */
    void *on_line_arg;
    char raw[REPLY_TEXT_MAX * 2]; /* the start of the unfinished line */
};

enum reply_result { REPLY_MORE, REPLY_DONE, REPLY_GARBAGE };

/* Copy what is in use of a reply. */
void reply_copy(struct reply *to, const struct reply *from);
/* A reply that nobody sent: code 0 and words of ours, cleaned and cut like a server's.
 */
void reply_words(struct reply *r, const char *words);
/* Words of ours, and behind them the reply they are about: "words: 354 go ahead". */
void reply_explain(struct reply *r, const char *words, const struct reply *about);

void reply_parser_init(struct reply_parser *p);

/* Read from data until one reply is complete. *used_out tells how many bytes were
 * taken: all of them with REPLY_MORE; up to the reply's end with REPLY_DONE, when
 * p->reply is valid until the next call. After REPLY_GARBAGE p->reply.text holds what
 * was read of the offending line, cleaned, and the parser must not be used again. */
enum reply_result reply_feed(struct reply_parser *p, const char *data, size_t n,
                             size_t *used_out);

/* Has something of a reply been read, but not all? */
bool reply_unfinished(const struct reply_parser *p);

/* Nothing more will come: is the unfinished line one that could never have become a
 * reply (binary, another protocol)? Then as after REPLY_GARBAGE. */
bool reply_is_hopeless(struct reply_parser *p);

#endif
