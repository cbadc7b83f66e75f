/* The relays of the settings, made ready: where they are, how they are spoken to, and
 * their passwords. */
#ifndef CLI_RELAY_H
#define CLI_RELAY_H

#include "conf/conf.h"
#include "engine/engine.h"

struct relay {
    const char *text; /* as in the settings */
    char *host;       /* in brackets, lower case, as resolver_lookup wants it */
    char *name;       /* without them */
    uint16_t port;
};

struct password {
    const char *path;
    char words[SMTP_CREDENTIAL_MAX + 1];
};

struct relays {         /* all zero: none, whatever the settings say */
    struct relay *list; /* each host and port once */
    int n;
    struct password *passwords; /* each file once */
    int passwords_n;
};

/* Finds the relays of policy { } and the sections; reads each relay_password_file when
 * there are relays and somebody's relay_user. False and *f (-7) with the line of a file
 * that holds no password. conf must outlive the relays. */
bool relays_open(struct relays *r, const struct conf *conf, struct fault *f);
void relays_close(struct relays *r); /* wipes the passwords */

/* The place in the list of that relay, "host:port"; -1: none. */
int relays_find(const struct relays *r, const char *text);
/* How it is spoken to with this policy. fits: conf_relay_agrees; else it gets no
 * password, and no mail in clear. */
void relay_speak(const struct relays *r, const struct conf_policy *p, bool fits,
                 struct destination *d);

/* The relay of the policy for people: "mx.example port 587, STARTTLS, as user". */
void relay_print(const struct conf_policy *p, struct buf *out);

#endif
