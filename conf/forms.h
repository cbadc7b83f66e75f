/* What the texts of settings must look like. Pure. */
#ifndef CONF_FORMS_H
#define CONF_FORMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

bool form_digits(struct span s); /* one at least, and nothing else */
/* Decimal, without sign and leading zeros: elsewhere `010` is an octal 8. */
bool form_number(struct span s, int64_t *out);
/* A DNS name or an address literal (RFC 5321 4.1.3). */
bool form_hostname(struct span s);
bool form_address(struct span s); /* IPv4 or IPv6 of a machine: not 0.0.0.0 or :: */
/* "192.0.2.1", "192.0.2.1:53", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:53" */
bool form_server(struct span s);
bool form_network(const char *text); /* an address, or "address/length" with no bit set
                                        behind the length */
bool form_relay(struct span s);      /* "host:port", "192.0.2.1:25", "[v6]:port" */

#endif
