/* CRC-32C (Castagnoli, RFC 3720 appendix B.4) by ISA-L: crc32c("123456789") is e3069283. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* `before` is the CRC of what stands in front, 0 at the start. */
uint32_t crc32c(uint32_t before, const void *p, size_t n);

#endif
