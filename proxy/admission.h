/*
 * admission: who may come in, by the limits that hold for the whole host.
 *
 * A session holds what it was counted as until it ends. Limits that are not
 * configured cost nothing. Networks in limits.unlimited are not counted by
 * address. What has not logged in is counted by itself, and so are hubs that
 * have not sent any mail: nobody logs in there.
 */
#ifndef PROXY_ADMISSION_H
#define PROXY_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/relay.h"

/* What one session is counted as: keys of limits.h, 0 for none. */
struct admission {
	uint64_t address, waiting, user;
};

/* False: it is full, and the client was told and disconnected. */
bool admission_enter(struct relay *relay, const struct listener *listener,
    int fd, const union address *client, struct admission *held);
/* Its user is known for sure. False: the user has too many sessions. */
bool admission_log_in(struct relay *relay, const struct listener *listener,
    struct slice user, struct admission *held);
/* It is no stranger any more. */
void admission_settle(struct relay *relay, struct admission *held);
void admission_leave(struct relay *relay, struct admission *held);

#endif
