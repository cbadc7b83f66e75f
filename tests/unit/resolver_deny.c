#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "resolver/deny.h"

static const char *const all[] = {"reserved", "private",    "loopback",
                                  "self",     "link-local", "multicast"};
enum { ALL_N = sizeof all / sizeof *all };

static struct ip ip(const char *text)
{
    struct ip out;
    if (!ip_parse(text, &out))
        fail_msg("%s is no address", text);
    return out;
}

/* clang-format off */
static const struct {
    const char *address;
    const char *reason; /* NULL: allowed */
} cases[] = {
    {"8.8.8.8", NULL},
    {"1.1.1.1", NULL},
    {"2a00:1450:4001:80e::1a", NULL},
    {"126.255.255.255", NULL},
    {"128.0.0.0", NULL},
    {"0.0.0.0", "self"}, {"0.255.255.255", "self"}, {"1.0.0.0", NULL},
    {"::", "self"}, {"::1", "loopback"}, {"::2", "self"},
    {"127.0.0.1", "loopback"}, {"127.255.255.255", "loopback"},
    {"::ffff:127.0.0.1", "loopback"}, {"::ffff:8.8.8.8", NULL},
    {"::ffff:0.0.0.0", "self"},
    {"9.255.255.255", NULL}, {"10.0.0.0", "private"}, {"10.255.255.255", "private"},
    {"11.0.0.0", NULL},
    {"172.15.255.255", NULL}, {"172.16.0.0", "private"}, {"172.31.255.255", "private"},
    {"172.32.0.0", NULL},
    {"192.167.255.255", NULL}, {"192.168.0.1", "private"}, {"192.169.0.0", NULL},
    {"100.63.255.255", NULL}, {"100.64.0.0", "private"}, {"100.127.255.255", "private"},
    {"100.128.0.0", NULL},
    {"fc00::1", "private"}, {"fdff:ffff::", "private"}, {"fbff::", NULL}, {"fe00::", NULL},
    {"fec0::1", "private"},
    {"169.254.0.1", "link-local"}, {"169.253.255.255", NULL}, {"169.255.0.0", NULL},
    {"fe80::1", "link-local"}, {"febf::1", "link-local"},
    {"223.255.255.255", NULL}, {"224.0.0.1", "multicast"}, {"239.255.255.255", "multicast"},
    {"ff02::1", "multicast"},
    {"240.0.0.0", "reserved"}, {"255.255.255.255", "reserved"},
    {"192.0.0.8", "reserved"}, {"192.0.1.0", NULL}, {"192.0.2.1", "reserved"},
    {"192.0.3.0", NULL}, {"198.51.100.7", "reserved"}, {"203.0.113.255", "reserved"},
    {"198.17.255.255", NULL}, {"198.18.0.0", "reserved"}, {"198.19.255.255", "reserved"},
    {"198.20.0.0", NULL}, {"192.88.99.1", "reserved"},
    {"100::1", "reserved"}, {"2001:db8::1", "reserved"}, {"2001:db9::1", NULL},
    {"2001::1", "reserved"}, {"2001:1ff:ffff::", "reserved"}, {"2001:200::", NULL},
    {"3fff::1", "reserved"}, {"3fff:1000::", NULL}, {"5f00::1", "reserved"},
    {"64:ff9b:1::1", "reserved"},
    /* forms that carry an IPv4 address: IPv4-compatible, 6to4, NAT64 */
    {"::127.0.0.1", "loopback"}, {"::8.8.8.8", "reserved"},
    {"2002:7f00:1::", "loopback"}, {"2002:a00:1::1", "private"}, {"2002:808:808::1", NULL},
    {"64:ff9b::10.0.0.1", "private"}, {"64:ff9b::127.0.0.1", "loopback"},
    {"64:ff9b::8.8.8.8", NULL},
};
/* clang-format on */

static void default_words(void **state)
{
    (void)state;
    struct fault f = {0};
    struct deny *d = deny_create(all, ALL_N, NULL, 0, &f);
    assert_non_null(d);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ip a = ip(cases[i].address);
        const char *reason = deny_match(d, &a);
        if (!reason != !cases[i].reason ||
            (reason && strcmp(reason, cases[i].reason) != 0))
            fail_msg("%s: %s, not %s", cases[i].address, reason ? reason : "allowed",
                     cases[i].reason ? cases[i].reason : "allowed");
    }
    deny_free(d);
}

static void one_word_is_only_that_word(void **state)
{
    (void)state;
    for (int w = 0; w < ALL_N; w++) {
        struct fault f = {0};
        struct deny *d = deny_create(&all[w], 1, NULL, 0, &f);
        int denied = 0;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct ip a = ip(cases[i].address);
            const char *reason = deny_match(d, &a);
            if (reason) {
                assert_string_equal(reason, all[w]);
                denied++;
            }
        }
        assert_true(denied > 0);
        deny_free(d);
    }
}

static void own_addresses_come_first(void **state)
{
    (void)state;
    struct fault f = {0};
    struct ip own[] = {ip("10.0.0.5"), ip("2a00:1450::5"), ip("8.8.4.4")};
    struct deny *d = deny_create(all, ALL_N, own, 3, &f);
    for (int i = 0; i < 3; i++)
        assert_string_equal(deny_match(d, &own[i]), "self");
    struct ip other = ip("10.0.0.6");
    assert_string_equal(deny_match(d, &other), "private");
    struct ip nat = ip("64:ff9b::8.8.4.4"); /* we, through NAT64 */
    assert_string_equal(deny_match(d, &nat), "self");
    deny_free(d);
    d = deny_create((const char *[]){"private"}, 1, own, 3, &f);
    assert_null(deny_match(d, &own[2])); /* "self" was not asked for */
    deny_free(d);
}

static void networks(void **state)
{
    (void)state;
    struct fault f = {0};
    const char *words[] = {"192.0.2.0/24", "2a00:1450::/32", "8.8.8.8", "9.0.0.0/7",
                           "2001:500::1"};
    struct deny *d = deny_create(words, 4, NULL, 0, &f);
    assert_null(d); /* 9/7 has a bit behind its length */
    assert_int_equal(f.code, -7);
    f = (struct fault){0};
    words[3] = "8.0.0.0/13";
    d = deny_create(words, 5, NULL, 0, &f);
    assert_non_null(d);
    /* clang-format off */
    const struct { const char *address, *reason; } rows[] = {
        {"192.0.2.255", "192.0.2.0/24"}, {"192.0.3.0", NULL},
        {"2a00:1450:ffff::", "2a00:1450::/32"}, {"2a00:1451::", NULL},
        {"8.8.8.8", "8.8.8.8"}, {"8.7.255.255", "8.0.0.0/13"}, {"8.8.8.9", NULL},
        {"::ffff:192.0.2.9", "192.0.2.0/24"}, {"2002:c000:201::", "192.0.2.0/24"},
        {"2001:500::1", "2001:500::1"}, {"2001:500::2", NULL}, {"127.0.0.1", NULL},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ip a = ip(rows[i].address);
        const char *reason = deny_match(d, &a);
        if (rows[i].reason)
            assert_string_equal(reason, rows[i].reason);
        else
            assert_null(reason);
    }
    deny_free(d);
}

static void families_do_not_mix(void **state)
{
    (void)state;
    struct fault f = {0};
    struct ip v4 = ip("8.8.8.8");
    struct ip v6 = ip("2a00::1");
    struct deny *d = deny_create((const char *[]){"::/0"}, 1, NULL, 0, &f);
    assert_null(deny_match(d, &v4));
    assert_string_equal(deny_match(d, &v6), "::/0");
    deny_free(d);
    d = deny_create((const char *[]){"0.0.0.0/0"}, 1, NULL, 0, &f);
    assert_string_equal(deny_match(d, &v4), "0.0.0.0/0");
    assert_null(deny_match(d, &v6));
    deny_free(d);
}

static void bad_words(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "locals",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/8 ",
        "10.0.0/8",
        "::/129",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/8x",
        "fe80::1%lo",
        "1.2.3.4.5",
        "example.jp",
        "10.0.0.1/8",
        "::1/64",
        "10.0.0.0/0008",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct fault f = {0};
        const char *words[] = {"loopback", bad[i]};
        if (deny_create(words, 2, NULL, 0, &f))
            fail_msg("\"%s\" was taken", bad[i]);
        assert_int_equal(f.code, -7);
        assert_non_null(strstr(f.words, bad[i]));
    }
}

static void nothing_denied(void **state)
{
    (void)state;
    struct fault f = {0};
    struct ip a = ip("127.0.0.1");
    assert_null(deny_match(NULL, &a));
    struct deny *d = deny_create(NULL, 0, NULL, 0, &f);
    assert_non_null(d);
    assert_null(deny_match(d, &a));
    deny_free(d);
    deny_free(NULL);
}

static void addresses_as_text(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
        bool v4;
    } rows[] = {{"192.0.2.1", "192.0.2.1", true},
                {"::ffff:192.0.2.1", "192.0.2.1", true},
                {"2001:DB8::0:1", "2001:db8::1", false},
                {"1111:2222:3333:4444:5555:6666:7777:8888",
                 "1111:2222:3333:4444:5555:6666:7777:8888", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ip a = ip(rows[i].in);
        char text[IP_TEXT_MAX];
        ip_print(&a, text);
        assert_string_equal(text, rows[i].out);
        assert_int_equal(ip_is_v4(&a), rows[i].v4);
    }
    struct ip a;
    assert_false(ip_parse("", &a));
    assert_false(ip_parse("1.2.3", &a));
    assert_false(ip_parse("1.2.3.4 ", &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_words),
        cmocka_unit_test(one_word_is_only_that_word),
        cmocka_unit_test(own_addresses_come_first),
        cmocka_unit_test(networks),
        cmocka_unit_test(families_do_not_mix),
        cmocka_unit_test(bad_words),
        cmocka_unit_test(nothing_denied),
        cmocka_unit_test(addresses_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
