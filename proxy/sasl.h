/*
 * sasl: the mechanisms in which a client tells us who it is, RFC 4422.
 *
 * PLAIN (RFC 4616) and LOGIN (obsolete, still spoken) end in a name and a
 * password. SCRAM (RFC 5802, 7677), OAUTHBEARER (RFC 7628) and XOAUTH2
 * (Google's) are relayed: their first message names the user, so that the
 * account can be routed, and from then on the server and the client talk to
 * each other. What such a message says is not changed, the user's name
 * included: the server must know the account by what its user types. Channel
 * binding cannot be had. EXTERNAL (RFC 4422 appendix A) ends in an authzid
 * alone: who the user is, TLS knows. GSSAPI (RFC 4752) is for auth processes to
 * understand; its messages are octets here.
 *
 * The exchange is decoded octets both ways; base64 and line endings are the
 * protocol's business. Pure.
 */
#ifndef PROXY_SASL_H
#define PROXY_SASL_H

#include <stdbool.h>

#include "lib/buf.h"
#include "lib/slice.h"

#define SASL_NAME_SIZE_MAX     1024 /* octets of a user name */
#define SASL_PASSWORD_SIZE_MAX 4096 /* octets */
#define SASL_MESSAGE_SIZE_MAX                                                  \
	9216 /* octets, RFC 4954's bound before base64                         \
	      */

enum sasl_mechanism {
	SASL_PLAIN,
	SASL_LOGIN,
	SASL_SCRAM_SHA_1,
	SASL_SCRAM_SHA_256,
	SASL_OAUTHBEARER,
	SASL_XOAUTH2,
	SASL_EXTERNAL,
	SASL_GSSAPI,
	SASL_MECHANISM_COUNT
};

/* What a client gave; owned, wiped by credentials_wipe(). */
struct credentials {
	enum sasl_mechanism mechanism; /* in which it was given */
	struct buf
	    authorise;   /* authzid: whose mailbox; empty: the user's own */
	struct buf user; /* authcid: whose password */
	struct buf password;
	struct buf message; /* relayed mechanisms: what the client said last */
};

void credentials_init(struct credentials *credentials);
void credentials_wipe(struct credentials *credentials);
/* Whose mailbox it is: the one to be routed. Borrowed. */
struct slice credentials_owner(const struct credentials *credentials);

enum sasl_result {
	SASL_CHALLENGE, /* send the challenge, wait for the response */
	SASL_COMPLETE,  /* credentials are there */
	SASL_RELAY,     /* credentials->message is for the server */
	SASL_FAILED     /* see why */
};

struct sasl {
	enum sasl_mechanism mechanism;
	int step;
};

/* "PLAIN", "LOGIN"; static. */
const char *sasl_mechanism_text(enum sasl_mechanism mechanism);
/* 0, or -1 for one that is not spoken here. */
int sasl_mechanism_parse(struct slice name, enum sasl_mechanism *mechanism);

/* Is it for the server to say more than yes or no? */
bool sasl_is_relayed(enum sasl_mechanism mechanism);
/* A bit 1 << mechanism for each of those. */
unsigned sasl_relayed_mechanisms(void);

/*
 * Begins an exchange without an initial response: adds the first challenge
 * (which may be empty) to it.
 */
enum sasl_result sasl_start(
    struct sasl *sasl, enum sasl_mechanism mechanism, struct buf *challenge);
/*
 * Takes a response, an initial one included (after sasl_start). A relayed
 * mechanism is COMPLETE with its first message; all further ones are RELAY. On
 * FAILED *why is static text.
 */
enum sasl_result sasl_respond(struct sasl *sasl, struct slice response,
    struct credentials *credentials, struct buf *challenge, const char **why);

/*
 * Takes a name such as "bob*master" apart: bob's mailbox, the master's
 * password. Names without the separator, or with an empty part, and logins
 * that have an authzid stay as they are. separator '\0': none is known.
 */
void credentials_split_master(struct credentials *credentials, char separator);

/* The mechanism in which a back end is told these credentials. */
enum sasl_mechanism sasl_back_mechanism(const struct credentials *credentials);
/*
 * Adds what a client of the back end says first to log in as `user` with these
 * credentials, in base64: the client's own message where it is relayed, else
 * PLAIN, with an authzid where another one's password opens the mailbox.
 */
void sasl_add_initial(
    struct buf *out, const struct credentials *credentials, struct slice user);

#endif
