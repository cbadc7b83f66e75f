/* What send, check and rehearse have in common: settings, message, list and addresses,
 * opened and checked before anything is made or sent. */
#ifndef CLI_BLAST_H
#define CLI_BLAST_H

#include "cli/options.h"
#include "cli/relay.h"
#include "cli/replies.h"
#include "cli/trust.h"
#include "conf/conf.h"
#include "engine/engine.h"
#include "queue/job.h"

enum { BLAST_SECRET = 32 };

struct blast {
    const struct blast_options *options;
    struct conf *conf;
    struct buf message;      /* the template's text */
    struct address from, to; /* to.n 0: no proof address */
    struct recipients *list;
    struct template *template;
    struct deny *deny;
    struct relays relays;
    struct trust trust;
    struct replies replies;
    struct worker_source *sources; /* none in a rehearsal */
    int sources_n;
    struct warmup_plan *warmups;            /* of each source; NULL: none has one */
    int64_t created_ms, start_ms, until_ms; /* the latter 0: none */
    uint8_t secret[BLAST_SECRET];
};

/* Each returns -1 when all is well, else the exit status, after one line on standard
 * error. */

/* Settings, message text, --to and --from. */
int blast_open(struct blast *b, const struct blast_options *options,
               const char *command);
/* What blast_open does once the settings are there: the message's text,
 * deny_destinations, the relays, the sources, the authorities of TLS. */
int blast_ready(struct blast *b);
/* The list at path, which is the one that the user named, or a copy. */
int blast_open_list(struct blast *b, const char *path);
/* Compile the message for the list's columns; find the envelope sender. */
int blast_compile(struct blast *b);
/* Settings may let recipients share this message. False: *f says why not. */
bool blast_may_share(const struct blast *b, const struct conf *conf, struct fault *f);
void blast_close(struct blast *b);

/* The exit status for a fault of the job directory. */
int exit_of_job(enum job_result result);

/* What the resolver is asked with. The strings live as long as b. */
struct resolver_params blast_resolver(const struct blast *b);
/* The engine's parameters from the settings; attempts, totals and policies are the
 * caller's. */
struct engine_params blast_engine(const struct blast *b);

#endif
