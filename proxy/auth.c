#include "proxy/auth.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <ldap.h>

#include "lib/timestamp.h"
#include "proxy/sasl.h"

#define AUTH_RETRY_MS  500 /* after all servers were tried in vain */
#define AUTH_VOTES_MAX 4096

/* A set of votes, in the order of its text. */
struct votes {
	struct buf text; /* owned; what values point into */
	char **values;   /* owned; ends in NULL */
	size_t count;
};

struct auth {
	const struct auth_settings *settings;
	const struct config_directory *directory;
	struct log log;
	struct buf password; /* owned */
	LDAP *ldap;          /* owned; NULL: not connected */
	size_t server;       /* the one that is, or was, connected */
	struct buf dn;       /* owned: of our entry */
	struct votes wanted;
	bool dirty;       /* the directory may say something else */
	int64_t heard_ms; /* the last datagram */
	int64_t alive_ms; /* the last postcellAlive that was taken */
	int64_t retry_ms; /* not before */
};

static int64_t
monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int
auth_read_password(const char *path, struct buf *password)
{
	char *room = buf_reserve(password, SASL_PASSWORD_SIZE_MAX);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = -1;
	size_t line_end;

	if (fd >= 0 && room)
		size = read(fd, room, SASL_PASSWORD_SIZE_MAX);
	if (fd >= 0)
		close(fd);
	if (size < 0)
		return -1;
	line_end = slice_find(slice_of(room, (size_t)size), '\n');
	buf_grow(password, line_end == SIZE_MAX ? (size_t)size : line_end);
	return 0;
}

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
	for (size_t i = 0; i < votes->count; i++)
		if (strcasecmp(votes->values[i], value) == 0)
			return true;
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
log_lost(struct auth *auth, const char *doing, const char *why)
{
	struct log_line line = log_line(LOG_LEVEL_WARNING, "directory_lost");
	const char *server = auth->directory->uris.items[auth->server];

	log_string(&line, "server", server);
	log_string(&line, "doing", doing);
	log_string(&line, "why", why);
	log_send(&auth->log, &line);
}

static void
disconnect(struct auth *auth)
{
	if (auth->ldap)
		ldap_unbind_ext(auth->ldap, NULL, NULL);
	auth->ldap = NULL;
	auth->dirty = true;
}

static int
set_options(const struct auth *auth)
{
	struct timeval timeout = { auth->directory->timeout, 0 };
	int version = LDAP_VERSION3, demand = LDAP_OPT_X_TLS_DEMAND, client = 0;
	LDAP *ldap = auth->ldap;

	if (ldap_set_option(ldap, LDAP_OPT_PROTOCOL_VERSION, &version) ||
	    ldap_set_option(ldap, LDAP_OPT_NETWORK_TIMEOUT, &timeout) ||
	    ldap_set_option(ldap, LDAP_OPT_TIMEOUT, &timeout) ||
	    ldap_set_option(ldap, LDAP_OPT_REFERRALS, LDAP_OPT_OFF) ||
	    ldap_set_option(ldap, LDAP_OPT_RESTART, LDAP_OPT_ON))
		return -1;
	if (auth->directory->ca_file &&
	    ldap_set_option(
		ldap, LDAP_OPT_X_TLS_CACERTFILE, auth->directory->ca_file))
		return -1;
	return ldap_set_option(ldap, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand) ||
		       ldap_set_option(ldap, LDAP_OPT_X_TLS_NEWCTX, &client)
		   ? -1
		   : 0;
}

/* One server; LDAP_SUCCESS, or what failed. */
static int
connect_server(struct auth *auth)
{
	const struct config_directory *directory = auth->directory;
	const char *uri = directory->uris.items[auth->server];
	struct berval password = { auth->password.size, auth->password.data };
	bool secure = strncasecmp(uri, "ldap://", 7) != 0;
	int code = ldap_initialize(&auth->ldap, uri);

	if (code != LDAP_SUCCESS)
		return code;
	if (set_options(auth) < 0)
		return LDAP_LOCAL_ERROR;
	if (directory->tls == CONFIG_DIRECTORY_STARTTLS && !secure)
		code = ldap_start_tls_s(auth->ldap, NULL, NULL);
	if (code == LDAP_SUCCESS)
		code = ldap_sasl_bind_s(auth->ldap, directory->bind_dn,
		    LDAP_SASL_SIMPLE, &password, NULL, NULL, NULL);
	return code;
}

/* Any of the servers, the one of before first. 0, or -1. */
static int
connect_any(struct auth *auth)
{
	size_t count = auth->directory->uris.count;

	for (size_t i = 0; i < count && !auth->ldap; i++) {
		int code = connect_server(auth);

		if (code == LDAP_SUCCESS) {
			struct log_line line =
			    log_line(LOG_LEVEL_INFO, "directory_connected");

			log_string(&line, "server",
			    auth->directory->uris.items[auth->server]);
			log_send(&auth->log, &line);
			return 0;
		}
		log_lost(auth, "connect", ldap_err2string(code));
		disconnect(auth);
		auth->server = (auth->server + 1) % count;
	}
	return auth->ldap ? 0 : -1;
}

/* What the entry says now; LDAP_SUCCESS, or what failed. */
static int
read_entry(struct auth *auth, struct votes *found)
{
	char attribute[] = "postcellVote";
	char *attributes[] = { attribute, NULL };
	struct buf lines = buf_bounded(AUTH_MESSAGE_SIZE);
	struct berval **values = NULL;
	LDAPMessage *result = NULL, *entry;
	int code = ldap_search_ext_s(auth->ldap, buf_string(&auth->dn),
	    LDAP_SCOPE_BASE, NULL, attributes, 0, NULL, NULL, NULL, 0, &result);

	entry =
	    code == LDAP_SUCCESS ? ldap_first_entry(auth->ldap, result) : NULL;
	if (entry)
		values = ldap_get_values_len(auth->ldap, entry, attribute);
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
write_entry(struct auth *auth, char **added, char **removed)
{
	struct buf now = buf_bounded(32);
	struct timespec clock;
	char vote[] = "postcellVote", alive[] = "postcellAlive";
	char *alive_values[] = { NULL, NULL };
	LDAPMod mods[3], *list[4] = { NULL };
	size_t count = 0;
	int code;

	clock_gettime(CLOCK_REALTIME, &clock);
	timestamp_format(&now,
	    (int64_t)clock.tv_sec * TIMESTAMP_SECOND + clock.tv_nsec / 1000);
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
	    auth->ldap, buf_string(&auth->dn), list, NULL, NULL);
	buf_free(&now);
	return code;
}

static void
log_votes(const struct auth *auth, const char *event, char **votes)
{
	for (; *votes; votes++) {
		struct log_line line = log_line(LOG_LEVEL_INFO, event);

		log_string(&line, "vote", *votes);
		log_send(&auth->log, &line);
	}
}

/* Makes the entry say what is wanted. LDAP_SUCCESS, or what failed. */
static int
synchronise(struct auth *auth)
{
	struct votes found = { .text = buf_bounded(AUTH_MESSAGE_SIZE) };
	char **added, **removed;
	int code = read_entry(auth, &found);

	if (code == LDAP_SUCCESS) {
		added = votes_subtract(&auth->wanted, &found);
		removed = votes_subtract(&found, &auth->wanted);
		code = write_entry(auth, added, removed);
		if (code == LDAP_SUCCESS) {
			log_votes(auth, "vote", added);
			log_votes(auth, "vote_withdrawn", removed);
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
write_votes(struct auth *auth)
{
	int64_t now_ms = monotonic_ms();

	for (size_t i = 0; i < auth->directory->uris.count; i++) {
		int code;

		if (connect_any(auth) < 0)
			break;
		code = synchronise(auth);
		if (code == LDAP_SUCCESS) {
			auth->dirty = false;
			auth->alive_ms = now_ms;
			return;
		}
		log_lost(auth, "write", ldap_err2string(code));
		if (is_refusal(code))
			break;
		/* Somebody else wrote our entry: read it again. */
		if (code == LDAP_NO_SUCH_ATTRIBUTE ||
		    code == LDAP_TYPE_OR_VALUE_EXISTS)
			continue;
		disconnect(auth);
		auth->server = (auth->server + 1) % auth->directory->uris.count;
	}
	auth->retry_ms = monotonic_ms() + AUTH_RETRY_MS;
}

/* ---- the observer ---- */

static void
take_message(struct auth *auth, struct slice message)
{
	size_t line_end = slice_find(message, '\n');
	struct slice dn = slice_first(message, line_end);
	struct slice lines = line_end == SIZE_MAX
				 ? slice_from("")
				 : slice_from_offset(message, line_end + 1);
	struct votes wanted = { .text = buf_bounded(AUTH_MESSAGE_SIZE) };
	bool same = slice_equal(dn, buf_slice(&auth->dn));

	auth->heard_ms = monotonic_ms();
	buf_clear(&auth->dn);
	if (buf_add_slice(&auth->dn, dn) < 0)
		abort();
	votes_read(&wanted, lines);
	same = same && wanted.count == auth->wanted.count;
	for (size_t i = 0; same && i < wanted.count; i++)
		same = votes_have(&auth->wanted, wanted.values[i]);
	votes_free(&auth->wanted);
	auth->wanted = wanted;
	if (!same)
		auth->dirty = true;
}

/* Takes all that waits; only the last of it counts. */
static void
read_messages(struct auth *auth)
{
	static char message[AUTH_MESSAGE_SIZE];
	ssize_t size;

	while ((size = recv(auth->settings->health_fd, message,
		    sizeof(message) - 1, MSG_DONTWAIT)) > 0)
		take_message(auth, slice_of(message, (size_t)size));
}

/* Milliseconds until something is to be written; -1 for never. */
static int
wait_ms(const struct auth *auth)
{
	int64_t now_ms = monotonic_ms();
	int64_t due_ms = auth->dirty ? now_ms : auth->alive_ms + AUTH_ALIVE_MS;

	if (auth->dn.size == 0 || now_ms - auth->heard_ms > AUTH_HEARD_MS)
		return -1;
	if (due_ms < auth->retry_ms)
		due_ms = auth->retry_ms;
	return due_ms > now_ms ? (int)(due_ms - now_ms) : 0;
}

static void
serve(struct auth *auth)
{
	struct pollfd fds[2] = {
		{ .fd = auth->settings->parent_fd, .events = POLLIN },
		{ .fd = auth->settings->health_fd, .events = POLLIN },
	};

	for (;;) {
		int ready = poll(fds, ARRAY_SIZE(fds), wait_ms(auth));

		if (ready < 0 && errno != EINTR)
			return;
		/* The parent says nothing; that it closed its end says all. */
		if (ready > 0 && fds[0].revents != 0)
			return;
		if (ready > 0 && (fds[1].revents & POLLIN))
			read_messages(auth);
		else if (ready > 0 && fds[1].revents != 0)
			return;
		if (wait_ms(auth) == 0)
			write_votes(auth);
	}
}

int
auth_run(const struct auth_settings *settings)
{
	struct auth auth = {
		.settings = settings,
		.directory = &settings->config->directory,
		.log = settings->log,
		.password = buf_bounded(SASL_PASSWORD_SIZE_MAX + 1),
		.dn = buf_bounded(AUTH_MESSAGE_SIZE),
		.wanted = { .text = buf_bounded(AUTH_MESSAGE_SIZE) },
		.dirty = true,
		.heard_ms = monotonic_ms() - 2L * AUTH_HEARD_MS,
	};
	const char *why = NULL;
	int status = EXIT_SUCCESS;

	/* What the host's ldap.conf says is meant for others. */
	setenv("LDAPNOINIT", "1", 1);
	if (auth_read_password(auth.directory->password_file, &auth.password) <
	    0) {
		log_why(&auth.log, LOG_LEVEL_ERROR, "auth_failed",
		    strerrordesc_np(errno));
		status = EXIT_FAILURE;
	} else if (jail_enter(&settings->jail, &why) < 0) {
		log_why(&auth.log, LOG_LEVEL_ERROR, "auth_failed", why);
		status = EXIT_FAILURE;
	} else {
		serve(&auth);
	}
	if (auth.ldap)
		ldap_unbind_ext(auth.ldap, NULL, NULL);
	buf_wipe(&auth.password);
	buf_free(&auth.dn);
	votes_free(&auth.wanted);
	return status;
}
