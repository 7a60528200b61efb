#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/advice.h"
#include "ctl/authority.h"
#include "ctl/directory.h"
#include "ctl/facts.h"
#include "ctl/file.h"
#include "ctl/house.h"
#include "ctl/join.h"
#include "ctl/output.h"
#include "ctl/peers.h"
#include "ctl/stage.h"
#include "lib/base64.h"
#include "replica/ldif.h"

#define PATH_SIZE 4096
#define PARTS_MAX 64
#define DNS_MAX   16

const char *const join_files[JOIN_FILES] = { "tls/ca.pem", "tls/slapd.pem",
	"tls/slapd.key", "master.key" };

/* A KDC alone has no server with a certificate. */
bool
join_needs(const json_t *facts, const char *file)
{
	return !facts_is_kdc(facts) || strncmp(file, "tls/slapd.", 10) != 0;
}

/* One host that is prepared for; freed as one. */
struct preparation {
	const struct ctl *ctl;
	const char *bundle;
	json_t *facts;               /* owned: of this host */
	json_t *host;                /* owned: of the new one */
	struct directory *directory; /* owned */
	struct config_directory config;
	const char *uri;
	struct peers peers;
	struct buf work;      /* folder of what is needed meanwhile */
	char *added[DNS_MAX]; /* owned: DNs of entries */
	size_t added_count;
	bool written; /* the bundle is */
};

/* ---- the directory of this host ---- */

static int
open_local(struct preparation *preparation)
{
	const json_t *facts = preparation->facts;
	struct ctl ctl = { .directory = &preparation->config };

	preparation->uri = facts_get(facts, "local_uri");
	preparation->config = (struct config_directory){
		.uris = { &preparation->uri, 1 },
		.suffix = facts_get(facts, "suffix"),
		.bind = CONFIG_BIND_EXTERNAL,
		.tls = CONFIG_TLS_NONE,
	};
	return directory_open(&preparation->directory, &ctl);
}

static int
open_preparation(struct preparation *preparation, const struct ctl *ctl)
{
	int code;

	*preparation = (struct preparation){ .ctl = ctl };
	code = facts_load(&preparation->facts, ctl);
	if (code == EX_OK)
		code = house_read_password(preparation->facts);
	if (code == EX_OK) {
		house_complete(preparation->facts);
		code = open_local(preparation);
	}
	if (code == EX_OK)
		code = peers_read(&preparation->peers, preparation->directory,
		    facts_get(preparation->facts, "suffix"));
	return code;
}

static void
close_preparation(struct preparation *preparation, bool keep)
{
	while (preparation->added_count > 0) {
		char *dn = preparation->added[--preparation->added_count];

		if (!keep)
			(void)directory_delete(preparation->directory,
			    slice_from(dn), slice_from(""));
		free(dn);
	}
	if (preparation->written && !keep)
		(void)unlink(preparation->bundle);
	if (preparation->work.size > 0)
		file_remove(buf_string(&preparation->work));
	buf_free(&preparation->work);
	peers_free(&preparation->peers);
	directory_free(&preparation->directory);
	json_decref(preparation->facts);
	json_decref(preparation->host);
}

/* ---- the new host ---- */

/* Another than those that are there. */
static int
check_new(const struct preparation *preparation, const char *name,
    const char *uri, unsigned *number)
{
	*number = 0;
	for (size_t i = 0; i < preparation->peers.count; i++) {
		const struct peer *peer = &preparation->peers.list[i];

		if (peer->number > *number)
			*number = peer->number;
		if (strcmp(peer->name, name) == 0 ||
		    strcmp(peer->uri, uri) == 0) {
			ctl_complain(name,
			    "a provider of that name or URI is in the cell");
			return EX_CANTCREAT;
		}
	}
	if (++*number <= PEERS_NUMBER_MAX &&
	    preparation->peers.count < PEERS_MAX)
		return EX_OK;
	ctl_complain(name, "there are too many providers");
	return EX_CANTCREAT;
}

static int
describe_host(struct preparation *preparation)
{
	const struct ctl_options *options = &preparation->ctl->options;
	const char *uri = options->uri ? options->uri : "";
	const char *fault = facts_name_fault(options->prepare);
	struct buf number = buf_bounded(64);
	unsigned value = 0;
	int code;

	if (fault)
		ctl_complain(options->prepare, fault);
	else if ((fault = facts_member_fault(uri)))
		ctl_complain("--uri", fault);
	if (fault)
		return EX_USAGE;
	code = check_new(preparation, options->prepare, uri, &value);
	if (code != EX_OK)
		return code;
	preparation->host = json_deep_copy(preparation->facts);
	(void)buf_printf(&number, "%u", value);
	facts_set(preparation->host, "name", options->prepare);
	facts_set(preparation->host, "uri", uri);
	facts_set(preparation->host, "number", buf_string(&number));
	if (options->kdc_port)
		facts_set(preparation->host, "kdc_port", options->kdc_port);
	if (options->kpasswd_port)
		facts_set(
		    preparation->host, "kpasswd_port", options->kpasswd_port);
	facts_set_host(preparation->host);
	house_complete(preparation->host);
	house_make_secrets(preparation->host);
	buf_free(&number);
	return EX_OK;
}

static int
certify_host(struct preparation *preparation)
{
	struct buf from = buf_bounded(PATH_SIZE), key = buf_bounded(PATH_SIZE);
	int code = EX_OK;

	house_path(preparation->facts, "etc", "tls", &from);
	house_path(preparation->facts, "etc", "tls/ca.key", &key);
	if (access(buf_string(&key), R_OK) != 0) {
		ctl_complain(buf_string(&key),
		    "is not here: prepare on the host that has it");
		code = EX_NOINPUT;
	}
	if (code == EX_OK)
		code = file_make_work(&preparation->work);
	if (code == EX_OK)
		code = authority_certify(buf_string(&from),
		    buf_string(&preparation->work), "slapd",
		    facts_get(preparation->host, "host"));
	buf_free(&from);
	buf_free(&key);
	return code;
}

static int
add_entry(struct preparation *preparation, const struct entry *entry)
{
	struct directory_part parts[PARTS_MAX];
	size_t count = 0;
	char names[PARTS_MAX][64];
	int code;

	for (size_t i = 0; i < entry->value_count && count < PARTS_MAX; i++) {
		struct slice name = entry->values[i].attribute;

		(void)snprintf(names[count], sizeof(names[count]), "%.*s",
		    SLICE_ARGS(name));
		parts[count] = (struct directory_part){ DIRECTORY_ADD,
			names[count], entry->values[i].value };
		count++;
	}
	code = directory_exit(preparation->directory,
	    directory_add(preparation->directory, entry->dn, parts, count));
	if (code == EX_OK && preparation->added_count < DNS_MAX)
		preparation->added[preparation->added_count++] =
		    strndup(entry->dn.data, entry->dn.size);
	return code;
}

/* Identities of the new host, and what others know of it. */
static int
add_entries(struct preparation *preparation)
{
	struct buf text = buf_bounded(FACTS_TEXT_MAX);
	int code = house_fill(preparation->host,
	    facts_is_kdc(preparation->host) ? "kdc.ldif.in" : "host.ldif.in",
	    &text);
	enum ldif_result result = LDIF_ENTRY;
	struct ldif ldif;

	ldif_init(&ldif, buf_slice(&text));
	while (code == EX_OK && result == LDIF_ENTRY) {
		struct entry entry = { .value_count = 0 };
		const char *why;

		result = ldif_next(&ldif, &entry, &why);
		if (result == LDIF_ENTRY)
			code = add_entry(preparation, &entry);
		if (result == LDIF_BAD) {
			ctl_complain("template of entries", why);
			code = EX_CONFIG;
		}
	}
	ldif_free(&ldif);
	buf_wipe(&text);
	return code;
}

/* ---- the bundle ---- */

static bool
take_kdc(void *context, const struct directory_entry *entry)
{
	static const struct {
		const char *scheme, *option;
	} rows[] = {
		{ "kerberos://", "kdc" },
		{ "kpasswd://", "kpasswd_server" },
	};
	struct buf *lines = context;
	struct slice url;

	for (size_t i = 0; directory_value(entry, "postcellService", i, &url);
	     i++)
		for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
			size_t size = strlen(rows[k].scheme);
			struct slice rest = slice_from_offset(url, size);

			if (slice_starts_nocase(url, rows[k].scheme))
				(void)buf_printf(lines, "%s\t\t%s = %.*s",
				    lines->size > 0 ? "\n" : "", rows[k].option,
				    SLICE_ARGS(rest));
		}
	return true;
}

/* What the new host has to know of the others. */
static int
describe_others(struct preparation *preparation)
{
	struct buf uris = buf_bounded(FACTS_TEXT_MAX);
	struct buf kdcs = buf_bounded(FACTS_TEXT_MAX);
	struct buf base = buf_bounded(PATH_SIZE);
	int code;

	if (!facts_is_kdc(preparation->host))
		(void)buf_printf(
		    &uris, "%s ", facts_get(preparation->host, "uri"));
	/* This one, which is known to answer, before the others. */
	(void)buf_add_string(&uris, facts_get(preparation->facts, "uri"));
	for (size_t i = 0; i < preparation->peers.count; i++)
		if (strcmp(preparation->peers.list[i].uri,
			facts_get(preparation->facts, "uri")) != 0)
			(void)buf_printf(
			    &uris, " %s", preparation->peers.list[i].uri);
	facts_set(preparation->host, "uris", buf_string(&uris));
	(void)buf_printf(
	    &base, "ou=hosts,%s", facts_get(preparation->facts, "suffix"));
	code = directory_exit(preparation->directory,
	    directory_each(preparation->directory, buf_string(&base),
		"(postcellService=*)", take_kdc, &kdcs));
	facts_set(preparation->host, "kdcs", buf_string(&kdcs));
	buf_free(&uris);
	buf_free(&kdcs);
	buf_free(&base);
	return code;
}

/* A file as text, so that JSON can hold whatever it is. */
static int
pack_file(struct preparation *preparation, json_t *files, const char *name)
{
	struct buf path = buf_bounded(PATH_SIZE);
	struct buf content = buf_bounded(FACTS_TEXT_MAX);
	struct buf text = buf_bounded(FACTS_TEXT_MAX * 2);
	int code;

	if (strncmp(name, "tls/slapd.", 10) == 0)
		(void)buf_printf(&path, "%s/%s", buf_string(&preparation->work),
		    name + strlen("tls/"));
	else
		house_path(preparation->facts, "etc", name, &path);
	code = file_read(buf_string(&path), &content);
	(void)base64_encode(&text, buf_slice(&content));
	facts_set(files, name, buf_string(&text));
	buf_free(&path);
	buf_wipe(&content);
	buf_wipe(&text);
	return code;
}

static int
write_bundle(struct preparation *preparation)
{
	json_t *files = json_object(), *secrets = json_object(), *bundle;
	char *text = NULL;
	int code = EX_OK;

	for (size_t i = 0; i < JOIN_FILES && code == EX_OK; i++)
		if (join_needs(preparation->host, join_files[i]))
			code = pack_file(preparation, files, join_files[i]);
	house_take_secrets(secrets, preparation->host);
	bundle = json_pack("{s:s, s:o, s:o, s:o, s:o}", "format", JOIN_FORMAT,
	    "facts", facts_kept(preparation->host), "secrets", secrets, "files",
	    files, "peers", peers_json(&preparation->peers));
	text = bundle ? json_dumps(bundle, JSON_INDENT(1)) : NULL;
	if (!text)
		abort();
	if (code == EX_OK)
		code = file_write(preparation->bundle, 0600, slice_from(text));
	preparation->written = code == EX_OK;
	explicit_bzero(text, strlen(text));
	free(text);
	json_decref(bundle);
	return code;
}

static int
follow_peers(struct preparation *preparation, size_t *added)
{
	int code;

	peers_free(&preparation->peers);
	code = peers_read(&preparation->peers, preparation->directory,
	    facts_get(preparation->facts, "suffix"));
	if (code == EX_OK)
		code = peers_follow(preparation->directory, preparation->facts,
		    &preparation->peers, added);
	return code;
}

static int
tell(const struct preparation *preparation)
{
	static const char *const names[] = { "name", "host", "kdc_port",
		"kpasswd_port" };

	if (preparation->ctl->json)
		return output_json(json_pack("{s:s, s:s, s:s}", "done",
		    "prepared", "name", facts_get(preparation->host, "name"),
		    "bundle", preparation->bundle));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct buf name = buf_bounded(64);

		(void)buf_printf(&name, "new_%s", names[i]);
		facts_set(preparation->facts, buf_string(&name),
		    facts_get(preparation->host, names[i]));
		buf_free(&name);
	}
	facts_set(preparation->facts, "bundle", preparation->bundle);
	advice_prepared(preparation->facts);
	return EX_OK;
}

int
prepare_host(const struct ctl *ctl, const char *bundle)
{
	struct preparation preparation;
	size_t added;
	bool is_kdc;
	int code = open_preparation(&preparation, ctl);

	preparation.bundle = bundle;
	stage_hold_signals();
	if (code == EX_OK)
		code = stage_check(bundle);
	if (code == EX_OK)
		code = describe_host(&preparation);
	is_kdc = code == EX_OK && facts_is_kdc(preparation.host);
	if (code == EX_OK && !is_kdc)
		code = certify_host(&preparation);
	if (code == EX_OK)
		code = add_entries(&preparation);
	if (code == EX_OK)
		code = describe_others(&preparation);
	if (code == EX_OK)
		code = write_bundle(&preparation);
	if (code == EX_OK)
		code = stage_check_signals();
	if (code == EX_OK && !is_kdc)
		code = follow_peers(&preparation, &added);
	if (code == EX_OK)
		code = tell(&preparation);
	close_preparation(&preparation, code == EX_OK);
	return code;
}

int
prepare_peers(const struct ctl *ctl)
{
	struct preparation preparation;
	size_t added = 0;
	int code = open_preparation(&preparation, ctl);

	if (code == EX_OK)
		code = follow_peers(&preparation, &added);
	if (code == EX_OK && ctl->json)
		code = output_json(json_pack(
		    "{s:s, s:i}", "done", "followed", "added", (int)added));
	else if (code == EX_OK)
		printf("%zu of %zu providers are followed anew\n", added,
		    preparation.peers.count);
	close_preparation(&preparation, true);
	return code;
}
