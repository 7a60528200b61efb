/*
 * asreq: how many tickets by password a KDC gives out.
 *
 *   asreq ADDRESS PORT REALM PASSWORD USERS SECONDS
 *
 * Asks for users user0 to userUSERS-1 in turn, WINDOW requests under way at a
 * time; prints replies a second, and how many were no tickets.
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

#define WINDOW      16
#define SECONDS_MAX 3600
#define USERS_MAX   10000
#define SILENCE_MS  1000
#define AS_REP      0x6b /* APPLICATION 11 */

static krb5_context context;

static void
must(krb5_error_code code, const char *what)
{
	if (code != 0)
		krb5_err(context, 1, code, "%s", what);
}

static double
now(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* PA-ENC-TIMESTAMP, RFC 4120 section 5.2.7.2 */
static krb5_data
make_timestamp(krb5_principal user, const char *password)
{
	PA_ENC_TS_ENC stamp = { .patimestamp = time(NULL) };
	EncryptedData sealed;
	krb5_keyblock key;
	krb5_crypto crypto;
	krb5_data plain, out;
	krb5_salt salt;
	size_t size;
	int code;

	must(krb5_get_pw_salt(context, user, &salt), "salt");
	must(krb5_string_to_key_salt(context,
		 (krb5_enctype)KRB5_ENCTYPE_AES256_CTS_HMAC_SHA1_96, password,
		 salt, &key),
	    "key");
	ASN1_MALLOC_ENCODE(
	    PA_ENC_TS_ENC, plain.data, plain.length, &stamp, &size, code);
	must(code, "timestamp");
	must(krb5_crypto_init(context, &key, 0, &crypto), "key");
	must(
	    krb5_encrypt_EncryptedData(context, crypto,
		KRB5_KU_PA_ENC_TIMESTAMP, plain.data, plain.length, 0, &sealed),
	    "timestamp");
	ASN1_MALLOC_ENCODE(
	    EncryptedData, out.data, out.length, &sealed, &size, code);
	must(code, "timestamp");
	return out;
}

static krb5_data
make_request(char *realm, unsigned number, const char *password)
{
	krb5_principal user, server;
	AS_REQ request = { .pvno = 5, .msg_type = krb_as_req };
	METHOD_DATA padata = { 0 };
	PA_DATA stamp = { .padata_type = KRB5_PADATA_ENC_TIMESTAMP };
	ENCTYPE etype = (ENCTYPE)KRB5_ENCTYPE_AES256_CTS_HMAC_SHA1_96;
	KerberosTime till = time(NULL) + 3600;
	krb5_data out;
	char name[32];
	size_t size;
	int code;

	(void)snprintf(name, sizeof(name), "user%u", number);
	must(krb5_make_principal(context, &user, realm, name, NULL), name);
	must(
	    krb5_make_principal(context, &server, realm, "krbtgt", realm, NULL),
	    "krbtgt");
	stamp.padata_value = make_timestamp(user, password);
	must(add_METHOD_DATA(&padata, &stamp), "padata");
	request.padata = &padata;
	request.req_body.cname = &user->name;
	request.req_body.realm = realm;
	request.req_body.sname = &server->name;
	request.req_body.till = &till;
	request.req_body.nonce = (krb5int32)number + 1;
	request.req_body.etype.len = 1;
	request.req_body.etype.val = &etype;
	ASN1_MALLOC_ENCODE(AS_REQ, out.data, out.length, &request, &size, code);
	must(code, "request");
	return out;
}

/* 0 for what is no number from 1 to max. */
static unsigned long
number(const char *text, unsigned long max)
{
	char *rest;
	unsigned long value = strtoul(text, &rest, 10);

	return *text == '\0' || *rest != '\0' || value > max ? 0 : value;
}

int
main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	krb5_data requests[USERS_MAX];
	unsigned users, next = 0;
	unsigned long seconds;
	uint16_t port;
	unsigned long replies = 0, faults = 0, lost = 0;
	unsigned char reply[65536];
	double begin, end;
	int fd;

	if (argc != 7 || krb5_init_context(&context) != 0)
		errx(64, "ADDRESS PORT REALM PASSWORD USERS SECONDS");
	users = (unsigned)number(argv[5], USERS_MAX);
	port = (uint16_t)number(argv[2], UINT16_MAX);
	seconds = number(argv[6], SECONDS_MAX);
	if (users == 0 || port == 0 || seconds == 0)
		errx(64, "a port, 1 to %d users, 1 to %d seconds", USERS_MAX,
		    SECONDS_MAX);
	for (unsigned i = 0; i < users; i++)
		requests[i] = make_request(argv[3], i, argv[4]);
	address.sin_port = htons(port);
	(void)inet_pton(AF_INET, argv[1], &address.sin_addr);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		err(1, "%s", argv[1]);
	begin = now();
	end = begin + (double)seconds;
	for (int i = 0; i < WINDOW; i++, next = (next + 1) % users)
		(void)send(fd, requests[next].data, requests[next].length, 0);
	while (now() < end) {
		struct pollfd wait = { fd, POLLIN, 0 };

		if (poll(&wait, 1, SILENCE_MS) != 1)
			lost++;
		else if (recv(fd, reply, sizeof(reply), 0) > 0)
			*(reply[0] == AS_REP ? &replies : &faults) += 1;
		(void)send(fd, requests[next].data, requests[next].length, 0);
		next = (next + 1) % users;
	}
	printf(
	    "%.0f %lu %lu\n", (double)replies / (now() - begin), faults, lost);
	(void)close(fd);
	return 0;
}
