#include "base/address.h"

#include <assert.h>
#include <idn2.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/text.h"

/* What an ASCII character may stand in. */
enum {
    A = 1, /* atext, RFC 5322 3.2.3 */
    H = 2, /* host name: letters, digits, hyphen, underscore */
    D = 4, /* digit */
    U = 8, /* upper-case letter */
    L = A | H,
    N = A | H | D,
    C = A | H | U,
};
/* clang-format off */
static const unsigned char kinds[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
/*     !  "  #  $  %  &  '  (  )  *  +  ,  -  .  / */
    0, A, 0, A, A, A, A, A, 0, 0, A, A, 0, L, 0, A,
/*  0  1  2  3  4  5  6  7  8  9  :  ;  <  =  >  ? */
    N, N, N, N, N, N, N, N, N, N, 0, 0, 0, A, 0, A,
/*  @  A  B  C  D  E  F  G  H  I  J  K  L  M  N  O */
    0, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C,
/*  P  Q  R  S  T  U  V  W  X  Y  Z  [  \  ]  ^  _ */
    C, C, C, C, C, C, C, C, C, C, C, 0, 0, 0, A, L,
/*  `  a  b  c  d  e  f  g  h  i  j  k  l  m  n  o */
    A, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
/*  p  q  r  s  t  u  v  w  x  y  z  {  |  }  ~    */
    L, L, L, L, L, L, L, L, L, L, L, A, A, A, A, 0,
};
/* clang-format on */

enum {
    LABEL_MAX = 63,       /* RFC 1035 2.3.4 */
    IDN_INPUT_MAX = 1024, /* octets of UTF-8 that are tried as a domain */
};
/* Every byte of a local part escaped, quotes and @: put_local checks the length at
 * last. */
_Static_assert(2 * ADDRESS_LOCAL_MAX + 3 <= ADDRESS_MAX, "quoting must fit");

static const char too_long_local[] = "the local part is longer than 64 octets";
static const char too_long_domain[] = "the domain is longer than 253 octets";
static const char too_long[] = "the address is longer than 254 octets";

static unsigned kind_of(char c)
{
    return kinds[(unsigned char)c];
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

static struct span trim(struct span s)
{
    while (s.n && s.p[0] == ' ') {
        s.p++;
        s.n--;
    }
    while (s.n && s.p[s.n - 1] == ' ')
        s.n--;
    return s;
}

/* Why an unquoted local part ends at `at`, where no @ stands. */
static const char *blame_local(struct span text, size_t at)
{
    if (at == text.n)
        return "there is no @";
    char c = text.p[at];
    if (is_control(c))
        return "a control character stands in the local part";
    if (memchr(text.p, '<', text.n) || memchr(text.p, '>', text.n))
        return "a display name or <>: only the bare address can stand here";
    if (c == ' ')
        return "a space stands in the local part";
    if ((unsigned char)c >= 0x80)
        return "the local part is not ASCII";
    return "the local part holds a character that needs quotes";
}

/* May it stand without quotes: is it a dot-string (RFC 5321 4.1.2)? */
static bool is_dot_string(const char *local, size_t n)
{
    bool good = local[0] != '.' && local[n - 1] != '.';
    for (size_t i = 0; i < n && good; i++)
        good = local[i] == '.' ? local[i + 1] != '.' : kind_of(local[i]) & A;
    return good;
}

/* Write the local part and its @, quoted if the dots or characters ask for it. It comes
 * unescaped, with at least one byte and at most ADDRESS_LOCAL_MAX. */
static const char *put_local(struct address *out, const char *local, size_t n)
{
    char *to = out->text;
    if (is_dot_string(local, n)) {
        memcpy(to, local, n);
        to += n;
    } else {
        *to++ = '"';
        for (size_t i = 0; i < n; i++) {
            if (local[i] == '"' || local[i] == '\\')
                *to++ = '\\';
            *to++ = local[i];
        }
        *to++ = '"';
    }
    if (to - out->text > ADDRESS_LOCAL_MAX)
        return too_long_local;
    *to++ = '@';
    out->domain_at = (unsigned char)(to - out->text);
    return NULL;
}

/* A quoted local part: *text stands on its first quote. */
static const char *take_quoted(struct span *text, struct address *out)
{
    char local[ADDRESS_LOCAL_MAX];
    size_t n = 0;
    size_t i = 1;
    for (; i < text->n && text->p[i] != '"'; i++) {
        if (text->p[i] == '\\' && i + 1 < text->n)
            i++;
        char c = text->p[i];
        if (is_control(c))
            return "a control character stands in the local part";
        if (c == ' ')
            return "a space stands in the local part";
        if ((unsigned char)c >= 0x80)
            return "the local part is not ASCII";
        if (n == sizeof local)
            return too_long_local;
        local[n++] = c;
    }
    if (i == text->n)
        return "the quoted local part has no end";
    i++;
    if (i == text->n)
        return "there is no @";
    if (text->p[i] != '@')
        return blame_local((struct span){text->p + i, text->n - i}, 0);
    if (n == 0)
        return "nothing stands before the @";
    text->p += i + 1;
    text->n -= i + 1;
    return put_local(out, local, n);
}

/* Write the local part and @ to out, and leave *text behind the @. */
static const char *take_local(struct span *text, struct address *out)
{
    if (text->p[0] == '"')
        return take_quoted(text, out);
    size_t n = 0;
    while (n < text->n && (kind_of(text->p[n]) & A || text->p[n] == '.'))
        n++;
    if (n == text->n || text->p[n] != '@')
        return blame_local(*text, n);
    if (n == 0 && memchr(text->p, ':', text->n))
        return "a source route cannot be used";
    if (n == 0)
        return "nothing stands before the @";
    if (n > ADDRESS_LOCAL_MAX)
        return too_long_local;
    const char *local = text->p;
    text->p += n + 1;
    text->n -= n + 1;
    return put_local(out, local, n);
}

/* Why a byte that no host name has stands in the domain. */
static const char *blame_domain(char c)
{
    if (c == '@')
        return "there is more than one @";
    if (is_control(c))
        return "a control character stands in the domain";
    if (c == ' ')
        return "a space stands in the domain";
    if (c == '<' || c == '>')
        return "a display name or <>: only the bare address can stand here";
    return "the domain holds a character that no host name has";
}

static const char *check_label(const char *label, size_t n)
{
    if (n == 0)
        return "the domain has an empty label or a trailing dot";
    if (n > LABEL_MAX)
        return "a label of the domain is longer than 63 octets";
    if (label[0] == '-' || label[n - 1] == '-')
        return "a label of the domain begins or ends with a hyphen";
    return NULL;
}

/* Write an ASCII domain in lower case to out; *ace_out: a label begins with xn--. */
static const char *put_domain(struct span domain, struct address *out, bool *ace_out)
{
    if (domain.n > ADDRESS_DOMAIN_MAX)
        return too_long_domain;
    if (out->domain_at + domain.n > ADDRESS_MAX)
        return too_long;
    char *to = out->text + out->domain_at;
    unsigned all = 0;    /* kinds that some character has */
    unsigned each = ~0u; /* kinds that every character of the label has */
    size_t label = 0;
    *ace_out = false;
    for (size_t i = 0;; i++) {
        if (i == domain.n || domain.p[i] == '.') {
            const char *why = check_label(to + label, i - label);
            if (why)
                return why;
            *ace_out |= i - label >= 4 && memcmp(to + label, "xn--", 4) == 0;
            if (i == domain.n)
                break;
            to[i] = '.';
            label = i + 1;
            each = ~0u;
            continue;
        }
        unsigned kind = kind_of(domain.p[i]);
        if (!(kind & H))
            return blame_domain(domain.p[i]);
        all |= domain.p[i] == '_' || domain.p[i] == '-' ? 0 : kind;
        each &= kind;
        to[i] = (char)(kind & U ? domain.p[i] | 0x20 : domain.p[i]);
    }
    if (all == 0)
        return "the domain has neither letters nor digits";
    if (each & D) /* RFC 3696 2: a top-level domain is never a number */
        return "the domain ends in a number";
    to[domain.n] = '\0';
    out->n = (unsigned char)(out->domain_at + domain.n);
    return NULL;
}

/* The domain in A-labels, freed by the caller with idn2_free; NULL: it has none. */
static char *to_ascii(struct span domain)
{
    char input[IDN_INPUT_MAX + 1];
    if (domain.n > IDN_INPUT_MAX || memchr(domain.p, '\0', domain.n))
        return NULL;
    memcpy(input, domain.p, domain.n);
    input[domain.n] = '\0';
    char *ascii = NULL;
    int rc = idn2_to_ascii_8z(input, &ascii, IDN2_NONTRANSITIONAL);
    if (rc == IDN2_MALLOC)
        die_oom();
    return rc == IDN2_OK ? ascii : NULL;
}

static const char *put_idn_domain(struct span domain, struct address *out)
{
    if (!utf8_valid(domain))
        return "the domain is not UTF-8";
    if (domain.n > IDN_INPUT_MAX)
        return too_long_domain;
    for (size_t i = 0; i < domain.n; i++) /* better words than "not a name" */
        if ((unsigned char)domain.p[i] < 0x80 && domain.p[i] != '.' &&
            !(kind_of(domain.p[i]) & H))
            return blame_domain(domain.p[i]);
    char *ascii = to_ascii(domain);
    if (!ascii)
        return "the domain is not a valid internationalised name";
    bool ace;
    /* The mapping may bring forth anything, "/" and "@" among it: checked like the
     * rest. */
    const char *why = put_domain(span_of(ascii), out, &ace);
    idn2_free(ascii);
    return why;
}

static const char *take_domain(struct span domain, struct address *out)
{
    if (domain.n == 0)
        return "nothing stands behind the @";
    if (domain.p[0] == '[')
        return "an address literal cannot be used";
    for (size_t i = 0; i < domain.n; i++)
        if ((unsigned char)domain.p[i] >= 0x80)
            return put_idn_domain(domain, out);
    bool ace;
    const char *why = put_domain(domain, out, &ace);
    if (why || !ace)
        return why;
    struct span given = {out->text + out->domain_at, domain.n};
    char *ascii = to_ascii(given);
    bool valid = ascii && span_equal(span_of(ascii), given);
    idn2_free(ascii);
    return valid ? NULL
                 : "a label of the domain begins with xn-- but is no valid A-label";
}

enum address_result address_parse(struct span text, struct address *out)
{
    out->text[0] = '\0';
    out->n = out->domain_at = 0;
    out->why = NULL;
    text = trim(text);
    if (text.n == 0)
        return ADDRESS_EMPTY;
    const char *why = take_local(&text, out);
    if (!why)
        why = take_domain(text, out);
    if (why) {
        out->text[0] = '\0';
        out->n = out->domain_at = 0;
        out->why = why;
        return ADDRESS_BAD;
    }
    assert(out->n > out->domain_at && out->n <= ADDRESS_MAX);
    return ADDRESS_OK;
}
