#include "report/mend.h"

#include <stdio.h>

#include "base/crc32c.h"

enum { TAIL = 9 }; /* TAB and 8 digits */

static int different_bits(const char *a, const char *b, size_t n)
{
    int bits = 0;
    for (size_t i = 0; i < n; i++)
        bits += __builtin_popcount((unsigned)(a[i] ^ b[i]) & 0xff);
    return bits;
}

/* The tail that this content should have. */
static void tail_of(struct span content, char out[TAIL + 1])
{
    snprintf(out, TAIL + 1, "\t%08x", crc32c(0, content.p, content.n));
}

static bool good(struct span line)
{
    char tail[TAIL + 1];
    if (line.n <= TAIL)
        return false;
    line.n -= TAIL;
    tail_of(line, tail);
    return memcmp(line.p + line.n, tail, TAIL) == 0;
}

static bool tail_value(const char *tail, uint32_t *out)
{
    *out = 0;
    for (int i = 1; i < TAIL; i++) {
        char c = tail[i];
        if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
            return false;
        *out = *out << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return tail[0] == '\t';
}

/* A flipped bit changes the sum by what that bit alone, with zeros behind it, makes. So
 * go from the last byte to the first until the change is the one that is seen. */
static bool find_bit(size_t n, uint32_t change, size_t *byte_out, int *bit_out)
{
    uint32_t table[256], made[8];
    const char zero = 0;
    for (int i = 0; i < 256; i++) {
        char byte = (char)i;
        table[i] = crc32c(0, &byte, 1) ^ crc32c(0, &zero, 1);
    }
    for (int bit = 0; bit < 8; bit++)
        made[bit] = table[1 << bit];
    for (size_t i = n; i-- > 0;) {
        for (int bit = 0; bit < 8; bit++) {
            if (made[bit] == change) {
                *byte_out = i;
                *bit_out = bit;
                return true;
            }
            made[bit] = made[bit] >> 8 ^ table[made[bit] & 0xff];
        }
    }
    return false;
}

/* Two good lines whose newline is something else now. */
static bool part(struct span text, char *out)
{
    for (size_t i = TAIL + 1; i + 1 < text.n; i++) {
        if (text.p[i - TAIL] != '\t' || different_bits(text.p + i, "\n", 1) != 1)
            continue;
        if (good((struct span){text.p, i}) &&
            good((struct span){text.p + i + 1, text.n - i - 1})) {
            out[i] = '\n';
            return true;
        }
    }
    return false;
}

bool mend_line(struct span text, char *out)
{
    char tail[TAIL + 1];
    if (text.n <= TAIL)
        return false;
    memcpy(out, text.p, text.n);
    struct span content = {text.p, text.n - TAIL};
    tail_of(content, tail);
    if (different_bits(text.p + content.n, tail, TAIL) <= 1) {
        memcpy(out + content.n, tail, TAIL);
        return true;
    }
    uint32_t is, said;
    size_t byte;
    int bit;
    if (tail_value(text.p + content.n, &said) && tail_value(tail, &is) &&
        find_bit(content.n, is ^ said, &byte, &bit)) {
        out[byte] = (char)(out[byte] ^ (1 << bit));
        return true;
    }
    return part(text, out);
}
