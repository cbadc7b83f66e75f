/* Settings as text, for the tests of conf/: a folder that vanishes, and loads that must
 * be good or bad. */
#ifndef TESTS_CONF_HELP_H
#define TESTS_CONF_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf/conf.h"

#define H "hostname = h.example spool = '/s' workers = 1\n"

static char folder[] = "/tmp/hikyaku-conf.XXXXXX";

static inline int enter_folder(void **state)
{
    (void)state;
    return !mkdtemp(folder) || chdir(folder);
}

static inline int remove_folder(void **state)
{
    (void)state;
    unlink("a.conf");
    unlink("b.conf");
    return chdir("/") || rmdir(folder);
}

static inline void file(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static inline struct conf *good(const char *text)
{
    struct fault f = {0};
    file("a.conf", text);
    struct conf *c = conf_load("a.conf", false, &f);
    if (!c)
        fail_msg("%s", f.words);
    return c;
}

static inline void bad(const char *text, int code, const char *words)
{
    struct fault f = {0};
    file("a.conf", text);
    assert_null(conf_load("a.conf", false, &f));
    assert_string_equal(f.words, words);
    assert_int_equal(f.code, code);
}

#endif
