/* From sections to what the engine is told: who goes where, whose limits hold, and what
 * a relay is never told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/policies.h"
#include "tests/unit/conf_help.h"

struct bench {
    struct conf *conf;
    struct relays relays;
    struct trust trust;
    struct policies policies;
    struct engine_policies engine;
};

static void set_up(struct bench *b, const char *text)
{
    struct fault f = {0};
    *b = (struct bench){.conf = good(text)};
    assert_true(relays_open(&b->relays, b->conf, &f));
    assert_true(trust_open(&b->trust, b->conf, &f));
    policies_init(&b->policies, b->conf, &b->relays, &b->trust);
    b->engine = policies_engine(&b->policies);
}

static void tear_down(struct bench *b)
{
    policies_finish(&b->policies);
    trust_close(&b->trust);
    relays_close(&b->relays);
    conf_free(b->conf);
}

static const char *relay(struct bench *b, const char *domain, const struct mx_set *mx)
{
    const char *host = policies_relay(&b->policies, domain, mx);
    return host ? host : "";
}

static struct engine_policy policy(struct bench *b, const char *domain,
                                   const struct mx_set *mx)
{
    struct engine_policy p;
    b->engine.get(b->engine.arg, policies_number(&b->policies, domain, mx, mx), &p);
    return p;
}

static const struct mx_set google = {.key = "mx.google.com;b.example", .site = "x"};
static const struct mx_set nowhere = {.key = "", .site = "x", .code = 700};

static void who_goes_where(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b,
           H "domain 'a.example' { relay = 'A.example:587' }\n"
             "domain '*.jp' { relay = '[2001:db8::1]:25' }\n"
             "domain 'direct.jp' { relay = '' }\n"
             "mx '*.google.com' { relay = 'c.example:465' relay_tls = implicit }\n");
    assert_int_equal(b.relays.n, 3);
    assert_string_equal(relay(&b, "a.example", NULL), "[a.example]");
    assert_string_equal(relay(&b, "a.example", &google), "[a.example]");
    assert_string_equal(relay(&b, "x.jp", NULL), "[2001:db8::1]");
    assert_string_equal(relay(&b, "direct.jp", &google), "");
    assert_string_equal(relay(&b, "b.example", NULL), "");
    assert_string_equal(relay(&b, "b.example", &nowhere), "");
    assert_string_equal(relay(&b, "b.example", &google), "[c.example]");
    struct engine_policy p = policy(&b, "a.example", NULL);
    assert_int_equal(p.destination.port, 587);
    assert_true(p.destination.verdict.relay);
    assert_int_equal(p.destination.smtp.tls, SMTP_TLS_REQUIRE);
    assert_false(p.destination.smtp.secured);
    p = policy(&b, "b.example", &google);
    assert_int_equal(p.destination.port, 465);
    assert_true(p.destination.smtp.secured);
    p = policy(&b, "b.example", NULL);
    assert_int_equal(p.destination.port, 25);
    assert_false(p.destination.verdict.relay);
    assert_int_equal(p.destination.smtp.tls, SMTP_TLS_MAY);
    tear_down(&b);
}

/* A rehearsal goes its own way, with the limits of its sections. */
static void none_in_a_rehearsal(void **state)
{
    (void)state;
    struct bench b;
    static const struct relays none;
    set_up(&b, H "policy { relay = 'a.example:587' }\n"
                 "domain 'b.example' { connections = 3 }\n");
    policies_finish(&b.policies);
    policies_init(&b.policies, b.conf, &none, &b.trust);
    b.policies.port = 2525;
    b.engine = policies_engine(&b.policies);
    assert_null(b.engine.relay);
    assert_string_equal(relay(&b, "b.example", NULL), "");
    struct engine_policy p = policy(&b, "b.example", NULL);
    assert_int_equal(p.destination.port, 2525);
    assert_false(p.destination.verdict.relay);
    assert_int_equal(p.queue.connections, 3);
    assert_string_equal(p.budget, "b.example");
    tear_down(&b);
}

static void whose_limits_hold(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b, H "domain 'a.example' { relay = 'a:25' lifetime = 1h }\n"
                 "domain 'b.example' { relay = 'a:25' }\n"
                 "domain 'c.example' { relay = 'c:25' }\n"
                 "domain '*.jp' { connections = 3 unknown_limit = 5 }\n"
                 "domain 'a.jp' { relay = 'a:25' }\n"
                 "domain 'c.jp' { relay = 'c:25' message_rate = 1/s }\n");
    static const char *const domains[] = {"a.example", "c.example", "x.jp",
                                          "a.jp",      "c.jp",      "x.example"};
    enum { N = sizeof domains / sizeof *domains };
    uint32_t providers[N];
    for (int i = 0; i < N; i++) {
        providers[i] = policy(&b, domains[i], NULL).queue.provider;
        for (int j = 0; j < i; j++)
            assert_int_not_equal(providers[i], providers[j]);
    }
    assert_int_equal(providers[N - 1], 0); /* each site by itself */
    /* Two sections without limits, one relay: one budget. */
    assert_int_equal(policy(&b, "b.example", NULL).queue.provider, providers[0]);
    struct engine_policy p = policy(&b, "a.jp", NULL);
    assert_int_equal(p.queue.connections, 3);
    assert_int_equal(p.queue.unknown_percent, 0); /* a relay is no carrier */
    assert_int_equal(p.queue.connection_rate, 0);
    assert_string_equal(p.budget, "a"); /* who sees our address */
    p = policy(&b, "x.jp", NULL);
    assert_int_equal(p.queue.unknown_percent, 5);
    assert_int_equal(p.queue.connection_rate, 10 * 3600);
    assert_string_equal(p.budget, "*.jp");
    assert_string_equal(policy(&b, "a.example", NULL).budget, "a");
    assert_null(policy(&b, "x.example", NULL).budget);
    tear_down(&b);
}

/* What weaker sections give bounds it too: for each way by itself, and by the same name
 * in every job. */
static void whose_limits_hold_too(void **state)
{
    (void)state;
    struct bench b;
    set_up(&b, H "mx '*.google.com' { connections = 2 message_rate = 7/s }\n"
                 "domain 'a.jp' { connections = 3 }\n"
                 "domain '*.jp' { message_rate = 5/s }\n"
                 "domain 'b.jp' { relay = 'b:25' connections = 4 }\n");
    const struct scheduler_policy a = policy(&b, "a.jp", &google).queue;
    assert_int_equal(a.connections, 3);
    assert_int_equal(a.message_rate, 5 * 3600);
    assert_int_equal(a.outer_n, 2);
    assert_int_equal(a.outer[0].connections, UINT32_MAX); /* it gives none */
    assert_int_equal(a.outer[0].message_rate, 5 * 3600);
    assert_int_equal(a.outer[1].connections, 2);
    assert_int_equal(a.outer[1].message_rate, 7 * 3600);
    assert_int_equal(a.outer[1].connection_rate, 0); /* policy { } is no section */
    const struct scheduler_policy g = policy(&b, "x.example", &google).queue;
    assert_int_equal(g.outer_n, 1);
    assert_int_equal(g.outer[0].number, a.outer[1].number);
    assert_int_equal(g.outer[0].key, a.outer[1].key);
    assert_int_equal(g.outer[0].key, g.key);
    const struct scheduler_policy r = policy(&b, "b.jp", NULL).queue;
    assert_int_equal(r.outer_n, 1);
    assert_int_not_equal(r.outer[0].number, a.outer[0].number);
    assert_int_not_equal(r.outer[0].key, a.outer[0].key);
    assert_int_equal(policy(&b, "x.example", &nowhere).queue.outer_n, 0);
    tear_down(&b);
}

/* A reload changes what the sections give, and not who is within which. */
static void other_limits_of_the_same_sections(void **state)
{
    (void)state;
    struct bench b;
    struct fault f = {0};
    set_up(&b, H "mx '*.google.com' { connections = 2 }\n"
                 "domain 'a.jp' { connections = 3 }\n"
                 "domain '*.jp' { lifetime = 1h }\n");
    const struct scheduler_policy before = policy(&b, "a.jp", &google).queue;
    assert_int_equal(before.outer_n, 1);
    struct conf *later = good(H "mx '*.google.com' { message_rate = 7/s }\n"
                                "domain 'a.jp' { lifetime = 2h }\n"
                                "domain '*.jp' { connections = 9 }\n");
    assert_true(policies_take(&b.policies, later, &f));
    const struct scheduler_policy after = policy(&b, "a.jp", &google).queue;
    assert_int_equal(after.provider, before.provider);
    assert_int_equal(after.key, before.key);
    assert_int_equal(after.connections, 9);
    assert_int_equal(after.outer_n, 1);
    assert_int_equal(after.outer[0].number, before.outer[0].number);
    assert_int_equal(after.outer[0].connections, UINT32_MAX);
    assert_int_equal(after.outer[0].message_rate, 7 * 3600);
    tear_down(&b);
    conf_free(later);
}

static void each_its_own_password(void **state)
{
    (void)state;
    struct bench b;
    file("b.conf", "one\n");
    set_up(&b, H "domain 'a.example' { relay = 'a:25' relay_user = u\n"
                 "    relay_password_file = 'b.conf' }\n"
                 "domain 'b.example' { relay = 'b:25' relay_user = v relay_tls = none\n"
                 "    relay_password_file = 'b.conf' relay_auth_clear = yes }\n"
                 "domain 'c.example' { relay = 'a:25' }\n");
    file("b.conf", "another\n"); /* read already */
    struct engine_policy p = policy(&b, "a.example", NULL);
    assert_string_equal(p.destination.smtp.auth_user, "u");
    assert_string_equal(p.destination.smtp.auth_password, "one");
    assert_false(p.destination.smtp.auth_clear);
    p = policy(&b, "b.example", NULL);
    assert_string_equal(p.destination.smtp.auth_user, "v");
    assert_true(p.destination.smtp.auth_clear);
    assert_int_equal(p.destination.smtp.tls, SMTP_TLS_NONE);
    p = policy(&b, "c.example", NULL);
    assert_null(p.destination.smtp.auth_user);
    p = policy(&b, "x.example", NULL);
    assert_null(p.destination.smtp.auth_user);
    tear_down(&b);
}

static void unreadable(const char *text, const char *words)
{
    struct fault f = {0};
    struct relays r;
    struct conf *c = good(text);
    assert_false(relays_open(&r, c, &f));
    assert_int_equal(f.code, -7);
    assert_string_equal(f.words, words);
    relays_close(&r);
    conf_free(c);
}

static void passwords_that_are_not_there(void **state)
{
    (void)state;
    unreadable(H "domain 'a.example' { relay = 'a:25' relay_user = u\n"
                 "    relay_password_file = '/none' }",
               "a.conf:3: relay_password_file: \"/none\": No such file or directory");
    file("b.conf", "\n");
    unreadable(H "policy { relay_password_file = '/dev/null' }\n"
                 "domain 'a.example' { relay = 'a:25' relay_user = u }",
               "a.conf:2: relay_password_file: \"/dev/null\": its first line is empty");
    struct bench b; /* nobody needs it */
    set_up(&b, H "domain 'a.example' { relay_password_file = '/none' relay_user = u }");
    tear_down(&b);
    set_up(&b, H "domain 'a.example' { relay = 'a:25' relay_password_file = '/none' }");
    tear_down(&b);
}

/* Behind so many combinations that nobody looked at this one: it is met, and gets
 * neither the password nor mail in clear. */
static void what_does_not_fit(void **state)
{
    (void)state;
    struct bench b;
    struct buf text = {0};
    buf_add_str(&text, H);
    for (int i = 0; i < 800; i++)
        buf_printf(&text, "mx 'm%d.*' { relay = 'a:25' %s }\n", i,
                   i < 799 ? "relay_tls = starttls" : "");
    buf_add_str(&text, "mx 'm*' { relay_tls = none tls = encrypt relay_user = u\n"
                       "    relay_password_file = 'b.conf' relay_auth_clear = yes }\n");
    file("b.conf", "one\n");
    set_up(&b, buf_cstr(&text));
    static const struct mx_set set = {.key = "m799.example", .site = "x"};
    struct engine_policy p = policy(&b, "a.example", &set);
    assert_true(p.destination.verdict.relay);
    assert_int_equal(p.destination.smtp.tls, SMTP_TLS_REQUIRE);
    assert_null(p.destination.smtp.auth_user);
    assert_null(p.destination.smtp.auth_password);
    tear_down(&b);
    buf_finish(&text);
}

/* A reload that gives other relays changes none; what it may change it does. */
static void a_reload(void **state)
{
    (void)state;
    struct bench b;
    struct fault f = {0};
    set_up(&b, H "domain 'a.example' { relay = 'a:25' }\n"
                 "domain 'b.example' { }\nmx '*.google.com' { }\n");
    uint32_t number = policies_number(&b.policies, "b.example", &google, &google);
    struct conf *fresh =
        good(H "domain 'a.example' { connections = 3 }\n"
               "domain 'b.example' { relay = 'b:25' connections = 4 }\n"
               "mx '*.google.com' { lifetime = 1h }\n");
    assert_true(policies_take(&b.policies, fresh, &f));
    assert_string_equal(relay(&b, "a.example", NULL), "[a]");
    assert_string_equal(relay(&b, "b.example", NULL), "");
    struct engine_policy p = policy(&b, "a.example", NULL);
    assert_true(p.destination.verdict.relay);
    assert_int_equal(p.queue.connections, 3);
    /* Its hosts are still looked at. */
    assert_int_equal(policies_number(&b.policies, "b.example", &google, &google),
                     number);
    p = policy(&b, "b.example", &google);
    assert_false(p.destination.verdict.relay);
    assert_int_equal(p.queue.connections, 4);
    assert_int_equal(p.queue.lifetime_ms, 3600000);
    tear_down(&b);
    conf_free(fresh);
}

static void whom_tls_believes(void **state)
{
    (void)state;
    struct bench b;
    struct fault f = {0};
    set_up(&b, H "domain 'a.example' { tls_min_version = 1.3 }\n");
    assert_int_equal(b.trust.files_n, 1);
    assert_null(b.trust.authorities[0]); /* nobody verifies */
    int any = policy(&b, "b.example", NULL).destination.tls;
    int new = policy(&b, "a.example", NULL).destination.tls;
    assert_int_equal(b.trust.kinds[any].min_version, 12);
    assert_int_equal(b.trust.kinds[new].min_version, 13);
    tear_down(&b);
    set_up(&b, H "domain 'a.example' { tls = verify }\n");
    assert_non_null(b.trust.authorities[0]);
    tear_down(&b);
    struct conf *c = good(H "policy { tls_ca_file = ''\n }\n"
                            "domain 'a.example' {\n tls_ca_file = '/none' }");
    assert_false(trust_open(&b.trust, c, &f));
    assert_string_equal(f.words, "a.conf:5: tls_ca_file: cannot read certificates from "
                                 "\"/none\": No such file or directory");
    trust_close(&b.trust);
    conf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_goes_where),
        cmocka_unit_test(none_in_a_rehearsal),
        cmocka_unit_test(whose_limits_hold),
        cmocka_unit_test(whose_limits_hold_too),
        cmocka_unit_test(other_limits_of_the_same_sections),
        cmocka_unit_test(each_its_own_password),
        cmocka_unit_test(passwords_that_are_not_there),
        cmocka_unit_test(what_does_not_fit),
        cmocka_unit_test(a_reload),
        cmocka_unit_test(whom_tls_believes),
    };
    return cmocka_run_group_tests(tests, enter_folder, remove_folder);
}
