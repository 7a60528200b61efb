/*
 * import: a Dovecot Director's configuration becomes a cell's.
 *
 * Pure. What `doveconf -n` says on a Director (director_mail_servers, the
 * static passdb that makes it a proxy, listeners, TLS) is made into LDIF of
 * pools and servers and into a proxyd.conf. What cannot be taken over is
 * noted, never dropped in silence.
 */
#ifndef CTL_IMPORT_H
#define CTL_IMPORT_H

#include "ctl/dovecot.h"
#include "lib/buf.h"
#include "lib/service.h"

#define IMPORT_SERVERS_MAX 4096
#define IMPORT_HOST_SIZE   256
#define IMPORT_POOL        "mail" /* of servers without a tag */

struct import_server {
	char host[IMPORT_HOST_SIZE]; /* name or address */
	char tag[IMPORT_HOST_SIZE];  /* becomes its pool; "" for none */
	uint16_t port;               /* 0: the service's */
};

struct import {
	struct dovecot dovecot;
	struct import_server *servers; /* owned */
	size_t server_count;
	struct buf notes; /* a line each: what needs a look */
};

/*
 * 0; or -1 with the faults as lines in errors. `text` outlives the result;
 * import_free() in both cases.
 */
int import_read(struct import *import, struct slice text, struct buf *errors);
void import_free(struct import *import);

/* suffix: DN below which ou=pools and ou=servers are; printable ASCII. */
void import_ldif(struct import *import, struct slice suffix, struct buf *out);
void import_proxyd(struct import *import, struct buf *out);

#endif
