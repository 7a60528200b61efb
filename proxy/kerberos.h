/*
 * kerberos: what a KDC is asked, one question at a time.
 *
 * libkrb5 knows no other way than to wait, for as long as a silent KDC makes
 * it, so kerberos_ask() is for processes of their own (auth_fetch.h). Tickets
 * go about as octets, session key included, and lie in memory alone.
 */
#ifndef PROXY_KERBEROS_H
#define PROXY_KERBEROS_H

#include "lib/buf.h"

#define KERBEROS_NAME_MAX   1024  /* octets of a principal */
#define KERBEROS_TICKET_MAX 65535 /* octets of a ticket, key included */

enum kerberos_way {
	KERBEROS_KEYTAB,    /* by the client's key */
	KERBEROS_PASSWORD,  /* by the client's password */
	KERBEROS_FORWARDED, /* by the client's own TGT, which it forwarded */
	/* S4U2Proxy (MS-SFU 3.1.5.2): by our TGT, and what the client showed
	 * us. */
	KERBEROS_EVIDENCE
};

/* All of it owned. */
struct kerberos_question {
	enum kerberos_way way;
	struct buf client, server; /* principals: whose ticket, for whom */
	struct buf keytab;         /* KEYTAB: its name */
	struct buf password;       /* PASSWORD; secret */
	struct buf tgt;      /* FORWARDED, EVIDENCE: octets of a ticket; secret
			      */
	struct buf evidence; /* EVIDENCE: the client's AP-REQ */
};

void kerberos_question_init(struct kerberos_question *question);
void kerberos_question_wipe(struct kerberos_question *question);

enum kerberos_result {
	KERBEROS_GOOD,
	KERBEROS_REFUSED, /* the KDC will not have this client, or password */
	KERBEROS_FAILED   /* no answer, or one that says nothing of the client
			   */
};

/* Blocks. GOOD: `out` has the ticket's octets; else why. */
enum kerberos_result kerberos_ask(
    const struct kerberos_question *question, struct buf *out);

/* Adds a name of one component and the default realm, as principals are
 * written. */
void kerberos_add_name(struct buf *out, struct slice name);

#endif
