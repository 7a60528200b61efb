/*
 * back: what our servers say, until the user is logged in.
 *
 * As front.h: each protocol is a machine without I/O. A back end is trusted
 * with the user's mail, not with the proxy: every line is bounded, and what
 * makes no sense ends this session alone.
 */
#ifndef PROXY_BACK_H
#define PROXY_BACK_H

#include <stdbool.h>

#include "lib/buf.h"
#include "lib/service.h"
#include "proxy/sasl.h"

enum back_action {
	BACK_MORE,      /* send the output, wait for more input */
	BACK_STARTTLS,  /* send nothing, drop all input, TLS, then secured() */
	BACK_CHALLENGE, /* send nothing: `challenge` is for the client, whose
			   answer goes to respond() */
	BACK_ACCEPTED,  /* logged in: reply and untagged are for the client */
	BACK_REFUSED,   /* the back end said no: reply is for the client */
	BACK_UNAVAILABLE, /* it says that it cannot serve now: why */
	BACK_BROKEN       /* it does not speak the protocol: why */
};

/* Who the client is, for the back end's logs. */
struct back_client {
	const char *address; /* numeric; borrowed */
	unsigned port;
	const char *local_address; /* where it connected to; borrowed */
	unsigned local_port;
	const char *session;   /* id; borrowed */
	const char *host_name; /* ours; borrowed */
	const char *hello;     /* SMTP: the client's EHLO, or ""; borrowed */
	bool utf8;             /* POP3: the client said UTF8 */
};

struct back {
	const struct back_protocol *protocol;
	const struct back_client *client;      /* borrowed */
	const struct credentials *credentials; /* borrowed */
	struct slice user;     /* the name to log in with; borrowed */
	enum service_tls tls;  /* what is wanted of this connection */
	size_t line_size;      /* bound on one line */
	int step;              /* the protocol's own */
	unsigned capabilities; /* the protocol's own bits */
	bool secured;
	size_t heard; /* octets of lines until now */
	bool greeted; /* SMTP: a line of the reply to EHLO was seen */
	struct buf
	    untagged; /* owned: whole lines that came between login and reply */
	struct buf reply;     /* owned: the reply after its tag, without CRLF */
	struct buf challenge; /* owned: octets, of a relayed mechanism */
	/* Not NULL: nobody logs in, ACCEPTED comes when all that this service
	 * has to offer (offer.h) is in here. Borrowed. */
	struct buf *offer;
	const char *why; /* static text */
};

#define BACK_HEARD_MAX (1 << 20)
#define BACK_HEARD_WHY "back end says too much before login"

struct back_protocol {
	enum service_kind service;
	enum back_action (*input)(
	    struct back *back, struct slice *input, struct buf *out);
	/* After STARTTLS is done: what to say first. */
	enum back_action (*secured)(struct back *back, struct buf *out);
	/* Adds the client's answer to a CHALLENGE. */
	void (*respond)(
	    struct back *back, struct slice response, struct buf *out);
};

/* NULL for a service that has no back yet. */
const struct back_protocol *back_protocol(enum service_kind service);

/*
 * A back that borrows all it is given. tls IMPLICIT means that TLS is on
 * before the first octet.
 */
void back_open(struct back *back, const struct back_protocol *protocol,
    const struct back_client *client, const struct credentials *credentials,
    struct slice user, enum service_tls tls, size_t line_size);
/* Also takes a back of zeros. */
void back_close(struct back *back);

/*
 * For the machines: text is what the server asks with, in base64. CHALLENGE
 * where a relayed mechanism is under way, else BROKEN.
 */
enum back_action back_take_challenge(struct back *back, struct slice text);
/*
 * For the machines: counts a line. False once a server has said more than any
 * would before login, lest it go on for ever.
 */
bool back_hear(struct back *back, struct slice line);
/* The mechanism that this login needs; static. */
const char *back_mechanism(const struct back *back);

#endif
