/*
 * overlay: what the parts of postcell.so share.
 *
 * One struct overlay stands behind each database that the overlay is set on.
 * Its settings and what is made of them change only while slapd has paused its
 * threads; all else in it has a lock of its own. Parts are hooks: they take an
 * operation and return SLAP_CB_CONTINUE to let it go on, or an LDAP result with
 * the reply's sr_text set, for module.c to send.
 */
#ifndef SLAPD_OVERLAY_OVERLAY_H
#define SLAPD_OVERLAY_OVERLAY_H

#include "slapd-overlay/portable.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <ac/string.h>

#include <ac/socket.h>

#include <slap.h>

#include <lutil.h>
#include <slap-config.h>

#include "lib/account.h"
#include "lib/cell.h"
#include "lib/keyset.h"
#include "lib/lockout.h"
#include "lib/slice.h"
#include "slapd-overlay/keys.h"
#include "slapd-overlay/memory.h"

#define SCHEME_TEXT "{K5KEY}"
#define OVERLAY_ARC "2.25.275702770030886576173323315950797845956"

struct names;
struct turns;
struct shown;

struct overlay {
	/* Settings, as config.c reads them. */
	char *realm;            /* owned; NULL: no integrated login */
	char *master_key;       /* owned; a file */
	char *enctypes;         /* owned; NULL: KEYS_ENCTYPES_DEFAULT */
	char *lockout_file;     /* owned; NULL: nobody is counted */
	unsigned scram;         /* iterations, 0: none */
	unsigned password_max;  /* octets */
	unsigned ticket_life;   /* s */
	unsigned password_life; /* s; 0: krb5PasswordEnd stays as it is */
	unsigned memory_size;   /* digests, 0: none are kept */
	unsigned memory_time;   /* s */
	unsigned lockout_limit;
	unsigned lockout_window; /* s */
	unsigned lockout_time;   /* s; 0: until somebody unlocks */
	unsigned last_login;     /* the rest are 0 or 1 */
	unsigned check_names;
	unsigned check_references;
	unsigned keep_transitions;
	unsigned show_servers;

	/* What is made of them; NULL where they are off. */
	bool is_open;
	struct keys *keys;
	struct memory *memory;
	unsigned char memory_key[KEYS_DIGEST_SIZE];
	struct lockout lockout;
	void *lockout_memory; /* mapped */
	struct turns *turns;
	struct names *names;
	struct shown *shown;
};

/* ---- attributes and classes, by name ---- */

enum attribute {
	ATTRIBUTE_CN,
	ATTRIBUTE_UID,
	ATTRIBUTE_MAIL,
	ATTRIBUTE_MAIL_HOST,
	/* Those of misc.schema, postcell.schema. */
	ATTRIBUTE_ADDRESS,
	ATTRIBUTE_POOL,
	ATTRIBUTE_GROUP,
	ATTRIBUTE_MOVED,
	ATTRIBUTE_STATUS,
	ATTRIBUTE_RAMP,
	ATTRIBUTE_GUARD,
	ATTRIBUTE_FAILBACK,
	ATTRIBUTE_MAX_DOWN,
	ATTRIBUTE_AFFINITY,
	ATTRIBUTE_DEFAULT,
	ATTRIBUTE_SERVICE,
	ATTRIBUTE_SITE,
	ATTRIBUTE_STATE,
	ATTRIBUTE_WEIGHT,
	ATTRIBUTE_TRANSITION,
	/* Those of hdb.schema, postcell-kerberos.schema. */
	ATTRIBUTE_PRINCIPAL,
	ATTRIBUTE_KEYS,
	ATTRIBUTE_LOCKED,
	ATTRIBUTE_LAST_LOGIN,
	ATTRIBUTE_VALID_START,
	ATTRIBUTE_VALID_END,
	ATTRIBUTE_PASSWORD_END,
	ATTRIBUTE_OLD_KEY,
	ATTRIBUTE_OLD_KVNO,
	/* Those of ppolicy, where it is loaded. */
	ATTRIBUTE_PWD_CHANGED,
	ATTRIBUTE_PWD_HISTORY,
	ATTRIBUTE_PWD_RESET,
	ATTRIBUTE_COUNT
};

enum class {
	CLASS_ACCOUNT,
	CLASS_POOL,
	CLASS_SERVER,
	CLASS_PROXY,
	CLASS_HOST,
	CLASS_LOGIN,
	CLASS_PRINCIPAL,
	CLASS_OLD_ENTRY, /* krb5KDCEntry */
	CLASS_COUNT
};

/*
 * Finds them in the schema as it is now. 0; or -1 with a line in `why` when
 * what is needed is not there; the Kerberos ones are with needs_kerberos.
 */
int attributes_find(bool needs_kerberos, char *why, size_t size);
/* NULL when the schema has none; userPassword and objectClass are slapd's. */
AttributeDescription *attribute(enum attribute which);
AttributeDescription *attribute_password(void);
AttributeDescription *attribute_class(void);
/* False for an entry of another class, or a class that the schema lacks. */
bool entry_is(Entry *entry, enum class which);
struct slice class_name(enum class which);

struct slice bv_slice(const struct berval *value);
/* The values of an attribute, BERs that end in one without data; or NULL. */
BerVarray entry_values(Entry *entry, AttributeDescription *description);
/* The first value, borrowed; empty for none. */
struct slice entry_first(Entry *entry, enum attribute which);

/* Adds attributes of the RDN that a new entry lacks, as slapd itself does when
 * it stores one. An LDAP result. */
int entry_complete(Entry *entry);

/* entryUUID as 16 octets, borrowed; empty for none. */
struct slice entry_id(Entry *entry);

/* ---- the directory ---- */

struct overlay *overlay_of(Operation *op);
/*
 * A copy of an entry, which entry_free() frees; NULL for none. Reads as the
 * directory itself, without regard to who asks.
 */
Entry *directory_read(Operation *op, struct berval *ndn);
/* True for what we wrote ourselves, and for what arrives by replication. */
bool directory_is_own(Operation *op);
bool directory_is_replicated(Operation *op);
/* Whether the database has that overlay as well. */
bool directory_has_overlay(Operation *op, const char *name);
/* Somebody who may manage the entry asked, by the Relax Rules control, that
 * rules be not held against him; NULL for an entry that is to be added. */
bool directory_is_relaxed(Operation *op, Entry *entry);
/*
 * Modifies an entry as the directory itself, past all our own hooks. Takes the
 * modifications. An LDAP result.
 */
int directory_modify(
    Operation *op, struct berval *dn, struct berval *ndn, Modifications *mods);
/*
 * Searches the whole database as the directory itself. `each` is called for
 * each entry, and ends the search by returning false. An LDAP result.
 */
typedef bool directory_each(Entry *entry, void *data);
int directory_search(Operation *op, const char *filter, size_t most,
    directory_each *each, void *data);

/*
 * A modification of one value, copied; normalised as its attribute wants. No
 * value (data NULL) means all, for LDAP_MOD_DELETE. NULL for a value that its
 * syntax forbids.
 */
Modifications *mod_new(
    AttributeDescription *description, int kind, struct slice value);
/* Puts it behind the last one. */
void mods_append(Modifications **list, Modifications *mod);
/*
 * What the directory adds for itself and finds there already, or deletes and
 * finds gone, is no error: since the entry was read another write may have
 * overtaken. What a client asks for stays as it is.
 */
void mods_soften(Modifications *mods);

/* Microseconds and milliseconds: UTC, and a clock that only goes on. */
int64_t clock_us(void);
int64_t clock_ms(void);
/* The day of a moment, in generalized time without a fraction. 0 or -1. */
int clock_day(struct buf *out, int64_t moment_us);

/* One line in slapd's log: event=... and so on. */
void overlay_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same with the DN, escaped. */
void overlay_log_dn(const char *event, struct berval *dn, const char *why);
/* That at log level stats2 alone. */
void overlay_detail_dn(const char *event, struct berval *dn, const char *why);

/* ---- parts ---- */

/* config.c */
int config_register(void);
ConfigOCs *config_classes(void);
void config_init(struct overlay *overlay);
void config_free(struct overlay *overlay);
/* Makes keys, memory and counters anew. 0; or -1 with a line in `why`. */
int overlay_open(
    struct overlay *overlay, BackendDB *db, char *why, size_t size);
void overlay_close(struct overlay *overlay);

/* standing.c: status, expiry and locks, the same at each door */
enum standing_door {
	STANDING_LOGIN,
	STANDING_CHANGE /* of one's own password, which may have expired */
};

struct standing {
	const char
	    *why; /* NULL: the account may be used; static, for the log */
	const char *said;    /* what the client may be told; the operation's */
	int64_t forgiven_us; /* lib/lockout.h */
};

struct standing standing_find(
    Operation *op, Entry *entry, enum standing_door door, int64_t now_us);
/* Tells the whole cell that an account is locked. */
void standing_lock(Operation *op, Entry *entry, int64_t now_us);

/* hashes.c: what stands in userPassword and is no key of ours */
enum keys_verdict hashes_check(
    Operation *op, Entry *entry, struct berval *password);

/* login.c: who may come in */
int login_bind(Operation *op, SlapReply *rs);
/* An old password that is to be changed; LDAP_SUCCESS when it is right. */
int login_check_old(
    Operation *op, Entry *entry, struct slice password, const char **text);

/* passwords.c: what a password becomes */
bool passwords_managed(Entry *entry);
/* The key sets of an entry, sorted, which borrow from it; how many. */
size_t passwords_sets(Entry *entry, struct keyset *sets, size_t most);
/* Whether a modify is about passwords at all. */
bool passwords_concern(const Modifications *mods);
/* A value that is there already is no error of a replicated write. */
void passwords_soften(Modifications *mods);
int passwords_extended(Operation *op, SlapReply *rs);
int passwords_modify(Operation *op, SlapReply *rs, Entry *entry);
int passwords_add(Operation *op, SlapReply *rs);

/* migrate.c: the keys of a password that was right, where a hash stood */
void migrate_hash(Operation *op, Entry *entry, struct slice password);

/* scheme.c: {K5KEY}, a key in userPassword, as ppolicy's history has it */
int scheme_register(void);
void scheme_set_keys(struct keys *keys);

/* turns.c: changes of one entry come one after the other */
struct turns *turns_new(void);
void turns_free(struct turns **turns);
int turns_take(Operation *op, SlapReply *rs);

/* names.c: each name leads to one account */
struct names *names_new(void);
void names_free(struct names **names);
int names_modify(Operation *op, SlapReply *rs, Entry *entry);
int names_add(Operation *op, SlapReply *rs);
int names_rename(Operation *op, SlapReply *rs, Entry *entry);

/* hosts.c: transitions, and who refers to whom */
/* Whether a modify is about a wish. */
bool hosts_concern(const Modifications *mods);
int hosts_modify(Operation *op, SlapReply *rs, Entry *entry);
int hosts_add(Operation *op, SlapReply *rs);
int hosts_remove(Operation *op, SlapReply *rs, Entry *entry);

/* map.c: the map of the cell (lib/cell.h), read from the directory */
struct cell *map_read(Operation *op);
/* An account as lib/account.h has it, which borrows from record. 0 or -1. */
int map_account(struct account *account, Entry *entry, struct buf *record);
/* The kind and name of a host's entry; false for another one. */
bool map_host(Entry *entry, enum host_kind *kind, struct slice *name);

/* shown.c: postcellServer */
int shown_register(void);
struct shown *shown_new(void);
void shown_free(struct shown **shown);
int shown_operational(Operation *op, SlapReply *rs);

#endif
