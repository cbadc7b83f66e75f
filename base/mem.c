#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

void die_oom(void)
{
    static const char words[] = "hikyaku: -3 LE out of memory\n";
    ssize_t ignored = write(STDERR_FILENO, words, sizeof words - 1);
    (void)ignored;
    _exit(EX_OSERR);
}

void *mem_alloc(size_t n)
{
    void *p = malloc(n ? n : 1);
    if (!p)
        die_oom();
    return p;
}

void *mem_zero(size_t count, size_t each)
{
    void *p = calloc(count ? count : 1, each ? each : 1);
    if (!p)
        die_oom();
    return p;
}

void *mem_resize(void *p, size_t count, size_t each)
{
    size_t n;
    if (__builtin_mul_overflow(count, each, &n))
        die_oom();
    p = realloc(p, n ? n : 1);
    if (!p)
        die_oom();
    return p;
}

char *mem_strdup(const char *s)
{
    return mem_strndup(s, strlen(s));
}

char *mem_strndup(const char *s, size_t n)
{
    char *p = mem_alloc(n + 1);
    if (n)
        memcpy(p, s, n);
    p[n] = '\0';
    return p;
}
