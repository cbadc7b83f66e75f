/* Relays of some destinations: who has which, and every contradiction beside them. */
#include "tests/unit/conf_help.h"

#include <string.h>

enum { RULES_MOST = 16 };

/* "relay user" of a destination. */
static void through(const struct conf *c, const char *domain, const char *hosts,
                    const char *want)
{
    int rules[RULES_MOST];
    struct conf_policy p;
    struct buf have = {0};
    int n = conf_match(c, span_of(domain), span_of(hosts), rules);
    conf_policy_of(c, rules, n, &p);
    assert_string_equal(conf_relay(c, rules, n), p.relay);
    buf_printf(&have, "%s %s", p.relay, p.relay_user);
    assert_string_equal(buf_cstr(&have), want);
    buf_finish(&have);
}

static void some_have_a_relay(void **state)
{
    (void)state;
    struct conf *c = good(H "domain 'docomo.example' { relay = 'a.example:587'\n"
                            "    relay_user = u relay_password_file = '/p' }\n"
                            "domain '*.jp' { relay = 'b.example:25' }\n"
                            "domain 'direct.jp' { relay = '' }\n"
                            "mx '*.google.com' { relay = 'c.example:25' }\n"
                            "mx '*' { relay = 'd.example:25' connections = 3 }\n");
    through(c, "docomo.example", "", "a.example:587 u");
    through(c, "x.jp", "", "b.example:25 ");
    through(c, "direct.jp", "", " ");
    through(c, "direct.jp", "mx.google.com", " ");
    through(c, "a.test", "", " ");
    through(c, "a.test", "mx.google.com", "c.example:25 ");
    through(c, "a.test", "mx.example", "d.example:25 ");
    conf_free(c);
    c = good(H "policy { relay = 'a.example:587' }\n"
               "domain 'direct.jp' { relay = '' }\n"
               "domain '*.jp' { relay = 'b.example:25' }\n");
    through(c, "a.test", "", "a.example:587 ");
    through(c, "a.jp", "", "b.example:25 ");
    through(c, "direct.jp", "", " ");
    conf_free(c);
}

/* Whose MX is not asked matches no section mx. */
static void a_relay_hides_the_hosts(void **state)
{
    (void)state;
    int rules[RULES_MOST];
    struct conf *c = good(H "mx '*' { connections = 3 }\n"
                            "domain 'a.example' { relay = 'a.example:25' }\n"
                            "domain '*.example' { lifetime = 1h }\n"
                            "domain 'b.example' { relay = '' }\n");
    assert_int_equal(conf_match(c, SPAN("a.example"), SPAN("mx.example"), rules), 2);
    assert_int_equal(rules[0], 1);
    assert_int_equal(rules[1], 2);
    assert_int_equal(conf_match(c, SPAN("b.example"), SPAN("mx.example"), rules), 3);
    assert_int_equal(rules[2], 0);
    conf_free(c);
    c = good(H "policy { relay = 'a.example:25' } mx '*' { connections = 3 }");
    assert_int_equal(conf_match(c, SPAN("a.example"), SPAN("mx.example"), rules), 0);
    conf_free(c);
}

static void what_explain_says(void **state)
{
    (void)state;
    static const int rule[] = {0};
    struct conf *c = good(H "domain 'a.example' { relay = 'a.example:25' }\n");
    struct buf lines = {0};
    conf_explain(&lines, c, rule, 1);
    assert_non_null(strstr(buf_cstr(&lines), "\nrelay\t'a.example:25'\ta.conf:2\n"));
    assert_non_null(strstr(buf_cstr(&lines), "\nconnection_rate\t'0'\tdefault\n"));
    buf_reset(&lines);
    conf_explain(&lines, c, NULL, 0);
    assert_non_null(strstr(buf_cstr(&lines), "\nconnection_rate\t'10/s'\tdefault\n"));
    buf_finish(&lines);
    conf_free(c);
}

/* A reload changes what may be changed, and whether there is a default rate goes with
 * the relay that there is. */
static void relays_stay(void **state)
{
    (void)state;
    static const int rule[] = {0};
    struct conf_policy p;
    struct conf *begun = good(H "domain 'a.example' { relay = 'a.example:25'\n"
                                "    relay_user = u relay_password_file = '/p' }\n");
    struct conf *c = good(H "domain 'a.example' { connections = 3 }\n");
    conf_policy_now(c, begun, rule, 1, &p);
    assert_string_equal(p.relay, "a.example:25");
    assert_string_equal(p.relay_user, "u");
    assert_string_equal(p.relay_password_file, "/p");
    assert_int_equal(p.connections, 3);
    assert_int_equal(p.connection_rate, 0);
    conf_policy_now(begun, c, rule, 1, &p);
    assert_string_equal(p.relay, "");
    assert_int_equal(p.connection_rate, 10 * 3600);
    conf_free(begun);
    conf_free(c);
}

#define CLEAR "relay_tls = none: "

static void contradictions(void **state)
{
    (void)state;
    bad(H "policy { relay = 'a:25'\n relay_tls = none\n tls = verify }", -7,
        "a.conf:3: " CLEAR "tls = verify forbids mail in clear");
    bad(H "policy { tls = encrypt }\n"
          "domain 'a.example' { relay = 'a:25'\n relay_tls = none }",
        -7,
        "a.conf:4: " CLEAR "tls = encrypt forbids mail in clear (domain 'a.example')");
    bad(H "policy { relay = 'a:25'\n relay_user = u }", -7,
        "a.conf:3: relay_user: relay_password_file is not set");
    bad(H "policy { relay_user = u relay_password_file = '/p'\n relay_tls = none }\n"
          "domain '*.a.example' { relay = 'a:25' }",
        -7,
        "a.conf:3: " CLEAR "the password would cross in clear, which relay_auth_clear "
        "forbids (domain '*.a.example')");
    /* Two sections of a domain, and none of them alone. */
    bad(H "domain '*.example' { relay = 'a:25' relay_tls = none }\n\n"
          "domain 'a.example' { tls = encrypt }",
        -7,
        "a.conf:2: " CLEAR "tls = encrypt forbids mail in clear (domain 'a.example', "
        "domain '*.example')");
    /* Sections of hosts: what a domain may meet there. */
    bad(H "mx 'a*' { relay = 'a:25' }\nmx '*b' { relay_tls = none }\n"
          "mx '*c' { relay_user = u relay_password_file = '/p' }",
        -7,
        "a.conf:3: " CLEAR "the password would cross in clear, which relay_auth_clear "
        "forbids (mx 'a*', mx '*b', mx '*c')");
    bad(H "mx '*' { relay = 'a:25' relay_tls = none }\n"
          "domain 'a.example' { tls = encrypt }",
        -7,
        "a.conf:2: " CLEAR
        "tls = encrypt forbids mail in clear (domain 'a.example', mx '*')");
    /* What nobody meets is no contradiction. */
    conf_free(good(H "mx '*' { relay_tls = none tls = encrypt relay_user = u }"));
    conf_free(good(H "domain 'a.example' { relay = 'a:25' relay_tls = none }\n"
                     "mx '*' { tls = encrypt }"));
    conf_free(good(H "policy { relay = 'a:25' relay_tls = none }\n"
                     "domain 'a.example' { relay = '' tls = encrypt }"));
}

static void what_is_for_another_relay(void **state)
{
    (void)state;
#define TWO                                                                            \
    H "policy { relay = 'a:25'\n relay_user = u\n relay_password_file = '/p' }\n"      \
      "domain 'b.example' {\n relay = 'b:25'\n"
    bad(TWO "}", -7,
        "a.conf:6: relay = \"b:25\" needs relay_user beside it: that at a.conf:3 is "
        "for "
        "\"a:25\" (domain 'b.example')");
    bad(TWO "relay_user = v }", -7,
        "a.conf:6: relay = \"b:25\" needs relay_password_file beside it: that at "
        "a.conf:4 is for \"a:25\" (domain 'b.example')");
    conf_free(good(TWO "relay_user = v relay_password_file = '/q' }"));
    conf_free(good(TWO "relay_user = '' }"));
    bad(H "policy { relay = 'a:25' relay_tls = none }\n"
          "domain 'b.example' { relay = 'b:25' }",
        -7,
        "a.conf:3: relay = \"b:25\" needs relay_tls beside it: that at a.conf:2 is for "
        "\"a:25\" (domain 'b.example')");
    bad(H "policy { relay = 'a:25' relay_auth_clear = yes }\n"
          "domain 'b.example' { relay = 'b:25' relay_tls = none\n"
          "    relay_user = v relay_password_file = '/q' }",
        -7,
        "a.conf:3: relay = \"b:25\" needs relay_auth_clear beside it: that at a.conf:2 "
        "is for \"a:25\" (domain 'b.example')");
    bad(H "mx 'a*' { relay = 'a:25' }\n"
          "mx '*' { relay = 'b:25' relay_user = u relay_password_file = '/p' }",
        -7,
        "a.conf:2: relay = \"a:25\" needs relay_user beside it: that at a.conf:3 is "
        "for "
        "\"b:25\" (mx 'a*', mx '*')");
    /* The same relay, or none: what stands in policy { } is for all. */
    conf_free(good(H "policy { relay = 'A.example:25' relay_tls = implicit }\n"
                     "domain 'b.example' { relay = 'a.Example:25' }"));
    conf_free(good(H "policy { relay_user = u relay_password_file = '/p' }\n"
                     "domain 'a.example' { relay = 'a:25' }\n"
                     "domain 'b.example' { relay = 'b:25' }"));
    /* Mail that another section takes out has its own. */
    conf_free(good(H "domain '*.example' { relay = 'a:25' relay_tls = none }\n"
                     "domain 'b.example' { relay = 'b:25' relay_tls = starttls }"));
}

static void hosts_that_are_not_asked(void **state)
{
    (void)state;
    bad(H "mx '*' {\n relay = '' }\npolicy { relay = 'a:25' }", -7,
        "a.conf:3: relay in a section mx can never hold: with that at a.conf:4 for all "
        "mail no MX is asked; domain sections can take mail out of it");
    conf_free(good(H "mx '*' { relay = '' }\nmx 'a' { relay = 'a:25' }"));
}

/* More combinations than are looked at: it is still done soon. */
static void very_many_sections(void **state)
{
    (void)state;
    struct buf text = {0};
    buf_add_str(&text, H);
    for (int i = 0; i < 1000; i++)
        buf_printf(&text, "mx 'm%d.*' { relay = 'a:25' }\n", i);
    struct conf *c = good(buf_cstr(&text));
    assert_int_equal(c->rules_n, 1000);
    conf_free(c);
    buf_finish(&text);
}

static void reads_back(void **state)
{
    (void)state;
    file("b.conf", "mx '*' { relay = 'b.example:25' relay_user = u\n"
                   "relay_password_file = 'p' relay_tls = implicit }");
    struct conf *c = good(H "domain 'a.example' { relay = ''\n relay_auth_clear = yes }"
                            "include('b.conf')");
    struct buf text = {0}, want = {0};
    conf_write(&text, c, NULL);
    buf_printf(&want,
               "domain 'a.example' {\n    relay = ''\n    relay_auth_clear = yes\n}\n"
               "mx '*' {\n    relay = 'b.example:25'\n    relay_user = 'u'\n"
               "    relay_password_file = '%s/p'\n    relay_tls = 'implicit'\n}\n",
               folder);
    assert_non_null(strstr(buf_cstr(&text), buf_cstr(&want)));
    struct conf *back = good(buf_cstr(&text));
    through(back, "a.example", "x", " u");
    through(back, "b.example", "x", "b.example:25 u");
    conf_free(back);
    conf_free(c);
    buf_finish(&text);
    buf_finish(&want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(some_have_a_relay),
        cmocka_unit_test(a_relay_hides_the_hosts),
        cmocka_unit_test(what_explain_says),
        cmocka_unit_test(relays_stay),
        cmocka_unit_test(contradictions),
        cmocka_unit_test(what_is_for_another_relay),
        cmocka_unit_test(hosts_that_are_not_asked),
        cmocka_unit_test(very_many_sections),
        cmocka_unit_test(reads_back),
    };
    return cmocka_run_group_tests(tests, enter_folder, remove_folder);
}
