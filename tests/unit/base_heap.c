/* The heap against a plain search, over random acts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/heap.h"
#include "base/rng.h"

enum { NODES = 200, ACTS = 50000 };

static int64_t least(const struct heap_node *nodes)
{
    int64_t key = INT64_MAX;
    for (int i = 0; i < NODES; i++)
        if (nodes[i].at && nodes[i].key < key)
            key = nodes[i].key;
    return key;
}

static void the_least_is_always_first(void **state)
{
    (void)state;
    struct heap h = {0};
    struct heap_node nodes[NODES] = {0};
    struct rng rng = {.state = 3};
    assert_null(heap_first(&h));
    for (int i = 0; i < ACTS; i++) {
        struct heap_node *node = &nodes[rng_below(&rng, NODES)];
        switch (rng_below(&rng, 4)) {
        case 0:
            heap_remove(&h, node);
            assert_int_equal(node->at, 0);
            break;
        case 1:
            if (heap_first(&h))
                heap_remove(&h, heap_first(&h));
            break;
        default:
            heap_set(&h, node, (int64_t)rng_below(&rng, 1000));
        }
        const struct heap_node *first = heap_first(&h);
        assert_int_equal(first ? first->key : INT64_MAX, least(nodes));
    }
    for (int64_t key = 0; heap_first(&h); heap_remove(&h, heap_first(&h))) {
        assert_true(heap_first(&h)->key >= key);
        key = heap_first(&h)->key;
    }
    heap_finish(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_is_always_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
