#include "report/field.h"

#include <stdint.h>

#include "base/text.h"

/* Eight bytes at a time: most text is plain ASCII. */
#define EACH_BYTE(v) (UINT64_C(0x0101010101010101) * (v))
#define HIGH_BITS    EACH_BYTE(0x80)

static uint64_t load(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* The high bit of each byte that is below 0x20, DEL, or not ASCII. */
static uint64_t marks(uint64_t word)
{
    uint64_t low = word & ~HIGH_BITS;
    return (~(low + EACH_BYTE(0x60)) | (low + EACH_BYTE(0x01)) | word) & HIGH_BITS;
}

/* The high bit of each byte that is a TAB. */
static uint64_t tabs(uint64_t word)
{
    uint64_t other = word ^ EACH_BYTE('\t');
    return ~(((other & ~HIGH_BITS) + EACH_BYTE(0x7f)) | other) & HIGH_BITS;
}

static bool plain(char c)
{
    return c >= 0x20 && c < 0x7f; /* where char is signed, and where it is not */
}

/* Length of the harmless character at the start of text, 0 if there is none. */
static size_t harmless(struct span text)
{
    size_t n = utf8_sequence(text);
    if (n == 1)
        return plain(text.p[0]);
    bool c1 =
        n == 2 && (unsigned char)text.p[0] == 0xc2 && (unsigned char)text.p[1] < 0xa0;
    return c1 ? 0 : n;
}

static char *escape(char *to, struct span text, size_t max)
{
    while (text.n) {
        size_t n = harmless(text);
        size_t size = n ? n : 4;
        if (max < size)
            break;
        if (n) {
            memcpy(to, text.p, n);
        } else {
            unsigned char byte = (unsigned char)text.p[0];
            to[0] = '\\';
            to[1] = 'x';
            to[2] = "0123456789abcdef"[byte >> 4];
            to[3] = "0123456789abcdef"[byte & 15];
            n = 1;
        }
        to += size;
        max -= size;
        text.p += n;
        text.n -= n;
    }
    return to;
}

char *field_write(char *to, struct span text, size_t max)
{
    if (text.n > max)
        return escape(to, text, max);
    size_t i = 0;
    for (; i + 8 <= text.n; i += 8) {
        uint64_t word = load(text.p + i);
        if (marks(word))
            return escape(to, text, max);
        memcpy(to + i, &word, sizeof word);
    }
    for (; i < text.n; i++) {
        if (!plain(text.p[i]))
            return escape(to, text, max);
        to[i] = text.p[i];
    }
    return to + i;
}

bool field_line_good(struct span line)
{
    while (line.n) {
        size_t n = 1;
        if (line.n >= 8 && (marks(load(line.p)) & ~tabs(load(line.p))) == 0)
            n = 8;
        else if (line.p[0] != '\t' && (n = harmless(line)) == 0)
            return false;
        line.p += n;
        line.n -= n;
    }
    return true;
}
