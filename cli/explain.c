#include "cli/explain.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/blast.h"
#include "cli/cli.h"
#include "cli/plan.h"

/* The next name of "a,b;c", taken from the front; false: there is none. */
static bool next_host(struct span *rest, struct span *out)
{
    size_t n = 0;
    if (rest->n == 0)
        return false;
    while (n < rest->n && rest->p[n] != ',' && rest->p[n] != ';')
        n++;
    *out = (struct span){rest->p, n};
    size_t used = n < rest->n ? n + 1 : n;
    *rest = (struct span){rest->p + used, rest->n - used};
    return out->n > 0;
}

static void print_hosts(struct span hosts)
{
    struct span host;
    for (const char *between = ""; next_host(&hosts, &host); between = ", ")
        printf("%s%.*s", between, (int)host.n, host.p);
}

/* Behind the most preferred ones. */
static struct span backups_of(const struct mx_set *set)
{
    size_t n = policies_hosts(set).n;
    if (!n || !set->key[n])
        return (struct span){0};
    return span_of(set->key + n + 1);
}

static void print_mx(const struct mx_set *set)
{
    struct span backups = backups_of(set);
    fputs("MX        ", stdout);
    if (!set)
        fputs("not asked, so no mx section matches", stdout);
    else if (set->code)
        printf("not known, so no mx section matches: %d %s", set->code, set->words);
    print_hosts(policies_hosts(set));
    if (backups.n)
        fputs("; then ", stdout);
    print_hosts(backups);
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
    int *outer = mem_zero((size_t)n, sizeof *outer);
    int outer_n = conf_outer(conf, rules, n, outer);
    for (int i = 0; i < outer_n; i++) {
        r = &conf->rules[outer[i]];
        if (outer[i] != owner)
            printf("within    %s '%s': what it gives holds for all together that it "
                   "matches\n",
                   r->mx ? "mx" : "domain", r->pattern);
    }
    free(outer);
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

/* Which of these hosts could say what the rule is about: ", "-separated. */
static void put_concerned(struct buf *out, const struct reaction_rule *rule,
                          struct span domain, struct span hosts)
{
    struct span host;
    while (next_host(&hosts, &host))
        if (reaction_concerns(rule, host, domain))
            buf_printf(out, "%s%.*s", out->n ? ", " : "", (int)host.n, host.p);
}

/* The reply rules that could match what these hosts say, as they are asked. Without
 * hosts, those for whoever says it. */
static void print_replies(const struct conf *conf, const struct replies *replies,
                          struct span domain, struct span hosts, struct span backups)
{
    printf("\n%-20s %-24s %s\n", "REPLY", "FROM", "REACTION");
    for (int i = 0; i < conf->replies_n; i++) {
        const struct conf_reply *r = &conf->replies[i];
        const struct reaction_rule *rule = &replies->rules[i];
        const char *stage = r->values->reply.stage;
        struct buf says = {0}, what = {0}, first = {0}, later = {0};
        put_concerned(&first, rule, domain, hosts);
        put_concerned(&later, rule, domain, backups);
        buf_printf(&says, "%s%s%s", r->title, stage[0] ? " at " : "", stage);
        conf_reply_what(&what, r);
        if (first.n || reaction_concerns(rule, (struct span){0}, domain))
            printf("%-20s %-24s %s\n", buf_cstr(&says), r->place, buf_cstr(&what));
        else if (later.n)
            printf("%-20s %-24s %s (said by %s)\n", buf_cstr(&says), r->place,
                   buf_cstr(&what), buf_cstr(&later));
        buf_finish(&says);
        buf_finish(&what);
        buf_finish(&first);
        buf_finish(&later);
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
    print_mx(set);
    print_sections(conf, rules, n);
    print_budget(conf, rules, n);
    print_keys(conf, rules, n);
    bool relayed = conf_relay(conf, rules, n)[0] != '\0';
    print_replies(conf, replies, relayed ? (struct span){0} : span_of(domain),
                  relayed ? (struct span){0} : hosts,
                  relayed ? (struct span){0} : backups_of(set));
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
