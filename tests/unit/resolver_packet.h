/* For tests of the resolver: DNS packets made by hand, and a small world of records
 * that answers questions the way a recursive server does. */
#ifndef TESTS_RESOLVER_PACKET_H
#define TESTS_RESOLVER_PACKET_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "resolver/dnswire.h"

enum { PACKET_CNAME = 5, PACKET_SOA = 6, PACKET_NS = 2, PACKET_OPT = 41 };
enum {
    PACKET_ANSWER = 0x8180,
    PACKET_AUTHORITATIVE = 0x0400,
    PACKET_TRUNCATED = 0x0200
};

struct packet {
    size_t n;
    uint8_t p[65536];
};

static inline void packet_u16(struct packet *k, unsigned v)
{
    k->p[k->n++] = (uint8_t)(v >> 8);
    k->p[k->n++] = (uint8_t)v;
}

static inline void packet_u32(struct packet *k, uint32_t v)
{
    packet_u16(k, v >> 16);
    packet_u16(k, v & 0xffff);
}

/* "a.b" or ".": labels as they stand, nothing is checked. */
static inline void packet_name(struct packet *k, const char *name)
{
    while (*name && strcmp(name, ".") != 0) {
        size_t n = strcspn(name, ".");
        k->p[k->n++] = (uint8_t)n;
        memcpy(k->p + k->n, name, n);
        k->n += n;
        name += n + (name[n] == '.');
    }
    k->p[k->n++] = 0;
}

static inline void packet_begin(struct packet *k, unsigned id, unsigned flags,
                                const char *name, unsigned type)
{
    k->n = 0;
    packet_u16(k, id);
    packet_u16(k, flags);
    packet_u16(k, 1);
    packet_u16(k, 0);
    packet_u16(k, 0);
    packet_u16(k, 0);
    packet_name(k, name);
    packet_u16(k, type);
    packet_u16(k, 1);
}

enum packet_section { IN_ANSWER = 6, IN_AUTHORITY = 8, IN_ADDITIONAL = 10 };

/* Begin a record; its data follows; packet_end_record fills in the length. */
static inline size_t packet_record(struct packet *k, enum packet_section section,
                                   const char *owner, unsigned type, uint32_t ttl)
{
    unsigned count = (unsigned)k->p[section] << 8 | k->p[section + 1];
    count++;
    k->p[section] = (uint8_t)(count >> 8);
    k->p[section + 1] = (uint8_t)count;
    packet_name(k, owner);
    packet_u16(k, type);
    packet_u16(k, 1);
    packet_u32(k, ttl);
    packet_u16(k, 0);
    return k->n;
}

static inline void packet_end_record(struct packet *k, size_t data)
{
    size_t n = k->n - data;
    k->p[data - 2] = (uint8_t)(n >> 8);
    k->p[data - 1] = (uint8_t)n;
}

static inline void packet_mx(struct packet *k, const char *owner, uint32_t ttl,
                             unsigned preference, const char *host)
{
    size_t data = packet_record(k, IN_ANSWER, owner, DNS_MX, ttl);
    packet_u16(k, preference);
    packet_name(k, host);
    packet_end_record(k, data);
}

static inline void packet_cname(struct packet *k, const char *owner, uint32_t ttl,
                                const char *target)
{
    size_t data = packet_record(k, IN_ANSWER, owner, PACKET_CNAME, ttl);
    packet_name(k, target);
    packet_end_record(k, data);
}

static inline void packet_address(struct packet *k, const char *owner, uint32_t ttl,
                                  const char *text)
{
    struct ip ip;
    bool good = ip_parse(text, &ip);
    assert(good);
    (void)good;
    bool v6 = strchr(text, ':') != NULL;
    size_t data = packet_record(k, IN_ANSWER, owner, v6 ? DNS_AAAA : DNS_A, ttl);
    memcpy(k->p + k->n, ip.bytes + (v6 ? 0 : 12), v6 ? 16 : 4);
    k->n += v6 ? 16 : 4;
    packet_end_record(k, data);
}

static inline void packet_soa(struct packet *k, const char *zone, uint32_t ttl,
                              uint32_t minimum)
{
    size_t data = packet_record(k, IN_AUTHORITY, zone, PACKET_SOA, ttl);
    packet_name(k, "ns.invalid");
    packet_name(k, "root.invalid");
    for (int i = 0; i < 4; i++)
        packet_u32(k, 7200);
    packet_u32(k, minimum);
    packet_end_record(k, data);
}

/* A world is text, one record a line:
 *
 *     NAME MX PREFERENCE HOST      NAME A ADDRESS      NAME CNAME TARGET
 *     NAME TYPE ! RCODE            that question is answered with this error
 *     NAME TTL SECONDS             of the records of that name (else 3600)
 *     NAME -                       the name exists
 *
 * Every other name does not exist. Negative answers carry a SOA (ttl 600, minimum 300).
 */
struct line {
    char name[300];
    char type[16];
    char a[300];
    char b[300];
};

static inline const char *next_line(const char *at, struct line *out)
{
    while (*at == '\n' || *at == ' ')
        at++;
    if (!*at)
        return NULL;
    char copy[1024];
    size_t n = strcspn(at, "\n");
    assert(n < sizeof copy);
    memcpy(copy, at, n);
    copy[n] = '\0';
    memset(out, 0, sizeof *out);
    int fields =
        sscanf(copy, "%299s %15s %299s %299s", out->name, out->type, out->a, out->b);
    assert(fields >= 2);
    (void)fields;
    return at + n;
}

static inline unsigned type_number(const char *text)
{
    static const struct {
        const char *text;
        unsigned number;
    } types[] = {
        {"MX", DNS_MX}, {"A", DNS_A}, {"AAAA", DNS_AAAA}, {"CNAME", PACKET_CNAME}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].text, text) == 0)
            return types[i].number;
    return 0;
}

static inline bool world_find(const char *world, const char *name, const char *type,
                              struct line *out)
{
    for (const char *at = world; (at = next_line(at, out));)
        if (strcasecmp(out->name, name) == 0 && (!type || strcmp(out->type, type) == 0))
            return true;
    return false;
}

static inline uint32_t world_ttl(const char *world, const char *name)
{
    struct line line;
    return world_find(world, name, "TTL", &line) ? (uint32_t)strtoul(line.a, NULL, 10)
                                                 : 3600;
}

/* one_step: give one CNAME only, as a server does that is not the target's. */
static inline void world_answer(const char *world, unsigned id, const char *name,
                                unsigned type, bool one_step, struct packet *out)
{
    struct line line;
    packet_begin(out, id, PACKET_ANSWER, name, type);
    for (const char *at = world; (at = next_line(at, &line));) {
        if (strcasecmp(line.name, name) == 0 && type_number(line.type) == type &&
            strcmp(line.a, "!") == 0) {
            packet_begin(out, id, PACKET_ANSWER | (unsigned)atoi(line.b), name, type);
            return;
        }
    }
    char owner[300];
    snprintf(owner, sizeof owner, "%s", name);
    for (int steps = 0; steps < 25 && world_find(world, owner, "CNAME", &line);
         steps++) {
        packet_cname(out, owner, world_ttl(world, owner), line.a);
        snprintf(owner, sizeof owner, "%s", line.a);
        if (one_step)
            return;
    }
    bool found = false;
    for (const char *at = world; (at = next_line(at, &line));) {
        if (strcasecmp(line.name, owner) != 0 || type_number(line.type) != type)
            continue;
        found = true;
        if (type == DNS_MX)
            packet_mx(out, owner, world_ttl(world, owner), (unsigned)atoi(line.a),
                      line.b);
        else
            packet_address(out, owner, world_ttl(world, owner), line.a);
    }
    if (found || world_find(world, owner, "CNAME", &line))
        return;
    if (!world_find(world, owner, NULL, &line))
        out->p[3] |= 3; /* NXDOMAIN */
    packet_soa(out, "test", 600, 300);
}

#endif
