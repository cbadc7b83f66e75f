#include "report/unmatched.h"

#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"

enum {
    KEY_WORDS_MAX = 20, /* what stands behind them is mostly ids */
    SHOWN_MAX = 120,    /* bytes */
};

struct unmatched {
    struct map numbers;
    struct arena words;
    struct unmatched_kind kinds[UNMATCHED_KINDS_MAX];
    int n;
};

struct unmatched *unmatched_create(void)
{
    return mem_zero(1, sizeof(struct unmatched));
}

void unmatched_destroy(struct unmatched *u)
{
    if (!u)
        return;
    map_finish(&u->numbers);
    arena_finish(&u->words);
    free(u);
}

static bool has_digit(struct span word)
{
    for (size_t i = 0; i < word.n; i++)
        if (word.p[i] >= '0' && word.p[i] <= '9')
            return true;
    return false;
}

/* Without what differs from reply to reply; an enhanced code in front stays. */
static void make_key(struct buf *out, int code, struct span words)
{
    buf_printf(out, "%d", code);
    for (int i = 0; i < KEY_WORDS_MAX && words.n; i++) {
        const char *blank = memchr(words.p, ' ', words.n);
        size_t n = blank ? (size_t)(blank - words.p) : words.n;
        struct span word = {words.p, n};
        buf_add_char(out, ' ');
        if (memchr(word.p, '@', n))
            buf_add_char(out, '@');
        else if (i > 0 && has_digit(word))
            buf_add_char(out, 'N');
        else
            buf_add_span(out, word);
        n += blank != NULL;
        words = (struct span){words.p + n, words.n - n};
    }
}

static const char *keep_words(struct unmatched *u, int code, struct span words)
{
    struct buf b = {0};
    buf_printf(&b, "%d ", code);
    size_t n = words.n < SHOWN_MAX ? words.n : SHOWN_MAX;
    while (n < words.n && n > 0 && ((unsigned char)words.p[n] & 0xc0) == 0x80)
        n--; /* not within a character */
    buf_add(&b, words.p, n);
    buf_add_str(&b, n < words.n ? "…" : "");
    const char *kept = arena_strndup(&u->words, b.p, b.n);
    buf_finish(&b);
    return kept;
}

void unmatched_note(struct unmatched *u, int code, struct span words)
{
    struct buf key = {0};
    make_key(&key, code, words);
    uint32_t number = map_get(&u->numbers, buf_span(&key));
    if (number == MAP_NONE && u->n < UNMATCHED_KINDS_MAX) {
        number = (uint32_t)u->n++;
        map_put(&u->numbers, buf_span(&key), number, NULL, NULL);
        u->kinds[number].words = keep_words(u, code, words);
    }
    if (number != MAP_NONE)
        u->kinds[number].count++;
    buf_finish(&key);
}

int unmatched_top(const struct unmatched *u, struct unmatched_kind *out, int max)
{
    int n = 0;
    for (int i = 0; i < u->n; i++) {
        int at = n < max ? n++ : n;
        for (; at > 0 && out[at - 1].count < u->kinds[i].count; at--)
            if (at < max)
                out[at] = out[at - 1];
        if (at < max)
            out[at] = u->kinds[i];
    }
    return n;
}
