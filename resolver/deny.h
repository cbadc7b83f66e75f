/* Networks we never connect to (deny_destinations): words or networks. Pure; immutable
 * after deny_parse; any thread. Default words and their networks are one table (RFC
 * 6890). */
#ifndef RESOLVER_DENY_H
#define RESOLVER_DENY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"

struct ip { /* an IPv4 address is stored IPv4-mapped, so that one form serves both */
    uint8_t bytes[16];
};

enum { IP_TEXT_MAX = 46 };
bool ip_parse(const char *text, struct ip *out);
bool ip_is_v4(const struct ip *ip);
void ip_print(const struct ip *ip, char out[IP_TEXT_MAX]);

struct deny;

/* words: "loopback" "self" "private" "link-local" "multicast" "reserved", or "net/len"
 * or an address. A network of one family never reaches into the other ("::/0" is all of
 * IPv6 and no IPv4). own: addresses of this machine, for "self" (all 0.0.0.0/8 and ::
 * count as self too). Strings and addresses are copied. NULL and *f (-7) on a word that
 * is neither, or on a network with bits set behind its length. */
struct deny *deny_create(const char *const *words, int words_n, const struct ip *own,
                         int own_n, struct fault *f);
void deny_free(struct deny *d);
/* The word or network that denies this address, NULL: allowed. IPv4-mapped,
 * IPv4-compatible, 6to4 and NAT64 forms of a denied IPv4 address are denied too. Of
 * several reasons "self" and "loopback" come first, as they say more: the mail would
 * come back to us. d may be NULL: all allowed. */
const char *deny_match(const struct deny *d, const struct ip *ip);
/* Is what deny_match returned one of the two words for "that is this machine"? */
bool deny_is_self(const char *reason);

#endif
