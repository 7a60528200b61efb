/*
 * auth_protocol: what relays ask auth processes, and what they are answered.
 *
 * One datagram (SOCK_SEQPACKET) each way. A request opens with an id of the
 * relay's choice, and its answer has the same. Where the answer is CHALLENGE
 * the exchange goes on with MORE under that id, until another answer ends it
 * or the relay says CANCEL, which is not answered. Where it is KEPT the process
 * keeps under that id, until CANCEL, what the client gave to prove who it is;
 * an INITIATE to the same process may refer to it. Both sides belong to one
 * program and one generation, so there is no version; a datagram that makes no
 * sense is thrown away all the same. Pure.
 *
 *   request  id(4) kind(1) service(1) kept(4) stamp(8)
 *            name dn principal authorise pool host message
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
	 * principal as `name` and whose mailbox it wants as `authorise`. */
	AUTH_ACCEPT,
	/* GSSAPI at the back end `host`, for the mailbox of `authorise`, or by
	 * what is `kept`: CHALLENGE has what we say to it. */
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
	uint32_t kept;     /* id of what was KEPT; 0: nothing */
	uint64_t stamp;    /* of that account as it is now: another one, another
			      account */
	struct slice name; /* uid of who logs in, for masters and logs */
	struct slice dn;   /* of that account */
	struct slice principal; /* likewise; empty: as the uid says */
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
	AUTH_KEPT,     /* as ACCEPTED */
	AUTH_UNSUITED, /* what the client gave does not do for that server:
			  `message` tells the user */
	AUTH_VERDICT_COUNT
};

/* How a relay logs in at back ends. */
enum auth_login {
	AUTH_LOGIN_PASSWORD, /* with what the client said */
	AUTH_LOGIN_MASTER,   /* as `name` with `password`, for the user */
	AUTH_LOGIN_GSSAPI,   /* by INITIATE */
	AUTH_LOGIN_TICKET,   /* likewise, whose first answer is the verdict on
				the password too */
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
	struct slice message;  /* CHALLENGE: for the other side */
	struct slice why;      /* for the log */
};

/* Add a datagram to an empty buffer; out->failed where it does not fit. */
void auth_request_write(struct buf *out, const struct auth_request *request);
void auth_answer_write(struct buf *out, const struct auth_answer *answer);

/* 0; or -1 for what is none. Text is borrowed from the datagram. */
int auth_request_read(struct auth_request *request, struct slice datagram);
int auth_answer_read(struct auth_answer *answer, struct slice datagram);

#endif
