#include "codes/codes.h"

#include <assert.h>
#include <string.h>

/* clang-format off */
const struct code codes_table[] = {
#define CODE(code, class, place, stage, retry, outcome, weight, basic, five_digit, status, \
             disable, name, en, ja, trigger, note)                                         \
    {code, CLASS_##class, place, stage, retry, OUTCOME_##outcome, weight, basic,           \
     five_digit, status, disable, name, en, ja, trigger, note},
#include "codes/codes.def"
#undef CODE
};
/* clang-format on */
const size_t codes_count = sizeof codes_table / sizeof codes_table[0];

static const char *const class_words[] = {
    [CLASS_NONE] = "-",
    [CLASS_LE] = "LE",
    [CLASS_BE] = "BE",
    [CLASS_EITHER] = "LE/BE",
};

static const char *const outcome_words[] = {
    [OUTCOME_DELIVERED] = "delivered", [OUTCOME_ERROR] = "error",
    [OUTCOME_ABSENT] = "absent",       [OUTCOME_RETRY] = "retry",
    [OUTCOME_EVENT] = "event",         [OUTCOME_LEASE] = "lease",
};

/* The lines of one code: neighbours in the table. *n_out is 0 if there are none. */
static const struct code *lines_of(int code, size_t *n_out)
{
    size_t i = 0;
    while (i < codes_count && codes_table[i].code != code)
        i++;
    size_t end = i;
    while (end < codes_count && codes_table[end].code == code)
        end++;
    *n_out = end - i;
    return codes_table + i;
}

static const struct code *at_stage(const struct code *lines, size_t n,
                                   const char *stage)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(lines[i].stage, stage) == 0)
            return lines + i;
    return NULL;
}

const struct code *codes_find(int code, const char *stage)
{
    size_t n;
    const struct code *lines = lines_of(code, &n);
    const struct code *c = at_stage(lines, n, stage);
    if (!c && strcmp(stage, "wait-end") == 0)
        c = at_stage(lines, n, "reply-end");
    if (!c)
        c = at_stage(lines, n, "reply");
    if (!c && n == 1)
        c = lines;
    return c;
}

const char *code_class_word(enum code_class c)
{
    assert(c <= CLASS_EITHER);
    return class_words[c];
}

const char *outcome_word(enum outcome o)
{
    assert(o > OUTCOME_NONE && o <= OUTCOME_LEASE);
    return outcome_words[o];
}

int codes_number(int code, const char *stage, enum code_vocabulary v)
{
    const struct code *c = v == CODES_NATIVE ? NULL : codes_find(code, stage);
    if (!c)
        return code;
    return v == CODES_BASIC ? c->basic : c->five_digit;
}
