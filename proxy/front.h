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
	REFUSAL_UNAVAILABLE, /* a temporary error of ours: text says which */
	REFUSAL_LIMIT,       /* too many sessions of this user: text says so */
	REFUSAL_KIND_COUNT
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

/* What is wrong with what a client said. */
enum front_fault {
	FRONT_FAULT_COMMAND,   /* there is no such command */
	FRONT_FAULT_ARGUMENT,  /* not with these arguments */
	FRONT_FAULT_ORDER,     /* not now */
	FRONT_FAULT_ABSENT,    /* not here */
	FRONT_FAULT_LOGIN,     /* not before login */
	FRONT_FAULT_LINE,      /* the octets of its line */
	FRONT_FAULT_SIZE,      /* of its literal */
	FRONT_FAULT_CANCELLED, /* an exchange of SASL that the client gave up */
	FRONT_FAULT_RESPONSE,  /* one of SASL that cannot be read */
	/* A program may well try these. */
	FRONT_FAULT_UNCOUNTED,
	FRONT_FAULT_MECHANISM =
	    FRONT_FAULT_UNCOUNTED, /* not this one of SASL */
	FRONT_FAULT_PASSWORD,      /* no passwords */
	FRONT_FAULT_PRIVACY,       /* no credentials without TLS */
	FRONT_FAULT_CREDENTIALS,   /* they are none */
	FRONT_FAULT_COUNT
};

/* Where a command is legal, and what it needs. */
enum front_flag {
	FRONT_BEFORE_TLS = 1,  /* only while TLS is offered and not on */
	FRONT_CREDENTIALS = 2, /* only where credentials may be said */
	FRONT_BARE = 4,        /* takes no argument */
	FRONT_PASSWORD = 8     /* only where passwords are taken */
};

struct front_command {
	const char *name;
	unsigned flags; /* enum front_flag */
	enum front_action (*run)(
	    struct front *front, struct slice arguments, struct buf *out);
};

/* What was cut off the input: a command, or a response of SASL. */
enum front_unit {
	FRONT_UNIT_MORE, /* not complete */
	FRONT_UNIT_DONE,
	FRONT_UNIT_CONTINUE, /* the client waits for leave to say its literal */
	FRONT_UNIT_FAULTY,   /* complete, but not to be understood: why */
	FRONT_UNIT_TOO_LARGE, /* complete, but for a literal: why */
	FRONT_UNIT_FLOOD      /* nothing that follows can be: why */
};

/*
 * A protocol: its words and its commands. Words stand before a text of ours, in
 * plain English, and line_end behind it.
 */
struct front_protocol {
	const struct front_command *commands;
	size_t command_count;
	size_t state_size;    /* of front->state, which begins as zeros */
	const char *starttls; /* how TLS is asked for */
	const char *fault;    /* of a command that is not run */
	const char *faults[FRONT_FAULT_COUNT]; /* where not NULL, instead */
	const char *bye;                       /* before we close: its fault */
	const char *goodbye;                   /* before we close: our own */
	const char *refusals[REFUSAL_KIND_COUNT]; /* of a login; not of BACK */
	/* Where not NULL, how a server begins that does not take the password:
	 * it is said in our words, lest they tell who has an account. */
	const char *wrong;
	const char *line_end;

	/* Where not NULL, before and after all else. */
	void (*open)(struct front *front);
	void (*close)(struct front *front);
	void (*greet)(struct front *front, struct buf *out);
	/* What is said when STARTTLS is done; NULL: nothing. */
	void (*secured)(struct front *front, struct buf *out);
	/* Cuts off *input what front_unit.h would, by one of its functions. */
	enum front_unit (*take)(struct front *front, struct slice *input,
	    struct slice *text, struct buf *out, const char **why);
	/* A command: front_run() with its parts. */
	enum front_action (*run)(
	    struct front *front, struct slice text, struct buf *out);
	/* A response of SASL: front_sasl_respond() with its base64. */
	enum front_action (*respond)(
	    struct front *front, struct slice text, struct buf *out);
	/* A whole line with a challenge, base64 of it. */
	void (*add_challenge)(struct buf *out, struct slice base64);
	/* Before a reply to a command; NULL: nothing. */
	void (*add_tag)(const struct front *front, struct buf *out);
	/* Text of others in a line of ours; NULL: line_add_text(). */
	void (*add_text)(struct buf *out, struct slice text);
	/* The server's reply, after its tag; untagged: whole lines before it.
	 */
	void (*accept)(struct front *front, struct slice reply,
	    struct slice untagged, struct buf *out);
};

/* NULL for a service that has no front yet. */
const struct front_protocol *front_protocol(enum service_kind service);

/* 0, or -1 without memory. tls: it is on from the first octet. */
int front_open(struct front *front, const struct front_protocol *protocol,
    const struct front_settings *settings);
/* Forgets all, the credentials wiped. Also takes a front of zeros. */
void front_close(struct front *front);

void front_greet(struct front *front, struct buf *out);
/* TLS is on now, after STARTTLS. */
void front_secured(struct front *front, struct buf *out);
enum front_action front_input(
    struct front *front, struct slice *input, struct buf *out);
/* Passes the back end's challenge on (octets, not base64); a RESPONSE will
 * come, or with MORE the client gave up: in_sasl is false then. */
void front_challenge(
    struct front *front, struct slice challenge, struct buf *out);
/* reply: the back end's, after its tag; untagged: whole lines before it. */
void front_accept(struct front *front, struct slice reply,
    struct slice untagged, struct buf *out);
void front_refuse(
    struct front *front, const struct refusal *refusal, struct buf *out);
/* The last word before we close: a time-out, or we are shutting down. */
void front_goodbye(struct front *front, const char *text, struct buf *out);

/* May credentials be said now? */
bool front_may_login(const struct front *front);
/* And as a plain password, by whatever command? */
bool front_takes_passwords(const struct front *front);

/* ---- for the protocols ---- */

/*
 * Runs the command of that name where its flags allow it. bare: no argument
 * came with it.
 */
enum front_action front_run(struct front *front, struct slice name,
    struct slice arguments, bool bare, struct buf *out);
/* Says what is wrong, and counts it. */
enum front_action front_complain(struct front *front, struct buf *out,
    enum front_fault fault, const char *text);
/* Says the last word; text is static. */
enum front_action front_close_with(
    struct front *front, struct buf *out, const char *text);

#endif
