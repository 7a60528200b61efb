#include "proxy/auth_votes.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ldap.h>

#include "lib/timestamp.h"
#include "replica/clock.h"

#define AUTH_RETRY_MS  500 /* after all servers were tried in vain */
#define AUTH_VOTES_MAX 4096

/* A set of votes, in the order of its text. */
struct votes {
	struct buf text; /* owned; what values point into */
	char **values;   /* owned; ends in NULL */
	size_t count;
};

struct votes_writer {
	const struct auth_settings *settings;
	const struct config_directory *directory;
	struct log log;
	const struct buf *password; /* borrowed */
	LDAP *ldap;                 /* owned; NULL: not connected */
	size_t server;              /* the one that is, or was, connected */
	struct buf dn;              /* owned: of our entry */
	struct votes wanted;
	bool dirty;       /* the directory may say something else */
	int64_t heard_ms; /* the last datagram */
	int64_t alive_ms; /* the last postcellAlive that was taken */
	int64_t retry_ms; /* not before */
};

/* ---- sets of votes ---- */

static void
votes_free(struct votes *votes)
{
	buf_free(&votes->text);
	free((void *)votes->values);
	*votes = (struct votes){ .text = buf_bounded(AUTH_MESSAGE_SIZE) };
}

/* A line each; takes nothing over. */
static void
votes_read(struct votes *votes, struct slice lines)
{
	votes_free(votes);
	if (buf_add_slice(&votes->text, lines) < 0)
		abort();
	votes->values = calloc(AUTH_VOTES_MAX + 1, sizeof(char *));
	if (!votes->values)
		abort();
	for (char *line = votes->text.data;
	     line && *line != '\0' && votes->count < AUTH_VOTES_MAX;) {
		char *line_end = strchr(line, '\n');

		votes->values[votes->count++] = line;
		if (!line_end)
			break;
		*line_end = '\0';
		line = line_end + 1;
	}
}

static bool
votes_have(const struct votes *votes, const char *value)
{
	assert(value);
	for (size_t i = 0; i < votes->count; i++) {
		assert(votes->values[i]);
		if (strcasecmp(votes->values[i], value) == 0)
			return true;
	}
	return false;
}

/* Those of `of` that `without` has not; ends in NULL, values are borrowed. */
static char **
votes_subtract(const struct votes *of, const struct votes *without)
{
	char **list = calloc(of->count + 1, sizeof(char *));
	size_t count = 0;

	if (!list)
		abort();
	for (size_t i = 0; i < of->count; i++)
		if (!votes_have(without, of->values[i]))
			list[count++] = of->values[i];
	return list;
}

/* ---- the directory ---- */

static void
log_lost(struct votes_writer *writer, const char *doing, const char *why)
{
	struct log_line line = log_line(LOG_LEVEL_WARNING, "directory_lost");
	const char *server = writer->directory->uris.items[writer->server];

	log_string(&line, "server", server);
	log_string(&line, "doing", doing);
	log_string(&line, "why", why);
	log_send(&writer->log, &line);
}

static void
disconnect(struct votes_writer *writer)
{
	if (writer->ldap)
		ldap_unbind_ext(writer->ldap, NULL, NULL);
	writer->ldap = NULL;
	writer->dirty = true;
}

static int
set_tls(LDAP *ldap, const struct config_directory *directory)
{
	const struct {
		int option;
		const char *file;
	} files[] = {
		{ LDAP_OPT_X_TLS_CACERTFILE, directory->ca_file },
		{ LDAP_OPT_X_TLS_CERTFILE, directory->certificate },
		{ LDAP_OPT_X_TLS_KEYFILE, directory->key },
	};

	int demand = LDAP_OPT_X_TLS_DEMAND, client = 0;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (files[i].file &&
		    ldap_set_option(ldap, files[i].option, files[i].file))
			return -1;
	return ldap_set_option(ldap, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand) ||
		       ldap_set_option(ldap, LDAP_OPT_X_TLS_NEWCTX, &client)
		   ? -1
		   : 0;
}

static int
set_options(const struct votes_writer *writer)
{
	struct timeval timeout = { writer->directory->timeout, 0 };
	int version = LDAP_VERSION3;
	LDAP *ldap = writer->ldap;

	if (ldap_set_option(ldap, LDAP_OPT_PROTOCOL_VERSION, &version) ||
	    ldap_set_option(ldap, LDAP_OPT_NETWORK_TIMEOUT, &timeout) ||
	    ldap_set_option(ldap, LDAP_OPT_TIMEOUT, &timeout) ||
	    ldap_set_option(ldap, LDAP_OPT_REFERRALS, LDAP_OPT_OFF) ||
	    ldap_set_option(ldap, LDAP_OPT_RESTART, LDAP_OPT_ON))
		return -1;
	return set_tls(ldap, writer->directory);
}

/* One server; LDAP_SUCCESS, or what failed. */
static int
connect_server(struct votes_writer *writer)
{
	const struct config_directory *directory = writer->directory;
	const char *uri = directory->uris.items[writer->server];
	char empty[] = "";
	/* EXTERNAL wants an empty response along, or the server asks for it. */
	struct berval password = { writer->password->size,
		writer->password->data ? writer->password->data : empty };
	bool secure = strncasecmp(uri, "ldap://", 7) != 0;
	bool external = directory->bind == CONFIG_DIRECTORY_EXTERNAL;
	int code = ldap_initialize(&writer->ldap, uri);

	if (code != LDAP_SUCCESS)
		return code;
	if (set_options(writer) < 0)
		return LDAP_LOCAL_ERROR;
	if (directory->tls == CONFIG_DIRECTORY_STARTTLS && !secure)
		code = ldap_start_tls_s(writer->ldap, NULL, NULL);
	if (code == LDAP_SUCCESS)
		code = ldap_sasl_bind_s(writer->ldap,
		    external ? "" : directory->bind_dn,
		    external ? "EXTERNAL" : LDAP_SASL_SIMPLE, &password, NULL,
		    NULL, NULL);
	return code;
}

/* Any of the servers, the one of before first. 0, or -1. */
static int
connect_any(struct votes_writer *writer)
{
	size_t count = writer->directory->uris.count;

	for (size_t i = 0; i < count && !writer->ldap; i++) {
		int code = connect_server(writer);

		if (code == LDAP_SUCCESS) {
			struct log_line line =
			    log_line(LOG_LEVEL_INFO, "directory_connected");

			log_string(&line, "server",
			    writer->directory->uris.items[writer->server]);
			log_send(&writer->log, &line);
			return 0;
		}
		log_lost(writer, "connect", ldap_err2string(code));
		disconnect(writer);
		writer->server = (writer->server + 1) % count;
	}
	return writer->ldap ? 0 : -1;
}

/* What the entry says now; LDAP_SUCCESS, or what failed. */
static int
read_entry(struct votes_writer *writer, struct votes *found)
{
	char attribute[] = "postcellVote";
	char *attributes[] = { attribute, NULL };
	struct buf lines = buf_bounded(AUTH_MESSAGE_SIZE);
	struct berval **values = NULL;
	LDAPMessage *result = NULL, *entry;
	int code = ldap_search_ext_s(writer->ldap, buf_string(&writer->dn),
	    LDAP_SCOPE_BASE, NULL, attributes, 0, NULL, NULL, NULL, 0, &result);

	entry = code == LDAP_SUCCESS ? ldap_first_entry(writer->ldap, result)
				     : NULL;
	if (entry)
		values = ldap_get_values_len(writer->ldap, entry, attribute);
	for (size_t i = 0; values && values[i]; i++) {
		buf_add(&lines, values[i]->bv_val, values[i]->bv_len);
		buf_add_char(&lines, '\n');
	}
	votes_read(found, buf_slice(&lines));
	buf_free(&lines);
	ldap_value_free_len(values);
	ldap_msgfree(result);
	return code;
}

/* One modify: votes that came, votes that went, and that we are alive. */
static int
write_entry(struct votes_writer *writer, char **added, char **removed)
{
	struct buf now = buf_bounded(32);
	char vote[] = "postcellVote", alive[] = "postcellAlive";
	char *alive_values[] = { NULL, NULL };
	LDAPMod mods[3], *list[4] = { NULL };
	size_t count = 0;
	int code;

	timestamp_format(&now, clock_realtime_us());
	alive_values[0] = now.data;
	mods[0] = (LDAPMod){ LDAP_MOD_REPLACE, alive, { alive_values } };
	mods[1] = (LDAPMod){ LDAP_MOD_ADD, vote, { added } };
	mods[2] = (LDAPMod){ LDAP_MOD_DELETE, vote, { removed } };
	list[count++] = &mods[0];
	if (added[0])
		list[count++] = &mods[1];
	if (removed[0])
		list[count++] = &mods[2];
	code = ldap_modify_ext_s(
	    writer->ldap, buf_string(&writer->dn), list, NULL, NULL);
	buf_free(&now);
	return code;
}

static void
log_votes(const struct votes_writer *writer, const char *event, char **votes)
{
	for (; *votes; votes++) {
		struct log_line line = log_line(LOG_LEVEL_INFO, event);

		log_string(&line, "vote", *votes);
		log_send(&writer->log, &line);
	}
}

/* Makes the entry say what is wanted. LDAP_SUCCESS, or what failed. */
static int
synchronise(struct votes_writer *writer)
{
	struct votes found = { .text = buf_bounded(AUTH_MESSAGE_SIZE) };
	char **added, **removed;
	int code = read_entry(writer, &found);

	if (code == LDAP_SUCCESS) {
		added = votes_subtract(&writer->wanted, &found);
		removed = votes_subtract(&found, &writer->wanted);
		code = write_entry(writer, added, removed);
		if (code == LDAP_SUCCESS) {
			log_votes(writer, "vote", added);
			log_votes(writer, "vote_withdrawn", removed);
		}
		free((void *)added);
		free((void *)removed);
	}
	votes_free(&found);
	return code;
}

/* Errors of ours or of the entry's, which no other server would mend. */
static bool
is_refusal(int code)
{
	return code == LDAP_INSUFFICIENT_ACCESS ||
	       code == LDAP_NO_SUCH_OBJECT ||
	       code == LDAP_OBJECT_CLASS_VIOLATION ||
	       code == LDAP_UNDEFINED_TYPE;
}

static void
write_votes(struct votes_writer *writer)
{
	int64_t now_ms = clock_monotonic_ms();

	for (size_t i = 0; i < writer->directory->uris.count; i++) {
		int code;

		if (connect_any(writer) < 0)
			break;
		code = synchronise(writer);
		if (code == LDAP_SUCCESS) {
			writer->dirty = false;
			writer->alive_ms = now_ms;
			return;
		}
		log_lost(writer, "write", ldap_err2string(code));
		if (is_refusal(code))
			break;
		/* Somebody else wrote our entry: read it again. */
		if (code == LDAP_NO_SUCH_ATTRIBUTE ||
		    code == LDAP_TYPE_OR_VALUE_EXISTS)
			continue;
		disconnect(writer);
		writer->server =
		    (writer->server + 1) % writer->directory->uris.count;
	}
	writer->retry_ms = clock_monotonic_ms() + AUTH_RETRY_MS;
}

/* ---- the observer ---- */

static void
take_message(struct votes_writer *writer, struct slice message)
{
	size_t line_end = slice_find(message, '\n');
	struct slice dn = slice_first(message, line_end);
	struct slice lines = line_end == SIZE_MAX
				 ? slice_from("")
				 : slice_from_offset(message, line_end + 1);
	struct votes wanted = { .text = buf_bounded(AUTH_MESSAGE_SIZE) };
	bool same = slice_equal(dn, buf_slice(&writer->dn));

	writer->heard_ms = clock_monotonic_ms();
	buf_clear(&writer->dn);
	if (buf_add_slice(&writer->dn, dn) < 0)
		abort();
	votes_read(&wanted, lines);
	same = same && wanted.count == writer->wanted.count;
	for (size_t i = 0; same && i < wanted.count; i++)
		same = votes_have(&writer->wanted, wanted.values[i]);
	votes_free(&writer->wanted);
	writer->wanted = wanted;
	if (!same)
		writer->dirty = true;
}

/* Takes all that waits; only the last of it counts. */
static void
read_messages(struct votes_writer *writer)
{
	static char message[AUTH_MESSAGE_SIZE];
	ssize_t size;

	while ((size = recv(writer->settings->health_fd, message,
		    sizeof(message) - 1, MSG_DONTWAIT)) > 0)
		take_message(writer, slice_of(message, (size_t)size));
}

/* Milliseconds until something is to be written; -1 for never. */
static int
wait_ms(const struct votes_writer *writer)
{
	int64_t now_ms = clock_monotonic_ms();
	int64_t due_ms =
	    writer->dirty ? now_ms : writer->alive_ms + AUTH_ALIVE_MS;

	if (writer->dn.size == 0 || now_ms - writer->heard_ms > AUTH_HEARD_MS)
		return -1;
	if (due_ms < writer->retry_ms)
		due_ms = writer->retry_ms;
	return due_ms > now_ms ? (int)(due_ms - now_ms) : 0;
}

static void
serve(struct votes_writer *writer)
{
	struct pollfd fds[2] = {
		{ .fd = writer->settings->parent_fd, .events = POLLIN },
		{ .fd = writer->settings->health_fd, .events = POLLIN },
	};

	for (;;) {
		int ready = poll(fds, ARRAY_SIZE(fds), wait_ms(writer));

		if (ready < 0 && errno != EINTR)
			return;
		/* The parent says nothing; that it closed its end says all. */
		if (ready > 0 && fds[0].revents != 0)
			return;
		if (ready > 0 && (fds[1].revents & POLLIN))
			read_messages(writer);
		else if (ready > 0 && fds[1].revents != 0)
			return;
		if (wait_ms(writer) == 0)
			write_votes(writer);
	}
}

void
auth_votes_run(const struct auth_settings *settings, const struct buf *password)
{
	struct votes_writer writer = {
		.settings = settings,
		.directory = &settings->config->directory,
		.log = settings->log,
		.password = password,
		.dn = buf_bounded(AUTH_MESSAGE_SIZE),
		.wanted = { .text = buf_bounded(AUTH_MESSAGE_SIZE) },
		.dirty = true,
		.heard_ms = clock_monotonic_ms() - 2L * AUTH_HEARD_MS,
	};

	serve(&writer);
	disconnect(&writer);
	buf_free(&writer.dn);
	votes_free(&writer.wanted);
}
