#include "resolver/deny.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

/* The words and their networks: RFC 6890 and the two IANA special-purpose address
 * registries behind it, without the few that are globally reachable. */
/* clang-format off */
static const struct {
    const char *word;
    const char *network;
} table[] = {
    {"self",       "0.0.0.0/8"},       /* RFC 1122 3.2.1.3: "this host" */
    {"self",       "::/128"},
    {"loopback",   "127.0.0.0/8"},
    {"loopback",   "::1/128"},
    {"private",    "10.0.0.0/8"},      /* RFC 1918 */
    {"private",    "172.16.0.0/12"},
    {"private",    "192.168.0.0/16"},
    {"private",    "100.64.0.0/10"},   /* RFC 6598: carriers' NAT */
    {"private",    "fc00::/7"},        /* RFC 4193 */
    {"private",    "fec0::/10"},       /* RFC 3879: site-local, given up */
    {"link-local", "169.254.0.0/16"},
    {"link-local", "fe80::/10"},
    {"multicast",  "224.0.0.0/4"},
    {"multicast",  "ff00::/8"},
    {"reserved",   "240.0.0.0/4"},     /* RFC 1112, and the broadcast address */
    {"reserved",   "192.0.0.0/24"},    /* RFC 6890: IETF protocol assignments */
    {"reserved",   "192.0.2.0/24"},    /* RFC 5737: documentation */
    {"reserved",   "198.51.100.0/24"},
    {"reserved",   "203.0.113.0/24"},
    {"reserved",   "198.18.0.0/15"},   /* RFC 2544: benchmarks */
    {"reserved",   "192.88.99.0/24"},  /* RFC 7526: 6to4 relays, given up */
    {"reserved",   "::/96"},           /* RFC 4291: IPv4-compatible, given up */
    {"reserved",   "64:ff9b:1::/48"},  /* RFC 8215: NAT64 inside one network */
    {"reserved",   "100::/64"},        /* RFC 6666: discard */
    {"reserved",   "2001::/23"},       /* RFC 2928: protocol assignments, with Teredo */
    {"reserved",   "2001:db8::/32"},   /* RFC 3849: documentation */
    {"reserved",   "3fff::/20"},       /* RFC 9637: documentation */
    {"reserved",   "5f00::/16"},       /* RFC 9602: segment routing */
};
/* clang-format on */
enum { TABLE_N = sizeof table / sizeof *table };

enum { V4_BITS = 96 }; /* the prefix in front of an IPv4 address */
static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};
static const uint8_t v4_compatible[12] = {0};
static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b}; /* RFC 6052 2.1 */
static const uint8_t six_to_four[2] = {0x20, 0x02};        /* RFC 3056 */

struct network {
    struct ip base;
    int bits;
    const char *reason;
};

struct deny {
    struct network *networks; /* "self" first, then "loopback", then as given */
    int networks_n;
    int networks_cap;
    char **texts; /* of networks that were given as such */
    int texts_n;
};

bool ip_parse(const char *text, struct ip *out)
{
    if (inet_pton(AF_INET6, text, out->bytes) == 1)
        return true;
    memcpy(out->bytes, v4_mapped, sizeof v4_mapped);
    return inet_pton(AF_INET, text, out->bytes + sizeof v4_mapped) == 1;
}

bool ip_is_v4(const struct ip *ip)
{
    return memcmp(ip->bytes, v4_mapped, sizeof v4_mapped) == 0;
}

void ip_print(const struct ip *ip, char out[IP_TEXT_MAX])
{
    if (ip_is_v4(ip))
        inet_ntop(AF_INET, ip->bytes + sizeof v4_mapped, out, IP_TEXT_MAX);
    else
        inet_ntop(AF_INET6, ip->bytes, out, IP_TEXT_MAX);
}

static bool contains(const struct network *n, const struct ip *ip)
{
    if (ip_is_v4(ip) != ip_is_v4(&n->base))
        return false;
    int whole = n->bits / 8;
    int rest = n->bits % 8;
    if (memcmp(n->base.bytes, ip->bytes, (size_t)whole) != 0)
        return false;
    return rest == 0 || ((n->base.bytes[whole] ^ ip->bytes[whole]) >> (8 - rest)) == 0;
}

/* "net/len" or an address; false with the reason in *why. */
static bool parse_network(const char *text, struct network *out, const char **why)
{
    char address[IP_TEXT_MAX];
    size_t n = strcspn(text, "/");
    *why =
        "neither a word (loopback, self, private, link-local, multicast, reserved) nor "
        "a network";
    if (n >= sizeof address)
        return false;
    memcpy(address, text, n);
    address[n] = '\0';
    if (!ip_parse(address, &out->base))
        return false;
    bool v4 = strchr(address, ':') == NULL;
    int most = v4 ? 32 : 128;
    int bits = most;
    if (text[n] == '/') {
        const char *digits = text + n + 1;
        size_t digits_n = strspn(digits, "0123456789");
        if (digits_n < 1 || digits_n > 3 || digits[digits_n])
            return false;
        bits = atoi(digits);
        if (bits > most) {
            *why = "the length of the network is too big";
            return false;
        }
    }
    out->bits = bits + (v4 ? V4_BITS : 0);
    for (int bit = out->bits; bit < 128; bit++) {
        if (out->base.bytes[bit / 8] & (0x80 >> bit % 8)) {
            *why = "bits are set behind the length of the network";
            return false;
        }
    }
    return true;
}

static void add(struct deny *d, struct network n)
{
    if (d->networks_n == d->networks_cap) {
        d->networks_cap = d->networks_cap ? d->networks_cap * 2 : 32;
        d->networks =
            mem_resize(d->networks, (size_t)d->networks_cap, sizeof *d->networks);
    }
    d->networks[d->networks_n++] = n;
}

static bool add_word(struct deny *d, const char *word, const struct ip *own, int own_n)
{
    bool known = false;
    for (int i = 0; i < TABLE_N; i++) {
        if (strcmp(table[i].word, word) != 0)
            continue;
        struct network n = {.reason = table[i].word};
        const char *why;
        if (!parse_network(table[i].network, &n, &why))
            abort(); /* the table above is wrong */
        add(d, n);
        known = true;
        for (; own_n > 0 && strcmp(word, "self") == 0; own_n--)
            add(d, (struct network){own[own_n - 1], 128, table[i].word});
    }
    return known;
}

/* "self" and "loopback" first. The sort is stable: an insertion sort of a short list.
 */
static int rank(const struct network *n)
{
    if (strcmp(n->reason, "self") == 0)
        return 0;
    return strcmp(n->reason, "loopback") == 0 ? 1 : 2;
}

static void order(struct deny *d)
{
    for (int i = 1; i < d->networks_n; i++) {
        struct network n = d->networks[i];
        int at = i;
        for (; at > 0 && rank(&d->networks[at - 1]) > rank(&n); at--)
            d->networks[at] = d->networks[at - 1];
        d->networks[at] = n;
    }
}

struct deny *deny_create(const char *const *words, int words_n, const struct ip *own,
                         int own_n, struct fault *f)
{
    struct deny *d = mem_zero(1, sizeof *d);
    d->texts = mem_zero((size_t)words_n, sizeof *d->texts);
    for (int i = 0; i < words_n; i++) {
        if (add_word(d, words[i], own, own_n))
            continue;
        struct network n;
        const char *why;
        if (!parse_network(words[i], &n, &why)) {
            fault_set(f, -7, "deny_destinations: \"%s\": %s", words[i], why);
            deny_free(d);
            return NULL;
        }
        n.reason = d->texts[d->texts_n++] = mem_strdup(words[i]);
        add(d, n);
    }
    order(d);
    return d;
}

void deny_free(struct deny *d)
{
    if (!d)
        return;
    for (int i = 0; i < d->texts_n; i++)
        free(d->texts[i]);
    free(d->texts);
    free(d->networks);
    free(d);
}

static bool starts(const struct ip *ip, const uint8_t *prefix, size_t n)
{
    return memcmp(ip->bytes, prefix, n) == 0;
}

/* The IPv4 address that an IPv6 address leads to, if it is of a form that carries one.
 */
static bool embedded_v4(const struct ip *ip, struct ip *out)
{
    const uint8_t *v4;
    if (starts(ip, six_to_four, sizeof six_to_four))
        v4 = ip->bytes + sizeof six_to_four;
    else if (starts(ip, nat64, sizeof nat64) ||
             starts(ip, v4_compatible, sizeof v4_compatible))
        v4 = ip->bytes + 12;
    else
        return false;
    memcpy(out->bytes, v4_mapped, sizeof v4_mapped);
    memcpy(out->bytes + sizeof v4_mapped, v4, 4);
    return true;
}

static const char *find(const struct deny *d, const struct ip *ip)
{
    for (int i = 0; i < d->networks_n; i++)
        if (contains(&d->networks[i], ip))
            return d->networks[i].reason;
    return NULL;
}

const char *deny_match(const struct deny *d, const struct ip *ip)
{
    if (!d)
        return NULL;
    const char *reason = find(d, ip);
    struct ip v4;
    if (!reason || rank(&(struct network){.reason = reason}) == 2) {
        const char *inner = embedded_v4(ip, &v4) ? find(d, &v4) : NULL;
        if (inner && (!reason || deny_is_self(inner)))
            return inner;
    }
    return reason;
}

bool deny_is_self(const char *reason)
{
    return reason && (strcmp(reason, "self") == 0 || strcmp(reason, "loopback") == 0);
}
