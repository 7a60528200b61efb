/*
 * parent_state: what the parent process knows, for the files that carry it:
 * parent.c (prepares, reloads, stops) and children.c (who runs).
 */
#ifndef PROXY_PARENT_STATE_H
#define PROXY_PARENT_STATE_H

#include <signal.h>

#include "proxy/config.h"
#include "proxy/handover.h"
#include "proxy/listen.h"
#include "proxy/stats.h"
#include "proxy/tls.h"

struct parent {
	char *const *argv;
	const char *config_path;
	struct config *config;
	struct log log;
	struct jail jail, auth_jail;
	struct tls_front *front_tls; /* owned */
	SSL_CTX *back_context;
	struct listener *listeners;
	size_t listener_count;
	struct handover_listener metrics; /* fd -1: none */
	struct stats *stats;
	struct handover now; /* what stands, as it would be handed over */
	int signal_fd;
	sigset_t signals;
	pid_t check_pid;       /* tries out a reload; 0: none */
	int64_t start_from_ms; /* no child is started before */
	uint64_t files;        /* of TLS, as they were last taken or refused */
	uint64_t seen_files;   /* as they were at the last look */
	int64_t look_ms;       /* when the next look is due */
	bool stopping;
};

#endif
