/*
 * front: what strangers say, until the user is known.
 *
 * Each protocol is a machine without I/O: octets of the client go in, octets
 * for the client come out, and the action says what the session does next. So
 * the same code serves sockets, tests and fuzzers.
 *
 * The machine takes off *input what it has understood; the session keeps the
 * rest and shows it again, with more behind it.
 */
#ifndef PROXY_FRONT_H
#define PROXY_FRONT_H

#include <stdbool.h>

#include "lib/buf.h"
#include "lib/service.h"
#include "proxy/offer.h"
#include "proxy/sasl.h"

#define FRONT_HELLO_SIZE                                                       \
	256 /* octets of a client's name for itself, and NUL                   \
	     */

enum front_action {
	FRONT_MORE,     /* send the output, wait for more input */
	FRONT_STARTTLS, /* send the output, drop all input that came with it,
			   then TLS */
	FRONT_RESPONSE, /* credentials.message answers the back end's challenge
			 */
	FRONT_LOGIN, /* credentials are complete; answer with accept or refuse
		      */
	FRONT_CLOSE  /* send the output, then close */
};

enum refusal_kind {
	REFUSAL_BACK, /* the back end's own words: text is its reply after the
			 tag */
	REFUSAL_CREDENTIALS, /* unknown user; said exactly as for a wrong
				password */
	REFUSAL_NOLOGIN, /* the account may not log in now: text says why, may
			    be empty */
	REFUSAL_UNAVAILABLE /* a temporary error of ours: text says which */
};

struct refusal {
	enum refusal_kind kind;
	struct slice text;
};

/* The bounds of one connection; they outlive every front. */
struct front_settings {
	const char *host_name;
	size_t line_size;
	size_t literal_size;
	unsigned bad_commands;
	const struct offers *offers; /* borrowed */
};

struct front {
	const struct front_protocol *protocol;
	const struct front_settings *settings; /* borrowed */
	bool tls;                              /* is on */
	bool tls_offered;                      /* STARTTLS may be said */
	bool plaintext;      /* credentials may come without TLS */
	unsigned mechanisms; /* a bit 1 << enum sasl_mechanism for each that is
				offered */
	unsigned bad_commands;
	struct credentials credentials; /* owned */
	struct sasl sasl;
	bool in_sasl;           /* the next line is a response, not a command */
	const char *closed_why; /* static: set with FRONT_CLOSE, for the log */
	bool utf8;              /* POP3: the client said UTF8 (RFC 6856) */
	char hello[FRONT_HELLO_SIZE]; /* SMTP: its EHLO, printable; or "" */
	void *state;                  /* the protocol's own; owned */
};

struct front_protocol {
	enum service_kind service;
	/* 0, or -1 without memory. */
	int (*open)(struct front *front);
	void (*close)(struct front *front);
	void (*greet)(struct front *front, struct buf *out);
	/* What is said when STARTTLS is done; NULL: nothing. */
	void (*secured)(struct front *front, struct buf *out);
	enum front_action (*input)(
	    struct front *front, struct slice *input, struct buf *out);
	/* Passes the back end's challenge on (octets, not base64); a RESPONSE
	 * will come, or with MORE the client gave up: in_sasl is false then. */
	void (*challenge)(
	    struct front *front, struct slice challenge, struct buf *out);
	/* reply: the back end's, after its tag; untagged: whole lines before
	 * it. */
	void (*accept)(struct front *front, struct slice reply,
	    struct slice untagged, struct buf *out);
	void (*refuse)(struct front *front, const struct refusal *refusal,
	    struct buf *out);
	/* The last word before we close: a time-out, or we are shutting down.
	 */
	void (*goodbye)(struct front *front, const char *text, struct buf *out);
};

/* NULL for a service that has no front yet. */
const struct front_protocol *front_protocol(enum service_kind service);

/* 0, or -1 without memory. tls: it is on from the first octet. */
int front_open(struct front *front, const struct front_protocol *protocol,
    const struct front_settings *settings);
/* Forgets all, the credentials wiped. Also takes a front of zeros. */
void front_close(struct front *front);

/* May credentials be said now? */
bool front_may_login(const struct front *front);
/* And as a plain password, by whatever command? */
bool front_takes_passwords(const struct front *front);

#endif
