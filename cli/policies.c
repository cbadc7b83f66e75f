#include "cli/policies.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

/* The families of some addresses. */
enum { FAMILY_V4 = 1, FAMILY_V6 = 2, FAMILY_BOTH = 3 };

static int family_of(const struct ip *ip)
{
    return ip_is_v4(ip) ? FAMILY_V4 : FAMILY_V6;
}

static int family_of_source(const struct conf *c, int i)
{
    struct ip ip;
    bool good = ip_parse(c->sources[i].values->source.address, &ip);
    assert(good);
    return family_of(&ip);
}

static bool has_both(const struct conf *c)
{
    int families = 0;
    for (int i = 0; i < c->sources_n; i++)
        families |= family_of_source(c, i);
    return families == FAMILY_BOTH;
}

/* In which its hosts can be reached; both while that is not known. */
static int families_of(const struct mx_set *set)
{
    int families = 0;
    for (int i = 0; set && i < set->hosts_n; i++)
        for (int k = 0; k < set->hosts[i].addresses_n; k++)
            families |= family_of(&set->hosts[i].addresses[k]);
    return families ? families : FAMILY_BOTH;
}

/* The families, then the numbers of the sections: "3,17". */
static void put_matched(struct buf *out, int families, const int *rules, int n)
{
    buf_add_i64(out, families);
    for (int i = 0; i < n; i++)
        buf_printf(out, ",%d", rules[i]);
}

static int take_matched(const char *text, int *families_out, int *out)
{
    char *end;
    int n = 0;
    *families_out = (int)strtol(text, &end, 10);
    while (*end)
        out[n++] = (int)strtol(end + 1, &end, 10);
    return n;
}

static uint32_t number_of(struct policies *p, int families, int n)
{
    struct buf key = {0};
    put_matched(&key, families, p->found, n);
    bool fresh;
    const char *kept;
    uint32_t number = map_put(&p->numbers, buf_span(&key), p->n, &fresh, &kept);
    if (fresh) {
        p->matched = mem_resize(p->matched, p->n + 1, sizeof *p->matched);
        p->matched[p->n++] = kept;
    }
    buf_finish(&key);
    return number;
}

void policies_init(struct policies *p, const struct conf *conf,
                   const struct relays *relays, const struct trust *trust)
{
    *p = (struct policies){
        .conf = conf, .relays = relays, .trust = trust, .begun = conf};
    p->found = mem_zero((size_t)conf->rules_n + 1, sizeof *p->found);
    p->outer = mem_zero((size_t)conf->rules_n + 1, sizeof *p->outer);
    p->mixed = has_both(conf);
    number_of(p, FAMILY_BOTH, 0); /* number 0: none matches */
}

void policies_finish(struct policies *p)
{
    map_finish(&p->numbers);
    arena_finish(&p->chosen);
    free(p->matched);
    free(p->found);
    free(p->outer);
}

bool policies_take(struct policies *p, const struct conf *conf, struct fault *f)
{
    if (!conf_same_rules(p->conf, conf))
        return fault_set(f, -7,
                         "a running job cannot take other sections domain and mx than "
                         "it began with; stop it and resume it with these settings");
    if (!conf_same_sources(p->conf, conf))
        return fault_set(
            f, -7,
            "a running job cannot take other sections source, pool and warmup than "
            "it began with; stop it and resume it with these settings");
    p->conf = conf;
    return true;
}

struct span policies_hosts(const struct mx_set *set)
{
    if (!set || set->code)
        return (struct span){0};
    return (struct span){set->key, strcspn(set->key, ";")};
}

/* Which ones match goes by the relays, which stay as they were. */
static int match(struct policies *p, const char *domain, const struct mx_set *mx)
{
    return conf_match(p->begun, span_of(domain), policies_hosts(mx), p->found);
}

uint32_t policies_number(struct policies *p, const char *domain,
                         const struct mx_set *mx, const struct mx_set *way)
{
    int n = match(p, domain, mx);
    return number_of(p, p->mixed ? families_of(way) : FAMILY_BOTH, n);
}

const char *policies_relay(struct policies *p, const char *domain,
                           const struct mx_set *mx)
{
    int n = match(p, domain, mx);
    int relay = relays_find(p->relays, conf_relay(p->begun, p->found, n));
    return relay < 0 ? NULL : p->relays->list[relay].host;
}

bool policies_print_relay(const struct policies *p, uint32_t number, struct buf *out)
{
    struct conf_policy policy;
    int families, n = take_matched(p->matched[number], &families, p->found);
    conf_policy_of(p->begun, p->found, n, &policy);
    if (relays_find(p->relays, policy.relay) < 0)
        return false;
    relay_print(&policy, out);
    return true;
}

int policies_sections(const struct policies *p, uint32_t number, int *out)
{
    int families;
    return take_matched(p->matched[number], &families, out);
}

void policies_used(const struct policies *p, bool *used)
{
    int families;
    for (uint32_t i = 0; i < p->n; i++) {
        int n = take_matched(p->matched[i], &families, p->found);
        for (int k = 0; k < n; k++)
            used[p->found[k]] = true;
    }
}

static struct destination make_destination(const char *hostname,
                                           const struct conf_policy *p)
{
    static const enum smtp_pipelining pipelining[] = {
        [CONF_PIPELINING_AUTO] = SMTP_PIPELINING_AUTO,
        [CONF_PIPELINING_GROUP] = SMTP_PIPELINING_GROUP,
        [CONF_PIPELINING_OFF] = SMTP_PIPELINING_OFF,
    };
    static const enum smtp_tls tls[] = {
        [CONF_TLS_NONE] = SMTP_TLS_NONE,
        [CONF_TLS_MAY] = SMTP_TLS_MAY,
        [CONF_TLS_ENCRYPT] = SMTP_TLS_REQUIRE,
        [CONF_TLS_VERIFY] = SMTP_TLS_REQUIRE,
    };
    static const enum verdict_doubt doubt[] = {
        [CONF_END_TIMEOUT_RETRY] = DOUBT_RETRY,
        [CONF_END_TIMEOUT_ASSUME] = DOUBT_ASSUME,
        [CONF_END_TIMEOUT_FAIL] = DOUBT_FAIL,
    };
    struct destination d = {
        .smtp = {.helo_name = hostname,
                 .pipelining = pipelining[p->pipelining],
                 .chunking = p->chunking == CONF_CHUNKING_AUTO,
                 .tls = tls[p->tls],
                 .session_limit_us = p->timeout.session * 1000},
        .verdict = {.end_timeout = doubt[p->end_timeout],
                    .in_doubt = doubt[p->in_doubt]},
        .tls_verify = p->tls == CONF_TLS_VERIFY,
        .connect_limit_us = p->timeout.connect * 1000,
        .port = (uint16_t)p->port,
        .recipients = (int)p->recipients_per_message,
    };
    /* timeout { } has a key for each stage of the dialogue. */
#define X(name, waiting, sending, key, ...)                                            \
    d.smtp.limit_us[SMTP_##name] = p->timeout.key * 1000;
    SMTP_STAGES(X)
#undef X
    return d;
}

/* Those of the pool that can reach these hosts; if none can, all: the results say so.
 */
static void choose_sources(struct policies *p, const char *pool, int families,
                           struct scheduler_policy *out)
{
    uint8_t *sources = arena_alloc(&p->chosen, (size_t)p->conf->sources_n + 1);
    int all = conf_sources_of(p->conf, pool, sources), n = 0;
    for (int i = 0; i < all; i++)
        if (family_of_source(p->conf, sources[i] - 1) & families)
            sources[n++] = sources[i];
    out->sources_n = n ? n : all;
    out->sources = sources;
}

/* All that goes through one relay shares its limits, but where a section gives them:
 * they hold for each way by itself, so that a relay that is slow holds up nobody whose
 * mail is direct. */
static uint32_t provider_of(const struct policies *p, int budget, int relay)
{
    uint32_t sections = (uint32_t)p->begun->rules_n + 1;
    return (uint32_t)(relay + 1) * sections + (uint32_t)(budget + 1);
}

/* What these destinations are called in every job of the spool: by whose limits they
 * share, else by the sections that match them. */
static uint64_t key_of(const struct policies *p, const int *rules, int n, int budget,
                       int relay)
{
    struct buf words = {0};
    if (relay >= 0)
        buf_printf(&words, "relay %s %u\n", p->relays->list[relay].host,
                   p->relays->list[relay].port);
    for (int i = 0; i < n; i++) {
        const struct conf_rule *rule = &p->begun->rules[rules[i]];
        if (budget == rules[i] || (budget < 0 && relay < 0))
            buf_printf(&words, "%s %s\n", rule->mx ? "mx" : "domain", rule->pattern);
    }
    uint64_t key = hash_bytes(words.p, words.n);
    buf_finish(&words);
    return key;
}

/* The other sections whose limits bound them, as they were when we began, with the
 * limits that they give now. */
static void find_outer(struct policies *p, int n, int relay,
                       struct scheduler_policy *out)
{
    out->outer_n = conf_outer(p->begun, p->found, n, p->outer);
    struct scheduler_budget *outer =
        arena_alloc(&p->chosen, (size_t)out->outer_n * sizeof *outer);
    for (int i = 0; i < out->outer_n; i++) {
        int rule = p->outer[i];
        int64_t connections = conf_limit(p->conf, rule, CONF_LIMIT_CONNECTIONS);
        outer[i] = (struct scheduler_budget){
            .number = provider_of(p, rule, relay),
            .key = key_of(p, p->found, n, rule, relay),
            .connections = connections ? (uint32_t)connections : UINT32_MAX,
            .message_rate = conf_limit(p->conf, rule, CONF_LIMIT_MESSAGE_RATE),
            .connection_rate = conf_limit(p->conf, rule, CONF_LIMIT_CONNECTION_RATE),
        };
    }
    out->outer = outer;
}

static void get(void *arg, uint32_t number, struct engine_policy *out)
{
    struct policies *p = arg;
    struct conf_policy policy;
    assert(number < p->n);
    int families, n = take_matched(p->matched[number], &families, p->found);
    conf_policy_now(p->conf, p->begun, p->found, n, &policy);
    int budget = conf_budget(p->begun, p->found, n);
    int relay = relays_find(p->relays, policy.relay);
    out->queue = (struct scheduler_policy){
        .retry_interval_ms = policy.retry_interval.ms,
        .retry_intervals = policy.retry_interval.n,
        .lifetime_ms = policy.lifetime,
        .max_attempts = (uint32_t)policy.max_attempts,
        .connections = (uint32_t)policy.connections,
        .messages_per_connection = (uint32_t)policy.messages_per_connection,
        .recipients = (uint32_t)policy.recipients_per_message,
        .provider = provider_of(p, budget, relay),
        .key = key_of(p, p->found, n, budget, relay),
        .message_rate = policy.message_rate,
        .connection_rate = policy.connection_rate,
        .unknown_percent = relay < 0 ? (uint32_t)policy.unknown_limit : 0,
        .unknown_pause_ms = policy.unknown_pause,
    };
    if (!p->port)
        choose_sources(p, policy.pool, families, &out->queue);
    find_outer(p, n, relay, &out->queue);
    out->quiet = policy.quiet_hours;
    out->budget = relay >= 0    ? p->relays->list[relay].name
                  : budget >= 0 ? p->begun->rules[budget].pattern
                                : NULL;
    out->destination = make_destination(p->begun->hostname, &policy);
    out->destination.tls = trust_kind(p->trust, &policy);
    if (p->port)
        out->destination.port = p->port;
    struct fault why = {0};
    if (relay >= 0)
        relay_speak(p->relays, &policy, conf_relay_agrees(p->begun, p->found, n, &why),
                    &out->destination);
}

static uint32_t number(void *arg, const char *domain, const struct mx_set *mx,
                       const struct mx_set *way)
{
    return policies_number(arg, domain, mx, way);
}

static const char *relay_of(void *arg, const char *domain, const struct mx_set *mx)
{
    return policies_relay(arg, domain, mx);
}

/* Until the first of all hours there are ends, if all of them hold. */
static int64_t all_quiet_until_ms(void *arg, int64_t unix_ms)
{
    const struct policies *p = arg;
    int64_t until_ms = INT64_MAX;
    for (int i = -1; i < p->conf->rules_n; i++) {
        const struct hours *hours =
            i < 0 ? &p->conf->policy.quiet_hours : conf_rule_hours(p->conf, i);
        if (hours && !hours_hold(hours, unix_ms))
            return 0;
        int64_t ms = hours ? hours_change_ms(hours, unix_ms) : INT64_MAX;
        if (ms < until_ms)
            until_ms = ms;
    }
    return until_ms;
}

static void longer(int64_t *longest, const struct conf_durations *list)
{
    for (int i = 0; i < list->n; i++)
        if (list->ms[i] > *longest)
            *longest = list->ms[i];
}

struct engine_policies policies_engine(struct policies *p)
{
    struct engine_policies e = {
        .get = get, .all_quiet_until_ms = all_quiet_until_ms, .arg = p};
    if (p->relays->n)
        e.relay = relay_of;
    if (p->conf->rules_n == 0 && !p->mixed)
        return e;
    e.number = number;
    longer(&e.retry_longest_ms, &p->conf->policy.retry_interval);
    for (int i = 0; i < p->conf->rules_n; i++)
        longer(&e.retry_longest_ms, &p->conf->rules[i].values->policy.retry_interval);
    return e;
}
