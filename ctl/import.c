#include "ctl/import.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/name.h"

#define NOTES_MAX   65536
#define WORDS_MAX   64
#define ADDRESS_MAX INET6_ADDRSTRLEN
#define HIDDEN_KEY  "/etc/postcell/tls/key.pem"

/* What the login services of Dovecot 2.3 listen on unless told otherwise. */
static const struct listener_row {
	const char *protocol, *service, *listener; /* listener NULL: each */
	const char *scheme;
	uint16_t port; /* 0: only if it is configured */
	bool implicit;
} listener_rows[] = {
	{ "imap", "imap-login", "imap", "imap", 143, false },
	{ "imap", "imap-login", "imaps", "imaps", 993, true },
	{ "pop3", "pop3-login", "pop3", "pop3", 110, false },
	{ "pop3", "pop3-login", "pop3s", "pop3s", 995, true },
	{ "submission", "submission-login", "submission", "submission", 587,
	    false },
	{ "submission", "submission-login", "submissions", "submissions", 0,
	    true },
	{ "sieve", "managesieve-login", "sieve", "sieve", 4190, false },
	{ "lmtp", "lmtp", NULL, "lmtp", 0, false },
};

static const char *const protocols[] = { "imap", "pop3", "submission", "sieve",
	"lmtp" };

static void
note(struct import *import, const char *what, struct slice value,
    const char *why)
{
	(void)buf_printf(&import->notes, "%s", what);
	if (value.size > 0) {
		(void)buf_add_string(&import->notes, " = ");
		(void)buf_add_quoted(&import->notes, value);
	}
	(void)buf_printf(&import->notes, ": %s\n", why);
}

/* Without the double quotes that doveconf puts around some values. */
static struct slice
unquoted(struct slice value)
{
	if (value.size >= 2 && value.data[0] == '"' &&
	    value.data[value.size - 1] == '"')
		value = slice_of(value.data + 1, value.size - 2);
	return value;
}

static struct slice
setting(const struct import *import, const char *path, const char *key)
{
	return unquoted(dovecot_value(&import->dovecot, path, key));
}

static bool
is_yes(struct slice value)
{
	return slice_is_nocase(value, "yes") || slice_is_nocase(value, "y");
}

/* ---- director_mail_servers ---- */

static int
add_server(struct import *import, const char *host, struct slice tag,
    uint16_t port, const char **why)
{
	struct import_server *server;

	if (import->server_count == IMPORT_SERVERS_MAX) {
		*why = "too many servers";
		return -1;
	}
	server = &import->servers[import->server_count++];
	*server = (struct import_server){ .port = port };
	(void)snprintf(server->host, sizeof(server->host), "%s", host);
	(void)snprintf(
	    server->tag, sizeof(server->tag), "%.*s", SLICE_ARGS(tag));
	return 0;
}

/* Adds one, as to a number; false when it was the last address. */
static bool
next_address(uint8_t *octets, size_t size)
{
	while (size-- > 0)
		if (++octets[size] != 0)
			return true;
	return false;
}

static int
parse_address(struct slice text, uint8_t octets[16], size_t *size)
{
	char name[ADDRESS_MAX + 1];

	if (text.size >= sizeof(name))
		return -1;
	(void)snprintf(name, sizeof(name), "%.*s", SLICE_ARGS(text));
	*size = inet_pton(AF_INET, name, octets) == 1    ? 4
		: inet_pton(AF_INET6, name, octets) == 1 ? 16
							 : 0;
	return *size > 0 ? 0 : -1;
}

/* "10.0.0.1-10.0.0.9", both ends included. */
static int
add_range(struct import *import, struct slice first, struct slice last,
    struct slice tag, const char **why)
{
	uint8_t from[16], to[16];
	size_t size, last_size;
	char text[ADDRESS_MAX];

	if (parse_address(first, from, &size) < 0 ||
	    parse_address(last, to, &last_size) < 0 || size != last_size ||
	    memcmp(from, to, size) > 0) {
		*why = "not a range of addresses";
		return -1;
	}
	do {
		(void)inet_ntop(
		    size == 4 ? AF_INET : AF_INET6, from, text, sizeof(text));
		if (add_server(import, text, tag, 0, why) < 0)
			return -1;
	} while (memcmp(from, to, size) != 0 && next_address(from, size));
	return 0;
}

/* HOST, HOST:PORT, [ADDRESS]:PORT; an address of IPv6 may stand bare. */
static int
add_host(struct import *import, struct slice text, struct slice tag,
    const char **why)
{
	struct slice host = text, port_text = slice_from("");
	size_t colon = slice_find_last(text, ':');
	uint8_t octets[16];
	uint64_t port = 0;
	size_t size;
	char name[IMPORT_HOST_SIZE];
	bool bracketed = text.size > 0 && text.data[0] == '[';

	if (bracketed) {
		size_t end = slice_find(text, ']');

		host = slice_first(slice_from_offset(text, 1), end - 1);
		port_text = slice_from_offset(text, end + 1);
	} else if (parse_address(text, octets, &size) < 0 &&
		   colon != SIZE_MAX) {
		host = slice_first(text, colon);
		port_text = slice_from_offset(text, colon);
	}
	*why = "neither a host name nor an address";
	if (port_text.size > 0 &&
	    (port_text.data[0] != ':' ||
		slice_to_uint(
		    slice_from_offset(port_text, 1), UINT16_MAX, &port) < 0))
		return -1;
	if (host.size >= sizeof(name) ||
	    (parse_address(host, octets, &size) < 0 && !name_is_host(host)))
		return -1;
	(void)snprintf(name, sizeof(name), "%.*s", SLICE_ARGS(host));
	return add_server(import, name, tag, (uint16_t)port, why);
}

static int
add_word(struct import *import, struct slice word, const char **why)
{
	size_t at = slice_find(word, '@');
	struct slice host = slice_first(word, at);
	struct slice tag =
	    slice_from_offset(word, at == SIZE_MAX ? word.size : at + 1);
	size_t dash = slice_find(host, '-');
	uint8_t octets[16];
	size_t size;

	if (tag.size > 0 && !name_is_host(tag)) {
		*why = "its tag cannot be the name of a pool";
		return -1;
	}
	/* A hyphen in a host's name is no range. */
	if (dash != SIZE_MAX &&
	    parse_address(slice_first(host, dash), octets, &size) == 0)
		return add_range(import, slice_first(host, dash),
		    slice_from_offset(host, dash + 1), tag, why);
	return add_host(import, host, tag, why);
}

static void
read_servers(struct import *import, struct buf *errors)
{
	struct slice list = setting(import, "", "director_mail_servers"), word;

	if (list.size == 0)
		(void)buf_add_string(errors,
		    "director_mail_servers is not set: this is no Director\n");
	while (slice_next_word(&list, ' ', &word)) {
		const char *why;

		if (add_word(import, word, &why) < 0) {
			(void)buf_add_string(errors, "director_mail_servers: ");
			(void)buf_add_quoted(errors, word);
			(void)buf_printf(errors, ": %s\n", why);
		}
	}
}

/* ---- how the servers are reached ---- */

/* What a passdb's args say of the back ends. */
struct reach {
	bool is_proxy;
	uint64_t port; /* 0: the service's */
	enum service_tls tls;
	bool verify;
};

static void
read_argument(struct reach *reach, struct slice word)
{
	size_t equals = slice_find(word, '=');
	struct slice key = slice_first(word, equals);
	struct slice value = slice_from_offset(
	    word, equals == SIZE_MAX ? word.size : equals + 1);
	bool any = slice_is_nocase(value, "any-cert");

	if (slice_is(key, "proxy") || slice_is(key, "proxy_maybe"))
		reach->is_proxy = true;
	else if (slice_is(key, "port"))
		(void)slice_to_uint(value, UINT16_MAX, &reach->port);
	else if (slice_is(key, "ssl") && (any || is_yes(value)))
		reach->tls = SERVICE_TLS_IMPLICIT;
	else if (slice_is(key, "starttls") && (any || is_yes(value)))
		reach->tls = SERVICE_TLS_STARTTLS;
	reach->verify = reach->verify && !any;
}

static struct reach
read_arguments(struct slice args)
{
	struct reach reach = { .tls = SERVICE_TLS_NONE, .verify = true };
	struct slice word;

	while (slice_next_word(&args, ' ', &word))
		read_argument(&reach, word);
	return reach;
}

static bool
find_passdb(const struct import *import, const char *path, struct reach *reach)
{
	for (size_t i = 0; i < import->dovecot.count; i++) {
		const struct dovecot_setting *one =
		    &import->dovecot.settings[i];
		struct reach found = read_arguments(unquoted(one->value));

		if (strcmp(one->path, path) != 0 ||
		    !slice_is(one->key, "args") || !found.is_proxy)
			continue;
		*reach = found;
		return true;
	}
	return false;
}

/*
 * Of the protocol's own passdb, else of the common one. A common port can only
 * be that of one protocol: the first one that is served.
 */
static struct reach
find_reach(const struct import *import, const char *protocol, bool is_first)
{
	struct buf path = buf_bounded(WORDS_MAX);
	struct reach reach = { .tls = SERVICE_TLS_NONE, .verify = true };

	(void)buf_printf(&path, "protocol %s/passdb", protocol);
	if (!find_passdb(import, buf_string(&path), &reach) &&
	    find_passdb(import, "passdb", &reach) && !is_first)
		reach.port = 0;
	buf_free(&path);
	return reach;
}

static bool
serves_protocol(const struct import *import, const char *protocol)
{
	struct slice list = setting(import, "", "protocols"), word;

	if (list.size == 0)
		list = slice_from("imap pop3 lmtp");
	while (slice_next_word(&list, ' ', &word))
		if (slice_is(word, protocol))
			return true;
	return false;
}

/* ---- notes ---- */

static bool
has_word(struct slice text, const char *word)
{
	return text.size > 0 &&
	       memmem(text.data, text.size, word, strlen(word)) != NULL;
}

static void
note_passdbs(struct import *import)
{
	for (size_t i = 0; i < import->dovecot.count; i++) {
		const struct dovecot_setting *one =
		    &import->dovecot.settings[i];
		const char *last = strrchr(one->path, '/');

		if (strcmp(last ? last + 1 : one->path, "passdb") != 0)
			continue;
		if (slice_is(one->key, "driver") &&
		    !slice_is(one->value, "static"))
			note(import, "passdb driver", one->value,
			    "its extra fields (host, director_tag, destuser) are not taken: pin users with mailHost, give them pools with postcellPoolName");
		if (slice_is(one->key, "args") &&
		    has_word(one->value, "destuser="))
			note(import, "passdb destuser", slice_from(""),
			    "not taken: back ends get the name as it was typed; see backend { name }");
		if (slice_is(one->key, "args") &&
		    has_word(one->value, "master="))
			note(import, "passdb master", slice_from(""),
			    "not taken: the proxy passes the users' own passwords on");
	}
}

static void
note_settings(struct import *import)
{
	static const struct {
		const char *key, *why;
	} rows[] = {
		{ "director_servers",
		    "each of these becomes a proxy: install postcell-replicad and postcell-proxyd there" },
		{ "director_username_hash",
		    "accounts are hashed by themselves; give users who share mailboxes one postcellGroup" },
		{ "login_trusted_networks",
		    "not taken: have the servers trust the proxies by theirs" },
		{ "haproxy_trusted_networks", "not taken" },
		{ "ssl_ca",
		    "not taken: clients' certificates are not asked for" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct slice value = setting(import, "", rows[i].key);

		if (value.size > 0)
			note(import, rows[i].key, value, rows[i].why);
	}
	note(import, "vhosts", slice_from(""),
	    "weights set by doveadm director are not in the configuration: see postcellctl server weight");
	if (serves_protocol(import, "lmtp") &&
	    !is_yes(setting(import, "", "lmtp_proxy")))
		note(import, "lmtp_proxy", slice_from(""),
		    "is not yes: this Director did not pass LMTP on; the proxy does if it listens for it");
}

int
import_read(struct import *import, struct slice text, struct buf *errors)
{
	size_t line;
	const char *why;

	*import = (struct import){ .notes = buf_bounded(NOTES_MAX) };
	import->servers = calloc(IMPORT_SERVERS_MAX, sizeof(*import->servers));
	if (!import->servers)
		abort();
	if (dovecot_read(&import->dovecot, text, &line, &why) < 0) {
		(void)buf_printf(errors, "line %zu: %s\n", line, why);
		return -1;
	}
	read_servers(import, errors);
	note_passdbs(import);
	note_settings(import);
	return errors->size > 0 ? -1 : 0;
}

void
import_free(struct import *import)
{
	dovecot_free(&import->dovecot);
	free(import->servers);
	buf_free(&import->notes);
	*import = (struct import){ .servers = NULL };
}

/* ---- LDIF ---- */

/* A name is what users are hashed by: of an address, "backend-10-0-0-1". */
static void
add_server_name(struct buf *out, const struct import_server *server)
{
	uint8_t octets[16];
	size_t size;
	bool address =
	    parse_address(slice_from(server->host), octets, &size) == 0;

	(void)buf_add_string(out, address ? "backend-" : "");
	for (const char *c = server->host; *c; c++)
		(void)buf_add_char(
		    out, address && (*c == '.' || *c == ':') ? '-' : *c);
}

static void
add_service(struct buf *out, const struct import_server *server,
    const char *protocol, const struct reach *reach)
{
	uint64_t port = server->port != 0 ? server->port : reach->port;
	bool brackets = strchr(server->host, ':') != NULL;
	bool implicit = reach->tls == SERVICE_TLS_IMPLICIT;
	bool has_scheme = implicit && strcmp(protocol, "lmtp") != 0 &&
			  strcmp(protocol, "sieve") != 0;

	(void)buf_printf(out, "postcellService: %s%s://%s%s%s", protocol,
	    has_scheme ? "s" : "", brackets ? "[" : "", server->host,
	    brackets ? "]" : "");
	if (port != 0)
		(void)buf_printf(out, ":%u", (unsigned)port);
	if (!has_scheme)
		(void)buf_printf(out, "?tls=%s", service_tls_text(reach->tls));
	(void)buf_add_char(out, '\n');
}

static const char *
pool_of(const struct import_server *server)
{
	return server->tag[0] ? server->tag : IMPORT_POOL;
}

static bool
is_new_pool(const struct import *import, size_t server)
{
	for (size_t i = 0; i < server; i++)
		if (strcmp(pool_of(&import->servers[i]),
			pool_of(&import->servers[server])) == 0)
			return false;
	return true;
}

static void
add_pool_entry(struct buf *out, const char *name, struct slice suffix)
{
	(void)buf_printf(
	    out, "dn: cn=%s,ou=pools,%.*s\n", name, SLICE_ARGS(suffix));
	(void)buf_printf(out, "objectClass: postcellPool\ncn: %s\n", name);
	if (strcmp(name, IMPORT_POOL) == 0)
		(void)buf_add_string(out, "postcellDefault: TRUE\n");
	(void)buf_add_char(out, '\n');
}

static void
add_server_entry(const struct import *import, struct buf *out,
    const struct import_server *server, struct slice suffix)
{
	bool is_first = true;

	(void)buf_add_string(out, "dn: cn=");
	add_server_name(out, server);
	(void)buf_printf(out, ",ou=servers,%.*s\n", SLICE_ARGS(suffix));
	(void)buf_add_string(out, "objectClass: postcellServer\ncn: ");
	add_server_name(out, server);
	(void)buf_printf(out, "\npostcellPoolName: %s\n", pool_of(server));
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		struct reach reach;

		if (!serves_protocol(import, protocols[i]))
			continue;
		reach = find_reach(import, protocols[i], is_first);
		is_first = false;
		add_service(out, server, protocols[i], &reach);
	}
	(void)buf_add_string(out, "postcellState: up\npostcellWeight: 100\n\n");
}

void
import_ldif(struct import *import, struct slice suffix, struct buf *out)
{
	(void)buf_add_string(out, "version: 1\n\n");
	for (size_t i = 0; i < import->server_count; i++)
		if (is_new_pool(import, i))
			add_pool_entry(
			    out, pool_of(&import->servers[i]), suffix);
	for (size_t i = 0; i < import->server_count; i++)
		add_server_entry(import, out, &import->servers[i], suffix);
}

/* ---- proxyd.conf ---- */

static void
add_text(struct buf *out, const char *name, struct slice value)
{
	(void)buf_printf(out, "%s = \"", name);
	for (size_t i = 0; i < value.size; i++) {
		if (value.data[i] == '"' || value.data[i] == '\\')
			(void)buf_add_char(out, '\\');
		(void)buf_add_char(out, value.data[i]);
	}
	(void)buf_add_string(out, "\"\n");
}

/* "</etc/dovecot/cert.pem". */
static struct slice
file_of(struct slice value)
{
	return value.size > 0 && value.data[0] == '<'
		   ? slice_trim(slice_from_offset(value, 1))
		   : slice_from("");
}

static void
add_tls(struct import *import, struct buf *out)
{
	struct slice certificate = file_of(setting(import, "", "ssl_cert"));
	struct slice key = file_of(setting(import, "", "ssl_key"));
	struct slice minimum = setting(import, "", "ssl_min_protocol");
	struct slice ciphers = setting(import, "", "ssl_cipher_list");

	if (certificate.size == 0)
		return;
	if (key.size == 0) {
		key = slice_from(HIDDEN_KEY);
		note(import, "ssl_key", key,
		    "is a guess: doveconf shows the key's file with -nP only");
	}
	(void)buf_add_string(out, "\ntls {\n");
	add_text(out, "\tcertificate", certificate);
	add_text(out, "\tkey", key);
	if (slice_is(minimum, "TLSv1.2") || slice_is(minimum, "TLSv1.3"))
		add_text(out, "\tprotocol_min", minimum);
	else if (minimum.size > 0)
		note(import, "ssl_min_protocol", minimum,
		    "the proxy speaks TLSv1.2 at least");
	if (ciphers.size > 0)
		add_text(out, "\tciphers", ciphers);
	(void)buf_add_string(out, "}\n");
}

static void
add_addresses(struct import *import, struct buf *out, struct slice list)
{
	struct slice word;
	size_t count = 0;
	uint8_t octets[16];
	size_t size;

	(void)buf_add_string(out, "\taddresses = { ");
	for (size_t i = 0; i < list.size; i++) {
		size_t end = i;

		while (end < list.size && list.data[end] != ' ' &&
		       list.data[end] != ',')
			end++;
		word = slice_of(list.data + i, end - i);
		i = end;
		if (slice_is(word, "*"))
			word = slice_from("0.0.0.0");
		if (word.size > 0 && parse_address(word, octets, &size) < 0)
			note(import, "listen", word,
			    "the proxy listens on addresses, not on names");
		else if (word.size > 0)
			(void)buf_printf(out, "%s\"%.*s\"",
			    count++ > 0 ? ", " : "", SLICE_ARGS(word));
	}
	(void)buf_add_string(
	    out, count > 0 ? " }\n" : "\"0.0.0.0\", \"::\" }\n");
}

static void
add_listener(struct import *import, struct buf *out,
    const struct listener_row *row, const char *path, uint64_t port)
{
	struct slice ssl = setting(import, "", "ssl");
	struct slice plain = setting(import, "", "disable_plaintext_auth");
	struct slice own = setting(import, path, "address");
	struct slice listen = setting(import, "", "listen");
	bool has_tls = !slice_is(ssl, "no") &&
		       file_of(setting(import, "", "ssl_cert")).size > 0;
	bool is_lmtp = strcmp(row->scheme, "lmtp") == 0;

	if (row->implicit && !has_tls)
		return;
	(void)buf_printf(out, "\nlisten %s {\n", row->scheme);
	add_addresses(import, out,
	    own.size > 0      ? own
	    : listen.size > 0 ? listen
			      : slice_from("*, ::"));
	(void)buf_printf(out, "\tport = %u\n", (unsigned)port);
	if (!row->implicit)
		(void)buf_printf(
		    out, "\ttls = %s\n", has_tls ? "starttls" : "none");
	if (!row->implicit && !is_lmtp &&
	    (!has_tls || (slice_is(plain, "no") && !slice_is(ssl, "required"))))
		(void)buf_add_string(out, "\tplaintext = yes\n");
	(void)buf_add_string(out, "}\n");
}

/* A port of 0 turns a listener off. */
static void
add_listeners_of(
    struct import *import, struct buf *out, const struct listener_row *row)
{
	struct buf path = buf_bounded(IMPORT_HOST_SIZE);
	uint64_t port = row->port;
	struct slice text;

	(void)buf_printf(&path, "service %s/inet_listener %s", row->service,
	    row->listener ? row->listener : row->scheme);
	text = setting(import, buf_string(&path), "port");
	if (text.size > 0 && slice_to_uint(text, UINT16_MAX, &port) < 0)
		port = row->port;
	if (port != 0)
		add_listener(import, out, row, buf_string(&path), port);
	buf_free(&path);
}

static void
add_backend(struct import *import, struct buf *out)
{
	struct slice ca = file_of(setting(import, "", "ssl_client_ca_file"));
	bool verify = true;

	if (ca.size == 0)
		ca = setting(import, "", "ssl_client_ca_file");
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		if (serves_protocol(import, protocols[i]))
			verify = verify &&
				 find_reach(import, protocols[i], true).verify;
	(void)buf_add_string(out, "\nbackend {\n");
	if (ca.size > 0)
		add_text(out, "\tca_file", ca);
	if (!verify)
		note(import, "any-cert", slice_from(""),
		    "the back ends' certificates are not verified: better have them signed, and verify = yes");
	(void)buf_printf(
	    out, "\tverify = %s\n\tname = typed\n}\n", verify ? "yes" : "no");
}

void
import_proxyd(struct import *import, struct buf *out)
{
	struct slice host = setting(import, "", "hostname");

	if (!name_is_host(host))
		host = import->dovecot.host;
	if (!name_is_host(host))
		host = slice_from("localhost");
	add_text(out, "host_name", host);
	note(import, "host_name", host,
	    "is it the name that clients know? It is what the proxy calls itself");
	add_tls(import, out);
	for (size_t i = 0; i < ARRAY_SIZE(listener_rows); i++)
		if (serves_protocol(import, listener_rows[i].protocol))
			add_listeners_of(import, out, &listener_rows[i]);
	add_backend(import, out);
}
