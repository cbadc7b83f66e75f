/* check: a dry run. Parse all, resolve every domain, show the plan and how long it
 * would take, send nothing. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/blast.h"
#include "cli/cli.h"
#include "cli/explain.h"
#include "cli/outlook.h"

enum {
    SITES_SHOWN = 20,
    UNRESOLVED_SHOWN = 20,
    UNUSED_SHOWN = 10,
    COPY_CHUNK = 64 * 1024,
};

/* Standard input is read twice (the pass over the list, then the sample row), so it is
 * kept in memory; a file is read where it is. */
static int open_list(struct blast *b, int *fd_out)
{
    *fd_out = -1;
    if (strcmp(b->options->list, "-") != 0)
        return blast_open_list(b, b->options->list);
    int fd = memfd_create("list", MFD_CLOEXEC);
    char *chunk = fd < 0 ? NULL : malloc(COPY_CHUNK);
    ssize_t n = chunk ? 1 : -1;
    while (n > 0) {
        n = read(STDIN_FILENO, chunk, COPY_CHUNK);
        for (ssize_t at = 0, wrote; n > 0 && at < n; at += wrote) {
            wrote = write(fd, chunk + at, (size_t)(n - at));
            if (wrote < 0) {
                n = -1;
                break;
            }
        }
    }
    free(chunk);
    *fd_out = fd;
    if (n < 0) {
        struct fault f = {0};
        fault_set(&f, -8, "cannot read standard input: %s", strerror(errno));
        return complain(&f);
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return blast_open_list(b, path);
}

static uint32_t job_rows(const struct recipients *list)
{
    uint32_t first = recipients_first(list), last = recipients_last(list);
    return last < first ? 0 : last - first + 1;
}

static void print_sites(const struct plan *p)
{
    if (p->sites_n)
        printf("\n%10s %8s  %-40s %s\n", "ROWS", "DOMAINS", "SITE", "FIRST HOST");
    for (uint32_t i = 0; i < p->sites_n && i < SITES_SHOWN; i++) {
        const struct plan_site *s = &p->sites[i];
        char address[IP_TEXT_MAX];
        ip_print(&s->set->hosts[0].addresses[0], address);
        printf("%10u %8u  %-40s %s [%s]\n", s->rows, s->domains, s->name,
               s->set->hosts[0].name, address);
    }
    if (p->sites_n > SITES_SHOWN)
        printf("%10s %8s  and %u more sites\n", "", "", p->sites_n - SITES_SHOWN);
}

/* With a relay it is the relay that is not to be found. */
static void print_unresolved(const struct plan *p, const struct recipients *list)
{
    uint32_t domains = 0, rows = 0;
    for (uint32_t i = 0; i < p->domains_n; i++) {
        bool failed = p->sets[i]->code && !p->sets[i]->is_host;
        domains += failed;
        rows += failed ? p->rows[i] : 0;
    }
    if (domains == 0)
        return;
    printf("\nNo mail can be sent to %u domains (%u rows):\n", domains, rows);
    int shown = 0;
    for (uint32_t i = 0; i < p->domains_n && shown < UNRESOLVED_SHOWN; i++) {
        const struct mx_set *set = p->sets[i];
        if (!set->code || set->is_host)
            continue;
        shown++;
        const struct code *code = codes_find(set->code, "dns");
        printf("%10u  %-40s %d %s: %s%s\n", p->rows[i], recipients_domain_name(list, i),
               set->code, code_class_word(code->class), set->words,
               code->retry ? " (would be retried)" : "");
    }
    if (domains > UNRESOLVED_SHOWN)
        printf("%10s  and %u more\n", "", domains - UNRESOLVED_SHOWN);
}

/* What goes through one relay. */
struct relayed {
    const char *words;
    uint32_t rows, domains;
    const struct mx_set *set;
};

struct all_relayed {
    struct map numbers; /* by words */
    struct relayed *list;
    uint32_t n;
};

static void find_relayed(struct all_relayed *all, const struct blast *b,
                         const struct plan *p, struct policies *policies)
{
    struct buf words = {0};
    for (uint32_t i = 0; i < p->domains_n; i++) {
        const char *domain = recipients_domain_name(b->list, i);
        uint32_t policy = policies_number(policies, domain, plan_mx(p, i), p->sets[i]);
        buf_reset(&words);
        if (!policies_print_relay(policies, policy, &words))
            continue;
        bool fresh;
        const char *kept;
        uint32_t n = map_put(&all->numbers, buf_span(&words), all->n, &fresh, &kept);
        if (fresh) {
            all->list = mem_resize(all->list, all->n + 1, sizeof *all->list);
            all->list[all->n++] = (struct relayed){.words = kept, .set = p->sets[i]};
        }
        all->list[n].rows += p->rows[i];
        all->list[n].domains++;
    }
    buf_finish(&words);
}

static void print_relays(const struct all_relayed *all, const struct plan *p)
{
    for (uint32_t i = 0; i < all->n; i++) {
        const struct relayed *r = &all->list[i];
        printf("relay     %s", r->words);
        if (r->domains < p->domains_n)
            printf(": %u rows of %u domains", r->rows, r->domains);
        putchar('\n');
    }
}

static void print_lost_relays(const struct all_relayed *all, const struct plan *p)
{
    for (uint32_t i = 0; i < all->n; i++) {
        const struct relayed *r = &all->list[i];
        if (!r->set->code)
            continue;
        fputs("\nNo mail can be sent", stdout);
        if (r->domains < p->domains_n)
            printf(" to %u domains (%u rows)", r->domains, r->rows);
        printf(": the relay: %d LE: %s (would be retried)\n", r->set->code,
               r->set->words);
    }
}

/* Without CRs. */
static void print_message(const struct rendering *r)
{
    for (int i = 0; i < r->pieces_n; i++) {
        const char *p = r->pieces[i].iov_base;
        for (size_t k = 0; k < r->pieces[i].iov_len; k++)
            if (p[k] != '\r')
                putchar(p[k]);
    }
}

/* One row as it would go out. */
static int print_sample(const struct blast *b, uint32_t number)
{
    struct recipient row = {0};
    struct rendering r = {0};
    struct fault f = {0};
    const char *why = NULL;
    int status = -1;
    if (!recipients_read(b->list, number, &row, &f)) {
        status = complain(&f);
    } else {
        struct template_row fields = {
            .row = number, .fields = row.fields, .to = row.address.text};
        if (template_render(b->template, &fields, &r, &why)) {
            printf("\nRow %u as it would go out, to <%s>, %zu bytes:\n\n", number,
                   row.address.text, r.size);
            print_message(&r);
        } else {
            printf("\nRow %u cannot be rendered: %s\n", number, why);
        }
    }
    rendering_finish(&r);
    recipient_finish(&row);
    return status;
}

static void print_sources(const struct blast *b)
{
    for (int i = 0; i < b->sources_n; i++) {
        char address[IP_TEXT_MAX];
        ip_print(&b->sources[i].address, address);
        printf("source    %s: %s, EHLO %s\n", b->sources[i].name, address,
               b->sources[i].helo_name);
    }
}

/* A typing mistake in a name shows here: its section is for nobody. */
static void print_unused(const struct blast *b, const struct policies *policies)
{
    const struct conf *c = b->conf;
    bool *used = mem_zero((size_t)c->rules_n + 1, sizeof *used);
    int n = 0;
    policies_used(policies, used);
    for (int i = 0; i < c->rules_n; i++)
        if (!used[i] && n++ < UNUSED_SHOWN)
            printf("%s%s '%s'",
                   n == 1 ? "unused    no row of this list is for: " : ", ",
                   c->rules[i].mx ? "mx" : "domain", c->rules[i].pattern);
    if (n > UNUSED_SHOWN)
        printf(" and %d more sections", n - UNUSED_SHOWN);
    if (n)
        putchar('\n');
    free(used);
}

/* Of these sections the one that leaves `rule` less than it gives, whatever of it is in
 * this list; -1: there is none. */
static int tighter_than(const struct conf *c, const struct policies *policies, int rule,
                        enum conf_limit limit, int *room)
{
    int tighter = -1;
    for (uint32_t number = 0; number < policies->n; number++) {
        int n = policies_sections(policies, number, room), i = 0;
        while (i < n && room[i] != rule)
            i++;
        if (i == n)
            continue;
        tighter = conf_tighter(c, room, n, i, limit);
        if (tighter < 0)
            return -1;
    }
    return tighter;
}

/* Limits only add up: one that asks for more than a weaker section allows is in vain.
 */
static void print_in_vain(const struct conf *c, const struct policies *policies)
{
    int *room = mem_zero((size_t)c->rules_n + 1, sizeof *room);
    struct buf line = {0};
    for (int rule = 0; rule < c->rules_n; rule++)
        for (enum conf_limit limit = 0; limit < CONF_LIMITS; limit++) {
            int tighter = tighter_than(c, policies, rule, limit, room);
            if (tighter < 0)
                continue;
            buf_reset(&line);
            conf_print_tighter(&line, c, rule, tighter, limit);
            printf("in vain   %s\n", buf_cstr(&line));
        }
    buf_finish(&line);
    free(room);
}

static int print_text(const struct blast *b, const struct plan *p,
                      struct policies *policies, const struct outlook *o)
{
    uint32_t rows = job_rows(b->list);
    struct buf when = {0};
    printf("list      %s: %u rows, %d columns; %u can be sent", b->options->list, rows,
           recipients_columns(b->list), p->resolved_rows);
    if (p->unresolved_rows)
        printf(", %u have no place to go", p->unresolved_rows);
    if (p->faulty[0] + p->faulty[1] + p->faulty[2])
        printf(", %u bad addresses (611), %u bad rows (800), %u duplicates or excluded "
               "(801)",
               p->faulty[0], p->faulty[1], p->faulty[2]);
    printf("\nmessage   %s: about %zu bytes each, from <%s>\n", b->options->message,
           template_size(b->template), b->from.text);
    if (b->to.n)
        printf("proof     all mail goes to <%s>\n", b->to.text);
    const struct conf_policy *policy = &b->conf->policy;
    buf_add_str(&when, "lifetime ");
    duration_print(&when, policy->lifetime);
    buf_add_str(&when, ", retries after ");
    for (int i = 0; i < policy->retry_interval.n; i++) {
        if (i)
            buf_add_str(&when, ", ");
        duration_print(&when, policy->retry_interval.ms[i]);
    }
    printf("plan      %u domains at %u sites, up to %" PRId64
           " connections each, %s%s; EHLO %s\n",
           p->domains_n - p->unresolved_domains, p->sites_n, policy->connections,
           buf_cstr(&when), b->conf->rules_n ? ", where no section says otherwise" : "",
           b->conf->hostname);
    buf_finish(&when);
    print_sources(b);
    struct all_relayed relayed = {0};
    find_relayed(&relayed, b, p, policies);
    print_relays(&relayed, p);
    print_unused(b, policies);
    print_in_vain(b->conf, policies);
    print_sites(p);
    print_unresolved(p, b->list);
    print_lost_relays(&relayed, p);
    map_finish(&relayed.numbers);
    free(relayed.list);
    outlook_print(o, b);
    return p->first_usable ? print_sample(b, p->first_usable) : -1;
}

static int print_json(const struct blast *b, const struct plan *p,
                      const struct outlook *o)
{
    printf("{\"rows\":%u,\"sendable\":%u,\"unresolved\":%u,\"bad_address\":%u,"
           "\"bad_row\":%u,\"duplicate_or_excluded\":%u,\"domains\":%u,\"sites\":[",
           job_rows(b->list), p->resolved_rows, p->unresolved_rows, p->faulty[0],
           p->faulty[1], p->faulty[2], p->domains_n);
    /* Names of hosts and domains are letters, digits, dots and hyphens. */
    for (uint32_t i = 0; i < p->sites_n; i++)
        printf("%s{\"site\":\"%s\",\"rows\":%u,\"domains\":%u}", i ? "," : "",
               p->sites[i].name, p->sites[i].rows, p->sites[i].domains);
    printf("],\"unresolved_domains\":[");
    bool first = true;
    for (uint32_t i = 0; i < p->domains_n; i++) {
        if (!p->sets[i]->code)
            continue;
        printf("%s{\"domain\":\"%s\",\"rows\":%u,\"code\":%d}", first ? "" : ",",
               recipients_domain_name(b->list, i), p->rows[i], p->sets[i]->code);
        first = false;
    }
    putchar(']');
    outlook_print_json(o);
    puts("}");
    return -1;
}

static int plan_and_print(struct blast *b)
{
    const struct blast_options *o = b->options;
    bool quiet = o->quiet || o->json;
    struct resolver_params resolver = blast_resolver(b);
    struct fault f = {0};
    struct policies policies;
    struct plan plan;
    int status;
    policies_init(&policies, b->conf, &b->relays, &b->trust);
    if (plan_make(&plan, b->list, &policies, &resolver, quiet, &f)) {
        struct outlook outlook;
        outlook_make(&outlook, b, &plan, &policies, quiet);
        status = o->json ? print_json(b, &plan, &outlook)
                         : print_text(b, &plan, &policies, &outlook);
        outlook_finish(&outlook);
    } else {
        status = complain(&f);
    }
    plan_finish(&plan);
    policies_finish(&policies);
    return status;
}

int cmd_check(int argc, char **argv)
{
    struct blast_options options;
    int status = options_parse(BLAST_CHECK, argc, argv, &options);
    if (status >= 0)
        return status;
    if (options.explain)
        return explain(&options, argv[0]);
    struct blast b;
    int list_fd = -1;
    status = blast_open(&b, &options, argv[0]);
    if (status < 0)
        status = open_list(&b, &list_fd);
    if (status < 0)
        status = blast_compile(&b);
    if (status < 0)
        status = plan_and_print(&b);
    blast_close(&b);
    if (list_fd >= 0)
        close(list_fd);
    return status < 0 ? 0 : status;
}
