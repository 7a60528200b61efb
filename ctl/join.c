#include "ctl/join.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/advice.h"
#include "ctl/copy.h"
#include "ctl/facts.h"
#include "ctl/file.h"
#include "ctl/house.h"
#include "ctl/output.h"
#include "ctl/peers.h"
#include "lib/base64.h"

#define PATH_SIZE 4096
#define URIS_MAX  (PEERS_MAX + 1)

/* What the steps share besides the house. */
struct joining {
	const char *path; /* of the bundle */
	json_t *bundle;   /* owned */
	size_t entries;
};

/* ---- the bundle ---- */

static int
damaged(const char *path, const char *why)
{
	ctl_complain(path, why);
	return EX_DATAERR;
}

static int
read_bundle(struct joining *joining)
{
	json_t *files, *facts;
	json_error_t error;

	if (access(joining->path, R_OK) != 0) {
		ctl_complain(joining->path, "cannot be read");
		return EX_NOINPUT;
	}
	joining->bundle = json_load_file(joining->path, 0, &error);
	if (!joining->bundle)
		return damaged(joining->path, "is no bundle, or a part of one");
	if (strcmp(facts_get(joining->bundle, "format"), JOIN_FORMAT) != 0)
		return damaged(joining->path,
		    "is no bundle of this version of postcellctl");
	files = json_object_get(joining->bundle, "files");
	facts = json_object_get(joining->bundle, "facts");
	for (size_t i = 0; i < JOIN_FILES; i++)
		if (join_needs(facts, join_files[i]) &&
		    facts_get(files, join_files[i])[0] == '\0')
			return damaged(joining->path, "lacks a file");
	if (!json_is_object(facts) ||
	    !json_is_array(json_object_get(joining->bundle, "peers")))
		return damaged(joining->path, "lacks what the cell is");
	return EX_OK;
}

/* This host's facts: of the bundle, and of where it is to be. */
static int
take_facts(json_t **out, struct joining *joining, const struct ctl *ctl)
{
	json_t *facts =
	    json_deep_copy(json_object_get(joining->bundle, "facts"));
	int code;

	if (ctl->options.user)
		facts_set_users(facts, ctl->options.user);
	code = facts_set_place(facts, ctl);
	if (code == EX_OK &&
	    house_take_secrets(
		facts, json_object_get(joining->bundle, "secrets")) != EX_OK)
		code = damaged(joining->path, "lacks a password");
	*out = facts;
	return code;
}

/* ---- steps ---- */

static int
unpack_files(struct house *house, void *context)
{
	const struct joining *joining = context;
	const json_t *files = json_object_get(joining->bundle, "files");
	int code = EX_OK;

	for (size_t i = 0; i < JOIN_FILES && code == EX_OK; i++) {
		struct slice text = slice_from(facts_get(files, join_files[i]));
		struct buf content = buf_bounded(FACTS_TEXT_MAX);
		bool is_needed = join_needs(house->facts, join_files[i]);
		bool is_open =
		    slice_is(slice_from_offset(slice_from(join_files[i]),
				 strlen(join_files[i]) - strlen(".pem")),
			".pem");

		if (!is_needed)
			continue;
		if (base64_decode(&content, text) < 0)
			code = damaged(joining->path, "has a damaged file");
		else
			code = house_write(house, join_files[i],
			    is_open ? 0644 : 0600, buf_slice(&content));
		buf_wipe(&content);
	}
	return code;
}

/* Whom slapd of this host is to follow. */
static int
describe_peers(struct house *house, void *context)
{
	const struct joining *joining = context;
	struct buf text = buf_bounded(FACTS_TEXT_MAX);
	json_t *peer;
	size_t i;
	int code = EX_OK;

	json_array_foreach(json_object_get(joining->bundle, "peers"), i,
	    peer) if (code == EX_OK) code = peers_stanza(house->facts,
	    facts_get(peer, "number"), facts_get(peer, "uri"), &text);
	(void)buf_add_string(&text, "multiprovider on\n");
	facts_set(house->facts, "peers", buf_string(&text));
	buf_wipe(&text);
	return code;
}

/* The first of them that answers, as this host's own identity. */
static int
open_provider(struct house *house, struct directory **directory)
{
	struct slice rest = slice_from(facts_get(house->facts, "uris")), uri;
	struct buf ca = buf_bounded(PATH_SIZE), dn = buf_bounded(PATH_SIZE);
	struct buf password = buf_bounded(PATH_SIZE);
	char *uris[URIS_MAX];
	const char *others[URIS_MAX];
	size_t count = 0;
	int code;

	/* The first one is this host itself. */
	(void)slice_next_word(&rest, ' ', &uri);
	while (count < URIS_MAX && slice_next_word(&rest, ' ', &uri)) {
		uris[count] = strndup(uri.data, uri.size);
		others[count] = uris[count];
		count++;
	}
	house_path(house->staged, "etc", "tls/ca.pem", &ca);
	house_path(house->staged, "etc", "sync.password", &password);
	(void)buf_printf(&dn, "cn=%s,ou=sync,ou=daemons,%s",
	    facts_get(house->facts, "name"), facts_get(house->facts, "suffix"));
	code = directory_open(directory,
	    &(struct ctl){ .directory = &(struct config_directory){
			       .uris = { others, count },
			       .suffix = facts_get(house->facts, "suffix"),
			       .bind = CONFIG_BIND_SIMPLE,
			       .bind_dn = buf_string(&dn),
			       .password_file = buf_string(&password),
			       .tls = CONFIG_TLS_STARTTLS,
			       .ca_file = buf_string(&ca) } });
	while (count > 0)
		free(uris[--count]);
	buf_free(&ca);
	buf_free(&dn);
	buf_free(&password);
	return code;
}

static int
copy_entries(struct house *house, void *context)
{
	struct joining *joining = context;
	struct directory *directory = NULL;
	struct buf path = buf_bounded(PATH_SIZE);
	int code = open_provider(house, &directory);

	house_path(house->staged, "data", "copy.ldif", &path);
	if (code == EX_OK)
		code =
		    copy_directory(directory, facts_get(house->facts, "suffix"),
			buf_string(&path), &joining->entries);
	if (code == EX_OK)
		code = house_load_file(house, buf_string(&path));
	(void)unlink(buf_string(&path));
	directory_free(&directory);
	buf_free(&path);
	return code;
}

static const struct house_step_row steps[] = {
	{ "making folders", house_open },
	{ "unpacking certificate and master key", unpack_files },
	{ "finding out whom to follow", describe_peers },
	{ "writing configuration", house_write_files },
	{ "copying the directory", copy_entries },
	/* Which makes the log of changes. */
	{ "starting slapd for it alone", house_start_slapd },
	{ "stopping slapd", house_stop_slapd },
	{ "putting all in place", house_put_in_place },
};

static const struct house_step_row kdc_steps[] = {
	{ "making folders", house_open },
	{ "unpacking the master key", unpack_files },
	{ "writing configuration", house_write_files },
	{ "putting all in place", house_put_in_place },
};

/* ---- the verb ---- */

static int
tell(const struct ctl *ctl, const json_t *facts, size_t entries)
{
	if (ctl->json)
		return output_json(json_pack("{s:s, s:s, s:s, s:i}", "done",
		    "joined", "etc", facts_get(facts, "etc"), "data",
		    facts_get(facts, "data"), "entries", (int)entries));
	if (facts_is_kdc(facts)) {
		printf("This host is in the cell: %s.\n\n",
		    facts_get(facts, "etc"));
		advice_kdc(facts);
		return EX_OK;
	}
	printf("This host is in the cell, with %zu entries: %s, %s.\n\n",
	    entries, facts_get(facts, "etc"), facts_get(facts, "data"));
	advice_further(facts);
	return EX_OK;
}

static int
join(const struct ctl *ctl, const char *path)
{
	struct joining joining = { .path = path };
	struct house house = { .ctl = ctl };
	int code = read_bundle(&joining);

	if (code == EX_OK)
		code = take_facts(&house.facts, &joining, ctl);
	if (code == EX_OK)
		code = house_check(house.facts);
	if (code == EX_OK && ctl->options.dry_run)
		house_preview(house.facts);
	else if (code == EX_OK && facts_is_kdc(house.facts))
		code = house_build(
		    &house, kdc_steps, ARRAY_SIZE(kdc_steps), &joining);
	else if (code == EX_OK)
		code = house_build(&house, steps, ARRAY_SIZE(steps), &joining);
	if (code == EX_OK && !ctl->options.dry_run)
		code = tell(ctl, house.facts, joining.entries);
	json_decref(house.facts);
	json_decref(joining.bundle);
	return code;
}

int
ctl_cell_join(const struct ctl *ctl, int count, char **words)
{
	bool prepares = ctl->options.prepare != NULL;

	if (ctl->options.peers && !prepares && count == 0)
		return prepare_peers(ctl);
	if (count == 1 && prepares && !ctl->options.peers)
		return prepare_host(ctl, words[0]);
	if (count == 1 && !prepares && !ctl->options.peers)
		return join(ctl, words[0]);
	ctl_complain("cell join",
	    "BUNDLE, --prepare NAME --uri URI BUNDLE, or --peers is wanted");
	return EX_USAGE;
}
