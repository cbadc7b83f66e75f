/* A line of any bytes with a right CRC, one bit of it flipped: mend finds the line
 * again. What mend makes of the bytes as they are differs from them in one bit, and is
 * one right line or two. Row ranges: never backwards, never row 0. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "report/leases.h"
#include "report/mend.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { INPUT_MAX = 4096, TAIL = 9 };

static bool right(struct span line)
{
    char tail[TAIL + 1];
    if (line.n <= TAIL)
        return false;
    snprintf(tail, sizeof tail, "\t%08x", crc32c(0, line.p, line.n - TAIL));
    return memcmp(line.p + line.n - TAIL, tail, TAIL) == 0;
}

static void check_rubbish(struct span text)
{
    char *out = malloc(text.n + 1);
    assert(out);
    if (mend_line(text, out)) {
        int bits = 0;
        for (size_t i = 0; i < text.n; i++)
            bits += __builtin_popcount((unsigned)(out[i] ^ text.p[i]) & 0xff);
        assert(bits <= 1);
        bool one = right((struct span){out, text.n}), two = false;
        for (size_t i = 0; i < text.n && !one && !two; i++)
            two = out[i] == '\n' && right((struct span){out, i}) &&
                  right((struct span){out + i + 1, text.n - i - 1});
        assert(one || two);
    }
    free(out);
}

static void check_flipped(struct span text, size_t where, int bit)
{
    struct buf line = {0};
    char *out = malloc(text.n + TAIL);
    assert(out);
    buf_add_span(&line, text);
    buf_printf(&line, "\t%08x", crc32c(0, text.p, text.n));
    where %= line.n;
    line.p[where] = (char)(line.p[where] ^ (1 << bit));
    assert(mend_line(buf_span(&line), out));
    line.p[where] = (char)(line.p[where] ^ (1 << bit));
    assert(memcmp(out, line.p, line.n) == 0);
    buf_finish(&line);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 4 || n > INPUT_MAX)
        return 0;
    struct span text = {(const char *)data + 3, n - 3};
    check_flipped(text, (size_t)data[0] << 8 | data[1], data[2] & 7);
    check_rubbish(text);
    struct row_range range;
    bool good = true;
    size_t ranges = 0;
    while (row_range_next(&text, &range, &good)) {
        assert(range.from >= 1 && range.from <= range.to);
        ranges++;
    }
    assert(ranges <= n && text.n == 0);
    return 0;
}
