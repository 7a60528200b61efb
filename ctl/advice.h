/*
 * advice: what is left to do by hand on a host for which all was made.
 */
#ifndef CTL_ADVICE_H
#define CTL_ADVICE_H

#include <jansson.h>

/* Print it: on a cell's first host, on a further one, on one that was
 * restored, and where one was prepared for.
 */
void advice_first(const json_t *facts);
void advice_further(const json_t *facts);
void advice_kdc(const json_t *facts); /* of one that is nothing else */
void advice_restored(const json_t *facts);
void advice_prepared(const json_t *facts);

#endif
