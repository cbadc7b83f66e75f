/* The sections source, pool and warmup: who sends for whom, every error, and that what
 * is written reads back the same. */
#include "tests/unit/conf_help.h"

#define AB                                                                             \
    "source \"a\" { address = \"192.0.2.10\" hostname = \"a.example\" }\n"             \
    "source b { address = '2001:db8::1' }\n"

static void wrong(const char *text, const char *words)
{
    bad(text, -7, words);
}

/* Who sends there, "2 1". */
static void from(const struct conf *c, const char *pool, const char *want)
{
    uint8_t numbers[CONF_SOURCES_MAX];
    struct buf have = {0};
    int n = conf_sources_of(c, pool, numbers);
    for (int i = 0; i < n; i++)
        buf_printf(&have, i ? " %d" : "%d", numbers[i]);
    assert_string_equal(buf_cstr(&have), want);
    buf_finish(&have);
}

static const char *pool_of(const struct conf *c, const char *domain)
{
    int rules[1];
    struct conf_policy p;
    conf_policy_of(c, rules, conf_match(c, span_of(domain), (struct span){0}, rules),
                   &p);
    return p.pool;
}

static void who_sends(void **state)
{
    (void)state;
    struct conf *c = good(H "policy { pool = b }\n"
                            "domain a.test { pool = \"news\" }\n"
                            "pool \"news\" { sources = {\"c.2-_\", a} }\n" AB
                            "source 'c.2-_' { address = 127.0.0.2 }\n");
    assert_int_equal(c->sources_n, 3);
    assert_string_equal(c->sources[0].name, "a");
    assert_string_equal(c->sources[0].values->source.address, "192.0.2.10");
    assert_string_equal(c->sources[0].values->source.hostname, "a.example");
    assert_string_equal(c->sources[0].file, "a.conf");
    assert_int_equal(c->sources[0].line, 5);
    assert_string_equal(c->sources[1].values->source.address, "2001:db8::1");
    assert_string_equal(c->sources[1].values->source.hostname, "h.example");
    assert_int_equal(c->rules_n, 1);
    from(c, "news", "3 1");
    from(c, "b", "2");
    from(c, "", "1 2 3");
    assert_string_equal(pool_of(c, "a.test"), "news");
    assert_string_equal(pool_of(c, "b.test"), "b");
    conf_free(c);

    c = good(H);
    from(c, "", "");
    conf_free(c);
}

static void errors(void **state)
{
    (void)state;
    wrong(H "source a { address = 192.0.2.256 }",
          "a.conf:2: source.address must be an IPv4 or IPv6 address, not "
          "\"192.0.2.256\"");
    wrong(
        H "source a { address = mx.example }",
        "a.conf:2: source.address must be an IPv4 or IPv6 address, not \"mx.example\"");
    wrong(H "source a { address = 0.0.0.0 }",
          "a.conf:2: source.address must be an IPv4 or IPv6 address, not \"0.0.0.0\"");
    wrong(H "source a { address = '' }",
          "a.conf:2: source.address must be an IPv4 or IPv6 address, not \"\"");
    wrong(H "source a {\naddress = 192.0.2.1\nhostname = a_b }",
          "a.conf:4: source.hostname must be a DNS name or an address literal, not "
          "\"a_b\"");
    wrong(H "source a { hostname = b.example }",
          "a.conf:2: source \"a\" has no address");
    wrong(H AB "source \"a\" { address = 192.0.2.11 }",
          "a.conf:4: source \"a\" is given twice, first at a.conf:2");
    wrong(H AB "source c { address = 192.0.2.10 }",
          "a.conf:4: source \"c\" has the address of source \"a\" at a.conf:2");
    wrong(H "source 'a b' { address = 192.0.2.11 }",
          "a.conf:2: source must be a name of letters, digits, - _ and ., not 'a b'");
    wrong(H "source '' { address = 192.0.2.11 }",
          "a.conf:2: source must be a name of letters, digits, - _ and ., not ''");
    wrong(H AB "pool p { sources = {a,\nx} }",
          "a.conf:5: pool \"p\": there is no source \"x\"");
    wrong(H AB "pool p { sources = {a, b, a} }",
          "a.conf:4: pool \"p\" names source \"a\" twice");
    wrong(H AB "pool p { sources = {} }",
          "a.conf:4: pool.sources must hold at least one name");
    wrong(H AB "pool p {}", "a.conf:4: pool \"p\" has no sources");
    wrong(H AB "pool a { sources = {b} }",
          "a.conf:4: pool \"a\" has the name of the source at a.conf:2");
    wrong(H AB "pool p { sources = a }\npool p { sources = b }",
          "a.conf:5: pool \"p\" is given twice, first at a.conf:4");
    wrong(H "policy { pool = news }", "a.conf:2: there is no pool or source \"news\"");
    wrong(H AB "mx '*' {\npool = news }",
          "a.conf:5: there is no pool or source \"news\"");
    file("b.conf", "pool = x\n");
    wrong(H AB "domain a.test { include(\"b.conf\") }",
          "b.conf:1: there is no pool or source \"x\"");
}

static void warmups(void **state)
{
    (void)state;
    struct conf *c = good(H AB "source c { address = 192.0.2.3 warmup = new }\n"
                               "source d { address = 192.0.2.4 warmup = '' }\n"
                               "warmup one { start = '2028-02-29' caps = 7 }\n"
                               "warmup new { start = 2026-11-20 caps = {50, 0} }\n");
    assert_null(conf_warmup_of(c, &c->sources[0]));
    assert_null(conf_warmup_of(c, &c->sources[3]));
    const struct conf_warmup *w = conf_warmup_of(c, &c->sources[2]);
    assert_string_equal(w->start, "2026-11-20");
    assert_int_equal(w->caps.n, 2);
    assert_int_equal(w->caps.items[0], 50);
    struct buf text = {0};
    conf_write(&text, c, NULL);
    struct conf *again = good(buf_cstr(&text));
    assert_true(conf_same_sources(c, again));
    again->warmups[1].values->warmup.caps.items[1]++;
    assert_false(conf_same_sources(c, again));
    conf_free(again);
    conf_free(c);
    buf_finish(&text);
    wrong(H "source a { address = 192.0.2.1\nwarmup = x }",
          "a.conf:3: there is no warmup \"x\"");
    wrong(H "warmup w { caps = 1 }", "a.conf:2: warmup \"w\" has no start");
    wrong(H "warmup w { start = 2026-11-20 }", "a.conf:2: warmup \"w\" has no caps");
    wrong(
        H "warmup w { start = 2026-02-29 }",
        "a.conf:2: warmup.start must be a day such as 2026-11-20, not \"2026-02-29\"");
    wrong(H "warmup w {\ncaps = {1, -1} }",
          "a.conf:3: warmup.caps must be a list of 1 to 366 whole numbers up to "
          "1000000000, not \"-1\"");
    wrong(H "warmup w { caps = {} }",
          "a.conf:2: warmup.caps must hold at least one number");
}

static void at_most_255(void **state)
{
    (void)state;
    struct buf text = {0};
    buf_add_str(&text, H);
    for (int i = 1; i <= CONF_SOURCES_MAX; i++)
        buf_printf(&text, "source s%d { address = 192.0.2.%d }\n", i, i);
    struct conf *c = good(buf_cstr(&text));
    uint8_t numbers[CONF_SOURCES_MAX];
    assert_int_equal(conf_sources_of(c, "", numbers), CONF_SOURCES_MAX);
    assert_int_equal(numbers[CONF_SOURCES_MAX - 1], 255);
    conf_free(c);
    buf_add_str(&text, "source last { address = 198.51.100.1 }\n");
    wrong(buf_cstr(&text), "a.conf:257: more than 255 sources");
    buf_finish(&text);
}

static void reads_back(void **state)
{
    (void)state;
    struct conf *c = good(H AB "pool p { sources = {b, a} }\n"
                               "domain a.test { pool = p }\n");
    struct buf once = {0}, again = {0};
    conf_write(&once, c, NULL);
    assert_non_null(strstr(buf_cstr(&once), "}\n"
                                            "source 'a' {\n"
                                            "    address = '192.0.2.10'\n"
                                            "    hostname = 'a.example'\n"
                                            "}\n"
                                            "source 'b' {\n"
                                            "    address = '2001:db8::1'\n"
                                            "}\n"
                                            "pool 'p' {\n"
                                            "    sources = {'b', 'a'}\n"
                                            "}\n"
                                            "domain 'a.test' {\n"
                                            "    pool = 'p'\n"
                                            "}\n"));
    struct conf *back = good(buf_cstr(&once));
    conf_write(&again, back, NULL);
    assert_string_equal(buf_cstr(&once), buf_cstr(&again));
    assert_true(conf_same_sources(c, back));
    from(back, "p", "2 1");
    conf_free(back);
    back = good("hostname = other.example\n" AB "pool p { sources = {b, a} }");
    assert_true(conf_same_sources(c, back)); /* the rest may differ */
    conf_free(back);
    back = good(H AB "pool p { sources = {a, b} }");
    assert_false(conf_same_sources(c, back));
    conf_free(back);
    conf_free(c);
    buf_finish(&once);
    buf_finish(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_sends),  cmocka_unit_test(errors),
        cmocka_unit_test(warmups),    cmocka_unit_test(at_most_255),
        cmocka_unit_test(reads_back),
    };
    return cmocka_run_group_tests(tests, enter_folder, remove_folder);
}
