/* Settings that are written read back the same; docs/settings.md is what the table
 * makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/rng.h"
#include "conf/conf.h"
#include "conf/settings.h"

static char path[] = "/tmp/conf_write.XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 || close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_file(const char *to, struct span text)
{
    FILE *f = fopen(to, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text.p, 1, text.n, f), text.n);
    assert_int_equal(fclose(f), 0);
}

static struct conf *load(struct span text)
{
    struct fault f = {0};
    write_file(path, text);
    struct conf *c = conf_load(path, true, &f);
    if (!c)
        fail_msg("%s in:\n%.*s", f.words, (int)text.n, text.p);
    return c;
}

/* Each setting is compared by what it prints; numbers in the job, too. */
static void same(const struct conf *a, const struct conf *b)
{
    for (const struct setting *s = settings; s < settings + SETTING_COUNT; s++) {
        struct buf x = {0}, y = {0};
        if (section_is_named(s->section))
            continue;
        value_put(&x, s, a);
        value_put(&y, s, b);
        assert_string_equal(buf_cstr(&x), buf_cstr(&y));
        buf_finish(&x);
        buf_finish(&y);
    }
}

static void defaults_read_back(void **state)
{
    (void)state;
    struct conf *c = load(SPAN("hostname = h.example\nspool = '/s'\nworkers = 2\n"));
    struct buf text = {0};
    conf_write(&text, c, NULL);
    assert_string_equal(buf_cstr(&text), "hostname = 'h.example'\n"
                                         "spool = '/s'\n"
                                         "workers = 2\n"
                                         "deny_destinations = {'loopback', 'self', "
                                         "'private', 'link-local', 'multicast', "
                                         "'reserved'}\n"
                                         "network_silence = '1m'\n"
                                         "receivers = yes\n"
                                         "resolver {\n"
                                         "    servers = {}\n"
                                         "    timeout = '5s'\n"
                                         "    tries = 3\n"
                                         "    in_flight = 200\n"
                                         "}\n"
                                         "storm {\n"
                                         "    window = 1000\n"
                                         "    min = 100\n"
                                         "    failures = 50\n"
                                         "    consecutive = 200\n"
                                         "}\n"
                                         "policy {\n"
                                         "    retry_interval = {'30m'}\n"
                                         "    lifetime = '24h'\n"
                                         "    max_attempts = 0\n"
                                         "    quiet_hours = ''\n"
                                         "    connections = 20\n"
                                         "    message_rate = '0'\n"
                                         "    unknown_limit = 10\n"
                                         "    unknown_pause = '1h'\n"
                                         "    messages_per_connection = 100\n"
                                         "    pool = ''\n"
                                         "    recipients_per_message = 1\n"
                                         "    port = 25\n"
                                         "    pipelining = 'auto'\n"
                                         "    chunking = 'off'\n"
                                         "    tls = 'may'\n"
                                         "    tls_ca_file = ''\n"
                                         "    tls_min_version = '1.2'\n"
                                         "    end_timeout = 'retry'\n"
                                         "    in_doubt = 'retry'\n"
                                         "    relay = ''\n"
                                         "    relay_user = ''\n"
                                         "    relay_password_file = ''\n"
                                         "    relay_tls = 'starttls'\n"
                                         "    relay_auth_clear = no\n"
                                         "    timeout {\n"
                                         "        connect = '1m'\n"
                                         "        greeting = '5m'\n"
                                         "        helo = '5m'\n"
                                         "        starttls = '2m'\n"
                                         "        auth = '5m'\n"
                                         "        mail = '5m'\n"
                                         "        rcpt = '5m'\n"
                                         "        data = '2m'\n"
                                         "        body = '3m'\n"
                                         "        end = '10m'\n"
                                         "        rset = '20s'\n"
                                         "        quit = '10s'\n"
                                         "        session = '0'\n"
                                         "    }\n"
                                         "}\n");
    struct conf *again = load(buf_span(&text));
    same(c, again);
    conf_free(c);
    conf_free(again);
    buf_finish(&text);
}

static void job_reads_back(void **state)
{
    (void)state;
    struct conf *c = load(SPAN("hostname = h.example\n"));
    struct conf_job job = {
        .id = (char[]){"news-2026"},
        .created_ms = 1795336756123,
        .secret = (char[]){"00ff"},
        .address_column = (char[]){"メール 'x' \\ ${HOME} \"#//{}"},
        .from = (char[]){"\"o'\\\\x\"@example.jp"},
        .to = (char[]){""},
        .first_row = 1,
        .last_row = INT64_MAX,
        .allow_duplicates = true,
        .list_size = 12345678901,
        .list_crc = (char[]){"e3069283"},
        .message_size = 1,
        .message_crc = (char[]){"00000000"},
    };
    struct buf text = {0};
    conf_write(&text, c, &job);
    struct conf *again = load(buf_span(&text));
    assert_string_equal(again->job.id, job.id);
    assert_int_equal(again->job.created_ms, job.created_ms);
    assert_string_equal(again->job.secret, job.secret);
    assert_string_equal(again->job.address_column, job.address_column);
    assert_string_equal(again->job.from, job.from);
    assert_string_equal(again->job.to, "");
    assert_int_equal(again->job.first_row, 1);
    assert_int_equal(again->job.last_row, INT64_MAX);
    assert_true(again->job.allow_duplicates);
    assert_false(again->job.rehearsal);
    assert_int_equal(again->job.list_size, job.list_size);
    assert_int_equal(again->job.message_size, 1);
    assert_string_equal(again->job.list_crc, "e3069283");
    assert_string_equal(again->job.message_crc, "00000000");

    struct fault f = {0};
    assert_null(conf_load(path, false, &f)); /* not in a user's settings */
    assert_int_equal(f.code, -6);
    conf_free(c);
    conf_free(again);
    buf_finish(&text);
}

static char *random_text(struct rng *r, size_t most)
{
    static const char *const pieces[] = {
        "'", "\"",  "\\",  "${X}", "$", "{", "}", "#",    "//",   "/*", "*/", " ",
        "é", "a/b", "\\'", "=",    ",", "x", ".", "日本", "\\\\", "(",  ")",  "+="};
    struct buf b = {0};
    uint32_t n = rng_below(r, 12);
    for (uint32_t i = 0; i < n; i++) {
        const char *piece = pieces[rng_below(r, sizeof pieces / sizeof pieces[0])];
        if (b.n + strlen(piece) <= most)
            buf_add_str(&b, piece);
    }
    char *text = strdup(buf_cstr(&b));
    buf_finish(&b);
    return text;
}

static int64_t random_between(struct rng *r, int64_t least, int64_t most)
{
    return least + (int64_t)(rng_next(r) % ((uint64_t)(most - least) + 1));
}

static void set_text(char **member, char *text)
{
    free(*member);
    *member = text;
}

/* Any value that a setting may have. */
static void make_random(const struct setting *s, struct conf *c, struct rng *r)
{
    static const char *const servers[] = {"127.0.0.1", "[::1]:53"};
    char *member = (char *)c + s->offset;
    struct buf text = {0};
    switch (s->kind) {
    case KIND_PATH:
        buf_add_char(&text, '/');
        char *rest = random_text(r, 200);
        buf_add_str(&text, rest);
        free(rest);
        set_text((char **)(void *)member, strdup(buf_cstr(&text)));
        break;
    case KIND_FILE:
        set_text((char **)(void *)member, strdup(rng_below(r, 2) ? "/a/file" : ""));
        break;
    case KIND_RELAY:
        set_text((char **)(void *)member,
                 strdup(rng_below(r, 2) ? "mx.example:25" : ""));
        break;
    case KIND_TEXT:
        set_text((char **)(void *)member, random_text(r, (size_t)s->most));
        break;
    case KIND_NUMBER:
    case KIND_WORKERS:
    case KIND_DURATION:
    case KIND_RATE:
        *(int64_t *)(void *)member = random_between(r, s->least, s->most);
        break;
    case KIND_YESNO:
        *(bool *)member = rng_below(r, 2);
        break;
    case KIND_HOURS:
        *(struct hours *)(void *)member =
            (struct hours){(int)rng_below(r, 1440), (int)rng_below(r, 1440)};
        break;
    case KIND_CHUNKING:
        *(unsigned *)(void *)member = rng_below(r, 2);
        break;
    case KIND_PIPELINING:
    case KIND_TLS:
    case KIND_TLS_VERSION:
    case KIND_RELAY_TLS:
    case KIND_END_TIMEOUT:
        *(unsigned *)(void *)member = rng_below(r, 3);
        break;
    case KIND_DURATIONS: {
        struct conf_durations *list = (void *)member;
        list->n = (int)rng_below(r, 32) + 1;
        list->ms = realloc(list->ms, (size_t)list->n * sizeof *list->ms);
        for (int i = 0; i < list->n; i++)
            list->ms[i] = random_between(r, s->least, s->most);
        break;
    }
    case KIND_SERVERS: {
        struct conf_strings *list = (void *)member;
        for (; list->n; list->n--)
            free(list->items[list->n - 1]);
        list->n = (int)rng_below(r, 3);
        list->items = realloc(list->items, 2 * sizeof *list->items);
        for (int i = 0; i < list->n; i++)
            list->items[i] = strdup(servers[i]);
        break;
    }
    case KIND_HOSTNAME:
    case KIND_ADDRESS:
    case KIND_DATE:
    case KIND_NUMBERS:
    case KIND_NAMES:
    case KIND_NETWORKS:
    case KIND_ACTION:
    case KIND_SCOPE:
    case KIND_MX_HOSTS:
    case KIND_DOMAINS:
    case KIND_COUNT:
        break;
    }
    buf_finish(&text);
}

static void anything_reads_back(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct rng r = {seed};
        struct fault f = {0};
        struct conf *c =
            load(SPAN("hostname = h.example policy { connection_rate = 1/s }\n"));
        for (const struct setting *s = settings; s < settings + SETTING_COUNT; s++)
            if (!section_is_named(s->section) &&
                s != &settings[SETTING_POLICY_pool]) /* it must lead somewhere */
                make_random(s, c, &r);
        if (!conf_relay_agrees(c, NULL, 0, &f))
            set_text(&c->policy.relay, strdup(""));
        struct buf text = {0};
        conf_write(&text, c, &c->job);
        struct conf *again = load(buf_span(&text));
        same(c, again);
        conf_free(c);
        conf_free(again);
        buf_finish(&text);
    }
}

static void rates_take_their_largest_unit(void **state)
{
    (void)state;
    static const char *const rates[][2] = {
        {"7200/h", "2/s"},    {"120/min", "2/s"},
        {"90/min", "90/min"}, {"61/h", "61/h"},
        {"60/h", "1/min"},    {"1/h", "1/h"},
        {"0", "0"},           {"3600000000/h", "1000000/s"}};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct buf text = {0}, value = {0}, want = {0};
        buf_printf(&text, "hostname = h.example policy { message_rate = '%s' }",
                   rates[i][0]);
        struct conf *c = load(buf_span(&text));
        value_put(&value, &settings[SETTING_POLICY_message_rate], c);
        buf_printf(&want, "'%s'", rates[i][1]);
        assert_string_equal(buf_cstr(&value), buf_cstr(&want));
        conf_free(c);
        buf_finish(&text);
        buf_finish(&value);
        buf_finish(&want);
    }
}

/* Each setting tells its default, its range and a reason. */
static void each_setting_is_documented(void **state)
{
    (void)state;
    struct buf page = {0};
    conf_document(&page);
    for (const struct setting *s = settings; s < settings + SETTING_COUNT; s++) {
        struct buf line = {0};
        buf_printf(&line, "| `%s` | ", s->name);
        if (s->section == SECTION_JOB)
            assert_null(strstr(buf_cstr(&page), buf_cstr(&line)));
        else
            assert_non_null(strstr(buf_cstr(&page), buf_cstr(&line)));
        assert_true(s->section == SECTION_JOB || strlen(s->about) > 40);
        buf_finish(&line);
    }
    buf_finish(&page);
}

static void document_is_up_to_date(void **state)
{
    (void)state;
    static const char page[] = SOURCE_DIR "/docs/settings.md";
    struct buf want = {0}, have = {0};
    conf_document(&want);
    if (getenv("WRITE_DOCS"))
        write_file(page, buf_span(&want));
    FILE *f = fopen(page, "r");
    assert_non_null(f);
    buf_reserve(&have, want.n + 1); /* one more, to notice a longer page */
    have.n = fread(have.p, 1, want.n + 1, f);
    fclose(f);
    if (!span_equal(buf_span(&have), buf_span(&want)))
        fail_msg("docs/settings.md is not what settings.def makes; "
                 "WRITE_DOCS=1 writes it anew");
    buf_finish(&want);
    buf_finish(&have);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_read_back),
        cmocka_unit_test(job_reads_back),
        cmocka_unit_test(anything_reads_back),
        cmocka_unit_test(rates_take_their_largest_unit),
        cmocka_unit_test(each_setting_is_documented),
        cmocka_unit_test(document_is_up_to_date),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
