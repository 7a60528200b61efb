#include "ctl/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "ctl/facts.h"
#include "ctl/house.h"

#define DN_MAX     4096
#define STANZA_MAX ((size_t)65536)

/* ---- who there is ---- */

static bool
read_peer(const struct directory_entry *entry, struct peer *peer)
{
	struct slice name, text, number;
	uint64_t value;

	if (!directory_value(entry, "cn", 0, &name) ||
	    !directory_value(entry, "description", 0, &text) ||
	    !slice_next_word(&text, ' ', &number) ||
	    slice_to_uint(number, PEERS_NUMBER_MAX, &value) < 0)
		return false;
	text = slice_trim(text);
	peer->number = (unsigned)value;
	peer->name = strndup(name.data, name.size);
	peer->uri = strndup(text.data, text.size);
	if (!peer->name || !peer->uri)
		abort();
	return true;
}

static bool
take_peer(void *context, const struct directory_entry *entry)
{
	struct peers *peers = context;

	if (peers->count < PEERS_MAX &&
	    read_peer(entry, &peers->list[peers->count]))
		peers->count++;
	return true;
}

int
peers_read(struct peers *peers, struct directory *directory, const char *suffix)
{
	struct buf base = buf_bounded(DN_MAX);
	int code;

	*peers = (struct peers){ .count = 0 };
	(void)buf_printf(&base, "ou=sync,ou=daemons,%s", suffix);
	code = directory_exit(
	    directory, directory_each(directory, buf_string(&base),
			   "(description=*)", take_peer, peers));
	buf_free(&base);
	return code;
}

void
peers_free(struct peers *peers)
{
	for (size_t i = 0; i < peers->count; i++) {
		free(peers->list[i].name);
		free(peers->list[i].uri);
	}
	peers->count = 0;
}

json_t *
peers_json(const struct peers *peers)
{
	json_t *array = json_array();

	for (size_t i = 0; i < peers->count; i++) {
		struct buf number = buf_bounded(64);

		(void)buf_printf(&number, "%u", peers->list[i].number);
		if (json_array_append_new(array,
			json_pack("{s:s, s:s}", "number", buf_string(&number),
			    "uri", peers->list[i].uri)) < 0)
			abort();
		buf_free(&number);
	}
	return array;
}

/* ---- following them ---- */

int
peers_stanza(
    const json_t *given, const char *number, const char *uri, struct buf *out)
{
	json_t *facts = json_deep_copy(given);
	struct buf rid = buf_bounded(64);
	int code;

	(void)buf_printf(&rid, "%03u", (unsigned)strtoul(number, NULL, 10));
	facts_set(facts, "rid", buf_string(&rid));
	facts_set(facts, "provider", uri);
	facts_fill(facts, "sync_dn", "cn=${name},ou=sync,ou=daemons,${suffix}");
	code = house_fill(facts, "peer.conf.in", out);
	json_decref(facts);
	buf_free(&rid);
	return code;
}

/* As cn=config has it: on one line, without the option's name. */
static int
make_value(const json_t *facts, const struct peer *peer, struct buf *out)
{
	struct buf text = buf_bounded(STANZA_MAX), number = buf_bounded(64);
	struct slice rest, line;
	int code;

	(void)buf_printf(&number, "%u", peer->number);
	code = peers_stanza(facts, buf_string(&number), peer->uri, &text);
	rest = slice_from_offset(buf_slice(&text), strlen("syncrepl "));
	while (slice_next_word(&rest, '\n', &line)) {
		if (out->size > 0)
			(void)buf_add_char(out, ' ');
		(void)buf_add_slice(out, slice_trim(line));
	}
	buf_wipe(&text);
	buf_free(&number);
	return code;
}

static bool
is_followed(const struct directory_entry *database, const char *uri)
{
	struct buf word = buf_bounded(DN_MAX);
	struct slice value;
	bool found = false;

	(void)buf_printf(&word, "provider=%s ", uri);
	for (size_t i = 0;
	     !found && directory_value(database, "olcSyncrepl", i, &value); i++)
		found = memmem(value.data, value.size, word.data, word.size);
	buf_free(&word);
	return found;
}

static int
follow(struct directory *directory, const json_t *facts, const char *dn,
    const struct peer *peer)
{
	struct buf value = buf_bounded(STANZA_MAX);
	int code = make_value(facts, peer, &value);
	struct directory_part parts[] = {
		{ DIRECTORY_ADD, "olcSyncrepl", buf_slice(&value) },
		{ DIRECTORY_REPLACE, "olcMultiProvider", slice_from("TRUE") },
	};

	if (code == EX_OK)
		code = directory_exit(
		    directory, directory_modify(directory, slice_from(dn),
				   slice_from(""), parts, ARRAY_SIZE(parts)));
	buf_wipe(&value);
	return code;
}

int
peers_follow(struct directory *directory, const json_t *facts,
    const struct peers *peers, size_t *added)
{
	struct directory_entry *database = NULL;
	struct buf filter = buf_bounded(DN_MAX);
	size_t count = 0;
	int code;

	*added = 0;
	(void)buf_printf(&filter, "(olcSuffix=%s)", facts_get(facts, "suffix"));
	code = directory_exit(
	    directory, directory_find(directory, "cn=config", false,
			   buf_string(&filter), &count, &database));
	if (code == EX_OK && !database) {
		ctl_complain(facts_get(facts, "suffix"),
		    "slapd of this host has no such database");
		code = EX_CONFIG;
	}
	for (size_t i = 0; code == EX_OK && i < peers->count; i++) {
		const struct peer *peer = &peers->list[i];

		if (strcmp(peer->name, facts_get(facts, "name")) == 0 ||
		    is_followed(database, peer->uri))
			continue;
		code = follow(directory, facts, database->dn, peer);
		*added += code == EX_OK;
	}
	directory_entry_free(&database);
	buf_free(&filter);
	return code;
}
