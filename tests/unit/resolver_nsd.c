/* The resolver against NSD, a real name server, which serves zones made here on a high
 * port of 127.0.0.1. It runs in the foreground as our child, with all its files in a
 * folder of its own, and dies with us. Skipped without NSD, except in CI. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/buf.h"
#include "resolver/resolver.h"

enum { PORTS_TRIED = 20, MANY = 3000 };

static const char zone_head[] = "$TTL 3600\n"
                                "@ SOA ns root 1 7200 3600 1209600 300\n"
                                "@ NS ns\n"
                                "ns A 127.0.0.1\n";

/* The zone "test."; 1.2.3.x stands for anybody's address. */
static const char zone[] =
    "plain      MX 10 mx1\n"
    "plain      MX 20 mx2\n"
    "mx1        A 1.2.3.1\n"
    "mx1        AAAA 2a00:1450::1\n"
    "mx2        A 1.2.3.2\n"
    "upper      MX 10 MX1.TEST.\n"
    "implicit   A 1.2.3.3\n"
    "empty      TXT \"nothing here\"\n"
    "noaddress  MX 10 nohost\n"
    "partly     MX 10 nohost\n"
    "partly     MX 20 mx2\n"
    "null       MX 0 .\n"
    "nullandmore MX 0 .\n"
    "nullandmore MX 10 mx1\n"
    "mxalias    MX 10 alias1\n"
    "alias1     CNAME alias2\n"
    "alias2     CNAME mx2\n"
    "alias      CNAME plain\n"
    "aliasaway  CNAME plain.other.\n" /* NSD does not follow out of the zone */
    "aliasgone  CNAME nowhere\n"
    "loop1      CNAME loop2\n"
    "loop2      CNAME loop1\n"
    "literal    MX 10 192.0.2.1.\n"
    "loopback   MX 10 here\n"
    "here       A 127.0.0.1\n"
    "private    MX 10 lan\n"
    "lan        A 10.1.2.3\n"
    "lan        AAAA fd00::1\n"
    "backup     MX 10 mx1\n"
    "backup     MX 20 us\n"
    "backup     MX 30 mx2\n"
    "us         A 1.2.3.99\n"
    "strange    MX 10 a\\032b\n"
    "strange    MX 20 mx2\n"
    "brief      5 MX 10 mx1\n"
    "*.wild     MX 10 mx1\n";

static char dir[64];
static char server_text[40];
static pid_t nsd = -1;
static uv_loop_t loop;

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        fail_msg("%s: %s", path, strerror(errno));
}

static void write_zones(void)
{
    struct buf text = {0};
    buf_printf(&text, "%s%s", zone_head, zone);
    for (int i = 0; i < 20; i++) /* a chain of 20 */
        buf_printf(&text, "chain%d CNAME chain%d\n", i, i + 1);
    buf_add_str(&text, "chain20 MX 10 mx1\n");
    for (int i = 0; i < 100;
         i++) { /* 100 hosts of 100 addresses: only TCP can carry it */
        buf_printf(&text, "big MX %d host-with-a-rather-long-name-%02d\n", i / 10, i);
        for (int a = 0; a < 100; a++)
            buf_printf(&text, "host-with-a-rather-long-name-%02d A 1.3.%d.%d\n", i, i,
                       a);
    }
    write_file("test.zone", buf_cstr(&text));
    buf_reset(&text);
    buf_printf(&text, "%splain MX 10 mx\nmx A 1.2.4.1\n", zone_head);
    write_file("other.zone", buf_cstr(&text));
    buf_finish(&text);
}

static void write_config(int port)
{
    char text[2000];
    const struct passwd *user = getpwuid(getuid());
    snprintf(text, sizeof text,
             "server:\n ip-address: 127.0.0.1\n port: %d\n username: \"%s\"\n"
             " server-count: 1\n zonesdir: \"%s\"\n pidfile: \"%s/nsd.pid\"\n"
             " database: \"\"\n zonelistfile: \"%s/zone.list\"\n xfrdfile: "
             "\"%s/xfrd.state\"\n"
             " xfrdir: \"%s\"\n logfile: \"%s/nsd.log\"\n rrl-ratelimit: 0\n"
             "remote-control:\n control-enable: no\n"
             "zone:\n name: test\n zonefile: test.zone\n"
             "zone:\n name: other\n zonefile: other.zone\n",
             port, getuid() == 0 || !user ? "" : user->pw_name, dir, dir, dir, dir, dir,
             dir);
    write_file("nsd.conf", text);
}

static void stop_nsd(void)
{
    if (nsd <= 0)
        return;
    kill(nsd, SIGTERM);
    waitpid(nsd, NULL, 0);
    nsd = -1;
}

static void on_done(void *arg, struct mx_set *set)
{
    *(struct mx_set **)arg = set;
}

static struct resolver *resolver_at(int64_t timeout_ms, const struct deny *deny)
{
    const char *servers[] = {server_text};
    struct fault f = {0};
    struct resolver *r =
        resolver_create(&loop,
                        &(struct resolver_params){.servers = servers,
                                                  .servers_n = 1,
                                                  .timeout_ms = timeout_ms,
                                                  .tries = 3,
                                                  .in_flight = 200,
                                                  .deny = deny},
                        &f);
    assert_non_null(r);
    return r;
}

static void finish(struct resolver *r)
{
    resolver_close(r);
    uv_run(&loop, UV_RUN_DEFAULT);
}

static struct mx_set *resolve(struct resolver *r, const char *domain)
{
    struct mx_set *set = NULL;
    resolver_lookup(r, domain, on_done, &set);
    while (!set)
        uv_run(&loop, UV_RUN_ONCE);
    return set;
}

/* It runs, and the zone is there; false: it could not have the port. */
static bool ready(void)
{
    bool up = false;
    for (int i = 0; i < 200 && !up && waitpid(nsd, NULL, WNOHANG) == 0; i++) {
        struct resolver *r = resolver_at(50, NULL);
        struct mx_set *s = resolve(r, "plain.test");
        up = s->code == 0;
        mx_set_unref(s);
        finish(r);
    }
    return up;
}

static bool start_nsd(int port)
{
    char config[128];
    char log[128];
    write_config(port);
    snprintf(server_text, sizeof server_text, "127.0.0.1:%d", port);
    snprintf(config, sizeof config, "%s/nsd.conf", dir);
    snprintf(log, sizeof log, "%s/out", dir);
    nsd = fork();
    assert_true(nsd >= 0);
    if (nsd == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
        execl("/usr/sbin/nsd", "nsd", "-d", "-c", config, (char *)NULL);
        _exit(127);
    }
    if (ready())
        return true;
    stop_nsd();
    return false;
}

static void remove_files(void)
{
    static const char *const names[] = {"test.zone", "other.zone", "nsd.conf",
                                        "nsd.pid",   "zone.list",  "xfrd.state",
                                        "nsd.log",   "out"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/hikyaku-nsd-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    uv_loop_init(&loop);
    write_zones();
    for (int i = 0; i < PORTS_TRIED; i++)
        if (start_nsd(20000 + (getpid() * 7 + i * 101) % 12000))
            return 0;
    remove_files();
    return -1;
}

static int tear_down(void **state)
{
    (void)state;
    stop_nsd();
    remove_files();
    return uv_loop_close(&loop);
}

/* clang-format off */
static const struct {
    const char *domain;
    int code;
    const char *key;     /* NULL: not looked at */
    const char *targets; /* hosts that are left, in order */
} rows[] = {
    {"plain.test",       0,   "mx1.test;mx2.test",  "mx1.test mx2.test"},
    {"upper.test",       0,   "mx1.test",           "mx1.test"},
    {"implicit.test",    0,   "implicit.test",      "implicit.test"},
    {"empty.test",       720, "empty.test",         ""},
    {"nowhere.test",     700, "nowhere.test",       ""},
    {"noaddress.test",   720, "nohost.test",        ""},
    {"partly.test",      0,   "nohost.test;mx2.test", "mx2.test"},
    {"null.test",        720, "null.test",          ""},
    {"nullandmore.test", 0,   "mx1.test",           "mx1.test"},
    {"mxalias.test",     0,   "alias1.test",        "alias1.test"},
    {"alias.test",       0,   "mx1.test;mx2.test",  "mx1.test mx2.test"},
    {"aliasaway.test",   0,   "mx.other",           "mx.other"},
    {"aliasgone.test",   700, NULL,                 ""},
    {"loop1.test",       711, NULL,                 ""},
    {"chain0.test",      711, NULL,                 ""},
    {"chain6.test",      0,   "mx1.test",           "mx1.test"},
    {"literal.test",     711, NULL,                 ""}, /* NSD refuses what it does not serve */
    {"loopback.test",    730, "here.test",          ""},
    {"private.test",     730, "lan.test",           ""},
    {"backup.test",      0,   "mx1.test;us.test;mx2.test", "mx1.test"},
    {"strange.test",     0,   "mx2.test",           "mx2.test"},
    {"any.wild.test",    0,   "mx1.test",           "mx1.test"},
    {"not.served",       711, NULL,                 ""},
};
/* clang-format on */
enum { ROWS = sizeof rows / sizeof *rows };

static void zones(void **state)
{
    (void)state;
    static const char *const words[] = {"loopback", "self", "private"};
    struct ip own;
    struct fault f = {0};
    ip_parse("1.2.3.99", &own);
    struct deny *deny = deny_create(words, 3, &own, 1, &f);
    struct resolver *r = resolver_at(5000, deny);
    struct mx_set *sets[ROWS] = {0};
    for (int i = 0; i < ROWS; i++)
        resolver_lookup(r, rows[i].domain, on_done, &sets[i]);
    for (int i = 0; i < ROWS; i++) {
        while (!sets[i])
            uv_run(&loop, UV_RUN_ONCE);
        const struct mx_set *s = sets[i];
        char hosts[1000] = "";
        int n = 0;
        for (int h = 0; h < s->hosts_n; h++)
            n += snprintf(hosts + n, sizeof hosts - (size_t)n, "%s%s", h ? " " : "",
                          s->hosts[h].name);
        if (s->code != rows[i].code || strcmp(hosts, rows[i].targets) != 0)
            fail_msg("%s: %d (%s), hosts \"%s\"", rows[i].domain, s->code, s->words,
                     hosts);
        if (rows[i].key)
            assert_string_equal(s->key, rows[i].key);
    }
    assert_string_equal(sets[7]->status, "5.1.10");
    const struct mx_host *mx1 = &sets[0]->hosts[0];
    char text[IP_TEXT_MAX];
    assert_int_equal(mx1->addresses_n, 2);
    ip_print(&mx1->addresses[0], text);
    assert_string_equal(text, "1.2.3.1");
    ip_print(&mx1->addresses[1], text);
    assert_string_equal(text, "2a00:1450::1");
    for (int i = 0; i < ROWS; i++)
        mx_set_unref(sets[i]);
    finish(r);
    deny_free(deny);
}

/* TTLs as a real server gives them: kept within their limits. */
static void times_to_live(void **state)
{
    (void)state;
    struct resolver *r = resolver_at(5000, NULL);
    static const struct {
        const char *domain;
        int64_t seconds;
    } ttls[] = {{"plain.test", 3600},
                {"brief.test", MX_TTL_MIN_S},
                {"nowhere.test", 300},
                {"empty.test", 300},
                {"not.served", MX_FAILURE_TTL_S}};
    for (size_t i = 0; i < sizeof ttls / sizeof *ttls; i++) {
        int64_t before = (int64_t)(uv_hrtime() / 1000);
        struct mx_set *s = resolve(r, ttls[i].domain);
        int64_t after = (int64_t)(uv_hrtime() / 1000);
        assert_true(s->expires_us >= before + ttls[i].seconds * 1000000);
        assert_true(s->expires_us <= after + ttls[i].seconds * 1000000);
        assert_true(s->took_us > 0);
        mx_set_unref(s);
    }
    finish(r);
}

/* The answer is truncated over UDP and comes over TCP. */
static void a_big_answer(void **state)
{
    (void)state;
    struct resolver *r = resolver_at(5000, NULL);
    struct mx_set *s = resolve(r, "big.test");
    assert_int_equal(s->code, 0);
    assert_int_equal(s->hosts_n, MX_HOSTS_MAX);
    for (int h = 0; h < s->hosts_n; h++) {
        assert_int_equal(s->hosts[h].preference, h / 10);
        assert_int_equal(s->hosts[h].addresses_n, MX_HOST_ADDRESSES_MAX);
    }
    mx_set_unref(s);
    assert_int_equal(resolver_stats(r).timeouts, 0);
    finish(r);
}

struct many {
    int left;
    int good;
};

static void on_one_of_many(void *arg, struct mx_set *set)
{
    struct many *m = arg;
    m->left--;
    m->good += set->code == 0 && strcmp(set->site, "mx1.test") == 0;
    mx_set_unref(set);
}

/* Many names, one mail host: an MX question each, the host's addresses once. */
static void many_names(void **state)
{
    (void)state;
    struct resolver *r = resolver_at(5000, NULL);
    struct many m = {.left = MANY};
    for (int i = 0; i < MANY; i++) {
        char domain[40];
        snprintf(domain, sizeof domain, "d%d.wild.test", i);
        resolver_lookup(r, domain, on_one_of_many, &m);
    }
    while (m.left > 0)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(m.good, MANY);
    struct resolver_stats stats = resolver_stats(r);
    assert_int_equal(stats.answers, MANY + 2);
    finish(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zones),
        cmocka_unit_test(times_to_live),
        cmocka_unit_test(a_big_answer),
        cmocka_unit_test(many_names),
    };
    if (access("/usr/sbin/nsd", X_OK) != 0) {
        fprintf(stderr, "NSD is not installed: %s\n",
                getenv("CI") ? "failed" : "skipped");
        return getenv("CI") ? 1 : 0;
    }
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
