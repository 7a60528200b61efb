#include "slapd-overlay/overlay.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/password.h"

#define WHY_MAX 512

enum kind {
	KIND_TEXT,
	KIND_NUMBER,
	KIND_SWITCH
};

/* A row an option: what it is, where it goes, its default and bounds. */
struct option {
	size_t offset;
	enum kind kind;
	unsigned standard, least, most;
};

#define FIELD(field)           offsetof(struct overlay, field)
#define LOCKOUT_LIMIT_STANDARD 20

enum option_number {
	OPTION_REALM = 1,
	OPTION_MASTER_KEY,
	OPTION_ENCTYPES,
	OPTION_SCRAM,
	OPTION_PASSWORD_MAX,
	OPTION_TICKET_LIFE,
	OPTION_MEMORY_SIZE,
	OPTION_MEMORY_TIME,
	OPTION_LOCKOUT_FILE,
	OPTION_LOCKOUT_LIMIT,
	OPTION_LOCKOUT_WINDOW,
	OPTION_LOCKOUT_TIME,
	OPTION_LAST_LOGIN,
	OPTION_NAMES,
	OPTION_REFERENCES,
	OPTION_TRANSITIONS,
	OPTION_SERVERS,
	OPTION_PASSWORD_LIFE,
	OPTION_COUNT
};

static const struct option options[OPTION_COUNT] = {
	[OPTION_REALM] = { FIELD(realm), KIND_TEXT, 0, 0, 0 },
	[OPTION_MASTER_KEY] = { FIELD(master_key), KIND_TEXT, 0, 0, 0 },
	[OPTION_ENCTYPES] = { FIELD(enctypes), KIND_TEXT, 0, 0, 0 },
	[OPTION_SCRAM] = { FIELD(scram), KIND_NUMBER, 0, KEYS_ITERATIONS_MIN,
	    KEYS_ITERATIONS_MAX },
	[OPTION_PASSWORD_MAX] = { FIELD(password_max), KIND_NUMBER,
	    PASSWORD_SIZE_MAX, 8, PASSWORD_SIZE_BOUND },
	[OPTION_TICKET_LIFE] = { FIELD(ticket_life), KIND_NUMBER, 604800, 1,
	    31536000 },
	[OPTION_MEMORY_SIZE] = { FIELD(memory_size), KIND_NUMBER, 10000, 1,
	    MEMORY_SIZE_MAX },
	[OPTION_MEMORY_TIME] = { FIELD(memory_time), KIND_NUMBER, 60, 1, 600 },
	[OPTION_LOCKOUT_FILE] = { FIELD(lockout_file), KIND_TEXT, 0, 0, 0 },
	[OPTION_LOCKOUT_LIMIT] = { FIELD(lockout_limit), KIND_NUMBER,
	    LOCKOUT_LIMIT_STANDARD, 1, LOCKOUT_LIMIT_MAX },
	[OPTION_LOCKOUT_WINDOW] = { FIELD(lockout_window), KIND_NUMBER, 300, 1,
	    86400 },
	[OPTION_LOCKOUT_TIME] = { FIELD(lockout_time), KIND_NUMBER, 900, 1,
	    31536000 },
	[OPTION_LAST_LOGIN] = { FIELD(last_login), KIND_SWITCH, 1, 0, 1 },
	[OPTION_NAMES] = { FIELD(check_names), KIND_SWITCH, 1, 0, 1 },
	[OPTION_REFERENCES] = { FIELD(check_references), KIND_SWITCH, 1, 0, 1 },
	[OPTION_TRANSITIONS] = { FIELD(keep_transitions), KIND_SWITCH, 1, 0,
	    1 },
	[OPTION_SERVERS] = { FIELD(show_servers), KIND_SWITCH, 1, 0, 1 },
	[OPTION_PASSWORD_LIFE] = { FIELD(password_life), KIND_NUMBER, 31536000,
	    86400, 315360000 },
};

static char **
text_at(struct overlay *overlay, const struct option *option)
{
	return (char **)(void *)((char *)overlay + option->offset);
}

static unsigned *
number_at(struct overlay *overlay, const struct option *option)
{
	return (unsigned *)(void *)((char *)overlay + option->offset);
}

void
config_init(struct overlay *overlay)
{
	for (size_t i = 1; i < OPTION_COUNT; i++)
		if (options[i].kind != KIND_TEXT)
			*number_at(overlay, &options[i]) = options[i].standard;
}

void
config_free(struct overlay *overlay)
{
	for (size_t i = 1; i < OPTION_COUNT; i++)
		if (options[i].kind == KIND_TEXT) {
			free(*text_at(overlay, &options[i]));
			*text_at(overlay, &options[i]) = NULL;
		}
}

static int
emit(ConfigArgs *c, struct overlay *overlay, const struct option *option)
{
	if (option->kind == KIND_TEXT) {
		const char *text = *text_at(overlay, option);

		if (!text)
			return 1;
		c->value_string = ch_strdup(text);
		return 0;
	}
	if (*number_at(overlay, option) == option->standard)
		return 1;
	if (option->kind == KIND_SWITCH)
		c->value_int = (int)*number_at(overlay, option);
	else
		c->value_uint = *number_at(overlay, option);
	return 0;
}

static int
set(ConfigArgs *c, struct overlay *overlay, const struct option *option)
{
	char **text = text_at(overlay, option);

	if (option->kind == KIND_TEXT) {
		free(*text);
		*text = strdup(c->value_string);
		ch_free(c->value_string);
		return *text ? 0 : 1;
	}
	if (option->kind == KIND_SWITCH) {
		*number_at(overlay, option) = c->value_int != 0;
		return 0;
	}
	/* 0 turns off what is off where nothing is said, and what can be. */
	if (c->value_uint > option->most ||
	    (c->value_uint < option->least && c->value_uint != 0) ||
	    (c->value_uint == 0 && option->standard != 0 &&
		option->offset != FIELD(memory_size) &&
		option->offset != FIELD(password_life) &&
		option->offset != FIELD(lockout_time))) {
		(void)snprintf(c->cr_msg, sizeof(c->cr_msg),
		    "<%s> is not within %u to %u", c->argv[0], option->least,
		    option->most);
		return 1;
	}
	*number_at(overlay, option) = c->value_uint;
	return 0;
}

static void
unset(struct overlay *overlay, const struct option *option)
{
	if (option->kind == KIND_TEXT) {
		free(*text_at(overlay, option));
		*text_at(overlay, option) = NULL;
	} else {
		*number_at(overlay, option) = option->standard;
	}
}

/* Handles all options alike; under cn=config slapd has paused its threads. */
static int
handle(ConfigArgs *c)
{
	slap_overinst *instance = (slap_overinst *)(void *)c->bi;
	struct overlay *overlay = instance->on_bi.bi_private;
	const struct option *option = &options[c->type];
	char why[WHY_MAX] = "";

	if (c->op == SLAP_CONFIG_EMIT)
		return emit(c, overlay, option);
	if (c->op == LDAP_MOD_DELETE)
		unset(overlay, option);
	else if (set(c, overlay, option) != 0)
		goto failed;
	if (!overlay->is_open)
		return 0;
	overlay_close(overlay);
	if (overlay_open(overlay, c->be, why, sizeof(why)) == 0)
		return 0;
	(void)snprintf(
	    c->cr_msg, sizeof(c->cr_msg), "<%s> %.200s", c->argv[0], why);
failed:
	overlay_log("%s: %s", c->log, c->cr_msg);
	return 1;
}

#define OID(number) "( " OVERLAY_ARC ".3." #number " "
#define TEXT(number, name)                                                     \
	OID(number)                                                            \
	"NAME '" name "' EQUALITY caseExactMatch "                             \
	"SYNTAX OMsDirectoryString SINGLE-VALUE )"
#define NUMBER(number, name)                                                   \
	OID(number)                                                            \
	"NAME '" name "' EQUALITY integerMatch "                               \
	"SYNTAX OMsInteger SINGLE-VALUE )"
#define SWITCH(number, name)                                                   \
	OID(number)                                                            \
	"NAME '" name "' EQUALITY booleanMatch "                               \
	"SYNTAX OMsBoolean SINGLE-VALUE )"
#define ROW(word, what, type, number, definition)                              \
	{                                                                      \
		word, what, 2, 2, 0, (type) | ARG_MAGIC | (number), NULL,      \
		    definition, NULL,                                          \
		{                                                              \
			NULL                                                   \
		}                                                              \
	}

static ConfigTable rows[] = {
	ROW("postcell-realm", "realm", ARG_STRING, OPTION_REALM,
	    TEXT(1, "olcPostcellRealm")),
	ROW("postcell-master-key", "file", ARG_STRING, OPTION_MASTER_KEY,
	    TEXT(2, "olcPostcellMasterKey")),
	ROW("postcell-enctypes", "names", ARG_STRING, OPTION_ENCTYPES,
	    TEXT(3, "olcPostcellEnctypes")),
	ROW("postcell-scram", "iterations", ARG_UINT, OPTION_SCRAM,
	    NUMBER(4, "olcPostcellScram")),
	ROW("postcell-password-max", "octets", ARG_UINT, OPTION_PASSWORD_MAX,
	    NUMBER(5, "olcPostcellPasswordMax")),
	ROW("postcell-ticket-life", "seconds", ARG_UINT, OPTION_TICKET_LIFE,
	    NUMBER(6, "olcPostcellTicketLife")),
	ROW("postcell-memory", "count", ARG_UINT, OPTION_MEMORY_SIZE,
	    NUMBER(7, "olcPostcellMemory")),
	ROW("postcell-memory-time", "seconds", ARG_UINT, OPTION_MEMORY_TIME,
	    NUMBER(8, "olcPostcellMemoryTime")),
	ROW("postcell-lockout", "file", ARG_STRING, OPTION_LOCKOUT_FILE,
	    TEXT(9, "olcPostcellLockout")),
	ROW("postcell-lockout-limit", "count", ARG_UINT, OPTION_LOCKOUT_LIMIT,
	    NUMBER(10, "olcPostcellLockoutLimit")),
	ROW("postcell-lockout-window", "seconds", ARG_UINT,
	    OPTION_LOCKOUT_WINDOW, NUMBER(11, "olcPostcellLockoutWindow")),
	ROW("postcell-lockout-time", "seconds", ARG_UINT, OPTION_LOCKOUT_TIME,
	    NUMBER(12, "olcPostcellLockoutTime")),
	ROW("postcell-last-login", "on|off", ARG_ON_OFF, OPTION_LAST_LOGIN,
	    SWITCH(13, "olcPostcellLastLogin")),
	ROW("postcell-names", "on|off", ARG_ON_OFF, OPTION_NAMES,
	    SWITCH(14, "olcPostcellNames")),
	ROW("postcell-references", "on|off", ARG_ON_OFF, OPTION_REFERENCES,
	    SWITCH(15, "olcPostcellReferences")),
	ROW("postcell-transitions", "on|off", ARG_ON_OFF, OPTION_TRANSITIONS,
	    SWITCH(16, "olcPostcellTransitions")),
	ROW("postcell-servers", "on|off", ARG_ON_OFF, OPTION_SERVERS,
	    SWITCH(17, "olcPostcellServers")),
	ROW("postcell-password-life", "seconds", ARG_UINT, OPTION_PASSWORD_LIFE,
	    NUMBER(18, "olcPostcellPasswordLife")),
	{ NULL, NULL, 0, 0, 0, ARG_IGNORED, NULL, NULL, NULL, { NULL } },
};

static ConfigOCs object_classes[] = {
	{ .co_def =
		"( " OVERLAY_ARC ".4.1 NAME 'olcPostcellConfig' "
		"DESC 'Integrated login and the map of the cell' "
		"SUP olcOverlayConfig MAY ( olcPostcellRealm $ olcPostcellMasterKey $ "
		"olcPostcellEnctypes $ olcPostcellScram $ olcPostcellPasswordMax $ "
		"olcPostcellTicketLife $ olcPostcellMemory $ olcPostcellMemoryTime $ "
		"olcPostcellLockout $ olcPostcellLockoutLimit $ "
		"olcPostcellLockoutWindow $ olcPostcellLockoutTime $ "
		"olcPostcellLastLogin $ olcPostcellNames $ olcPostcellReferences $ "
		"olcPostcellTransitions $ olcPostcellServers $ "
		"olcPostcellPasswordLife ) )",
	    .co_type = Cft_Overlay,
	    .co_table = rows },
	{ .co_def = NULL },
};

int
config_register(void)
{
	ConfigDriver *handler = handle;

	/* slapd's table has objects and functions in one field. */
	for (size_t i = 0; rows[i].name; i++)
		memcpy(&rows[i].arg_item, &handler, sizeof(handler));
	return config_register_schema(rows, object_classes);
}

ConfigOCs *
config_classes(void)
{
	return object_classes;
}

/* ---- what is made of the settings ---- */

static int
open_keys(struct overlay *overlay, char *why, size_t size)
{
	struct keys_settings settings = { overlay->realm, overlay->master_key,
		overlay->enctypes ? overlay->enctypes : KEYS_ENCTYPES_DEFAULT,
		overlay->scram };
	char *reason;

	overlay->keys = keys_new(&settings, &reason);
	if (!overlay->keys) {
		(void)snprintf(
		    why, size, "%s", reason ? reason : "out of memory");
		free(reason);
		return -1;
	}
	scheme_set_keys(overlay->keys);
	if (overlay->memory_size == 0)
		return 0;
	keys_random(overlay->memory_key, sizeof(overlay->memory_key));
	overlay->memory =
	    memory_new(overlay->memory_size, overlay->memory_time * 1000L);
	if (overlay->memory)
		return 0;
	(void)snprintf(why, size, "out of memory");
	return -1;
}

/* The file that all programs of the host count in. */
static int
open_lockout(struct overlay *overlay, char *why, size_t size)
{
	int file = open(overlay->lockout_file, O_RDWR | O_CREAT | O_CLOEXEC,
	    S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP);
	const char *reason = "it cannot be opened";
	struct stat status;
	void *memory;

	if (file < 0)
		goto failed;
	reason = "it cannot be made as large as needed";
	if (fstat(file, &status) < 0 ||
	    (status.st_size < (off_t)LOCKOUT_SIZE &&
		ftruncate(file, (off_t)LOCKOUT_SIZE) < 0))
		goto failed;
	reason = "it cannot be mapped";
	memory = mmap(
	    NULL, LOCKOUT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (memory == MAP_FAILED)
		goto failed;
	overlay->lockout_memory = memory;
	(void)close(file);
	if (lockout_attach(&overlay->lockout, memory, LOCKOUT_SIZE, &reason) ==
	    0)
		return 0;
	file = -1;
failed:
	if (file >= 0)
		(void)close(file);
	(void)snprintf(why, size, "%s: %s", overlay->lockout_file, reason);
	return -1;
}

/*
 * Who stands between us and the back end sees a write after us; who was
 * configured later stands before us and sees it first.
 */
static bool
is_beside_us(
    BackendDB *db, const struct overlay *overlay, const char *name, bool behind)
{
	slap_overinfo *info = (slap_overinfo *)(void *)db->bd_info;
	bool passed = false;

	for (slap_overinst *each = info->oi_list; each; each = each->on_next) {
		if (each->on_bi.bi_private == overlay)
			passed = true;
		else if (passed == behind &&
			 strcmp(each->on_bi.bi_type, name) == 0)
			return true;
	}
	return false;
}

static int
check_surroundings(
    struct overlay *overlay, BackendDB *db, char *why, size_t size)
{
	if (BER_BVISEMPTY(&db->be_rootndn)) {
		(void)snprintf(why, size,
		    "the database needs a rootdn, as which the overlay writes");
		return -1;
	}
	if (!overlay->realm)
		return 0;
	if (is_beside_us(db, overlay, "ppolicy", true)) {
		(void)snprintf(why, size,
		    "overlay ppolicy has to be configured after overlay postcell");
		return -1;
	}
	if (is_beside_us(db, overlay, "accesslog", false))
		overlay_log(
		    "event=slow why=\"overlay accesslog is configured after "
		    "overlay postcell: all writes wait while keys are made\"");
	if (global_allows & SLAP_ALLOW_BIND_ANON_DN) {
		(void)snprintf(why, size,
		    "\"allow bind_anon_dn\" makes an empty password a good one");
		return -1;
	}
	return 0;
}

int
overlay_open(struct overlay *overlay, BackendDB *db, char *why, size_t size)
{
	overlay->is_open = true;
	if (attributes_find(overlay->realm != NULL, why, size) < 0 ||
	    check_surroundings(overlay, db, why, size) < 0 ||
	    (overlay->realm && open_keys(overlay, why, size) < 0) ||
	    (overlay->lockout_file && open_lockout(overlay, why, size) < 0))
		return -1;
	overlay->turns = turns_new();
	overlay->names = overlay->check_names ? names_new() : NULL;
	overlay->shown = overlay->show_servers ? shown_new() : NULL;
	return 0;
}

void
overlay_close(struct overlay *overlay)
{
	if (overlay->keys)
		scheme_set_keys(NULL);
	keys_free(&overlay->keys);
	memory_free(&overlay->memory);
	explicit_bzero(overlay->memory_key, sizeof(overlay->memory_key));
	if (overlay->lockout_memory)
		(void)munmap(overlay->lockout_memory, LOCKOUT_SIZE);
	overlay->lockout_memory = NULL;
	turns_free(&overlay->turns);
	names_free(&overlay->names);
	shown_free(&overlay->shown);
	overlay->is_open = false;
}
