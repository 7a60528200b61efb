#include "proxy/config.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/config_check.h"
#include "proxy/front.h"

#define CONFIG_PORT_MAX         65535
#define CONFIG_RELAYS_MAX       256
#define CONFIG_MESSAGE_SIZE_MAX (1L << 40) /* octets */

static const char *const log_words[] = { "stderr", "syslog", NULL };
static const char *const level_words[] = { "error", "warning", "info", "debug",
	NULL };
static const char *const protocol_words[] = { "TLSv1.2", "TLSv1.3", NULL };
static const char *const listener_tls_words[] = { "default", "none", "starttls",
	"implicit", NULL };
static const char *const plaintext_words[] = { "default", "no", "yes", NULL };
static const char *const certificate_words[] = { "none", "ask", "require",
	NULL };
static const char *const listener_certificate_words[] = { "default", "none",
	"ask", "require", NULL };
static const char *const backend_tls_words[] = { "none", "starttls", "implicit",
	NULL };
static const char *const directory_tls_words[] = { "none", "starttls", NULL };
static const char *const directory_bind_words[] = { "simple", "external",
	NULL };
static const char *const authentication_words[] = { "relay", "verify", NULL };
static const char *const certificate_name_words[] = { "cn", "email", "uid",
	NULL };
static const char *const login_words[] = { "password", "master", "gssapi",
	"ticket", NULL };
static const char *const passwords_words[] = { "directory", "kdc", NULL };
static const char *const name_words[] = { "uid", "typed", NULL };
static const char *const recipients_words[] = { "server", "one", "all", NULL };

#define TOP(field) offsetof(struct config, field)
static const struct setting top_rows[] = {
	{ "host_name", SETTING_TEXT, TOP(host_name), NULL, 0, 0, NULL },
	{ "replica", SETTING_TEXT, TOP(replica), POSTCELL_STATEDIR "/replica",
	    0, 0, NULL },
	{ "start_wait", SETTING_NUMBER, TOP(start_wait), "10", 0, 300, NULL },
	{ "run_dir", SETTING_TEXT, TOP(run_dir), POSTCELL_RUNDIR, 0, 0, NULL },
	{ "user", SETTING_TEXT, TOP(user), "postcell", 0, 0, NULL },
	{ "chroot", SETTING_TEXT, TOP(chroot), POSTCELL_STATEDIR "/empty", 0, 0,
	    NULL },
	{ "relays", SETTING_NUMBER, TOP(relays), "0", 0, CONFIG_RELAYS_MAX,
	    NULL },
	{ "dns_servers", SETTING_LIST, TOP(dns_servers), "{}", 0, 0, NULL },
	{ "log", SETTING_CHOICE, TOP(log), "stderr", 0, 0, log_words },
	{ "log_level", SETTING_CHOICE, TOP(log_level), "info", 0, 0,
	    level_words },
};

/* The first costs a tenth less a handshake than OpenSSL's own first one. */
#define CIPHERSUITES                                                           \
	"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"                       \
	"TLS_CHACHA20_POLY1305_SHA256"

#define TLS(field) offsetof(struct config_tls, field)
static const struct setting tls_rows[] = {
	{ "certificate", SETTING_TEXT, TLS(certificate), NULL, 0, 0, NULL },
	{ "key", SETTING_TEXT, TLS(key), NULL, 0, 0, NULL },
	{ "alt_certificate", SETTING_TEXT, TLS(alt_certificate), NULL, 0, 0,
	    NULL },
	{ "alt_key", SETTING_TEXT, TLS(alt_key), NULL, 0, 0, NULL },
	{ "protocol_min", SETTING_CHOICE, TLS(protocol_min), "TLSv1.2", 0, 0,
	    protocol_words },
	{ "certificates", SETTING_TEXT, TLS(certificates), NULL, 0, 0, NULL },
	{ "ciphers", SETTING_TEXT, TLS(ciphers), NULL, 0, 0, NULL },
	{ "ciphersuites", SETTING_TEXT, TLS(ciphersuites), CIPHERSUITES, 0, 0,
	    NULL },
	{ "ticket_keys", SETTING_TEXT, TLS(ticket_keys), NULL, 0, 0, NULL },
	{ "client_ca", SETTING_TEXT, TLS(client_ca), NULL, 0, 0, NULL },
	{ "client_certificate", SETTING_CHOICE, TLS(client_certificate), "none",
	    0, 0, certificate_words },
	{ "watch_time", SETTING_NUMBER, TLS(watch_time), "10", 0, 86400, NULL },
};

#define LISTEN(field) offsetof(struct config_listener, field)
static const struct setting listen_rows[] = {
	{ "service", SETTING_TEXT, LISTEN(service_text), NULL, 0, 0, NULL },
	{ "addresses", SETTING_LIST, LISTEN(addresses), "{\"0.0.0.0\", \"::\"}",
	    0, 0, NULL },
	{ "port", SETTING_NUMBER, LISTEN(port), "0", 0, CONFIG_PORT_MAX, NULL },
	{ "tls", SETTING_CHOICE, LISTEN(tls_choice), "default", 0, 0,
	    listener_tls_words },
	{ "plaintext", SETTING_SWITCH, LISTEN(plaintext), "no", 0, 0, NULL },
	{ "mechanisms", SETTING_LIST, LISTEN(mechanism_names),
	    "{\"PLAIN\", \"LOGIN\"}", 0, 0, NULL },
	{ "authentication", SETTING_CHOICE, LISTEN(authentication), "relay", 0,
	    0, authentication_words },
	{ "client_certificate", SETTING_CHOICE, LISTEN(certificate_choice),
	    "default", 0, 0, listener_certificate_words },
	{ "proxy_networks", SETTING_LIST, LISTEN(proxy_texts), "{}", 0, 0,
	    NULL },
	{ "hub_networks", SETTING_LIST, LISTEN(hub_texts), "{}", 0, 0, NULL },
};

#define NETWORK(field) offsetof(struct config_network, field)
static const struct setting network_rows[] = {
	{ "listeners", SETTING_LIST, NETWORK(listeners), "{}", 0, 0, NULL },
	{ "mechanisms", SETTING_LIST, NETWORK(mechanism_names), "{}", 0, 0,
	    NULL },
	{ "plaintext", SETTING_CHOICE, NETWORK(plaintext), "default", 0, 0,
	    plaintext_words },
};

#define BACKEND(field) offsetof(struct config_backend, field)
static const struct setting backend_rows[] = {
	{ "ca_file", SETTING_TEXT, BACKEND(ca_file), NULL, 0, 0, NULL },
	{ "verify", SETTING_SWITCH, BACKEND(verify), "yes", 0, 0, NULL },
	{ "name", SETTING_CHOICE, BACKEND(name), "uid", 0, 0, name_words },
	{ "connect_timeout", SETTING_NUMBER, BACKEND(connect_timeout), "5", 1,
	    300, NULL },
	{ "reply_timeout", SETTING_NUMBER, BACKEND(reply_timeout), "30", 1, 300,
	    NULL },
	{ "retry_time", SETTING_NUMBER, BACKEND(retry_time), "10", 0, 300,
	    NULL },
	{ "port", SETTING_NUMBER, BACKEND(port), "0", 0, CONFIG_PORT_MAX,
	    NULL },
	{ "tls", SETTING_CHOICE, BACKEND(tls), "starttls", 0, 0,
	    backend_tls_words },
};

#define AUTH(field) offsetof(struct config_auth, field)
static const struct setting auth_rows[] = {
	{ "processes", SETTING_NUMBER, AUTH(processes), "2", 1, 64, NULL },
	{ "connections", SETTING_NUMBER, AUTH(connections), "8", 1, 256, NULL },
	{ "requests", SETTING_NUMBER, AUTH(requests), "1000", 1, 100000, NULL },
	{ "deadline", SETTING_NUMBER, AUTH(deadline), "10", 1, 300, NULL },
	{ "masters", SETTING_LIST, AUTH(masters), "{}", 0, 0, NULL },
	{ "master_separator", SETTING_TEXT, AUTH(master_separator), "", 0, 0,
	    NULL },
	{ "certificate_name", SETTING_CHOICE, AUTH(certificate_name), "cn", 0,
	    0, certificate_name_words },
	{ "keytab", SETTING_TEXT, AUTH(keytab), NULL, 0, 0, NULL },
	{ "realm", SETTING_TEXT, AUTH(realm), NULL, 0, 0, NULL },
	{ "passwords", SETTING_CHOICE, AUTH(passwords), "directory", 0, 0,
	    passwords_words },
	{ "tickets", SETTING_NUMBER, AUTH(tickets), "10000", 0, 1000000, NULL },
	/* A disabled user is out within five minutes, whatever else fails. */
	{ "ticket_time", SETTING_NUMBER, AUTH(ticket_time), "300", 0, 300,
	    NULL },
	{ "ticket_processes", SETTING_NUMBER, AUTH(ticket_processes), "16", 1,
	    256, NULL },
};

#define LOGIN(field) offsetof(struct config_login, field)
static const struct setting login_rows[] = {
	{ "pools", SETTING_LIST, LOGIN(pools), "{}", 0, 0, NULL },
	{ "services", SETTING_LIST, LOGIN(service_names), "{}", 0, 0, NULL },
	{ "as", SETTING_CHOICE, LOGIN(as), "password", 0, 0, login_words },
	{ "user", SETTING_TEXT, LOGIN(user), NULL, 0, 0, NULL },
	{ "password_file", SETTING_TEXT, LOGIN(password_file), NULL, 0, 0,
	    NULL },
	{ "keytab", SETTING_TEXT, LOGIN(keytab), NULL, 0, 0, NULL },
	{ "sources", SETTING_LIST, LOGIN(source_names),
	    "{\"password\", \"s4u2proxy\"}", 0, 0, NULL },
};

#define FAILURE(field) offsetof(struct config_failures, field)
static const struct setting failure_rows[] = {
	{ "delay", SETTING_NUMBER, FAILURE(delay), "1000", 0, 60000, NULL },
	{ "delay_max", SETTING_NUMBER, FAILURE(delay_max), "15000", 0, 60000,
	    NULL },
	{ "window", SETTING_NUMBER, FAILURE(window), "600", 1, 86400, NULL },
	{ "session_attempts", SETTING_NUMBER, FAILURE(session_attempts), "5", 1,
	    1000, NULL },
	{ "address_attempts", SETTING_NUMBER, FAILURE(address_attempts), "300",
	    0, 1000000, NULL },
	{ "account_attempts", SETTING_NUMBER, FAILURE(account_attempts), "100",
	    0, 1000000, NULL },
};

#define DELIVERY(field) offsetof(struct config_delivery, field)
static const struct setting delivery_rows[] = {
	{ "delimiter", SETTING_TEXT, DELIVERY(delimiter), "+", 0, 0, NULL },
	{ "bare_lf", SETTING_SWITCH, DELIVERY(bare_lf), "no", 0, 0, NULL },
	{ "recipients", SETTING_NUMBER, DELIVERY(recipients), "1000", 1, 100000,
	    NULL },
	{ "hops", SETTING_NUMBER, DELIVERY(hops), "100", 1, 10000, NULL },
	{ "message_size", SETTING_NUMBER, DELIVERY(message_size), "0", 0,
	    CONFIG_MESSAGE_SIZE_MAX, NULL },
	{ "smtp_recipients", SETTING_CHOICE, DELIVERY(smtp_recipients),
	    "server", 0, 0, recipients_words },
};

#define LIMIT(field) offsetof(struct config_limits, field)
static const struct setting limit_rows[] = {
	{ "line_size", SETTING_NUMBER, LIMIT(line_size), "8192", 512, 1048576,
	    NULL },
	{ "literal_size", SETTING_NUMBER, LIMIT(literal_size), "4096", 64,
	    65536, NULL },
	{ "login_time", SETTING_NUMBER, LIMIT(login_time), "60", 1, 3600,
	    NULL },
	{ "idle_time", SETTING_NUMBER, LIMIT(idle_time), "1860", 60, 604800,
	    NULL },
	{ "write_stall_time", SETTING_NUMBER, LIMIT(write_stall_time), "300", 1,
	    86400, NULL },
	{ "sessions", SETTING_NUMBER, LIMIT(sessions), "10000", 1, 1000000,
	    NULL },
	{ "bad_commands", SETTING_NUMBER, LIMIT(bad_commands), "3", 1, 1000,
	    NULL },
	{ "address_sessions", SETTING_NUMBER, LIMIT(address_sessions), "0", 0,
	    1000000, NULL },
	{ "address_waiting", SETTING_NUMBER, LIMIT(address_waiting), "0", 0,
	    1000000, NULL },
	{ "address_bits_ipv4", SETTING_NUMBER, LIMIT(address_bits_ipv4), "32",
	    8, 32, NULL },
	{ "address_bits_ipv6", SETTING_NUMBER, LIMIT(address_bits_ipv6), "64",
	    16, 128, NULL },
	{ "unlimited", SETTING_LIST, LIMIT(unlimited_texts), "{}", 0, 0, NULL },
	{ "user_sessions", SETTING_NUMBER, LIMIT(user_sessions), "0", 0,
	    1000000, NULL },
	{ "login_memory", SETTING_NUMBER, LIMIT(login_memory), "512", 0,
	    1048576, NULL },
};

#define DIRECTORY(field) offsetof(struct config_directory, field)
static const struct setting directory_rows[] = {
	{ "uris", SETTING_LIST, DIRECTORY(uris), "{}", 0, 0, NULL },
	{ "bind", SETTING_CHOICE, DIRECTORY(bind), "simple", 0, 0,
	    directory_bind_words },
	{ "bind_dn", SETTING_TEXT, DIRECTORY(bind_dn), NULL, 0, 0, NULL },
	{ "password_file", SETTING_TEXT, DIRECTORY(password_file), NULL, 0, 0,
	    NULL },
	{ "tls", SETTING_CHOICE, DIRECTORY(tls), "starttls", 0, 0,
	    directory_tls_words },
	{ "ca_file", SETTING_TEXT, DIRECTORY(ca_file), NULL, 0, 0, NULL },
	{ "certificate", SETTING_TEXT, DIRECTORY(certificate), NULL, 0, 0,
	    NULL },
	{ "key", SETTING_TEXT, DIRECTORY(key), NULL, 0, 0, NULL },
	{ "name", SETTING_TEXT, DIRECTORY(name), NULL, 0, 0, NULL },
	{ "user", SETTING_TEXT, DIRECTORY(user), "postcell-auth", 0, 0, NULL },
	{ "timeout", SETTING_NUMBER, DIRECTORY(timeout), "2", 1, 60, NULL },
};

#define METRICS(field) offsetof(struct config_metrics, field)
static const struct setting metrics_rows[] = {
	{ "address", SETTING_TEXT, METRICS(address), "127.0.0.1", 0, 0, NULL },
	{ "port", SETTING_NUMBER, METRICS(port), "0", 0, CONFIG_PORT_MAX,
	    NULL },
	{ "stale_time", SETTING_NUMBER, METRICS(stale_time), "60", 10, 86400,
	    NULL },
};

#define PROBE(field) offsetof(struct config_probe, field)
static const struct setting probe_rows[] = {
	{ "user", SETTING_TEXT, PROBE(user), NULL, 0, 0, NULL },
	{ "password_file", SETTING_TEXT, PROBE(password_file), NULL, 0, 0,
	    NULL },
	{ "interval", SETTING_NUMBER, PROBE(interval), "1000", 100, 600000,
	    NULL },
	{ "timeout", SETTING_NUMBER, PROBE(timeout), "1000", 100, 60000, NULL },
	{ "good", SETTING_NUMBER, PROBE(good), "3", 1, 100, NULL },
};

static const struct setting_section sections[] = {
	{ NULL, top_rows, ARRAY_SIZE(top_rows), 0, 0, 0, 0 },
	{ "tls", tls_rows, ARRAY_SIZE(tls_rows), TOP(tls), 0, 0, 0 },
	{ "listen", listen_rows, ARRAY_SIZE(listen_rows), TOP(listeners),
	    sizeof(struct config_listener), LISTEN(title), LISTEN(line) },
	{ "network", network_rows, ARRAY_SIZE(network_rows), TOP(networks),
	    sizeof(struct config_network), NETWORK(title), NETWORK(line) },
	{ "backend", backend_rows, ARRAY_SIZE(backend_rows), TOP(backend), 0, 0,
	    0 },
	{ "auth", auth_rows, ARRAY_SIZE(auth_rows), TOP(auth), 0, 0, 0 },
	{ "login", login_rows, ARRAY_SIZE(login_rows), TOP(logins),
	    sizeof(struct config_login), LOGIN(title), LOGIN(line) },
	{ "failures", failure_rows, ARRAY_SIZE(failure_rows), TOP(failures), 0,
	    0, 0 },
	{ "delivery", delivery_rows, ARRAY_SIZE(delivery_rows), TOP(delivery),
	    0, 0, 0 },
	{ "limits", limit_rows, ARRAY_SIZE(limit_rows), TOP(limits), 0, 0, 0 },
	{ "directory", directory_rows, ARRAY_SIZE(directory_rows),
	    TOP(directory), 0, 0, 0 },
	{ "metrics", metrics_rows, ARRAY_SIZE(metrics_rows), TOP(metrics), 0, 0,
	    0 },
	{ "probe", probe_rows, ARRAY_SIZE(probe_rows), TOP(probe), 0, 0, 0 },
};

const struct config_listener *
config_listeners(const struct config *config, size_t *count)
{
	*count = config->listeners.count;
	return config->listeners.items;
}

bool
config_is_network_of(const struct config_network *network, const char *title)
{
	for (size_t i = 0; i < network->listeners.count; i++)
		if (strcmp(network->listeners.items[i], title) == 0)
			return true;
	return network->listeners.count == 0;
}

unsigned
config_mechanisms(
    const struct config *config, const struct config_listener *listener)
{
	const struct config_network *networks = config->networks.items;
	unsigned mechanisms = listener->mechanisms;

	for (size_t i = 0; i < config->networks.count; i++)
		if (config_is_network_of(&networks[i], listener->title))
			mechanisms |= networks[i].mechanisms;
	return mechanisms;
}

bool
config_relays_mechanisms(
    const struct config *config, const struct config_listener *listener)
{
	return listener->authentication != CONFIG_VERIFY &&
	       (config_mechanisms(config, listener) &
		   sasl_relayed_mechanisms()) != 0;
}

void
config_access(const struct config *config,
    const struct config_listener *listener, const union address *client,
    unsigned *mechanisms, bool *plaintext)
{
	const struct config_network *networks = config->networks.items;
	const struct config_network *smallest = NULL;

	for (size_t i = 0; i < config->networks.count; i++)
		if ((!smallest ||
			networks[i].network.bits > smallest->network.bits) &&
		    config_is_network_of(&networks[i], listener->title) &&
		    network_contains(&networks[i].network, client))
			smallest = &networks[i];
	*mechanisms = smallest && smallest->mechanisms ? smallest->mechanisms
						       : listener->mechanisms;
	if (listener->authentication == CONFIG_VERIFY)
		*mechanisms &= ~sasl_relayed_mechanisms();
	else
		*mechanisms &= ~(1U << SASL_EXTERNAL);
	*plaintext = smallest && smallest->plaintext
			 ? smallest->plaintext == CONFIG_PLAINTEXT_YES
			 : listener->plaintext;
}

bool
config_observes(const struct config *config)
{
	return config->directory.uris.count > 0 && config->directory.name;
}

bool
config_listens(const struct config *config, enum service_kind service)
{
	const struct config_listener *listeners = config->listeners.items;

	for (size_t i = 0; i < config->listeners.count; i++)
		if (listeners[i].service == service)
			return true;
	return false;
}

bool
config_verifies(const struct config *config)
{
	const struct config_listener *listeners = config->listeners.items;

	for (size_t i = 0; i < config->listeners.count; i++)
		if (listeners[i].authentication == CONFIG_VERIFY)
			return true;
	return false;
}

bool
config_login_uses(const struct config_login *login, enum config_source source)
{
	for (size_t i = 0; i < login->source_count; i++)
		if (login->as == CONFIG_LOGIN_TICKET &&
		    login->sources[i] == source)
			return true;
	return false;
}

bool
config_uses_source(const struct config *config, enum config_source source)
{
	const struct config_login *logins = config->logins.items;

	for (size_t i = 0; i < config->logins.count; i++)
		if (config_login_uses(&logins[i], source))
			return true;
	return false;
}

static bool
has_pool(const struct config_login *login, struct slice pool)
{
	for (size_t i = 0; i < login->pools.count; i++)
		if (slice_is_nocase(pool, login->pools.items[i]))
			return true;
	return login->pools.count == 0;
}

const struct config_login *
config_find_login(
    const struct config *config, struct slice pool, enum service_kind service)
{
	const struct config_login *logins = config->logins.items;

	for (size_t i = 0; i < config->logins.count; i++)
		if (has_pool(&logins[i], pool) &&
		    logins[i].services & 1U << service)
			return &logins[i];
	return NULL;
}

int
config_read(struct config **config_out, const char *path, struct buf *errors)
{
	struct config *config = calloc(1, sizeof(*config));
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	*config_out = NULL;
	if (!config) {
		buf_add_string(errors, "out of memory\n");
		return -1;
	}
	config->path = path;
	if (settings_read(&config->settings, path, sections,
		ARRAY_SIZE(sections), config, errors) == 0)
		config_check(config, errors);
	if (errors->size > 0) {
		config_free(&config);
		return -1;
	}
	if (config->listeners.count == 0)
		config->relays = 0;
	else if (config->relays == 0)
		config->relays = cores < 1 ? 1
				 : cores < CONFIG_RELAYS_MAX
				     ? cores
				     : CONFIG_RELAYS_MAX;
	*config_out = config;
	return 0;
}

void
config_free(struct config **config)
{
	struct config_listener *listeners;

	if (*config) {
		listeners = (*config)->listeners.items;
		for (size_t i = 0; i < (*config)->listeners.count; i++) {
			free(listeners[i].proxy_networks.items);
			free(listeners[i].hub_networks.items);
		}
		free((*config)->limits.unlimited.items);
		settings_free(&(*config)->settings);
	}
	free(*config);
	*config = NULL;
}

void
config_describe(struct buf *out)
{
	settings_describe(sections, ARRAY_SIZE(sections), out);
}
