#include "resolver/mx.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

_Static_assert((int)MX_HOSTS_MAX == (int)DNS_MX_MAX, "an MX answer fills the hosts");
_Static_assert((int)MX_HOST_ADDRESSES_MAX == (int)DNS_ADDRESSES_MAX,
               "an address answer fills a host");

enum { SECOND = 1000000, MX_SLOT = 0 };

enum slot_state {
    SLOT_UNUSED,
    SLOT_OPEN,  /* to be handed out */
    SLOT_ASKED, /* handed out, not answered */
    SLOT_KNOWN,
};

struct slot { /* one question; slot 0 is the MX, 1 + 2h and 2 + 2h are host h's A, AAAA
               */
    enum slot_state state;
    enum dns_result result;
    const char *why;
    char *alias; /* the name to ask for now, when CNAMEs led away from the first */
    int aliases;
    int64_t expires_us;
    int n;
    struct ip addresses[DNS_ADDRESSES_MAX];
};

struct mx_query {
    const struct deny *deny;
    bool bad_domain;
    bool null_mx;
    bool implicit;
    bool is_host; /* it was asked for in brackets: no domain */
    int open;     /* slots OPEN or ASKED */
    int hosts_n;
    char domain[DNS_NAME_MAX + 1];
    struct dns_mx hosts[MX_HOSTS_MAX]; /* as published: by preference, then name */
    struct slot slots[MX_QUESTIONS_MAX];
};

static int clamp_s(uint32_t ttl, int most)
{
    if (ttl < MX_TTL_MIN_S)
        return MX_TTL_MIN_S;
    return ttl > (uint32_t)most ? most : (int)ttl;
}

int64_t mx_answer_expires(const struct dns_answer *answer, int64_t now_us)
{
    int seconds;
    switch (answer->result) {
    case DNS_FOUND:
    case DNS_ALIAS:
        seconds = clamp_s(answer->ttl_s, MX_TTL_MAX_S);
        break;
    case DNS_NO_DATA:
    case DNS_NO_NAME:
        seconds = clamp_s(answer->ttl_s, MX_NEGATIVE_TTL_MAX_S);
        break;
    case DNS_SERVFAIL:
    case DNS_UNUSABLE:
    case DNS_SILENT:
        seconds = MX_FAILURE_TTL_S;
        break;
    case DNS_TRUNCATED:
    case DNS_DEAD:
    default:
        seconds = 0;
        break;
    }
    return now_us + (int64_t)seconds * SECOND;
}

static void open_slot(struct mx_query *q, int id)
{
    struct slot *s = &q->slots[id];
    s->state = SLOT_OPEN;
    s->why = "";
    s->alias = NULL;
    s->aliases = 0;
    s->expires_us = INT64_MAX;
    s->n = 0;
    q->open++;
}

static void open_hosts(struct mx_query *q)
{
    for (int id = 1; id <= 2 * q->hosts_n; id++)
        open_slot(q, id);
}

static void know(struct mx_query *q, int id, enum dns_result result)
{
    q->slots[id].state = SLOT_KNOWN;
    q->slots[id].result = result;
    q->open--;
}

/* One host as if it were published alone, with its name or address in q->domain. */
static void begin_host(struct mx_query *q)
{
    struct ip address;
    open_slot(q, MX_SLOT);
    know(q, MX_SLOT, DNS_NO_DATA);
    q->implicit = true;
    q->hosts_n = 1;
    q->hosts[0].preference = 0;
    memcpy(q->hosts[0].name, q->domain, sizeof q->domain);
    open_hosts(q);
    if (!ip_parse(q->domain, &address))
        return;
    q->slots[1].n = 1;
    q->slots[1].addresses[0] = address;
    know(q, 1, DNS_FOUND);
    know(q, 2, DNS_NO_DATA);
}

/* Copy the name, or what is between its brackets. False: it can be neither. */
static bool take_name(struct mx_query *q, const char *name)
{
    size_t n = strlen(name);
    struct ip address;
    q->domain[0] = '\0';
    q->is_host = name[0] == '[' && name[n - 1] == ']';
    if (q->is_host) {
        name++;
        n -= 2;
    }
    if (n > DNS_NAME_MAX)
        return false;
    memcpy(q->domain, name, n);
    q->domain[n] = '\0';
    if (dns_name_valid(q->domain) || (q->is_host && ip_parse(q->domain, &address)))
        return true;
    q->domain[0] = '\0';
    return false;
}

struct mx_query *mx_query_create(const char *domain, const struct deny *deny)
{
    struct mx_query *q = mem_alloc(sizeof *q);
    q->deny = deny;
    q->null_mx = q->implicit = false;
    q->open = q->hosts_n = 0;
    for (int i = 0; i < MX_QUESTIONS_MAX; i++)
        q->slots[i].state = SLOT_UNUSED;
    q->bad_domain = !take_name(q, domain);
    if (q->bad_domain)
        return q;
    if (q->is_host) {
        q->deny = NULL;
        begin_host(q);
    } else {
        open_slot(q, MX_SLOT);
    }
    return q;
}

static const char *slot_name(const struct mx_query *q, int id)
{
    if (q->slots[id].alias)
        return q->slots[id].alias;
    return id == MX_SLOT ? q->domain : q->hosts[(id - 1) / 2].name;
}

bool mx_query_next(struct mx_query *q, struct mx_question *out)
{
    for (int id = 0; id < MX_QUESTIONS_MAX; id++) {
        if (q->slots[id].state != SLOT_OPEN)
            continue;
        q->slots[id].state = SLOT_ASKED;
        out->id = id;
        out->type = id == MX_SLOT ? DNS_MX : (id & 1) ? DNS_A : DNS_AAAA;
        out->name = slot_name(q, id);
        return true;
    }
    return false;
}

bool mx_query_done(const struct mx_query *q)
{
    return q->open == 0;
}

/* The MX answer is final. RFC 5321 5.1: only a domain that is known to have no MX is
 * its own mail host; RFC 7505 3: "." means no mail, unless real hosts stand beside it.
 */
static void take_mx(struct mx_query *q, const struct dns_answer *a)
{
    if (a->result == DNS_FOUND) {
        q->hosts_n = a->n;
        q->null_mx = a->n == 0 && a->null_mx;
        memcpy(q->hosts, a->mx, (size_t)a->n * sizeof *a->mx);
    } else if (a->result == DNS_NO_DATA) {
        q->implicit = true;
        q->hosts_n = 1;
        q->hosts[0].preference = 0;
        memcpy(q->hosts[0].name, a->name, sizeof a->name);
    }
    open_hosts(q);
}

static void follow_alias(struct mx_query *q, int id, const struct dns_answer *a)
{
    struct slot *s = &q->slots[id];
    s->aliases += a->aliases;
    if (a->aliases > 0 && s->aliases <= DNS_CHAIN_MAX) {
        free(s->alias);
        s->alias = mem_strdup(a->name);
        s->state = SLOT_OPEN;
        return;
    }
    s->state = SLOT_KNOWN;
    s->result = DNS_UNUSABLE;
    s->why = "CNAME chain too long";
    q->open--;
}

void mx_query_answer(struct mx_query *q, int id, const struct dns_answer *answer,
                     int64_t expires_us)
{
    assert(id >= 0 && id < MX_QUESTIONS_MAX);
    struct slot *s = &q->slots[id];
    assert(s->state == SLOT_ASKED && answer->result != DNS_TRUNCATED);
    if (expires_us < s->expires_us) /* of all aliases on the way and the end */
        s->expires_us = expires_us;
    if (answer->result == DNS_ALIAS) {
        follow_alias(q, id, answer);
        return;
    }
    s->state = SLOT_KNOWN;
    s->result = answer->result;
    s->why = answer->why;
    q->open--;
    if (id == MX_SLOT) {
        take_mx(q, answer);
    } else if (answer->result == DNS_FOUND) {
        s->n = answer->n;
        memcpy(s->addresses, answer->addresses, (size_t)answer->n * sizeof(struct ip));
    }
}

void mx_query_free(struct mx_query *q)
{
    if (!q)
        return;
    for (int i = 0; i < MX_QUESTIONS_MAX; i++)
        if (q->slots[i].state != SLOT_UNUSED)
            free(q->slots[i].alias);
    free(q);
}

/* What the address lookups came to. */
struct tally {
    int hosts_n;
    struct mx_host hosts[MX_HOSTS_MAX];
    struct ip addresses[MX_HOSTS_MAX][MX_HOST_ADDRESSES_MAX];
    int allowed_hosts;  /* hosts before the one that is us */
    const char *denied; /* why the first denied address was */
    const char *denied_host;
    struct ip denied_address;
    const struct slot *failed; /* the failure that says most */
    const char *failed_host;
    int64_t expires_us; /* of what was used */
};

/* 608 before 710 before 711: the gentlest for the row first. */
static int failure_code(enum dns_result result)
{
    switch (result) {
    case DNS_DEAD:
        return 608;
    case DNS_SERVFAIL:
    case DNS_SILENT:
        return 710;
    case DNS_UNUSABLE:
        return 711;
    case DNS_FOUND:
    case DNS_NO_DATA:
    case DNS_NO_NAME:
    case DNS_ALIAS:
    case DNS_TRUNCATED:
    default:
        return 0;
    }
}

static void note_denied(struct tally *t, const char *host, const struct ip *ip,
                        const char *reason)
{
    if (t->denied)
        return;
    t->denied = reason;
    t->denied_host = host;
    t->denied_address = *ip;
}

/* RFC 5321 5.1: when one of the hosts is us, its preference and all worse are dropped,
 * or mail would come back for ever. */
static void drop_from_self(const struct mx_query *q, struct tally *t)
{
    t->allowed_hosts = q->hosts_n;
    for (int h = 0; h < t->allowed_hosts; h++) {
        for (int id = 1 + 2 * h; id <= 2 + 2 * h; id++) {
            const struct slot *s = &q->slots[id];
            for (int i = 0; i < s->n; i++) {
                const char *reason = deny_match(q->deny, &s->addresses[i]);
                if (!deny_is_self(reason))
                    continue;
                note_denied(t, q->hosts[h].name, &s->addresses[i], reason);
                t->allowed_hosts = 0;
                while (q->hosts[t->allowed_hosts].preference < q->hosts[h].preference)
                    t->allowed_hosts++;
                return;
            }
        }
    }
}

/* The allowed addresses of one slot, as far as `room` goes. */
static int take_addresses(const struct mx_query *q, int host, int id, int room,
                          struct ip *out, struct tally *t)
{
    const struct slot *s = &q->slots[id];
    int n = 0;
    for (int i = 0; i < s->n; i++) {
        const char *reason = deny_match(q->deny, &s->addresses[i]);
        if (reason)
            note_denied(t, q->hosts[host].name, &s->addresses[i], reason);
        else if (n < room)
            out[n++] = s->addresses[i];
    }
    if (n > 0 && s->expires_us < t->expires_us)
        t->expires_us = s->expires_us;
    if (failure_code(s->result) &&
        (!t->failed || failure_code(s->result) < failure_code(t->failed->result))) {
        t->failed = s;
        t->failed_host = q->hosts[host].name;
    }
    return n;
}

/* Half of a host's room for each family; what one does not need the other has. */
static void take_host(const struct mx_query *q, int host, struct tally *t)
{
    struct ip v4[MX_HOST_ADDRESSES_MAX];
    struct ip v6[MX_HOST_ADDRESSES_MAX];
    int v4_n = take_addresses(q, host, 1 + 2 * host, MX_HOST_ADDRESSES_MAX, v4, t);
    int v6_n = take_addresses(q, host, 2 + 2 * host, MX_HOST_ADDRESSES_MAX, v6, t);
    if (v4_n + v6_n == 0)
        return;
    int half = MX_HOST_ADDRESSES_MAX / 2;
    int v6_room = v4_n < half ? MX_HOST_ADDRESSES_MAX - v4_n : half;
    v6_n = v6_n < v6_room ? v6_n : v6_room;
    v4_n = v4_n < MX_HOST_ADDRESSES_MAX - v6_n ? v4_n : MX_HOST_ADDRESSES_MAX - v6_n;
    struct mx_host *out = &t->hosts[t->hosts_n];
    out->name = q->hosts[host].name;
    out->preference = q->hosts[host].preference;
    out->addresses = t->addresses[t->hosts_n++];
    out->addresses_n = v4_n + v6_n;
    memcpy(out->addresses, v4, (size_t)v4_n * sizeof *v4);
    memcpy(out->addresses + v4_n, v6, (size_t)v6_n * sizeof *v6);
}

/* The set as published, whatever became of the addresses, so that a host that cannot be
 * looked up for a while does not move its domains to another site. */
static void write_key(const struct mx_query *q, struct buf *b)
{
    for (int h = 0; h < q->hosts_n; h++) {
        if (h)
            buf_add_char(b, q->hosts[h].preference == q->hosts[h - 1].preference ? ','
                                                                                 : ';');
        buf_add_str(b, q->hosts[h].name);
    }
    if (q->hosts_n == 0)
        buf_add_str(b, q->domain);
}

/* No address may be used: why. */
static void judge_addresses(const struct mx_query *q, const struct tally *t,
                            struct mx_set *set, struct buf *words)
{
    char ip[IP_TEXT_MAX];
    if (t->failed) {
        set->code = failure_code(t->failed->result);
        buf_printf(words, "address of %s: %s", t->failed_host, t->failed->why);
    } else if (t->denied) {
        set->code = 730;
        ip_print(&t->denied_address, ip);
        buf_printf(words, "no mail may go to %s [%s]: %s", t->denied_host, ip,
                   t->denied);
    } else if (q->is_host && q->slots[1].result == DNS_NO_NAME) {
        set->code = 700;
        buf_printf(words, "%s does not exist", q->domain);
    } else {
        set->code = 720;
        if (q->null_mx) {
            strcpy(set->status, "5.1.10"); /* RFC 7505 4.1 */
            buf_printf(words, "%s takes no mail (null MX)", q->domain);
        } else if (q->is_host) {
            buf_printf(words, "%s has no address", q->domain);
        } else if (q->implicit) {
            buf_printf(words, "%s has no MX and no address", q->domain);
        } else if (q->hosts_n == 0) {
            buf_printf(words, "the MX of %s names no possible host", q->domain);
        } else {
            buf_printf(words, "no MX host of %s has an address", q->domain);
        }
    }
}

static void judge(const struct mx_query *q, struct tally *t, struct mx_set *set,
                  struct buf *words)
{
    const struct slot *mx = &q->slots[MX_SLOT];
    if (q->bad_domain) {
        set->code = 700;
        buf_add_str(words, "the domain is not a name that the DNS can hold");
        return;
    }
    t->expires_us = mx->expires_us;
    if (mx->result == DNS_NO_NAME) {
        set->code = 700;
        buf_printf(words, "%s does not exist", q->domain);
        return;
    }
    set->code = failure_code(mx->result);
    if (set->code) {
        buf_printf(words, "MX of %s: %s", q->domain, mx->why);
        return;
    }
    drop_from_self(q, t);
    for (int h = 0; h < t->allowed_hosts; h++)
        take_host(q, h, t);
    if (t->hosts_n == 0)
        judge_addresses(q, t, set, words);
}

/* When to ask again: the least TTL of what was used, within the limits of its kind. A
 * good set with a host that failed is looked at again as soon as a negative one. */
static int64_t expires(const struct tally *t, int code, int64_t now_us)
{
    int64_t least = now_us + (int64_t)MX_TTL_MIN_S * SECOND;
    int64_t most = now_us + (int64_t)MX_NEGATIVE_TTL_MAX_S * SECOND;
    if (code == 608)
        return now_us;
    if (code == 710 || code == 711)
        return now_us + (int64_t)MX_FAILURE_TTL_S * SECOND;
    if (code == 0 && !t->failed)
        most = now_us + (int64_t)MX_TTL_MAX_S * SECOND;
    if (t->expires_us > most)
        return most;
    return t->expires_us < least ? least : t->expires_us;
}

struct mx_set *mx_query_finish(struct mx_query *q, int64_t now_us, int64_t took_us)
{
    assert(mx_query_done(q));
    struct tally t;
    t.hosts_n = 0;
    t.denied = NULL;
    t.failed = NULL;
    t.expires_us = now_us;
    struct mx_set model = {.is_host = q->is_host};
    struct buf words = {0};
    struct buf key = {0};
    judge(q, &t, &model, &words);
    write_key(q, &key);
    if (words.n > MX_WORDS_MAX)
        words.n = MX_WORDS_MAX;
    model.words = buf_cstr(&words);
    model.key = buf_cstr(&key);
    model.site = q->hosts_n ? q->hosts[0].name : q->domain;
    model.expires_us = expires(&t, model.code, now_us);
    model.took_us = (int32_t)(took_us > INT32_MAX ? INT32_MAX : took_us);
    model.hosts_n = t.hosts_n;
    model.hosts = t.hosts;
    struct mx_set *set = mx_set_copy(&model);
    buf_finish(&words);
    buf_finish(&key);
    mx_query_free(q);
    return set;
}
