#include "message/encode.h"

#include <assert.h>
#include <strings.h>

#include "base/text.h"
#include "message/charset.h"

static const char CRLF[2] = {'\r', '\n'};
static const char HEX[] = "0123456789ABCDEF";
static const char BASE64[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static bool is_alnum(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* ---- escapes ---------------------------------------------------------------- */

/* Bit (1 << escape): this ASCII byte stands for itself. */
enum {
    N = 1 << ESCAPE_NONE,
    H = 1 << ESCAPE_HTML,
    U = 1 << ESCAPE_URL,
    R = 1 << ESCAPE_URI,
    L = 1 << ESCAPE_LINE,
    ALL = N | H | U | R | L, /* unreserved */
    URI = N | H | R | L,     /* reserved */
    TXT = N | H | L,         /* not in a URI */
    RAW = N | R | L,         /* special in HTML, reserved in a URI */
    ESC = N | L,             /* special in HTML, not in a URI */
};

/* clang-format off */
static const unsigned char plain[256] = {
    ['\t'] = N | H,
    [' '] = TXT, ['!'] = URI, ['"'] = ESC, ['#'] = URI, ['$'] = URI, ['%'] = URI,
    ['&'] = RAW, ['\''] = RAW, ['('] = URI, [')'] = URI, ['*'] = URI, ['+'] = URI,
    [','] = URI, ['-'] = ALL, ['.'] = ALL, ['/'] = URI,
    ['0'] = ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL,
    [':'] = URI, [';'] = URI, ['<'] = ESC, ['='] = URI, ['>'] = ESC, ['?'] = URI,
    ['@'] = URI,
    ['A'] = ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL,
    ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL,
    ['['] = URI, ['\\'] = TXT, [']'] = URI, ['^'] = TXT, ['_'] = ALL, ['`'] = TXT,
    ['a'] = ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL,
    ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL,
    ['{'] = TXT, ['|'] = TXT, ['}'] = TXT, ['~'] = ALL,
};
/* clang-format on */

bool escape_not_needed(struct span value, enum escape escape)
{
    const unsigned bit = 1u << escape;
    unsigned all = bit;
    for (size_t i = 0; i < value.n; i++)
        all &= plain[(unsigned char)value.p[i]];
    return all != 0;
}

enum { ESCAPED_MAX = 12 }; /* bytes of one character: four, each as %XX */

static size_t escape_one(char out[ESCAPED_MAX], const char *p, size_t n,
                         enum escape escape)
{
    const unsigned char c = (unsigned char)p[0];
    const bool control =
        (n == 1 && (c < 0x20 || c == 0x7f) && !(plain[c] & 1u << escape)) ||
        (n == 2 && c == 0xc2 && (unsigned char)p[1] < 0xa0);
    if (n == 0) {
        p = "\xef\xbf\xbd";
        n = 3;
    } else if (control) {
        p = " ";
        n = 1;
    }
    if (escape == ESCAPE_URL || escape == ESCAPE_URI) {
        size_t at = 0;
        for (size_t i = 0; i < n; i++) {
            const unsigned char b = (unsigned char)p[i];
            if (plain[b] & 1u << escape) {
                out[at++] = p[i];
                continue;
            }
            out[at++] = '%';
            out[at++] = HEX[b >> 4];
            out[at++] = HEX[b & 15];
        }
        return at;
    }
    if (escape == ESCAPE_HTML && n == 1 && !(plain[(unsigned char)*p] & H)) {
        const char *entity = *p == '&'   ? "&amp;"
                             : *p == '<' ? "&lt;"
                             : *p == '>' ? "&gt;"
                             : *p == '"' ? "&quot;"
                                         : "&#39;";
        p = entity;
        n = strlen(entity);
    }
    memcpy(out, p, n);
    return n;
}

size_t escape_write(char *out, struct span value, enum escape escape)
{
    size_t at = 0;
    for (size_t i = 0; i < value.n;) {
        char one[ESCAPED_MAX];
        const size_t n = utf8_sequence((struct span){value.p + i, value.n - i});
        const size_t one_n = escape_one(one, value.p + i, n, escape);
        if (out)
            memcpy(out + at, one, one_n);
        at += one_n;
        i += n ? n : 1;
    }
    return at;
}

/* ---- quoted-printable ------------------------------------------------------- */

static bool qp_must_encode(struct span text, size_t i, size_t column)
{
    const unsigned char c = (unsigned char)text.p[i];
    if (c == ' ' || c == '\t')
        return i + 1 == text.n || text.p[i + 1] == '\r';
    if (c == '.' || c == '-')
        return column == 0 || i == 0;
    return c < 0x21 || c > 0x7e || c == '=';
}

static const char SOFT_BREAK[3] = {'=', '\r', '\n'};

size_t qp_write(char *out, struct span text, size_t *column)
{
    size_t at = 0, col = *column;
    for (size_t i = 0; i < text.n; i++) {
        const unsigned char c = (unsigned char)text.p[i];
        if (c == '\r' && i + 1 < text.n && text.p[i + 1] == '\n') {
            out[at++] = '\r';
            out[at++] = '\n';
            col = 0;
            i++;
            continue;
        }
        const bool wide = qp_must_encode(text, i, col);
        if (col + (wide ? 3 : 1) > QP_COLUMN_MAX) {
            memcpy(out + at, SOFT_BREAK, sizeof SOFT_BREAK);
            at += sizeof SOFT_BREAK;
            col = 0;
        }
        if (wide || qp_must_encode(text, i, col)) {
            out[at++] = '=';
            out[at++] = HEX[c >> 4];
            out[at++] = HEX[c & 15];
            col += 3;
        } else {
            out[at++] = (char)c;
            col++;
        }
    }
    *column = col;
    return at;
}

/* Length of the line end at text.p[i]: 0 when there is none. */
static size_t line_end(struct span text, size_t i)
{
    if (i >= text.n)
        return 0;
    if (text.p[i] == '\r')
        return i + 1 < text.n && text.p[i + 1] == '\n' ? 2 : 1;
    return text.p[i] == '\n' ? 1 : 0;
}

bool qp_read(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.n;) {
        const char c = text.p[i];
        size_t space = i;
        while (space < text.n && (text.p[space] == ' ' || text.p[space] == '\t'))
            space++;
        if (space > i && (space == text.n || line_end(text, space))) {
            i = space; /* white space that transport added: RFC 2045 6.7 (3) */
            continue;
        }
        const size_t end = line_end(text, i);
        if (end) {
            buf_add(out, "\r\n", 2);
            i += end;
        } else if (c != '=') {
            if ((unsigned char)c >= 0x80)
                return false;
            buf_add_char(out, c);
            i++;
        } else if (i + 2 < text.n && hex_value(text.p[i + 1]) >= 0 &&
                   hex_value(text.p[i + 2]) >= 0) {
            buf_add_char(
                out, (char)(hex_value(text.p[i + 1]) * 16 + hex_value(text.p[i + 2])));
            i += 3;
        } else {
            i++;
            while (i < text.n && (text.p[i] == ' ' || text.p[i] == '\t'))
                i++;
            if (i < text.n && !line_end(text, i))
                return false;
            i += line_end(text, i);
        }
    }
    return true;
}

/* ---- base64 ----------------------------------------------------------------- */

static void base64_three(struct base64 *b, const unsigned char *p)
{
    char *out = b->out + b->n;
    out[0] = BASE64[p[0] >> 2];
    out[1] = BASE64[(p[0] & 3) << 4 | p[1] >> 4];
    out[2] = BASE64[(p[1] & 15) << 2 | p[2] >> 6];
    out[3] = BASE64[p[2] & 63];
    b->n += 4;
    b->column += 4;
    if (b->column == LINE_OCTETS_GOOD) {
        out[4] = '\r';
        out[5] = '\n';
        b->n += 2;
        b->column = 0;
    }
}

void base64_write(struct base64 *b, struct span bytes)
{
    const unsigned char *p = (const unsigned char *)bytes.p;
    const unsigned char *end = p + bytes.n;
    while (b->held_n && p < end) {
        b->held[b->held_n++] = *p++;
        if (b->held_n == 3) {
            base64_three(b, b->held);
            b->held_n = 0;
        }
    }
    for (; end - p >= 3; p += 3)
        base64_three(b, p);
    while (p < end)
        b->held[b->held_n++] = *p++;
}

void base64_break(struct base64 *b)
{
    assert(b->held_n == 0);
    if (b->column) {
        memcpy(b->out + b->n, CRLF, sizeof CRLF);
        b->n += sizeof CRLF;
        b->column = 0;
    }
}

void base64_finish(struct base64 *b)
{
    const unsigned n = b->held_n;
    if (n) {
        memset(b->held + n, 0, 3 - n);
        const size_t at = b->n;
        base64_three(b, b->held);
        memcpy(b->out + at + 1 + n, "==", 3 - n);
        b->held_n = 0;
    }
    base64_break(b);
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_read(struct buf *out, struct span text)
{
    unsigned held = 0;
    int bits = 0, pads = 0;
    for (size_t i = 0; i < text.n; i++) {
        const char c = text.p[i];
        if (c == '\r' || c == '\n' || c == ' ' || c == '\t')
            continue;
        if (c == '=') {
            pads++;
            continue;
        }
        const int value = base64_value(c);
        if (value < 0 || pads)
            return false;
        held = (held << 6 | (unsigned)value) & 0xffffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            buf_add_char(out, (char)(held >> bits));
        }
    }
    return bits < 6 && pads <= 2;
}

/* ---- encoded words ---------------------------------------------------------- */

enum {
    WORD_MAX = 75,   /* RFC 2047 2 */
    WORD_FRAME = 12, /* =?UTF-8?B??= */
    WORD_LEAST = 36, /* less room than this: begin on a new line */
};

struct word {
    struct span charset; /* without a language (RFC 2231 5) */
    char encoding;       /* 'B' or 'Q' */
    struct span text;
    size_t n; /* of the whole word; 0: none here */
};

static struct word word_at(struct span s)
{
    struct word w = {0};
    if (s.n < 8 || s.p[0] != '=' || s.p[1] != '?')
        return w;
    const char *charset = s.p + 2, *end = s.p + s.n;
    const char *q1 = memchr(charset, '?', (size_t)(end - charset));
    if (!q1 || q1 == charset || end - q1 < 5 || q1[2] != '?')
        return w;
    const char *text = q1 + 3;
    const char *q2 = memchr(text, '?', (size_t)(end - text));
    if (!q2 || q2 + 1 == end || q2[1] != '=')
        return w;
    for (const char *p = s.p; p < q2; p++) {
        if (*p == ' ' || *p == '\t')
            return w;
    }
    const char *star = memchr(charset, '*', (size_t)(q1 - charset));
    w.charset = (struct span){charset, (size_t)((star ? star : q1) - charset)};
    w.encoding = (char)(q1[1] & ~0x20);
    w.text = (struct span){text, (size_t)(q2 - text)};
    if (w.encoding == 'B' || w.encoding == 'Q')
        w.n = (size_t)(q2 + 2 - s.p);
    return w;
}

static bool word_bytes(struct buf *out, struct word w)
{
    if (w.encoding == 'B')
        return base64_read(out, w.text);
    for (size_t i = 0; i < w.text.n; i++) {
        const char c = w.text.p[i];
        if (c == '_') {
            buf_add_char(out, ' ');
        } else if (c != '=') {
            buf_add_char(out, c);
        } else {
            if (i + 2 >= w.text.n || hex_value(w.text.p[i + 1]) < 0 ||
                hex_value(w.text.p[i + 2]) < 0)
                return false;
            buf_add_char(out, (char)(hex_value(w.text.p[i + 1]) * 16 +
                                     hex_value(w.text.p[i + 2])));
            i += 2;
        }
    }
    return true;
}

/* The word at the start of s behind spaces, if there is one. */
static struct word word_behind_spaces(struct span s, size_t *spaces_out)
{
    size_t i = 0;
    while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\t'))
        i++;
    *spaces_out = i;
    return word_at((struct span){s.p + i, s.n - i});
}

bool words_read(struct buf *out, struct span text)
{
    struct buf bytes = {0};
    bool good = true;
    size_t i = 0;
    while (i < text.n && good) {
        struct word w = word_at((struct span){text.p + i, text.n - i});
        if (!w.n) {
            buf_add_char(out, text.p[i++]);
            continue;
        }
        /* A character may be split over words of the same charset: forbidden, but seen.
         */
        const struct span charset = w.charset;
        buf_reset(&bytes);
        size_t spaces = 0;
        while (w.n && span_equal_nocase(w.charset, charset) && good) {
            good = word_bytes(&bytes, w);
            i += spaces + w.n;
            w = word_behind_spaces((struct span){text.p + i, text.n - i}, &spaces);
        }
        if (w.n)
            i += spaces; /* a word of another charset follows */
        good = good && charset_to_utf8(out, charset, buf_span(&bytes));
    }
    buf_finish(&bytes);
    return good;
}

/* Only what a word may hold unencoded even in a phrase: RFC 2047 5 (3). */
static bool q_plain(unsigned char c)
{
    return is_alnum(c) || c == '!' || c == '*' || c == '+' || c == '-' || c == '/' ||
           c == ' ';
}

static size_t q_size(struct span s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += q_plain((unsigned char)s.p[i]) ? 1 : 3;
    return n;
}

static void word_write(struct buf *out, struct span s, bool q)
{
    buf_add_str(out, q ? "=?UTF-8?Q?" : "=?UTF-8?B?");
    if (q) {
        for (size_t i = 0; i < s.n; i++) {
            const unsigned char c = (unsigned char)s.p[i];
            if (q_plain(c)) {
                buf_add_char(out, c == ' ' ? '_' : (char)c);
            } else {
                const char hex[3] = {'=', HEX[c >> 4], HEX[c & 15]};
                buf_add(out, hex, 3);
            }
        }
    } else {
        char text[WORD_MAX + 8];
        struct base64 b = {.out = text};
        assert(BASE64_BOUND(s.n) <= sizeof text);
        base64_write(&b, s);
        base64_finish(&b);
        buf_add(out, text, b.n - 2); /* without its CRLF */
    }
    buf_add_str(out, "?=");
}

void words_write(struct buf *out, struct span text, size_t *column)
{
    const bool q = q_size(text) <= (text.n + 2) / 3 * 4;
    size_t i = 0, col = *column;
    while (i < text.n) {
        size_t room = col < LINE_OCTETS_GOOD ? LINE_OCTETS_GOOD - col : 0;
        if (room < WORD_LEAST || i) {
            /* The space in front of the first word is there already. */
            const bool spaced = i == 0 && out->n && out->p[out->n - 1] == ' ';
            if (spaced)
                out->n--;
            buf_add_str(out, "\r\n ");
            col = 1;
            room = WORD_MAX;
        }
        if (room > WORD_MAX)
            room = WORD_MAX;
        room -= WORD_FRAME;
        if (!q)
            room = room / 4 * 3;
        size_t n = 0, used = 0;
        while (i + n < text.n) {
            const struct span rest = {text.p + i + n, text.n - i - n};
            size_t one = utf8_sequence(rest);
            if (!one)
                one = 1;
            const size_t cost = q ? q_size((struct span){rest.p, one}) : one;
            if (used + cost > room)
                break;
            used += cost;
            n += one;
        }
        const size_t before = out->n;
        word_write(out, (struct span){text.p + i, n}, q);
        col += out->n - before;
        i += n;
    }
    *column = col;
}
