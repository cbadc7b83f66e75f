/* Bytes: spans that point, buffers that grow, arenas that are emptied at once.
 * Not thread-safe; each belongs to whoever holds it. No function here fails: memory that
 * cannot be had ends the program (base/mem.h). */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A piece of somebody else's memory; not NUL-terminated. */
struct span {
    const char *p;
    size_t n;
};

#define SPAN(literal) ((struct span){(literal), sizeof(literal) - 1})

static inline struct span span_of(const char *s)
{
    return (struct span){s, strlen(s)};
}
bool span_equal(struct span a, struct span b);
bool span_equal_nocase(struct span a, struct span b); /* ASCII only */
bool span_starts_nocase(struct span s, struct span prefix);
struct span span_trim(struct span s); /* without outer spaces and TABs */

/* A growing buffer. A zeroed struct is an empty one. */
struct buf {
    char *p;
    size_t n;
    size_t cap;
};

void buf_finish(struct buf *b); /* frees; the struct is empty again */
static inline void buf_reset(struct buf *b)
{
    b->n = 0;
}
void buf_reserve(struct buf *b, size_t more); /* room for `more` bytes behind n */
void buf_add(struct buf *b, const void *p, size_t n);
static inline void buf_add_span(struct buf *b, struct span s)
{
    buf_add(b, s.p, s.n);
}
void buf_add_str(struct buf *b, const char *s);
void buf_add_char(struct buf *b, char c);
void buf_add_u64(struct buf *b, uint64_t v); /* decimal */
void buf_add_i64(struct buf *b, int64_t v);
void buf_add_hex32(struct buf *b, uint32_t v); /* 8 lower-case digits */
void buf_printf(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The text so far with a NUL behind it (not counted in n); valid until the next add. */
const char *buf_cstr(struct buf *b);
static inline struct span buf_span(const struct buf *b)
{
    return (struct span){b->p, b->n};
}

/* An arena: many small pieces with one life. A zeroed struct is an empty one. Pieces do
 * not move; reset keeps one block for the next life. */
struct arena {
    struct arena_block *blocks;
};

void *arena_alloc(struct arena *a, size_t n); /* aligned to 16, uninitialised */
char *arena_strndup(struct arena *a, const char *p, size_t n); /* adds a NUL */
void arena_reset(struct arena *a);
void arena_finish(struct arena *a);

#endif
