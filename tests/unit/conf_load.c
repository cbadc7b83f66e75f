/* Reading settings: every key by default, with a good value, and every error in its
 * exact words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"

/* So that the machine need not be asked, which may take a second. */
#define H "hostname = h.example "

static char folder[] = "/tmp/conf_load.XXXXXX";

static int enter_folder(void **state)
{
    (void)state;
    return !mkdtemp(folder) || chdir(folder) || mkdir("sub", 0700);
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const made[] = {"a.conf",     "b.conf",     "c.conf",
                                       "sub/b.conf", "sub/c.conf", "own.conf",
                                       "big.conf"};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++)
        unlink(made[i]);
    return rmdir("sub") || chdir("/") || rmdir(folder);
}

static void file_with(const char *name, const char *text, size_t n)
{
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void file(const char *name, const char *text)
{
    file_with(name, text, strlen(text));
}

static struct conf *good(const char *text)
{
    struct fault f = {0};
    file("a.conf", text);
    struct conf *c = conf_load("a.conf", true, &f);
    if (!c)
        fail_msg("%s", f.words);
    assert_int_equal(f.code, 0);
    return c;
}

static void bad_file(const char *name, int code, const char *words)
{
    struct fault f = {0};
    struct conf *c = conf_load(name, false, &f);
    assert_null(c);
    assert_string_equal(f.words, words);
    assert_int_equal(f.code, code);
}

static void bad(const char *text, int code, const char *words)
{
    file("a.conf", text);
    bad_file("a.conf", code, words);
}

static void defaults(void **state)
{
    (void)state;
    struct conf *c = good(H);
    assert_int_equal(c->workers, sysconf(_SC_NPROCESSORS_ONLN));
    static const char *const denied[] = {"loopback",   "self",      "private",
                                         "link-local", "multicast", "reserved"};
    assert_int_equal(c->deny_destinations.n, 6);
    for (int i = 0; i < 6; i++)
        assert_string_equal(c->deny_destinations.items[i], denied[i]);
    assert_int_equal(c->resolver.servers.n, 0);
    assert_int_equal(c->resolver.timeout, 5000);
    assert_int_equal(c->resolver.tries, 3);
    assert_int_equal(c->resolver.in_flight, 200);
    assert_int_equal(c->storm.window, 1000);
    assert_int_equal(c->storm.min, 100);
    assert_int_equal(c->storm.failures, 50);
    assert_int_equal(c->storm.consecutive, 200);
    assert_int_equal(c->policy.retry_interval.n, 1);
    assert_int_equal(c->policy.retry_interval.ms[0], 30 * 60000);
    assert_int_equal(c->policy.lifetime, 24 * 3600000);
    assert_int_equal(c->policy.max_attempts, 0);
    assert_int_equal(c->policy.quiet_hours.from, c->policy.quiet_hours.to);
    assert_int_equal(c->policy.connections, 20);
    assert_int_equal(c->policy.connection_rate, 10 * 3600);
    assert_int_equal(c->policy.message_rate, 0);
    assert_int_equal(c->policy.unknown_limit, 10);
    assert_int_equal(c->policy.unknown_pause, 3600000);
    assert_int_equal(c->policy.messages_per_connection, 100);
    assert_int_equal(c->policy.port, 25);
    assert_int_equal(c->policy.pipelining, CONF_PIPELINING_AUTO);
    assert_int_equal(c->policy.chunking, CONF_CHUNKING_OFF);
    const struct conf_timeout *t = &c->policy.timeout;
    assert_int_equal(t->connect, 60000);
    assert_int_equal(t->greeting, 300000);
    assert_int_equal(t->helo, 300000);
    assert_int_equal(t->mail, 300000);
    assert_int_equal(t->rcpt, 300000);
    assert_int_equal(t->data, 120000);
    assert_int_equal(t->body, 180000);
    assert_int_equal(t->end, 600000);
    assert_int_equal(t->rset, 20000);
    assert_int_equal(t->quit, 10000);
    assert_int_equal(t->starttls, 120000);
    assert_int_equal(t->auth, 300000);
    assert_int_equal(t->session, 0);
    assert_int_equal(c->policy.tls, CONF_TLS_MAY);
    assert_int_equal(c->policy.tls_min_version, CONF_TLS_VERSION_1_2);
    assert_string_equal(c->policy.tls_ca_file, "");
    assert_int_equal(c->policy.end_timeout, CONF_END_TIMEOUT_RETRY);
    assert_int_equal(c->policy.in_doubt, CONF_END_TIMEOUT_RETRY);
    assert_string_equal(c->policy.relay, "");
    assert_string_equal(c->policy.relay_user, "");
    assert_string_equal(c->policy.relay_password_file, "");
    assert_int_equal(c->policy.relay_tls, CONF_RELAY_TLS_STARTTLS);
    assert_false(c->policy.relay_auth_clear);
    assert_string_equal(c->job.id, "");
    assert_string_equal(c->job.secret, "");
    assert_int_equal(c->job.first_row, 0);
    assert_false(c->job.rehearsal);
    conf_free(c);
    conf_free(NULL);
}

static void defaults_of_the_machine(void **state)
{
    (void)state;
    struct fault f = {0};
    setenv("XDG_STATE_HOME", "/state", 1);
    struct conf *c = conf_load(NULL, false, &f);
    assert_non_null(c);
    assert_string_equal(c->spool, "/state/hikyaku");
    char name[256] = "";
    assert_int_equal(gethostname(name, sizeof name - 1), 0);
    if (strchr(name, '.'))
        assert_string_equal(c->hostname, name);
    assert_true(c->hostname[0] != '\0');
    conf_free(c);

    setenv("HOME", "/home/me", 1);
    setenv("XDG_STATE_HOME", "relative/is/ignored", 1);
    c = good(H);
    assert_string_equal(c->spool, "/home/me/.local/state/hikyaku");
    conf_free(c);
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    bad(H, -7, "a.conf: spool must be set, for HOME is not");
    setenv("HOME", "/home/me", 1);
}

static void good_values(void **state)
{
    (void)state;
    struct conf *c = good(
        "hostname = \"mx1.example.jp\"\n"
        "spool = /var/spool/hikyaku\n"
        "workers = 0\n"
        "deny_destinations = {\"loopback\", '192.0.2.0/24', \"2001:db8::/32\", "
        "10.0.0.1}\n"
        "resolver { servers = {127.0.0.1, \"127.0.0.1:53\", \"::1\", \"[::1]\", "
        "\"[::1]:5353\"} timeout = 500ms tries = 1 in_flight = 10000 }\n"
        "policy { retry_interval = {5m, 15m, '30m',} lifetime = 2d max_attempts = 7\n"
        "connection_rate = 90/min message_rate = '1000000/s'\n"
        "unknown_limit = 0 unknown_pause = 7d\n"
        "connections = 1 messages_per_connection = 0 port = 2525 pipelining = off\n"
        "chunking = auto\n"
        "timeout { connect = 1s greeting = 2s helo = 3s starttls = 4s auth = 5s\n"
        "mail = 6s rcpt = 7s data = 8s body = 9s end = 10s rset = 11s quit = 100ms\n"
        "session = 1h }\n"
        "tls = verify tls_ca_file = ca.pem tls_min_version = 1.3 end_timeout = assume\n"
        "relay = \"mx.example:587\" relay_user = me relay_password_file = \"/p\"\n"
        "relay_tls = implicit relay_auth_clear = yes }\n");
    assert_string_equal(c->hostname, "mx1.example.jp");
    assert_string_equal(c->spool, "/var/spool/hikyaku");
    assert_int_equal(c->workers, 0);
    assert_int_equal(c->deny_destinations.n, 4);
    assert_string_equal(c->deny_destinations.items[1], "192.0.2.0/24");
    assert_string_equal(c->deny_destinations.items[3], "10.0.0.1");
    assert_int_equal(c->resolver.servers.n, 5);
    assert_string_equal(c->resolver.servers.items[4], "[::1]:5353");
    assert_int_equal(c->resolver.timeout, 500);
    assert_int_equal(c->resolver.tries, 1);
    assert_int_equal(c->resolver.in_flight, 10000);
    assert_int_equal(c->policy.retry_interval.n, 3);
    assert_int_equal(c->policy.retry_interval.ms[1], 900000);
    assert_int_equal(c->policy.retry_interval.ms[2], 1800000);
    assert_int_equal(c->policy.lifetime, 172800000);
    assert_int_equal(c->policy.max_attempts, 7);
    assert_int_equal(c->policy.connections, 1);
    assert_int_equal(c->policy.connection_rate, 5400);
    assert_int_equal(c->policy.message_rate, INT64_C(3600000000));
    assert_int_equal(c->policy.unknown_limit, 0);
    assert_int_equal(c->policy.unknown_pause, 7 * 86400000);
    assert_int_equal(c->policy.messages_per_connection, 0);
    assert_int_equal(c->policy.port, 2525);
    assert_int_equal(c->policy.pipelining, CONF_PIPELINING_OFF);
    assert_int_equal(c->policy.chunking, CONF_CHUNKING_AUTO);
    const int64_t *t = &c->policy.timeout.connect;
    for (int i = 0; i < 11; i++)
        assert_int_equal(t[i], (i + 1) * 1000);
    assert_int_equal(c->policy.timeout.quit, 100);
    assert_int_equal(c->policy.timeout.session, 3600000);
    assert_int_equal(c->policy.tls, CONF_TLS_VERIFY);
    assert_int_equal(c->policy.tls_min_version, CONF_TLS_VERSION_1_3);
    assert_int_equal(c->policy.end_timeout, CONF_END_TIMEOUT_ASSUME);
    assert_int_equal(c->policy.tls_ca_file[0], '/'); /* relative to the file's folder */
    assert_string_equal(strrchr(c->policy.tls_ca_file, '/'), "/ca.pem");
    assert_string_equal(c->policy.relay, "mx.example:587");
    assert_string_equal(c->policy.relay_user, "me");
    assert_string_equal(c->policy.relay_password_file, "/p");
    assert_int_equal(c->policy.relay_tls, CONF_RELAY_TLS_IMPLICIT);
    assert_true(c->policy.relay_auth_clear);
    conf_free(c);
    c = good(H "deny_destinations = {} policy { lifetime = 0 pipelining = 'group' }");
    assert_int_equal(c->deny_destinations.n, 0);
    assert_int_equal(c->policy.lifetime, 0);
    assert_int_equal(c->policy.pipelining, CONF_PIPELINING_GROUP);
    conf_free(c);
}

static void hostnames(void **state)
{
    (void)state;
    static const char *const fine[] = {"mx", "mx-1.example.jp", "[192.0.2.1]",
                                       "[IPv6:2001:db8::1]", "1.example"};
    static const char *const wrong[] = {
        "mx_1.example", "-a.example", "a-.example",    "a..b", "a.", ".a",
        "192.0.2.1",    "[192.0.2]",  "[2001:db8::1]", "a b",  "",   "é.example"};
    char text[200], words[300];
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        snprintf(text, sizeof text, "hostname = '%s'", fine[i]);
        struct conf *c = good(text);
        assert_string_equal(c->hostname, fine[i]);
        conf_free(c);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(text, sizeof text, "\nhostname = '%s'", wrong[i]);
        snprintf(
            words, sizeof words,
            "a.conf:2: hostname must be a DNS name or an address literal, not \"%s\"",
            wrong[i]);
        bad(text, -7, words);
    }
}

#define RATE "a rate of at most 1000000/s, or 0 for no limit"

/* One bad value a line. */
static void ranges(void **state)
{
    (void)state;
    static const struct {
        const char *section, *key, *value, *range;
    } lines[] = {
        {"", "workers", "257", "a whole number from 0 to 256"},
        {"", "workers", "5s", "a whole number from 0 to 256"},
        {"", "workers", "-1", "a whole number from 0 to 256"},
        {"resolver", "tries", "0", "a whole number from 1 to 10"},
        {"resolver", "in_flight", "0x10", "a whole number from 1 to 10000"},
        {"policy", "max_attempts", "10001", "a whole number from 0 to 10000"},
        {"policy", "connections", "010", "a whole number from 1 to 10000"},
        {"policy", "connections", "many", "a whole number from 1 to 10000"},
        {"policy", "messages_per_connection", "1e3",
         "a whole number from 0 to 1000000"},
        {"policy", "port", "65536", "a whole number from 1 to 65535"},
        {"policy", "port", "99999999999999999999", "a whole number from 1 to 65535"},
        {"policy", "port", "", "a whole number from 1 to 65535"},
        {"resolver", "timeout", "5", "a duration from 100ms to 1m"},
        {"resolver", "timeout", "61s", "a duration from 100ms to 1m"},
        {"policy", "lifetime", "31d", "a duration from 0 to 30d"},
        {"policy", "lifetime", "24 h", "a duration from 0 to 30d"},
        {"policy", "lifetime", "-1h", "a duration from 0 to 30d"},
        {"policy", "lifetime", "tomorrow", "a duration from 0 to 30d"},
        {"policy", "message_rate", "5", RATE},
        {"policy", "message_rate", "", RATE},
        {"policy", "message_rate", "/s", RATE},
        {"policy", "message_rate", "0/s", RATE},
        {"policy", "message_rate", "-1/s", RATE},
        {"policy", "message_rate", "1.5/s", RATE},
        {"policy", "message_rate", "5/m", RATE},
        {"policy", "message_rate", "5 /s", RATE},
        {"policy", "message_rate", "5/s ", RATE},
        {"policy", "connection_rate", "1000001/s", RATE},
        {"policy", "connection_rate", "3600000001/h", RATE},
        {"policy", "connection_rate", "9223372036854775807/s", RATE},
        {"policy", "connection_rate", "99999999999999999999/h", RATE},
        {"policy", "unknown_limit", "101", "a whole number from 0 to 100"},
        {"policy", "unknown_pause", "0", "a duration from 1s to 7d"},
        {"policy", "tls", "yes", "none, may, encrypt or verify"},
        {"policy", "tls_min_version", "1.4", "1.0, 1.1, 1.2 or 1.3"},
        {"policy", "end_timeout", "never", "retry, assume or fail"},
        {"policy", "relay", "mx.example", "host:port, or none"},
        {"policy", "relay", "mx example:25", "host:port, or none"},
        {"policy", "relay", "mx.example:0", "host:port, or none"},
        {"policy", "relay_tls", "may", "starttls, implicit or none"},
        {"policy", "relay_auth_clear", "maybe", "yes or no"},
        {"timeout", "session", "25h", "a duration from 0 to 24h"},
        {"timeout", "connect", "0", "a duration from 100ms to 1h"},
        {"timeout", "greeting", "99ms", "a duration from 100ms to 1h"},
        {"timeout", "helo", "61m", "a duration from 100ms to 1h"},
        {"timeout", "mail", "5min", "a duration from 100ms to 1h"},
        {"timeout", "rcpt", "1.5m", "a duration from 100ms to 1h"},
        {"timeout", "data", "s", "a duration from 100ms to 1h"},
        {"timeout", "body", "3M", "a duration from 100ms to 1h"},
        {"timeout", "end", "", "a duration from 100ms to 1h"},
        {"timeout", "rset", "20", "a duration from 100ms to 1h"},
        {"timeout", "quit", "1d", "a duration from 100ms to 1h"},
        {"policy", "retry_interval", "50ms",
         "a list of 1 to 32, each a duration from 100ms to 7d"},
        {"policy", "pipelining", "on", "auto, group or off"},
        {"policy", "chunking", "on", "auto or off"},
        {"resolver", "servers", "localhost",
         "a list of at most 8, each address, address:port or [v6]:port"},
        {"resolver", "servers", "127.0.0.1:0",
         "a list of at most 8, each address, address:port or [v6]:port"},
        {"resolver", "servers", "[::1",
         "a list of at most 8, each address, address:port or [v6]:port"},
        {"resolver", "servers", "[::1]x",
         "a list of at most 8, each address, address:port or [v6]:port"},
        {"", "deny_destinations", "localhost", NULL},
        {"", "deny_destinations", "10.0.0.0/33", NULL},
        {"", "deny_destinations", "10.0.0/8", NULL},
        {"", "deny_destinations", "10.0.0.0/", NULL},
        {"", "deny_destinations", "10.0.0.1/31", NULL},
        {"", "deny_destinations", "2001:db8::1/32", NULL},
        {"", "deny_destinations", "::/129", NULL},
        {"", "spool", "", "a path of at most 4000 bytes"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const char *in = lines[i].section;
        const char *before = in[0] == 't' ? "policy { timeout {" : in[0] ? in : "";
        const char *after = in[0] == 't' ? "}}" : in[0] ? "}" : "";
        const char *range =
            lines[i].range
                ? lines[i].range
                : "a list of at most 256, each address, address/length, loopback, "
                  "self, private, link-local, multicast or "
                  "reserved";
        char text[300], words[400];
        snprintf(text, sizeof text, H "%s %s\n%s = '%s'\n%s", before,
                 in[0] && in[0] != 't' ? "{" : "", lines[i].key, lines[i].value, after);
        const char *hint = "";
        if (strstr(range, "duration"))
            hint = "; durations are 500ms, 5s, 30m, 24h, 2d";
        else if (strcmp(range, RATE) == 0)
            hint = "; rates are 5/s, 100/min, 500/h";
        else if (strcmp(lines[i].value, "010") == 0)
            hint = "; numbers have no leading zeros";
        snprintf(words, sizeof words, "a.conf:2: %s%s%s%s must be %s, not \"%s\"%s",
                 in[0] == 't' ? "policy." : "", in, in[0] ? "." : "", lines[i].key,
                 range, lines[i].value, hint);
        bad(text, -7, words);
    }
}

static void a_relay_has_no_rate_by_itself(void **state)
{
    (void)state;
    struct conf_policy p;
    const int rule[] = {0};
    struct conf *c = good(H "policy { relay = 'mx.example:25' }\n"
                            "domain 'direct.example' { relay = '' }");
    struct buf text = {0}; /* nor when the job is resumed */
    conf_write(&text, c, NULL);
    for (int i = 0; i < 2; i++) {
        conf_policy_of(c, NULL, 0, &p);
        assert_int_equal(p.connection_rate, 0);
        conf_policy_of(c, rule, 1, &p);
        assert_int_equal(p.connection_rate, 10 * 3600);
        conf_free(c);
        c = good(buf_cstr(&text));
    }
    conf_free(c);
    buf_finish(&text);
    c = good(H "policy { connection_rate = 1/h relay = 'mx.example:25' }");
    conf_policy_of(c, NULL, 0, &p);
    assert_int_equal(p.connection_rate, 1);
    conf_free(c);
    c = good(H "domain 'a.example' { relay = 'mx.example:25' connection_rate = 2/h }");
    conf_policy_of(c, rule, 1, &p);
    assert_int_equal(p.connection_rate, 2);
    conf_free(c);
}

static void value_errors(void **state)
{
    (void)state;
    bad(H "policy { retry_interval =\n{} }", -7,
        "a.conf:1: policy.retry_interval must hold at least one duration");
    bad(H "spool = 'a\tb'", -7, "a.conf:1: spool must hold no control characters");
    struct buf text = {0};
    buf_add_str(&text, H "policy {\nretry_interval = {");
    for (int i = 0; i < 33; i++)
        buf_add_str(&text, "1s,\n");
    buf_add_str(&text, "}}");
    bad(buf_cstr(&text), -7,
        "a.conf:34: policy.retry_interval has more than 32 values");
    buf_finish(&text);
    /* The line is that of the value, not of the key. */
    bad(H "policy { port\n=\n0 }", -7,
        "a.conf:3: policy.port must be a whole number from 1 to 65535, not \"0\"");
    bad(H "policy { retry_interval = { 1s,\n 2s,\n 3x } }", -7,
        "a.conf:3: policy.retry_interval must be a list of 1 to 32, each a duration "
        "from "
        "100ms to 7d, "
        "not \"3x\"; durations are 500ms, 5s, 30m, 24h, 2d");
}

static void given_twice(void **state)
{
    (void)state;
    bad(H "\n workers = 1\n\nworkers = 1\n", -7,
        "a.conf:4: \"workers\" is given twice, first at a.conf:2");
    bad(H "policy { port = 1 }\nresolver {}\npolicy { lifetime = 1h }", -7,
        "a.conf:3: \"policy\" is given twice, first at a.conf:1");
    bad(H "resolver { servers = {}\nservers = {} }", -7,
        "a.conf:2: \"servers\" is given twice, first at a.conf:1");
    /* The same word in two sections is two keys. */
    struct conf *c =
        good(H "resolver { timeout = 1s } policy { timeout { body = 1s } }");
    assert_int_equal(c->resolver.timeout, 1000);
    assert_int_equal(c->policy.timeout.body, 1000);
    assert_int_equal(c->policy.timeout.end, 600000);
    conf_free(c);
}

static void unknown_keywords(void **state)
{
    (void)state;
    bad("policy {\n  conections = 5\n}", -6,
        "a.conf:2: unknown keyword \"conections\"; did you mean \"connections\"?");
    bad("polcy { port = 25 }", -6,
        "a.conf:1: unknown keyword \"polcy\"; did you mean \"policy\"?");
    bad("Workers = 1", -6,
        "a.conf:1: unknown keyword \"Workers\"; did you mean \"workers\"?");
    bad("\n\nconnections = 5", -6,
        "a.conf:3: unknown keyword \"connections\" here; it belongs in policy { }");
    bad("policy { greeting = 1s }", -6,
        "a.conf:1: unknown keyword \"greeting\" here; it belongs in policy.timeout { "
        "}");
    bad("policy { timeout { workers = 1 } }", -6,
        "a.conf:1: unknown keyword \"workers\" here; it stands outside any section");
    bad("timeout = 5s", -6,
        "a.conf:1: unknown keyword \"timeout\" here; it belongs in resolver { }");
    bad("timeout { rcpt = 5s }", -6,
        "a.conf:1: unknown keyword \"timeout\" here; it belongs in policy { }");
    bad("policy { connect { } }", -6, /* no section has that name */
        "a.conf:1: unknown keyword \"connect\" here; it belongs in policy.timeout { "
        "}");
    bad("xyzzy = 1", -6, "a.conf:1: unknown keyword \"xyzzy\"");
    bad("xyzzy", -6, "a.conf:1: unknown keyword \"xyzzy\"");
    bad("policy { chunked = auto }", -6, "a.conf:1: unknown keyword \"chunked\"");
    bad("job { id = x }", -6, "a.conf:1: unknown keyword \"job\"");
}

/* What libConfuse lets pass. */
static void unclosed(void **state)
{
    (void)state;
    bad("workers = 1\npolicy {\n port = 25\n", -5, "a.conf:2: this { is not closed");
    bad("workers = 1\npolicy {\n port = 25\nresolver {}\nxyzzy = 1\n", -5,
        "a.conf:2: this { is not closed");
    bad("policy { timeout {\n }\n", -5, "a.conf:1: this { is not closed");
    bad("deny_destinations = {'self',\n'private'\nworkers = 1\n", -5,
        "a.conf:1: this { is not closed");
    bad("policy {\nretry_interval = {1s, \nport = 25 }}\n", -5,
        "a.conf:2: this { is not closed");
    bad("workers = 1 }\n", -5, "a.conf:1: this } closes nothing");
    bad("\nspool = \"/var\nworkers = 1\n", -5,
        "a.conf:2: this string is not closed on its line");
    bad("spool = '/var\nworkers = '1'\n", -5,
        "a.conf:1: this string is not closed on its line");
    bad("spool = '/var\\\n/x'\n", -5,
        "a.conf:1: this string is not closed on its line");
    bad("spool = \"/var\\", -5, "a.conf:1: this string is not closed on its line");
    bad("workers = 1\n/* policy {\n}\n", -5, "a.conf:2: this comment is not closed");
    bad("workers = 1 /*/", -5, "a.conf:1: this comment is not closed");
}

static void not_understood(void **state)
{
    (void)state;
    bad("workers 1", -5, "a.conf:1: 1 where = is due");
    bad("workers = \n}", -5, "a.conf:2: this } closes nothing");
    bad("policy { port = \n}", -5, "a.conf:2: } where a value is due");
    bad("workers =\n", -5, "a.conf:2: the file ends where a value is due");
    bad("workers", -5, "a.conf:1: the file ends where = is due");
    bad("workers = = 1", -5, "a.conf:1: = where a value is due");
    bad("'workers' = 1", -5, "a.conf:1: 'workers' where a keyword is due");
    bad("policy = 1", -5, "a.conf:1: = where { is due");
    bad("policy 'x' { }", -5, "a.conf:1: 'x' where { is due");
    bad("workers = 1, spool = /x", -5, "a.conf:1: , where a keyword is due");
    bad("workers = {1}", -5, "a.conf:1: unexpected token '{'");
    bad("resolver {\nservers = {'127.0.0.1'\n'127.0.0.2'} }", -5,
        "a.conf:3: unexpected token '127.0.0.2'");
    bad("\nresolver { servers =\n{,} }", -5, "a.conf:3: unexpected token ','");
    bad("deny_destinations += {'10.0.0.0/8'}", -5, "a.conf:1: + where = is due");
    bad("deny_destinations = {+}", -5, "a.conf:1: + where , or } is due");
    bad("workers = 1;", -5, "a.conf:1: \";\" must stand in quotes");
    bad("hostname = *.example", -5, "a.conf:1: \"*\" must stand in quotes");
    bad("hostname = é", -5, "a.conf:1: \"é\" must stand in quotes");
    bad("hostname = ${HOME}", -5, "a.conf:1: \"$\" must stand in quotes");
    bad("spool = /var//x", -5, "a.conf:1: // and /* inside a word must be quoted");
    bad("spool = /var/*x*/", -5, "a.conf:1: // and /* inside a word must be quoted");
    bad("policy {{{{{{{{{{{{{{{{{", -5, "a.conf:1: too many braces inside braces");
    file_with("a.conf", "spool = 'a\0b'", 13);
    bad_file("a.conf", -5, "a.conf:1: control character in a string");
    file_with("a.conf", "spool = 'a\\\0b'", 14);
    bad_file("a.conf", -5, "a.conf:1: control character in a string");
    file_with("a.conf", "workers = 1\n\0", 13);
    bad_file("a.conf", -5, "a.conf:2: control character outside a string");
}

static void backslashes_and_variables(void **state)
{
    (void)state;
    setenv("CONF_TEST", "it's\\{", 1);
    unsetenv("CONF_NONE");
    struct conf *c =
        good(H "spool = \"/a\\\\b\\\"c\\${X}/${CONF_TEST}${CONF_NONE:-d}'$\"");
    assert_string_equal(c->spool, "/a\\b\"c${X}/it's\\{d'$");
    conf_free(c);
    c = good(H "spool = '/a\\\\b\\'c\\d${X}\"'");
    assert_string_equal(c->spool, "/a\\b'c\\d${X}\"");
    conf_free(c);
    bad("\nspool = \"/a\\d\"", -5,
        "a.conf:2: write a backslash in \"…\" twice; in '…' it is itself");
    bad("spool = \"/a\\x00b\"", -5,
        "a.conf:1: write a backslash in \"…\" twice; in '…' it is itself");
    bad("spool = \"${CONF_NONE}\"", -7,
        "a.conf:1: ${CONF_NONE} is not set in the environment");
    static const char *const wrong[] = {"spool = \"${\"\nworkers = 1\n# }",
                                        "spool = \"${A B}\"", "spool = \"${}\"",
                                        "spool = \"${CONF_TEST:-\"\n#}\""};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        bad(wrong[i], -5,
            "a.conf:1: ${ in \"…\" must be ${NAME} or ${NAME:-otherwise}; in '…' it is "
            "itself");
}

static void comments_and_line_ends(void **state)
{
    (void)state;
    struct conf *c =
        good("\xef\xbb\xbf# one\r\n" H "\r\n// two { ' \" \r\n/* three\r\n } '"
             "*/ workers = 3 /**/ policy /* */{\r\n# }\r\nport = 26 // x\r\n}\r\n");
    assert_int_equal(c->workers, 3);
    assert_int_equal(c->policy.port, 26);
    conf_free(c);
    /* Lines stay right behind comments of several lines. */
    bad(H "/* 1\n2\n3 */ # x\n// y\n policy { /* 5 */\n /* 6 */ port = 0 }", -7,
        "a.conf:6: policy.port must be a whole number from 1 to 65535, not \"0\"");
    c = good(H "spool = '# // /* */ {}'");
    assert_non_null(strstr(c->spool, "/# // /* */ {}"));
    conf_free(c);
    c = good(H); /* no newline at the end */
    conf_free(c);
}

static void paths(void **state)
{
    (void)state;
    char want[PATH_MAX];
    snprintf(want, sizeof want, "%s/jobs/x", folder);
    struct conf *c = good(H "spool = jobs/x");
    assert_string_equal(c->spool, want);
    conf_free(c);

    file("sub/b.conf", "spool = jobs");
    c = good(H "include('sub/b.conf')");
    snprintf(want, sizeof want, "%s/sub/jobs", folder);
    assert_string_equal(c->spool, want);
    conf_free(c);

    char whole[PATH_MAX];
    struct fault f = {0};
    snprintf(whole, sizeof whole, "%s/sub/b.conf", folder);
    file("sub/b.conf", H "spool = jobs");
    c = conf_load(whole, false, &f);
    assert_non_null(c);
    assert_string_equal(c->spool, want);
    conf_free(c);
}

static void includes(void **state)
{
    (void)state;
    file("sub/b.conf", "\ninclude(\"c.conf\")\nworkers = 3\n");
    file("sub/c.conf", "port = 26\n");
    struct conf *c = good(H "policy { include(\"sub/c.conf\") lifetime = 1h }");
    assert_int_equal(c->policy.port, 26);
    assert_int_equal(c->policy.lifetime, 3600000);
    conf_free(c);

    file("sub/c.conf", "\n\npolicy {\n\nport = 0 }\n");
    bad(H "\n# x\ninclude(\"sub/b.conf\")\n", -7,
        "sub/c.conf:5: policy.port must be a whole number from 1 to 65535, not \"0\"");
    /* Lines of the including file stay right behind it. */
    file("sub/c.conf", "\n\npolicy {\n\nport = 1 }\n");
    bad(H "\n# x\ninclude(\"sub/b.conf\")\nresolver {\n tries = 0 }", -7,
        "a.conf:5: resolver.tries must be a whole number from 1 to 10, not \"0\"");
    bad(H "\ninclude(\"sub/b.conf\")\nworkers = 1\n", -7,
        "a.conf:3: \"workers\" is given twice, first at sub/b.conf:3");
    bad("workers = 1\n" H "\ninclude(\"sub/b.conf\")\n", -7,
        "sub/b.conf:3: \"workers\" is given twice, first at a.conf:1");
    file("sub/c.conf", "\n\npolicy {\n");
    bad("include('sub/b.conf')\n}\n", -5, "a.conf:2: this } closes nothing");
    bad("include('sub/b.conf')\n", -5, "sub/c.conf:3: this { is not closed");
    file("sub/c.conf", "workers = 1\nprot = 1\n");
    bad("include('sub/b.conf')\n", -6,
        "sub/c.conf:2: unknown keyword \"prot\"; did you mean \"pool\"?");
    file("sub/c.conf", "resolver {\nservers = {a b} }\n");
    bad("include('sub/b.conf')\n", -5, "sub/c.conf:2: unexpected token 'b'");
    unlink("sub/c.conf");
    bad("\ninclude('sub/b.conf')\n", -4,
        "sub/b.conf:2: cannot open settings file \"sub/c.conf\": No such file or "
        "directory");
    bad("include('sub')\n", -5,
        "a.conf:1: cannot read settings file \"sub\": Is a directory");
    bad("\ninclude('a.conf')\n", -5,
        "a.conf:2: more than 100 files are included; does one include itself?");
    bad("include\n'x'", -5, "a.conf:2: 'x' where ( is due");
    bad("include(x)", -5, "a.conf:1: x where a quoted file name is due");
    bad("include('x'", -5, "a.conf:1: the file ends where ) is due");
    bad("include('')", -7,
        "a.conf:1: a file name in include() is taken as it stands, without backslash "
        "and "
        "${}");
}

static void files(void **state)
{
    (void)state;
    bad_file("none.conf", -4,
             "none.conf: cannot open settings file \"none.conf\": No such file or "
             "directory");
    bad_file("sub", -5, "sub: cannot read settings file \"sub\": Is a directory");
    size_t n = (1 << 20) + 1;
    char *big = malloc(n);
    assert_non_null(big);
    memset(big, '\n', n);
    file_with("big.conf", big, n);
    free(big);
    bad_file("big.conf", -5,
             "big.conf: cannot read settings file \"big.conf\": File too large");
}

/* libConfuse writes its complaints to standard error unless it is told not to. */
static void nothing_is_printed(void **state)
{
    (void)state;
    FILE *out = tmpfile();
    assert_non_null(out);
    int kept = dup(STDERR_FILENO);
    assert_int_equal(dup2(fileno(out), STDERR_FILENO), STDERR_FILENO);
    struct fault f[3] = {0};
    file("a.conf", "workers = {1}");
    struct conf *a = conf_load("a.conf", false, &f[0]);
    file("a.conf", "policy { timeout { body = {1s} } }");
    struct conf *b = conf_load("a.conf", false, &f[1]);
    file("a.conf", "xyzzy = 1");
    struct conf *c = conf_load("a.conf", false, &f[2]);
    fflush(stderr);
    assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
    close(kept);
    assert_true(!a && !b && !c);
    assert_int_equal(lseek(fileno(out), 0, SEEK_END), 0);
    assert_string_equal(f[1].words, "a.conf:1: unexpected token '{'");
    fclose(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(defaults_of_the_machine),
        cmocka_unit_test(good_values),
        cmocka_unit_test(hostnames),
        cmocka_unit_test(ranges),
        cmocka_unit_test(a_relay_has_no_rate_by_itself),
        cmocka_unit_test(value_errors),
        cmocka_unit_test(given_twice),
        cmocka_unit_test(unknown_keywords),
        cmocka_unit_test(unclosed),
        cmocka_unit_test(not_understood),
        cmocka_unit_test(backslashes_and_variables),
        cmocka_unit_test(comments_and_line_ends),
        cmocka_unit_test(paths),
        cmocka_unit_test(includes),
        cmocka_unit_test(files),
        cmocka_unit_test(nothing_is_printed),
    };
    return cmocka_run_group_tests(tests, enter_folder, remove_folder);
}
