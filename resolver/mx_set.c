#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "resolver/mx.h"

/* A set is one piece of memory: the struct, its hosts, all addresses, all text. */

static size_t text_size(const char *s)
{
    return s ? strlen(s) + 1 : 1;
}

static char *put_text(char **at, const char *s)
{
    char *out = *at;
    size_t n = text_size(s);
    memcpy(out, s ? s : "", n);
    *at += n;
    return out;
}

struct mx_set *mx_set_copy(const struct mx_set *model)
{
    size_t size = sizeof *model + (size_t)model->hosts_n * sizeof *model->hosts +
                  text_size(model->words) + text_size(model->site) +
                  text_size(model->key);
    for (int i = 0; i < model->hosts_n; i++)
        size += (size_t)model->hosts[i].addresses_n * sizeof(struct ip) +
                text_size(model->hosts[i].name);

    struct mx_set *s = mem_alloc(size);
    *s = *model;
    s->references = 1;
    s->hosts = (struct mx_host *)(s + 1);
    struct ip *ips = (struct ip *)(s->hosts + s->hosts_n);
    for (int i = 0; i < s->hosts_n; i++) {
        const struct mx_host *from = &model->hosts[i];
        s->hosts[i] = *from;
        s->hosts[i].addresses = ips;
        memcpy(ips, from->addresses, (size_t)from->addresses_n * sizeof *ips);
        ips += from->addresses_n;
    }
    char *text = (char *)ips;
    for (int i = 0; i < s->hosts_n; i++)
        s->hosts[i].name = put_text(&text, model->hosts[i].name);
    s->words = put_text(&text, model->words);
    s->site = put_text(&text, model->site);
    s->key = put_text(&text, model->key);
    assert(text == (char *)s + size);
    return s;
}

struct mx_set *mx_set_ref(struct mx_set *s)
{
    s->references++;
    return s;
}

void mx_set_unref(struct mx_set *s)
{
    if (!s)
        return;
    assert(s->references > 0);
    if (--s->references == 0)
        free(s);
}

struct candidate {
    struct mx_target target;
    int group;         /* 0: hosts of the best preference, 1: of the next … */
    int nth;           /* among the addresses of its host, families in turn */
    bool other_family; /* nth == 1, and not of the family of the first */
};

struct pool {
    int n;
    struct candidate all[MX_HOSTS_MAX * MX_HOST_ADDRESSES_MAX];
};

static void shuffle(int *order, int n, struct rng *rng)
{
    for (int i = n - 1; i > 0; i--) {
        int j = (int)rng_below(rng, (uint32_t)i + 1);
        int swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}

/* A host's addresses in random order, but the families in turn. */
static void add_host(struct pool *p, const struct mx_host *host, int group,
                     struct rng *rng)
{
    int order[MX_HOST_ADDRESSES_MAX];
    int n = host->addresses_n;
    for (int i = 0; i < n; i++)
        order[i] = i;
    shuffle(order, n, rng);
    bool used[MX_HOST_ADDRESSES_MAX] = {false};
    bool v4 = false;
    for (int nth = 0; nth < n; nth++) {
        int take = -1;
        for (int i = 0; i < n; i++) {
            if (used[i])
                continue;
            bool wanted = nth == 0 || ip_is_v4(&host->addresses[order[i]]) != v4;
            if (wanted || take < 0)
                take = i;
            if (wanted)
                break;
        }
        used[take] = true;
        const struct ip *ip = &host->addresses[order[take]];
        p->all[p->n++] = (struct candidate){{host->name, host->preference, *ip},
                                            group,
                                            nth,
                                            nth == 1 && ip_is_v4(ip) != v4};
        v4 = ip_is_v4(ip);
    }
}

static void fill(struct pool *p, const struct mx_set *s, struct rng *rng)
{
    int group = 0;
    int from = 0;
    while (from < s->hosts_n) {
        int order[MX_HOSTS_MAX];
        int n = 0;
        while (from + n < s->hosts_n &&
               s->hosts[from + n].preference == s->hosts[from].preference) {
            order[n] = from + n;
            n++;
        }
        shuffle(order, n, rng);
        for (int i = 0; i < n; i++)
            add_host(p, &s->hosts[order[i]], group, rng);
        from += n;
        group++;
    }
}

/* Who is taken first: each best host once; each in its other family; each worse host
 * once, so that one big host cannot fill the whole attempt; then what is left. */
static int tier(const struct candidate *c)
{
    if (c->group == 0 && c->nth == 0)
        return 0;
    if (c->group == 0 && c->other_family)
        return 1;
    return c->nth == 0 ? 2 : 2 + c->nth;
}

/* With five of one family taken, a host that has only the other would never be tried.
 */
static void mix_families(const struct pool *p, const struct candidate **taken, int n)
{
    for (int i = 1; i < n; i++)
        if (ip_is_v4(&taken[i]->target.address) != ip_is_v4(&taken[0]->target.address))
            return;
    for (int i = 0; i < p->n && n > 1; i++) {
        const struct candidate *c = &p->all[i];
        if (ip_is_v4(&c->target.address) != ip_is_v4(&taken[0]->target.address)) {
            taken[n - 1] = c;
            return;
        }
    }
}

int mx_targets(const struct mx_set *s, struct rng *rng,
               struct mx_target out[MX_TARGETS_MAX])
{
    assert(s->hosts_n <= MX_HOSTS_MAX);
    struct pool p;
    p.n = 0;
    fill(&p, s, rng);
    const struct candidate *taken[MX_TARGETS_MAX];
    int n = 0;
    for (int t = 0; t < 2 + MX_HOST_ADDRESSES_MAX && n < MX_TARGETS_MAX; t++)
        for (int i = 0; i < p.n && n < MX_TARGETS_MAX; i++)
            if (tier(&p.all[i]) == t)
                taken[n++] = &p.all[i];
    mix_families(&p, taken, n);

    int written = 0;
    for (int group = 0; written < n; group++)
        for (int i = 0; i < n; i++)
            if (taken[i]->group == group)
                out[written++] = taken[i]->target;
    return n;
}
