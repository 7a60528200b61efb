/*
 * health: the process that answers for the proxy.
 *
 * It serves the control socket, asks the relays of all generations, reads the
 * shared counters, and observes the hosts of the cell where that is configured.
 * It has no privileges and an empty root, and no session depends on it: when it
 * dies the parent starts another.
 */
#ifndef PROXY_HEALTH_H
#define PROXY_HEALTH_H

#include <openssl/ssl.h>

#include "daemon/jail.h"
#include "daemon/log.h"
#include "proxy/config.h"
#include "proxy/stats.h"
#include "proxy/tls.h"

struct health_settings {
	const struct config *config;
	struct log log;
	struct jail jail;
	SSL_CTX *back_context; /* for probes */
	const struct tls_front *front_tls;
	struct stats *stats;
	uint32_t generation;
	int metrics_fd; /* listening socket; -1: none */
	int control_fd; /* listening UNIX socket */
	/*
	 * SOCK_SEQPACKET with the parent: it sends "relay SLOT" and a channel
	 * for each relay, "auth" and one for the auth process; health sends
	 * "reload". Its end means to go.
	 */
	int parent_fd;
};

/* Runs until the parent closes its end. Returns the exit status. */
int health_run(const struct health_settings *settings);

#endif
