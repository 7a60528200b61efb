#include "zones/config.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base64.h"
#include "lib/endpoint.h"
#include "lib/name.h"

#define CONFIG_DAY         86400
#define CONFIG_SECRET_SIZE 512

static const char *const log_words[] = { "stderr", "syslog", NULL };
static const char *const level_words[] = { "error", "warning", "info", "debug",
	NULL };
static const char *const driver_words[] = { "update", "file", NULL };
static const char *const algorithm_words[] = { "hmac-sha256", "hmac-sha512",
	NULL };
static const char *const algorithms[] = { "hmac-sha256.", "hmac-sha512." };
static const char *const login_words[] = { "address", "local_part", NULL };
_Static_assert(ARRAY_SIZE(algorithm_words) == ARRAY_SIZE(algorithms) + 1,
    "a name for each algorithm");

#define TOP(field) offsetof(struct config, field)
static const struct setting top_rows[] = {
	{ "replica", SETTING_TEXT, TOP(replica), POSTCELL_STATEDIR "/replica",
	    0, 0, NULL },
	{ "run_dir", SETTING_TEXT, TOP(run_dir), POSTCELL_RUNDIR, 0, 0, NULL },
	{ "user", SETTING_TEXT, TOP(user), "postcell", 0, 0, NULL },
	{ "publisher", SETTING_TEXT, TOP(publisher), NULL, 0, 0, NULL },
	{ "metrics", SETTING_TEXT, TOP(metrics), NULL, 0, 0, NULL },
	{ "dns_servers", SETTING_LIST, TOP(dns_servers), "{}", 0, 0, NULL },
	{ "web", SETTING_LIST, TOP(web), "{}", 0, 0, NULL },
	{ "timeout", SETTING_NUMBER, TOP(timeout), "5", 1, 60, NULL },
	{ "retry_max", SETTING_NUMBER, TOP(retry_max), "10", 1, 3600, NULL },
	{ "check_interval", SETTING_NUMBER, TOP(check_interval), "60", 1,
	    CONFIG_DAY, NULL },
	{ "fail_open", SETTING_NUMBER, TOP(fail_open), "34", 0, 100, NULL },
	{ "return_delay", SETTING_NUMBER, TOP(return_delay), "3", 0, 3600,
	    NULL },
	{ "change_max", SETTING_NUMBER, TOP(change_max), "100", 1, 1000, NULL },
	{ "change_interval", SETTING_NUMBER, TOP(change_interval), "1000", 0,
	    3600000, NULL },
	{ "transfer_max", SETTING_NUMBER, TOP(transfer_max), "64", 1, 4096,
	    NULL },
	{ "log", SETTING_CHOICE, TOP(log), "stderr", 0, 0, log_words },
	{ "log_level", SETTING_CHOICE, TOP(log_level), "info", 0, 0,
	    level_words },
};

#define TTL(field) offsetof(struct config_ttl, field)
static const struct setting ttl_rows[] = {
	{ "address", SETTING_NUMBER, TTL(address), "30", 0, CONFIG_DAY, NULL },
	{ "srv", SETTING_NUMBER, TTL(srv), "60", 0, CONFIG_DAY, NULL },
	{ "mx", SETTING_NUMBER, TTL(mx), "300", 0, CONFIG_DAY, NULL },
	{ "txt", SETTING_NUMBER, TTL(txt), "3600", 0, CONFIG_DAY, NULL },
	{ "alias", SETTING_NUMBER, TTL(alias), "3600", 0, CONFIG_DAY, NULL },
	{ "tlsa", SETTING_NUMBER, TTL(tlsa), "3600", 0, CONFIG_DAY, NULL },
};

#define KEY(field) offsetof(struct config_key, field)
static const struct setting key_rows[] = {
	{ "algorithm", SETTING_CHOICE, KEY(algorithm), "hmac-sha256", 0, 0,
	    algorithm_words },
	{ "secret_file", SETTING_TEXT, KEY(secret_file), NULL, 0, 0, NULL },
};

#define ZONE(field) offsetof(struct config_zone, field)
static const struct setting zone_rows[] = {
	{ "driver", SETTING_CHOICE, ZONE(driver), "update", 0, 0,
	    driver_words },
	{ "primaries", SETTING_LIST, ZONE(primaries), "{}", 0, 0, NULL },
	{ "key_name", SETTING_TEXT, ZONE(key_name), NULL, 0, 0, NULL },
	{ "epoch", SETTING_TEXT, ZONE(epoch), "_postcell-epoch", 0, 0, NULL },
	{ "hosts", SETTING_TEXT, ZONE(hosts), NULL, 0, 0, NULL },
	{ "base", SETTING_TEXT, ZONE(base), NULL, 0, 0, NULL },
	{ "file", SETTING_TEXT, ZONE(file), NULL, 0, 0, NULL },
	{ "hook", SETTING_TEXT, ZONE(hook), NULL, 0, 0, NULL },
};

#define NAME(field) offsetof(struct config_name, field)
static const struct setting name_rows[] = {
	{ "services", SETTING_LIST, NAME(service_texts), "{}", 0, 0, NULL },
};

#define DOMAIN(field) offsetof(struct config_domain, field)
static const struct setting domain_rows[] = {
	{ "srv", SETTING_LIST, DOMAIN(srv), "{}", 0, 0, NULL },
	{ "sites", SETTING_LIST, DOMAIN(sites), "{}", 0, 0, NULL },
	{ "realm", SETTING_TEXT, DOMAIN(realm), NULL, 0, 0, NULL },
	{ "mx", SETTING_SWITCH, DOMAIN(mx), "no", 0, 0, NULL },
	{ "autoconfig", SETTING_TEXT, DOMAIN(autoconfig), NULL, 0, 0, NULL },
	{ "autodiscover", SETTING_TEXT, DOMAIN(autodiscover), NULL, 0, 0,
	    NULL },
	{ "login", SETTING_CHOICE, DOMAIN(login), "address", 0, 0,
	    login_words },
};

#define TLSA(field) offsetof(struct config_tlsa, field)
static const struct setting tlsa_rows[] = {
	{ "certificates", SETTING_LIST, TLSA(certificates), "{}", 0, 0, NULL },
	{ "ports", SETTING_LIST, TLSA(ports), "{}", 0, 0, NULL },
};

#define HOST(field) offsetof(struct config_host, field)
static const struct setting host_rows[] = {
	{ "name", SETTING_TEXT, HOST(name), NULL, 0, 0, NULL },
	{ "addresses", SETTING_LIST, HOST(addresses), "{}", 0, 0, NULL },
};

static const struct setting_section sections[] = {
	{ NULL, top_rows, ARRAY_SIZE(top_rows), 0, 0, 0, 0 },
	{ "ttl", ttl_rows, ARRAY_SIZE(ttl_rows), TOP(ttl), 0, 0, 0 },
	{ "key", key_rows, ARRAY_SIZE(key_rows), TOP(keys),
	    sizeof(struct config_key), KEY(title), KEY(line) },
	{ "zone", zone_rows, ARRAY_SIZE(zone_rows), TOP(zones),
	    sizeof(struct config_zone), ZONE(title), ZONE(line) },
	{ "name", name_rows, ARRAY_SIZE(name_rows), TOP(names),
	    sizeof(struct config_name), NAME(title), NAME(line) },
	{ "domain", domain_rows, ARRAY_SIZE(domain_rows), TOP(domains),
	    sizeof(struct config_domain), DOMAIN(title), DOMAIN(line) },
	{ "tlsa", tlsa_rows, ARRAY_SIZE(tlsa_rows), TOP(tlsa),
	    sizeof(struct config_tlsa), TLSA(title), TLSA(line) },
	{ "host", host_rows, ARRAY_SIZE(host_rows), TOP(hosts),
	    sizeof(struct config_host), HOST(title), HOST(line) },
};

const struct config_srv_row config_srv_rows[] = {
	{ "imap", SERVICE_IMAP, false, { "_imap._tcp", NULL } },
	{ "imaps", SERVICE_IMAP, true, { "_imaps._tcp", NULL } },
	{ "pop3", SERVICE_POP3, false, { "_pop3._tcp", NULL } },
	{ "pop3s", SERVICE_POP3, true, { "_pop3s._tcp", NULL } },
	{ "submission", SERVICE_SUBMISSION, false,
	    { "_submission._tcp", NULL } },
	{ "submissions", SERVICE_SUBMISSION, true,
	    { "_submissions._tcp", NULL } },
	{ "sieve", SERVICE_SIEVE, false, { "_sieve._tcp", NULL } },
	{ "kerberos", SERVICE_KERBEROS, false,
	    { "_kerberos._udp", "_kerberos._tcp" } },
	{ "kpasswd", SERVICE_KPASSWD, false,
	    { "_kpasswd._udp", "_kpasswd._tcp" } },
	{ "ldap", SERVICE_LDAP, false, { "_ldap._tcp", NULL } },
};
const size_t config_srv_row_count = ARRAY_SIZE(config_srv_rows);

const struct config_srv_row *
config_srv_row(const char *word)
{
	for (size_t i = 0; i < config_srv_row_count; i++)
		if (strcmp(config_srv_rows[i].word, word) == 0)
			return &config_srv_rows[i];
	return NULL;
}

const char *
config_algorithm(const struct config_key *key)
{
	return algorithms[key->algorithm];
}

/* A fault in a section, where it begins. */
__attribute__((format(printf, 5, 6))) static void
fault(struct buf *errors, const struct config *config, long line,
    const char *title, const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	/* va_start was called, which the analyser misses. */
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	buf_printf(
	    errors, "%s:%ld: \"%s\": %s\n", config->path, line, title, text);
}

/* A name as DNS has it; leading underscores are for services. NULL for none. */
static ldns_rdf *
parse_name(const char *text)
{
	static const char legal[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
	ldns_rdf *name;

	if (text[0] == '\0' || text[strspn(text, legal)] != '\0')
		return NULL;
	name = ldns_dname_new_frm_str(text);
	if (name)
		ldns_dname2canonical(name);
	return name;
}

const struct config_zone *
config_zone_of(const struct config *config, const ldns_rdf *name)
{
	const struct config_zone *zones = config->zones.items, *found = NULL;

	for (size_t i = 0; i < config->zones.count; i++) {
		const ldns_rdf *apex = zones[i].apex;

		if (!apex || (ldns_dname_compare(name, apex) != 0 &&
				 !ldns_dname_is_subdomain(name, apex)))
			continue;
		if (!found || ldns_dname_label_count(apex) >
				  ldns_dname_label_count(found->apex))
			found = &zones[i];
	}
	return found;
}

/* A name that we publish must lie in a zone of ours. */
static void
check_owner(const struct config *config, const char *title, long line,
    struct buf *errors)
{
	ldns_rdf *name = parse_name(title);

	if (!name)
		fault(errors, config, line, title, "is not a name of DNS");
	else if (!config_zone_of(config, name))
		fault(errors, config, line, title,
		    "lies in no zone of this file");
	ldns_rdf_deep_free(name);
}

static void
check_target(const struct config *config, const char *option,
    const char *target, const char *title, long line, struct buf *errors)
{
	if (target && !name_is_host(slice_from(target)))
		fault(errors, config, line, title,
		    "%s is \"%s\", not a host name", option, target);
}

static void
read_secret(
    const struct config *config, struct config_key *key, struct buf *errors)
{
	struct buf octets = buf_bounded(CONFIG_SECRET_SIZE);
	char line[CONFIG_SECRET_SIZE] = "";
	FILE *file = fopen(key->secret_file, "re");
	struct slice text;

	if (!file || !fgets(line, sizeof(line), file)) {
		fault(errors, config, key->line, key->title,
		    "secret_file \"%s\" cannot be read", key->secret_file);
		goto out;
	}
	line[strcspn(line, "\r\n")] = '\0';
	text = slice_trim(slice_from(line));
	if (base64_decode(&octets, text) < 0 || octets.size < 16)
		fault(errors, config, key->line, key->title,
		    "secret_file \"%s\" must hold one line, 16 octets or more in base64",
		    key->secret_file);
	key->secret = strndup(text.data ? text.data : "", text.size);
	if (!key->secret)
		abort();
out:
	if (file)
		(void)fclose(file);
	explicit_bzero(line, sizeof(line));
	buf_wipe(&octets);
}

static void
check_key(
    const struct config *config, struct config_key *key, struct buf *errors)
{
	ldns_rdf *name = parse_name(key->title);

	if (!name)
		fault(errors, config, key->line, key->title,
		    "is not a name of DNS, as keys have");
	ldns_rdf_deep_free(name);
	if (!key->secret_file)
		fault(errors, config, key->line, key->title,
		    "secret_file is not set");
	else
		read_secret(config, key, errors);
}

static void
check_update_zone(
    const struct config *config, struct config_zone *zone, struct buf *errors)
{
	const struct config_key *keys = config->keys.items;

	for (size_t i = 0; i < config->keys.count; i++)
		if (zone->key_name &&
		    strcmp(keys[i].title, zone->key_name) == 0)
			zone->key = &keys[i];
	if (!zone->key)
		fault(errors, config, zone->line, zone->title,
		    "key_name must name a key section");
	if (zone->primaries.count == 0)
		fault(errors, config, zone->line, zone->title,
		    "primaries is empty");
	for (size_t i = 0; i < zone->primaries.count; i++) {
		struct endpoint endpoint;

		if (endpoint_parse(&endpoint,
			slice_from(zone->primaries.items[i]), 53) < 0)
			fault(errors, config, zone->line, zone->title,
			    "primary \"%s\" is not ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT",
			    zone->primaries.items[i]);
	}
	if (zone->base || zone->file || zone->hook)
		fault(errors, config, zone->line, zone->title,
		    "base, file and hook are for driver = file");
}

static void
check_zone(
    const struct config *config, struct config_zone *zone, struct buf *errors)
{
	char owner[512];

	zone->apex = parse_name(zone->title);
	(void)snprintf(owner, sizeof(owner), "%s.%s", zone->epoch, zone->title);
	zone->epoch_owner = parse_name(owner);
	if (!zone->apex || !zone->epoch_owner || !zone->epoch[0]) {
		fault(errors, config, zone->line, zone->title,
		    "zone and epoch must be names of DNS");
		return;
	}
	if (zone->hosts) {
		zone->hosts_apex = parse_name(zone->hosts);
		if (!zone->hosts_apex ||
		    !ldns_dname_is_subdomain(zone->hosts_apex, zone->apex))
			fault(errors, config, zone->line, zone->title,
			    "hosts must be a name below the zone");
	}
	if (zone->driver == CONFIG_DRIVER_UPDATE)
		check_update_zone(config, zone, errors);
	else if (!zone->base || !zone->file)
		fault(errors, config, zone->line, zone->title,
		    "driver = file needs base and file");
	else if (strcmp(zone->base, zone->file) == 0)
		fault(errors, config, zone->line, zone->title,
		    "base and file must differ");
	else if (zone->primaries.count > 0)
		fault(errors, config, zone->line, zone->title,
		    "primaries are for driver = update");
}

static void
check_name(
    const struct config *config, struct config_name *name, struct buf *errors)
{
	enum service_kind kind;

	check_owner(config, name->title, name->line, errors);
	for (size_t i = 0; i < name->service_texts.count; i++) {
		const char *text = name->service_texts.items[i];

		if (service_kind_parse(slice_from(text), &kind) < 0)
			fault(errors, config, name->line, name->title,
			    "no such service: \"%s\"", text);
		else
			name->services |= UINT32_C(1) << kind;
	}
}

static void
check_domain(const struct config *config, const struct config_domain *domain,
    struct buf *errors)
{
	check_owner(config, domain->title, domain->line, errors);
	for (size_t i = 0; i < domain->srv.count; i++)
		if (!config_srv_row(domain->srv.items[i]))
			fault(errors, config, domain->line, domain->title,
			    "srv has no \"%s\"", domain->srv.items[i]);
	if (domain->realm &&
	    (strlen(domain->realm) > 255 || strpbrk(domain->realm, "\"\\") ||
		!slice_is_printable(slice_from(domain->realm))))
		fault(errors, config, domain->line, domain->title,
		    "realm is not the name of one");
	check_target(config, "autoconfig", domain->autoconfig, domain->title,
	    domain->line, errors);
	check_target(config, "autodiscover", domain->autodiscover,
	    domain->title, domain->line, errors);
}

static void
check_tlsa(const struct config *config, const struct config_tlsa *tlsa,
    struct buf *errors)
{
	uint64_t port;

	check_owner(config, tlsa->title, tlsa->line, errors);
	if (tlsa->certificates.count == 0 || tlsa->ports.count == 0)
		fault(errors, config, tlsa->line, tlsa->title,
		    "certificates and ports must be set");
	for (size_t i = 0; i < tlsa->ports.count; i++)
		if (slice_to_uint(
			slice_from(tlsa->ports.items[i]), 65535, &port) < 0 ||
		    port == 0)
			fault(errors, config, tlsa->line, tlsa->title,
			    "\"%s\" is not a port", tlsa->ports.items[i]);
}

static void
check_host(const struct config *config, const struct config_host *host,
    struct buf *errors)
{
	struct in6_addr address;

	check_target(
	    config, "name", host->name, host->title, host->line, errors);
	for (size_t i = 0; i < host->addresses.count; i++)
		if (inet_pton(AF_INET, host->addresses.items[i], &address) !=
			1 &&
		    inet_pton(AF_INET6, host->addresses.items[i], &address) !=
			1)
			fault(errors, config, host->line, host->title,
			    "\"%s\" is not an IP address",
			    host->addresses.items[i]);
}

static void
check_listeners(const struct config *config, struct buf *errors)
{
	struct endpoint endpoint;

	if (config->metrics &&
	    endpoint_parse(&endpoint, slice_from(config->metrics), 0) < 0)
		buf_printf(
		    errors, "%s: metrics is not ADDRESS:PORT\n", config->path);
	for (size_t i = 0; i < config->web.count; i++)
		if (endpoint_parse(&endpoint, slice_from(config->web.items[i]),
			CONFIG_WEB_PORT) < 0)
			buf_printf(errors,
			    "%s: web has \"%s\", which is not ADDRESS:PORT\n",
			    config->path, config->web.items[i]);
}

static void
check(struct config *config, struct buf *errors)
{
	struct config_key *keys = config->keys.items;
	struct config_zone *zones = config->zones.items;
	struct config_name *names = config->names.items;
	const struct config_domain *domains = config->domains.items;
	const struct config_tlsa *tlsa = config->tlsa.items;
	const struct config_host *hosts = config->hosts.items;

	if (config->zones.count == 0)
		buf_printf(
		    errors, "%s: there is no zone section\n", config->path);
	check_listeners(config, errors);
	for (size_t i = 0; i < config->keys.count; i++)
		check_key(config, &keys[i], errors);
	for (size_t i = 0; i < config->zones.count; i++)
		check_zone(config, &zones[i], errors);
	for (size_t i = 0; i < config->names.count; i++)
		check_name(config, &names[i], errors);
	for (size_t i = 0; i < config->domains.count; i++)
		check_domain(config, &domains[i], errors);
	for (size_t i = 0; i < config->tlsa.count; i++)
		check_tlsa(config, &tlsa[i], errors);
	for (size_t i = 0; i < config->hosts.count; i++)
		check_host(config, &hosts[i], errors);
}

/* The publisher's name goes into a TXT string. */
static void
set_host_name(struct config *config, struct buf *errors)
{
	if (config->publisher)
		(void)snprintf(config->host_name, sizeof(config->host_name),
		    "%s", config->publisher);
	else
		(void)gethostname(
		    config->host_name, sizeof(config->host_name) - 1);
	config->host_name[200] = '\0';
	if (!name_is_host(slice_from(config->host_name)))
		buf_printf(errors,
		    "%s: publisher (or the machine's name) is not a host name\n",
		    config->path);
}

int
config_read(struct config **out, const char *path, struct buf *errors)
{
	struct config *config = calloc(1, sizeof(*config));

	*out = NULL;
	if (!config)
		abort();
	config->path = path;
	if (settings_read(&config->settings, path, sections,
		ARRAY_SIZE(sections), config, errors) == 0) {
		check(config, errors);
		set_host_name(config, errors);
	}
	if (errors->size > 0) {
		config_free(&config);
		return -1;
	}
	*out = config;
	return 0;
}

void
config_free(struct config **config)
{
	struct config *old = *config;
	struct config_key *keys;
	struct config_zone *zones;

	*config = NULL;
	if (!old)
		return;
	keys = old->keys.items;
	zones = old->zones.items;
	for (size_t i = 0; i < old->keys.count; i++) {
		if (keys[i].secret)
			explicit_bzero(keys[i].secret, strlen(keys[i].secret));
		free(keys[i].secret);
	}
	for (size_t i = 0; i < old->zones.count; i++) {
		ldns_rdf_deep_free(zones[i].apex);
		ldns_rdf_deep_free(zones[i].epoch_owner);
		ldns_rdf_deep_free(zones[i].hosts_apex);
	}
	settings_free(&old->settings);
	free(old);
}

void
config_describe(struct buf *out)
{
	settings_describe(sections, ARRAY_SIZE(sections), out);
}
