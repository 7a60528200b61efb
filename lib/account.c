#include "lib/account.h"

#include "lib/timestamp.h"

#define STATUS_MALFORMED                                                       \
	"postcellStatus is not active, nologin or disabled, so it counts as disabled"
#define MOVED_MALFORMED                                                        \
	"postcellMoved is not TIME OLDPIN OLDPOOL, so it counts for nothing"

const char *
account_status_text(enum account_status status)
{
	static const char *const texts[] = {
		[ACCOUNT_ACTIVE] = "active",
		[ACCOUNT_NOLOGIN] = "nologin",
		[ACCOUNT_DISABLED] = "disabled",
	};

	return texts[status];
}

/* WORD or WORD REASON; whoever cannot be understood is kept out. */
static const char *
read_status(struct account *account, struct slice text)
{
	struct slice word;

	account->status = ACCOUNT_DISABLED;
	if (!slice_next_word(&text, ' ', &word))
		return STATUS_MALFORMED;
	account->status_reason = slice_trim(text);
	for (unsigned i = ACCOUNT_ACTIVE; i <= ACCOUNT_DISABLED; i++) {
		if (slice_is_nocase(
			word, account_status_text((enum account_status)i))) {
			account->status = (enum account_status)i;
			return NULL;
		}
	}
	return STATUS_MALFORMED;
}

static struct slice
dash_is_empty(struct slice text)
{
	return slice_is(text, "-") ? slice_from("") : text;
}

/* TIME OLDPIN|- OLDPOOL|- */
static const char *
read_moved(struct account *account, struct slice text)
{
	struct slice time, pin, pool;
	int64_t time_us;

	if (!slice_next_word(&text, ' ', &time) ||
	    !slice_next_word(&text, ' ', &pin) ||
	    !slice_next_word(&text, ' ', &pool) || slice_trim(text).size > 0 ||
	    timestamp_parse(time, &time_us) < 0)
		return MOVED_MALFORMED;
	if (account->moved && time_us <= account->moved_us)
		return NULL;
	account->moved = true;
	account->moved_us = time_us;
	account->moved_pin = dash_is_empty(pin);
	account->moved_pool = dash_is_empty(pool);
	return NULL;
}

/* Of a tag that comes several times the first counts. */
static void
keep_first(struct slice *kept, struct slice value)
{
	if (kept->size == 0)
		*kept = value;
}

static void
read_field(struct account *account, const struct record_field *field)
{
	switch ((enum account_tag)field->tag) {
	case ACCOUNT_ID:
		account->id = field->value;
		break;
	case ACCOUNT_DN:
		account->dn = field->value;
		break;
	case ACCOUNT_CSN:
		account->csn = field->value;
		break;
	case ACCOUNT_UID:
		keep_first(&account->uid, field->value);
		break;
	case ACCOUNT_ADDRESS:
		keep_first(&account->address, field->value);
		break;
	case ACCOUNT_POOL:
		keep_first(&account->pool, field->value);
		break;
	case ACCOUNT_GROUP:
		keep_first(&account->group, field->value);
		break;
	case ACCOUNT_PIN:
		keep_first(&account->pin, field->value);
		break;
	case ACCOUNT_MOVED:
		read_moved(account, field->value);
		break;
	case ACCOUNT_STATUS:
		read_status(account, field->value);
		break;
	case ACCOUNT_ROUTING:
		keep_first(&account->routing, field->value);
		break;
	case ACCOUNT_PRINCIPAL:
		keep_first(&account->principal, field->value);
		break;
	case ACCOUNT_FROM:
	case ACCOUNT_KEYS:
	case ACCOUNT_LOCKED:
	case ACCOUNT_LAST_LOGIN:
	case ACCOUNT_KDC_FLAGS:
	case ACCOUNT_VALID_START:
	case ACCOUNT_VALID_END:
	case ACCOUNT_PASSWORD_END:
	case ACCOUNT_MAX_LIFE:
	case ACCOUNT_MAX_RENEW:
	case ACCOUNT_EXTENSION:
	case ACCOUNT_OLD_KEY:
	case ACCOUNT_OLD_KVNO:
	case ACCOUNT_CREATED:
		break; /* for those who walk the record */
	}
}

int
account_read(struct account *account, struct slice record, const char **why)
{
	struct slice rest = record;
	struct record_field field;

	*account = (struct account){ .record = record };
	while (record_next(&rest, &field))
		read_field(account, &field);
	if (rest.size > 0) {
		*why = "account's record is malformed";
		return -1;
	}
	if (account->uid.size == 0 && account->address.size == 0 &&
	    account->principal.size == 0) {
		*why = "account has neither uid nor address nor principal";
		return -1;
	}
	return 0;
}

const char *
account_check(const struct account *account)
{
	struct account scratch = { .record = account->record };
	struct slice rest = account->record;
	struct record_field field;
	const char *fault = NULL;

	while (!fault && record_next(&rest, &field)) {
		if (field.tag == ACCOUNT_STATUS)
			fault = read_status(&scratch, field.value);
		else if (field.tag == ACCOUNT_MOVED)
			fault = read_moved(&scratch, field.value);
	}
	return fault;
}

struct slice
account_key(const struct account *account, struct buf *store)
{
	bool has_uid = account->uid.size > 0;
	struct slice name = has_uid ? account->uid : account->address;
	const char *why;

	if (account->group.size > 0)
		return account->group;
	if (account->id.size > 0)
		return account->id;
	buf_clear(store);
	if (name_normalise(
		store, has_uid ? NAME_UID : NAME_ADDRESS, name, &why) < 0)
		return name;
	return buf_slice(store);
}
