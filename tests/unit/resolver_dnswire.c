/* Raw packets: what is wrong with them is said, and nothing is read past their end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "resolver_packet.h"

/* A copy of exactly n bytes, so that the address sanitizer sees a byte too many. */
static struct dns_answer *parse_n(const uint8_t *p, size_t n, enum dns_type type)
{
    static struct dns_answer answer;
    uint8_t *copy = malloc(n ? n : 1);
    if (n)
        memcpy(copy, p, n);
    dns_answer_parse(copy, n, "d.test", type, &answer);
    free(copy);
    return &answer;
}

static struct dns_answer *parse(const struct packet *k, enum dns_type type)
{
    return parse_n(k->p, k->n, type);
}

static void begin_mx(struct packet *k)
{
    packet_begin(k, 1, PACKET_ANSWER, "d.test", DNS_MX);
}

static void add_bytes(struct packet *k, const void *p, size_t n)
{
    memcpy(k->p + k->n, p, n);
    k->n += n;
}

/* An MX record whose data is the preference and these bytes. */
static void raw_mx(struct packet *k, const char *bytes, size_t n)
{
    size_t data = packet_record(k, IN_ANSWER, "d.test", DNS_MX, 60);
    packet_u16(k, 10);
    add_bytes(k, bytes, n);
    packet_end_record(k, data);
}

static void good_answer(void **state)
{
    (void)state;
    static struct packet k;
    packet_begin(&k, 1, PACKET_ANSWER, "D.Test", DNS_MX);
    packet_mx(&k, "d.TEST", 3600, 20, "B.test");
    packet_mx(&k, "d.test", 1800, 10, "a.test");
    packet_mx(&k, "other.test", 5, 1, "evil.test"); /* not asked for */
    packet_address(&k, "d.test", 5, "8.8.8.8");
    struct dns_answer *a = parse(&k, DNS_MX);
    assert_int_equal(a->result, DNS_FOUND);
    assert_int_equal(a->n, 2);
    assert_string_equal(a->mx[0].name, "a.test");
    assert_string_equal(a->mx[1].name, "b.test");
    assert_int_equal(a->mx[1].preference, 20);
    assert_int_equal(a->ttl_s, 1800);
    assert_string_equal(a->name, "d.test");
}

static void compressed_names(void **state)
{
    (void)state;
    static struct packet k;
    begin_mx(&k);
    raw_mx(&k, "\2mx\xc0\x0c", 5); /* mx.d.test, by a pointer to the question */
    struct dns_answer *a = parse(&k, DNS_MX);
    assert_int_equal(a->result, DNS_FOUND);
    assert_string_equal(a->mx[0].name, "mx.d.test");
}

/* Every cut of a good answer, and every byte of it changed: an answer or a reason. */
static void cuts_and_changes(void **state)
{
    (void)state;
    static struct packet k;
    begin_mx(&k);
    packet_cname(&k, "d.test", 60, "e.test");
    packet_mx(&k, "e.test", 60, 10, "mx.test");
    packet_soa(&k, "test", 60, 60);
    size_t opt = packet_record(&k, IN_ADDITIONAL, ".", PACKET_OPT, 0);
    packet_end_record(&k, opt);
    assert_int_equal(parse(&k, DNS_MX)->result, DNS_FOUND);
    for (size_t n = 0; n < k.n; n++)
        assert_int_equal(parse_n(k.p, n, DNS_MX)->result, DNS_UNUSABLE);
    for (size_t i = 0; i < k.n; i++) {
        uint8_t was = k.p[i];
        for (int v = 0; v < 256; v++) {
            k.p[i] = (uint8_t)v;
            struct dns_answer *a = parse(&k, DNS_MX);
            assert_true(a->result != DNS_FOUND || a->n <= 1);
            if (a->result == DNS_UNUSABLE)
                assert_true(a->why && a->why[0]);
        }
        k.p[i] = was;
    }
}

static void response_codes(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 16; code++) {
        static struct packet k;
        packet_begin(&k, 1, PACKET_ANSWER | code, "d.test", DNS_MX);
        packet_mx(&k, "d.test", 60, 10, "mx.test");
        enum dns_result want = code == 0   ? DNS_FOUND
                               : code == 2 ? DNS_SERVFAIL
                               : code == 3 ? DNS_NO_NAME
                                           : DNS_UNUSABLE;
        assert_int_equal(parse(&k, DNS_MX)->result, want);
    }
    /* an error needs no question: twelve bytes are enough */
    static const uint8_t refused[12] = {0, 1, 0x81, 0x85};
    assert_int_equal(parse_n(refused, 12, DNS_MX)->result, DNS_UNUSABLE);
    assert_string_equal(parse_n(refused, 12, DNS_MX)->why, "REFUSED");
    /* "no error" without a question says nothing */
    static const uint8_t empty[12] = {0, 1, 0x81, 0x80};
    assert_int_equal(parse_n(empty, 12, DNS_MX)->result, DNS_UNUSABLE);
}

static void not_our_answer(void **state)
{
    (void)state;
    static struct packet k;
    packet_begin(&k, 1, 0x0100, "d.test", DNS_MX); /* a query */
    assert_int_equal(parse(&k, DNS_MX)->result, DNS_UNUSABLE);
    packet_begin(&k, 1, PACKET_ANSWER, "e.test", DNS_MX);
    assert_int_equal(parse(&k, DNS_MX)->result, DNS_UNUSABLE);
    packet_begin(&k, 1, PACKET_ANSWER, "d.test", DNS_A);
    assert_int_equal(parse(&k, DNS_MX)->result, DNS_UNUSABLE);
    packet_begin(&k, 1, PACKET_ANSWER, "d.test", DNS_MX);
    k.p[k.n - 1] = 3; /* class CHAOS */
    assert_int_equal(parse(&k, DNS_MX)->result, DNS_UNUSABLE);
    packet_begin(&k, 1, PACKET_ANSWER | 0x2000, "d.test", DNS_MX); /* NOTIFY */
    assert_int_equal(parse(&k, DNS_MX)->result, DNS_UNUSABLE);
}

static void truncated(void **state)
{
    (void)state;
    static struct packet k;
    packet_begin(&k, 1, PACKET_ANSWER | PACKET_TRUNCATED, "d.test", DNS_MX);
    k.p[7] = 9; /* records that did not fit */
    assert_int_equal(parse(&k, DNS_MX)->result, DNS_TRUNCATED);
}

static void negative_answers(void **state)
{
    (void)state;
    static struct packet k;
    begin_mx(&k);
    assert_int_equal(parse(&k, DNS_MX)->result, DNS_NO_DATA);
    assert_int_equal(parse(&k, DNS_MX)->ttl_s, 0);
    packet_soa(&k, "test", 900, 120);
    assert_int_equal(parse(&k, DNS_MX)->ttl_s, 120); /* RFC 2308 5: the smaller */
    begin_mx(&k);
    packet_soa(&k, "test", 60, 120);
    assert_int_equal(parse(&k, DNS_MX)->ttl_s, 60);

    /* a referral is no answer, an authoritative server's word is */
    begin_mx(&k);
    size_t ns = packet_record(&k, IN_AUTHORITY, "test", PACKET_NS, 60);
    packet_name(&k, "ns.test");
    packet_end_record(&k, ns);
    assert_int_equal(parse(&k, DNS_MX)->result, DNS_UNUSABLE);
    k.p[2] |= PACKET_AUTHORITATIVE >> 8;
    assert_int_equal(parse(&k, DNS_MX)->result, DNS_NO_DATA);
}

/* BADVERS and the like have their upper bits in the OPT record: with 0 in the header it
 * is not "no data". */
static void extended_response_code(void **state)
{
    (void)state;
    static struct packet k;
    begin_mx(&k);
    size_t opt = packet_record(&k, IN_ADDITIONAL, ".", PACKET_OPT, 0x01000000);
    packet_end_record(&k, opt);
    assert_int_equal(parse(&k, DNS_MX)->result, DNS_UNUSABLE);
}

static void chains(void **state)
{
    (void)state;
    static struct packet k;
    packet_begin(&k, 1, PACKET_ANSWER, "d.test", DNS_A);
    packet_address(&k, "f.test", 70, "8.8.8.8"); /* in any order */
    packet_cname(&k, "e.test", 50, "f.test");
    packet_cname(&k, "d.test", 60, "e.test");
    struct dns_answer *a = parse(&k, DNS_A);
    assert_int_equal(a->result, DNS_FOUND);
    assert_string_equal(a->name, "f.test");
    assert_int_equal(a->ttl_s, 50);
    assert_int_equal(a->aliases, 2);

    packet_begin(&k, 1, PACKET_ANSWER, "d.test", DNS_A);
    packet_cname(&k, "d.test", 60, "e.test");
    a = parse(&k, DNS_A);
    assert_int_equal(a->result, DNS_ALIAS);
    assert_string_equal(a->name, "e.test");

    packet_cname(&k, "e.test", 60, "d.test");
    assert_int_equal(parse(&k, DNS_A)->result, DNS_UNUSABLE);
    packet_address(&k, "d.test", 70, "8.8.8.8"); /* a loop stays one */
    assert_int_equal(parse(&k, DNS_A)->result, DNS_UNUSABLE);

    packet_begin(&k, 1, PACKET_ANSWER, "d.test", DNS_A);
    for (int i = 0; i < 17; i++)
        packet_cname(&k, "x.test", 60, "y.test");
    assert_int_equal(parse(&k, DNS_A)->result, DNS_UNUSABLE);
}

/* RDLENGTH too short, too long, absurd. */
static void wrong_lengths(void **state)
{
    (void)state;
    static struct packet k;
    for (size_t n = 0; n < 3; n++) { /* an MX of 0 to 2 bytes */
        begin_mx(&k);
        size_t data = packet_record(&k, IN_ANSWER, "d.test", DNS_MX, 60);
        add_bytes(&k, "\0\012\0", n);
        packet_end_record(&k, data);
        assert_int_equal(parse(&k, DNS_MX)->result, DNS_UNUSABLE);
    }
    begin_mx(&k);
    raw_mx(&k, "\2mx\0\0", 5); /* a byte behind the name */
    assert_int_equal(parse(&k, DNS_MX)->result, DNS_UNUSABLE);
    begin_mx(&k);
    raw_mx(&k, "\2mx", 3); /* no end; the next record would have to give one */
    packet_mx(&k, "d.test", 60, 10, "a.test");
    assert_int_equal(parse(&k, DNS_MX)->result, DNS_UNUSABLE);
    for (size_t n = 0; n < 20; n++) {
        packet_begin(&k, 1, PACKET_ANSWER, "d.test", DNS_A);
        size_t data = packet_record(&k, IN_ANSWER, "d.test", DNS_A, 60);
        add_bytes(&k, "\10\10\10\10abcdefghijklmnop", n);
        packet_end_record(&k, data);
        assert_int_equal(parse(&k, DNS_A)->result, n == 4 ? DNS_FOUND : DNS_UNUSABLE);
    }
    begin_mx(&k);
    packet_mx(&k, "d.test", 60, 10, "a.test");
    k.p[7] = 2; /* one record more than there are */
    assert_int_equal(parse(&k, DNS_MX)->result, DNS_UNUSABLE);
}

static void pointers(void **state)
{
    (void)state;
    static struct packet k;
    static const struct {
        const char *bytes;
        size_t n;
    } bad[] = {
        {"\xc0\xff", 2}, /* behind the end */
        {"\xff\xff", 2}, /* far behind the end */
        {"\1a\xc0", 3},  /* half a pointer */
        {"\x40", 1},     /* label types that nobody may use */
        {"\x80", 1},     {"\x41xx", 3},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin_mx(&k);
        raw_mx(&k, bad[i].bytes, bad[i].n);
        assert_int_equal(parse(&k, DNS_MX)->result, DNS_UNUSABLE);
    }
    /* to itself, and to the label in front of it */
    for (size_t back = 0; back < 3; back++) {
        begin_mx(&k);
        size_t data = packet_record(&k, IN_ANSWER, "d.test", DNS_MX, 60);
        packet_u16(&k, 10);
        if (back == 2)
            add_bytes(&k, "\1a", 2);
        packet_u16(&k, 0xc000 | (unsigned)(k.n - (back == 2 ? 2 : 0)));
        if (back == 1)
            add_bytes(&k, "\0", 1);
        packet_end_record(&k, data);
        assert_int_equal(parse(&k, DNS_MX)->result, DNS_UNUSABLE);
    }
}

static void names(void **state)
{
    (void)state;
    static struct packet k;
    /* well-formed, but nothing that a host may be called: left out, not fatal */
    static const struct {
        const char *bytes;
        size_t n;
    } refused[] = {
        {"\4a\nbc\4test", 11}, {"\4a bc\4test", 11},  {"\4a\0bc\4test", 11},
        {"\4a.bc\4test", 11},  {"\4a\\bc\4test", 11}, {"\2\xc3\xa9\4test", 9},
        {"\1*\4test", 8},      {"\1\x7f\4test", 8},   {"\1\t\4test", 8},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        begin_mx(&k);
        raw_mx(&k, refused[i].bytes, refused[i].n);
        packet_mx(&k, "d.test", 60, 20, "good.test");
        struct dns_answer *a = parse(&k, DNS_MX);
        assert_int_equal(a->result, DNS_FOUND);
        assert_int_equal(a->n, 1);
        assert_string_equal(a->mx[0].name, "good.test");
    }
    /* labels of 63 pass, a label of 64 cannot even be written; names of 255 octets
     * pass, longer ones break the answer */
    char label[64];
    memset(label, 'a', 63);
    label[63] = '\0';
    for (int last = 60; last < 64; last++) {
        char name[400];
        snprintf(name, sizeof name, "%s.%s.%s.%.*s", label, label, label, last, label);
        begin_mx(&k);
        packet_mx(&k, "d.test", 60, 10, name);
        struct dns_answer *a = parse(&k, DNS_MX);
        /* 3 * 64 + 1 + last + 1 octets */
        assert_int_equal(a->result, last <= 61 ? DNS_FOUND : DNS_UNUSABLE);
        assert_int_equal(dns_name_valid(name), last <= 61);
        if (a->result == DNS_FOUND)
            assert_string_equal(a->mx[0].name, name);
    }
    char longest[400];
    for (size_t i = 0; i < 310; i++)
        longest[i] = i % 10 == 9 ? '.' : 'a';
    memcpy(longest + 310, "test", 5);
    begin_mx(&k);
    packet_mx(&k, "d.test", 60, 10, longest);
    assert_int_equal(parse(&k, DNS_MX)->result, DNS_UNUSABLE);
}

static void caps(void **state)
{
    (void)state;
    static struct packet k;
    begin_mx(&k);
    for (unsigned i = 0; i < 100; i++) {
        char host[40];
        snprintf(host, sizeof host, "h%02u.test", i * 37 % 100);
        packet_mx(&k, "d.test", 60, i * 37 % 100, host);
    }
    struct dns_answer *a = parse(&k, DNS_MX);
    assert_int_equal(a->n, DNS_MX_MAX);
    for (int i = 0; i < a->n; i++)
        assert_int_equal(a->mx[i].preference, i);

    packet_begin(&k, 1, PACKET_ANSWER, "d.test", DNS_AAAA);
    for (int i = 0; i < 200; i++) {
        char text[40];
        snprintf(text, sizeof text, "2a00::%x", i / 2 + 1); /* each twice */
        packet_address(&k, "d.test", 60, text);
    }
    a = parse(&k, DNS_AAAA);
    assert_int_equal(a->n, DNS_ADDRESSES_MAX);
    assert_int_equal(a->addresses[7].bytes[15], 8);

    /* as full as an answer over TCP can be */
    packet_begin(&k, 1, PACKET_ANSWER, "d.test", DNS_A);
    while (k.n < 65000)
        packet_address(&k, "d.test", 60, "8.8.8.8");
    a = parse(&k, DNS_A);
    assert_int_equal(a->result, DNS_FOUND);
    assert_int_equal(a->n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_answer),
        cmocka_unit_test(compressed_names),
        cmocka_unit_test(cuts_and_changes),
        cmocka_unit_test(response_codes),
        cmocka_unit_test(not_our_answer),
        cmocka_unit_test(truncated),
        cmocka_unit_test(negative_answers),
        cmocka_unit_test(extended_response_code),
        cmocka_unit_test(chains),
        cmocka_unit_test(wrong_lengths),
        cmocka_unit_test(pointers),
        cmocka_unit_test(names),
        cmocka_unit_test(caps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
