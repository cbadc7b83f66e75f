#include "base/fault.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"

bool fault_set(struct fault *f, int code, const char *format, ...)
{
    if (f->code)
        return false;
    f->code = code;
    char raw[sizeof f->words];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    struct buf clean = {0};
    text_clean(&clean, span_of(raw), sizeof f->words - 1);
    memcpy(f->words, clean.p, clean.n);
    f->words[clean.n] = '\0';
    buf_finish(&clean);
    return false;
}
