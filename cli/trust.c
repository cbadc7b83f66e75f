#include "cli/trust.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { VERSIONS = CONF_TLS_VERSION_1_3 + 1, VERSION_FIRST = 10 };

static int find(const struct trust *t, const char *file)
{
    int i = 0;
    while (i < t->files_n && strcmp(t->files[i], file) != 0)
        i++;
    return i;
}

static bool somebody_verifies(const struct conf *conf)
{
    bool verifies = conf->policy.tls == CONF_TLS_VERIFY;
    for (int i = 0; i < conf->rules_n && !verifies; i++)
        verifies = conf->rules[i].values->policy.tls == CONF_TLS_VERIFY;
    return verifies;
}

/* from: the settings, or the values of a section. */
static bool take_file(struct trust *t, const struct conf *from, bool verifies,
                      struct fault *f)
{
    const char *file = from->policy.tls_ca_file;
    struct tls_authorities **to = &t->authorities[t->files_n];
    if (!file || find(t, file) < t->files_n)
        return true;
    t->files[t->files_n++] = file;
    if (!*file && !verifies)
        return true;
    struct fault why = {0};
    *to = tls_authorities_read(file, &why);
    if (*to)
        return true;
    struct buf place = {0};
    conf_place(&place, from, "tls_ca_file");
    fault_set(f, why.code, "%s: tls_ca_file: %s", buf_cstr(&place), why.words);
    buf_finish(&place);
    return false;
}

bool trust_open(struct trust *t, const struct conf *conf, struct fault *f)
{
    bool verifies = somebody_verifies(conf);
    size_t most = (size_t)conf->rules_n + 1;
    *t = (struct trust){0};
    t->files = mem_zero(most, sizeof *t->files);
    t->authorities = mem_zero(most, sizeof(struct tls_authorities *));
    if (!take_file(t, conf, verifies, f))
        return false;
    for (int i = 0; i < conf->rules_n; i++)
        if (!take_file(t, conf->rules[i].values, verifies, f))
            return false;
    t->kinds_n = t->files_n * VERSIONS;
    t->kinds = mem_zero((size_t)t->kinds_n, sizeof *t->kinds);
    for (int i = 0; i < t->kinds_n; i++)
        t->kinds[i] = (struct tls_client_params){t->authorities[i / VERSIONS],
                                                 VERSION_FIRST + i % VERSIONS};
    return true;
}

void trust_close(struct trust *t)
{
    for (int i = 0; i < t->files_n; i++)
        tls_authorities_free(t->authorities[i]);
    free(t->authorities);
    free(t->files);
    free(t->kinds);
    *t = (struct trust){0};
}

int trust_kind(const struct trust *t, const struct conf_policy *p)
{
    int file = find(t, p->tls_ca_file);
    assert(file < t->files_n);
    return file * VERSIONS + (int)p->tls_min_version;
}
