/* Any bytes, cut anywhere, give the same replies, and every text is clean. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "smtp/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { REPLIES = 64 };

static void check(const struct reply *r)
{
    assert(r->text_n <= REPLY_TEXT_MAX && r->text[r->text_n] == '\0');
    assert(strlen(r->text) == r->text_n && utf8_valid(span_of(r->text)));
    for (size_t i = 0; i < r->text_n; i++)
        assert((unsigned char)r->text[i] >= ' ' && r->text[i] != 0x7f);
    assert(r->enhanced[0] == 0 || r->enhanced[0] == r->code / 100);
    assert(r->enhanced[1] < 1000 && r->enhanced[2] < 1000);
}

/* All replies in pieces of at most `step` bytes; returns how the last call ended. */
static enum reply_result read_all(const char *data, size_t n, size_t step,
                                  struct reply *replies, int *replies_n)
{
    struct reply_parser p;
    reply_parser_init(&p);
    enum reply_result result = REPLY_MORE;
    *replies_n = 0;
    for (size_t at = 0; at < n && *replies_n < REPLIES;) {
        size_t piece_n = n - at < step ? n - at : step, used;
        char *piece = mem_alloc(piece_n);
        memcpy(piece, data + at, piece_n);
        result = reply_feed(&p, piece, piece_n, &used);
        free(piece);
        assert(used > 0 && used <= piece_n);
        assert(result != REPLY_MORE || used == piece_n);
        at += used;
        if (result == REPLY_MORE)
            continue;
        check(&p.reply);
        assert(result != REPLY_DONE || (p.reply.code >= 200 && p.reply.code < 600));
        reply_copy(&replies[(*replies_n)++], &p.reply);
        struct reply why;
        reply_explain(&why, "\x1b words of ours", &p.reply);
        check(&why);
        if (result == REPLY_GARBAGE)
            break;
    }
    if (result == REPLY_MORE && reply_is_hopeless(&p)) {
        check(&p.reply);
        size_t used; /* the end of its line would have shown it as well */
        assert(reply_feed(&p, "\n", 1, &used) == REPLY_GARBAGE);
    }
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct reply whole[REPLIES], cut[REPLIES];
    int whole_n, cut_n;
    enum reply_result result =
        read_all((const char *)data, n, SIZE_MAX, whole, &whole_n);
    for (size_t step = 1; step < 6; step += 2) {
        assert(read_all((const char *)data, n, step, cut, &cut_n) == result);
        assert(cut_n == whole_n);
        for (int i = 0; i < cut_n; i++) {
            assert(cut[i].code == whole[i].code);
            assert(strcmp(cut[i].text, whole[i].text) == 0);
            assert(memcmp(cut[i].enhanced, whole[i].enhanced, 6) == 0);
        }
    }
    return 0;
}
