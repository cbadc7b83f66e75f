/* What a blast would do: every domain resolved, rows counted for each domain and site.
 */
#ifndef CLI_PLAN_H
#define CLI_PLAN_H

#include "cli/policies.h"
#include "queue/recipients.h"
#include "resolver/resolver.h"

struct plan_site {
    const char *name;
    uint32_t rows, domains;
    uint32_t policy;          /* its number */
    const struct mx_set *set; /* of one of its domains, or their relay's */
};

struct plan {
    uint32_t domains_n;
    uint32_t *rows;       /* of each domain */
    struct mx_set **sets; /* of each domain, or of its relay */
    struct mx_set **mxs;  /* of each domain that has its relay by its MX set: that */
    uint32_t sites_n;
    struct plan_site *sites; /* most rows first */
    uint32_t *site_of;       /* of each domain; valid if its set has no code */
    uint32_t resolved_rows, unresolved_rows, unresolved_domains;
    uint32_t faulty[3];    /* rows that are final from the start: 611, 800, 801 */
    uint32_t first_usable; /* a row to show as a sample; 0: none */
};

/* Resolve and count; domains with one MX set and one policy are a site. Prints
 * progress on standard error when it is a terminal and not quiet. False and *f when the
 * resolver cannot start or the list cannot be read. */
bool plan_make(struct plan *p, const struct recipients *list, struct policies *policies,
               const struct resolver_params *resolver, bool quiet, struct fault *f);
void plan_finish(struct plan *p);
/* What the policy of a domain with this way goes by (policies_number). */
const struct mx_set *plan_mx(const struct plan *p, uint32_t domain);

/* One domain's MX set, a reference that is the caller's. NULL and *f when the resolver
 * cannot start. */
struct mx_set *plan_look_up(const char *domain, const struct resolver_params *resolver,
                            struct fault *f);

#endif
