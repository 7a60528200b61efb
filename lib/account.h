/*
 * account: one user of the cell, as far as finding and routing need it; on KDCs
 * also a service, which has a principal and no other name.
 *
 * An account is read from a record (lib/record.h) and borrows all its text
 * from that record. Absent attributes are empty slices.
 */
#ifndef LIB_ACCOUNT_H
#define LIB_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/name.h"
#include "lib/record.h"
#include "lib/slice.h"

#define ACCOUNT_ID_SIZE 16 /* entryUUID, octets */

/* Tags of an account's record. Frozen: numbers are never used again. */
enum account_tag {
	ACCOUNT_ID = 1,  /* entryUUID, 16 octets */
	ACCOUNT_DN = 2,  /* as the directory spells it */
	ACCOUNT_CSN = 3, /* entryCSN, text */
	ACCOUNT_UID = 4, /* each uid as spelled, the first is the login name */
	ACCOUNT_ADDRESS = 5,   /* each mail and mailLocalAddress as spelled */
	ACCOUNT_PRINCIPAL = 6, /* each krb5PrincipalName */
	ACCOUNT_POOL = 7,      /* postcellPoolName, lower case */
	ACCOUNT_GROUP = 8,     /* postcellGroup, normalised as a uid */
	ACCOUNT_PIN = 9,       /* mailHost, lower case */
	ACCOUNT_MOVED = 10,    /* postcellMoved, as spelled */
	ACCOUNT_STATUS = 11,   /* postcellStatus, as spelled */
	ACCOUNT_ROUTING = 12,  /* mailRoutingAddress */
	ACCOUNT_FROM = 13,     /* each postcellFrom */
	/* From here on only in the replicas of KDCs, all as spelled. */
	ACCOUNT_KEYS = 14,       /* each postcellKeys (lib/keyset.h) */
	ACCOUNT_LOCKED = 15,     /* each postcellLocked (lib/locked.h) */
	ACCOUNT_LAST_LOGIN = 16, /* postcellLastLogin */
	ACCOUNT_KDC_FLAGS = 17,
	ACCOUNT_VALID_START = 18,
	ACCOUNT_VALID_END = 19,
	ACCOUNT_PASSWORD_END = 20,
	ACCOUNT_MAX_LIFE = 21,
	ACCOUNT_MAX_RENEW = 22,
	ACCOUNT_EXTENSION = 23, /* each krb5ExtendedAttributes, DER */
	ACCOUNT_OLD_KEY = 24,   /* each krb5Key, DER */
	ACCOUNT_OLD_KVNO = 25,  /* krb5KeyVersionNumber */
	ACCOUNT_CREATED = 26    /* createTimestamp */
};

enum account_status {
	ACCOUNT_ACTIVE,
	ACCOUNT_NOLOGIN, /* mail is delivered, logins are refused with a reason
			  */
	ACCOUNT_DISABLED
};

struct account {
	struct slice record; /* borrowed: the whole */
	struct slice id;     /* 16 octets, or empty */
	struct slice dn, csn;
	struct slice uid;       /* the first */
	struct slice address;   /* the first */
	struct slice principal; /* the first krb5PrincipalName */
	struct slice pool, group, pin;
	struct slice routing;
	enum account_status status;
	struct slice status_reason; /* text for the user, after the word */
	bool moved; /* postcellMoved is there and well formed; the newest */
	int64_t moved_us;
	struct slice moved_pin;  /* empty for none ("-") */
	struct slice moved_pool; /* empty for the default pool ("-") */
};

/*
 * 0; or -1 with *why (static text) when the record is malformed or has no
 * name. A status or postcellMoved that cannot be read does not fail it: an
 * unreadable status counts as ACCOUNT_DISABLED, an unreadable move as none;
 * account_check() names such faults.
 */
int account_read(
    struct account *account, struct slice record, const char **why);

/* The first fault in an account that account_read() took; NULL when sound. */
const char *account_check(const struct account *account);

/*
 * What placement hashes: the group, else the id, else the normalised uid.
 * `store` holds a normalised uid where one had to be made; the key borrows
 * from the record or from `store`.
 */
struct slice account_key(const struct account *account, struct buf *store);

const char *account_status_text(enum account_status status);

#endif
