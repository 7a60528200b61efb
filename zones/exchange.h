/*
 * exchange: one question to a server over TCP (RFC 7766), and its answers.
 *
 * Runs on an event loop and never blocks. Ends exactly once, by calling
 * `done`, never inside exchange_new(); the exchange is the caller's to free,
 * in `done` or at any time before.
 */
#ifndef ZONES_EXCHANGE_H
#define ZONES_EXCHANGE_H

#include <event2/event.h>

#include "lib/endpoint.h"
#include "lib/slice.h"

struct exchange;

enum exchange_next {
	EXCHANGE_MORE,
	EXCHANGE_DONE
};

/* Each message of the answer; borrowed for the call. */
typedef enum exchange_next exchange_message(
    void *context, struct slice message);
/* why: NULL when a message ended it, else what went wrong (static text). */
typedef void exchange_done(void *context, const char *why);

struct exchange_settings {
	struct event_base *base;
	const struct endpoint *server;
	int timeout;     /* s of silence; ten times that for the whole */
	size_t size_max; /* octets of all answers */
	exchange_message *message;
	exchange_done *done;
	void *context;
};

/* The message is copied. */
struct exchange *exchange_new(
    const struct exchange_settings *settings, struct slice message);
void exchange_free(struct exchange **exchange);

#endif
