/* The sections domain and mx: which match, in which order, whose value counts, every
 * error, and that what is written reads back the same. */
#include "tests/unit/conf_help.h"

enum { RULES_MOST = 16 };

/* The numbers of what matches, "2 0". */
static void match(const struct conf *c, const char *domain, const char *hosts,
                  const char *want)
{
    int rules[RULES_MOST];
    struct buf have = {0};
    int n = conf_match(c, span_of(domain), span_of(hosts), rules);
    for (int i = 0; i < n; i++)
        buf_printf(&have, i ? " %d" : "%d", rules[i]);
    assert_string_equal(buf_cstr(&have), want);
    buf_finish(&have);
}

static struct conf_policy policy(const struct conf *c, const char *domain,
                                 const char *hosts)
{
    int rules[RULES_MOST];
    struct conf_policy p;
    conf_policy_of(c, rules, conf_match(c, span_of(domain), span_of(hosts), rules), &p);
    return p;
}

static void what_matches(void **state)
{
    (void)state;
    struct conf *c = good(H "domain '*.example.com' {}\n"
                            "mx '*.google.com' {}\n"
                            "domain '*.b.Example.com' {}\n"
                            "domain x.b.example.com {}\n"
                            "mx 'm?.x.example' {}\n"
                            "mx '*' {}\n"
                            "domain \"\xe6\x97\xa5\xe6\x9c\xac.jp\" {}\n"
                            "domain example.com {}\n");
    assert_int_equal(c->rules_n, 8);
    assert_string_equal(c->rules[2].pattern, "*.b.example.com");
    assert_false(c->rules[2].mx);
    assert_true(c->rules[1].mx);
    match(c, "x.b.example.com", "", "3 2 0");
    match(c, "y.b.example.com", "", "2 0");
    match(c, "b.example.com", "", "0");
    match(c, "example.com", "", "7"); /* not below itself */
    match(c, "anexample.com", "", "");
    match(c, "xn--wgv71a.jp", "", "6");
    match(c, "a.test", "aspmx.l.google.com", "1 5");
    match(c, "a.test", "google.com", "5");
    match(c, "a.test", "aspmx.l.google.com.evil.example", "5");
    match(c, "a.test", "other.example,mx.x.example", "4 5");
    match(c, "a.test", "mxx.x.example", "5");
    match(c, "x.b.example.com", "a.google.com,b.google.com", "3 2 0 1 5");
    conf_free(c);
}

static void whose_value_counts(void **state)
{
    (void)state;
    struct conf *c = good(H "mx '*.mx.example' { connections = 9 port = 9 tls = none\n"
                            "    timeout { end = 9m rset = 9s } retry_interval = 9s\n"
                            "    max_attempts = 9 lifetime = 9h }\n"
                            "mx '*' { connections = 8 messages_per_connection = 8 }\n"
                            "domain '*.test' { connections = 7 port = 7\n"
                            "    tls = encrypt timeout { end = 7m } }\n"
                            "domain '*.a.test' { connections = 6 port = 6 tls = may }\n"
                            "domain 'b.a.test' { connections = 5\n"
                            "    retry_interval = { 1s, 2s } }\n"
                            "policy { connections = 4 timeout { data = 4m } }\n");
    struct conf_policy p = policy(c, "b.a.test", "m.mx.example");
    assert_int_equal(p.connections, 5);
    assert_int_equal(p.port, 6);
    assert_int_equal(p.tls, CONF_TLS_MAY);
    assert_int_equal(p.timeout.end, 7 * 60000);
    assert_int_equal(p.timeout.rset, 9000);
    assert_int_equal(p.timeout.data, 4 * 60000);
    assert_int_equal(p.timeout.mail, 5 * 60000);
    assert_int_equal(p.messages_per_connection, 8);
    assert_int_equal(p.max_attempts, 9);
    assert_int_equal(p.lifetime, 9 * 3600000);
    assert_int_equal(p.retry_interval.n, 2);
    assert_int_equal(p.retry_interval.ms[1], 2000);
    p = policy(c, "c.a.test", "m.mx.example");
    assert_int_equal(p.connections, 6);
    assert_int_equal(p.retry_interval.n, 1);
    assert_int_equal(p.retry_interval.ms[0], 9000);
    p = policy(c, "other.example", "m.mx.example");
    assert_int_equal(p.connections, 9);
    p = policy(c, "other.example", "");
    assert_int_equal(p.connections, 4);
    assert_int_equal(p.port, 25);
    conf_free(c);
}

static void hours_of_sections(void **state)
{
    (void)state;
    struct conf *c = good(H "policy { quiet_hours = '22:00-07:00' }\n"
                            "domain 'a.example' { quiet_hours = '01:00-02:00' }\n"
                            "domain 'b.example' { quiet_hours = '' }\n"
                            "domain 'c.example' { port = 26 }\n");
    assert_int_equal(policy(c, "a.example", "").quiet_hours.from, 60);
    assert_int_equal(policy(c, "b.example", "").quiet_hours.from,
                     policy(c, "b.example", "").quiet_hours.to);
    assert_int_equal(policy(c, "c.example", "").quiet_hours.from, 22 * 60);
    assert_int_equal(conf_rule_hours(c, 0)->to, 120);
    assert_int_equal(conf_rule_hours(c, 1)->to, conf_rule_hours(c, 1)->from);
    assert_null(conf_rule_hours(c, 2));
    conf_free(c);
}

static int budget(const struct conf *c, const char *domain, const char *hosts)
{
    int rules[RULES_MOST];
    return conf_budget(c, rules, conf_match(c, span_of(domain), span_of(hosts), rules));
}

/* The sections whose limits hold beside those of the budget, as "0,3". */
static const char *outer(const struct conf *c, const char *domain, const char *hosts)
{
    static char text[64];
    int rules[RULES_MOST], found[RULES_MOST], at = 0;
    int n = conf_outer(c, rules, conf_match(c, span_of(domain), span_of(hosts), rules),
                       found);
    text[0] = '\0';
    for (int i = 0; i < n; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "%s%d", i ? "," : "",
                       found[i]);
    return text;
}

static void which_sections_bound_it_too(void **state)
{
    (void)state;
    struct conf *c = good(H "mx '*.google.com' { connections = 2 }\n"
                            "domain 'c1.jp' { connections = 3 }\n"
                            "domain '*.jp' { message_rate = '1/s' }\n"
                            "domain 'x.jp' { retry_interval = 1h }\n"
                            "domain 'c2.example' { unknown_limit = 5 }\n"
                            "domain '*.com' { connections = 4 }\n"
                            "mx 'only.*' { connection_rate = '1/s' }\n"
                            "policy { connections = 1 }\n");
    assert_string_equal(outer(c, "a.example", "x.example"), "");
    assert_string_equal(outer(c, "a.example", "mx.google.com"), "0"); /* with c1.jp */
    assert_string_equal(outer(c, "c1.jp", "mx.google.com"), "2,0");
    assert_string_equal(outer(c, "c1.jp", "x.example"), "2");
    assert_string_equal(outer(c, "x.jp", "x.example"), "2"); /* with c1.jp */
    assert_string_equal(outer(c, "c2.example", "mx.google.com"), "0");
    assert_string_equal(outer(c, "c2.example", "x.example"), ""); /* not its pauses */
    assert_string_equal(outer(c, "a.com", "x.example"), "");      /* its own alone */
    assert_string_equal(outer(c, "a.com", "only.example,mx.google.com"), "0,6");
    assert_int_equal(conf_limit(c, 0, CONF_LIMIT_CONNECTIONS), 2);
    assert_int_equal(conf_limit(c, 0, CONF_LIMIT_MESSAGE_RATE), 0);
    assert_int_equal(conf_limit(c, 2, CONF_LIMIT_MESSAGE_RATE), 3600);
    assert_int_equal(conf_limit(c, 6, CONF_LIMIT_CONNECTION_RATE), 3600);
    conf_free(c);
    c = good(H "mx 'a*' { connections = 1 }\n"
               "mx 'b*' { connections = 2 }\n"
               "domain 'x.jp' { connections = 3 }\n"
               "domain '*.x.jp' { connections = 3 }\n");
    assert_string_equal(outer(c, "x.jp", ""), ""); /* nothing is below that */
    assert_string_equal(outer(c, "y.x.jp", ""), "");
    conf_free(c);
    c = good(H "mx 'a*' { connections = 1 }\n"
               "mx 'b*' { connections = 2 }\n");
    assert_string_equal(outer(c, "x.jp", "a1"), "");
    assert_string_equal(outer(c, "x.jp", "b1"), "1");
    assert_string_equal(outer(c, "x.jp", "a1,b1"), "1");
    conf_free(c);
}

static int tighter(const struct conf *c, const char *domain, const char *hosts, int i,
                   enum conf_limit limit)
{
    int rules[RULES_MOST];
    int n = conf_match(c, span_of(domain), span_of(hosts), rules);
    return conf_tighter(c, rules, n, i, limit);
}

static void which_limits_are_in_vain(void **state)
{
    (void)state;
    struct conf *c =
        good(H "mx '*.google.com' { connections = 2 message_rate = '5/s' }\n"
               "domain 'c1.jp' { connections = 3 message_rate = '0' }\n"
               "domain 'c2.jp' { connections = 2 message_rate = '1/s'\n"
               "    connection_rate = '9/s' }\n"
               "domain '*.jp' { connections = 9 }\n");
    assert_int_equal(tighter(c, "c1.jp", "mx.google.com", 0, CONF_LIMIT_CONNECTIONS),
                     0);
    assert_int_equal(tighter(c, "c1.jp", "x.example", 0, CONF_LIMIT_CONNECTIONS), -1);
    assert_int_equal(tighter(c, "c1.jp", "mx.google.com", 0, CONF_LIMIT_MESSAGE_RATE),
                     0);
    for (enum conf_limit limit = 0; limit < CONF_LIMITS; limit++)
        assert_int_equal(tighter(c, "c2.jp", "mx.google.com", 0, limit), -1);
    struct buf words = {0};
    conf_print_tighter(&words, c, 1, 0, CONF_LIMIT_CONNECTIONS);
    assert_non_null(
        strstr(buf_cstr(&words),
               ":3: domain 'c1.jp' { connections = 3 } is never reached, for "
               "mx '*.google.com' { connections = 2 } holds for all that it "
               "matches"));
    buf_finish(&words);
    conf_free(c);
}

static void who_shares_a_budget(void **state)
{
    (void)state;
    struct conf *c = good(H "mx '*.google.com' { connections = 5 }\n"
                            "domain '*.jp' { retry_interval = 1h port = 26\n"
                            "    timeout { end = 1m } }\n"
                            "domain 'a.jp' { lifetime = 1h }\n"
                            "domain 'b.jp' { message_rate = '0' }\n"
                            "domain '*.c.jp' { unknown_limit = 5 }\n"
                            "mx 'm*' { connection_rate = '1/s' }\n"
                            "policy { connections = 3 }\n");
    assert_int_equal(budget(c, "a.example", "x.example"), -1);
    assert_int_equal(budget(c, "x.jp", "x.example"), -1);
    assert_int_equal(budget(c, "x.jp", ""), -1);
    assert_int_equal(budget(c, "a.jp", "mx.google.com"), 0);
    assert_int_equal(budget(c, "b.jp", "mx.google.com"), 3);
    assert_int_equal(budget(c, "x.c.jp", "m.example"), 4);
    assert_int_equal(budget(c, "c.jp", "m.example"), 5);
    assert_int_equal(conf_budget(c, NULL, 0), -1);
    conf_free(c);
}

static void each_value_has_its_line(void **state)
{
    (void)state;
    file("b.conf", "mx 'x*' {\n\n    port = 26\n}\n");
    struct conf *c = good(H "domain 'a.example' {\n connections =\n 3\n"
                            " timeout {\n  end = 1m } }\n"
                            "include('b.conf')\npolicy { port = 27\n"
                            "lifetime = 1h }\n");
    int rules[RULES_MOST];
    struct buf lines = {0};
    conf_explain(&lines, c, rules,
                 conf_match(c, SPAN("a.example"), SPAN("x.y"), rules));
    const char *text = buf_cstr(&lines);
    assert_ptr_equal(strstr(text, "retry_interval\t{'30m'}\tdefault\nlifetime"), text);
    assert_non_null(strstr(text, "\nlifetime\t'1h'\ta.conf:9\n"));
    assert_non_null(strstr(text, "\nconnections\t3\ta.conf:3\n"));
    assert_non_null(strstr(text, "\nport\t26\tb.conf:3\n"));
    assert_non_null(strstr(text, "\ntimeout.end\t'1m'\ta.conf:6\n"));
    assert_non_null(strstr(text, "\ntimeout.session\t'0'\tdefault\n"));
    buf_finish(&lines);
    conf_free(c);
}

static struct conf_policy now(const struct conf *c, const struct conf *begun,
                              const char *domain)
{
    int rules[RULES_MOST];
    struct conf_policy p;
    conf_policy_now(c, begun, rules, conf_match(c, span_of(domain), SPAN(""), rules),
                    &p);
    return p;
}

static void what_a_running_job_keeps(void **state)
{
    (void)state;
    struct conf *begun = good(H "policy { port = 26 tls = verify tls_ca_file = '/a'\n"
                                "    connections = 3 }\n"
                                "domain 'a.example' { tls = none port = 27\n"
                                "    tls_ca_file = '/b' tls_min_version = 1.3 }\n");
    struct conf *c = good(H "policy { port = 36 connections = 4 }\n"
                            "domain 'a.example' { tls_ca_file = '/c' tls = may\n"
                            "    connections = 5 }\n");
    struct conf_policy p = now(c, begun, "a.example");
    assert_int_equal(p.port, 27);
    assert_int_equal(p.tls, CONF_TLS_NONE);
    assert_int_equal(p.connections, 5);
    assert_string_equal(p.tls_ca_file, "/b");
    assert_int_equal(p.tls_min_version, CONF_TLS_VERSION_1_3);
    p = now(c, begun, "b.example");
    assert_int_equal(p.port, 26);
    assert_int_equal(p.tls, CONF_TLS_VERIFY);
    assert_int_equal(p.connections, 4);
    assert_string_equal(p.tls_ca_file, "/a");
    assert_int_equal(p.tls_min_version, CONF_TLS_VERSION_1_2);
    conf_free(begun);
    conf_free(c);
}

static void where_a_key_stands(void **state)
{
    (void)state;
    struct conf *c = good(H "policy {\n tls_ca_file = '/a' }\n"
                            "mx '*' {\n\n tls_ca_file = '/b' }\n"
                            "domain 'a.example' { }\n");
    struct buf place = {0};
    assert_true(conf_place(&place, c, "tls_ca_file"));
    buf_add_char(&place, ' ');
    assert_true(conf_place(&place, c->rules[0].values, "tls_ca_file"));
    assert_string_equal(buf_cstr(&place), "a.conf:3 a.conf:6");
    buf_reset(&place);
    assert_false(conf_place(&place, c, "tls_min_version"));
    assert_false(conf_place(&place, c->rules[1].values, "tls_ca_file"));
    assert_string_equal(buf_cstr(&place), "");
    buf_finish(&place);
    conf_free(c);
}

static void errors(void **state)
{
    (void)state;
    bad("domain 'a.example' {}\nmx 'a.example' {}\n\ndomain \"A.Example\" {}", -7,
        "a.conf:4: domain \"a.example\" is given twice, first at a.conf:1");
    bad("mx '*' {}\nmx '*' {}", -7,
        "a.conf:2: mx \"*\" is given twice, first at a.conf:1");
    bad("domain 'a.example' {\n port = 1\n port = 2 }", -7,
        "a.conf:3: \"port\" is given twice, first at a.conf:2");
    bad("domain 'a.example' {\n timeout {}\n timeout {} }", -7,
        "a.conf:3: \"timeout\" is given twice, first at a.conf:2");
    bad("domain\n'a.*.example' {}", -7,
        "a.conf:2: domain must be a domain, or *. and a domain, not 'a.*.example'");
    bad("domain '*' {}", -7,
        "a.conf:1: domain must be a domain, or *. and a domain, not '*'");
    bad("domain '' {}", -7,
        "a.conf:1: domain must be a domain, or *. and a domain, not ''");
    bad("mx \"${HOME}\" {}", -7,
        "a.conf:1: mx must be a pattern of host names, with * and ?, not \"${HOME}\"");
    bad("mx '[a]' {}", -7,
        "a.conf:1: mx must be a pattern of host names, with * and ?, not '[a]'");
    bad("domain { port = 1 }", -5, "a.conf:1: { where a name in quotes is due");
    bad("domain 'a.example' = 1", -5, "a.conf:1: = where { is due");
    bad("mx '*' { conections = 1 }", -6,
        "a.conf:1: unknown keyword \"conections\"; did you mean \"connections\"?");
    bad("mx '*' { workers = 1 }", -6,
        "a.conf:1: unknown keyword \"workers\" here; it stands outside any section");
    bad("policy { domain 'a.example' {} }", -6,
        "a.conf:1: unknown keyword \"domain\" here; it stands outside any section");
    bad("domain 'a.example' {\n", -5, "a.conf:1: this { is not closed");
    bad(H "mx '*' {}\nmx 'a' { port = 1\n timeout { end = 1x } }", -7,
        "a.conf:4: policy.timeout.end must be a duration from 100ms to 1h, not \"1x\"; "
        "durations are 500ms, 5s, 30m, 24h, 2d");
    bad(H "domain 'a.example' { retry_interval = {} }", -7,
        "a.conf:2: policy.retry_interval must hold at least one duration");
}

static void reads_back(void **state)
{
    (void)state;
    struct conf *c =
        good(H "mx '*.b' { port = 26 timeout { end = 61s } }\n"
               "domain '*.a.example' { tls = none retry_interval = {1s, 2s} }\n"
               "mx 'c' {}\npolicy { port = 27 }");
    struct buf once = {0}, again = {0};
    conf_write(&once, c, NULL);
    assert_non_null(strstr(buf_cstr(&once), "}\n"
                                            "mx '*.b' {\n"
                                            "    port = 26\n"
                                            "    timeout {\n"
                                            "        end = '61s'\n"
                                            "    }\n"
                                            "}\n"
                                            "domain '*.a.example' {\n"
                                            "    retry_interval = {'1s', '2s'}\n"
                                            "    tls = 'none'\n"
                                            "}\n"
                                            "mx 'c' {\n"
                                            "}\n"));
    struct conf *back = good(buf_cstr(&once));
    conf_write(&again, back, NULL);
    assert_string_equal(buf_cstr(&once), buf_cstr(&again));
    assert_true(conf_same_rules(c, back));
    assert_int_equal(policy(back, "x.a.example", "x.b").port, 26);
    conf_free(back);
    back = good(H "domain '*.a.example' {}\nmx '*.b' {}\nmx 'c' {}");
    assert_false(conf_same_rules(c, back)); /* another order */
    conf_free(back);
    conf_free(c);
    buf_finish(&once);
    buf_finish(&again);
}

static void not_taken(const struct conf *begun, const char *text, int n,
                      const char *words)
{
    struct buf have = {0};
    struct conf *c = good(text);
    assert_int_equal(conf_not_taken(&have, begun, c), n);
    if (strcmp(buf_cstr(&have), words) != 0)
        fail_msg("%s", buf_cstr(&have));
    buf_finish(&have);
    conf_free(c);
}

/* What is another and stays, by name and place; in whatever words it was written. */
static void what_is_not_taken(void **state)
{
    (void)state;
    struct conf *begun = good(H "policy { port = 26 tls = encrypt }\n"
                                "domain a.example { tls_min_version = 1.3 }\n"
                                "mx '*.b' { port = 27 relay_user = u }\n");
    not_taken(
        begun,
        "hostname = 'h.example'\nspool = \"/s\" workers = 1 policy { tls = encrypt "
        "port = 26 connections = 3 timeout { rcpt = 1s } pipelining = off }\n"
        "network_silence = 10s storm { min = 5 } resolver { tries = 1 }\n"
        "receivers = no reply 421 { action = fail }\n"
        "domain a.example { lifetime = 1h tls_min_version = 1.3 }\n"
        "mx '*.b' { relay_user = u port = 27 }\n",
        0, "");
    not_taken(begun,
              "hostname = g.example spool = '/s'\nworkers = 2 deny_destinations = {}\n"
              "policy { tls = may\n connections = 3 relay = 'r:25' }\n"
              "domain a.example { tls_min_version = 1.2 tls = encrypt }\n"
              "mx '*.b' { relay_user = u }\n",
              9,
              "hostname (a.conf:1), workers (a.conf:2), deny_destinations (a.conf:2), "
              "policy.port (not given now), mx '*.b': port (not given now), policy.tls "
              "(a.conf:3), domain 'a.example': tls (a.conf:5), domain 'a.example': "
              "tls_min_version (a.conf:5), policy.relay (a.conf:4)");
    struct buf many = {0}, have = {0};
    conf_free(begun);
    for (int i = 0; i < 23; i++)
        buf_printf(&many, "mx 'm%d' { port = 26 }\n", i);
    begun = good(buf_cstr(&many));
    buf_reset(&many);
    for (int i = 0; i < 23; i++)
        buf_printf(&many, "mx 'm%d' { port = 27 }\n", i);
    struct conf *c = good(buf_cstr(&many));
    assert_int_equal(conf_not_taken(&have, begun, c), 23);
    assert_non_null(strstr(buf_cstr(&have), "mx 'm19': port (a.conf:20) and 3 more"));
    conf_free(begun);
    conf_free(c);
    buf_finish(&many);
    buf_finish(&have);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_matches),
        cmocka_unit_test(whose_value_counts),
        cmocka_unit_test(hours_of_sections),
        cmocka_unit_test(who_shares_a_budget),
        cmocka_unit_test(which_sections_bound_it_too),
        cmocka_unit_test(which_limits_are_in_vain),
        cmocka_unit_test(each_value_has_its_line),
        cmocka_unit_test(what_a_running_job_keeps),
        cmocka_unit_test(what_is_not_taken),
        cmocka_unit_test(where_a_key_stands),
        cmocka_unit_test(errors),
        cmocka_unit_test(reads_back),
    };
    return cmocka_run_group_tests(tests, enter_folder, remove_folder);
}
