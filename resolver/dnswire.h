/* One DNS answer, from raw bytes to what it says about one name and type: RFC 1035 4,
 * 2181 5.4 and 10.3, 2308, 6604, 9156. c-ares' own parsers hide the response code, the
 * SOA and the TTLs of MX records, so this room reads the answer itself. Pure, no
 * allocation; every length and loop is bounded, every name is validated before it
 * leaves here. */
#ifndef RESOLVER_DNSWIRE_H
#define RESOLVER_DNSWIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "resolver/deny.h"

enum {
    DNS_NAME_MAX = 253,    /* text without the last dot; 255 octets on the wire */
    DNS_CHAIN_MAX = 16,    /* CNAMEs followed, over all answers to one question */
    DNS_MX_MAX = 16,       /* of one answer; the best preferences are kept */
    DNS_ADDRESSES_MAX = 8, /* of one answer */
};

enum dns_type { DNS_A = 1, DNS_MX = 15, DNS_AAAA = 28 };

enum dns_result {
    DNS_FOUND,   /* there are records of the type asked for */
    DNS_NO_DATA, /* the name exists, without such records */
    DNS_NO_NAME, /* NXDOMAIN: the name, or the one its CNAMEs lead to, does not exist */
    DNS_ALIAS,   /* a CNAME leads to `name`, about which this answer says nothing */
    DNS_SERVFAIL,  /* the server could not find out */
    DNS_UNUSABLE,  /* it would not say, or what it says cannot be right */
    DNS_TRUNCATED, /* ask again over TCP */
    DNS_SILENT,    /* no answer in time, from servers that answer other questions */
    DNS_DEAD,      /* no server answers anything */
};

struct dns_mx {
    uint16_t preference;
    char name[DNS_NAME_MAX + 1];
};

struct dns_answer {
    enum dns_result result;
    const char *why; /* SERVFAIL … DEAD: constant words */
    uint32_t ttl_s;  /* FOUND, ALIAS: least of all used records; NO_*: RFC 2308 5,
                            0 without SOA */
    int aliases;     /* CNAMEs followed */
    char name[DNS_NAME_MAX + 1]; /* where they ended; FOUND, NO_* and ALIAS only */
    bool null_mx;                /* MX: one of the records was "." (RFC 7505) */
    int n; /* FOUND, MX: may be 0, when all hosts were "." or no valid names */
    union {
        struct dns_mx mx[DNS_MX_MAX]; /* by preference, then name; no name twice */
        struct ip addresses[DNS_ADDRESSES_MAX];
    };
};

/* Letters, digits, '-' and '_' in labels of 1 to 63, at most DNS_NAME_MAX in all. */
bool dns_name_valid(const char *name);

/* What the packet says about (name, type). name: lower case, no trailing dot. */
void dns_answer_parse(const uint8_t *packet, size_t n, const char *name,
                      enum dns_type type, struct dns_answer *out);

#endif
