#include "replica/entry.h"

#include <string.h>

#include <ldap.h>
#include <xxhash.h>

#include "lib/account.h"
#include "lib/cell.h"
#include "lib/record.h"

#define ENTRY_DN_MAX ((size_t)64 << 10)

const char *const entry_attributes[] = { "objectClass", "entryUUID", "entryCSN",
	"cn", "uid", "mail", "mailLocalAddress", "krb5PrincipalName",
	"mailHost", "mailRoutingAddress", "postcellPoolName", "postcellGroup",
	"postcellMoved", "postcellStatus", "postcellFrom", "postcellRamp",
	"postcellGuard", "postcellFailback", "postcellMaxDown",
	"postcellAffinity", "postcellDefault", "postcellService",
	"postcellSite", "postcellState", "postcellWeight", "postcellTransition",
	"postcellVote", "postcellAlive", NULL };

const char *const entry_key_attributes[] = { "postcellKeys", "postcellLocked",
	"postcellLastLogin", "krb5KDCFlags", "krb5ValidStart", "krb5ValidEnd",
	"krb5PasswordEnd", "krb5MaxLife", "krb5MaxRenew",
	"krb5ExtendedAttributes", "krb5Key", "krb5KeyVersionNumber",
	"createTimestamp", NULL };

/* The order is that of the texts of CELL_KIND below. */
const char *const entry_cell_classes[] = { "postcellPool", "postcellServer",
	"postcellProxy", "postcellHost", NULL };
static const char *const entry_cell_kinds[] = { "pool", "server", "proxy",
	"host" };
_Static_assert(
    ARRAY_SIZE(entry_cell_classes) == ARRAY_SIZE(entry_cell_kinds) + 1,
    "a kind for each class");

/*
 * A rename of a container changes the DN of all below it, and no message says
 * so; containers are followed for that.
 */
const char *const entry_container_classes[] = { "organizationalUnit",
	"organization", "dcObject", "domain", "country", "locality", NULL };

enum entry_fold {
	FOLD_NONE,
	FOLD_NAME, /* as it is spelled, and only if it is one */
	FOLD_UID,  /* as the directory compares names */
	FOLD_HOST  /* lower case */
};

struct entry_row {
	const char *attribute;
	uint8_t tag;
	enum entry_fold fold;
};

static const struct entry_row account_rows[] = {
	{ "uid", ACCOUNT_UID, FOLD_NAME },
	{ "mail", ACCOUNT_ADDRESS, FOLD_NAME },
	{ "mailLocalAddress", ACCOUNT_ADDRESS, FOLD_NAME },
	{ "krb5PrincipalName", ACCOUNT_PRINCIPAL, FOLD_NAME },
	{ "postcellPoolName", ACCOUNT_POOL, FOLD_HOST },
	{ "postcellGroup", ACCOUNT_GROUP, FOLD_UID },
	{ "mailHost", ACCOUNT_PIN, FOLD_HOST },
	{ "postcellMoved", ACCOUNT_MOVED, FOLD_NONE },
	{ "postcellStatus", ACCOUNT_STATUS, FOLD_NONE },
	{ "mailRoutingAddress", ACCOUNT_ROUTING, FOLD_NAME },
	{ "postcellFrom", ACCOUNT_FROM, FOLD_NAME },
};

/* What entry_key_attributes become. */
static const struct entry_row key_rows[] = {
	{ "postcellKeys", ACCOUNT_KEYS, FOLD_NONE },
	{ "postcellLocked", ACCOUNT_LOCKED, FOLD_NONE },
	{ "postcellLastLogin", ACCOUNT_LAST_LOGIN, FOLD_NONE },
	{ "krb5KDCFlags", ACCOUNT_KDC_FLAGS, FOLD_NONE },
	{ "krb5ValidStart", ACCOUNT_VALID_START, FOLD_NONE },
	{ "krb5ValidEnd", ACCOUNT_VALID_END, FOLD_NONE },
	{ "krb5PasswordEnd", ACCOUNT_PASSWORD_END, FOLD_NONE },
	{ "krb5MaxLife", ACCOUNT_MAX_LIFE, FOLD_NONE },
	{ "krb5MaxRenew", ACCOUNT_MAX_RENEW, FOLD_NONE },
	{ "krb5ExtendedAttributes", ACCOUNT_EXTENSION, FOLD_NONE },
	{ "krb5Key", ACCOUNT_OLD_KEY, FOLD_NONE },
	{ "krb5KeyVersionNumber", ACCOUNT_OLD_KVNO, FOLD_NONE },
	{ "createTimestamp", ACCOUNT_CREATED, FOLD_NONE },
};
_Static_assert(ARRAY_SIZE(key_rows) + 1 == ARRAY_SIZE(entry_key_attributes),
    "a row for each attribute");

static const struct entry_row cell_rows[] = {
	{ "cn", CELL_NAME, FOLD_HOST },
	{ "postcellPoolName", CELL_POOL, FOLD_HOST },
	{ "postcellSite", CELL_SITE, FOLD_NONE },
	{ "postcellService", CELL_SERVICE, FOLD_NONE },
	{ "postcellState", CELL_STATE, FOLD_NONE },
	{ "postcellWeight", CELL_WEIGHT, FOLD_NONE },
	{ "postcellTransition", CELL_TRANSITION, FOLD_NONE },
	{ "postcellRamp", CELL_RAMP, FOLD_NONE },
	{ "postcellGuard", CELL_GUARD, FOLD_NONE },
	{ "postcellFailback", CELL_FAILBACK, FOLD_NONE },
	{ "postcellMaxDown", CELL_MAX_DOWN, FOLD_NONE },
	{ "postcellAffinity", CELL_AFFINITY, FOLD_NONE },
	{ "postcellDefault", CELL_DEFAULT, FOLD_NONE },
	{ "postcellVote", CELL_VOTE, FOLD_NONE },
	{ "postcellAlive", CELL_ALIVE, FOLD_NONE },
};

/* The three heads share their tags, so that one function reads them all. */
_Static_assert(ACCOUNT_ID == (int)CELL_ID && ACCOUNT_ID == (int)CONTAINER_ID,
    "tag of the id");
_Static_assert(ACCOUNT_DN == (int)CELL_DN && ACCOUNT_DN == (int)CONTAINER_DN,
    "tag of the DN");
_Static_assert(
    ACCOUNT_CSN == (int)CELL_CSN && ACCOUNT_CSN == (int)CONTAINER_CSN,
    "tag of the CSN");

/* As far as the word goes; `end` may follow (NUL: nothing may). */
static bool
entry_goes_on(struct slice text, const char *word, char end)
{
	for (size_t i = 1; i < text.size; i++) {
		char c = text.data[i], wanted = word[i];

		if (wanted == '\0')
			return end != '\0' && c == end;
		if (c >= 'A' && c <= 'Z')
			c |= 0x20;
		if (wanted >= 'A' && wanted <= 'Z')
			wanted |= 0x20;
		if (c != wanted)
			return false;
	}
	return word[text.size] == '\0';
}

/*
 * Is that the word, whatever its case? Most are told apart by their first
 * letter: both are letters, or they differ.
 */
static bool
entry_is_word(struct slice text, const char *word, char end)
{
	return text.size > 0 && ((text.data[0] ^ word[0]) & ~0x20) == 0 &&
	       entry_goes_on(text, word, end);
}

/* Options behind a semicolon make no other attribute. */
static bool
entry_is(const struct entry_value *value, const char *attribute)
{
	return entry_is_word(value->attribute, attribute, ';');
}

/* The first value; empty when there is none. */
static struct slice
entry_first(const struct entry *entry, const char *attribute)
{
	for (size_t i = 0; i < entry->value_count; i++) {
		if (entry_is(&entry->values[i], attribute))
			return entry->values[i].value;
	}
	return slice_from("");
}

/* Nobody can be asked for by a name with control octets, and servers might take
 * one for a command's end. */
static bool
entry_is_name(struct slice text)
{
	return text.size > 0 && !slice_has_control(text);
}

static bool
entry_has_name(const struct entry *entry, const char *attribute)
{
	for (size_t i = 0; i < entry->value_count; i++) {
		if (entry_is(&entry->values[i], attribute) &&
		    entry_is_name(entry->values[i].value))
			return true;
	}
	return false;
}

static bool
entry_has_class(const struct entry *entry, const char *class)
{
	for (size_t i = 0; i < entry->value_count; i++) {
		if (entry_is_word(entry->values[i].value, class, '\0') &&
		    entry_is(&entry->values[i], "objectClass"))
			return true;
	}
	return false;
}

/* Position in the list; SIZE_MAX when the entry has none of the classes. */
static size_t
entry_class_of(const struct entry *entry, const char *const *classes)
{
	for (size_t i = 0; classes[i]; i++) {
		if (entry_has_class(entry, classes[i]))
			return i;
	}
	return SIZE_MAX;
}

struct slice
entry_csn(const struct entry *entry)
{
	return entry_first(entry, "entryCSN");
}

static int
entry_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* RFC 4530: the string form of RFC 4122. */
static int
entry_parse_uuid(struct slice text, uint8_t id[LAYOUT_ID_SIZE])
{
	size_t digits = 0;

	if (text.size != 36)
		return -1;
	for (size_t i = 0; i < text.size; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		int digit = entry_hex(text.data[i]);

		if (dash && text.data[i] == '-')
			continue;
		if (dash || digit < 0)
			return -1;
		id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | digit);
		digits++;
	}
	return 0;
}

static int
entry_add_rdn(struct buf *out, LDAPRDN rdn)
{
	for (size_t i = 0; rdn[i]; i++) {
		struct buf folded = buf_bounded(ENTRY_DN_MAX);
		struct slice type =
		    slice_of(rdn[i]->la_attr.bv_val, rdn[i]->la_attr.bv_len);
		struct slice value =
		    slice_of(rdn[i]->la_value.bv_val, rdn[i]->la_value.bv_len);
		const char *why;

		for (size_t k = 0; k < type.size; k++) {
			char c = type.data[k];

			(void)buf_add_char(
			    out, c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c);
		}
		(void)buf_add_char(out, '=');
		/* Values that are no text count as they are. */
		if (name_normalise(&folded, NAME_UID, value, &why) == 0)
			value = buf_slice(&folded);
		(void)buf_add_slice(out, value);
		(void)buf_add_char(out, '\0');
		buf_free(&folded);
	}
	return out->failed ? -1 : 0;
}

/* The id of an entry that has no entryUUID: the same for the same DN. */
static int
entry_hash_dn(struct slice text, uint8_t id[LAYOUT_ID_SIZE])
{
	struct buf string = buf_bounded(ENTRY_DN_MAX);
	struct buf out = buf_bounded(ENTRY_DN_MAX);
	XXH128_canonical_t canonical;
	LDAPDN dn = NULL;
	int result = -1;

	(void)buf_add_slice(&string, text);
	if (string.failed || memchr(string.data, '\0', string.size) ||
	    ldap_str2dn(buf_string(&string), &dn, LDAP_DN_FORMAT_LDAPV3) !=
		LDAP_SUCCESS ||
	    !dn)
		goto done;
	for (size_t i = 0; dn[i]; i++) {
		if (entry_add_rdn(&out, dn[i]) != 0)
			goto done;
	}
	XXH128_canonicalFromHash(&canonical, XXH3_128bits(out.data, out.size));
	memcpy(id, canonical.digest, LAYOUT_ID_SIZE);
	result = 0;
done:
	ldap_dnfree(dn);
	buf_free(&string);
	buf_free(&out);
	return result;
}

static int
entry_identify(
    const struct entry *entry, uint8_t id[LAYOUT_ID_SIZE], const char **why)
{
	struct slice uuid = entry_first(entry, "entryUUID");

	memset(id, 0, LAYOUT_ID_SIZE);
	if (entry->id.size == LAYOUT_ID_SIZE) {
		memcpy(id, entry->id.data, LAYOUT_ID_SIZE);
		return 0;
	}
	if (uuid.size > 0 && entry_parse_uuid(uuid, id) != 0) {
		*why = "entryUUID is none";
		return -1;
	}
	if (uuid.size == 0 && entry_hash_dn(entry->dn, id) != 0) {
		*why = "the DN is none";
		return -1;
	}
	return 0;
}

static enum entry_kind
entry_classify(const struct entry *entry)
{
	bool named = entry_has_name(entry, "uid") ||
		     entry_has_name(entry, "mail") ||
		     entry_has_name(entry, "mailLocalAddress");

	if (entry_class_of(entry, entry_cell_classes) != SIZE_MAX)
		return ENTRY_CELL;
	if (named && entry_has_class(entry, "postcellAccount"))
		return ENTRY_ACCOUNT;
	if (entry->keys && entry_has_class(entry, ENTRY_PRINCIPAL_CLASS) &&
	    entry_has_name(entry, "krb5PrincipalName"))
		return ENTRY_ACCOUNT;
	if (entry_class_of(entry, entry_container_classes) != SIZE_MAX)
		return ENTRY_CONTAINER;
	return named ? ENTRY_ACCOUNT : ENTRY_OTHER;
}

static void
entry_add_value(struct buf *out, const struct entry_row *row,
    const struct entry_value *value)
{
	struct buf folded = buf_bounded(LAYOUT_RECORD_MAX);
	struct slice text = value->value;
	const char *why;

	if (row->fold == FOLD_NAME && !entry_is_name(text))
		return;
	if (row->fold == FOLD_UID &&
	    name_normalise(&folded, NAME_UID, text, &why) == 0) {
		text = buf_slice(&folded);
	} else if (row->fold == FOLD_HOST) {
		for (size_t i = 0; i < text.size; i++) {
			char c = text.data[i];

			(void)buf_add_char(&folded,
			    c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c);
		}
		text = buf_slice(&folded);
	}
	(void)record_add(out, row->tag, text);
	buf_free(&folded);
}

static void
entry_add_rows(struct buf *out, const struct entry *entry,
    const struct entry_row *rows, size_t row_count)
{
	/* By rows, so that the order of attributes in an answer is nothing. */
	for (size_t i = 0; i < row_count; i++) {
		for (size_t k = 0; k < entry->value_count; k++) {
			if (entry_is(&entry->values[k], rows[i].attribute))
				entry_add_value(
				    out, &rows[i], &entry->values[k]);
		}
	}
}

int
entry_make(const struct entry *entry, struct buf *out,
    uint8_t id[LAYOUT_ID_SIZE], enum entry_kind *kind, const char **why)
{
	struct slice csn = entry_csn(entry);
	size_t class;

	if (entry_identify(entry, id, why) != 0)
		return -1;
	*kind = entry_classify(entry);
	if (*kind == ENTRY_OTHER)
		return 0;
	(void)record_add(out, ACCOUNT_ID, slice_of(id, LAYOUT_ID_SIZE));
	(void)record_add(out, ACCOUNT_DN, entry->dn);
	if (csn.size > 0)
		(void)record_add(out, ACCOUNT_CSN, csn);
	if (*kind == ENTRY_ACCOUNT) {
		entry_add_rows(
		    out, entry, account_rows, ARRAY_SIZE(account_rows));
		if (entry->keys)
			entry_add_rows(
			    out, entry, key_rows, ARRAY_SIZE(key_rows));
	} else if (*kind == ENTRY_CELL) {
		class = entry_class_of(entry, entry_cell_classes);
		(void)record_add(
		    out, CELL_KIND, slice_from(entry_cell_kinds[class]));
		entry_add_rows(out, entry, cell_rows, ARRAY_SIZE(cell_rows));
	}
	if (out->failed) {
		*why = "the entry is too large";
		return -1;
	}
	return 0;
}

struct slice
entry_record_csn(struct slice record)
{
	return record_value(record, ACCOUNT_CSN);
}

struct slice
entry_record_dn(struct slice record)
{
	return record_value(record, ACCOUNT_DN);
}

int
entry_record_move(struct buf *out, struct slice record, struct slice dn)
{
	struct record_field field;

	while (record_next(&record, &field))
		(void)record_add(
		    out, field.tag, field.tag == ACCOUNT_DN ? dn : field.value);
	return out->failed ? -1 : 0;
}

bool
entry_dn_below(struct slice dn, struct slice base)
{
	size_t at;

	if (base.size == 0 || dn.size <= base.size + 1)
		return false;
	at = dn.size - base.size;
	/* An escaped comma belongs to a value. */
	return dn.data[at - 1] == ',' && (at < 2 || dn.data[at - 2] != '\\') &&
	       slice_equal_nocase(slice_from_offset(dn, at), base);
}
