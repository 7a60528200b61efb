#include "replica/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "replica/connection.h"
#include "replica/providers.h"

#define CONFIG_PASSWORD_MAX 4096

static const char *const source_words[] = { "ldap", "ldif", NULL };
static const char *const bind_words[] = { "simple", "external", NULL };
static const char *const tls_words[] = { "none", "starttls", NULL };
static const char *const log_words[] = { "stderr", "syslog", NULL };
static const char *const level_words[] = { "error", "warning", "info", "debug",
	NULL };

#define AT(member) offsetof(struct config, member)

static const struct setting config_rows[] = {
	{ .name = "replica",
	    .kind = SETTING_TEXT,
	    .offset = AT(replica),
	    .fallback = POSTCELL_STATEDIR "/replica" },
	{ .name = "map_size_max",
	    .kind = SETTING_NUMBER,
	    .offset = AT(map_size_max),
	    .fallback = "4096",
	    .min = 1,
	    .max = 1048576 },
	{ .name = "user",
	    .kind = SETTING_TEXT,
	    .offset = AT(user),
	    .fallback = "postcell" },
	{ .name = "source",
	    .kind = SETTING_CHOICE,
	    .offset = AT(source),
	    .fallback = "ldap",
	    .words = source_words },
	{ .name = "providers",
	    .kind = SETTING_LIST,
	    .offset = AT(providers),
	    .fallback = "{}" },
	{ .name = "suffix",
	    .kind = SETTING_TEXT,
	    .offset = AT(suffix),
	    .fallback = "" },
	{ .name = "bind",
	    .kind = SETTING_CHOICE,
	    .offset = AT(bind),
	    .fallback = "simple",
	    .words = bind_words },
	{ .name = "bind_dn",
	    .kind = SETTING_TEXT,
	    .offset = AT(bind_dn),
	    .fallback = "" },
	{ .name = "password_file",
	    .kind = SETTING_TEXT,
	    .offset = AT(password_file),
	    .fallback = "" },
	{ .name = "tls",
	    .kind = SETTING_CHOICE,
	    .offset = AT(tls),
	    .fallback = "starttls",
	    .words = tls_words },
	{ .name = "ca_file",
	    .kind = SETTING_TEXT,
	    .offset = AT(ca_file),
	    .fallback = "" },
	{ .name = "certificate",
	    .kind = SETTING_TEXT,
	    .offset = AT(certificate),
	    .fallback = "" },
	{ .name = "key",
	    .kind = SETTING_TEXT,
	    .offset = AT(key),
	    .fallback = "" },
	{ .name = "account_filter",
	    .kind = SETTING_TEXT,
	    .offset = AT(account_filter),
	    .fallback = "(|(uid=*)(mail=*)(mailLocalAddress=*))" },
	{ .name = "timeout",
	    .kind = SETTING_NUMBER,
	    .offset = AT(timeout),
	    .fallback = "2",
	    .min = 1,
	    .max = 60 },
	{ .name = "keys",
	    .kind = SETTING_SWITCH,
	    .offset = AT(keys),
	    .fallback = "no" },
	{ .name = "stale_after",
	    .kind = SETTING_NUMBER,
	    .offset = AT(stale_after),
	    .fallback = "0",
	    .min = 0,
	    .max = 31536000 },
	{ .name = "prune_max",
	    .kind = SETTING_NUMBER,
	    .offset = AT(prune_max),
	    .fallback = "20",
	    .min = 0,
	    .max = 100 },
	{ .name = "ldif_file",
	    .kind = SETTING_TEXT,
	    .offset = AT(ldif_file),
	    .fallback = "" },
	{ .name = "log",
	    .kind = SETTING_CHOICE,
	    .offset = AT(log),
	    .fallback = "stderr",
	    .words = log_words },
	{ .name = "log_level",
	    .kind = SETTING_CHOICE,
	    .offset = AT(log_level),
	    .fallback = "info",
	    .words = level_words },
};

#define DECIDER_AT(member) offsetof(struct config_decider, member)

static const struct setting decider_rows[] = {
	{ .name = "bind_dn",
	    .kind = SETTING_TEXT,
	    .offset = DECIDER_AT(bind_dn),
	    .fallback = "" },
	{ .name = "password_file",
	    .kind = SETTING_TEXT,
	    .offset = DECIDER_AT(password_file),
	    .fallback = "" },
	{ .name = "delay",
	    .kind = SETTING_NUMBER,
	    .offset = DECIDER_AT(delay),
	    .fallback = "0",
	    .min = 0,
	    .max = 60000 },
	{ .name = "return_after",
	    .kind = SETTING_NUMBER,
	    .offset = DECIDER_AT(return_after),
	    .fallback = "300",
	    .min = 0,
	    .max = 86400 },
	{ .name = "on_move",
	    .kind = SETTING_TEXT,
	    .offset = DECIDER_AT(on_move),
	    .fallback = "" },
};

#define LOCATOR_AT(member) offsetof(struct config_locator, member)

static const struct setting locator_rows[] = {
	{ .name = "realm",
	    .kind = SETTING_TEXT,
	    .offset = LOCATOR_AT(realm),
	    .fallback = "" },
	{ .name = "file",
	    .kind = SETTING_TEXT,
	    .offset = LOCATOR_AT(file),
	    .fallback = POSTCELL_STATEDIR "/realm/kdcs" },
	{ .name = "dns_servers",
	    .kind = SETTING_LIST,
	    .offset = LOCATOR_AT(dns_servers),
	    .fallback = "{}" },
};

#define METRICS_AT(member) offsetof(struct config_metrics, member)

static const struct setting metrics_rows[] = {
	{ .name = "address",
	    .kind = SETTING_TEXT,
	    .offset = METRICS_AT(address),
	    .fallback = "127.0.0.1" },
	{ .name = "port",
	    .kind = SETTING_NUMBER,
	    .offset = METRICS_AT(port),
	    .fallback = "0",
	    .min = 0,
	    .max = 65535 },
	{ .name = "stale_time",
	    .kind = SETTING_NUMBER,
	    .offset = METRICS_AT(stale_time),
	    .fallback = "60",
	    .min = 10,
	    .max = 86400 },
};

static const struct setting_section config_sections[] = {
	{ .rows = config_rows, .row_count = ARRAY_SIZE(config_rows) },
	{ .name = "decider",
	    .rows = decider_rows,
	    .row_count = ARRAY_SIZE(decider_rows),
	    .offset = AT(decider) },
	{ .name = "locator",
	    .rows = locator_rows,
	    .row_count = ARRAY_SIZE(locator_rows),
	    .offset = AT(locator) },
	{ .name = "metrics",
	    .rows = metrics_rows,
	    .row_count = ARRAY_SIZE(metrics_rows),
	    .offset = AT(metrics) },
};

/* Brackets match; the provider judges the rest. */
static bool
config_is_filter(const char *text)
{
	size_t size = strlen(text), depth = 0;

	if (size < 3 || text[0] != '(' || text[size - 1] != ')')
		return false;
	for (size_t i = 0; i < size; i++) {
		if (text[i] == '(')
			depth++;
		else if (text[i] == ')' && depth-- == 0)
			return false;
		if (depth == 0 && i + 1 < size)
			return false;
	}
	return depth == 0;
}

/* What makes up a way to a directory. */
static const char *
config_ldap_fault(const struct config *config)
{
	if (config->providers.count == 0)
		return "source is ldap, but there are no providers";
	if (config->providers.count > PROVIDERS_MAX)
		return "providers: too many";
	for (size_t i = 0; i < config->providers.count; i++) {
		if (connection_check_url(config->providers.items[i]))
			return "providers: not an ldap, ldaps or ldapi URL";
	}
	if (config->suffix[0] == '\0')
		return "source is ldap, but there is no suffix";
	if (!config_is_filter(config->account_filter))
		return "account_filter: not an LDAP filter";
	if (config->bind == CONNECTION_SIMPLE && config->bind_dn[0] != '\0' &&
	    config->password_file[0] == '\0')
		return "bind_dn without password_file";
	if ((config->certificate[0] == '\0') != (config->key[0] == '\0'))
		return "certificate and key go together";
	return NULL;
}

static const char *
config_decider_fault(const struct config *config)
{
	const struct config_decider *decider = &config->decider;

	if (decider->bind_dn[0] == '\0')
		return NULL;
	if (config->source != CONFIG_SOURCE_LDAP)
		return "decider: there is nothing to decide with source = ldif";
	if (decider->password_file[0] == '\0')
		return "decider: bind_dn without password_file";
	if (decider->on_move[0] != '\0' && decider->on_move[0] != '/')
		return "decider: on_move is not an absolute path";
	return NULL;
}

static const char *
config_locator_fault(const struct config_locator *locator)
{
	struct slice realm = slice_from(locator->realm);

	if (realm.size == 0)
		return NULL;
	if (!slice_is_printable(realm) || slice_find(realm, ' ') != SIZE_MAX ||
	    slice_find(realm, '#') != SIZE_MAX)
		return "locator: realm is not one word";
	return locator->file[0] == '/'
		   ? NULL
		   : "locator: file is not an absolute path";
}

static bool
config_is_address(const char *text)
{
	struct in6_addr address;

	return inet_pton(AF_INET, text, &address) == 1 ||
	       inet_pton(AF_INET6, text, &address) == 1;
}

/* What no single option shows; NULL when all is well. */
static const char *
config_fault(const struct config *config)
{
	if (!config_is_address(config->metrics.address))
		return "metrics: address is not an IP address";
	if (config->replica[0] != '/')
		return "replica: not an absolute path";
	if (config_decider_fault(config))
		return config_decider_fault(config);
	if (config_locator_fault(&config->locator))
		return config_locator_fault(&config->locator);
	if (config->source == CONFIG_SOURCE_LDAP)
		return config_ldap_fault(config);
	return config->ldif_file[0] == '\0'
		   ? "source is ldif, but there is no ldif_file"
		   : NULL;
}

/* The first line of the file. 0, or an errno. */
static int
config_read_password(const char *path, struct buf *password)
{
	char *room = buf_reserve(password, CONFIG_PASSWORD_MAX);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int code = fd < 0 ? errno : 0;
	ssize_t count = 0;
	size_t end;

	if (code == 0 && !room)
		code = ENOMEM;
	if (code == 0)
		count = read(fd, room, CONFIG_PASSWORD_MAX);
	if (count < 0)
		code = errno;
	if (code == 0) {
		end = slice_find(slice_of(room, (size_t)count), '\n');
		buf_grow(password, end == SIZE_MAX ? (size_t)count : end);
	}
	if (fd >= 0)
		(void)close(fd);
	return code;
}

/* An empty path: none is needed. */
static int
config_load_password(const char *path, struct buf *password, struct buf *errors)
{
	int code = path[0] == '\0' ? 0 : config_read_password(path, password);

	if (code == 0)
		return 0;
	(void)buf_printf(errors, "%s: %s\n", path, strerror(code));
	return -1;
}

int
config_load(struct config *config, const char *path, struct buf *errors)
{
	const char *fault;

	*config = (struct config){ .password = buf_bounded(CONFIG_PASSWORD_MAX),
		.decider.password = buf_bounded(CONFIG_PASSWORD_MAX) };
	if (settings_read(&config->settings, path, config_sections,
		ARRAY_SIZE(config_sections), config, errors) != 0)
		return -1;
	fault = config_fault(config);
	if (fault) {
		(void)buf_printf(errors, "%s: %s\n", path, fault);
		return -1;
	}
	if (config->source != CONFIG_SOURCE_LDAP)
		return 0;
	if (config_load_password(
		config->password_file, &config->password, errors) != 0)
		return -1;
	return config->decider.bind_dn[0] == '\0'
		   ? 0
		   : config_load_password(config->decider.password_file,
			 &config->decider.password, errors);
}

void
config_free(struct config *config)
{
	settings_free(&config->settings);
	buf_wipe(&config->password);
	buf_wipe(&config->decider.password);
}

void
config_describe(struct buf *out)
{
	settings_describe(config_sections, ARRAY_SIZE(config_sections), out);
}
