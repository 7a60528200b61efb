/*
 * auth: the processes that hold what the directory knows us by.
 *
 * They run as a user of their own, outside the chroot, and serve nobody but
 * this proxy's other processes. One of them, where the proxy observes, writes
 * votes (auth_votes.h) and may block over it. The others answer relays
 * (auth_protocol.h): whether a password is right, by binds that do not block
 * (auth_bind.h), and how a relay logs in at a back end. Each relay has a
 * channel (SOCK_SEQPACKET) to each of them, which the parent hands to both.
 *
 * An auth process that dies is started anew; requests that it had are asked
 * again by their relays. Once retired it serves for as long as sessions that
 * were there before may take to log in.
 */
#ifndef PROXY_AUTH_H
#define PROXY_AUTH_H

#include "daemon/jail.h"
#include "daemon/log.h"
#include "proxy/config.h"

struct auth_settings {
	const struct config *config;
	struct log log;
	struct jail jail; /* its own user, no chroot */
	/* Closed by the parent: end. It sends "relay" and a channel. */
	int parent_fd;
	/* SOCK_SEQPACKET: the observer's votes; -1: it answers relays. */
	int health_fd;
};

/* Runs until the parent closes its end. Returns the exit status. */
int auth_run(const struct auth_settings *settings);

/*
 * Reads the first line of a file with a password; 0, or -1 (errno). The buffer
 * is the caller's, bounded by the size that a password may have.
 */
int auth_read_password(const char *path, struct buf *password);

#endif
