/*
 * rogue: what no client of Kerberos says, to a KDC and to kpasswdd.
 *
 *   rogue kpasswd ADDRESS PORT CACHE SERVICE MANNER <PASSWORD
 *       changes the password of whose tickets lie in CACHE, by the ticket for
 *       SERVICE in it (RFC 3244, version 1); prints "RESULT text" of each
 *       answer, or "error CODE". The password may be any octets.
 *       MANNER: plain; key: the authenticator is sealed with another key than
 *       the ticket's; ticket: the ticket is damaged; twice: the same datagram
 *       once more
 *   rogue tgs ADDRESS PORT CACHE MANNER
 *       asks for a ticket by the TGT in CACHE; prints "ticket" or "error CODE".
 *       MANNER: plain: for the TGT once more; none: without a name of a server;
 *       empty: with one that has no parts; client: for the client itself
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <krb5.h>

#define DATAGRAM_MAX    65507
#define PASSWORD_MAX    65000
#define KPASSWD_HEAD    6
#define KPASSWD_VERSION 1
#define SILENCE_MS      5000
#define TGS_REP         0x6d /* [APPLICATION 13] */

static krb5_context context;

static void
must(krb5_error_code code, const char *what)
{
	if (code != 0)
		krb5_err(context, 1, code, "%s", what);
}

/* The ticket of the cache for that service; NULL: for the KDC. */
static krb5_creds
creds_of(const char *cache_name, const char *service)
{
	krb5_cc_cursor cursor;
	krb5_ccache cache;
	krb5_creds creds;
	char *name;

	must(krb5_cc_resolve(context, cache_name, &cache), cache_name);
	must(krb5_cc_start_seq_get(context, cache, &cursor), cache_name);
	while (krb5_cc_next_cred(context, cache, &cursor, &creds) == 0) {
		must(krb5_unparse_name(context, creds.server, &name), "server");
		if (service ? strcmp(name, service) == 0
			    : strncmp(name, "krbtgt/", 7) == 0)
			return creds;
	}
	errx(1, "there is no such ticket in that cache");
}

static int
connect_to(const char *address, const char *port)
{
	struct sockaddr_in place = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	place.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	if (inet_pton(AF_INET, address, &place.sin_addr) != 1 || fd < 0 ||
	    connect(fd, (struct sockaddr *)&place, sizeof(place)) != 0)
		err(1, "%s", address);
	return fd;
}

static krb5_data
answer_to(int fd, const void *data, size_t size)
{
	static unsigned char answer[DATAGRAM_MAX];
	struct pollfd wait = { fd, POLLIN, 0 };
	ssize_t length;

	if (send(fd, data, size, 0) != (ssize_t)size)
		err(1, "send");
	if (poll(&wait, 1, SILENCE_MS) != 1) {
		puts("silence");
		return (krb5_data){ 0, NULL };
	}
	length = recv(fd, answer, sizeof(answer), 0);
	if (length < 0)
		err(1, "recv");
	return (krb5_data){ (size_t)length, answer };
}

static void
print_error(const void *data, size_t length)
{
	KRB_ERROR error;
	size_t size;

	must(decode_KRB_ERROR(data, length, &error, &size), "answer");
	printf("error %d\n", (int)error.error_code);
	free_KRB_ERROR(&error);
}

/* ---- kpasswd ---- */

static void
print_result(krb5_auth_context auth, const krb5_data *answer)
{
	const unsigned char *octets = answer->data;
	krb5_ap_rep_enc_part *part;
	krb5_data ap_rep, priv, result;
	size_t length;

	if (answer->length < KPASSWD_HEAD)
		return;
	length = (size_t)(octets[4] << 8 | octets[5]);
	if (length == 0 || length > answer->length - KPASSWD_HEAD) {
		print_error(
		    octets + KPASSWD_HEAD, answer->length - KPASSWD_HEAD);
		return;
	}
	ap_rep = (krb5_data){ length, (char *)answer->data + KPASSWD_HEAD };
	priv = (krb5_data){ answer->length - KPASSWD_HEAD - length,
		(char *)answer->data + KPASSWD_HEAD + length };
	must(krb5_rd_rep(context, auth, &ap_rep, &part), "AP-REP");
	must(krb5_rd_priv(context, auth, &priv, &result, NULL), "KRB-PRIV");
	if (result.length < 2)
		errx(1, "the answer is too short");
	octets = result.data;
	printf("%d %.*s\n", octets[0] << 8 | octets[1], (int)result.length - 2,
	    (const char *)result.data + 2);
}

static size_t
pack(unsigned char *out, const krb5_data *ap_req, const krb5_data *priv)
{
	size_t size = KPASSWD_HEAD + ap_req->length + priv->length;

	if (size > DATAGRAM_MAX)
		errx(1, "that does not fit into a datagram");
	out[0] = (unsigned char)(size >> 8);
	out[1] = (unsigned char)size;
	out[2] = 0;
	out[3] = KPASSWD_VERSION;
	out[4] = (unsigned char)(ap_req->length >> 8);
	out[5] = (unsigned char)ap_req->length;
	memcpy(out + KPASSWD_HEAD, ap_req->data, ap_req->length);
	memcpy(out + KPASSWD_HEAD + ap_req->length, priv->data, priv->length);
	return size;
}

static int
change(char **words)
{
	static char password[PASSWORD_MAX];
	static unsigned char datagram[DATAGRAM_MAX];
	krb5_data secret = { 0, password }, ap_req, priv, answer;
	krb5_creds creds = creds_of(words[2], words[3]);
	const char *manner = words[4];
	int fd = connect_to(words[0], words[1]);
	krb5_auth_context auth = NULL;
	size_t size;

	secret.length = fread(password, 1, sizeof(password), stdin);
	if (strcmp(manner, "key") == 0)
		must(krb5_generate_random_keyblock(
			 context, creds.session.keytype, &creds.session),
		    "key");
	if (strcmp(manner, "ticket") == 0)
		((char *)creds.ticket.data)[creds.ticket.length - 9] ^= 1;
	must(krb5_auth_con_init(context, &auth), "auth");
	must(krb5_auth_con_setflags(
		 context, auth, KRB5_AUTH_CONTEXT_DO_SEQUENCE),
	    "auth");
	must(krb5_auth_con_genaddrs(
		 context, auth, fd, KRB5_AUTH_CONTEXT_GENERATE_LOCAL_ADDR),
	    "auth");
	must(krb5_mk_req_extended(context, &auth,
		 AP_OPTS_MUTUAL_REQUIRED | AP_OPTS_USE_SUBKEY, NULL, &creds,
		 &ap_req),
	    "AP-REQ");
	must(krb5_mk_priv(context, auth, &secret, &priv, NULL), "KRB-PRIV");
	size = pack(datagram, &ap_req, &priv);
	answer = answer_to(fd, datagram, size);
	print_result(auth, &answer);
	if (strcmp(manner, "twice") == 0) {
		answer = answer_to(fd, datagram, size);
		print_result(auth, &answer);
	}
	return 0;
}

/* ---- TGS-REQ ---- */

/* RFC 4120 section 7.2.1: the authenticator is sealed for PA-TGS-REQ. */
static krb5_data
authenticate(const krb5_creds *creds, const krb5_data *body)
{
	Authenticator who = { .authenticator_vno = 5,
		.crealm = creds->client->realm,
		.cname = creds->client->name,
		.ctime = time(NULL) };
	AP_REQ request = { .pvno = 5, .msg_type = krb_ap_req };
	Checksum sum;
	krb5_crypto crypto;
	krb5_data plain, out;
	size_t size = 0;
	int code;

	must(krb5_crypto_init(context, &creds->session, 0, &crypto), "key");
	must(krb5_create_checksum(context, crypto, KRB5_KU_TGS_REQ_AUTH_CKSUM,
		 0, body->data, body->length, &sum),
	    "checksum");
	who.cksum = &sum;
	ASN1_MALLOC_ENCODE(
	    Authenticator, plain.data, plain.length, &who, &size, code);
	must(code, "authenticator");
	must(krb5_encrypt_EncryptedData(context, crypto, KRB5_KU_TGS_REQ_AUTH,
		 plain.data, plain.length, 0, &request.authenticator),
	    "authenticator");
	must(decode_Ticket(creds->ticket.data, creds->ticket.length,
		 &request.ticket, &size),
	    "ticket");
	ASN1_MALLOC_ENCODE(AP_REQ, out.data, out.length, &request, &size, code);
	must(code, "AP-REQ");
	return out;
}

static krb5_data
make_request(const krb5_creds *creds, PrincipalName *server)
{
	KerberosTime till = time(NULL) + 3600;
	ENCTYPE etype = (ENCTYPE)KRB5_ENCTYPE_AES256_CTS_HMAC_SHA1_96;
	TGS_REQ request = { .pvno = 5, .msg_type = krb_tgs_req };
	PA_DATA proof = { .padata_type = KRB5_PADATA_TGS_REQ };
	METHOD_DATA padata = { 1, &proof };
	krb5_data body, out;
	size_t size = 0;
	int code;

	request.req_body.realm = creds->server->realm;
	request.req_body.sname = server;
	request.req_body.till = &till;
	request.req_body.nonce = 7;
	request.req_body.etype.len = 1;
	request.req_body.etype.val = &etype;
	ASN1_MALLOC_ENCODE(KDC_REQ_BODY, body.data, body.length,
	    &request.req_body, &size, code);
	must(code, "body");
	proof.padata_value = authenticate(creds, &body);
	request.padata = &padata;
	ASN1_MALLOC_ENCODE(
	    TGS_REQ, out.data, out.length, &request, &size, code);
	must(code, "request");
	return out;
}

static int
ask(char **words)
{
	krb5_creds creds = creds_of(words[2], NULL);
	const char *manner = words[3];
	PrincipalName empty = { .name_type = (NAME_TYPE)KRB5_NT_SRV_INST };
	PrincipalName *server = &creds.server->name;
	krb5_data request, answer;

	if (strcmp(manner, "none") == 0)
		server = NULL;
	else if (strcmp(manner, "empty") == 0)
		server = &empty;
	else if (strcmp(manner, "client") == 0)
		server = &creds.client->name;
	request = make_request(&creds, server);
	answer = answer_to(
	    connect_to(words[0], words[1]), request.data, request.length);
	if (answer.length == 0)
		return 0;
	if (*(unsigned char *)answer.data == TGS_REP)
		puts("ticket");
	else
		print_error(answer.data, answer.length);
	return 0;
}

int
main(int argc, char **argv)
{
	if (krb5_init_context(&context) != 0)
		errx(1, "no context");
	if (argc == 7 && strcmp(argv[1], "kpasswd") == 0)
		return change(argv + 2);
	if (argc == 6 && strcmp(argv[1], "tgs") == 0)
		return ask(argv + 2);
	errx(64, "kpasswd ADDRESS PORT CACHE SERVICE MANNER | "
		 "tgs ADDRESS PORT CACHE MANNER");
}
