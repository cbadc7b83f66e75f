/* Memory that is there or the program ends: out of memory is a message and exit 70, not
 * a limp. Any thread. The caller frees with free(). */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

/* Print "hikyaku: -3 LE out of memory" on standard error and exit with EX_OSERR (71). */
_Noreturn void die_oom(void);

void *mem_alloc(size_t n);                /* uninitialised; n may be 0 */
void *mem_zero(size_t count, size_t each); /* zeroed; overflow counts as out of memory */
void *mem_resize(void *p, size_t count, size_t each);
char *mem_strdup(const char *s);
char *mem_strndup(const char *p, size_t n); /* copies n bytes, adds a NUL */

#endif
