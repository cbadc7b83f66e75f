#include "cli/explain.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/blast.h"
#include "cli/cli.h"
#include "cli/plan.h"

static void print_hosts(struct span hosts)
{
    for (size_t i = 0; i < hosts.n; i++)
        if (hosts.p[i] == ',')
            fputs(", ", stdout);
        else
            putchar(hosts.p[i]);
    putchar('\n');
}

static void print_sections(const struct conf *conf, const int *rules, int n)
{
    fputs("sections  ", stdout);
    for (int i = 0; i < n; i++) {
        const struct conf_rule *r = &conf->rules[rules[i]];
        printf("%s%s '%s'", i ? ", " : "", r->mx ? "mx" : "domain", r->pattern);
    }
    puts(n ? "" : "none");
}

/* Whose limits hold, and with whom they are shared. */
static void print_budget(const struct conf *conf, const int *rules, int n)
{
    int owner = conf_budget(conf, rules, n);
    bool relayed = conf_relay(conf, rules, n)[0] != '\0';
    if (owner < 0 && relayed) {
        puts("budget    of the relay: its limits hold for all together that go through "
             "it, but for sections with limits");
        return;
    }
    if (owner < 0) {
        puts("budget    of its site alone: no section gives it limits");
        return;
    }
    const struct conf_rule *r = &conf->rules[owner];
    printf("budget    %s '%s': its limits hold for all together that share it%s\n",
           r->mx ? "mx" : "domain", r->pattern, relayed ? " and its relay" : "");
}

/* The lines of conf_explain in columns. */
static void print_keys(const struct conf *conf, const int *rules, int n)
{
    struct buf lines = {0};
    conf_explain(&lines, conf, rules, n);
    printf("\n%-24s %-24s %s\n", "KEY", "VALUE", "FROM");
    for (char *line = (char *)(uintptr_t)buf_cstr(&lines); *line;) {
        char *value = strchr(line, '\t'), *end = strchr(line, '\n');
        char *from = strchr(value + 1, '\t');
        printf("%-24.*s %-24.*s %.*s\n", (int)(value - line), line,
               (int)(from - value - 1), value + 1, (int)(end - from - 1), from + 1);
        line = end + 1;
    }
    buf_finish(&lines);
}

/* The reply rules that could match what these hosts say, as they are asked. */
static void print_replies(const struct conf *conf, const struct replies *replies,
                          struct span domain, struct span hosts)
{
    printf("\n%-20s %-24s %s\n", "REPLY", "FROM", "REACTION");
    for (int i = 0; i < conf->replies_n; i++) {
        const struct conf_reply *r = &conf->replies[i];
        bool concerns = reaction_concerns(&replies->rules[i], hosts, domain);
        for (struct span rest = hosts; !concerns && rest.n;) {
            const char *comma = memchr(rest.p, ',', rest.n);
            size_t n = comma ? (size_t)(comma - rest.p) : rest.n;
            concerns =
                reaction_concerns(&replies->rules[i], (struct span){rest.p, n}, domain);
            n += comma != NULL;
            rest = (struct span){rest.p + n, rest.n - n};
        }
        const char *stage = r->values->reply.stage;
        struct buf says = {0}, what = {0};
        buf_printf(&says, "%s%s%s", r->title, stage[0] ? " at " : "", stage);
        conf_reply_what(&what, r);
        if (concerns)
            printf("%-20s %-24s %s\n", buf_cstr(&says), r->place, buf_cstr(&what));
        buf_finish(&says);
        buf_finish(&what);
    }
}

static void print_relay(const struct conf *conf, const int *rules, int n)
{
    struct conf_policy policy;
    struct buf words = {0};
    conf_policy_of(conf, rules, n, &policy);
    if (!policy.relay[0])
        return;
    relay_print(&policy, &words);
    printf("relay     %s\n", buf_cstr(&words));
    buf_finish(&words);
}

/* set: its MX set; NULL: that is not asked, since its relay is known without. */
static void print_domain(const struct conf *conf, const struct replies *replies,
                         const char *domain, const struct mx_set *set)
{
    int *rules = mem_zero((size_t)conf->rules_n + 1, sizeof *rules);
    struct span hosts = policies_hosts(set);
    int n = conf_match(conf, span_of(domain), hosts, rules);
    printf("domain    %s\n", domain);
    print_relay(conf, rules, n);
    fputs("MX        ", stdout);
    if (!set)
        puts("not asked, so no mx section matches");
    else if (set->code)
        printf("not known, so no mx section matches: %d %s\n", set->code, set->words);
    else
        print_hosts(hosts);
    print_sections(conf, rules, n);
    print_budget(conf, rules, n);
    print_keys(conf, rules, n);
    bool relayed = conf_relay(conf, rules, n)[0] != '\0';
    print_replies(conf, replies, relayed ? (struct span){0} : span_of(domain),
                  relayed ? (struct span){0} : hosts);
    free(rules);
}

static bool is_relayed(const struct conf *conf, const char *domain)
{
    int *rules = mem_zero((size_t)conf->rules_n + 1, sizeof *rules);
    int n = conf_match(conf, span_of(domain), (struct span){0}, rules);
    bool relayed = conf_relay(conf, rules, n)[0] != '\0';
    free(rules);
    return relayed;
}

static int explain_domain(const struct conf *conf, const struct replies *replies,
                          const char *domain)
{
    struct fault f = {0};
    struct blast b = {.conf = (struct conf *)(uintptr_t)conf};
    struct resolver_params resolver = blast_resolver(&b);
    struct mx_set *set = NULL;
    if (!is_relayed(conf, domain))
        set = plan_look_up(domain, &resolver, &f);
    if (f.code)
        return complain(&f);
    print_domain(conf, replies, domain, set);
    mx_set_unref(set);
    return 0;
}

int explain(const struct blast_options *options, const char *command)
{
    const char *text = options->explain;
    struct buf email = {0};
    struct address address;
    buf_add_str(&email, strchr(text, '@') ? "" : "x@");
    buf_add_str(&email, text);
    enum address_result parsed = address_parse(buf_span(&email), &address);
    buf_finish(&email);
    if (parsed != ADDRESS_OK)
        return usage_error(command, "--explain \"%s\" is no address and no domain",
                           text);
    struct fault f = {0};
    struct conf *conf = conf_load(options->config, false, &f);
    if (!conf)
        return complain(&f);
    struct replies replies = {0};
    int status = replies_open(&replies, conf, &f)
                     ? explain_domain(conf, &replies, address.text + address.domain_at)
                     : complain(&f);
    replies_close(&replies);
    conf_free(conf);
    return status;
}
