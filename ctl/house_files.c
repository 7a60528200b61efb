#include "ctl/house.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/facts.h"
#include "ctl/file.h"
#include "ctl/random.h"
#include "ctl/template.h"

#define PATH_SIZE   4096
#define SECRET_SIZE ((size_t)16384)
#define WHY_SIZE    ((size_t)16384)
#define PAIRS_MAX   9

/* ---- what there is to make ---- */

/* Names that one file alone has, filled in themselves. */
struct pair {
	const char *name, *text;
};

struct file_row {
	const char *template, *name;
	bool kdc; /* a KDC alone has it as well */
	struct pair pairs[PAIRS_MAX];
};

#define DAEMON(group) "cn=${name}," group "ou=daemons,${suffix}"

static const struct file_row file_rows[] = {
	{ "krb5.conf.in", "krb5.conf", true,
	    { { "krb5_plugins", "${heimdal_modules}/krb5" } } },
	{ "slapd-krb5.conf.in", "slapd-krb5.conf", false,
	    { { "plugins", "${etc}/none" } } },
	{ "kdc.conf.in", "kdc.conf", true,
	    { { "log", "${log}/postcell-kdc" },
		{ "plugins", "${heimdal_modules}/kdc" },
		{ "module", "${heimdal_modules}/kdc/postcell_hdb.so" },
		{ "replica", "${state}/kdc-replica" },
		{ "bind_dn", DAEMON("ou=kdcs,") },
		{ "password", "${etc}/kdc.password" },
		{ "policy", "\tpolicy = cn=default,ou=policies,${suffix}" } } },
	{ "replicad.conf.in", "kdc-replicad.conf", true,
	    { { "replica", "${state}/kdc-replica" },
		{ "bind_dn", DAEMON("ou=kdcs,") },
		{ "password_file", "${etc}/kdc.password" }, { "keys", "yes" },
		{ "decider",
		    "\ndecider {\n\tbind_dn = \"" DAEMON(
			"ou=deciders,") "\"\n"
					"\tpassword_file = \"${etc}/decider.password\"\n}\n" } } },
	{ "replicad.conf.in", "replicad.conf", false,
	    { { "replica", "${state}/replica" },
		{ "bind_dn", DAEMON("ou=replicas,") },
		{ "password_file", "${etc}/replica.password" },
		{ "keys", "no" }, { "decider", "" } } },
	{ "postcellctl.conf.in", "postcellctl.conf", false,
	    { { NULL, NULL } } },
};

/* In the order in which they are to be told of. */
static const struct {
	const char *name;
	bool kdc; /* a KDC alone has it as well */
} secret_rows[] = { { "sync", false }, { "kdc", true }, { "decider", true },
	{ "replica", false }, { "proxy", false } };

void
house_preview(const json_t *facts)
{
	const char *etc = facts_get(facts, "etc");

	printf("realm %s, mail domain %s, suffix %s\n",
	    facts_get(facts, "realm"), facts_get(facts, "domain"),
	    facts_get(facts, "suffix"));
	printf("this host: %s, server ID %s, %s, KDC at %s:%s\n",
	    facts_get(facts, "name"), facts_get(facts, "number"),
	    facts_get(facts, "uri"), facts_get(facts, "host"),
	    facts_get(facts, "kdc_port"));
	printf("administrator: uid=%s,ou=people,%s\n",
	    facts_get(facts, "admin"), facts_get(facts, "suffix"));
	printf("would make:\n  %s/slapd.d\n  %s/master.key\n  %s/tls/\n", etc,
	    etc, etc);
	for (size_t i = 0; i < ARRAY_SIZE(file_rows); i++)
		printf("  %s/%s\n", etc, file_rows[i].name);
	for (size_t i = 0; i < ARRAY_SIZE(secret_rows); i++)
		printf("  %s/%s.password\n", etc, secret_rows[i].name);
	printf("  %s/\n", facts_get(facts, "data"));
}

/* ---- pieces ---- */

void
house_path(
    const json_t *facts, const char *folder, const char *file, struct buf *out)
{
	(void)buf_printf(out, "%s/%s", facts_get(facts, folder), file);
}

int
house_fill(const json_t *facts, const char *name, struct buf *out)
{
	struct buf path = buf_bounded(PATH_SIZE);
	struct buf text = buf_bounded(FACTS_TEXT_MAX);
	struct buf why = buf_bounded(WHY_SIZE);
	int code;

	(void)buf_printf(
	    &path, "%s/templates/%s", facts_get(facts, "share"), name);
	code = file_read(buf_string(&path), &text);
	if (code == EX_OK &&
	    template_fill(out, buf_slice(&text), facts, &why) < 0) {
		ctl_complain(buf_string(&path), buf_string(&why));
		code = EX_CONFIG;
	}
	buf_free(&path);
	buf_free(&text);
	buf_free(&why);
	return code;
}

int
house_write(
    struct house *house, const char *name, mode_t mode, struct slice content)
{
	struct buf path = buf_bounded(PATH_SIZE);
	int code;

	house_path(house->staged, "etc", name, &path);
	code = file_write(buf_string(&path), mode, content);
	buf_free(&path);
	return code;
}

int
house_make_way(struct house *house, const char *name)
{
	struct slice text = slice_from(name);
	struct buf path = buf_bounded(PATH_SIZE);
	int code = EX_OK;

	for (size_t i = 1; i < text.size && code == EX_OK; i++) {
		if (text.data[i] != '/')
			continue;
		buf_clear(&path);
		(void)buf_printf(&path, "%s/%.*s",
		    facts_get(house->staged, "etc"), (int)i, text.data);
		if (access(buf_string(&path), F_OK) != 0)
			code = file_make_folder(buf_string(&path), 0755);
	}
	buf_free(&path);
	return code;
}

int
house_take_secrets(json_t *to, const json_t *from)
{
	int code = EX_OK;

	for (size_t i = 0; i < ARRAY_SIZE(secret_rows); i++) {
		struct buf name = buf_bounded(PATH_SIZE);

		(void)buf_printf(&name, "%s_password", secret_rows[i].name);
		if (facts_get(from, buf_string(&name))[0] == '\0')
			code = EX_DATAERR;
		facts_set(
		    to, buf_string(&name), facts_get(from, buf_string(&name)));
		buf_free(&name);
	}
	return code;
}

void
house_make_secrets(json_t *facts)
{
	for (size_t i = 0; i < ARRAY_SIZE(secret_rows); i++) {
		struct buf name = buf_bounded(PATH_SIZE);
		struct buf password = buf_bounded(PATH_SIZE);
		struct buf hash = buf_bounded(PATH_SIZE);

		random_password(&password);
		random_hash(&hash, buf_slice(&password));
		(void)buf_printf(&name, "%s_password", secret_rows[i].name);
		facts_set(facts, buf_string(&name), buf_string(&password));
		buf_clear(&name);
		(void)buf_printf(&name, "%s_hash", secret_rows[i].name);
		facts_set(facts, buf_string(&name), buf_string(&hash));
		buf_free(&name);
		buf_wipe(&password);
		buf_free(&hash);
	}
}

int
house_read_password(json_t *facts)
{
	struct buf path = buf_bounded(PATH_SIZE);
	struct buf password = buf_bounded(SECRET_SIZE);
	int code;

	house_path(facts, "etc", "sync.password", &path);
	code = file_read(buf_string(&path), &password);
	while (password.size > 0 && password.data[password.size - 1] == '\n')
		password.data[--password.size] = '\0';
	facts_set(facts, "sync_password", buf_string(&password));
	buf_free(&path);
	buf_wipe(&password);
	return code;
}

static int
fill_row(const json_t *given, const struct file_row *row, struct buf *out)
{
	json_t *facts = json_deep_copy(given);
	int code;

	for (size_t i = 0; i < PAIRS_MAX && row->pairs[i].name; i++)
		facts_fill(facts, row->pairs[i].name, row->pairs[i].text);
	code = house_fill(facts, row->template, out);
	json_decref(facts);
	return code;
}

int
house_fill_file(const json_t *facts, const char *name, struct buf *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(file_rows); i++)
		if (strcmp(file_rows[i].name, name) == 0)
			return fill_row(facts, &file_rows[i], out);
	abort();
}

static int
write_row(struct house *house, const struct file_row *row)
{
	struct buf text = buf_bounded(FACTS_TEXT_MAX);
	int code = fill_row(house->facts, row, &text);

	if (code == EX_OK)
		code = house_write(house, row->name, 0644, buf_slice(&text));
	buf_free(&text);
	return code;
}

static int
write_secret(struct house *house, const char *name)
{
	struct buf file = buf_bounded(PATH_SIZE);
	struct buf text = buf_bounded(PATH_SIZE);
	int code = EX_OK;

	(void)buf_printf(&file, "%s_password", name);
	(void)buf_printf(
	    &text, "%s\n", facts_get(house->facts, buf_string(&file)));
	buf_clear(&file);
	(void)buf_printf(&file, "%s.password", name);
	if (text.size > 1)
		code = house_write(
		    house, buf_string(&file), 0600, buf_slice(&text));
	buf_wipe(&text);
	buf_free(&file);
	return code;
}

int
house_write_facts(struct house *house)
{
	json_t *kept = facts_kept(house->facts);
	char *text = json_dumps(kept, JSON_INDENT(2) | JSON_SORT_KEYS);
	int code;

	if (!text)
		abort();
	code = house_write(house, FACTS_FILE, 0644, slice_from(text));
	free(text);
	json_decref(kept);
	return code;
}

int
house_write_files(struct house *house, void *context)
{
	int code = house_write_facts(house);
	bool is_whole = !facts_is_kdc(house->facts);

	(void)context;
	for (size_t i = 0; i < ARRAY_SIZE(file_rows) && code == EX_OK; i++)
		if (is_whole || file_rows[i].kdc)
			code = write_row(house, &file_rows[i]);
	for (size_t i = 0; i < ARRAY_SIZE(secret_rows) && code == EX_OK; i++)
		if (is_whole || secret_rows[i].kdc)
			code = write_secret(house, secret_rows[i].name);
	return code;
}
