#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/advice.h"
#include "ctl/backup.h"
#include "ctl/facts.h"
#include "ctl/file.h"
#include "ctl/house.h"
#include "ctl/manifest.h"
#include "ctl/output.h"
#include "ctl/template.h"

#define PATH_SIZE 4096

/* What the steps share besides the house. */
struct restoring {
	const char *folder;      /* of the backup; borrowed */
	const char *keys_folder; /* where secrets come from; NULL: the same */
	json_t *manifest, *keys; /* owned; keys: of the other one, or NULL */
};

/* ---- what there is ---- */

static bool
has_secrets(const json_t *manifest)
{
	return json_is_true(json_object_get(manifest, "secrets"));
}

static bool
is_same(const json_t *a, const json_t *b, const char *name)
{
	return strcmp(facts_get(a, name), facts_get(b, name)) == 0;
}

static int
read_manifests(struct restoring *restoring, const struct ctl *ctl)
{
	const char *keys = ctl->options.keys_from;
	int code =
	    manifest_read(&restoring->manifest, restoring->folder, !ctl->json);

	if (code == EX_OK && !keys && !has_secrets(restoring->manifest)) {
		ctl_complain(restoring->folder,
		    "was made without the master key: --keys-from names "
		    "a backup of this host with it");
		return EX_USAGE;
	}
	if (code != EX_OK || !keys)
		return code;
	restoring->keys_folder = keys;
	code = manifest_read(&restoring->keys, keys, !ctl->json);
	if (code == EX_OK && !has_secrets(restoring->keys)) {
		ctl_complain(keys, "was made without the master key");
		code = EX_DATAERR;
	}
	if (code == EX_OK &&
	    !(is_same(restoring->manifest, restoring->keys, "realm") &&
		is_same(restoring->manifest, restoring->keys, "name") &&
		is_same(restoring->manifest, restoring->keys, "suffix"))) {
		ctl_complain(keys, "is of another host or cell");
		code = EX_DATAERR;
	}
	return code;
}

/* The host's facts as they were, for where it is to be. */
static int
take_facts(
    json_t **out, const struct restoring *restoring, const struct ctl *ctl)
{
	struct buf path = buf_bounded(PATH_SIZE);
	struct ctl here = *ctl;
	json_error_t error;
	json_t *facts;
	const char *prefix;
	int code;

	(void)buf_printf(
	    &path, "%s/" MANIFEST_ETC FACTS_FILE, restoring->folder);
	facts = json_load_file(buf_string(&path), 0, &error);
	if (!json_is_object(facts) || facts_get(facts, "suffix")[0] == '\0') {
		ctl_complain(buf_string(&path), "is damaged");
		json_decref(facts);
		facts = NULL;
		code = EX_DATAERR;
	} else {
		prefix = facts_get(facts, "prefix");
		if (!here.options.prefix && prefix[0])
			here.options.prefix = prefix;
		if (ctl->options.user)
			facts_set_users(facts, ctl->options.user);
		facts_set(facts, "peers", "");
		code = facts_set_place(facts, &here);
	}
	*out = facts;
	buf_free(&path);
	return code;
}

/* ---- texts for another place ---- */

/* Paths of where it was become those of `facts`. */
static void
move_text(const struct restoring *restoring, const json_t *facts,
    struct slice text, struct buf *out)
{
	static const char *const names[] = { "etc", "state", "run", "slapd_run",
		"log", "local_uri" };

	(void)buf_add_slice(out, text);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		template_move(out, facts_get(restoring->manifest, names[i]),
		    facts_get(facts, names[i]));
}

/* ---- steps ---- */

static int
restore_file(struct house *house, const struct restoring *restoring,
    const char *folder, const json_t *file)
{
	const char *own = facts_get(file, "name");
	const char *name = own + strlen(MANIFEST_ETC);
	mode_t mode = (mode_t)json_integer_value(json_object_get(file, "mode"));
	struct buf path = buf_bounded(PATH_SIZE);
	struct buf content = buf_bounded(FILE_SIZE_MAX);
	struct buf moved = buf_bounded(FILE_SIZE_MAX);
	int code;

	house_path(house->staged, "etc", name, &path);
	/* What the backup with the secrets has as well is there by now. */
	if (access(buf_string(&path), F_OK) == 0) {
		buf_free(&path);
		return EX_OK;
	}
	buf_clear(&path);
	(void)buf_printf(&path, "%s/%s", folder, own);
	code = file_read(buf_string(&path), &content);
	move_text(restoring, house->facts, buf_slice(&content), &moved);
	if (code == EX_OK)
		code = house_make_way(house, name);
	if (code == EX_OK)
		code = house_write(house, name, mode, buf_slice(&moved));
	buf_free(&path);
	buf_wipe(&content);
	buf_wipe(&moved);
	return code;
}

static int
restore_files(struct house *house, const struct restoring *restoring,
    const json_t *manifest, const char *folder)
{
	json_t *file;
	size_t i;
	int code = EX_OK;

	json_array_foreach(json_object_get(manifest, "files"), i, file)
	{
		struct slice name = slice_from(facts_get(file, "name"));

		if (code == EX_OK && slice_starts_nocase(name, MANIFEST_ETC))
			code = restore_file(house, restoring, folder, file);
	}
	return code;
}

static int
put_files(struct house *house, void *context)
{
	const struct restoring *restoring = context;
	/* Of where it is now, not of where it was. */
	int code = house_write_facts(house);

	if (code == EX_OK)
		code = restore_files(
		    house, restoring, restoring->manifest, restoring->folder);
	if (code == EX_OK && restoring->keys)
		code = restore_files(
		    house, restoring, restoring->keys, restoring->keys_folder);
	return code;
}

static int
read_config(struct house *house, void *context)
{
	const struct restoring *restoring = context;
	struct buf path = buf_bounded(PATH_SIZE);
	struct buf text = buf_bounded(FILE_SIZE_MAX);
	struct buf moved = buf_bounded(FILE_SIZE_MAX);
	int code;

	(void)buf_printf(&path, "%s/" MANIFEST_CONFIG, restoring->folder);
	code = file_read(buf_string(&path), &text);
	if (code == EX_OK)
		code = house_read_password(house->staged);
	move_text(restoring, house->facts, buf_slice(&text), &moved);
	house->config = buf_bounded(FILE_SIZE_MAX);
	if (code == EX_OK)
		template_replace(&house->config, buf_slice(&moved),
		    slice_from(BACKUP_MASK),
		    slice_from(facts_get(house->staged, "sync_password")));
	buf_free(&path);
	buf_wipe(&text);
	buf_wipe(&moved);
	return code;
}

static int
load_entries(struct house *house, void *context)
{
	const struct restoring *restoring = context;
	struct buf path = buf_bounded(PATH_SIZE);
	int code;

	(void)buf_printf(&path, "%s/" MANIFEST_DIRECTORY, restoring->folder);
	code = house_load_file(house, buf_string(&path));
	buf_free(&path);
	return code;
}

static const struct house_step_row steps[] = {
	{ "making folders", house_open },
	{ "restoring files", put_files },
	{ "restoring the configuration of slapd", read_config },
	{ "restoring the directory", load_entries },
	{ "putting all in place", house_put_in_place },
};

/* ---- the verb ---- */

static int
tell(const struct ctl *ctl, const json_t *facts, const json_t *manifest)
{
	if (ctl->json)
		return output_json(json_pack("{s:s, s:s, s:s, s:s}", "done",
		    "restored", "etc", facts_get(facts, "etc"), "data",
		    facts_get(facts, "data"), "time",
		    facts_get(manifest, "time")));
	printf("Restored as of %s: %s, %s.\n"
	       "What came later follows from other providers once slapd "
	       "runs.\n\n",
	    facts_get(manifest, "time"), facts_get(facts, "etc"),
	    facts_get(facts, "data"));
	advice_restored(facts);
	return EX_OK;
}

int
ctl_cell_restore(const struct ctl *ctl, int count, char **words)
{
	struct restoring restoring = { .folder = words[0] };
	struct house house = { .ctl = ctl };
	int code = read_manifests(&restoring, ctl);

	(void)count;
	if (code == EX_OK)
		code = take_facts(&house.facts, &restoring, ctl);
	if (code == EX_OK)
		code = house_check(house.facts);
	if (code == EX_OK)
		code =
		    house_build(&house, steps, ARRAY_SIZE(steps), &restoring);
	if (code == EX_OK)
		code = tell(ctl, house.facts, restoring.manifest);
	buf_wipe(&house.config);
	json_decref(house.facts);
	json_decref(restoring.manifest);
	json_decref(restoring.keys);
	return code;
}
