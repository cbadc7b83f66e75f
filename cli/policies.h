/* From the sections of the settings to the policies of a run. A number stands for a set
 * of sections that match, and, where there are source addresses of both families, for
 * the families of the hosts; so whether there is a relay, and which, goes with the
 * number. Scheduler's thread, once the engine runs. */
#ifndef CLI_POLICIES_H
#define CLI_POLICIES_H

#include "base/map.h"
#include "cli/relay.h"
#include "cli/trust.h"

struct policies {
    const struct conf *conf;
    const struct relays *relays;
    const struct trust *trust;
    const struct conf *begun; /* its hostname, port, tls and relays stay at a reload */
    uint16_t port;            /* of a rehearsal's receivers; 0: that of the settings */
    bool mixed;               /* there are sources of both families */
    struct map numbers;       /* by families and sections, as bytes */
    const char **matched;     /* of each number: those bytes */
    uint32_t n;
    int *found;          /* room for what matches one destination */
    int *outer;          /* the same for those whose limits hold too */
    struct arena chosen; /* the scheduler's lists of sources and outer budgets */
};

/* conf, relays and trust must outlive it. With relays that are none all mail is direct.
 */
void policies_init(struct policies *p, const struct conf *conf,
                   const struct relays *relays, const struct trust *trust);
void policies_finish(struct policies *p);

/* The numbers stay; what stands in the sections is that of conf from now on. False and
 * *f (-7): its sections are others. */
bool policies_take(struct policies *p, const struct conf *conf, struct fault *f);

/* The names of the most preferred hosts of a set, as conf_match wants them; none of
 * NULL or a set with a code. */
struct span policies_hosts(const struct mx_set *set);

/* As in struct engine_policies. */
uint32_t policies_number(struct policies *p, const char *domain,
                         const struct mx_set *mx, const struct mx_set *way);
const char *policies_relay(struct policies *p, const char *domain,
                           const struct mx_set *mx);
/* The relay of a number for people, as relay_print; false: it has none. */
bool policies_print_relay(const struct policies *p, uint32_t number, struct buf *out);
/* The sections that match what a number stands for, the strongest first; out has room
 * for rules_n. Returns how many. */
int policies_sections(const struct policies *p, uint32_t number, int *out);
/* Which sections were matched so far: used[i] for rule i of the settings. */
void policies_used(const struct policies *p, bool *used);
struct engine_policies policies_engine(struct policies *p);

#endif
