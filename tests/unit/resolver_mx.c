/* What becomes of a domain, for worlds of DNS records; and the order of targets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "resolver/mx.h"
#include "resolver_packet.h"

#define S INT64_C(1000000)

static struct deny *deny;

static int set_up(void **state)
{
    (void)state;
    static const char *const words[] = {"loopback", "self", "private", "link-local",
                                        "multicast"};
    struct ip own[2];
    struct fault f = {0};
    ip_parse("8.8.4.4", &own[0]);
    ip_parse("2a00::99", &own[1]);
    deny = deny_create(words, 5, own, 2, &f);
    return deny ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    deny_free(deny);
    return 0;
}

/* Drive a query through a world; answers come last question first, so that order is
 * seen not to matter. At time 0. */
static struct mx_set *resolve(const char *world, const char *domain, bool one_step)
{
    static struct packet packet;
    struct dns_answer answer;
    struct mx_query *q = mx_query_create(domain, deny);
    int asked = 0;
    while (!mx_query_done(q)) {
        struct mx_question open[MX_QUESTIONS_MAX];
        int n = 0;
        while (mx_query_next(q, &open[n]))
            n++;
        assert_true(n > 0);
        while (n-- > 0) {
            assert_true(dns_name_valid(open[n].name));
            assert_true(asked++ < 100);
            world_answer(world, 7, open[n].name, open[n].type, one_step, &packet);
            dns_answer_parse(packet.p, packet.n, open[n].name, open[n].type, &answer);
            mx_query_answer(q, open[n].id, &answer, mx_answer_expires(&answer, 0));
        }
    }
    return mx_query_finish(q, 0, 1234);
}

/* "10 mx1=1.2.3.4,2a00::1; 20 mx2=…" */
static const char *hosts_text(const struct mx_set *s)
{
    static char out[4096];
    size_t n = 0;
    out[0] = '\0';
    for (int h = 0; h < s->hosts_n; h++) {
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%d %s=", h ? "; " : "",
                              s->hosts[h].preference, s->hosts[h].name);
        for (int a = 0; a < s->hosts[h].addresses_n; a++) {
            char text[IP_TEXT_MAX];
            ip_print(&s->hosts[h].addresses[a], text);
            n += (size_t)snprintf(out + n, sizeof out - n, "%s%s", a ? "," : "", text);
        }
    }
    return out;
}

struct row {
    const char *what;
    const char *world;
    int code;
    const char *hosts; /* code 0 */
    const char *words; /* else: a part of them */
    const char *key;   /* NULL: not looked at */
    int64_t expires_s; /* 0: not looked at */
};

/* Each row resolves d.test. */
/* clang-format off */
static const struct row rows[] = {
    {"plain MX, two families",
     "d.test MX 10 mx.test\n mx.test A 8.8.8.8\n mx.test AAAA 2a00::1",
     0, "10 mx.test=8.8.8.8,2a00::1", NULL, "mx.test", 3600},
    {"order by preference, then name; letter case",
     "d.test MX 20 b.test\n d.test MX 10 Z.test\n d.test MX 10 A.TEST\n"
     "a.test A 8.0.0.1\n b.test A 8.0.0.2\n z.test A 8.0.0.3",
     0, "10 a.test=8.0.0.1; 10 z.test=8.0.0.3; 20 b.test=8.0.0.2", NULL,
     "a.test,z.test;b.test", 3600},
    {"the same host twice counts with its best preference",
     "d.test MX 20 a.test\n d.test MX 10 a.test\n d.test MX 30 a.test\n a.test A 8.0.0.1",
     0, "10 a.test=8.0.0.1", NULL, "a.test", 0},
    {"128 NXDOMAIN", "other.test -", 700, NULL, "d.test does not exist", "d.test", 300},
    {"129 SERVFAIL", "d.test MX ! 2", 710, NULL, "MX of d.test: SERVFAIL", "d.test", 30},
    {"130 REFUSED", "d.test MX ! 5", 711, NULL, "REFUSED", NULL, 30},
    {"130 FORMERR", "d.test MX ! 1", 711, NULL, "FORMERR", NULL, 30},
    {"130 NOTIMP", "d.test MX ! 4", 711, NULL, "NOTIMP", NULL, 30},
    {"133 implicit MX", "d.test A 8.8.8.8", 0, "0 d.test=8.8.8.8", NULL, "d.test", 300},
    {"133 implicit MX, IPv6 alone", "d.test AAAA 2a00::1", 0, "0 d.test=2a00::1", NULL,
     "d.test", 300},
    {"134 nothing at all", "d.test -", 720, NULL, "no MX and no address", NULL, 300},
    {"135 one host without address",
     "d.test MX 10 a.test\n d.test MX 20 b.test\n b.test A 8.8.8.8",
     0, "20 b.test=8.8.8.8", NULL, "a.test;b.test", 3600},
    {"135 no host with an address",
     "d.test MX 10 a.test\n d.test MX 20 b.test\n b.test -\n d.test A 8.8.8.8",
     720, NULL, "no MX host of d.test has an address", NULL, 900},
    {"136 MX fails, A exists: no fallback", "d.test MX ! 2\n d.test A 8.8.8.8",
     710, NULL, "SERVFAIL", NULL, 30},
    {"137 all address lookups fail",
     "d.test MX 10 a.test\n a.test A ! 2\n a.test AAAA ! 2", 710, NULL,
     "address of a.test: SERVFAIL", "a.test", 30},
    {"137 one family fails, the other has nothing",
     "d.test MX 10 a.test\n a.test AAAA ! 2", 710, NULL, "SERVFAIL", NULL, 30},
    {"137 one family fails, the other is enough; looked at again soon",
     "d.test MX 10 a.test\n a.test AAAA ! 2\n a.test A 8.8.8.8", 0, "10 a.test=8.8.8.8",
     NULL, "a.test", 900},
    {"refusals for addresses",
     "d.test MX 10 a.test\n a.test A ! 5\n a.test AAAA ! 5", 711, NULL, "REFUSED", NULL, 30},
    {"SERVFAIL says more than REFUSED",
     "d.test MX 10 a.test\n a.test A ! 5\n a.test AAAA ! 2", 710, NULL, "SERVFAIL", NULL, 30},
    {"implicit MX, address fails", "d.test A ! 2", 710, NULL, "SERVFAIL", NULL, 30},
    {"138 null MX", "d.test MX 0 .\n d.test A 8.8.8.8", 720, NULL, "null MX", NULL, 900},
    {"139 null MX beside a real one",
     "d.test MX 0 .\n d.test MX 10 a.test\n a.test A 8.8.8.8", 0, "10 a.test=8.8.8.8", NULL,
     "a.test", 0},
    {"140 MX to CNAME",
     "d.test MX 10 a.test\n a.test CNAME b.test\n b.test A 8.8.8.8", 0,
     "10 a.test=8.8.8.8", NULL, "a.test", 0},
    {"141 CNAME at the domain",
     "d.test CNAME e.test\n e.test MX 5 a.test\n a.test A 8.8.8.8", 0, "5 a.test=8.8.8.8",
     NULL, "a.test", 0},
    {"141 CNAME at the domain, implicit MX", "d.test CNAME e.test\n e.test A 8.8.8.8", 0,
     "0 e.test=8.8.8.8", NULL, "e.test", 0},
    {"141 CNAME to nothing", "d.test CNAME e.test", 700, NULL, "does not exist", NULL, 300},
    {"141 CNAME loop", "d.test CNAME e.test\n e.test CNAME d.test", 711, NULL, "CNAME", NULL,
     30},
    {"141 CNAME to itself", "d.test CNAME d.test", 711, NULL, "CNAME", NULL, 30},
    {"141 a chain of 16",
     "d.test CNAME c1\n c1 CNAME c2\n c2 CNAME c3\n c3 CNAME c4\n c4 CNAME c5\n c5 CNAME c6\n"
     "c6 CNAME c7\n c7 CNAME c8\n c8 CNAME c9\n c9 CNAME c10\n c10 CNAME c11\n"
     "c11 CNAME c12\n c12 CNAME c13\n c13 CNAME c14\n c14 CNAME c15\n c15 CNAME a.test\n"
     "a.test A 8.8.8.8", 0, "0 a.test=8.8.8.8", NULL, NULL, 0},
    {"141 a chain of 17",
     "d.test CNAME c1\n c1 CNAME c2\n c2 CNAME c3\n c3 CNAME c4\n c4 CNAME c5\n c5 CNAME c6\n"
     "c6 CNAME c7\n c7 CNAME c8\n c8 CNAME c9\n c9 CNAME c10\n c10 CNAME c11\n"
     "c11 CNAME c12\n c12 CNAME c13\n c13 CNAME c14\n c14 CNAME c15\n c15 CNAME c16\n"
     "c16 CNAME a.test\n a.test A 8.8.8.8", 711, NULL, "chain too long", NULL, 0},
    {"142 MX to something like an address", "d.test MX 10 192.0.2.1", 720, NULL,
     "no MX host", "192.0.2.1", 900},
    {"143 loopback", "d.test MX 10 a.test\n a.test A 127.0.0.1", 730, NULL,
     "a.test [127.0.0.1]: loopback", NULL, 900},
    {"143 ::1", "d.test MX 10 a.test\n a.test AAAA ::1", 730, NULL, "[::1]: loopback", NULL, 0},
    {"143 0.0.0.0", "d.test A 0.0.0.0", 730, NULL, "self", NULL, 0},
    {"143 mapped loopback", "d.test AAAA ::ffff:127.0.0.1", 730, NULL, "loopback", NULL, 0},
    {"143 own address at the best preference: nothing is left",
     "d.test MX 10 a.test\n d.test MX 20 b.test\n a.test A 8.8.4.4\n b.test A 8.8.8.8",
     730, NULL, "a.test [8.8.4.4]: self", NULL, 0},
    {"143 own address: its preference and worse go, better stay",
     "d.test MX 10 a.test\n d.test MX 20 b.test\n d.test MX 20 c.test\n d.test MX 30 e.test\n"
     "a.test A 8.0.0.1\n b.test A 8.0.0.2\n c.test AAAA 2a00::99\n e.test A 8.0.0.3",
     0, "10 a.test=8.0.0.1", NULL, "a.test;b.test,c.test;e.test", 0},
    {"143 one own address among others makes the host us",
     "d.test MX 10 a.test\n a.test A 8.0.0.1\n a.test A 8.8.4.4", 730, NULL, "self", NULL, 0},
    {"143 we are the backup, the best host fails: later",
     "d.test MX 10 a.test\n d.test MX 20 b.test\n a.test A ! 2\n b.test A 8.8.4.4",
     710, NULL, "a.test", NULL, 0},
    {"143 we are the best, a worse one fails: it does not count",
     "d.test MX 10 a.test\n d.test MX 20 b.test\n b.test A ! 2\n a.test A 8.8.4.4",
     730, NULL, "self", NULL, 0},
    {"144 private, link-local, ULA, multicast",
     "d.test MX 10 a.test\n d.test MX 20 b.test\n a.test A 10.0.0.1\n a.test A 169.254.1.1\n"
     "b.test AAAA fc00::1\n b.test A 224.0.0.5", 730, NULL, "a.test [10.0.0.1]: private",
     NULL, 900},
    {"144 a private address beside a public one; worse hosts stay",
     "d.test MX 10 a.test\n d.test MX 20 b.test\n a.test A 10.0.0.1\n a.test A 8.0.0.1\n"
     "b.test A 8.0.0.2", 0, "10 a.test=8.0.0.1; 20 b.test=8.0.0.2", NULL, NULL, 0},
    {"denied, and the other host has nothing",
     "d.test MX 10 a.test\n d.test MX 20 b.test\n a.test A 10.0.0.1", 730, NULL, "private",
     NULL, 0},
    {"denied, and the other host fails: later",
     "d.test MX 10 a.test\n d.test MX 20 b.test\n a.test A 10.0.0.1\n b.test A ! 2", 710, NULL,
     "b.test", NULL, 0},
    {"152 names that no host may have",
     "d.test MX 10 bad*name.test\n d.test MX 20 a.test\n a.test A 8.8.8.8", 0,
     "20 a.test=8.8.8.8", NULL, "a.test", 0},
    {"152 only names that no host may have", "d.test MX 10 bad*name.test", 720, NULL,
     "names no possible host", NULL, 0},
    {"152 CNAME to such a name", "d.test CNAME bad*name.test", 711, NULL, "no host may have",
     NULL, 0},
    {"TTL: the least of MX, alias and addresses used",
     "d.test MX 10 a.test\n d.test TTL 5000\n a.test CNAME b.test\n a.test TTL 400\n"
     "b.test A 8.0.0.1\n b.test TTL 2000", 0, "10 a.test=8.0.0.1", NULL, NULL, 400},
    {"TTL 0 is a minute", "d.test MX 10 a.test\n d.test TTL 0\n a.test A 8.0.0.1", 0,
     "10 a.test=8.0.0.1", NULL, NULL, 60},
    {"TTL of a week is a day",
     "d.test MX 10 a.test\n d.test TTL 604800\n a.test A 8.0.0.1\n a.test TTL 604800", 0,
     "10 a.test=8.0.0.1", NULL, NULL, 86400},
    {"TTL with its first bit set is 0 (RFC 2181 8)",
     "d.test MX 10 a.test\n d.test TTL 4000000000\n a.test A 8.0.0.1", 0, "10 a.test=8.0.0.1",
     NULL, NULL, 60},
};
/* clang-format on */

static void check(const struct row *row, bool one_step)
{
    struct mx_set *s = resolve(row->world, "d.test", one_step);
    if (s->code != row->code)
        fail_msg("%s: %d (%s), not %d", row->what, s->code, s->words, row->code);
    if (row->hosts && strcmp(hosts_text(s), row->hosts) != 0)
        fail_msg("%s: %s", row->what, hosts_text(s));
    if (row->words && !strstr(s->words, row->words))
        fail_msg("%s: %s", row->what, s->words);
    if (row->key && strcmp(s->key, row->key) != 0)
        fail_msg("%s: key %s", row->what, s->key);
    if (row->expires_s && s->expires_us != row->expires_s * S)
        fail_msg("%s: expires %lld", row->what, (long long)s->expires_us);
    assert_int_equal(strlen(s->site), strcspn(s->key, ",;"));
    assert_memory_equal(s->site, s->key, strlen(s->site));
    assert_string_equal(s->status, strstr(s->words, "null MX") ? "5.1.10" : "");
    assert_int_equal(s->took_us, 1234);
    assert_true((s->code == 0) == (s->hosts_n > 0));
    assert_int_equal(s->references, 1);
    mx_set_unref(s);
}

static void worlds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check(&rows[i], false);
}

/* The same when each CNAME has to be followed with a question of its own. */
static void worlds_in_steps(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check(&rows[i], true);
}

/* A name in brackets is a host: its MX is nobody's business. */
/* clang-format off */
static const struct host_row {
    const char *name, *world;
    int questions, code;
    const char *hosts; /* code 0; else the words */
} host_rows[] = {
    {"[mx.test]", "mx.test MX 10 other.test\n mx.test A 8.8.8.8\n mx.test AAAA 2a00::1",
     2, 0, "0 mx.test=8.8.8.8,2a00::1"},
    {"[mx.test]", "mx.test CNAME b.test\n b.test A 8.8.8.8", 2, 0, "0 mx.test=8.8.8.8"},
    {"[mx.test]", "mx.test MX 10 other.test", 2, 720, "mx.test has no address"},
    {"[mx.test]", "other.test A 8.8.8.8", 2, 700, "mx.test does not exist"},
    {"[mx.test]", "mx.test A ! 2\n mx.test AAAA ! 2", 2, 710, "address of mx.test: SERVFAIL"},
    {"[mx.test]", "mx.test A 10.0.0.1", 2, 0, "0 mx.test=10.0.0.1"},
    {"[8.8.8.8]", "", 0, 0, "0 8.8.8.8=8.8.8.8"},
    {"[2a00::1]", "", 0, 0, "0 2a00::1=2a00::1"},
    {"[10.0.0.1]", "", 0, 0, "0 10.0.0.1=10.0.0.1"},
    {"[]", "", 0, 700, "not a name"},
    {"[", "", 0, 700, "not a name"},
    {"[[mx.test]]", "", 0, 700, "not a name"},
    {"[mx.test", "", 0, 700, "not a name"},
    {"[fe80::1%lo]", "", 0, 700, "not a name"},
};
/* clang-format on */

static void hosts_in_brackets(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof host_rows / sizeof *host_rows; i++) {
        const struct host_row *row = &host_rows[i];
        struct mx_query *q = mx_query_create(row->name, deny);
        struct mx_question question;
        int n = 0;
        for (; mx_query_next(q, &question); n++)
            assert_int_not_equal(question.type, DNS_MX);
        mx_query_free(q);
        assert_int_equal(n, row->questions);
        struct mx_set *s = resolve(row->world, row->name, i % 2);
        if (s->code != row->code)
            fail_msg("%s: %d (%s), not %d", row->name, s->code, s->words, row->code);
        const char *got = row->code ? s->words : hosts_text(s);
        if (!strstr(got, row->hosts))
            fail_msg("%s: %s", row->name, got);
        assert_true(s->is_host == (strchr(row->name, ']') != NULL));
        if (row->code != 700) { /* the set is that of the host alone */
            assert_int_equal(strlen(s->key), strlen(row->name) - 2);
            assert_memory_equal(s->key, row->name + 1, strlen(s->key));
            assert_string_equal(s->site, s->key);
        }
        mx_set_unref(s);
    }
}

static void hundred_hosts_of_hundred_addresses(void **state)
{
    (void)state;
    static char world[700000];
    size_t n = 0;
    for (int h = 0; h < 100; h++) {
        n += (size_t)snprintf(world + n, sizeof world - n, "d.test MX %d h%02d.test\n",
                              99 - h, h);
        for (int a = 0; a < 100 && h > 80; a++)
            n += (size_t)snprintf(
                world + n, sizeof world - n,
                "h%02d.test A 8.0.%d.%d\nh%02d.test AAAA 2a00::%x:%x\n", h, h, a, h, h,
                a + 1);
    }
    struct mx_set *s = resolve(world, "d.test", false);
    assert_int_equal(s->code, 0);
    assert_int_equal(s->hosts_n, MX_HOSTS_MAX);
    assert_string_equal(s->hosts[0].name, "h99.test");
    assert_string_equal(s->hosts[15].name, "h84.test");
    for (int h = 0; h < s->hosts_n; h++) {
        assert_int_equal(s->hosts[h].addresses_n, MX_HOST_ADDRESSES_MAX);
        int v4 = 0;
        for (int a = 0; a < s->hosts[h].addresses_n; a++)
            v4 += ip_is_v4(&s->hosts[h].addresses[a]);
        assert_int_equal(v4, MX_HOST_ADDRESSES_MAX / 2);
    }
    mx_set_unref(s);
}

static void domains_that_cannot_be(void **state)
{
    (void)state;
    char label64[80];
    memset(label64, 'a', 64);
    memcpy(label64 + 64, ".test", 6);
    char long_name[400];
    for (size_t i = 0; i < 260; i++)
        long_name[i] = i % 10 == 9 ? '.' : 'a';
    memcpy(long_name + 260, "test", 5);
    const char *bad[] = {"",         ".",      "a..test", ".test",         "a.test.",
                         "a b.test", "a\nb.t", "a\tb.t",  "\xc3\xa9.test", label64,
                         long_name,  "a*.test"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mx_question question;
        struct mx_query *q = mx_query_create(bad[i], NULL);
        assert_false(mx_query_next(q, &question));
        assert_true(mx_query_done(q));
        struct mx_set *s = mx_query_finish(q, 0, 0);
        assert_int_equal(s->code, 700);
        mx_set_unref(s);
    }
    assert_true(dns_name_valid(label64 + 1));
    assert_true(dns_name_valid("a_b-c.test"));
}

/* Failures that no packet brings: 608 and silence. */
static void without_packets(void **state)
{
    (void)state;
    static const struct {
        enum dns_result mx, a, aaaa;
        int code;
    } cases[] = {
        {DNS_DEAD, 0, 0, 608},
        {DNS_SILENT, 0, 0, 710},
        {DNS_NO_DATA, DNS_DEAD, DNS_DEAD, 608},
        {DNS_NO_DATA, DNS_DEAD, DNS_SERVFAIL, 608},
        {DNS_NO_DATA, DNS_SILENT, DNS_UNUSABLE, 710},
        {DNS_NO_DATA, DNS_NO_DATA, DNS_SILENT, 710},
        {DNS_NO_DATA, DNS_FOUND, DNS_DEAD, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mx_query *q = mx_query_create("d.test", NULL);
        struct mx_question question;
        while (mx_query_next(q, &question)) {
            struct dns_answer a = {.why = "because", .name = "d.test"};
            a.result = question.type == DNS_MX  ? cases[i].mx
                       : question.type == DNS_A ? cases[i].a
                                                : cases[i].aaaa;
            a.n = a.result == DNS_FOUND;
            mx_query_answer(q, question.id, &a, mx_answer_expires(&a, 0));
        }
        struct mx_set *s = mx_query_finish(q, 0, INT64_MAX);
        assert_int_equal(s->code, cases[i].code);
        if (s->code == 608)
            assert_int_equal(s->expires_us, 0); /* not to be remembered */
        assert_int_equal(s->took_us, INT32_MAX);
        mx_set_unref(s);
    }
    struct mx_query *q = mx_query_create("d.test", NULL);
    struct mx_question question;
    assert_true(mx_query_next(q, &question));
    mx_query_free(q); /* in the middle */
    mx_query_free(NULL);
    mx_set_unref(NULL);
}

/* ---- targets ---- */

static struct mx_set *set_of(const char *world)
{
    struct mx_set *s = resolve(world, "d.test", false);
    assert_int_equal(s->code, 0);
    return s;
}

static void equals_are_shuffled(void **state)
{
    (void)state;
    struct mx_set *s = set_of("d.test MX 10 a.test\n d.test MX 10 b.test\n"
                              "d.test MX 10 c.test\n d.test MX 10 e.test\n"
                              "a.test A 8.0.0.1\n b.test A 8.0.0.2\n"
                              "c.test A 8.0.0.3\n e.test A 8.0.0.4");
    struct rng rng = {42};
    int first[256] = {0};
    for (int i = 0; i < 4000; i++) {
        struct mx_target t[MX_TARGETS_MAX];
        assert_int_equal(mx_targets(s, &rng, t), 4);
        unsigned seen = 0;
        for (int k = 0; k < 4; k++)
            seen |= 1u << t[k].address.bytes[15];
        assert_int_equal(seen, 0x1e);
        first[(unsigned char)t[0].host[0]]++;
    }
    for (const char *c = "abce"; *c; c++)
        assert_in_range(first[(unsigned char)*c], 900, 1100);
    mx_set_unref(s);
}

static void preferences_stand_in_order(void **state)
{
    (void)state;
    struct mx_set *s =
        set_of("d.test MX 10 a.test\n d.test MX 20 b.test\n"
               "d.test MX 30 c.test\n a.test A 8.0.0.1\n a.test A 8.0.0.2\n"
               "a.test A 8.0.0.3\n a.test A 8.0.0.4\n a.test AAAA 2a00::1\n"
               "a.test A 8.0.0.5\n b.test A 8.0.1.1\n c.test A 8.0.2.1");
    struct rng rng = {1};
    for (int i = 0; i < 200; i++) {
        struct mx_target t[MX_TARGETS_MAX];
        assert_int_equal(mx_targets(s, &rng, t), MX_TARGETS_MAX);
        /* three of the best host, both families, and the two others have their turn */
        const char *want[] = {"a.test", "a.test", "a.test", "b.test", "c.test"};
        int v6 = 0;
        for (int k = 0; k < MX_TARGETS_MAX; k++) {
            assert_string_equal(t[k].host, want[k]);
            v6 += !ip_is_v4(&t[k].address);
        }
        assert_int_equal(v6, 1);
        assert_true(ip_is_v4(&t[0].address) != ip_is_v4(&t[1].address));
    }
    mx_set_unref(s);
}

static void both_families_are_there(void **state)
{
    (void)state;
    struct mx_set *s = set_of(
        "d.test MX 10 a.test\n d.test MX 10 b.test\n d.test MX 10 c.test\n"
        "d.test MX 10 e.test\n d.test MX 10 f.test\n d.test MX 20 g.test\n"
        "a.test A 8.0.0.1\n b.test A 8.0.0.2\n c.test A 8.0.0.3\n e.test A 8.0.0.4\n"
        "f.test A 8.0.0.5\n g.test AAAA 2a00::1");
    struct rng rng = {9};
    for (int i = 0; i < 100; i++) {
        struct mx_target t[MX_TARGETS_MAX];
        assert_int_equal(mx_targets(s, &rng, t), MX_TARGETS_MAX);
        for (int k = 0; k < 4; k++)
            assert_true(ip_is_v4(&t[k].address));
        assert_string_equal(t[4].host, "g.test");
        assert_int_equal(t[4].preference, 20);
    }
    mx_set_unref(s);
}

static void no_target_twice(void **state)
{
    (void)state;
    struct mx_set *s =
        set_of("d.test MX 10 a.test\n a.test A 8.0.0.1\n a.test A 8.0.0.2\n"
               "a.test A 8.0.0.3\n a.test AAAA 2a00::1\n a.test AAAA 2a00::2\n"
               "a.test AAAA 2a00::3\n a.test AAAA 2a00::4");
    struct rng rng = {3};
    int first_v4 = 0;
    for (int i = 0; i < 1000; i++) {
        struct mx_target t[MX_TARGETS_MAX];
        assert_int_equal(mx_targets(s, &rng, t), MX_TARGETS_MAX);
        for (int k = 0; k < MX_TARGETS_MAX; k++)
            for (int j = 0; j < k; j++)
                assert_memory_not_equal(&t[k].address, &t[j].address,
                                        sizeof(struct ip));
        first_v4 += ip_is_v4(&t[0].address);
    }
    assert_in_range(first_v4, 300, 700);
    mx_set_unref(s);
    struct mx_set empty = {.code = 720, .references = 1};
    struct mx_target t[MX_TARGETS_MAX];
    assert_int_equal(mx_targets(&empty, &rng, t), 0);
}

static void copies(void **state)
{
    (void)state;
    struct ip ip[2] = {{{1}}, {{2}}};
    struct mx_host hosts[] = {{"a.test", 10, 1, ip}, {"b.test", 20, 2, ip}};
    struct mx_set model = {.site = "a.test",
                           .key = "a.test;b.test",
                           .hosts_n = 2,
                           .hosts = hosts,
                           .expires_us = 5,
                           .references = 77};
    struct mx_set *s = mx_set_copy(&model);
    assert_ptr_equal(mx_set_ref(s), s);
    mx_set_unref(s);
    assert_int_equal(s->references, 1);
    assert_string_equal(s->words, "");
    assert_string_equal(hosts_text(s), hosts_text(&model));
    assert_ptr_not_equal(s->hosts[1].addresses, ip);
    mx_set_unref(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worlds),
        cmocka_unit_test(worlds_in_steps),
        cmocka_unit_test(hosts_in_brackets),
        cmocka_unit_test(hundred_hosts_of_hundred_addresses),
        cmocka_unit_test(domains_that_cannot_be),
        cmocka_unit_test(without_packets),
        cmocka_unit_test(equals_are_shuffled),
        cmocka_unit_test(preferences_stand_in_order),
        cmocka_unit_test(both_families_are_there),
        cmocka_unit_test(no_target_twice),
        cmocka_unit_test(copies),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
