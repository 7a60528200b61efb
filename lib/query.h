/*
 * query: what a host that serves no mail is asked to see whether it lives.
 *
 * One question each, as cheap as the protocol allows, whose answer tells
 * nothing but that somebody is at work there: a name server is asked for the
 * root's SOA (RFC 1035), a directory for an anonymous bind (RFC 4511), a KDC
 * for a ticket of a realm that nobody has (RFC 4120). Any answer of the
 * protocol is good, errors too. Observers do not ask kpasswd servers: over UDP,
 * which is all that Heimdal's takes, only what looks like a request is
 * answered, and each fills its log with an error; its KDC speaks for it. Who is
 * about to change a password may. Pure.
 */
#ifndef LIB_QUERY_H
#define LIB_QUERY_H

#include <stdbool.h>

#include "lib/service.h"
#include "lib/slice.h"

enum query_result {
	QUERY_MORE,
	QUERY_GOOD,
	QUERY_BAD /* somebody else answers */
};

/* The octets of the question, static; empty for services that greet,
 * and for kpasswd. */
struct slice query_text(enum service_kind kind);
/* Looks at what came until now. */
enum query_result query_check(enum service_kind kind, struct slice answer);

/*
 * The same in one datagram, of SERVICE_KERBEROS and SERVICE_KPASSWD, static.
 * The latter is a request of a version that is none (RFC 3244).
 */
struct slice query_datagram(enum service_kind kind);
/* Whether that answers it. */
bool query_is_answer(enum service_kind kind, struct slice datagram);

#endif
