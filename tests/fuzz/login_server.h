/*
 * login_server: servers that let everybody in, for sessions to get as far as
 * they can: IMAP, POP3, submission and ManageSieve until login.
 */
#ifndef TESTS_FUZZ_LOGIN_SERVER_H
#define TESTS_FUZZ_LOGIN_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/service.h"
#include "tests/fuzz/stage.h"

struct login_server {
	struct stage_peer *peer; /* borrowed */
	enum service_kind service;
	bool obeys; /* it answers what it is told, and well */
	bool greeted, secured, challenging;
	size_t heard; /* octets of it that were answered */
};

void login_server_open(struct login_server *server, struct stage_peer *peer,
    enum service_kind service);
/* True when it said something. */
bool login_server_turn(struct login_server *server);

#endif
