#include "sink/answers.h"

#include <assert.h>

enum {
    HEADER_BYTES = 12,
    NAME_MAX_BYTES = 255, /* RFC 1035 2.3.4 */
    LABEL_MAX = 63,
    TYPE_A = 1,
    TYPE_SOA = 6,
    TYPE_MX = 15,
    TYPE_OPT = 41,
    CLASS_IN = 1,
    RCODE_SERVFAIL = 2,
    RCODE_NXDOMAIN = 3,
    RCODE_NOTIMP = 4,
    RCODE_REFUSED = 5,
    TTL_S = 300,
    NEGATIVE_TTL_S = 60,
    EDNS_SIZE = 1232,
    POINTER = 0xc000, /* RFC 1035 4.1.4 */
};

struct question {
    size_t end; /* of the question in the message */
    unsigned type;
    unsigned class;
    size_t first_label;        /* bytes of it with its length byte; 0: the root */
    char name[NAME_MAX_BYTES]; /* lower case, dots between labels */
    size_t name_n;
};

struct writer {
    uint8_t *p;
    size_t n;
};

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static void put8(struct writer *w, unsigned v)
{
    assert(w->n < ANSWER_MAX);
    w->p[w->n++] = (uint8_t)v;
}

static void put16(struct writer *w, unsigned v)
{
    put8(w, v >> 8 & 0xff);
    put8(w, v & 0xff);
}

static void put32(struct writer *w, uint32_t v)
{
    put16(w, v >> 16);
    put16(w, v & 0xffff);
}

/* One question, its name not compressed: RFC 1035 4.1.2. */
static bool read_question(const uint8_t *m, size_t n, struct question *q)
{
    size_t at = HEADER_BYTES;
    *q = (struct question){0};
    while (at < n && m[at]) {
        size_t label = m[at];
        if (label > LABEL_MAX || at + 1 + label >= n ||
            at + label + 2 > HEADER_BYTES + NAME_MAX_BYTES)
            return false;
        if (at == HEADER_BYTES)
            q->first_label = 1 + label;
        else
            q->name[q->name_n++] = '.';
        for (size_t i = 1; i <= label; i++) {
            char c = (char)m[at + i];
            q->name[q->name_n++] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
        }
        at += 1 + label;
    }
    if (at + 5 > n)
        return false;
    q->type = get16(m + at + 1);
    q->class = get16(m + at + 3);
    q->end = at + 5;
    return true;
}

/* A query's OPT record, when the first record behind the question is one: RFC
 * 6891 6.1.2. */
static bool has_opt(const uint8_t *m, size_t n, const struct question *q)
{
    bool others = get16(m + 6) || get16(m + 8);
    const uint8_t *opt = m + q->end;
    return !others && get16(m + 10) && n >= q->end + 11 && opt[0] == 0 &&
           get16(opt + 1) == TYPE_OPT;
}

/* Which names are hosts of which domain: "mx.DOMAIN" is DOMAIN's. */
static struct span domain_of(const struct question *q)
{
    struct span name = {q->name, q->name_n};
    if (q->type != TYPE_MX && name.n > 3 && memcmp(name.p, "mx.", 3) == 0) {
        name.p += 3;
        name.n -= 3;
    }
    return name;
}

/* Owner (the question's name), type, class, TTL; the length is left to the caller. */
static void put_record(struct writer *w, size_t owner, unsigned type, uint32_t ttl)
{
    put16(w, POINTER | (unsigned)owner);
    put16(w, type);
    put16(w, CLASS_IN);
    put32(w, ttl);
}

static void put_a(struct writer *w, const uint8_t address[4])
{
    put_record(w, HEADER_BYTES, TYPE_A, TTL_S);
    put16(w, 4);
    for (int i = 0; i < 4; i++)
        put8(w, address[i]);
}

static void put_mx(struct writer *w, const struct question *q, bool null)
{
    enum { MX_LABEL = 3 };
    put_record(w, HEADER_BYTES, TYPE_MX, TTL_S);
    if (null) {
        put16(w, 2 + 1);
        put16(w, 0);
        put8(w, 0);
        return;
    }
    /* "mx." does not fit before the longest names; they are their own host. */
    bool fits = q->end - 4 - HEADER_BYTES + MX_LABEL <= NAME_MAX_BYTES;
    put16(w, 2 + (fits ? MX_LABEL : 0) + 2);
    put16(w, 10);
    if (fits) {
        put8(w, 2);
        put8(w, 'm');
        put8(w, 'x');
    }
    put16(w, POINTER | HEADER_BYTES);
}

/* RFC 2308: no answer, and for how long that may be remembered. The zone is the name
 * itself, or what is above it when there is no such name. */
static void put_soa(struct writer *w, const struct question *q, bool nxdomain)
{
    size_t zone = HEADER_BYTES + (nxdomain ? q->first_label : 0);
    put_record(w, zone, TYPE_SOA, NEGATIVE_TTL_S);
    size_t length_at = w->n;
    put16(w, 0);
    put16(w, POINTER | (unsigned)zone);
    put16(w, POINTER | (unsigned)zone);
    put32(w, 1);     /* serial */
    put32(w, 3600);  /* refresh */
    put32(w, 600);   /* retry */
    put32(w, 86400); /* expire */
    put32(w, NEGATIVE_TTL_S);
    struct writer length = {w->p + length_at, 0};
    put16(&length, (unsigned)(w->n - length_at - 2));
}

size_t answers_reply(const struct answers *a, const uint8_t *query, size_t n,
                     uint8_t out[ANSWER_MAX])
{
    struct question q;
    if (n < HEADER_BYTES || query[2] & 0x80 || get16(query + 4) != 1 ||
        !read_question(query, n, &q))
        return 0;
    struct writer w = {out, q.end};
    memcpy(out, query, q.end);
    unsigned rcode = 0;
    unsigned answers = 0;
    unsigned authorities = 0;
    int group = 0;
    if (query[2] & 0x78) {
        rcode = RCODE_NOTIMP;
    } else if (q.class != CLASS_IN) {
        rcode = RCODE_REFUSED;
    } else if ((group = a->group_of(a->arg, domain_of(&q))) == ANSWER_SERVFAIL) {
        rcode = RCODE_SERVFAIL;
    } else if (group == ANSWER_NXDOMAIN) {
        rcode = RCODE_NXDOMAIN;
        put_soa(&w, &q, true);
        authorities = 1;
    } else if (q.type == TYPE_MX) {
        put_mx(&w, &q, group == ANSWER_NULL_MX);
        answers = 1;
    } else if (q.type == TYPE_A && group != ANSWER_NULL_MX) {
        assert(group >= 0 && group < a->groups);
        put_a(&w, a->addresses[group]);
        answers = 1;
    } else {
        put_soa(&w, &q, false);
        authorities = 1;
    }
    bool opt = has_opt(query, n, &q);
    if (opt) {
        put8(&w, 0);
        put16(&w, TYPE_OPT);
        put16(&w, EDNS_SIZE);
        put32(&w, 0);
        put16(&w, 0);
    }
    out[2] =
        (uint8_t)(0x84 | (query[2] & 0x79)); /* QR, AA; opcode and RD as they were */
    out[3] = (uint8_t)(0x80 | rcode);        /* RA */
    struct writer counts = {out + 6, 0};
    put16(&counts, answers);
    put16(&counts, authorities);
    put16(&counts, opt);
    return w.n;
}
