/* DNS answers by bytes; sink_receiver asks them with a real client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rng.h"
#include "sink/answers.h"
#include "sink/spread.h"

static const uint8_t addresses[2][4] = {{127, 0, 0, 2}, {127, 0, 0, 3}};

static int group_of(void *arg, struct span domain)
{
    (void)arg;
    static const struct {
        const char *name;
        int group;
    } table[] = {{"no.example", ANSWER_NXDOMAIN},
                 {"fail.example", ANSWER_SERVFAIL},
                 {"null.example", ANSWER_NULL_MX},
                 {"one.example", 1}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (span_equal(domain, span_of(table[i].name)))
            return table[i].group;
    }
    return 0;
}

static const struct answers answers = {group_of, NULL, addresses, 2};

enum { A = 1, SOA = 6, MX = 15, TXT = 16, AAAA = 28 };

static size_t make_query(uint8_t *q, const char *name, int type, bool edns)
{
    static const uint8_t header[12] = {0xab, 0xcd, 1, 0, 0, 1};
    static const uint8_t opt[11] = {0, 0, 41, 0x10};
    memcpy(q, header, sizeof header);
    size_t n = sizeof header;
    for (const char *p = name; *p;) {
        size_t label = strcspn(p, ".");
        q[n++] = (uint8_t)label;
        memcpy(q + n, p, label);
        n += label;
        p += label + (p[label] == '.');
    }
    q[n++] = 0;
    q[n++] = 0;
    q[n++] = (uint8_t)type;
    q[n++] = 0;
    q[n++] = 1;
    if (edns) {
        q[11] = 1;
        memcpy(q + n, opt, sizeof opt);
        n += sizeof opt;
    }
    return n;
}

/* The answer must be: header flags and counts, the question as it was, then these
 * bytes. */
static void expect(const char *name, int type, int rcode, int an, int ns,
                   const uint8_t *rest, size_t rest_n)
{
    for (int edns = 0; edns < 2; edns++) {
        uint8_t q[ANSWER_MAX];
        uint8_t out[ANSWER_MAX];
        size_t n = make_query(q, name, type, edns);
        size_t question = n - (edns ? 11 : 0);
        size_t got = answers_reply(&answers, q, n, out);
        const uint8_t header[12] = {0xab, 0xcd,        0x85, (uint8_t)(0x80 | rcode),
                                    0,    1,           0,    (uint8_t)an,
                                    0,    (uint8_t)ns, 0,    (uint8_t)edns};
        assert_memory_equal(out, header, sizeof header);
        assert_memory_equal(out + 12, q + 12, question - 12);
        assert_int_equal(got, question + rest_n + (edns ? 11 : 0));
        assert_memory_equal(out + question, rest, rest_n);
    }
}

static void test_good_answers(void **state)
{
    (void)state;
    static const uint8_t mx[] = {0xc0, 12, 0, MX, 0, 1,   0,   0,    1, 44,
                                 0,    7,  0, 10, 2, 'm', 'x', 0xc0, 12};
    static const uint8_t a2[] = {0xc0, 12, 0, A, 0, 1, 0, 0, 1, 44, 0, 4, 127, 0, 0, 2};
    static const uint8_t a3[] = {0xc0, 12, 0, A, 0, 1, 0, 0, 1, 44, 0, 4, 127, 0, 0, 3};
    static const uint8_t null[] = {0xc0, 12, 0, MX, 0, 1, 0, 0, 1, 44, 0, 3, 0, 0, 0};
    expect("One.Example", MX, 0, 1, 0, mx, sizeof mx);
    expect("ONE.example", A, 0, 1, 0, a3, sizeof a3);
    expect("Mx.one.EXAMPLE", A, 0, 1, 0, a3, sizeof a3);
    expect("mx.other.example", A, 0, 1, 0, a2, sizeof a2);
    expect("mx.one.example", MX, 0, 1, 0, mx, sizeof mx);
    expect("null.example", MX, 0, 1, 0, null, sizeof null);
    expect("fail.example", MX, 2, 0, 0, mx, 0);
    expect("mx.fail.example", A, 2, 0, 0, mx, 0);
}

static void test_no_data(void **state)
{
    (void)state;
    static const uint8_t here[] = {
        0xc0, 12, 0, SOA, 0,    1,    0, 0, 0, 60, 0, 24, 0xc0, 12,   0xc0, 12, 0, 0,
        0,    1,  0, 0,   0x0e, 0x10, 0, 0, 2, 88, 0, 1,  0x51, 0x80, 0,    0,  0, 60};
    uint8_t above[sizeof here];
    memcpy(above, here, sizeof here);
    above[1] = above[13] = above[15] = 12 + 3; /* behind "no" */
    expect("mx.one.example", AAAA, 0, 0, 1, here, sizeof here);
    expect("one.example", TXT, 0, 0, 1, here, sizeof here);
    expect("null.example", A, 0, 0, 1, here, sizeof here);
    expect("no.example", MX, 3, 0, 1, above, sizeof above);
    expect("no.example", A, 3, 0, 1, above, sizeof above);
}

static void test_the_longest_name(void **state)
{
    (void)state;
    char name[256] = "";
    uint8_t q[ANSWER_MAX];
    uint8_t out[ANSWER_MAX];
    /* 63.63.63.61: 255 octets in DNS form; "mx." has no room, so it is its own MX. */
    memset(name, 'a', 253);
    name[63] = name[127] = name[191] = '.';
    size_t n = make_query(q, name, MX, true);
    assert_int_equal(n, 12 + 255 + 4 + 11);
    size_t got = answers_reply(&answers, q, n, out);
    assert_int_equal(got, n + 16);
    static const uint8_t mx[] = {0, 4, 0, 10, 0xc0, 12};
    assert_memory_equal(out + n - 11 + 10, mx, sizeof mx);
    /* With three octets to spare it is "mx." again. */
    name[strlen(name) - 3] = '\0';
    n = make_query(q, name, MX, true);
    assert_int_equal(answers_reply(&answers, q, n, out), n + 19);
    /* Three octets in front make 255 again, and four make no name. */
    n = make_query(q, name, MX, false);
    uint8_t longer[ANSWER_MAX];
    for (uint8_t more = 3; more <= 4; more++) {
        memcpy(longer, q, 12);
        memset(longer + 12, 'x', more);
        longer[12] = more - 1;
        memcpy(longer + 12 + more, q + 12, n - 12);
        assert_int_equal(answers_reply(&answers, longer, n + more, out),
                         more == 3 ? n + more + 16 : 0);
    }
}

static void test_what_is_no_query_gets_no_answer(void **state)
{
    (void)state;
    uint8_t q[ANSWER_MAX];
    uint8_t out[ANSWER_MAX];
    size_t n = make_query(q, "one.example", MX, false);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(answers_reply(&answers, q, cut, out), 0);
    q[2] |= 0x80; /* an answer */
    assert_int_equal(answers_reply(&answers, q, n, out), 0);
    q[2] &= 0x7f;
    q[5] = 2; /* two questions */
    assert_int_equal(answers_reply(&answers, q, n, out), 0);
    q[5] = 1;
    q[12] = 0xc0; /* a compressed question */
    assert_int_equal(answers_reply(&answers, q, n, out), 0);
    q[12] = 3;
    q[2] |= 0x28; /* opcode UPDATE */
    assert_int_equal(answers_reply(&answers, q, n, out), n);
    assert_int_equal(out[3] & 15, 4);
    q[2] &= 0x87;
    q[n - 1] = 3; /* class CHAOS */
    assert_int_equal(answers_reply(&answers, q, n, out), n);
    assert_int_equal(out[3] & 15, 5);
}

static void test_rubbish(void **state)
{
    (void)state;
    struct rng rng = {11};
    uint8_t out[ANSWER_MAX];
    for (int i = 0; i < 20000; i++) {
        uint8_t q[ANSWER_MAX];
        size_t n = make_query(q, "Some.one.example", MX, i & 1);
        for (uint32_t j = rng_below(&rng, 6); j > 0; j--)
            q[rng_below(&rng, (uint32_t)n)] = (uint8_t)rng_next(&rng);
        size_t got = answers_reply(&answers, q, n, out);
        assert_true(got == 0 || (got >= 12 && got <= ANSWER_MAX));
        if (got)
            assert_memory_equal(out, q, 2);
    }
}

static void test_domains_are_spread(void **state)
{
    (void)state;
    struct fault f = {0};
    struct spread s;
    int seen[SPREAD_MOODS_MAX] = {0};
    assert_true(spread_init(&s, NULL, 0, &f));
    for (int i = 0; i < 5000; i++) {
        char domain[32];
        int n = snprintf(domain, sizeof domain, "domain%d.example", i);
        struct span d = {domain, (size_t)n};
        int group = spread_group_of(&s, d);
        assert_in_range(group, 0, sink_moods_n - 1);
        assert_int_equal(spread_group_of(&s, d), group);
        seen[group]++;
    }
    for (int i = 0; i < sink_moods_n; i++) {
        int fair = 5000 / s.n;
        if (sink_moods[i].spread)
            assert_in_range(seen[i], fair * 3 / 4, fair * 5 / 4);
        else
            assert_int_equal(seen[i], 0);
    }
    static const struct {
        const char *domain;
        const char *mood;
        int group;
    } cases[] = {
        {"greylist.example", "greylist", 0},
        {"distant1.example", "distant", 0},
        {"picky-b.example", "picky", 0},
        {"refuse", "refuse", 0},
        {"fullmoon.example", "accept", 0},
        {"oldtown.example", "accept", 0},
        {"x.picky.example", "accept", 0},
        {"", "accept", 0},
        {"nxdomain7.example", NULL, ANSWER_NXDOMAIN},
        {"servfail.example", NULL, ANSWER_SERVFAIL},
        {"nullmx-x.example", NULL, ANSWER_NULL_MX},
    };
    const char *const only[] = {"accept"};
    assert_true(spread_init(&s, only, 1, &f));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int want = cases[i].mood
                       ? (int)(sink_mood_find(span_of(cases[i].mood)) - sink_moods)
                       : cases[i].group;
        assert_int_equal(spread_group_of(&s, span_of(cases[i].domain)), want);
    }
    const char *const none[] = {"accept", "grumpy"};
    assert_false(spread_init(&s, none, 2, &f));
    assert_int_equal(f.code, -7);
    assert_string_equal(f.words, "the receiver has no mood \"grumpy\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_answers),
        cmocka_unit_test(test_no_data),
        cmocka_unit_test(test_the_longest_name),
        cmocka_unit_test(test_what_is_no_query_gets_no_answer),
        cmocka_unit_test(test_rubbish),
        cmocka_unit_test(test_domains_are_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
