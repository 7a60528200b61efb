/*
 * machine: plays the machines of front.h and back.h, and notes what they say
 * and what they tell the session, as one text.
 *
 * Every row is played whole, in pieces, and octet by octet: it must make no
 * difference where the network cuts.
 */
#ifndef TESTS_PROXY_MACHINE_H
#define TESTS_PROXY_MACHINE_H

#include "proxy/back.h"
#include "proxy/front.h"

/* Text with its size, so that it may hold NULs. */
#define TEXT(literal)                                                          \
	{                                                                      \
		literal, sizeof(literal) - 1                                   \
	}

#define MACHINE_LINE_SIZE    256
#define MACHINE_LITERAL_SIZE 64

/* How a client's connection begins. */
enum machine_setup {
	PLAIN,        /* credentials may come at once, no TLS */
	STARTTLS,     /* only after STARTTLS */
	EITHER,       /* STARTTLS is offered and not needed */
	TLS,          /* is on */
	ACCEPTS = 8,  /* the first login is accepted; else all are refused */
	LEARNED = 16, /* the back ends' capabilities are known */
	RELAYS = 32,  /* all mechanisms are offered; the back end challenges
			 with "c" as often as it is answered */
	TOKENS = 64   /* no mechanism with a password is offered */
};

/*
 * What a client sends, and all that it sees. In brackets stands what the
 * session is told: [LOGIN authzid|user|password], with the mechanism and its
 * message instead of the password where they are relayed, [RESPONSE message],
 * [STARTTLS], after which the dialogue is over, and [CLOSE].
 */
struct front_row {
	unsigned setup;
	struct slice input;
	const char *output;
};

/* How a service's fronts are played. */
struct front_play {
	enum service_kind service;
	const char *learned;  /* lines of offer.h */
	const char *refusal;  /* the back end's, for all logins */
	const char *reply;    /* the back end's, when it accepts */
	const char *untagged; /* the lines before that */
};

void machine_play_fronts(
    const struct front_play *play, const struct front_row *rows, size_t count);
/* After each beginning octets without end are sent: it must close, and no later
 * than `bound` octets. */
void machine_flood_front(const struct front_play *play,
    const char *const *beginnings, size_t count, size_t bound);
/* What is said by itself; setup as above. */
void machine_check_greeting(
    const struct front_play *play, unsigned setup, const char *output);
void machine_check_refusal(const struct front_play *play,
    enum refusal_kind kind, const char *text, const char *output);
void machine_check_goodbye(const struct front_play *play, const char *output);

/* Whose login is said to a back end. */
struct back_login {
	const char *authorise, *user, *password;
	enum service_tls tls;
	bool utf8;
	bool learns; /* nobody logs in */
	const char *hello;
	enum sasl_mechanism mechanism;
	const char *message; /* of a relayed mechanism */
};

/*
 * What a back end sends, and all that it hears. In brackets stands what the
 * session is told: [ACCEPTED untagged|reply], [LEARNED lines], [REFUSED reply],
 * [DOWN why], [BROKEN why], [CHALLENGE text], answered with "answer", and
 * [TLS], after which the input goes on inside TLS.
 */
struct back_row {
	unsigned login; /* index */
	struct slice input;
	const char *output;
};

void machine_play_backs(enum service_kind service,
    const struct back_login *logins, const struct back_row *rows, size_t count);
/* After each beginning of login 0 comes a line without end. */
void machine_flood_back(enum service_kind service,
    const struct back_login *logins, const char *const *beginnings,
    size_t count);

#endif
