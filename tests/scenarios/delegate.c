/*
 * delegate: what a service can do with a ticket that a user gave it, and what
 * it must not be able to do.
 *
 *   delegate use EVIDENCE-CACHE CACHE TARGET
 *       asks for a ticket to TARGET for the user whose ticket lies in
 *       EVIDENCE-CACHE, with the service's own TGT in CACHE (S4U2Proxy)
 *   delegate forge KEYTAB SERVICE USER CACHE
 *       makes such a ticket of nothing but the service's keys, PAC included,
 *       both of whose signatures are the service's
 *   delegate bare KEYTAB SERVICE USER CACHE
 *       the same without a PAC
 *   delegate stale KEYTAB SERVICE USER CACHE
 *       one that has ended, though its cache says otherwise
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <krb5.h>

#define LIFE 3600 /* s */

/* libkrb5 exports it to the KDC, and no header of its own names it. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,readability-identifier-naming)
 */
krb5_error_code _krb5_pac_sign(krb5_context context, krb5_pac pac,
    time_t authtime, krb5_principal principal, const krb5_keyblock *server,
    const krb5_keyblock *kdc, krb5_data *data);
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,readability-identifier-naming)
 */

static krb5_context context;

static void
must(krb5_error_code code, const char *what)
{
	if (code != 0)
		krb5_err(context, 1, code, "%s", what);
}

static krb5_ccache
cache_of(const char *name)
{
	krb5_ccache cache;

	must(krb5_cc_resolve(context, name, &cache), name);
	return cache;
}

static krb5_principal
principal_of(const char *name)
{
	krb5_principal principal;

	must(krb5_parse_name(context, name, &principal), name);
	return principal;
}

/* The first ticket of the cache that is not for the KDC. */
static void
read_evidence(krb5_ccache cache, Ticket *ticket)
{
	krb5_cc_cursor cursor;
	krb5_creds creds;
	size_t size;

	must(krb5_cc_start_seq_get(context, cache, &cursor), "evidence");
	while (krb5_cc_next_cred(context, cache, &cursor, &creds) == 0) {
		const char *first =
		    krb5_principal_get_comp_string(context, creds.server, 0);

		if (strcmp(first, "krbtgt") == 0 ||
		    krb5_is_config_principal(context, creds.server))
			continue;
		must(decode_Ticket(
			 creds.ticket.data, creds.ticket.length, ticket, &size),
		    "ticket");
		return;
	}
	errx(1, "there is no ticket in that cache");
}

static int
use(char **words)
{
	krb5_get_creds_opt options;
	krb5_creds *creds = NULL;
	krb5_error_code code;
	char *name = NULL;
	Ticket evidence;

	read_evidence(cache_of(words[0]), &evidence);
	must(krb5_get_creds_opt_alloc(context, &options), "options");
	krb5_get_creds_opt_add_options(context, options,
	    KRB5_GC_CONSTRAINED_DELEGATION | KRB5_GC_NO_STORE);
	must(krb5_get_creds_opt_set_ticket(context, options, &evidence),
	    "evidence");
	code = krb5_get_creds(context, options, cache_of(words[1]),
	    principal_of(words[2]), &creds);
	must(code, "delegation");
	must(krb5_unparse_name(context, creds->client, &name), "client");
	printf("%s\n", name);
	return 0;
}

/* IF-RELEVANT { WIN2K-PAC }, RFC 4120 section 5.2.6.1 */
static void
add_pac(EncTicketPart *part, krb5_principal user, const krb5_keyblock *key)
{
	AuthorizationData inner = { 0 };
	AuthorizationDataElement element = { .ad_type =
						 KRB5_AUTHDATA_WIN2K_PAC };
	char text[] = "postcell";
	krb5_data filler = { sizeof(text) - 1, text }, signed_pac = { 0 };
	size_t size;
	krb5_pac pac;
	int code;

	must(krb5_pac_init(context, &pac), "PAC");
	must(krb5_pac_add_buffer(context, pac, 0x6c6c6563, &filler), "PAC");
	must(_krb5_pac_sign(
		 context, pac, part->authtime, user, key, key, &signed_pac),
	    "PAC");
	element.ad_data = signed_pac;
	must(add_AuthorizationData(&inner, &element), "PAC");
	element.ad_type = KRB5_AUTHDATA_IF_RELEVANT;
	ASN1_MALLOC_ENCODE(AuthorizationData, element.ad_data.data,
	    element.ad_data.length, &inner, &size, code);
	must(code, "PAC");
	part->authorization_data = calloc(1, sizeof(AuthorizationData));
	if (!part->authorization_data)
		err(1, NULL);
	must(add_AuthorizationData(part->authorization_data, &element), "PAC");
}

static void
seal(EncTicketPart *part, const krb5_keytab_entry *entry,
    krb5_principal service, krb5_creds *creds)
{
	Ticket ticket = { .tkt_vno = 5, .realm = service->realm };
	krb5_crypto crypto;
	unsigned char *buffer;
	size_t length, size = 0;
	int code;

	ticket.sname.name_type = (NAME_TYPE)KRB5_NT_SRV_INST;
	ticket.sname.name_string = service->name.name_string;
	ASN1_MALLOC_ENCODE(EncTicketPart, buffer, length, part, &size, code);
	must(code, "ticket");
	must(krb5_crypto_init(context, &entry->keyblock, 0, &crypto), "key");
	must(krb5_encrypt_EncryptedData(context, crypto, KRB5_KU_TICKET, buffer,
		 size, (int)entry->vno, &ticket.enc_part),
	    "ticket");
	ASN1_MALLOC_ENCODE(Ticket, creds->ticket.data, creds->ticket.length,
	    &ticket, &size, code);
	must(code, "ticket");
}

static int
forge(char **words, int with_pac, time_t age)
{
	krb5_principal service = principal_of(words[1]);
	krb5_principal user = principal_of(words[2]);
	krb5_ccache cache = cache_of(words[3]);
	krb5_keytab keytab;
	krb5_keytab_entry entry;
	EncTicketPart part = {
		.flags = { .forwardable = 1, .initial = 1, .pre_authent = 1 }
	};
	krb5_creds creds = { .client = user, .server = service };

	must(krb5_kt_resolve(context, words[0], &keytab), words[0]);
	must(krb5_kt_get_entry(context, keytab, service, 0,
		 (krb5_enctype)KRB5_ENCTYPE_AES256_CTS_HMAC_SHA1_96, &entry),
	    words[0]);
	must(krb5_generate_random_keyblock(
		 context, entry.keyblock.keytype, &creds.session),
	    "session key");
	part.key = creds.session;
	part.crealm = user->realm;
	part.cname = user->name;
	part.authtime = time(NULL) - age;
	part.endtime = part.authtime + LIFE;
	if (with_pac)
		add_pac(&part, user, &entry.keyblock);
	seal(&part, &entry, service, &creds);
	creds.times.authtime = creds.times.starttime = part.authtime;
	creds.times.endtime = part.endtime + age;
	must(krb5_cc_initialize(context, cache, user), words[3]);
	must(krb5_cc_store_cred(context, cache, &creds), words[3]);
	return 0;
}

int
main(int argc, char **argv)
{
	if (krb5_init_context(&context) != 0)
		errx(1, "no context");
	if (argc == 5 && strcmp(argv[1], "use") == 0)
		return use(argv + 2);
	if (argc == 6 && strcmp(argv[1], "forge") == 0)
		return forge(argv + 2, 1, 0);
	if (argc == 6 && strcmp(argv[1], "bare") == 0)
		return forge(argv + 2, 0, 0);
	if (argc == 6 && strcmp(argv[1], "stale") == 0)
		return forge(argv + 2, 1, (time_t)2 * LIFE);
	errx(64, "use EVIDENCE CACHE TARGET | forge|bare|stale KEYTAB SERVICE "
		 "USER CACHE");
}
