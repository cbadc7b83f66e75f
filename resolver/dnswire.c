#include "resolver/dnswire.h"

#include <string.h>

enum {
    HEADER = 12,
    FLAG_RESPONSE = 0x8000,
    FLAG_AUTHORITATIVE = 0x0400,
    FLAG_TRUNCATED = 0x0200,
    RCODE_MASK = 0x000f,
    RCODE_NXDOMAIN = 3,
    OPCODE_MASK = 0x7800,
    CLASS_IN = 1,
    TYPE_NS = 2,
    TYPE_CNAME = 5,
    TYPE_SOA = 6,
    TYPE_OPT = 41,
    LABEL_MAX = 63,
    WIRE_NAME_MAX = 255,
    POINTER = 0xc0,
    SOA_NUMBERS = 20, /* serial, refresh, retry, expire, minimum */
};

/* clang-format off */
static const struct {
    enum dns_result result;
    const char *why;
} rcodes[16] = {
    [0]  = {DNS_FOUND,    ""},
    [1]  = {DNS_UNUSABLE, "FORMERR"},
    [2]  = {DNS_SERVFAIL, "SERVFAIL"},
    [3]  = {DNS_NO_NAME,  ""},
    [4]  = {DNS_UNUSABLE, "NOTIMP"},
    [5]  = {DNS_UNUSABLE, "REFUSED"},
    [6]  = {DNS_UNUSABLE, "YXDOMAIN"},
    [7]  = {DNS_UNUSABLE, "YXRRSET"},
    [8]  = {DNS_UNUSABLE, "NXRRSET"},
    [9]  = {DNS_UNUSABLE, "NOTAUTH"},
    [10] = {DNS_UNUSABLE, "NOTZONE"},
    [11] = {DNS_UNUSABLE, "response code 11"},
    [12] = {DNS_UNUSABLE, "response code 12"},
    [13] = {DNS_UNUSABLE, "response code 13"},
    [14] = {DNS_UNUSABLE, "response code 14"},
    [15] = {DNS_UNUSABLE, "response code 15"},
};
/* clang-format on */

struct reader {
    const uint8_t *p;
    size_t n;
    size_t at;
};

enum name_kind {
    NAME_BROKEN,  /* the packet is malformed here */
    NAME_REFUSED, /* well-formed, but nothing that a host may be called */
    NAME_ROOT,
    NAME_GOOD,
};

struct record {
    enum name_kind owner_kind;
    char owner[DNS_NAME_MAX + 1];
    unsigned type;
    unsigned class;
    uint32_t ttl;
    size_t data; /* offset */
    size_t data_n;
};

struct chain { /* the CNAMEs of one answer, in any order */
    int n;
    struct {
        char owner[DNS_NAME_MAX + 1];
        char target[DNS_NAME_MAX + 1];
        enum name_kind target_kind;
        uint32_t ttl;
    } links[DNS_CHAIN_MAX];
};

static bool name_byte(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '_';
}

bool dns_name_valid(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > DNS_NAME_MAX)
        return false;
    size_t label = 0;
    for (size_t i = 0; i <= n; i++) {
        if (i == n || name[i] == '.') {
            if (label == 0 || label > LABEL_MAX)
                return false;
            label = 0;
        } else if (!name_byte((unsigned char)name[i])) {
            return false;
        } else {
            label++;
        }
    }
    return true;
}

static unsigned read16(const struct reader *r, size_t at)
{
    return (unsigned)r->p[at] << 8 | r->p[at + 1];
}

static uint32_t read32(const struct reader *r, size_t at)
{
    return (uint32_t)read16(r, at) << 16 | read16(r, at + 2);
}

/* RFC 2181 8: a TTL with its first bit set counts as zero. */
static uint32_t read_ttl(const struct reader *r, size_t at)
{
    uint32_t ttl = read32(r, at);
    return ttl > INT32_MAX ? 0 : ttl;
}

/* Read the name at *at, lower case, and move *at behind it. A pointer must lead to
 * before the piece of name that holds it, so that no loop is possible (RFC 1035 4.1.4:
 * "a prior occurrence"). */
static enum name_kind read_name(const struct reader *r, size_t *at,
                                char out[DNS_NAME_MAX + 1])
{
    enum name_kind kind = NAME_GOOD;
    size_t from = *at;
    size_t piece = from;
    size_t wire = 0;
    size_t n = 0;
    bool jumped = false;
    for (;;) {
        if (from >= r->n)
            return NAME_BROKEN;
        uint8_t c = r->p[from];
        if ((c & POINTER) == POINTER) {
            if (from + 2 > r->n)
                return NAME_BROKEN;
            size_t to = read16(r, from) & 0x3fff;
            if (!jumped)
                *at = from + 2;
            jumped = true;
            if (to >= piece)
                return NAME_BROKEN;
            from = piece = to;
            continue;
        }
        if (c & POINTER) /* label types that nobody may use any more */
            return NAME_BROKEN;
        wire += (size_t)c + 1;
        if (wire > WIRE_NAME_MAX || from + 1 + c > r->n)
            return NAME_BROKEN;
        from++;
        if (c == 0)
            break;
        if (n)
            out[n++] = '.';
        for (size_t i = 0; i < c; i++) {
            unsigned char b = r->p[from + i];
            if (!name_byte(b))
                kind = NAME_REFUSED;
            out[n++] = (char)(b >= 'A' && b <= 'Z' ? b + ('a' - 'A') : b);
        }
        from += c;
    }
    if (!jumped)
        *at = from;
    out[n] = '\0';
    if (n == 0)
        return NAME_ROOT;
    return kind;
}

static bool read_record(struct reader *r, struct record *out)
{
    out->owner_kind = read_name(r, &r->at, out->owner);
    if (out->owner_kind == NAME_BROKEN || r->n - r->at < 10)
        return false;
    out->type = read16(r, r->at);
    out->class = read16(r, r->at + 2);
    out->ttl = read_ttl(r, r->at + 4);
    out->data_n = read16(r, r->at + 8);
    out->data = r->at + 10;
    if (out->data_n > r->n - out->data)
        return false;
    r->at = out->data + out->data_n;
    return true;
}

static void fail(struct dns_answer *out, enum dns_result result, const char *why)
{
    out->result = result;
    out->why = why;
    out->n = 0;
}

/* The name in a record's data that must end where the data ends. */
static enum name_kind read_data_name(const struct reader *r, const struct record *rec,
                                     size_t skip, char out[DNS_NAME_MAX + 1])
{
    if (rec->data_n < skip + 1)
        return NAME_BROKEN;
    size_t at = rec->data + skip;
    enum name_kind kind = read_name(r, &at, out);
    return at == rec->data + rec->data_n ? kind : NAME_BROKEN;
}

/* First pass over the answer section: all CNAMEs. NULL, or what is wrong. */
static const char *collect_chain(struct reader r, unsigned records, struct chain *chain)
{
    chain->n = 0;
    struct record rec;
    while (records-- > 0) {
        if (!read_record(&r, &rec))
            return "malformed answer";
        if (rec.type != TYPE_CNAME || rec.class != CLASS_IN ||
            rec.owner_kind != NAME_GOOD)
            continue;
        if (chain->n == DNS_CHAIN_MAX)
            return "CNAME chain too long";
        int at = chain->n++;
        memcpy(chain->links[at].owner, rec.owner, sizeof rec.owner);
        chain->links[at].ttl = rec.ttl;
        chain->links[at].target_kind =
            read_data_name(&r, &rec, 0, chain->links[at].target);
        if (chain->links[at].target_kind == NAME_BROKEN)
            return "malformed answer";
    }
    return NULL;
}

/* Walk from out->name to where the CNAMEs end. NULL, or what is wrong. */
static const char *follow(const struct chain *chain, struct dns_answer *out)
{
    for (;;) {
        int at = 0;
        while (at < chain->n && strcmp(chain->links[at].owner, out->name) != 0)
            at++;
        if (at == chain->n)
            return NULL;
        if (++out->aliases > chain->n)
            return "CNAME loop";
        if (chain->links[at].target_kind != NAME_GOOD)
            return "CNAME to a name that no host may have";
        memcpy(out->name, chain->links[at].target, sizeof out->name);
        if (chain->links[at].ttl < out->ttl_s)
            out->ttl_s = chain->links[at].ttl;
    }
}

static int compare_mx(const struct dns_mx *a, const struct dns_mx *b)
{
    if (a->preference != b->preference)
        return a->preference < b->preference ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* Keep the best DNS_MX_MAX in order, no name twice: insertion into a short array. */
static void keep_mx(struct dns_answer *out, const struct dns_mx *mx)
{
    for (int i = 0; i < out->n; i++) {
        if (strcmp(out->mx[i].name, mx->name) != 0)
            continue;
        if (out->mx[i].preference <= mx->preference)
            return;
        out->n--;
        memmove(&out->mx[i], &out->mx[i + 1], (size_t)(out->n - i) * sizeof *mx);
        break;
    }
    int at = out->n;
    while (at > 0 && compare_mx(mx, &out->mx[at - 1]) < 0)
        at--;
    if (at == DNS_MX_MAX)
        return;
    if (out->n < DNS_MX_MAX)
        out->n++;
    memmove(&out->mx[at + 1], &out->mx[at], (size_t)(out->n - 1 - at) * sizeof *mx);
    out->mx[at] = *mx;
}

static bool take_mx(const struct reader *r, const struct record *rec,
                    struct dns_answer *out)
{
    struct dns_mx mx;
    enum name_kind kind = read_data_name(r, rec, 2, mx.name);
    if (kind == NAME_BROKEN)
        return false;
    mx.preference = (uint16_t)read16(r, rec->data);
    if (kind == NAME_ROOT)
        out->null_mx = true;
    else if (kind == NAME_GOOD)
        keep_mx(out, &mx);
    return true;
}

static bool take_address(const struct reader *r, const struct record *rec,
                         struct dns_answer *out)
{
    struct ip ip = {{[10] = 0xff, [11] = 0xff}};
    size_t want = rec->type == DNS_A ? 4 : 16;
    if (rec->data_n != want)
        return false;
    memcpy(ip.bytes + sizeof ip.bytes - want, r->p + rec->data, want);
    for (int i = 0; i < out->n; i++)
        if (memcmp(&out->addresses[i], &ip, sizeof ip) == 0)
            return true;
    if (out->n < DNS_ADDRESSES_MAX)
        out->addresses[out->n++] = ip;
    return true;
}

/* Second pass over the answer section: the records of the name at the chain's end.
 * Leaves r behind the section. */
static const char *collect_records(struct reader *r, unsigned records,
                                   enum dns_type type, struct dns_answer *out,
                                   bool *found)
{
    struct record rec;
    *found = false;
    while (records-- > 0) {
        if (!read_record(r, &rec))
            return "malformed answer";
        if (rec.type != (unsigned)type || rec.class != CLASS_IN ||
            rec.owner_kind != NAME_GOOD || strcmp(rec.owner, out->name) != 0)
            continue;
        if (!(type == DNS_MX ? take_mx(r, &rec, out) : take_address(r, &rec, out)))
            return "malformed answer";
        *found = true;
        if (rec.ttl < out->ttl_s)
            out->ttl_s = rec.ttl;
    }
    return NULL;
}

struct rest { /* what stands behind the answer section */
    bool soa;
    bool ns;
    uint32_t negative_ttl;
    unsigned extended_rcode;
};

/* Authority: SOA or a referral. Additional: the upper half of the response code. */
static bool read_rest(struct reader *r, unsigned authority, unsigned additional,
                      struct rest *out)
{
    *out = (struct rest){0};
    struct record rec;
    for (unsigned i = 0; i < authority + additional; i++) {
        if (!read_record(r, &rec))
            return false;
        if (i >= authority && rec.type == TYPE_OPT)
            out->extended_rcode =
                r->p[rec.data - 6]; /* RFC 6891 6.1.3: first TTL byte */
        if (i >= authority || rec.class != CLASS_IN)
            continue;
        out->ns = out->ns || rec.type == TYPE_NS;
        if (rec.type == TYPE_SOA && !out->soa) {
            if (rec.data_n < SOA_NUMBERS + 2)
                return false;
            uint32_t minimum = read_ttl(r, rec.data + rec.data_n - 4);
            out->soa = true;
            out->negative_ttl = minimum < rec.ttl ? minimum : rec.ttl; /* RFC 2308 5 */
        }
    }
    return true;
}

/* The question must be ours (RFC 5452 4.2). An error may come without one. */
static bool same_question(struct reader *r, const char *name, enum dns_type type)
{
    char asked[DNS_NAME_MAX + 1];
    if (read16(r, 4) != 1 || read_name(r, &r->at, asked) != NAME_GOOD ||
        r->n - r->at < 4)
        return false;
    bool same = strcmp(asked, name) == 0 && read16(r, r->at) == (unsigned)type &&
                read16(r, r->at + 2) == CLASS_IN;
    r->at += 4;
    return same;
}

/* Nothing of the type asked for: what does that mean? */
static void judge_absence(struct dns_answer *out, unsigned flags,
                          const struct rest *rest)
{
    uint32_t chain_ttl = out->ttl_s;
    out->n = 0;
    out->ttl_s = rest->negative_ttl;
    if ((flags & RCODE_MASK) == RCODE_NXDOMAIN) {
        out->result = DNS_NO_NAME; /* of the last name in the chain: RFC 6604 3 */
    } else if (!rest->soa && out->aliases > 0) {
        out->result = DNS_ALIAS;
        out->ttl_s = chain_ttl;
    } else if (!rest->soa && rest->ns && !(flags & FLAG_AUTHORITATIVE)) {
        /* RFC 2308 2.2: NS without SOA is a referral. A server that does not recurse is
         * no resolver; to read "no data" here would be final for every domain. */
        fail(out, DNS_UNUSABLE, "a referral: the server does not recurse");
    } else {
        out->result = DNS_NO_DATA;
    }
}

static void parse_body(struct reader *r, unsigned flags, enum dns_type type,
                       struct dns_answer *out)
{
    struct chain chain;
    unsigned answers = read16(r, 6);
    const char *wrong = collect_chain(*r, answers, &chain);
    if (!wrong)
        wrong = follow(&chain, out);
    bool found = false;
    if (!wrong)
        wrong = collect_records(r, answers, type, out, &found);
    struct rest rest;
    if (!wrong && !read_rest(r, read16(r, 8), read16(r, 10), &rest))
        wrong = "malformed answer";
    if (!wrong && rest.extended_rcode)
        wrong = "extended response code";
    if (wrong)
        fail(out, DNS_UNUSABLE, wrong);
    else if (found && (flags & RCODE_MASK) == 0)
        out->result = DNS_FOUND;
    else
        judge_absence(out, flags, &rest);
}

void dns_answer_parse(const uint8_t *packet, size_t n, const char *name,
                      enum dns_type type, struct dns_answer *out)
{
    struct reader r = {packet, n, HEADER};
    out->why = "";
    out->ttl_s = INT32_MAX;
    out->aliases = 0;
    out->null_mx = false;
    out->n = 0;
    size_t name_n = strlen(name);
    out->name[0] = '\0';
    if (n < HEADER || name_n > DNS_NAME_MAX) {
        fail(out, DNS_UNUSABLE, "malformed answer");
        return;
    }
    memcpy(out->name, name, name_n + 1);
    unsigned flags = read16(&r, 2);
    unsigned rcode = flags & RCODE_MASK;
    if (!(flags & FLAG_RESPONSE) || (flags & OPCODE_MASK))
        fail(out, DNS_UNUSABLE, "not an answer");
    else if (rcode != 0 && rcode != RCODE_NXDOMAIN)
        fail(out, rcodes[rcode].result, rcodes[rcode].why);
    else if (!same_question(&r, name, type))
        fail(out, DNS_UNUSABLE, "an answer to another question");
    else if (flags & FLAG_TRUNCATED)
        fail(out, DNS_TRUNCATED, "truncated");
    else
        parse_body(&r, flags, type, out);
}
