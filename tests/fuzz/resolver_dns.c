/* DNS answers, from anybody's server, into the MX builder. The input is a program that
 * writes them, one after the other: records with names of a small pool, so that chains
 * and hosts come about, and raw bytes and changes of what stands, so that anything can.
 * What must hold stands in check_answer and check_set. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolver/mx.h"
#include "tests/unit/resolver_packet.h"

enum {
    QUESTIONS_MOST = MX_QUESTIONS_MAX * (DNS_CHAIN_MAX + 2),
    STEPS_MOST = 60,
};

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

static unsigned take(struct input *in)
{
    if (in->n == 0)
        return 0;
    in->n--;
    return *in->p++;
}

static const char *take_name(struct input *in, const struct mx_question *q)
{
    static const char *const pool[] = {"d.test", "a.test", "b.test", "c.test", "e.test",
                                       "A.TEST", ".",      "a b.t",  "x*.t"};
    unsigned i = take(in) % 16;
    return i < sizeof pool / sizeof *pool ? pool[i] : q->name;
}

static void put_address(struct packet *k, struct input *in, const struct mx_question *q)
{
    unsigned how = take(in);
    unsigned type = how & 1 ? DNS_A : DNS_AAAA;
    const char *owner = take_name(in, q);
    size_t data = packet_record(k, IN_ANSWER, owner, type, take(in) * 100);
    size_t n = type == DNS_A ? 4 : 16;
    memset(k->p + k->n, 0, n);
    k->p[k->n] = how & 2 ? 8 : (uint8_t)take(in); /* often an allowed one */
    for (size_t i = 1; i < n; i += 4)
        k->p[k->n + i] = (uint8_t)take(in);
    k->n += n;
    packet_end_record(k, data);
}

static void put_bytes(struct packet *k, struct input *in)
{
    for (unsigned n = take(in) % 64; n > 0; n--)
        k->p[k->n++] = (uint8_t)take(in);
}

/* One step of the program; false: the packet is complete. */
static bool step(struct packet *k, struct input *in, const struct mx_question *q)
{
    const char *owner;
    size_t data;
    switch (take(in) % 16) {
    case 1:
    case 2:
    case 3:
        owner = take_name(in, q);
        packet_mx(k, owner, take(in) * 50, take(in) % 4, take_name(in, q));
        return true;
    case 4:
    case 5:
    case 6:
        put_address(k, in, q);
        return true;
    case 7:
        owner = take_name(in, q);
        packet_cname(k, owner, take(in), take_name(in, q));
        return true;
    case 8:
        packet_soa(k, "test", take(in) * 10, take(in) * 10);
        return true;
    case 9:
        data = packet_record(k, IN_AUTHORITY, "test", PACKET_NS, 60);
        packet_name(k, "ns.test");
        packet_end_record(k, data);
        return true;
    case 10: /* a record with any data */
        data = packet_record(k, IN_ANSWER, take_name(in, q), take(in), take(in));
        put_bytes(k, in);
        packet_end_record(k, data);
        return true;
    case 11:
        put_bytes(k, in);
        return true;
    case 12: /* another byte where one stood */
        data = take(in) << 8 | take(in);
        k->p[data % k->n] = (uint8_t)take(in);
        return true;
    case 13:
        k->p[3] = (uint8_t)(0x80 | take(in) % 16);
        return true;
    default:
        return false;
    }
}

static uint8_t *next_packet(struct input *in, const struct mx_question *q,
                            size_t *n_out)
{
    static struct packet k;
    packet_begin(&k, 0, PACKET_ANSWER, q->name, q->type);
    for (int steps = 0; steps < STEPS_MOST && step(&k, in, q); steps++)
        continue;
    if (take(in) % 8 == 7)
        k.n -= take(in) % k.n;  /* cut */
    uint8_t *out = malloc(k.n); /* of that very size: a byte too many is seen */
    MUST(out);
    memcpy(out, k.p, k.n);
    *n_out = k.n;
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
        struct dns_answer answer;
        dns_answer_parse(packet, n, question.name, question.type, &answer);
        free(packet);
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
