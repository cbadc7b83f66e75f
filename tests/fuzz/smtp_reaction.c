/* Rules and a reply, all from the input: a list either compiles or says what is wrong;
 * whatever it finds matches by title, place and step; and a pause in words is within
 * its bounds. */
#undef NDEBUG /* here assertions are the point */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "smtp/advice.h"
#include "smtp/reaction.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RULES = 4 };

/* Up to the next newline. */
static char *take(struct span *rest)
{
    const char *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    size_t n = end ? (size_t)(end - rest->p) : rest->n;
    char *line = mem_strndup(n ? rest->p : "", n);
    n += end != NULL;
    *rest = (struct span){rest->p + n, rest->n - n};
    return line;
}

static void run(struct reaction_rule *rules, int n, const char *reply)
{
    struct fault f = {0};
    const char *key = NULL;
    int bad = -1;
    struct reactions *r = reactions_create(rules, n, &bad, &key, &f);
    if (!r) {
        assert(f.code == -7 && bad >= 0 && bad < n && key);
        return;
    }
    static const char *const steps[] = {"wait-rcpt", "reply-end", "wait-from"};
    struct span text = span_of(reply);
    text.n = text.n < REPLY_TEXT_MAX ? text.n : REPLY_TEXT_MAX;
    for (int code = 400; code < 600; code += 29) {
        struct reaction_reply what = {code, steps[code % 3], text, SPAN("mx.example"),
                                      SPAN("example.org")};
        const struct reaction_rule *found = reactions_find(r, &what);
        if (!found)
            continue;
        assert(found >= rules && found < rules + n);
        assert(reaction_concerns(found, what.host, what.domain));
        struct smtp_result result = {.how = SMTP_HOW_REPLY, .stage = SMTP_RCPT};
        result.reply.code = code;
        struct verdict v = verdict_of_result(&result, true, NULL);
        reaction_apply(found, code & 1, &v);
        assert(v.outcome == OUTCOME_RETRY || v.outcome == OUTCOME_ERROR ||
               v.outcome == OUTCOME_ABSENT);
        assert(v.code == code || v.code == 850);
    }
    reactions_destroy(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = {(const char *)data, size};
    struct reaction_rule rules[RULES] = {{0}};
    char *lines[RULES][4];
    for (int i = 0; i < RULES; i++) {
        for (int j = 0; j < 4; j++)
            lines[i][j] = take(&rest);
        rules[i] =
            (struct reaction_rule){.title = lines[i][0],
                                   .text = lines[i][1],
                                   .stage = lines[i][2],
                                   .hosts = (const char *const *)&lines[i][3],
                                   .hosts_n = lines[i][3][0] != '\0',
                                   .action = (enum reaction_action)(size % 6),
                                   .treat_as = size % 5 ? 400 + (int)(size % 200) : 850,
                                   .name = "x"};
    }
    char *reply = take(&rest);
    int64_t ms = advice_wait_ms(span_of(reply));
    assert(ms == 0 || (ms >= ADVICE_LEAST_MS && ms <= ADVICE_MOST_MS));
    for (int n = 1; n <= RULES; n++)
        run(rules, n, reply);
    for (int i = 0; i < RULES; i++)
        for (int j = 0; j < 4; j++)
            free(lines[i][j]);
    free(reply);
    return 0;
}
