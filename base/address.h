/* E-mail addresses as the list, the settings and the template give them, made ready for
 * the SMTP dialogue: RFC 5321 4.1.2, 4.5.3.1; RFC 5891 for the domain. Pure; any thread.
 * idn2.h is included in address.c and nowhere else. */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include <stddef.h>

#include "base/buf.h"

enum {
    ADDRESS_LOCAL_MAX = 64,  /* RFC 5321 4.5.3.1.1 */
    ADDRESS_DOMAIN_MAX = 253, /* RFC 1035: 255 octets in DNS form */
    ADDRESS_MAX = 254,       /* a path is at most 256 with its <> (4.5.3.1.3) */
};

enum address_result {
    ADDRESS_OK,
    ADDRESS_EMPTY, /* nothing but spaces: code 800 in a list */
    ADDRESS_BAD,   /* cannot be an address: code 611; why says what is wrong */
};

/* What goes between < and > of RCPT TO or MAIL FROM. */
struct address {
    char text[ADDRESS_MAX + 1];  /* local@domain, NUL-terminated, local part quoted where
                                    RFC 5321 asks for it, domain in A-labels, lower case */
    unsigned char n;             /* strlen(text) */
    unsigned char domain_at;     /* text + domain_at is the domain */
    const char *why;             /* ADDRESS_BAD: static text, lower case, no address in it */
};

/* Parse one address. Outer ASCII spaces are trimmed. `a..b@`, `.a@` and `a.@` come out
 * quoted; quoted local parts pass (quoting that is not needed is taken off); an IDN domain becomes A-labels (UTS #46
 * non-transitional, length and label rules checked).
 * Refused: no @, control byte, space or 8-bit byte in the local part, display name or <>,
 * source route, address literal, trailing dot or empty label in the domain, a domain
 * without letters or digits, over-long parts. The local part keeps its case. */
enum address_result address_parse(struct span text, struct address *out);

#endif
