/*
 * auth_peer: an auth process as relays see it, for sessions whose logins the
 * proxy verifies. What it answers is in the password or the message: "wrong",
 * "later", "silent", "master", "ticket"; else all is right.
 */
#ifndef TESTS_FUZZ_AUTH_PEER_H
#define TESTS_FUZZ_AUTH_PEER_H

#include <stdbool.h>

#include "tests/fuzz/stage.h"

/* Gives the stage's relay an auth process; its end of the channel. */
int auth_peer_open(struct stage *stage);
/* True when it answered something. */
bool auth_peer_turn(int fd);

#endif
