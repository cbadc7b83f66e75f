/* Reply rules: titles, places, words, the first one that matches; what a rule makes of
 * a verdict; and the rules that come with the program against the replies of the field.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "cli/replies.h"
#include "smtp/advice.h"
#include "smtp/reaction.h"

static struct reactions *compile(const struct reaction_rule *rules, int n)
{
    struct fault f = {0};
    const char *key;
    int bad;
    struct reactions *r = reactions_create(rules, n, &bad, &key, &f);
    if (!r)
        fail_msg("%s", f.words);
    return r;
}

static const struct reaction_rule *find(struct reactions *r, int code, const char *text,
                                        const char *step, const char *host,
                                        const char *domain)
{
    struct reaction_reply reply = {code, step, span_of(text), span_of(host),
                                   span_of(domain)};
    return reactions_find(r, &reply);
}

static const struct {
    const char *title;
    int code;
    const char *text;
    bool matches;
} titles[] = {
    {"421", 421, "", true},
    {"421", 422, "", false},
    {"4xx", 450, "4.2.0 later", true},
    {"4xx", 550, "", false},
    {"55X", 552, "", true},
    {"55x", 541, "", false},
    {"4.7.28", 421, "4.7.28 rate", true},
    {"4.7.28", 421, "4.7.280 rate", false},
    {"4.7.28", 421, "4.7.2 rate", false},
    {"4.7.28", 421, "rate 4.7.28", false},
    {"4.7.28", 421, "", false},
    {"4.7.28", 421, "4.7.28", true},
    {"4.7.x", 451, "4.7.650 busy", true},
    {"4.x.x", 451, "4.7.650 busy", true},
    {"4.7.x", 451, "4.8.1 busy", false},
    {"550 5.7.1", 550, "5.7.1 no", true},
    {"550 5.7.1", 554, "5.7.1 no", false},
    {"550 5.7.1", 550, "no", false},
    {"421 5.7.32", 421, "5.7.32 the basic code decides", true},
    {"4xx 5.7.x", 421, "5.7.32 the basic code decides", true},
};

static void test_titles(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++) {
        struct reaction_rule rule = {.title = titles[i].title, .text = "", .stage = ""};
        struct reactions *r = compile(&rule, 1);
        bool found =
            find(r, titles[i].code, titles[i].text, "wait-rcpt", "mx.example", "x");
        if (found != titles[i].matches)
            fail_msg("\"%s\" and %d %s", titles[i].title, titles[i].code,
                     titles[i].text);
        reactions_destroy(r);
    }
}

static const struct {
    const char *title, *text, *stage;
    const char *key, *words;
} wrong[] = {
    {"42", "", "", "", NULL},
    {"", "", "", "", NULL},
    {"250", "", "", "", NULL},
    {"xxx", "", "", "", NULL},
    {"x.7.1", "", "", "", NULL},
    {"2.0.0", "", "", "", NULL},
    {"421 ", "", "", "", NULL},
    {"421 4.7", "", "", "", NULL},
    {"421 4.7.1 x", "", "", "", NULL},
    {"4.7.28 421", "", "", "", NULL},
    {"4.7.1000", "", "", "", NULL},
    {"421", "", "wait-dinner", "stage",
     "reply.stage must be one of wait-opening, wait-helo, wait-from, wait-rcpt, "
     "wait-data, wait-end, wait-rset, not \"wait-dinner\""},
    {"421", "", "wait-quit", "stage", NULL}, /* then nothing is left to decide */
    {"421", "a(b", "", "text",
     "reply.text: missing closing parenthesis at offset 3 of \"a(b\""},
    {"421", "[[:oops:]]", "", "text", NULL},
};

static void test_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct reaction_rule rules[2] = {
            {.title = "421", .text = "", .stage = ""},
            {.title = wrong[i].title, .text = wrong[i].text, .stage = wrong[i].stage}};
        struct fault f = {0};
        const char *key = NULL;
        int bad = -1;
        assert_null(reactions_create(rules, 2, &bad, &key, &f));
        assert_int_equal(f.code, -7);
        assert_int_equal(bad, 1);
        assert_string_equal(key, wrong[i].key);
        if (wrong[i].words)
            assert_string_equal(f.words, wrong[i].words);
    }
}

static void test_places(void **state)
{
    (void)state;
    static const char *const hosts[] = {"*.google.com", "mx?.example"};
    static const char *const domains[] = {"docomo.ne.jp", "*.below.example"};
    const struct reaction_rule rules[] = {
        {.title = "421", .text = "first", .stage = "", .hosts = hosts, .hosts_n = 2},
        {.title = "421", .text = "", .stage = "", .domains = domains, .domains_n = 2},
        {.title = "550", .text = "", .stage = "wait-end"},
        {.title = "421", .text = "fi.?rst", .stage = ""},
    };
    struct reactions *r = compile(rules, 4);
    const struct reaction_rule *a = rules, *b = rules + 1, *c = rules + 2,
                               *d = rules + 3;
    assert_ptr_equal(find(r, 421, "the FIRST", "wait-rcpt", "x.google.com", "x"), a);
    assert_ptr_equal(find(r, 421, "first", "wait-rcpt", "mx1.example", "x"), a);
    assert_ptr_equal(find(r, 421, "first", "wait-rcpt", "mx12.example", "x"), d);
    assert_ptr_equal(find(r, 421, "first", "wait-rcpt", "", ""), d);
    assert_null(find(r, 421, "second", "wait-rcpt", "x.google.com", "x"));
    assert_ptr_equal(find(r, 421, "a", "wait-rcpt", "", "docomo.ne.jp"), b);
    assert_ptr_equal(find(r, 421, "a", "wait-rcpt", "", "a.below.example"), b);
    assert_null(find(r, 421, "a", "wait-rcpt", "", "below.example"));
    assert_null(find(r, 421, "a", "wait-rcpt", "", "x.docomo.ne.jp"));
    assert_null(find(r, 550, "a", "wait-rcpt", "", ""));
    assert_ptr_equal(find(r, 550, "a", "wait-end", "", ""), c);
    assert_ptr_equal(find(r, 550, "a", "reply-end", "", ""), c);
    reactions_destroy(r);
}

/* Whoever wrote a rule knows of the replies that it matches; the program's for
 * everybody knows of nobody's. */
static void test_special(void **state)
{
    (void)state;
    static const char *const names[] = {"*.example"};
    assert_true(reaction_is_special(&(struct reaction_rule){.title = "421"}));
    struct reaction_rule shipped = {.title = "421", .shipped = true};
    assert_false(reaction_is_special(&shipped));
    shipped.hosts = names, shipped.hosts_n = 1;
    assert_true(reaction_is_special(&shipped));
    shipped.hosts_n = 0, shipped.domains = names, shipped.domains_n = 1;
    assert_true(reaction_is_special(&shipped));
    struct fault f = {0};
    struct conf *conf = conf_load(NULL, false, &f);
    struct replies rules;
    if (!conf || !replies_open(&rules, conf, &f))
        fail_msg("%s", f.words);
    assert_true(rules.rules[0].shipped);
    replies_close(&rules);
    conf_free(conf);
}

/* Patterns that go wild on such texts run out of steps and match nothing, which is
 * told once; the rules behind them are still asked. */
static void test_hostile(void **state)
{
    (void)state;
    const struct reaction_rule rules[] = {
        {.title = "4xx", .text = "(a+)+$", .stage = ""},
        {.title = "4xx", .text = "(a|a|b?)*c", .stage = ""},
        {.title = "4xx", .text = "((((a*)*)*)*)*d", .stage = ""},
        {.title = "4xx", .text = "(?R)?a?(?R)?x", .stage = ""},
        {.title = "4xx", .text = "", .stage = ""},
    };
    char text[REPLY_TEXT_MAX + 1];
    memset(text, 'a', sizeof text);
    text[sizeof text - 2] = '!';
    text[sizeof text - 1] = '\0';
    int wild = 0;
    for (int i = 0; i < 4; i++) {
        struct reaction_rule two[] = {rules[i], rules[4]};
        struct fault f = {0};
        const char *key;
        int bad;
        struct reactions *r = reactions_create(two, 2, &bad, &key, &f);
        if (!r) /* refused outright is as good */
            continue;
        assert_null(reactions_gave_up(r));
        assert_ptr_equal(find(r, 421, text, "wait-rcpt", "", ""), &two[1]);
        const struct reaction_rule *given_up = reactions_gave_up(r);
        assert_true(!given_up || given_up == &two[0]);
        wild += given_up != NULL;
        assert_null(reactions_gave_up(r));
        assert_ptr_equal(find(r, 421, text, "wait-rcpt", "", ""), &two[1]);
        assert_null(reactions_gave_up(r)); /* once is enough */
        reactions_destroy(r);
    }
    assert_true(wild > 0);
}

/* ---- verdicts ---- */

static struct verdict verdict(enum smtp_stage stage, int code, int subject, int detail)
{
    struct smtp_result result = {.how = SMTP_HOW_REPLY, .stage = stage};
    result.reply.code = code;
    if (subject >= 0) {
        result.reply.enhanced[0] = (uint16_t)(code / 100);
        result.reply.enhanced[1] = (uint16_t)subject;
        result.reply.enhanced[2] = (uint16_t)detail;
    }
    return verdict_of_result(&result, true, NULL);
}

static struct verdict apply(enum reaction_action action, int treat_as, bool reused,
                            struct verdict v)
{
    struct reaction_rule rule = {.action = action, .treat_as = treat_as};
    struct verdict was = v;
    reaction_apply(&rule, reused, &v);
    assert_int_equal(v.class, was.class);
    assert_string_equal(v.status, was.status);
    assert_string_equal(v.step, was.step);
    if (treat_as != 850)
        assert_int_equal(v.code, was.code);
    return v;
}

static void test_verdicts(void **state)
{
    (void)state;
    struct verdict gone = verdict(SMTP_RCPT, 550, 1, 1);
    struct verdict policy = verdict(SMTP_END, 550, 7, 1);
    struct verdict later = verdict(SMTP_MAIL, 421, 7, 28);
    assert_int_equal(gone.outcome, OUTCOME_ABSENT);
    assert_true(policy.about_us && later.about_us);

    struct verdict v = apply(REACTION_RETRY, 0, false, gone);
    assert_true(v.outcome == OUTCOME_RETRY && v.counted && !v.about_us && !v.generic);
    v = apply(REACTION_FAIL, 0, false, later);
    assert_true(v.outcome == OUTCOME_ERROR && v.counted);
    v = apply(REACTION_SUSPEND, 0, true, policy);
    assert_true(v.outcome == OUTCOME_RETRY && v.counted && v.about_us);
    v = apply(REACTION_SLOW, 0, false, later);
    assert_true(v.outcome == OUTCOME_RETRY && v.counted);
    v = apply(REACTION_RECONNECT, 0, true, later);
    assert_true(v.outcome == OUTCOME_RETRY && !v.counted && !v.about_us);
    v = apply(REACTION_RECONNECT, 0, false, later);
    assert_true(v.outcome == OUTCOME_RETRY && v.counted);

    v = apply(REACTION_TREAT_AS, 450, false, policy);
    assert_true(v.outcome == OUTCOME_RETRY && v.code == 550 && !v.about_us);
    v = apply(REACTION_TREAT_AS, 550, false, verdict(SMTP_RCPT, 450, -1, 0));
    assert_true(v.outcome == OUTCOME_ABSENT && v.code == 450);
    v = apply(REACTION_TREAT_AS, 550, false, verdict(SMTP_MAIL, 450, -1, 0));
    assert_int_equal(v.outcome, OUTCOME_ERROR); /* MAIL tells nothing of an address */
    v = apply(REACTION_TREAT_AS, 552, false, gone);
    assert_int_equal(v.outcome, OUTCOME_ERROR);
    v = apply(REACTION_TREAT_AS, 599, false, verdict(SMTP_RCPT, 450, -1, 0));
    assert_int_equal(v.outcome, OUTCOME_ERROR); /* the table has no such line */
    v = apply(REACTION_TREAT_AS, 850, false, verdict(SMTP_END, 550, -1, 0));
    assert_true(v.outcome == OUTCOME_ABSENT && v.code == 850);

    v = apply(REACTION_TREAT_AS, 850, false, verdict(SMTP_MAIL, 550, -1, 0));
    assert_true(v.outcome == OUTCOME_ERROR && v.code == 550);

    /* What goes to another connection at once is not decided yet. */
    struct verdict untried = later;
    untried.counted = false;
    v = apply(REACTION_FAIL, 0, true, untried);
    assert_true(v.outcome == OUTCOME_RETRY && !v.counted);
}

/* ---- what comes with the program ---- */

static struct span field(char **line)
{
    char *tab = strchr(*line, '\t');
    struct span s = {*line, tab ? (size_t)(tab - *line) : strcspn(*line, "\n")};
    *line = tab ? tab + 1 : *line + s.n;
    return s;
}

static void says(const struct reaction_rule *rule, struct buf *out)
{
    static const char *const actions[] = {"retry", "fail",      "suspend",
                                          "slow",  "reconnect", "treat-as"};
    static const char *const reaches[] = {"path", "site", "source"};
    buf_add_str(out, actions[rule->action]);
    if (rule->action == REACTION_SUSPEND || rule->action == REACTION_SLOW)
        buf_printf(out, " %s", reaches[rule->reach]);
    if (rule->action == REACTION_TREAT_AS)
        buf_printf(out, " %d", rule->treat_as);
    if (rule->for_ms) {
        buf_add_char(out, ' ');
        duration_print(out, rule->for_ms);
    }
    if (rule->connections)
        buf_printf(out, " then %u", rule->connections);
}

/* As the session reads it, from the wire. */
static void receive(struct span text, struct reply_parser *p)
{
    struct buf wire = {0};
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '\\' && i + 1 < text.n && text.p[i + 1] == 'n') {
            buf_add_str(&wire, "\r\n");
            i++;
        } else {
            buf_add_char(&wire, text.p[i]);
        }
    buf_add_str(&wire, "\r\n");
    size_t used;
    reply_parser_init(p);
    assert_int_equal(reply_feed(p, wire.p, wire.n, &used), REPLY_DONE);
    assert_int_equal(used, wire.n);
    buf_finish(&wire);
}

static struct verdict judge(const struct reply *reply, struct span step,
                            struct span domain)
{
    struct verdict_policy policy = {.domain = domain};
    struct smtp_result result = {
        .how = SMTP_HOW_REPLY, .stage = SMTP_STAGE_COUNT - 1, .reply = *reply};
    while (!span_equal(span_of(smtp_stages[result.stage].waiting), step))
        assert_true(result.stage-- > 0); /* from behind: wait-end is the dot */
    return verdict_of_result(&result, true, &policy);
}

/* "error", "absent 850", "retry, asked for 5m": what becomes of a row that is the first
 * of its connection. */
static void becomes(const struct verdict *v, const struct reaction_rule *rule,
                    const struct reply *reply, struct buf *out)
{
    bool own = rule && rule->action == REACTION_RETRY && rule->for_ms;
    bool later = v->outcome == OUTCOME_RETRY && reply->code < 500 && !own;
    int64_t wait =
        later ? advice_wait_ms((struct span){reply->text, reply->text_n}) : 0;
    buf_add_str(out, outcome_word(v->outcome));
    if (v->code != reply->code)
        buf_printf(out, " %d", v->code);
    if (wait) {
        buf_add_str(out, ", asked for ");
        duration_print(out, wait);
    }
}

struct field_line {
    struct span reply, step, host, domain, title, does, row, source;
};

static struct field_line split(char *line)
{
    struct field_line f;
    f.reply = field(&line), f.step = field(&line), f.host = field(&line);
    f.domain = field(&line), f.title = field(&line), f.does = field(&line);
    f.row = field(&line), f.source = field(&line);
    return f;
}

/* One line of replies.tsv. hits: how many lines are for each rule; seen: how many of
 * them are words that somebody saw. */
static void check_line(const struct replies *rules, char *line, int number, int *hits,
                       int *seen)
{
    struct field_line f = split(line);
    struct reply_parser parser;
    receive(f.reply, &parser);
    const struct reply *reply = &parser.reply;
    struct verdict v = judge(reply, f.step, f.domain);
    struct reaction_reply asked = {
        v.code, v.step, {reply->text, reply->text_n}, f.host, f.domain};
    const struct reaction_rule *rule = NULL;
    if (v.code >= 400 && v.code <= 599) /* 850 has been decided */
        rule = reactions_find(rules->compiled, &asked);
    struct buf does = {0}, row = {0};
    if (rule) {
        hits[rule - rules->rules]++;
        seen[rule - rules->rules] += !span_starts_nocase(f.source, SPAN("not seen"));
        says(rule, &does);
        reaction_apply(rule, false, &v);
    }
    becomes(&v, rule, reply, &row);
    if (!span_equal(f.title, span_of(rule ? rule->title : "")) ||
        !span_equal(f.does, buf_span(&does)) || !span_equal(f.row, buf_span(&row)))
        fail_msg("replies.tsv:%d: %s: %s: %s", number, rule ? rule->name : "no rule",
                 buf_cstr(&does), buf_cstr(&row));
    if (f.source.n == 0)
        fail_msg("replies.tsv:%d: where was it seen?", number);
    buf_finish(&does);
    buf_finish(&row);
}

/* Every rule is the first for some line; one that reads words, for words really seen.
 */
static void test_field(void **state)
{
    (void)state;
    struct fault f = {0};
    struct conf *conf = conf_load(NULL, false, &f);
    struct replies rules;
    if (!conf || !replies_open(&rules, conf, &f))
        fail_msg("%s", f.words);
    int *hits = calloc((size_t)conf->replies_n, 2 * sizeof *hits), lines = 0;
    int *seen = hits + conf->replies_n;
    FILE *file = fopen(SOURCE_DIR "/tests/replies.tsv", "r");
    assert_true(file && hits);
    char line[4096];
    while (fgets(line, sizeof line, file)) {
        lines++;
        if (line[0] != '#')
            check_line(&rules, line, lines, hits, seen);
    }
    fclose(file);
    assert_true(lines > 50);
    for (int i = 0; i < conf->replies_n; i++) {
        if (hits[i] == 0)
            fail_msg("no line of replies.tsv is for %s", rules.rules[i].name);
        if (seen[i] == 0 && rules.rules[i].text[0])
            fail_msg("no reply that was seen is for %s", rules.rules[i].name);
    }
    free(hits);
    replies_close(&rules);
    conf_free(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_titles),  cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_places),  cmocka_unit_test(test_special),
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
