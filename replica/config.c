#include "replica/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <confuse.h>

#include "replica/connection.h"
#include "replica/log.h"
#include "replica/providers.h"

#define CONFIG_PASSWORD_MAX 4096
#define CONFIG_CHOICES_MAX  3

enum config_type {
	CONFIG_TEXT,
	CONFIG_NUMBER,
	CONFIG_CHOICE,
	CONFIG_LIST
};

struct config_row {
	const char *name;
	enum config_type type;
	size_t offset;    /* within struct config; unused for a list */
	const char *text; /* default of a text or choice */
	int64_t number, min, max;
	const char *choices[CONFIG_CHOICES_MAX]; /* by their value */
};

#define AT(member) offsetof(struct config, member)

static const struct config_row config_rows[] = {
	{ "replica", CONFIG_TEXT, AT(replica), POSTCELL_STATEDIR "/replica", 0,
	    0, 0, { NULL } },
	{ "map_size_max", CONFIG_NUMBER, AT(map_size_max), NULL, 4096, 1,
	    1048576, { NULL } },
	{ "user", CONFIG_TEXT, AT(user), "postcell", 0, 0, 0, { NULL } },
	{ "source", CONFIG_CHOICE, AT(source), "ldap", 0, 0, 0,
	    { "ldap", "ldif" } },
	{ "providers", CONFIG_LIST, 0, NULL, 0, 0, 0, { NULL } },
	{ "suffix", CONFIG_TEXT, AT(suffix), "", 0, 0, 0, { NULL } },
	{ "bind", CONFIG_CHOICE, AT(bind), "simple", 0, 0, 0,
	    { "simple", "external" } },
	{ "bind_dn", CONFIG_TEXT, AT(bind_dn), "", 0, 0, 0, { NULL } },
	{ "password_file", CONFIG_TEXT, AT(password_file), "", 0, 0, 0,
	    { NULL } },
	{ "tls", CONFIG_CHOICE, AT(tls), "starttls", 0, 0, 0,
	    { "none", "starttls" } },
	{ "ca_file", CONFIG_TEXT, AT(ca_file), "", 0, 0, 0, { NULL } },
	{ "certificate", CONFIG_TEXT, AT(certificate), "", 0, 0, 0, { NULL } },
	{ "key", CONFIG_TEXT, AT(key), "", 0, 0, 0, { NULL } },
	{ "account_filter", CONFIG_TEXT, AT(account_filter),
	    "(|(uid=*)(mail=*)(mailLocalAddress=*))", 0, 0, 0, { NULL } },
	{ "timeout", CONFIG_NUMBER, AT(timeout), NULL, 2, 1, 60, { NULL } },
	{ "stale_after", CONFIG_NUMBER, AT(stale_after), NULL, 0, 0, 31536000,
	    { NULL } },
	{ "prune_max", CONFIG_NUMBER, AT(prune_max), NULL, 20, 0, 100,
	    { NULL } },
	{ "ldif_file", CONFIG_TEXT, AT(ldif_file), "", 0, 0, 0, { NULL } },
	{ "log", CONFIG_CHOICE, AT(log), "stderr", 0, 0, 0,
	    { "stderr", "syslog" } },
};

#define CONFIG_ROWS ARRAY_SIZE(config_rows)

static void
config_print_error(cfg_t *cfg, const char *format, va_list arguments)
{
	(void)fprintf(stderr, "%s:%d: ", cfg->filename, cfg->line);
	(void)vfprintf(stderr, format, arguments);
	(void)fputc('\n', stderr);
}

static const struct config_row *
config_row(const char *name)
{
	for (size_t i = 0; i < CONFIG_ROWS; i++) {
		if (strcmp(config_rows[i].name, name) == 0)
			return &config_rows[i];
	}
	return NULL;
}

/* The value of a choice; -1 when it is none. */
static int64_t
config_choice(const struct config_row *row, const char *word)
{
	for (size_t i = 0; i < CONFIG_CHOICES_MAX && row->choices[i]; i++) {
		if (strcmp(row->choices[i], word) == 0)
			return (int64_t)i;
	}
	return -1;
}

/* Called by libConfuse where the value stands, so that the line is right. */
static int
config_validate(cfg_t *cfg, cfg_opt_t *option)
{
	const struct config_row *row = config_row(cfg_opt_name(option));
	unsigned last = cfg_opt_size(option);
	int64_t number;

	if (!row || last == 0)
		return 0;
	if (row->type == CONFIG_NUMBER) {
		number = cfg_opt_getnint(option, last - 1);
		if (number >= row->min && number <= row->max)
			return 0;
		cfg_error(cfg, "%s is not between %lld and %lld", row->name,
		    (long long)row->min, (long long)row->max);
		return -1;
	}
	if (row->type == CONFIG_CHOICE &&
	    config_choice(row, cfg_opt_getnstr(option, last - 1)) < 0) {
		cfg_error(cfg, "%s may not be \"%s\"", row->name,
		    cfg_opt_getnstr(option, last - 1));
		return -1;
	}
	if (row->type == CONFIG_LIST) {
		const char *why =
		    connection_check_url(cfg_opt_getnstr(option, last - 1));

		if (why) {
			cfg_error(cfg, "%s: %s", row->name, why);
			return -1;
		}
	}
	return 0;
}

static cfg_opt_t
config_option(const struct config_row *row)
{
	switch (row->type) {
	case CONFIG_NUMBER:
		return (cfg_opt_t)CFG_INT(
		    row->name, (long)row->number, CFGF_NONE);
	case CONFIG_LIST:
		return (cfg_opt_t)CFG_STR_LIST(row->name, NULL, CFGF_NONE);
	case CONFIG_TEXT:
	case CONFIG_CHOICE:
		break;
	}
	return (cfg_opt_t)CFG_STR(row->name, row->text, CFGF_NONE);
}

static int
config_take_list(struct config *config, cfg_t *cfg, const char *name)
{
	config->provider_count = cfg_size(cfg, name);
	if (config->provider_count > PROVIDERS_MAX)
		config->provider_count = PROVIDERS_MAX;
	config->providers =
	    calloc(config->provider_count + 1, sizeof(*config->providers));
	if (!config->providers)
		return -1;
	for (size_t i = 0; i < config->provider_count; i++) {
		config->providers[i] =
		    strdup(cfg_getnstr(cfg, name, (unsigned)i));
		if (!config->providers[i])
			return -1;
	}
	return 0;
}

static int
config_take(struct config *config, cfg_t *cfg, const struct config_row *row)
{
	char *member = (char *)config + row->offset;
	char *text = NULL;
	int64_t number = 0;

	switch (row->type) {
	case CONFIG_TEXT:
		text = strdup(cfg_getstr(cfg, row->name));
		memcpy(member, &text, sizeof(text));
		return text ? 0 : -1;
	case CONFIG_NUMBER:
		number = cfg_getint(cfg, row->name);
		break;
	case CONFIG_CHOICE:
		number = config_choice(row, cfg_getstr(cfg, row->name));
		break;
	case CONFIG_LIST:
		return config_take_list(config, cfg, row->name);
	}
	memcpy(member, &number, sizeof(number));
	return 0;
}

/* Brackets outside of escapes match; the provider judges the rest. */
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

/* What no single option shows. NULL when all is well. */
static const char *
config_fault(const struct config *config)
{
	if (config->replica[0] != '/')
		return "replica: not an absolute path";
	if (config->source == CONFIG_SOURCE_LDIF)
		return config->ldif_file[0] == '\0'
			   ? "source is ldif, but there is no ldif_file"
			   : NULL;
	if (config->provider_count == 0)
		return "source is ldap, but there are no providers";
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

/* The first line of the file. */
static int
config_read_password(struct config *config)
{
	char *room = buf_reserve(&config->password, CONFIG_PASSWORD_MAX);
	int fd = open(config->password_file, O_RDONLY | O_CLOEXEC);
	ssize_t count = -1;
	size_t end;

	if (fd >= 0 && room)
		count = read(fd, room, CONFIG_PASSWORD_MAX);
	if (count < 0) {
		(void)fprintf(
		    stderr, "%s: %s\n", config->password_file, strerror(errno));
	} else {
		end = slice_find(slice_of(room, (size_t)count), '\n');
		buf_grow(
		    &config->password, end == SIZE_MAX ? (size_t)count : end);
	}
	if (fd >= 0)
		(void)close(fd);
	return count < 0 ? -1 : 0;
}

static int
config_parse(struct config *config, cfg_t *cfg, const char *path)
{
	int code = cfg_parse(cfg, path);

	if (code == CFG_FILE_ERROR)
		(void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
	if (code != CFG_SUCCESS)
		return -1;
	for (size_t i = 0; i < CONFIG_ROWS; i++) {
		if (config_take(config, cfg, &config_rows[i]) != 0)
			return -1;
	}
	return 0;
}

int
config_load(struct config *config, const char *path)
{
	cfg_opt_t options[CONFIG_ROWS + 1];
	const char *fault;
	cfg_t *cfg;
	int result;

	*config =
	    (struct config){ .password = buf_bounded(CONFIG_PASSWORD_MAX) };
	for (size_t i = 0; i < CONFIG_ROWS; i++)
		options[i] = config_option(&config_rows[i]);
	options[CONFIG_ROWS] = (cfg_opt_t)CFG_END();
	cfg = cfg_init(options, CFGF_NONE);
	if (!cfg)
		return -1;
	(void)cfg_set_error_function(cfg, config_print_error);
	for (size_t i = 0; i < CONFIG_ROWS; i++)
		(void)cfg_set_validate_func(
		    cfg, config_rows[i].name, config_validate);
	result = config_parse(config, cfg, path);
	cfg_free(cfg);
	if (result != 0)
		return -1;
	fault = config_fault(config);
	if (fault) {
		(void)fprintf(stderr, "%s: %s\n", path, fault);
		return -1;
	}
	return config->password_file[0] != '\0' &&
		       config->source == CONFIG_SOURCE_LDAP
		   ? config_read_password(config)
		   : 0;
}

void
config_free(struct config *config)
{
	for (size_t i = 0; i < CONFIG_ROWS; i++) {
		char *text;

		if (config_rows[i].type != CONFIG_TEXT)
			continue;
		memcpy(&text, (char *)config + config_rows[i].offset,
		    sizeof(text));
		free(text);
	}
	for (size_t i = 0; config->providers && config->providers[i]; i++)
		free(config->providers[i]);
	free(config->providers);
	buf_wipe(&config->password);
	*config =
	    (struct config){ .password = buf_bounded(CONFIG_PASSWORD_MAX) };
}
