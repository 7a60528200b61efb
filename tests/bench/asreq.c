/*
 * asreq: how many tickets by password a KDC gives out.
 *
 *   asreq ADDRESS PORT REALM PASSWORD USERS SECONDS
 *   asreq newest ADDRESS PORT REALM USER KVNO
 *
 * Asks for users user0 to userUSERS-1 in turn, WINDOW requests under way at a
 * time; prints replies a second, and how many were no tickets.
 *
 * With "newest" it prints "ready", asks for one user, without a password, until
 * a ticket comes that is sealed by the key of that version or a later one, and
 * prints when that was, in seconds since 1970.
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

#define WINDOW        16
#define SECONDS_MAX   3600
#define USERS_MAX     10000
#define SILENCE_MS    1000
#define AWAIT_SECONDS 20
#define PAUSE_US      500
#define TICKET        0x6b /* APPLICATION 11 */

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

/* Of who knows the password, or of anybody where it is NULL. */
static krb5_data
make_request(
    char *realm, const char *name, unsigned nonce, const char *password)
{
	krb5_principal user, server;
	AS_REQ request = { .pvno = 5, .msg_type = krb_as_req };
	METHOD_DATA padata = { 0 };
	PA_DATA stamp = { .padata_type = KRB5_PADATA_ENC_TIMESTAMP };
	ENCTYPE etype = (ENCTYPE)KRB5_ENCTYPE_AES256_CTS_HMAC_SHA1_96;
	KerberosTime till = time(NULL) + 3600;
	krb5_data out;
	size_t size;
	int code;

	must(krb5_make_principal(context, &user, realm, name, NULL), name);
	must(
	    krb5_make_principal(context, &server, realm, "krbtgt", realm, NULL),
	    "krbtgt");
	if (password)
		stamp.padata_value = make_timestamp(user, password);
	if (stamp.padata_value.data)
		must(add_METHOD_DATA(&padata, &stamp), "padata");
	request.padata = padata.len > 0 ? &padata : NULL;
	request.req_body.cname = &user->name;
	request.req_body.realm = realm;
	request.req_body.sname = &server->name;
	request.req_body.till = &till;
	request.req_body.nonce = (krb5int32)nonce;
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

static int
open_socket(const char *host, const char *port_text)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	uint16_t port = (uint16_t)number(port_text, UINT16_MAX);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (port == 0)
		errx(64, "%s is no port", port_text);
	address.sin_port = htons(port);
	(void)inet_pton(AF_INET, host, &address.sin_addr);
	if (fd < 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		err(1, "%s", host);
	return fd;
}

/* The version of the key that seals the reply; 0 for what is no ticket. */
static unsigned
version_of(const unsigned char *octets, size_t size)
{
	unsigned version = 0;
	AS_REP reply;
	size_t used;

	if (decode_AS_REP(octets, size, &reply, &used) != 0)
		return 0;
	if (reply.enc_part.kvno)
		version = (unsigned)*reply.enc_part.kvno;
	free_AS_REP(&reply);
	return version;
}

static int
await_newest(char **words)
{
	int fd = open_socket(words[0], words[1]);
	krb5_data request = make_request(words[2], words[3], 1, NULL);
	unsigned long wanted = number(words[4], INT32_MAX);
	double end = now() + AWAIT_SECONDS;
	unsigned char reply[65536];
	struct timespec time;
	ssize_t size;

	(void)puts("ready");
	(void)fflush(stdout);
	while (now() < end) {
		struct pollfd wait = { fd, POLLIN, 0 };

		(void)send(fd, request.data, request.length, 0);
		if (poll(&wait, 1, SILENCE_MS) != 1)
			continue;
		size = recv(fd, reply, sizeof(reply), 0);
		if (size > 0 && version_of(reply, (size_t)size) >= wanted) {
			(void)clock_gettime(CLOCK_REALTIME, &time);
			printf("%lld.%06ld\n", (long long)time.tv_sec,
			    time.tv_nsec / 1000);
			(void)close(fd);
			return 0;
		}
		(void)usleep(PAUSE_US);
	}
	errx(1, "no such ticket within %d s", AWAIT_SECONDS);
}

static void
make_requests(
    krb5_data *requests, char *realm, unsigned users, const char *password)
{
	char name[32];

	for (unsigned i = 0; i < users; i++) {
		(void)snprintf(name, sizeof(name), "user%u", i);
		requests[i] = make_request(realm, name, i + 1, password);
	}
}

int
main(int argc, char **argv)
{
	krb5_data requests[USERS_MAX];
	unsigned users, next = 0;
	unsigned long seconds;
	unsigned long replies = 0, faults = 0, lost = 0;
	unsigned char reply[65536];
	double begin, end;
	int fd;

	if (argc != 7 || krb5_init_context(&context) != 0)
		errx(64, "ADDRESS PORT REALM PASSWORD USERS SECONDS");
	if (strcmp(argv[1], "newest") == 0)
		return await_newest(argv + 2);
	users = (unsigned)number(argv[5], USERS_MAX);
	seconds = number(argv[6], SECONDS_MAX);
	if (users == 0 || seconds == 0)
		errx(64, "1 to %d users, 1 to %d seconds", USERS_MAX,
		    SECONDS_MAX);
	make_requests(requests, argv[3], users, argv[4]);
	fd = open_socket(argv[1], argv[2]);
	begin = now();
	end = begin + (double)seconds;
	for (int i = 0; i < WINDOW; i++, next = (next + 1) % users)
		(void)send(fd, requests[next].data, requests[next].length, 0);
	while (now() < end) {
		struct pollfd wait = { fd, POLLIN, 0 };

		if (poll(&wait, 1, SILENCE_MS) != 1)
			lost++;
		else if (recv(fd, reply, sizeof(reply), 0) > 0)
			*(reply[0] == TICKET ? &replies : &faults) += 1;
		(void)send(fd, requests[next].data, requests[next].length, 0);
		next = (next + 1) % users;
	}
	printf(
	    "%.0f %lu %lu\n", (double)replies / (now() - begin), faults, lost);
	(void)close(fd);
	return 0;
}
