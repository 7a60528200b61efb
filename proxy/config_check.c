#include "proxy/config_check.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "lib/name.h"
#include "proxy/front.h"

static bool
is_address(const char *text)
{
	struct in6_addr address;

	return inet_pton(AF_INET, text, &address) == 1 ||
	       inet_pton(AF_INET6, text, &address) == 1;
}

/* Kind, port and TLS of a listener follow from its scheme unless they are
 * given. */
static bool
derive_service(struct config_listener *listener)
{
	struct buf url = buf_bounded(256);
	struct service service;
	const char *why;
	bool known;

	buf_printf(&url, "%s://host",
	    listener->service_text ? listener->service_text : listener->title);
	known = service_parse(buf_slice(&url), &service, &why) == 0;
	buf_free(&url);
	if (!known)
		return false;
	listener->service = service.kind;
	listener->tls = listener->tls_choice
			    ? (enum service_tls)(listener->tls_choice - 1)
			    : service.tls;
	if (listener->port == 0)
		listener->port = service.port;
	return true;
}

/* where: what the names are of, for errors. */
static unsigned
derive_mechanisms(
    const char *where, const struct setting_list *names, struct buf *errors)
{
	unsigned mechanisms = 0;

	for (size_t i = 0; i < names->count; i++) {
		enum sasl_mechanism mechanism;

		if (sasl_mechanism_parse(
			slice_from(names->items[i]), &mechanism) == 0)
			mechanisms |= 1U << mechanism;
		else
			buf_printf(errors,
			    "%s: mechanism \"%s\" is not spoken here\n", where,
			    names->items[i]);
	}
	return mechanisms;
}

/* Mail comes from hubs, which do not log in. */
static bool
is_delivery(const struct config_listener *listener)
{
	return listener->service == SERVICE_LMTP ||
	       listener->service == SERVICE_SMTP;
}

/* texts: "ADDRESS/BITS" each; where: what they are of, for errors. */
static void
derive_networks(const char *where, const struct setting_list *texts,
    struct networks *networks, struct buf *errors)
{
	const char *why;

	networks->items = calloc(texts->count + 1, sizeof(*networks->items));
	if (!networks->items)
		abort();
	for (size_t i = 0; i < texts->count; i++) {
		if (network_parse(texts->items[i],
			&networks->items[networks->count], &why) == 0)
			networks->count++;
		else
			buf_printf(errors, "%s: \"%s\" %s\n", where,
			    texts->items[i], why);
	}
}

static void
derive_listener_networks(const struct config *config,
    const struct config_listener *listener, const char *option,
    const struct setting_list *texts, struct networks *networks,
    struct buf *errors)
{
	struct buf where = buf_bounded(4096);

	buf_printf(&where, "%s:%ld: listen \"%s\": %s", config->path,
	    listener->line, listener->title, option);
	derive_networks(buf_string(&where), texts, networks, errors);
	buf_free(&where);
}

static void
derive_listener(const struct config *config, struct config_listener *listener,
    struct buf *errors)
{
	struct buf where = buf_bounded(4096);

	buf_printf(&where, "%s:%ld: listen \"%s\"", config->path,
	    listener->line, listener->title);
	listener->mechanisms = derive_mechanisms(
	    buf_string(&where), &listener->mechanism_names, errors);
	if (listener->mechanisms == 0)
		buf_printf(errors,
		    "%s has no mechanisms: nobody could log in\n",
		    buf_string(&where));
	buf_free(&where);
	listener->client_certificate = listener->certificate_choice
					   ? listener->certificate_choice - 1
					   : config->tls.client_certificate;
}

/* May anybody say credentials there without TLS? */
static bool
takes_plaintext(
    const struct config *config, const struct config_listener *listener)
{
	const struct config_network *networks = config->networks.items;

	for (size_t i = 0; i < config->networks.count; i++)
		if (networks[i].plaintext == CONFIG_PLAINTEXT_YES &&
		    config_is_network_of(&networks[i], listener->title))
			return true;
	return listener->plaintext;
}

static void
check_network(const struct config *config, struct config_network *network,
    struct buf *errors)
{
	const struct config_listener *listeners = config->listeners.items;
	struct buf where = buf_bounded(4096);
	const char *why;

	buf_printf(&where, "%s:%ld: network \"%s\"", config->path,
	    network->line, network->title);
	if (network_parse(network->title, &network->network, &why) < 0)
		buf_printf(errors, "%s %s\n", buf_string(&where), why);
	network->mechanisms = derive_mechanisms(
	    buf_string(&where), &network->mechanism_names, errors);
	for (size_t i = 0; i < network->listeners.count; i++) {
		const char *title = network->listeners.items[i];
		size_t k = 0;

		while (k < config->listeners.count &&
		       strcmp(listeners[k].title, title) != 0)
			k++;
		if (k == config->listeners.count)
			buf_printf(errors,
			    "%s: there is no listen section \"%s\"\n",
			    buf_string(&where), title);
	}
	buf_free(&where);
}

/* Mechanisms that a proxy can verify, and those that only a back end can. */
static void
check_mechanisms(const struct config *config,
    const struct config_listener *listener, struct buf *errors)
{
	unsigned passwords = 1U << SASL_PLAIN | 1U << SASL_LOGIN;
	unsigned ours = 1U << SASL_EXTERNAL | 1U << SASL_GSSAPI;
	bool verifies = listener->authentication == CONFIG_VERIFY;
	unsigned mechanisms = config_mechanisms(config, listener);

	for (unsigned i = 0; i < SASL_MECHANISM_COUNT; i++) {
		unsigned bit = 1U << i;
		bool is_ours = bit & ours;

		if (!(mechanisms & bit & ~passwords) || is_ours == verifies)
			continue;
		buf_printf(errors,
		    "%s:%ld: listen \"%s\": mechanism \"%s\" needs authentication = %s\n",
		    config->path, listener->line, listener->title,
		    sasl_mechanism_text((enum sasl_mechanism)i),
		    is_ours ? "verify" : "relay");
	}
	if (mechanisms & 1U << SASL_GSSAPI && !config->auth.keytab)
		buf_printf(errors,
		    "%s:%ld: listen \"%s\": mechanism \"GSSAPI\" needs auth { keytab }\n",
		    config->path, listener->line, listener->title);
}

static void
derive_all_networks(const struct config *config,
    struct config_listener *listener, struct buf *errors)
{
	derive_listener_networks(config, listener, "proxy_networks",
	    &listener->proxy_texts, &listener->proxy_networks, errors);
	derive_listener_networks(config, listener, "hub_networks",
	    &listener->hub_texts, &listener->hub_networks, errors);
	if (listener->service == SERVICE_SMTP && listener->hub_texts.count == 0)
		buf_printf(errors,
		    "%s:%ld: listen \"%s\" needs hub_networks: who may send mail here without a login\n",
		    config->path, listener->line, listener->title);
	if (!is_delivery(listener) && listener->hub_texts.count > 0)
		buf_printf(errors,
		    "%s:%ld: listen \"%s\": hub_networks are of smtp and lmtp\n",
		    config->path, listener->line, listener->title);
}

static void
check_listener(const struct config *config, struct config_listener *listener,
    struct buf *errors)
{
	if (!derive_service(listener) ||
	    (!is_delivery(listener) && !front_protocol(listener->service)))
		buf_printf(errors,
		    "%s:%ld: listen \"%s\": no such service; there are imap, imaps, pop3, pop3s, submission, submissions, sieve, lmtp and smtp\n",
		    config->path, listener->line, listener->title);
	derive_listener(config, listener, errors);
	derive_all_networks(config, listener, errors);
	if (listener->addresses.count == 0)
		buf_printf(errors, "%s:%ld: listen \"%s\" has no addresses\n",
		    config->path, listener->line, listener->title);
	for (size_t i = 0; i < listener->addresses.count; i++)
		if (!is_address(listener->addresses.items[i]))
			buf_printf(errors,
			    "%s:%ld: listen \"%s\": \"%s\" is not an IP address\n",
			    config->path, listener->line, listener->title,
			    listener->addresses.items[i]);
	if (listener->client_certificate != CONFIG_CLIENT_CERTIFICATE_NONE &&
	    !config->tls.client_ca)
		buf_printf(errors,
		    "%s:%ld: listen \"%s\" wants certificates of clients, but tls { client_ca } is not set\n",
		    config->path, listener->line, listener->title);
	if (listener->tls != SERVICE_TLS_NONE && !config->tls.certificate)
		buf_printf(errors,
		    "%s:%ld: listen \"%s\" wants TLS, but tls { certificate } is not set\n",
		    config->path, listener->line, listener->title);
	if (listener->tls == SERVICE_TLS_NONE &&
	    !takes_plaintext(config, listener) && !is_delivery(listener))
		buf_printf(errors,
		    "%s:%ld: listen \"%s\" has neither TLS nor plaintext = yes: nobody could log in\n",
		    config->path, listener->line, listener->title);
}

static void
derive_sources(
    const struct config *config, struct config_login *login, struct buf *errors)
{
	static const char *const words[CONFIG_SOURCE_COUNT] = {
		[CONFIG_SOURCE_PASSWORD] = "password",
		[CONFIG_SOURCE_FORWARDED] = "forwarded",
		[CONFIG_SOURCE_S4U2PROXY] = "s4u2proxy",
		[CONFIG_SOURCE_PROXY] = "proxy",
	};

	for (size_t i = 0; i < login->source_names.count; i++) {
		const char *name = login->source_names.items[i];
		unsigned source = 0;

		while (source < CONFIG_SOURCE_COUNT &&
		       strcmp(name, words[source]) != 0)
			source++;
		if (source == CONFIG_SOURCE_COUNT ||
		    login->source_count == CONFIG_SOURCE_COUNT)
			buf_printf(errors,
			    "%s:%ld: login \"%s\": no source \"%s\"; there are password, forwarded, s4u2proxy and proxy, each once\n",
			    config->path, login->line, login->title, name);
		else
			login->sources[login->source_count++] =
			    (enum config_source)source;
	}
}

static void
check_ticket(
    const struct config *config, struct config_login *login, struct buf *errors)
{
	derive_sources(config, login, errors);
	if (config_login_uses(login, CONFIG_SOURCE_PROXY) &&
	    (!login->user || !login->keytab))
		buf_printf(errors,
		    "%s:%ld: login \"%s\": source \"proxy\" needs user and keytab\n",
		    config->path, login->line, login->title);
	if (login->as == CONFIG_LOGIN_TICKET && login->source_count == 0)
		buf_printf(errors,
		    "%s:%ld: login \"%s\" by ticket needs sources\n",
		    config->path, login->line, login->title);
}

static void
check_login(
    const struct config *config, struct config_login *login, struct buf *errors)
{
	if (login->service_names.count == 0)
		login->services = ~0U;
	for (size_t i = 0; i < login->service_names.count; i++) {
		const char *name = login->service_names.items[i];
		unsigned kind = 0;

		while (kind < SERVICE_KIND_COUNT &&
		       (strcmp(name, service_kind_text(kind)) != 0 ||
			   !front_protocol(kind)))
			kind++;
		if (kind < SERVICE_KIND_COUNT)
			login->services |= 1U << kind;
		else
			buf_printf(errors,
			    "%s:%ld: login \"%s\": nobody logs in at a service \"%s\"; there are imap, pop3, submission and sieve\n",
			    config->path, login->line, login->title, name);
	}
	if (login->as == CONFIG_LOGIN_MASTER &&
	    (!login->user || !login->password_file))
		buf_printf(errors,
		    "%s:%ld: login \"%s\" as a master needs user and password_file\n",
		    config->path, login->line, login->title);
	if (login->as == CONFIG_LOGIN_GSSAPI &&
	    (!login->user || !login->keytab))
		buf_printf(errors,
		    "%s:%ld: login \"%s\" by gssapi needs user and keytab\n",
		    config->path, login->line, login->title);
	check_ticket(config, login, errors);
}

static void
check_auth(const struct config *config, struct buf *errors)
{
	struct config_login *logins = config->logins.items;

	if (config_verifies(config) && config->directory.uris.count == 0)
		buf_printf(errors,
		    "%s: a listener with authentication = verify needs directory { uris }\n",
		    config->path);
	if (strlen(config->auth.master_separator) > 1)
		buf_printf(errors,
		    "%s: auth { master_separator } is one character, or none\n",
		    config->path);
	for (size_t i = 0; i < config->logins.count; i++)
		check_login(config, &logins[i], errors);
}

static void
check_directory(const struct config *config, struct buf *errors)
{
	const struct config_directory *directory = &config->directory;
	const struct config_probe *probe = &config->probe;
	bool external = directory->bind == CONFIG_DIRECTORY_EXTERNAL;
	bool known =
	    external || (directory->bind_dn && directory->password_file);

	if (directory->uris.count > 0 &&
	    (!config_verifies(config) || directory->name) &&
	    (!known || !directory->name))
		buf_printf(errors,
		    "%s: directory { uris } needs bind_dn, password_file and name, or bind = external and name\n",
		    config->path);
	if (!directory->certificate != !directory->key)
		buf_printf(errors,
		    "%s: directory { certificate, key } go together\n",
		    config->path);
	if (external && directory->bind_dn)
		buf_printf(errors,
		    "%s: directory { bind_dn } is of bind = simple\n",
		    config->path);
	if (!directory->bind_dn != !directory->password_file)
		buf_printf(errors,
		    "%s: directory { bind_dn, password_file } go together\n",
		    config->path);
	for (size_t i = 0; i < directory->uris.count; i++)
		if (strncmp(directory->uris.items[i], "ldap", 4) != 0)
			buf_printf(errors,
			    "%s: directory { uris }: \"%s\" is not an ldap, ldaps or ldapi URL\n",
			    config->path, directory->uris.items[i]);
	if (!probe->user != !probe->password_file)
		buf_printf(errors,
		    "%s: probe { user, password_file } go together\n",
		    config->path);
}

void
config_check(struct config *config, struct buf *errors)
{
	struct config_listener *listeners = config->listeners.items;
	struct config_network *networks = config->networks.items;
	struct buf where = buf_bounded(4096);

	if (!config->host_name || !name_is_host(slice_from(config->host_name)))
		buf_printf(errors,
		    "%s: host_name must be set to the name of this proxy in DNS\n",
		    config->path);
	if (!config->tls.certificate != !config->tls.key)
		buf_printf(errors, "%s: tls { certificate, key } go together\n",
		    config->path);
	if (!config->tls.alt_certificate != !config->tls.alt_key ||
	    (config->tls.alt_certificate && !config->tls.certificate))
		buf_printf(errors,
		    "%s: tls { alt_certificate, alt_key } go together, beside certificate and key\n",
		    config->path);
	if (config->tls.certificates && !config->tls.certificate)
		buf_printf(errors,
		    "%s: tls { certificates } needs certificate, for all other names\n",
		    config->path);
	buf_printf(&where, "%s: limits { unlimited }", config->path);
	derive_networks(buf_string(&where), &config->limits.unlimited_texts,
	    &config->limits.unlimited, errors);
	buf_free(&where);
	check_directory(config, errors);
	check_auth(config, errors);
	if (config->listeners.count == 0 && !config_observes(config))
		buf_printf(errors,
		    "%s: there is neither a listen section nor directory { uris }\n",
		    config->path);
	for (size_t i = 0; i < config->listeners.count; i++)
		check_listener(config, &listeners[i], errors);
	if (!is_address(config->metrics.address))
		buf_printf(errors,
		    "%s: metrics { address }: \"%s\" is not an IP address\n",
		    config->path, config->metrics.address);
	for (size_t i = 0; i < config->networks.count; i++)
		check_network(config, &networks[i], errors);
	for (size_t i = 0; i < config->listeners.count; i++)
		check_mechanisms(config, &listeners[i], errors);
}
