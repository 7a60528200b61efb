/*
 * password: what is a password at all, the same at every door.
 *
 * Doors differ in what they do with an odd one: one cuts it at a NUL, another
 * takes an empty one for nobody. So each asks here first.
 */
#ifndef LIB_PASSWORD_H
#define LIB_PASSWORD_H

#include <stddef.h>

#include "lib/slice.h"

#define PASSWORD_SIZE_MAX   1024 /* octets, where nothing else is configured */
#define PASSWORD_SIZE_BOUND 4096 /* octets that may be configured */

/*
 * NULL; or why it is none (static text): empty, longer than size_max octets,
 * a NUL in it, or not UTF-8.
 */
const char *password_fault(struct slice password, size_t size_max);

#endif
