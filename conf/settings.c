#include "conf/settings.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

const struct section sections[SECTION_COUNT] = {
    [SECTION_TOP] = {"", SECTION_TOP, "Everywhere", "These stand outside any section."},
    [SECTION_RESOLVER] = {"resolver", SECTION_TOP, "resolver { }",
                          "How names are looked up."},
    [SECTION_STORM] =
        {"storm", SECTION_TOP, "storm { }",
         "When going on would make it worse: the job ends, and all rows "
         "that are left become -11. Bad are replies that are about the "
         "sender (to the connection, EHLO or MAIL, and any 5xx with x.7.x) "
         "and addresses that are refused; they must come from three sites "
         "at least. Other temporary replies (greylisting), DNS, and "
         "connections that fail or break count for nothing. A message that several "
         "recipients share counts once."},
    [SECTION_POLICY] =
        {"policy", SECTION_TOP, "policy { }",
         "How every destination is treated, where no section `domain` or `mx` says "
         "otherwise. Relays: [policy.md](policy.md#relays)."},
    [SECTION_TIMEOUT] = {"timeout", SECTION_POLICY, "policy { timeout { } }",
                         "How long each step of the SMTP dialogue may take. The times "
                         "that RFC 5321 fixes "
                         "(4.5.3.2) are the defaults. A reply must be complete in this "
                         "time: a byte now "
                         "and then does not extend it."},
    [SECTION_SOURCE] =
        {"source", SECTION_TOP, "source \"NAME\" { }",
         "An address to send from, with its own name: `source \"a\" { address = "
         "\"192.0.2.10\" hostname = \"a.mail.example.jp\" }`. Each limit of a policy "
         "holds for each source by itself: two sources have twice as many connections. "
         "A row that is tried again leaves from the source that it had. The name "
         "stands "
         "in the `source` column of the results; it is made of letters, digits, `-`, "
         "`_` and `.`. There are 255 at most. A rehearsal sends from none. A reload "
         "cannot change sections source and pool."},
    [SECTION_POOL] = {"pool", SECTION_TOP, "pool \"NAME\" { }",
                      "Sources that send the same mail: `pool \"news\" { sources = "
                      "{\"a\", \"b\"} }`, "
                      "chosen by the key `pool` of policy { }, domain and mx."},
    [SECTION_WARMUP] =
        {"warmup", SECTION_TOP, "warmup \"NAME\" { }",
         "A new address begins with little mail, and sends more each day: `warmup "
         "\"slowly\" { start = \"2026-11-20\" caps = {50, 100, 500, 1000, 5000} }`, "
         "chosen by the key `warmup` of a source. On a day at most so many messages "
         "are begun from that source to each provider: all that a section with limits "
         "matches, else one site. All jobs of the spool count together, and so does a "
         "job that is resumed. What may not leave today goes by other sources of the "
         "pool; rows that are bound to this one, since it got as far as MAIL with "
         "them before, wait for tomorrow. A reload cannot change these sections."},
    [SECTION_DOMAIN] =
        {"domain", SECTION_TOP, "domain \"NAME\" { }",
         "How one domain is treated: `domain \"docomo.ne.jp\" { connections = 2 }`, or "
         "all below one: `domain '*.example.com' { }`, which is not example.com "
         "itself. "
         "It may hold any key of policy { } and its timeout { }.\n"
         "\n"
         "Each key has its value from the first of these that gives it: the section of "
         "the very domain; those with `*.`, the longest name first; mx sections in the "
         "order of the file; policy { }; the default. `hikyaku check --explain "
         "ADDRESS` shows each value and the line that it comes from.\n"
         "\n"
         "Limits (`connections`, `connection_rate`, `message_rate`, `unknown_limit`) "
         "hold for all destinations together that share a budget: it belongs to the "
         "first matching section, in the same order, that gives one of these four; "
         "without such a section each site (domains with the same MX hosts and "
         "sections) has its own. So `domain '*.jp' { retry_interval = \"1h\" }` puts "
         "nobody under a common limit, and a section of other keys for one domain "
         "leaves it in the budget of `mx '*.google.com' { connections = 5 }`. "
         "Where sections allow some destinations of a budget less than others, the "
         "least holds for all of it. What the other matching sections give of "
         "`connections`, `connection_rate` and `message_rate` holds too, for all "
         "together that each of them matches. So limits only add up: beside that mx "
         "section, `domain \"c1.example\" { connections = 3 }` leaves Google with 5 "
         "connections in all, from each source. To give a domain more, raise the "
         "section's limit or narrow its pattern; `check` says which limits are in "
         "vain. "
         "Suspensions and whatever else a receiver brings about are of the budget "
         "alone. "
         "`--explain` names the budget, and the sections that it is within. All that "
         "goes through one relay shares a "
         "budget "
         "of that relay; where a section gives limits, they hold for each relay and "
         "for "
         "what is direct by itself."
         "\n\n"
         "A reload may change what stands in these sections, as in policy { }, but not "
         "add, remove or rename one; who shares a budget stays as it was. When a "
         "resumed job decides about rows that a "
         "crash "
         "left in doubt, `in_doubt` counts from domain sections and policy { } alone, "
         "for the MX hosts are not known yet."},
    [SECTION_MX] =
        {"mx", SECTION_TOP, "mx 'PATTERN' { }",
         "The same for all domains one of whose most preferred MX hosts has such a "
         "name: `mx '*.google.com' { connections = 5 }`. `*` stands for any "
         "characters, dots too, `?` for one. A domain without MX is its own host. "
         "Where `domain` sections or policy { } give a `relay`, no MX is asked, and no "
         "mx section matches; so a `relay` here is an error when policy { } has one."},
    [SECTION_REPLY] =
        {"reply", SECTION_TOP, "reply \"CODE\" { }",
         "What is done when a receiver says something: `reply \"421 4.7.28\" { mx = "
         "'*.google.com' action = suspend for = 10m }`. The title is a code (`421`, "
         "`4xx`), an enhanced code (`4.7.28`, `4.7.x`, in whatever reply), or both; "
         "several sections may have the same. The first one in the order of the files "
         "that matches is obeyed; yours come before those of the program. The log "
         "keeps the server's own code and words. Codes are sure, texts change: let "
         "`text` be short.\n"
         "\n"
         "A rule is obeyed also where the reply costs no row an attempt: the 421 that "
         "comes to a later message of a connection, or while it stands idle. Many say "
         "their limits there and nowhere else; but a rule for any `421` meets `421 "
         "timeout, closing connection` as well, which is no trouble. Give it a `text`, "
         "or put in front of it what the program does with such words: `reply \"4xx\" "
         "{ "
         "text = 'timeout' action = reconnect }`.\n"
         "\n"
         "Where mail goes through a relay it is the relay that replies: sections with "
         "`mx` or `domain` do not match that. A reload takes reply sections anew. "
         "`for`, `scope` and "
         "`connections` belong to some actions only; one that does not fit is an "
         "error."},
    [SECTION_JOB] = {"job", SECTION_TOP, "", ""},
};

const struct setting settings[SETTING_COUNT] = {
#define SETTING(section, member, name, kind, fallback, least, most, about)             \
    {SECTION_##section,                                                                \
     KIND_##kind,                                                                      \
     #name,                                                                            \
     offsetof(struct conf, member),                                                    \
     sizeof(((struct conf *)0)->member),                                               \
     fallback,                                                                         \
     least,                                                                            \
     most,                                                                             \
     about},
#include "conf/settings.def"
};

bool section_is_named(enum conf_section section)
{
    return section >= SECTION_SOURCE && section <= SECTION_REPLY;
}

enum conf_section section_keys(enum conf_section section)
{
    return section == SECTION_DOMAIN || section == SECTION_MX ? SECTION_POLICY
                                                              : section;
}

const struct setting *setting_find(enum conf_section in, struct span name)
{
    for (const struct setting *s = settings; s < settings + SETTING_COUNT; s++)
        if (s->section == in && span_equal(name, span_of(s->name)))
            return s;
    return NULL;
}

enum conf_section section_find(enum conf_section in, struct span name)
{
    enum conf_section i = SECTION_TOP + 1;
    while (i < SECTION_COUNT &&
           !(sections[i].parent == in && span_equal(name, span_of(sections[i].name))))
        i++;
    return i;
}

enum { NAME_MAX_NEAR = 40 }; /* longer words are near to nothing */

/* How many letters must be put in, taken out or changed (Levenshtein). */
static int distance(struct span a, struct span b)
{
    int row[NAME_MAX_NEAR + 1];
    assert(b.n <= NAME_MAX_NEAR);
    for (size_t j = 0; j <= b.n; j++)
        row[j] = (int)j;
    for (size_t i = 0; i < a.n; i++) {
        int diagonal = row[0];
        row[0] = (int)i + 1;
        for (size_t j = 0; j < b.n; j++) {
            int best = diagonal + (a.p[i] != b.p[j]);
            diagonal = row[j + 1];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (diagonal + 1 < best)
                best = diagonal + 1;
            row[j + 1] = best;
        }
    }
    return row[b.n];
}

static void consider(struct span name, const char *known, int *best, const char **word)
{
    int d = distance(name, span_of(known));
    if (d <= *best) {
        *best = d - 1; /* a later one must be nearer */
        *word = known;
    }
}

const char *setting_nearest(enum conf_section in, struct span name)
{
    const char *word = NULL;
    int best = (int)(name.n / 4 + 1); /* one slip in four letters */
    if (name.n > NAME_MAX_NEAR)
        return NULL;
    for (const struct setting *s = settings; s < settings + SETTING_COUNT; s++)
        if (s->section == in)
            consider(name, s->name, &best, &word);
    for (int i = SECTION_TOP + 1; i < SECTION_JOB; i++)
        if (sections[i].parent == in)
            consider(name, sections[i].name, &best, &word);
    return word;
}

/* Which section has such a key, or such a section within it. */
static enum conf_section home_of(struct span name, bool section)
{
    for (enum conf_section i = SECTION_TOP; i < SECTION_JOB; i++)
        if (section ? section_find(i, name) < SECTION_JOB : !!setting_find(i, name))
            return i;
    return SECTION_COUNT;
}

enum conf_section setting_elsewhere(struct span name, bool section)
{
    enum conf_section home = home_of(name, section);
    return home < SECTION_COUNT ? home : home_of(name, !section);
}

bool setting_is_list(const struct setting *s)
{
    return s->kind >= KIND_SERVERS;
}

bool setting_is_policy(const struct setting *s)
{
    return s->section == SECTION_POLICY || s->section == SECTION_TIMEOUT;
}

bool setting_stays(const struct setting *s)
{
    static const int stay[] = {SETTING_TOP_hostname,
                               SETTING_TOP_spool,
                               SETTING_TOP_workers,
                               SETTING_TOP_deny_destinations,
                               SETTING_POLICY_port,
                               SETTING_POLICY_tls,
                               SETTING_POLICY_tls_ca_file,
                               SETTING_POLICY_tls_min_version,
                               SETTING_POLICY_relay,
                               SETTING_POLICY_relay_user,
                               SETTING_POLICY_relay_tls,
                               SETTING_POLICY_relay_password_file,
                               SETTING_POLICY_relay_auth_clear};
    for (size_t i = 0; i < sizeof stay / sizeof stay[0]; i++)
        if (s - settings == stay[i])
            return true;
    return false;
}

void section_full_name(struct buf *out, enum conf_section section)
{
    if (sections[section].parent != SECTION_TOP) {
        section_full_name(out, sections[section].parent);
        buf_add_char(out, '.');
    }
    buf_add_str(out, sections[section].name);
}

void setting_full_name(struct buf *out, const struct setting *s)
{
    if (s->section != SECTION_TOP) {
        section_full_name(out, s->section);
        buf_add_char(out, '.');
    }
    buf_add_str(out, s->name);
}

bool place_fault(struct fault *f, int code, struct place at, const char *format, ...)
{
    char *words;
    va_list args;
    va_start(args, format);
    if (vasprintf(&words, format, args) < 0)
        die_oom();
    va_end(args);
    if (at.line)
        fault_set(f, code, "%s:%d: %s", at.file, at.line, words);
    else
        fault_set(f, code, "%s: %s", at.file, words);
    free(words);
    return false;
}

struct span folder_of(const char *file)
{
    const char *slash = strrchr(file, '/');
    return (struct span){file, slash ? (size_t)(slash + 1 - file) : 0};
}
