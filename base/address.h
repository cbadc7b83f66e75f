/* E-mail addresses as the list, the settings and the template give them, made ready for
 * the SMTP dialogue: RFC 5321 4.1.2, 4.5.3.1; RFC 5891 for the domain. Pure; any
 * thread. A plain ASCII address costs one walk over its bytes and no allocation. idn2.h
 * is included in address.c and nowhere else. */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include <stddef.h>

#include "base/buf.h"

enum {
    ADDRESS_LOCAL_MAX = 64,   /* RFC 5321 4.5.3.1.1, counted as it is sent */
    ADDRESS_DOMAIN_MAX = 253, /* RFC 1035: 255 octets in DNS form */
    ADDRESS_MAX = 254,        /* a path is at most 256 with its <> (4.5.3.1.3) */
};

enum address_result {
    ADDRESS_OK,
    ADDRESS_EMPTY, /* nothing but spaces: code 800 in a list */
    ADDRESS_BAD,   /* cannot be an address: code 611; why says what is wrong */
};

/* What goes between < and > of RCPT TO or MAIL FROM: printable ASCII without spaces. */
struct address {
    char text[ADDRESS_MAX + 1]; /* local@domain, NUL-terminated, local part quoted where
                                   RFC 5321 asks for it, domain in A-labels, lower case;
                                   empty unless ADDRESS_OK */
    unsigned char n;            /* strlen(text) */
    unsigned char domain_at;    /* text + domain_at is the domain */
    const char *why; /* ADDRESS_BAD: static text, lower case, no address in it;
                        else NULL */
};

/* Parse one address. Outer ASCII spaces are trimmed (not TABs: those are control
 * bytes). `a..b@`, `.a@` and `a.@` come out quoted; quoted local parts pass, and
 * quoting that is not needed is taken off; an IDN domain becomes A-labels (UTS #46
 * non-transitional, then the rules of IDNA2008); A-labels given as such must be valid
 * ones.
 *
 * Refused: no @, or two; a control byte, space or 8-bit byte in the local part, even
 * quoted; an empty local part, also `""`; a display name or <>; a source route; an
 * address literal; a trailing dot or an empty label in the domain; a label that begins
 * or ends with a hyphen or holds anything but letters, digits, hyphens and underscores;
 * a domain that ends in a number (an IP address without its brackets); over-long parts.
 * Passed on to DNS: a domain without a dot, and underscores (as Postfix does; some
 * hosts have them). The local part keeps its case.
 *
 * What comes out parses to itself. */
enum address_result address_parse(struct span text, struct address *out);

#endif
