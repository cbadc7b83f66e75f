#include "sink/auth.h"

#include "sink/command.h"

/* The one user in base64, so that nothing has to be decoded. tests/unit/sink_tls.c
 * makes them of SINK_AUTH_USER and SINK_AUTH_PASSWORD. */
static const struct span user_64 = {"dXNlcg==", 8};
static const struct span password_64 = {"c2VjcmV0", 8};
static const struct span plain_64[] = {
    {"AHVzZXIAc2VjcmV0", 16},         /* NUL user NUL secret */
    {"dXNlcgB1c2VyAHNlY3JldA==", 24}, /* user NUL user NUL secret */
};

static const char good_words[] = "235 2.7.0 welcome";
static const char bad_words[] = "535 5.7.8 credentials are wrong";

static bool is_base64(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
              (c >= 'a' && c <= 'z') || c == '+' || c == '/' || c == '='))
            return false;
    }
    return s.n % 4 == 0;
}

static const char *judge(struct auth *a, bool good)
{
    a->step = AUTH_IDLE;
    a->done = good;
    return good ? good_words : bad_words;
}

const char *auth_continue(struct auth *a, struct span line)
{
    if (span_equal(line, SPAN("*"))) {
        a->step = AUTH_IDLE;
        return "501 5.7.0 cancelled";
    }
    if (!is_base64(line)) {
        a->step = AUTH_IDLE;
        return "501 5.5.2 that is no base64";
    }
    switch (a->step) {
    case AUTH_PLAIN:
        return judge(a, span_equal(line, plain_64[0]) || span_equal(line, plain_64[1]));
    case AUTH_LOGIN_USER:
        a->user_good = span_equal(line, user_64);
        a->step = AUTH_LOGIN_PASSWORD;
        return "334 UGFzc3dvcmQ6"; /* "Password:" */
    case AUTH_LOGIN_PASSWORD:
        return judge(a, a->user_good && span_equal(line, password_64));
    case AUTH_IDLE:
        break;
    }
    return "503 5.5.1 AUTH first";
}

const char *auth_begin(struct auth *a, struct span words)
{
    static const struct {
        struct span name;
        enum auth_step step;
        const char *challenge;
    } mechanisms[] = {
        {{"PLAIN", 5}, AUTH_PLAIN, "334 "},
        {{"LOGIN", 5}, AUTH_LOGIN_USER, "334 VXNlcm5hbWU6"}, /* "Username:" */
    };
    for (size_t i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++) {
        struct span rest = words;
        if (!command_word(&rest, mechanisms[i].name) || (rest.n && *rest.p != ' '))
            continue;
        a->step = mechanisms[i].step;
        rest = span_trim(rest);
        return rest.n ? auth_continue(a, rest) : mechanisms[i].challenge;
    }
    return "504 5.5.4 mechanism not known";
}
