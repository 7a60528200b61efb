/*
 * providers: follows one of several providers, and another when that fails.
 *
 * At each moment there is at most one session (syncrepl.h) and one watch
 * (watch.h), both with the same provider. When it fails, the next in the list
 * is tried at once; after a round without success there is a pause, which
 * grows. When none can go on from our cookie, the next one is asked for all.
 */
#ifndef REPLICA_PROVIDERS_H
#define REPLICA_PROVIDERS_H

#include <stddef.h>

#include "replica/intake.h"
#include "replica/syncrepl.h"

#define PROVIDERS_MAX 64

struct providers;

/*
 * NULL without memory. options holds for all of them but for its URL. All is
 * borrowed. 0 < count <= PROVIDERS_MAX.
 */
struct providers *providers_new(struct event_base *base,
    const struct syncrepl_options *options, const char *const *urls,
    size_t count, struct intake *intake, struct status *status);
void providers_free(struct providers **providers);
/* Tries again now what would be tried again later. */
void providers_hurry(struct providers *providers);

/* For others who connect to providers; NULL on failure, owned by the caller. */
struct evdns_base *providers_resolver(struct event_base *base);

#endif
