/*
 * auth_protocol: what relays ask auth processes, and what they are answered.
 *
 * One datagram (SOCK_SEQPACKET) each way. A request opens with an id of the
 * relay's choice, and its answer has the same. Where the answer is CHALLENGE
 * the exchange goes on with MORE under that id, until another answer ends it
 * or the relay says CANCEL, which is not answered. Both sides belong to one
 * program and one generation, so there is no version; a datagram that makes no
 * sense is thrown away all the same. Pure.
 *
 *   request  id(4) kind(1) service(1) name dn authorise pool host message
 *   answer   id(4) verdict(1) login(1) name authorise password message why
 *
 * with numbers in network order, and texts as size(2) and octets.
 */
#ifndef PROXY_AUTH_PROTOCOL_H
#define PROXY_AUTH_PROTOCOL_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/service.h"

#define AUTH_PROTOCOL_SIZE_MAX 65536 /* octets of a datagram */

enum auth_kind {
	/* Is `message` the password of `dn`? ACCEPTED comes with what GRANT
	 * would have said. */
	AUTH_PASSWORD,
	/* How does the relay log in at a server of `pool`, for `name` who is
	 * known already, to the mailbox of `authorise`? */
	AUTH_GRANT,
	/* A client's GSSAPI: `message` is its first; ACCEPTED tells its
	 * principal as `name`, whose mailbox it wants as `authorise`, and as
	 * `message` the uid of the account that it is if none has that
	 * principal, where there may be one. */
	AUTH_ACCEPT,
	/* GSSAPI at the back end `host`, for the mailbox of `authorise`:
	 * CHALLENGE has what we say to it. */
	AUTH_INITIATE,
	AUTH_MORE,   /* `message` goes on with an exchange */
	AUTH_CANCEL, /* nobody waits any more */
	AUTH_KIND_COUNT
};

/* All text is borrowed. */
struct auth_request {
	uint32_t id;
	enum auth_kind kind;
	enum service_kind service;
	struct slice name;      /* uid of who logs in, for masters and logs */
	struct slice dn;        /* of that account */
	struct slice authorise; /* uid of whose mailbox; empty: their own */
	struct slice pool;      /* of the mailbox; empty: the default one */
	struct slice host;      /* of the back end */
	struct slice message;   /* secret */
};

enum auth_verdict {
	AUTH_ACCEPTED,
	AUTH_REFUSED,
	AUTH_UNAVAILABLE, /* nobody can say: a temporary error */
	AUTH_CHALLENGE,
	AUTH_VERDICT_COUNT
};

/* How a relay logs in at back ends. */
enum auth_login {
	AUTH_LOGIN_PASSWORD, /* with what the client said */
	AUTH_LOGIN_MASTER,   /* as `name` with `password`, for the user */
	AUTH_LOGIN_GSSAPI,   /* by INITIATE */
	AUTH_LOGIN_COUNT
};

/* All text is borrowed. */
struct auth_answer {
	uint32_t id;
	enum auth_verdict verdict;
	enum auth_login login;
	struct slice name;
	struct slice authorise;
	struct slice password; /* secret */
	struct slice message;  /* CHALLENGE: for the other side; see ACCEPT */
	struct slice why;      /* for the log */
};

/* Add a datagram to an empty buffer; out->failed where it does not fit. */
void auth_request_write(struct buf *out, const struct auth_request *request);
void auth_answer_write(struct buf *out, const struct auth_answer *answer);

/* 0; or -1 for what is none. Text is borrowed from the datagram. */
int auth_request_read(struct auth_request *request, struct slice datagram);
int auth_answer_read(struct auth_answer *answer, struct slice datagram);

#endif
