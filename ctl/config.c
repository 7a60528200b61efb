#include "ctl/config.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define CONFIG_DEFAULT POSTCELL_SYSCONFDIR "/postcellctl.conf"

static const char *const tls_words[] = { "starttls", "none", NULL };
static const char *const bind_words[] = { "simple", "external", NULL };

#define TOP(field) offsetof(struct config, field)
static const struct setting top_rows[] = {
	{ "replica", SETTING_TEXT, TOP(replica), POSTCELL_STATEDIR "/replica",
	    0, 0, NULL },
	{ "run_dir", SETTING_TEXT, TOP(run_dir), POSTCELL_RUNDIR, 0, 0, NULL },
};

#define DIRECTORY(field) offsetof(struct config_directory, field)
static const struct setting directory_rows[] = {
	{ "uris", SETTING_LIST, DIRECTORY(uris), "{}", 0, 0, NULL },
	{ "suffix", SETTING_TEXT, DIRECTORY(suffix), NULL, 0, 0, NULL },
	{ "people", SETTING_TEXT, DIRECTORY(people), NULL, 0, 0, NULL },
	{ "bind", SETTING_CHOICE, DIRECTORY(bind), "simple", 0, 0, bind_words },
	{ "bind_dn", SETTING_TEXT, DIRECTORY(bind_dn), NULL, 0, 0, NULL },
	{ "password_file", SETTING_TEXT, DIRECTORY(password_file), NULL, 0, 0,
	    NULL },
	{ "tls", SETTING_CHOICE, DIRECTORY(tls), "starttls", 0, 0, tls_words },
	{ "ca_file", SETTING_TEXT, DIRECTORY(ca_file), NULL, 0, 0, NULL },
};

static const struct setting_section sections[] = {
	{ NULL, top_rows, ARRAY_SIZE(top_rows), 0, 0, 0, 0 },
	{ "directory", directory_rows, ARRAY_SIZE(directory_rows),
	    TOP(directory), 0, 0, 0 },
};

static bool
is_directory_uri(struct slice uri)
{
	return slice_starts_nocase(uri, "ldap://") ||
	       slice_starts_nocase(uri, "ldaps://") ||
	       slice_starts_nocase(uri, "ldapi://");
}

static void
check(const struct config *config, const char *path, struct buf *errors)
{
	const struct config_directory *directory = &config->directory;

	for (size_t i = 0; i < directory->uris.count; i++)
		if (!is_directory_uri(slice_from(directory->uris.items[i])))
			buf_printf(errors,
			    "%s: directory: \"%s\" is no ldap://, ldaps:// or ldapi:// URI\n",
			    path, directory->uris.items[i]);
	if (directory->uris.count > 0 && !directory->suffix)
		buf_printf(errors, "%s: directory: suffix must be set\n", path);
	if (!directory->bind_dn != !directory->password_file)
		buf_printf(errors,
		    "%s: directory: bind_dn and password_file go together\n",
		    path);
	if (directory->bind == CONFIG_BIND_EXTERNAL && directory->bind_dn)
		buf_printf(errors,
		    "%s: directory: bind = external takes no bind_dn\n", path);
}

int
config_read(struct config **out, const char *path, struct buf *errors)
{
	struct config *config = calloc(1, sizeof(*config));
	const char *file = path ? path : CONFIG_DEFAULT;

	*out = NULL;
	if (!config)
		abort();
	/* The defaults are those of an empty file. */
	if (!path && access(file, F_OK) != 0 && errno == ENOENT)
		file = "/dev/null";
	if (settings_read(&config->settings, file, sections,
		ARRAY_SIZE(sections), config, errors) == 0)
		check(config, file, errors);
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
	if (*config)
		settings_free(&(*config)->settings);
	free(*config);
	*config = NULL;
}

void
config_describe(struct buf *out)
{
	settings_describe(sections, ARRAY_SIZE(sections), out);
}
