#include "base/crc32c.h"

#include <isa-l/crc.h>

uint32_t crc32c(uint32_t before, const void *p, size_t n)
{
    const unsigned char *bytes = p;
    uint32_t crc = ~before;
    enum { CHUNK = 1 << 30 }; /* ISA-L counts in int */
    while (n > 0) {
        size_t part = n > CHUNK ? CHUNK : n;
        /* ISA-L does not write through the pointer, it only forgot to say so. */
        crc = crc32_iscsi((unsigned char *)(uintptr_t)bytes, (int)part, crc);
        bytes += part;
        n -= part;
    }
    return ~crc;
}
