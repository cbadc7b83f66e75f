/* The receiver's side of AUTH PLAIN and AUTH LOGIN: RFC 4954, 4616. It knows one user,
 * SINK_AUTH_USER with SINK_AUTH_PASSWORD. Pure. */
#ifndef SINK_AUTH_H
#define SINK_AUTH_H

#include "base/buf.h"

#define SINK_AUTH_USER     "user"
#define SINK_AUTH_PASSWORD "secret"

enum auth_step {
    AUTH_IDLE, /* the next line is a command */
    AUTH_PLAIN,
    AUTH_LOGIN_USER,
    AUTH_LOGIN_PASSWORD,
};

struct auth {
    enum auth_step step; /* what the next line answers */
    bool user_good;
    bool done; /* somebody has proved who it is */
};

/* words: what stands behind "AUTH ". The reply. */
const char *auth_begin(struct auth *a, struct span words);
/* A line that is no command, because step says so. The reply. */
const char *auth_continue(struct auth *a, struct span line);

#endif
