#include "ctl/backup.h"

#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "ctl/facts.h"
#include "ctl/file.h"
#include "ctl/house.h"
#include "ctl/manifest.h"
#include "ctl/output.h"
#include "ctl/stage.h"
#include "ctl/template.h"
#include "ctl/tool.h"

#include "lib/timestamp.h"
#include "replica/clock.h"

#define PATH_SIZE 4096

struct backup {
	const struct ctl *ctl;
	json_t *facts;    /* owned */
	json_t *manifest; /* owned */
	struct stage stage;
};

/* ---- the directory ---- */

/* `words` go behind the folder of slapd's configuration. */
static int
slapcat(
    const struct backup *backup, const char *const words[4], struct buf *output)
{
	struct buf folder = buf_bounded(PATH_SIZE);
	struct buf krb5 = buf_bounded(PATH_SIZE);
	int code;

	house_path(backup->facts, "etc", "slapd.d", &folder);
	house_path(backup->facts, "etc", "slapd-krb5.conf", &krb5);
	code = tool_run(&(struct tool){ .name = "slapcat",
	    .words = { "-o", "ldif-wrap=no", "-F", buf_string(&folder),
		words[0], words[1], words[2], words[3] },
	    .output = output,
	    .krb5_config = buf_string(&krb5) });
	buf_free(&folder);
	buf_free(&krb5);
	return code;
}

/* Its first entry is the suffix, which says how new all is. */
static int
note_csns(struct backup *backup, const char *path)
{
	json_t *csns = json_array();
	FILE *file = fopen(path, "re");
	char line[PATH_SIZE];

	while (file && fgets(line, sizeof(line), file) && line[0] != '\n')
		if (strncmp(line, "contextCSN: ", 12) == 0) {
			line[strcspn(line, "\n")] = '\0';
			if (json_array_append_new(
				csns, json_string(line + 12)) < 0)
				abort();
		}
	if (file)
		(void)fclose(file);
	if (json_object_set_new(backup->manifest, "contextCSN", csns) < 0)
		abort();
	return EX_OK;
}

static int
save_directory(struct backup *backup)
{
	struct buf path = buf_bounded(PATH_SIZE);
	int code;

	(void)buf_printf(
	    &path, "%s/" MANIFEST_DIRECTORY, buf_string(&backup->stage.path));
	code = slapcat(backup,
	    (const char *const[]){ "-b", facts_get(backup->facts, "suffix"),
		"-l", buf_string(&path) },
	    NULL);
	if (code == EX_OK)
		code = note_csns(backup, buf_string(&path));
	if (code == EX_OK)
		code = manifest_add(backup->manifest,
		    buf_string(&backup->stage.path), MANIFEST_DIRECTORY, 0600);
	buf_free(&path);
	return code;
}

/* ---- slapd's configuration ---- */

static int
save_config(struct backup *backup)
{
	struct buf text = buf_bounded(FILE_SIZE_MAX);
	struct buf masked = buf_bounded(FILE_SIZE_MAX);
	struct buf path = buf_bounded(PATH_SIZE);
	int code = slapcat(
	    backup, (const char *const[]){ "-n", "0", NULL, NULL }, &text);

	template_replace(&masked, buf_slice(&text),
	    slice_from(facts_get(backup->facts, "sync_password")),
	    slice_from(BACKUP_MASK));
	(void)buf_printf(
	    &path, "%s/" MANIFEST_CONFIG, buf_string(&backup->stage.path));
	if (code == EX_OK && (text.failed || masked.failed)) {
		ctl_complain("cn=config", "is too large");
		code = EX_DATAERR;
	}
	if (code == EX_OK)
		code = file_write(buf_string(&path), 0600, buf_slice(&masked));
	if (code == EX_OK)
		code = manifest_add(backup->manifest,
		    buf_string(&backup->stage.path), MANIFEST_CONFIG, 0600);
	buf_wipe(&text);
	buf_wipe(&masked);
	buf_free(&path);
	return code;
}

/* ---- the host's files ---- */

/* What not everybody may read is a secret. */
static bool
is_wanted(const struct backup *backup, const FTSENT *entry)
{
	return entry->fts_info == FTS_F &&
	       ((entry->fts_statp->st_mode & S_IROTH) ||
		   backup->ctl->options.with_master_key);
}

static int
save_file(struct backup *backup, const FTSENT *entry, const char *name)
{
	struct buf content = buf_bounded(FILE_SIZE_MAX);
	struct buf path = buf_bounded(PATH_SIZE);
	struct buf own = buf_bounded(PATH_SIZE);
	int code = file_read(entry->fts_accpath, &content);

	(void)buf_printf(&own, MANIFEST_ETC "%s", name);
	(void)buf_printf(
	    &path, "%s/%s", buf_string(&backup->stage.path), buf_string(&own));
	if (code == EX_OK)
		code = file_write(buf_string(&path), 0600, buf_slice(&content));
	if (code == EX_OK)
		code = manifest_add(backup->manifest,
		    buf_string(&backup->stage.path), buf_string(&own),
		    entry->fts_statp->st_mode & 0777);
	buf_wipe(&content);
	buf_free(&path);
	buf_free(&own);
	return code;
}

static int
save_entry(struct backup *backup, FTS *tree, FTSENT *entry, size_t root_size)
{
	struct buf path = buf_bounded(PATH_SIZE);
	const char *name =
	    entry->fts_path + root_size + (entry->fts_level > 0 ? 1 : 0);
	int code = EX_OK;

	if (entry->fts_info == FTS_D && strcmp(name, "slapd.d") == 0) {
		(void)fts_set(tree, entry, FTS_SKIP);
	} else if (entry->fts_info == FTS_D) {
		(void)buf_printf(&path, "%s/" MANIFEST_ETC "%s",
		    buf_string(&backup->stage.path), name);
		code = file_make_folder(buf_string(&path), 0700);
	} else if (is_wanted(backup, entry)) {
		code = save_file(backup, entry, name);
	}
	buf_free(&path);
	return code;
}

static int
save_files(struct backup *backup)
{
	char *root = strdup(facts_get(backup->facts, "etc"));
	char *const paths[] = { root, NULL };
	FTS *tree =
	    root ? fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL) : NULL;
	FTSENT *entry;
	int code = EX_OK;

	if (!tree)
		abort();
	while (code == EX_OK && (entry = fts_read(tree)))
		code = save_entry(backup, tree, entry, strlen(root));
	(void)fts_close(tree);
	free(root);
	return code;
}

/* ---- the verb ---- */

static void
describe(struct backup *backup)
{
	static const char *const names[] = { "realm", "suffix", "name", "etc",
		"state", "run", "slapd_run", "log", "local_uri" };
	struct buf time = buf_bounded(64);

	(void)timestamp_format(&time, clock_realtime_us());
	backup->manifest = manifest_new();
	facts_set(backup->manifest, "time", buf_string(&time));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		facts_set(backup->manifest, names[i],
		    facts_get(backup->facts, names[i]));
	if (json_object_set_new(backup->manifest, "secrets",
		json_boolean(backup->ctl->options.with_master_key)) < 0)
		abort();
	buf_free(&time);
}

static int
tell(const struct backup *backup, const char *folder)
{
	size_t count =
	    json_array_size(json_object_get(backup->manifest, "files"));

	if (backup->ctl->json)
		return output_json(json_pack("{s:s, s:s, s:i, s:b}", "done",
		    "saved", "folder", folder, "files", (int)count, "secrets",
		    (int)backup->ctl->options.with_master_key));
	printf("%s: %zu files, verified by their sums when it is restored\n",
	    folder, count);
	printf(backup->ctl->options.with_master_key
		   ? "It holds the master key and the passwords of this host: "
		     "whoever has it has the realm.\n"
		   : "The master key is not in it, nor are the passwords of "
		     "this host: to restore it\na backup made "
		     "--with-master-key is needed as well (--keys-from).\n");
	return EX_OK;
}

typedef int backup_step(struct backup *backup);

static int
run(struct backup *backup)
{
	static const struct {
		const char *does;
		backup_step *run;
	} steps[] = {
		{ "copying the directory", save_directory },
		{ "copying the configuration of slapd", save_config },
		{ "copying files", save_files },
	};

	int code = EX_OK;

	for (size_t i = 0; i < ARRAY_SIZE(steps) && code == EX_OK; i++) {
		code = stage_check_signals();
		if (!backup->ctl->json)
			(void)fprintf(stderr, "%s\n", steps[i].does);
		if (code == EX_OK)
			code = steps[i].run(backup);
	}
	if (code == EX_OK)
		code = manifest_write(
		    backup->manifest, buf_string(&backup->stage.path));
	if (code == EX_OK)
		code = file_sync_folder(buf_string(&backup->stage.path));
	if (code == EX_OK)
		code = stage_check_signals();
	return code;
}

int
ctl_cell_backup(const struct ctl *ctl, int count, char **words)
{
	struct backup backup = { .ctl = ctl };
	static const char *const tools[] = { "slapcat" };
	int code = tool_check(tools, ARRAY_SIZE(tools));

	(void)count;
	if (code == EX_OK)
		code = facts_load(&backup.facts, ctl);
	if (code == EX_OK && facts_is_kdc(backup.facts)) {
		ctl_complain(facts_get(backup.facts, "name"),
		    "is a KDC alone and has no directory: what it has comes "
		    "from cell join");
		code = EX_USAGE;
	}
	if (code == EX_OK)
		code = house_read_password(backup.facts);
	if (code == EX_OK) {
		stage_hold_signals();
		code = stage_open(&backup.stage, words[0]);
	}
	if (code == EX_OK) {
		describe(&backup);
		code = run(&backup);
	}
	if (code == EX_OK)
		code = stage_place(&backup.stage, 0700);
	stage_close(&backup.stage, code == EX_OK);
	if (code == EX_OK)
		code = tell(&backup, words[0]);
	json_decref(backup.manifest);
	json_decref(backup.facts);
	return code;
}
