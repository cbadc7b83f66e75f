#include "smtp/reply.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

void reply_parser_init(struct reply_parser *p)
{
    *p = (struct reply_parser){0};
}

bool reply_unfinished(const struct reply_parser *p)
{
    return p->size > 0;
}

void reply_copy(struct reply *to, const struct reply *from)
{
    memcpy(to, from, offsetof(struct reply, text) + from->text_n);
    to->text[to->text_n] = '\0';
}

static void add_text(struct reply *r, const char *text, size_t n)
{
    /* A buffer that is never asked for more than it has does not grow. */
    struct buf b = {r->text, r->text_n, REPLY_TEXT_MAX};
    text_clean(&b, (struct span){text, n}, b.cap - b.n);
    r->text_n = (uint16_t)b.n;
    r->text[b.n] = '\0';
}

void reply_words(struct reply *r, const char *words)
{
    r->code = 0;
    memset(r->enhanced, 0, sizeof r->enhanced);
    r->text_n = 0;
    add_text(r, words, strlen(words));
}

void reply_explain(struct reply *r, const char *words, const struct reply *about)
{
    char code[16] = ": ";
    if (about->code)
        snprintf(code, sizeof code, ": %d ", about->code);
    reply_words(r, words);
    add_text(r, code, strlen(code));
    size_t n = REPLY_TEXT_MAX - r->text_n;
    if (n >= about->text_n)
        n = about->text_n;
    else
        while (n > 0 && (about->text[n] & 0xc0) == 0x80)
            n--; /* cut between characters; it is clean already */
    memcpy(r->text + r->text_n, about->text, n);
    r->text_n = (uint16_t)(r->text_n + n);
    r->text[r->text_n] = '\0';
}

/* Up to three digits; 0 when there is none or one too many. */
static size_t read_number(const char *s, size_t n, uint16_t *out)
{
    size_t i = 0;
    unsigned v = 0;
    for (; i < n && s[i] >= '0' && s[i] <= '9'; i++) {
        if (i == 3)
            return 0;
        v = v * 10 + (unsigned)(s[i] - '0');
    }
    *out = (uint16_t)v;
    return i;
}

/* class "." subject "." detail, then a space or the end (RFC 3463 2). Cisco's ESA
 * writes
 * "#5.1.1". A class that contradicts the code is no class (RFC 2034 4). */
static void read_enhanced(struct reply *r, const char *s, size_t n)
{
    if (n && s[0] == '#') {
        s++;
        n--;
    }
    uint16_t subject, detail;
    if (n < 5 || s[0] - '0' != r->code / 100 || s[1] != '.')
        return;
    size_t at = 2;
    size_t digits = read_number(s + at, n - at, &subject);
    at += digits;
    if (digits == 0 || at == n || s[at] != '.')
        return;
    at++;
    digits = read_number(s + at, n - at, &detail);
    at += digits;
    if (digits == 0 || (at < n && s[at] != ' ' && s[at] != '\t'))
        return;
    r->enhanced[0] = (uint16_t)(s[0] - '0');
    r->enhanced[1] = subject;
    r->enhanced[2] = detail;
}

/* The code a line starts with, 0 if it is no reply line (RFC 5321 4.2). */
static int read_code(const char *s, size_t n)
{
    if (n < 3 || s[0] < '2' || s[0] > '5' || s[1] < '0' || s[1] > '9' || s[2] < '0' ||
        s[2] > '9' || (n > 3 && s[3] != ' ' && s[3] != '-'))
        return 0;
    return (s[0] - '0') * 100 + (s[1] - '0') * 10 + (s[2] - '0');
}

static enum reply_result garbage(struct reply_parser *p, const char *line, size_t n)
{
    reply_words(&p->reply, "");
    add_text(&p->reply, line, n);
    return REPLY_GARBAGE;
}

/* One line without its LF, cut to what raw can hold. */
static enum reply_result take_line(struct reply_parser *p, const char *line, size_t n)
{
    struct reply *r = &p->reply;
    if (n && line[n - 1] == '\r')
        n--;
    int code = read_code(line, n);
    if (code == 0 || (p->first_done && code != r->code))
        return garbage(p, line, n);
    bool last = n == 3 || line[3] == ' ';
    const char *text = n > 3 ? line + 4 : line + n;
    size_t text_n = n > 3 ? n - 4 : 0;
    r->code = code;
    if (r->enhanced[0] == 0)
        read_enhanced(r, text, text_n);
    if (r->text_n && text_n)
        add_text(r, " ", 1);
    add_text(r, text, text_n);
    if (p->on_line)
        p->on_line(p->on_line_arg, text, text_n, !p->first_done);
    p->first_done = true;
    return last ? REPLY_DONE : REPLY_MORE;
}

bool reply_is_hopeless(struct reply_parser *p)
{
    /* Whatever is missing of the code is thought of as good; a CR may belong to the
     * end. */
    char line[5] = "200 ";
    size_t n = p->raw_n;
    if (n > 0 && p->raw[n - 1] == '\r')
        n--;
    memcpy(line, p->raw, n < 4 ? n : 4);
    if (p->raw_n == 0 || read_code(line, 4) > 0)
        return false;
    garbage(p, p->raw, p->raw_n);
    return true;
}

static void begin_reply(struct reply_parser *p)
{
    reply_words(&p->reply, "");
    p->first_done = false;
}

enum reply_result reply_feed(struct reply_parser *p, const char *data, size_t n,
                             size_t *used_out)
{
    size_t used = 0;
    enum reply_result result = REPLY_MORE;
    while (used < n && result == REPLY_MORE) {
        if (p->size == 0)
            begin_reply(p);
        const char *piece = data + used;
        size_t room = REPLY_LINE_MAX - p->line_n;
        if (room > REPLY_SIZE_MAX - p->size)
            room = REPLY_SIZE_MAX - p->size;
        size_t piece_n = n - used < room ? n - used : room;
        const char *lf = memchr(piece, '\n', piece_n);
        if (lf)
            piece_n = (size_t)(lf - piece) + 1;
        used += piece_n;
        p->line_n += (uint32_t)piece_n;
        p->size += (uint32_t)piece_n;

        /* A line that came whole is read where it lies. */
        const char *line = piece;
        size_t line_n = piece_n - (lf != NULL);
        if (!lf || p->line_n > piece_n) {
            size_t keep = sizeof p->raw - p->raw_n;
            keep = line_n < keep ? line_n : keep;
            memcpy(p->raw + p->raw_n, line, keep);
            p->raw_n = (uint16_t)(p->raw_n + keep);
            line = p->raw;
            line_n = p->raw_n;
        } else if (line_n > sizeof p->raw) {
            line_n = sizeof p->raw;
        }
        if (!lf) {
            if (piece_n == room)
                result = garbage(p, line, line_n);
            continue;
        }
        result = take_line(p, line, line_n);
        p->line_n = 0;
        p->raw_n = 0;
        if (result == REPLY_MORE && p->size == REPLY_SIZE_MAX)
            result = garbage(p, line, line_n);
    }
    if (result == REPLY_DONE)
        p->size = 0;
    *used_out = used;
    return result;
}
