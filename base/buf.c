#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/mem.h"

enum { BUF_FIRST = 256, ARENA_BLOCK = 4 * 1024 - 64, ARENA_ALIGN = 16 };

bool span_equal(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool span_equal_nocase(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

bool span_starts_nocase(struct span s, struct span prefix)
{
    return s.n >= prefix.n &&
           span_equal_nocase((struct span){s.p, prefix.n}, prefix);
}

struct span span_trim(struct span s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

void buf_finish(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

void buf_reserve(struct buf *b, size_t more)
{
    if (b->cap - b->n >= more)
        return;
    size_t cap = b->cap ? b->cap : BUF_FIRST;
    while (cap - b->n < more)
        cap *= 2;
    b->p = mem_resize(b->p, cap, 1);
    b->cap = cap;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    buf_reserve(b, n);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void buf_add_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_add_char(struct buf *b, char c)
{
    buf_reserve(b, 1);
    b->p[b->n++] = c;
}

void buf_add_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t i = sizeof digits;
    do {
        digits[--i] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_add(b, digits + i, sizeof digits - i);
}

void buf_add_i64(struct buf *b, int64_t v)
{
    if (v < 0)
        buf_add_char(b, '-');
    buf_add_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void buf_add_hex32(struct buf *b, uint32_t v)
{
    buf_reserve(b, 8);
    for (int shift = 28; shift >= 0; shift -= 4)
        b->p[b->n++] = "0123456789abcdef"[v >> shift & 15];
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    assert(n >= 0);
    buf_reserve(b, (size_t)n + 1);
    va_start(args, format);
    vsnprintf(b->p + b->n, (size_t)n + 1, format, args);
    va_end(args);
    b->n += (size_t)n;
}

const char *buf_cstr(struct buf *b)
{
    buf_reserve(b, 1);
    b->p[b->n] = '\0';
    return b->p;
}

struct arena_block {
    struct arena_block *next;
    size_t used;
    size_t cap;
    size_t unused; /* keeps data aligned to ARENA_ALIGN */
    char data[];
};
_Static_assert(sizeof(struct arena_block) % ARENA_ALIGN == 0, "data must be aligned");

void *arena_alloc(struct arena *a, size_t n)
{
    n = (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    struct arena_block *block = a->blocks;
    if (!block || block->cap - block->used < n) {
        size_t cap = n > ARENA_BLOCK ? n : ARENA_BLOCK;
        block = mem_alloc(sizeof *block + cap);
        block->next = a->blocks;
        block->used = 0;
        block->cap = cap;
        a->blocks = block;
    }
    void *p = block->data + block->used;
    block->used += n;
    return p;
}

char *arena_strndup(struct arena *a, const char *p, size_t n)
{
    char *copy = arena_alloc(a, n + 1);
    if (n)
        memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

void arena_reset(struct arena *a)
{
    struct arena_block *block = a->blocks;
    if (!block)
        return;
    while (block->next) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    a->blocks = block;
    if (block->cap > ARENA_BLOCK) { /* a giant must not stay for ever */
        free(block);
        a->blocks = NULL;
    } else {
        block->used = 0;
    }
}

void arena_finish(struct arena *a)
{
    arena_reset(a);
    free(a->blocks);
    a->blocks = NULL;
}
