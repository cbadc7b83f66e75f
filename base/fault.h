/* Why a thing of ours could not be begun: a native code (codes/codes.def: -3 … -21) and one
 * line of words. Filled by the rooms below, printed by cli/ alone. */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include "base/buf.h"

struct fault {
    int code;        /* 0: no fault */
    char words[512]; /* one line, cleaned, no newline at the end; cut if longer */
};

/* Set code and words; a fault that is already set stays (the first one counts). Control
 * bytes in what format makes are escaped (text_clean). Returns false, so that a function
 * may end with `return fault_set(…)`. */
bool fault_set(struct fault *f, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
