/* The receiver's server, without sockets: what goes in as bytes, whole, byte by byte
 * and cut anywhere, and what must come out, under a false clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "sink/server.h"

static const struct mood *mood(const char *name)
{
    const struct mood *m = sink_mood_find(span_of(name));
    assert_non_null(m);
    return m;
}

/* Take all that may leave at now_us. */
static void drain(struct sink_server *s, int64_t now_us, struct buf *out)
{
    struct span o = sink_server_output(s, now_us);
    buf_add_span(out, o);
    sink_server_sent(s, o.n);
}

/* Everything the server says to this input, cut into pieces by rng (NULL: one piece;
 * all pieces 1 byte when cut_max is 1). */
static void play(struct sink_world *w, const struct mood *m, struct span in,
                 struct rng *rng, uint32_t cut_max, struct buf *out)
{
    struct sink_server *s = sink_server_create(w, m, 1, 0);
    buf_reset(out);
    drain(s, 0, out);
    for (size_t at = 0; at < in.n;) {
        size_t n = rng ? 1 + rng_below(rng, cut_max) : in.n;
        n = n < in.n - at ? n : in.n - at;
        sink_server_receive(s, in.p + at, n, 0);
        drain(s, 0, out);
        at += n;
    }
    sink_server_destroy(s);
}

static void expect(const char *mood_name, const char *in, const char *out)
{
    struct sink_world *w = sink_world_create(-1, NULL);
    struct buf got = {0};
    play(w, mood(mood_name), span_of(in), NULL, 0, &got);
    assert_string_equal(buf_cstr(&got), out);
    assert_int_equal(sink_world_counts(w)->open, 0);
    buf_finish(&got);
    sink_world_destroy(w);
}

#define EHLO_OUT                                                                       \
    "250-accept.invalid greets you\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-SIZE "     \
    "52428800\r\n"                                                                     \
    "250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
#define MAIL_OUT     "250 2.1.0 sender ok\r\n"
#define RCPT_OUT     "250 2.1.5 recipient ok\r\n"
#define DATA_OUT     "354 end data with <CR><LF>.<CR><LF>\r\n"
#define ENVELOPE     "MAIL FROM:<a@me.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n"
#define ENVELOPE_OUT MAIL_OUT RCPT_OUT DATA_OUT
#define DIALOGUE                                                                       \
    "EHLO me.example\r\nMAIL FROM:<a@me.example> SIZE=1234 BODY=8BITMIME\r\n"          \
    "RCPT TO:<b@x.example>\r\nDATA\r\nSubject: x\r\nMessage-ID: <1@me>\r\n\r\n"        \
    "one\r\n..\r\n..two\r\n.\r\n"                                                      \
    "MAIL FROM:<>\r\nRCPT TO:<\"a b>\\\" \"@x>\r\nRCPT "                               \
    "TO:<c@x>\r\nDATA\r\n.\r\nQUIT\r\n"
#define DIALOGUE_OUT                                                                   \
    "220 accept.invalid ESMTP\r\n" EHLO_OUT ENVELOPE_OUT                               \
    "250 2.0.0 accepted as 1\r\n" MAIL_OUT RCPT_OUT RCPT_OUT DATA_OUT                  \
    "250 2.0.0 accepted as 2\r\n221 2.0.0 bye\r\n"

static void test_a_dialogue_is_the_same_however_it_is_cut(void **state)
{
    (void)state;
    struct span in = SPAN(DIALOGUE);
    struct buf out = {0};
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sink_world *w = sink_world_create(-1, NULL);
        struct rng rng = {seed};
        play(w, mood("accept"), in, seed ? &rng : NULL, seed == 1 ? 1 : 40, &out);
        assert_string_equal(buf_cstr(&out), DIALOGUE_OUT);
        struct sink_counts *c = sink_world_counts(w);
        assert_int_equal(c->messages, 2);
        assert_int_equal(c->recipients, 3);
        assert_int_equal(c->bytes, 12 + 20 + 2 + 5 + 3 + 6 + 0);
        assert_int_equal(c->bare, 0);
        sink_world_destroy(w);
    }
    buf_finish(&out);
}

#define MAIL_RCPT       "MAIL FROM:<a@me.example>\r\nRCPT TO:<b@x.example>\r\n"
#define MAIL_RCPT_OUT   MAIL_OUT RCPT_OUT
#define HELLO           "HELO me\r\n"
#define HELLO_OUT(mood) "220 " mood ".invalid ESMTP\r\n250 " mood ".invalid\r\n"

/* RFC 3030: dots and lone line ends are octets like others. */
static void test_chunks(void **state)
{
    (void)state;
    struct span in = SPAN(HELLO MAIL_RCPT
                          "BDAT 9\r\none\r\n..\r\nbdat 7 last\r\n.\r\n.\r\nx" MAIL_RCPT
                          "BDAT 3\r\n\n\r.BDAT 0 LAST\r\nQUIT\r\n");
    struct buf out = {0};
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sink_world *w = sink_world_create(-1, NULL);
        struct rng rng = {seed};
        play(w, mood("accept"), in, seed ? &rng : NULL, seed == 1 ? 1 : 40, &out);
        assert_string_equal(
            buf_cstr(&out), HELLO_OUT("accept") MAIL_RCPT_OUT
            "250 2.0.0 chunk taken\r\n250 2.0.0 accepted as 1\r\n" MAIL_RCPT_OUT
            "250 2.0.0 chunk taken\r\n250 2.0.0 accepted as 2\r\n"
            "221 2.0.0 bye\r\n");
        struct sink_counts *c = sink_world_counts(w);
        assert_int_equal(c->messages, 2);
        assert_int_equal(c->chunked, 2);
        assert_int_equal(c->bytes, 16 + 3);
        assert_int_equal(c->bare, 1);
        assert_int_equal(c->bad_commands, 0);
        sink_world_destroy(w);
    }
    buf_finish(&out);
}

/* A chunk that is refused is read all the same. */
static void test_chunks_out_of_place(void **state)
{
    (void)state;
    expect("accept",
           HELLO "BDAT 6 LAST\r\nQUIT\r\nMAIL FROM:<>\r\nBDAT 6 LAST\r\nQUIT\r\n",
           HELLO_OUT("accept") "503 5.5.1 MAIL first\r\n" MAIL_OUT
                               "554 5.5.1 no valid recipients\r\n");
    expect("accept", HELLO MAIL_RCPT "BDAT 1\r\nxDATA\r\nBDAT 1 LAST\r\nx",
           HELLO_OUT("accept") MAIL_RCPT_OUT
           "250 2.0.0 chunk taken\r\n"
           "503 5.5.1 BDAT goes on with BDAT\r\n250 2.0.0 accepted as 1\r\n");
    static const char *const wrong[] = {
        "BDAT\r\n",       "BDAT x\r\n",  "BDAT 1 LASTS\r\n",
        "BDAT 1LAST\r\n", "BDAT -1\r\n", "BDAT 1234567890123 LAST\r\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        expect("accept", wrong[i],
               "220 accept.invalid ESMTP\r\n501 5.5.4 syntax: BDAT size [LAST]\r\n");
    expect("dots", HELLO MAIL_RCPT "BDAT 1 LAST\r\n",
           HELLO_OUT("dots") MAIL_RCPT_OUT "502 5.5.1 command not implemented\r\n");
    expect("nobdat", HELLO MAIL_RCPT "BDAT 6 LAST\r\nRSET\r\n",
           HELLO_OUT("nobdat") MAIL_RCPT_OUT "502 5.5.1 command not implemented\r\n"
                                             "250 2.0.0 ok\r\n");
}

/* Where its chunk was refused a transaction ends at once; or, strictly, with RSET. */
static void test_a_refused_chunk(void **state)
{
    (void)state;
    struct mood refusing = {.name = "x",
                            .chunking = CHUNKING_WORKS,
                            .filter_percent = 100,
                            .filter_reply = "550 5.7.1 no"};
    struct span in = SPAN(HELLO MAIL_RCPT "BDAT 1 LAST\r\nx" MAIL_RCPT
                                          "BDAT 1 LAST\r\nxRSET\r\n" MAIL_RCPT);
    struct sink_world *w = sink_world_create(-1, NULL);
    struct buf out = {0};
    play(w, &refusing, in, NULL, 0, &out);
    assert_string_equal(buf_cstr(&out), HELLO_OUT("x") MAIL_RCPT_OUT
                        "550 5.7.1 no\r\n" MAIL_RCPT_OUT
                        "550 5.7.1 no\r\n250 2.0.0 ok\r\n" MAIL_RCPT_OUT);
    refusing.chunking = CHUNKING_STRICT;
    play(w, &refusing, in, NULL, 0, &out);
    assert_string_equal(buf_cstr(&out), HELLO_OUT("x") MAIL_RCPT_OUT
                        "550 5.7.1 no\r\n"
                        "503 5.5.1 RSET first\r\n503 5.5.1 RSET first\r\n"
                        "503 5.5.1 RSET first\r\n250 2.0.0 ok\r\n" MAIL_RCPT_OUT);
    assert_int_equal(sink_world_counts(w)->messages, 0);
    buf_finish(&out);
    sink_world_destroy(w);
}

static void test_only_crlf_dot_crlf_ends_data(void **state)
{
    (void)state;
    static const char *const not_ends[] = {
        "a\n.\n",      "a\n.\r\n", "a\r\n.\n",   "a\r.\r",      "a\r.\r\n",
        "a\r\n.\r",    "a.\r\n",   "a\r\n.\r\r", "a\r\n.x\r\n", "a\r\n .\r\n",
        "a\r\n..\r\n", ".\n",      "\n.\r\n",    "\r.\r\n",     "a\r\n\r.\r\n",
    };
    for (size_t i = 0; i < sizeof not_ends / sizeof not_ends[0]; i++) {
        struct sink_world *w = sink_world_create(-1, NULL);
        struct buf in = {0};
        struct buf out = {0};
        buf_add_str(&in, "HELO me\r\n" ENVELOPE);
        buf_add_str(&in, not_ends[i]);
        play(w, mood("accept"), buf_span(&in), NULL, 0, &out);
        assert_int_equal(sink_world_counts(w)->messages, 0);
        /* And then the true end still works. */
        buf_add_str(&in, "\r\n.\r\n");
        struct rng rng = {i};
        play(w, mood("accept"), buf_span(&in), &rng, 2, &out);
        assert_int_equal(sink_world_counts(w)->messages, 1);
        bool clean = !strcmp(not_ends[i], "a.\r\n") || strstr(not_ends[i], "x\r\n") ||
                     strstr(not_ends[i], " .") || strstr(not_ends[i], "..");
        assert_int_equal(sink_world_counts(w)->bare, clean ? 0 : 1);
        buf_finish(&in);
        buf_finish(&out);
        sink_world_destroy(w);
    }
}

static void test_bare_line_ends_are_counted_once_a_message(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        int bare;
    } cases[] = {
        {"x\r\n", 0},    {"", 0},          {"x\ny\nz\r\n", 1},  {"x\ry\rz\r\n", 1},
        {"x\r\r\n", 1},  {"\nx\r\n", 1},   {"\rx\r\n", 1},      {".\nx\r\n", 1},
        {".\rx\r\n", 1}, {".\r\r\n", 1},   {"\r\n\r\n", 0},     {"x\r\n\n\r\n", 1},
        {"..\r\n", 0},   {".x\r.\r\n", 1}, {"xx\r\nyy\r\n", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (uint32_t cut = 0; cut < 4; cut++) {
            struct sink_world *w = sink_world_create(-1, NULL);
            struct rng rng = {cut};
            struct buf in = {0};
            struct buf out = {0};
            buf_add_str(&in, "HELO me\r\n" ENVELOPE);
            buf_add_str(&in, cases[i].body);
            buf_add_str(&in, ".\r\n");
            play(w, mood("accept"), buf_span(&in), cut ? &rng : NULL, cut, &out);
            assert_int_equal(sink_world_counts(w)->messages, 1);
            assert_int_equal(sink_world_counts(w)->bare, cases[i].bare);
            buf_finish(&in);
            buf_finish(&out);
            sink_world_destroy(w);
        }
    }
}

static void test_wrong_commands(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"XYZZY\r\n", "500 5.5.2 command not recognized\r\n"},
        {"MAILFROM:<a@b>\r\n", "500 5.5.2 command not recognized\r\n"},
        {"\r\n", "500 5.5.2 command not recognized\r\n"},
        {"NOOP\nQUIT\r\n", "500 5.5.2 command not recognized\r\n"},
        {"VRFY a\r\n", "502 5.5.1 command not implemented\r\n"},
        {"EHLO\r\n", "501 5.5.4 syntax: EHLO name\r\n"},
        {"HELO  \r\n", "501 5.5.4 syntax: HELO name\r\n"},
        {"MAIL FROM:<a@b>\r\n", "503 5.5.1 EHLO or HELO first\r\n"},
        {"RCPT TO:<a@b>\r\n", "503 5.5.1 MAIL first\r\n"},
        {"DATA\r\n", "503 5.5.1 MAIL first\r\n"},
        {"DATA x\r\n", "501 5.5.4 DATA takes no words\r\n"},
        {"MAIL TO:<a@b>\r\n", "501 5.5.4 syntax: MAIL FROM:<address>\r\n"},
        {"MAIL FROM:a@b\r\n", "501 5.1.7 sender address is none\r\n"},
        {"MAIL FROM:<a>\r\n", "501 5.1.7 sender address is none\r\n"},
        {"MAIL FROM:<a b@c>\r\n", "501 5.1.7 sender address is none\r\n"},
        {"MAIL FROM:<a\xc3\xa9@c>\r\n", "501 5.1.7 sender address is none\r\n"},
        {"MAIL FROM:<a@b\r\n", "501 5.1.7 sender address is none\r\n"},
        {"RCPT TO:<>\r\n", "501 5.1.3 recipient address is none\r\n"},
        {"RCPT TO:<\"a\\\r\n", "501 5.1.3 recipient address is none\r\n"},
        {"RCPT TO:<a@b> X=1\r\n", "555 5.5.4 parameter not known\r\n"},
        {"rcpt to:<@b>\r\n", "501 5.1.3 recipient address is none\r\n"},
        {"RSET\r\n", "250 2.0.0 ok\r\n"},
        {"NOOP whatever\r\n", "250 2.0.0 ok\r\n"},
        {"HELO me\r\nMAIL FROM:<> BODY=7BIT\r\n",
         "250 accept.invalid\r\n555 5.5.4 no parameters after HELO\r\n"},
        {"HELO me\r\nmail from: <>\r\nMAIL FROM:<>\r\nDATA\r\nRSET\r\nDATA\r\n",
         "250 accept.invalid\r\n" MAIL_OUT "503 5.5.1 MAIL already given\r\n"
         "554 5.5.1 no valid recipients\r\n250 2.0.0 ok\r\n503 5.5.1 MAIL first\r\n"},
        {"EHLO me\r\nMAIL FROM:<> SIZE=52428801\r\nMAIL FROM:<> SIZE=1x\r\n"
         "MAIL FROM:<> SIZE=\r\nMAIL FROM:<> SIZE=99999999999999999999\r\n"
         "MAIL FROM:<> AUTH=<>\r\nMAIL FROM:<>SIZE=1\r\nMAIL FROM:<> SIZE=52428800 "
         "\r\n",
         EHLO_OUT "552 5.3.4 message too big\r\n501 5.5.4 SIZE is a number\r\n"
                  "555 5.5.4 parameter not known\r\n552 5.3.4 message too big\r\n"
                  "555 5.5.4 parameter not known\r\n"
                  "501 5.5.4 syntax: MAIL FROM:<address> [parameters]\r\n" MAIL_OUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf out = {0};
        buf_add_str(&out, "220 accept.invalid ESMTP\r\n");
        buf_add_str(&out, cases[i][1]);
        expect("accept", cases[i][0], buf_cstr(&out));
        buf_finish(&out);
    }
}

static void test_limits(void **state)
{
    (void)state;
    struct sink_world *w = sink_world_create(-1, NULL);
    struct buf in = {0};
    struct buf out = {0};
    struct rng rng = {7};
    /* 2048 bytes with CRLF pass, one more does not, and the next command is read again.
     */
    for (size_t n = SINK_COMMAND_MAX; n <= SINK_COMMAND_MAX + 1; n++) {
        buf_reset(&in);
        buf_add_str(&in, "NOOP ");
        while (in.n < n - 2)
            buf_add_char(&in, 'x');
        buf_add_str(&in, "\r\nRSET\r\n");
        for (int cut = 0; cut < 2; cut++) {
            play(w, mood("accept"), buf_span(&in), cut ? &rng : NULL, 900, &out);
            assert_string_equal(buf_cstr(&out),
                                n == SINK_COMMAND_MAX
                                    ? "220 accept.invalid ESMTP\r\n250 2.0.0 ok\r\n"
                                      "250 2.0.0 ok\r\n"
                                    : "220 accept.invalid ESMTP\r\n500 5.5.2 line too "
                                      "long\r\n250 2.0.0 ok\r\n");
        }
    }
    buf_reset(&in);
    buf_add_str(&in, "HELO me\r\nMAIL FROM:<>\r\n");
    for (int i = 0; i < SINK_RECIPIENTS_MAX + 1; i++)
        buf_add_str(&in, "RCPT TO:<a@b>\r\n");
    play(w, mood("accept"), buf_span(&in), NULL, 0, &out);
    assert_non_null(strstr(buf_cstr(&out), "ok\r\n452 4.5.3 too many recipients\r\n"));
    /* A babbler is sent away. */
    buf_reset(&in);
    for (int i = 0; i < 2 * SINK_BAD_COMMANDS_MAX; i++)
        buf_add_str(&in, "x\r\n");
    play(w, mood("accept"), buf_span(&in), NULL, 0, &out);
    assert_true(span_equal((struct span){out.p + out.n - 27, 27},
                           SPAN("421 4.7.0 too many errors\r\n")));
    assert_int_equal(sink_world_counts(w)->bad_commands, 2 + SINK_BAD_COMMANDS_MAX + 1);
    buf_finish(&in);
    buf_finish(&out);
    sink_world_destroy(w);
}

static void test_a_huge_message_is_read_and_refused(void **state)
{
    (void)state;
    enum { PIECE = 1 << 20 };
    struct sink_world *w = sink_world_create(-1, NULL);
    struct sink_server *s = sink_server_create(w, mood("accept"), 1, 0);
    struct buf out = {0};
    char *piece = malloc(PIECE);
    assert_non_null(piece);
    memset(piece, 'x', PIECE);
    sink_server_receive(s, "HELO me\r\n" ENVELOPE, strlen("HELO me\r\n" ENVELOPE), 0);
    drain(s, 0, &out);
    for (int i = 0; i <= SINK_SIZE_MAX / PIECE; i++)
        sink_server_receive(s, piece, PIECE, 0);
    buf_reset(&out);
    sink_server_receive(s, "\r\n.\r\n", 5, 0);
    drain(s, 0, &out);
    assert_string_equal(buf_cstr(&out), "552 5.3.4 message too big\r\n");
    assert_int_equal(sink_world_counts(w)->messages, 0);
    free(piece);
    buf_finish(&out);
    sink_server_destroy(s);
    sink_world_destroy(w);
}

static void test_delays_are_latency_and_overlap(void **state)
{
    (void)state;
    enum { DELAY = 50000 };
    struct sink_world *w = sink_world_create(-1, NULL);
    struct sink_server *s = sink_server_create(w, mood("distant"), 1, 1000);
    struct buf out = {0};
    drain(s, 1000 + DELAY - 1, &out);
    assert_int_equal(out.n, 0);
    assert_int_equal(sink_server_deadline(s), 1000 + DELAY);
    drain(s, 1000 + DELAY, &out);
    assert_string_equal(buf_cstr(&out), "220 distant.invalid ESMTP\r\n");
    assert_int_equal(sink_server_deadline(s), INT64_MAX);
    /* Three commands 10 ms apart: three replies 10 ms apart, not 50 ms each. */
    buf_reset(&out);
    sink_server_receive(s, "NOOP\r\n", 6, 100000);
    sink_server_receive(s, "XXXX\r\n", 6, 110000);
    sink_server_receive(s, "QUIT\r\n", 6, 120000);
    drain(s, 149999, &out);
    assert_int_equal(out.n, 0);
    drain(s, 150000, &out);
    assert_string_equal(buf_cstr(&out), "250 2.0.0 ok\r\n");
    assert_int_equal(sink_server_deadline(s), 160000);
    drain(s, 165000, &out);
    assert_string_equal(buf_cstr(&out),
                        "250 2.0.0 ok\r\n500 5.5.2 command not recognized\r\n");
    assert_false(sink_server_over(s));
    drain(s, 170000, &out);
    assert_true(sink_server_over(s));
    sink_server_destroy(s);
    buf_finish(&out);
    sink_world_destroy(w);
}

/* How many of 10,000 messages, one a transaction, get which reply to RCPT or the dot?
 */
struct tally {
    int accepted, refused, deferred;
};

static struct tally send_many(struct sink_world *w, const struct mood *m,
                              int64_t now_us)
{
    struct tally t = {0};
    struct sink_server *s = sink_server_create(w, m, 1, now_us);
    struct buf in = {0};
    struct buf out = {0};
    sink_server_receive(s, "EHLO me\r\n", 9, now_us);
    for (int i = 0; i < 10000; i++) {
        buf_reset(&in);
        buf_reset(&out);
        buf_printf(&in, "MAIL FROM:<a@b>\r\nRCPT TO:<user%d@x.example>\r\nDATA\r\n", i);
        drain(s, now_us, &out);
        buf_reset(&out);
        sink_server_receive(s, in.p, in.n, now_us);
        drain(s, now_us, &out);
        const char *answer = buf_cstr(&out) + strlen(MAIL_OUT);
        if (strstr(answer, "\r\n354 ")) {
            sink_server_receive(s, "x\r\n.\r\n", 6, now_us);
            buf_reset(&out);
            drain(s, now_us, &out);
            answer = buf_cstr(&out);
        } else {
            sink_server_receive(s, "RSET\r\n", 6, now_us);
        }
        t.accepted += answer[0] == '2';
        t.refused += answer[0] == '5';
        t.deferred += answer[0] == '4';
    }
    assert_int_equal(t.accepted + t.refused + t.deferred, 10000);
    buf_finish(&in);
    buf_finish(&out);
    sink_server_destroy(s);
    return t;
}

static void test_shares_are_right_and_repeat(void **state)
{
    (void)state;
    static const struct {
        const char *mood;
        int refused, deferred; /* of 10,000, give or take a fifth */
        int refused_again, deferred_again;
    } cases[] = {
        {"accept", 0, 0, 0, 0},      {"picky", 300, 0, 300, 0},
        {"full", 200, 0, 200, 0},    {"filter", 200, 0, 200, 0},
        {"tempfail", 0, 1000, 0, 0}, {"greylist", 0, 10000, 0, 10000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sink_world *w = sink_world_create(-1, NULL);
        struct tally a = send_many(w, mood(cases[i].mood), 0);
        struct tally b = send_many(w, mood(cases[i].mood), 1000);
        assert_in_range(a.refused, cases[i].refused * 4 / 5, cases[i].refused * 6 / 5);
        assert_in_range(a.deferred, cases[i].deferred * 4 / 5,
                        cases[i].deferred * 6 / 5);
        assert_int_equal(b.refused, a.refused);
        assert_int_equal(b.deferred, cases[i].deferred_again);
        struct sink_counts *c = sink_world_counts(w);
        assert_int_equal(c->messages, a.accepted + b.accepted);
        assert_int_equal(c->refused, a.refused + b.refused);
        assert_int_equal(c->deferred, a.deferred + b.deferred);
        sink_world_destroy(w);
    }
}

static void test_greylist_ends(void **state)
{
    (void)state;
    struct sink_world *w = sink_world_create(-1, NULL);
    int64_t s = (int64_t)1000000;
    assert_int_equal(send_many(w, mood("greylist"), 5 * s).deferred, 10000);
    assert_int_equal(send_many(w, mood("greylist"), 7 * s - 1000).deferred, 10000);
    assert_int_equal(send_many(w, mood("greylist"), 7 * s).deferred, 0);
    sink_world_destroy(w);
}

static void repeat(struct buf *in, int messages)
{
    buf_reset(in);
    buf_add_str(in, "EHLO me\r\n");
    for (int i = 0; i < messages; i++)
        buf_add_str(in, ENVELOPE ".\r\n");
}

static void test_connections_that_end(void **state)
{
    (void)state;
    struct buf in = {0};
    struct buf out = {0};
    struct sink_world *w = sink_world_create(-1, NULL);
    struct sink_counts *c = sink_world_counts(w);
    repeat(&in, 25);
    play(w, mood("closer"), buf_span(&in), NULL, 0, &out);
    assert_int_equal(c->messages, 20);
    const char *last = "250 2.0.0 accepted as 20\r\n";
    assert_string_equal(buf_cstr(&out) + out.n - strlen(last), last);

    c->messages = 0;
    play(w, mood("limited"), buf_span(&in), NULL, 0, &out);
    assert_int_equal(c->messages, 10);
    last = "250 2.0.0 accepted as 10\r\n"
           "421 4.7.0 too many messages for this session, reconnect\r\n";
    assert_string_equal(buf_cstr(&out) + out.n - strlen(last), last);

    struct sink_server *s = sink_server_create(w, mood("narrow"), 3, 0);
    buf_reset(&out);
    drain(s, 0, &out);
    assert_string_equal(buf_cstr(&out), "220 narrow.invalid ESMTP\r\n");
    assert_false(sink_server_over(s));
    struct sink_server *fourth = sink_server_create(w, mood("narrow"), 4, 0);
    assert_false(sink_server_over(fourth));
    buf_reset(&out);
    drain(fourth, 0, &out);
    assert_string_equal(buf_cstr(&out),
                        "421 4.7.0 too many connections, try again later\r\n");
    assert_true(sink_server_over(fourth));
    assert_int_equal(c->refused_connections, 1);
    sink_server_destroy(s);
    sink_server_destroy(fourth);

    expect("refuse", "EHLO me\r\nMAIL FROM:<>\r\n", "554 5.7.1 no mail from you\r\n");
    expect("old", "EHLO me\r\nHELO me\r\nMAIL FROM:<>\r\n",
           "220 old.invalid ESMTP\r\n502 5.5.1 command not implemented\r\n"
           "250 old.invalid\r\n" MAIL_OUT);
    expect("plain", "EHLO me\r\n",
           "220 plain.invalid ESMTP\r\n250-plain.invalid greets you\r\n250-CHUNKING\r\n"
           "250-SIZE 52428800\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n");
    buf_finish(&in);
    buf_finish(&out);
    sink_world_destroy(w);
}

/* Speak line by line and take each reply first (polite), or not. */
static uint64_t early_after(const char *mood_name, bool greeting_read,
                            const char *lines, bool polite)
{
    struct sink_world *w = sink_world_create(-1, NULL);
    struct sink_server *s = sink_server_create(w, mood(mood_name), 1, 0);
    struct buf out = {0};
    if (greeting_read)
        drain(s, 0, &out);
    for (const char *p = lines; *p;) {
        const char *next = strchr(p, '\n') + 1;
        sink_server_receive(s, p, (size_t)(next - p), 0);
        if (polite)
            drain(s, 0, &out);
        p = next;
    }
    uint64_t early = sink_world_counts(w)->early;
    buf_finish(&out);
    sink_server_destroy(s);
    sink_world_destroy(w);
    return early;
}

static void test_early_talk_is_counted(void **state)
{
    (void)state;
    const char *talk = "EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n";
    assert_int_equal(early_after("plain", true, talk, true), 0);
    assert_int_equal(early_after("plain", true, talk, false), 3);
    assert_int_equal(early_after("accept", true, talk, true), 0);
    /* The offer was not read yet. */
    assert_int_equal(early_after("accept", true, talk, false), 3);
    assert_int_equal(early_after("accept", false, "EHLO me\r\n", false), 1);

    struct sink_world *w = sink_world_create(-1, NULL);
    struct sink_server *s = sink_server_create(w, mood("accept"), 1, 0);
    struct buf out = {0};
    drain(s, 0, &out);
    sink_server_receive(s, "EHLO me\r\n", 9, 0);
    drain(s, 0, &out);
    struct span group = SPAN(ENVELOPE);
    sink_server_receive(s, group.p, group.n, 0);
    assert_int_equal(sink_world_counts(w)->early, 0);
    sink_server_destroy(s);
    sink_world_destroy(w);
    buf_finish(&out);
}

static void read_file(int fd, struct buf *out)
{
    buf_reset(out);
    buf_reserve(out, 4096);
    ssize_t n = pread(fd, out->p, 4096, 0);
    assert_true(n >= 0);
    out->n = (size_t)n;
}

static void test_the_record_is_written_before_the_reply(void **state)
{
    (void)state;
    char path[] = "/tmp/hikyaku-record-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    struct sink_world *w = sink_world_create(fd, NULL);
    sink_world_set_wall(w, (int64_t)1795336756123 * 1000);
    struct sink_server *s = sink_server_create(w, mood("accept"), 1, 0);
    sink_server_set_peer(s, SPAN("192.0.2.1"));
    struct buf out = {0};
    struct buf file = {0};
    struct span in =
        SPAN("EHLO before\r\nHELO  \"me\\\" \r\nMAIL FROM:<s@me>\r\nRCPT TO:<a@x>\r\n"
             "RCPT TO:<\"\\b\"@x>\r\nDATA\r\nX-Message-ID: <no@me>\r\n"
             "message-id:\r\n <yes@me>\r\n\r\nMessage-ID: <body@me>\r\n.\r\n");
    for (size_t i = 0; i < in.n; i++) {
        read_file(fd, &file);
        assert_int_equal(file.n, 0);
        sink_server_receive(s, in.p + i, 1, 2000);
    }
    read_file(fd, &file);
    assert_int_equal(file.n, 0);
    drain(s, 2000, &out);
    assert_non_null(strstr(buf_cstr(&out), "accepted as 1"));
    read_file(fd, &file);
    assert_string_equal(
        buf_cstr(&file),
        "1795336756125\ta@x\ts@me\t<yes@me>\t72\t192.0.2.1\t\"me\\\\\"\n"
        "1795336756125\t\"\\\\b\"@x\ts@me\t<yes@me>\t72\t192.0.2.1\t\"me\\\\\"\n");
    /* No Message-ID at all. */
    struct span more = SPAN("MAIL FROM:<>\r\nRCPT TO:<c@x>\r\nDATA\r\n\r\nx\r\n.\r\n");
    sink_server_receive(s, more.p, more.n, 3000);
    assert_true(sink_world_flush(w));
    read_file(fd, &file);
    assert_non_null(
        strstr(buf_cstr(&file), "\n1795336756126\tc@x\t\t\t5\t192.0.2.1\t"));
    sink_server_destroy(s);
    sink_world_destroy(w);
    buf_finish(&out);
    buf_finish(&file);
    close(fd);
}

static void test_no_reply_leaves_without_its_record(void **state)
{
    (void)state;
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    struct sink_world *w = sink_world_create(fileno(full), NULL);
    struct sink_server *s = sink_server_create(w, mood("accept"), 1, 0);
    struct buf out = {0};
    struct span in = SPAN("HELO me\r\n" ENVELOPE ".\r\n");
    sink_server_receive(s, in.p, in.n, 0);
    drain(s, 0, &out);
    assert_int_equal(out.n, 0);
    assert_false(sink_world_flush(w));
    sink_server_destroy(s);
    sink_world_destroy(w);
    fclose(full);
}

static void test_messages_are_kept_as_they_were(void **state)
{
    (void)state;
    char dir[] = "/tmp/hikyaku-keep-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct span in = SPAN(DIALOGUE);
    struct rng rng = {3};
    for (uint32_t cut = 0; cut < 4; cut++) {
        struct sink_world *w = sink_world_create(-1, dir);
        struct buf out = {0};
        char path[64];
        char got[128] = "";
        play(w, mood("accept"), in, cut ? &rng : NULL, cut, &out);
        assert_string_equal(buf_cstr(&out), DIALOGUE_OUT);
        snprintf(path, sizeof path, "%s/1.eml", dir);
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        size_t n = fread(got, 1, sizeof got - 1, f);
        fclose(f);
        assert_string_equal(got, "Subject: x\r\nMessage-ID: <1@me>\r\n\r\none\r\n.\r\n"
                                 ".two\r\n");
        assert_int_equal(n, strlen(got));
        unlink(path);
        snprintf(path, sizeof path, "%s/2.eml", dir);
        assert_int_equal(unlink(path), 0);
        buf_finish(&out);
        sink_world_destroy(w);
    }
    rmdir(dir);
    /* The folder is gone: the sender hears of it. */
    struct sink_world *w = sink_world_create(-1, dir);
    struct buf out = {0};
    play(w, mood("accept"), in, NULL, 0, &out);
    assert_non_null(strstr(buf_cstr(&out), "451 4.3.0 message cannot be stored\r\n"));
    assert_int_equal(sink_world_counts(w)->messages, 0);
    buf_finish(&out);
    sink_world_destroy(w);
}

static void test_the_moods_are_documented(void **state)
{
    (void)state;
    FILE *f = fopen(SOURCE_DIR "/docs/rehearsal.md", "r");
    assert_non_null(f);
    char page[16 * 1024];
    size_t n = fread(page, 1, sizeof page - 1, f);
    fclose(f);
    page[n] = '\0';
    int rows = 0;
    for (const char *p = page; (p = strstr(p, "\n| `")); p++)
        rows++;
    assert_int_equal(rows, sink_moods_n);
    for (int i = 0; i < sink_moods_n; i++) {
        char row[256];
        snprintf(row, sizeof row, "\n| `%s` | %s | %s |", sink_moods[i].name,
                 sink_moods[i].meaning, sink_moods[i].spread ? "yes" : "no");
        assert_non_null(strstr(page, row));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_dialogue_is_the_same_however_it_is_cut),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_chunks_out_of_place),
        cmocka_unit_test(test_a_refused_chunk),
        cmocka_unit_test(test_only_crlf_dot_crlf_ends_data),
        cmocka_unit_test(test_bare_line_ends_are_counted_once_a_message),
        cmocka_unit_test(test_wrong_commands),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_a_huge_message_is_read_and_refused),
        cmocka_unit_test(test_delays_are_latency_and_overlap),
        cmocka_unit_test(test_shares_are_right_and_repeat),
        cmocka_unit_test(test_greylist_ends),
        cmocka_unit_test(test_connections_that_end),
        cmocka_unit_test(test_early_talk_is_counted),
        cmocka_unit_test(test_the_record_is_written_before_the_reply),
        cmocka_unit_test(test_no_reply_leaves_without_its_record),
        cmocka_unit_test(test_messages_are_kept_as_they_were),
        cmocka_unit_test(test_the_moods_are_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
