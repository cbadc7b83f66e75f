/* Raw DNS answers, from anybody's server, into the MX builder. The input is a list of
 * pieces, each a 16-bit length and a packet without its first bytes: the header's flags
 * and the question are made right by one bit of the length, so that the fuzzer gets
 * behind them. What must hold: see check. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolver/mx.h"

enum { QUESTIONS_MOST = MX_QUESTIONS_MAX * (DNS_CHAIN_MAX + 2) };

#define MUST(x)                                                                        \
    do {                                                                               \
        if (!(x)) {                                                                    \
            fprintf(stderr, "%d: %s\n", __LINE__, #x);                                 \
            abort();                                                                   \
        }                                                                              \
    } while (0)

struct input {
    const uint8_t *p;
    size_t n;
};

static size_t put_question(uint8_t *to, const struct mx_question *q)
{
    size_t n = 0;
    for (const char *at = q->name; *at;) {
        size_t label = strcspn(at, ".");
        to[n++] = (uint8_t)label;
        memcpy(to + n, at, label);
        n += label;
        at += label + (at[label] == '.');
    }
    const uint8_t tail[] = {0, 0, (uint8_t)q->type, 0, 1};
    memcpy(to + n, tail, sizeof tail);
    return n + sizeof tail;
}

/* The next packet: as it stands, or with header and question set right. */
static uint8_t *next_packet(struct input *in, const struct mx_question *q,
                            size_t *n_out)
{
    size_t n = 0;
    bool framed = false;
    if (in->n >= 2) {
        n = (size_t)(in->p[0] & 0x7f) << 8 | in->p[1];
        framed = in->p[0] & 0x80;
        in->p += 2;
        in->n -= 2;
    }
    n = n < in->n ? n : in->n;
    uint8_t *out = malloc(n + DNS_NAME_MAX + 32);
    MUST(out);
    size_t at = 0;
    if (framed && n >= 8) { /* rcode 0 or 3, counts as the fuzzer likes them */
        const uint8_t head[] = {0, 0, 0x81, in->p[0] & 0x0f, 0, 1};
        memcpy(out, head, sizeof head);
        memcpy(out + sizeof head, in->p + 2, 6);
        at = 12 + put_question(out + 12, q);
        memcpy(out + at, in->p + 8, n - 8);
        *n_out = at + n - 8;
    } else {
        memcpy(out, in->p, n);
        *n_out = n;
    }
    in->p += n;
    in->n -= n;
    return out;
}

static void check_answer(const struct dns_answer *a, enum dns_type type)
{
    MUST(a->result <= DNS_TRUNCATED);
    MUST(a->n >= 0 && a->n <= (type == DNS_MX ? DNS_MX_MAX : DNS_ADDRESSES_MAX));
    MUST(a->result == DNS_FOUND || a->n == 0);
    MUST(a->result != DNS_ALIAS || a->aliases > 0);
    if (a->result <= DNS_ALIAS)
        MUST(dns_name_valid(a->name) && a->ttl_s <= INT32_MAX);
    else
        MUST(a->why && a->why[0]);
    for (int i = 0; type == DNS_MX && i < a->n; i++) {
        MUST(dns_name_valid(a->mx[i].name));
        MUST(i == 0 || a->mx[i - 1].preference <= a->mx[i].preference);
        for (int j = 0; j < i; j++)
            MUST(strcmp(a->mx[i].name, a->mx[j].name) != 0);
    }
}

static void check_set(const struct mx_set *s, const struct deny *deny, uint64_t seed)
{
    static const int codes[] = {0, 700, 710, 711, 720, 730};
    bool known = false;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        known = known || s->code == codes[i];
    MUST(known);
    MUST((s->code == 0) == (s->hosts_n > 0));
    MUST((s->code == 0) == (s->words[0] == '\0'));
    MUST(strlen(s->words) <= MX_WORDS_MAX);
    for (const char *c = s->words; *c; c++)
        MUST(*c >= ' ' && *c < 0x7f);
    MUST(dns_name_valid(s->site));
    MUST(strncmp(s->key, s->site, strlen(s->site)) == 0);
    MUST(s->hosts_n <= MX_HOSTS_MAX);
    MUST(s->expires_us >= (int64_t)MX_FAILURE_TTL_S * 1000000 &&
         s->expires_us <= (int64_t)MX_TTL_MAX_S * 1000000);
    for (int h = 0; h < s->hosts_n; h++) {
        const struct mx_host *host = &s->hosts[h];
        MUST(dns_name_valid(host->name));
        MUST(host->addresses_n > 0 && host->addresses_n <= MX_HOST_ADDRESSES_MAX);
        for (int i = 0; i < host->addresses_n; i++)
            MUST(!deny_match(deny, &host->addresses[i]));
    }
    struct rng rng = {seed};
    struct mx_target targets[MX_TARGETS_MAX];
    int n = mx_targets(s, &rng, targets);
    MUST(n <= MX_TARGETS_MAX && (n > 0) == (s->code == 0));
    for (int i = 0; i < n; i++) {
        MUST(!deny_match(deny, &targets[i].address));
        MUST(i == 0 || targets[i - 1].preference <= targets[i].preference);
        for (int j = 0; j < i; j++)
            MUST(targets[i].host != targets[j].host ||
                 memcmp(&targets[i].address, &targets[j].address, sizeof(struct ip)) !=
                     0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct deny *deny;
    if (!deny) {
        static const char *const words[] = {"loopback", "self",      "private",
                                            "reserved", "multicast", "link-local"};
        struct fault f = {0};
        struct ip own;
        MUST(ip_parse("8.8.4.4", &own));
        deny = deny_create(words, 6, &own, 1, &f);
    }
    struct input in = {data, size};
    struct mx_query *q = mx_query_create("d.test", deny);
    struct mx_question question;
    int questions = 0;
    while (mx_query_next(q, &question)) {
        MUST(++questions <= QUESTIONS_MOST);
        MUST(dns_name_valid(question.name));
        size_t n;
        uint8_t *packet = next_packet(&in, &question, &n);
        uint8_t *exact = realloc(packet, n ? n : 1); /* a byte too many is seen */
        MUST(exact);
        struct dns_answer answer;
        dns_answer_parse(exact, n, question.name, question.type, &answer);
        free(exact);
        check_answer(&answer, question.type);
        if (answer.result == DNS_TRUNCATED)
            answer.result = DNS_UNUSABLE;
        mx_query_answer(q, question.id, &answer, mx_answer_expires(&answer, 0));
    }
    MUST(mx_query_done(q));
    struct mx_set *s = mx_query_finish(q, 0, 0);
    check_set(s, deny, size);
    mx_set_unref(s);
    return 0;
}
