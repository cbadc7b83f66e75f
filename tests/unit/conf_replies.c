/* The reply sections: what they hold, their places, every error, and that what is
 * written reads back the same. */
#include "tests/unit/conf_help.h"

static const char sections[] =
    H "receivers = no\n"
      "reply \"421\" { text = 'a\\.b' mx = {'*.Google.com', 'mx?'} action = suspend\n"
      "    for = 10m connections = 1 scope = site }\n"
      "domain \"x.example\" { connections = 2 }\n"
      "reply '421' { domain = Docomo.ne.jp }\n"
      "reply \"550 5.7.1\" { action = \"treat-as 450\"\n"
      "    stage = wait-end }\n";

static void check(const struct conf *c)
{
    assert_int_equal(c->replies_n, 3);
    assert_int_equal(c->rules_n, 1);
    const struct conf_reaction *a = &c->replies[0].values->reply;
    assert_string_equal(c->replies[0].title, "421");
    assert_string_equal(a->text, "a\\.b");
    assert_int_equal(a->mx.n, 2);
    assert_string_equal(a->mx.items[0], "*.google.com");
    assert_string_equal(a->mx.items[1], "mx?");
    assert_int_equal(a->domains.n, 0);
    assert_int_equal(a->action.word, CONF_ACTION_SUSPEND);
    assert_int_equal(a->pause, 600000);
    assert_int_equal(a->connections, 1);
    assert_int_equal(a->scope, CONF_SCOPE_SITE);
    assert_string_equal(a->stage, "");
    const struct conf_reaction *b = &c->replies[1].values->reply;
    assert_string_equal(c->replies[1].title, "421");
    assert_int_equal(b->action.word, CONF_ACTION_RETRY);
    assert_string_equal(b->domains.items[0], "docomo.ne.jp");
    assert_string_equal(b->text, "");
    const struct conf_reaction *d = &c->replies[2].values->reply;
    assert_string_equal(c->replies[2].title, "550 5.7.1");
    assert_int_equal(d->action.word, CONF_ACTION_TREAT_AS);
    assert_int_equal(d->action.code, 450);
    assert_string_equal(d->stage, "wait-end");
}

static void test_values(void **state)
{
    (void)state;
    struct conf *c = good(sections);
    check(c);
    struct buf place = {0};
    assert_string_equal(c->replies[2].place, "a.conf:7");
    conf_reply_place(&place, &c->replies[2], "stage");
    assert_string_equal(buf_cstr(&place), "a.conf:8");
    buf_reset(&place);
    conf_reply_place(&place, &c->replies[2], "text");
    assert_string_equal(buf_cstr(&place), "a.conf:7");
    buf_reset(&place);
    conf_reply_what(&place, &c->replies[0]);
    assert_string_equal(buf_cstr(&place),
                        "suspend for 10m, scope 'site', then over 1 connection: a\\.b");
    buf_finish(&place);

    struct buf text = {0}, again = {0};
    conf_write(&text, c, NULL);
    conf_free(c);
    c = good(buf_cstr(&text));
    check(c);
    conf_write(&again, c, NULL);
    assert_string_equal(buf_cstr(&text), buf_cstr(&again));
    conf_free(c);
    buf_finish(&text);
    buf_finish(&again);
}

/* One's own come first; those of the program come from the program alone. */
static void test_shipped(void **state)
{
    (void)state;
    struct conf *c = good(H "reply '421' { }");
    assert_true(c->receivers && c->replies_n > 50);
    assert_false(c->replies[0].shipped);
    for (int i = 1; i < c->replies_n; i++) {
        assert_true(c->replies[i].shipped);
        assert_int_equal(strncmp(c->replies[i].place, "receivers.conf:", 15), 0);
    }
    struct buf text = {0};
    conf_write(&text, c, NULL);
    assert_non_null(strstr(buf_cstr(&text), "receivers = yes\n"));
    assert_null(strstr(buf_cstr(&text), "google"));
    int n = c->replies_n;
    conf_free(c);
    c = good(buf_cstr(&text));
    assert_int_equal(c->replies_n, n);
    conf_free(c);
    buf_finish(&text);
    c = good(H "receivers = no");
    assert_int_equal(c->replies_n, 0);
    conf_free(c);
}

static void add_names(struct buf *out, const struct conf_strings *names)
{
    for (int i = 0; i < names->n; i++)
        buf_printf(out, "%s`%s`", i ? ", " : "", names->items[i]);
}

/* A pattern in a cell of a table: its bars are written otherwise. */
static void add_pattern(struct buf *out, const char *pattern)
{
    if (*pattern == '\0')
        return;
    buf_add_str(out, " `");
    for (; *pattern; pattern++)
        buf_printf(out, "%s%c", *pattern == '|' ? "\\" : "", *pattern);
    buf_add_char(out, '`');
}

static void add_line(struct buf *out, const struct conf_reply *r, struct buf *before)
{
    const struct conf_reaction *a = &r->values->reply;
    struct buf who = {0}, what = {0};
    add_names(&who, a->mx.n ? &a->mx : &a->domains);
    buf_add_str(&who, who.n ? "" : "any");
    bool same = span_equal(buf_span(&who), buf_span(before));
    conf_reply_what(&what, r);
    if (a->text[0]) /* it stands in a column of its own */
        what.n -= strlen(": ") + strlen(a->text);
    buf_printf(out, "| %s | `%s`%s%s", same ? "" : buf_cstr(&who), r->title,
               a->stage[0] ? " at " : "", a->stage);
    add_pattern(out, a->text);
    buf_printf(out, " | %.*s |\n", (int)what.n, what.p);
    buf_reset(before);
    buf_add_span(before, buf_span(&who));
    buf_finish(&who);
    buf_finish(&what);
}

/* The rules of the program as docs/policy.md shows them, between these two lines. */
static void test_document(void **state)
{
    (void)state;
    static const char path[] = SOURCE_DIR "/docs/policy.md";
    static const char begin[] = "| Who | says | what is done |\n|---|---|---|\n",
                      end[] = "\n## Rules of your own\n";
    struct conf *c = good(H);
    struct buf table = {0}, page = {0}, before = {0}, fresh = {0};
    for (int i = 0; i < c->replies_n; i++)
        add_line(&table, &c->replies[i], &before);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (int byte; (byte = getc(f)) != EOF;)
        buf_add_char(&page, (char)byte);
    fclose(f);
    const char *from = strstr(buf_cstr(&page), begin);
    assert_non_null(from);
    const char *to = strstr(from, end);
    assert_non_null(to);
    from += strlen(begin);
    buf_printf(&fresh, "%.*s%s%s", (int)(from - page.p), page.p, buf_cstr(&table), to);
    if (getenv("WRITE_DOCS")) {
        f = fopen(path, "w");
        assert_non_null(f);
        fwrite(fresh.p, 1, fresh.n, f);
        assert_int_equal(fclose(f), 0);
    } else if (!span_equal(buf_span(&fresh), buf_span(&page)))
        fail_msg("docs/policy.md does not have the rules of receivers.conf; "
                 "WRITE_DOCS=1 writes them anew");
    conf_free(c);
    buf_finish(&table);
    buf_finish(&page);
    buf_finish(&before);
    buf_finish(&fresh);
}

static void test_mistakes(void **state)
{
    (void)state;
    bad(H "reply 'abc' { }", -7,
        "a.conf:2: reply must be a code such as 421, 4.7.28 or 550 5.7.1, not 'abc'");
    bad(H "reply { }", -5, "a.conf:2: { where a name in quotes is due");
    bad(H "reply '421' {\nacton = fail }", -6,
        "a.conf:3: unknown keyword \"acton\"; did you mean \"action\"?");
    bad(H "reply '421' { lifetime = 1h }", -6,
        "a.conf:2: unknown keyword \"lifetime\" here; it belongs in policy { }");
    bad(H "reply '421' { action = stop }", -7,
        "a.conf:2: reply.action must be retry, fail, suspend, slow, reconnect or "
        "treat-as and a code, not \"stop\"");
    bad(H "reply '421' { action = 'treat-as 250' }", -7,
        "a.conf:2: reply.action must be retry, fail, suspend, slow, reconnect or "
        "treat-as and a code, not \"treat-as 250\"");
    bad(H "reply '421' { action = 'treat-as' }", -7,
        "a.conf:2: reply.action must be retry, fail, suspend, slow, reconnect or "
        "treat-as and a code, not \"treat-as\"");
    bad(H "reply '421' { scope = all }", -7,
        "a.conf:2: reply.scope must be auto, rcpt, path, site or source, not \"all\"");
    bad(H "reply '421' { action = fail\nscope = path }", -7,
        "a.conf:3: reply.scope can only be rcpt unless its action is suspend or slow");
    bad(H "reply '421' { action = fail\nfor = 5m }", -7,
        "a.conf:3: reply.for belongs to the actions retry, suspend and slow");
    bad(H "reply '421' {\nconnections = 1 action = slow }", -7,
        "a.conf:3: reply.connections belongs to the action suspend");
    bad(H "reply '421' { for = soon }", -7,
        "a.conf:2: reply.for must be a duration from 0 to 7d, not \"soon\"; durations "
        "are 500ms, 5s, 30m, 24h, 2d");
    bad(H "reply '421' { mx = 'a/b' }", -7,
        "a.conf:2: reply.mx must be a list of at most 32 patterns of host names, with "
        "* "
        "and ?, not \"a/b\"");
    bad(H "reply '421' { domain = {ok.example,\n'a@b'} }", -7,
        "a.conf:3: reply.domain must be a list of at most 32, each a domain, or *. and "
        "a "
        "domain, not \"a@b\"");
    bad(H "reply '421' { for = 1m for = 2m }", -7,
        "a.conf:2: \"for\" is given twice, first at a.conf:2");
    bad(H "reply '421' {", -5, "a.conf:2: this { is not closed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_shipped),
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests(tests, enter_folder, remove_folder);
}
