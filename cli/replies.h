/* From the reply sections of the settings to the compiled rules of a run. */
#ifndef CLI_REPLIES_H
#define CLI_REPLIES_H

#include "conf/conf.h"
#include "smtp/reaction.h"

struct replies {
    struct reactions *compiled;
    struct reaction_rule *rules; /* one a section, in their order */
    struct arena names;
};

/* conf must outlive it. False and *f (-7, with file and line): a section is no good. */
bool replies_open(struct replies *r, const struct conf *conf, struct fault *f);
void replies_close(struct replies *r); /* one that is empty, or closed, too */

#endif
