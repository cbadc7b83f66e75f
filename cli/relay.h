/* The relay of the settings, made ready: where it is, how it is spoken to, and the
 * password. */
#ifndef CLI_RELAY_H
#define CLI_RELAY_H

#include "conf/conf.h"
#include "engine/engine.h"

struct relay {
    char *host; /* in brackets, lower case, as resolver_lookup wants it; NULL: none */
    uint16_t port;
    const char *user; /* NULL: no AUTH */
    char password[SMTP_CREDENTIAL_MAX + 1];
};

/* Reads relay_password_file when relay_user is set. False and *f (-7): no password
 * there, or settings that contradict each other. conf must outlive the relay. Without
 * policy.relay nothing is read and the relay is none. */
bool relay_open(struct relay *r, const struct conf *conf, struct fault *f);
void relay_close(struct relay *r); /* wipes the password */

/* Everything goes through it, unless it is none. */
void relay_apply(const struct relay *r, struct engine_params *e);
/* How it is spoken to. */
void relay_speak(const struct relay *r, const struct conf_policy *p,
                 struct destination *d);

/* "mx.example port 587, STARTTLS, as user", for people. */
void relay_print(const struct relay *r, const struct conf *conf, struct buf *out);

#endif
