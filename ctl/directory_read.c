#include <stdlib.h>
#include <string.h>

#include "ctl/directory_state.h"

#define FOUND_MAX  2  /* entries: one, or too many */
#define EACH_TIME  60 /* s for the next one of many entries */
#define RECORD_MAX ((size_t)1024 * 1024)

/* All values of an entry of an answer, until values_free(). */
struct values {
	struct entry_value list[DIRECTORY_VALUES_MAX];
	size_t count;
	struct berval **owned[DIRECTORY_VALUES_MAX];
	char *names[DIRECTORY_VALUES_MAX];
	size_t attribute_count;
};

static void
values_free(struct values *values)
{
	for (size_t i = 0; i < values->attribute_count; i++) {
		ldap_value_free_len(values->owned[i]);
		ldap_memfree(values->names[i]);
	}
	free(values);
}

static struct values *
values_of(LDAP *ldap, LDAPMessage *message)
{
	struct values *values = calloc(1, sizeof(*values));
	BerElement *ber = NULL;
	char *name;

	if (!values)
		abort();
	for (name = ldap_first_attribute(ldap, message, &ber);
	     name && values->attribute_count < DIRECTORY_VALUES_MAX;
	     name = ldap_next_attribute(ldap, message, ber)) {
		struct berval **list = ldap_get_values_len(ldap, message, name);

		values->names[values->attribute_count] = name;
		values->owned[values->attribute_count++] = list;
		for (size_t i = 0;
		     list && list[i] && values->count < DIRECTORY_VALUES_MAX;
		     i++)
			values->list[values->count++] = (struct entry_value){
				slice_from(name),
				slice_of(list[i]->bv_val, list[i]->bv_len)
			};
	}
	ber_free(ber, 0);
	return values;
}

/* Adds the entry's record to `out`, as the replica would have it. */
static enum directory_result
make_record(struct directory *directory, LDAPMessage *message, struct buf *out,
    enum entry_kind *kind, bool *has_class)
{
	struct values *values = values_of(directory->ldap, message);
	char *dn = ldap_get_dn(directory->ldap, message);
	struct entry entry = { .dn = slice_from(dn),
		.values = values->list,
		.value_count = values->count };
	uint8_t id[LAYOUT_ID_SIZE];
	const char *why = "";
	enum directory_result result = DIRECTORY_DONE;

	if (entry_make(&entry, out, id, kind, &why) != 0)
		result = directory_keep_why(directory, LDAP_DECODING_ERROR,
		    "entry", slice_from(dn), why);
	*has_class = false;
	for (size_t i = 0; i < values->count; i++)
		if (slice_is_nocase(values->list[i].attribute, "objectClass") &&
		    slice_is_nocase(values->list[i].value, "postcellAccount"))
			*has_class = true;
	values_free(values);
	ldap_memfree(dn);
	return result;
}

static enum directory_result
search(struct directory *directory, const char *base, int scope,
    const char *filter, LDAPMessage **answer)
{
	union {
		const char *const *given;
		char **wanted;
	} attributes = { .given = entry_attributes };
	struct timeval patience = { DIRECTORY_ANSWER_TIME, 0 };
	int code = ldap_search_ext_s(directory->ldap, base, scope, filter,
	    attributes.wanted, 0, NULL, NULL, &patience, LDAP_NO_LIMIT, answer);

	return directory_keep_why(
	    directory, code, "search", slice_from(base), NULL);
}

enum directory_result
directory_cell(struct directory *directory, struct cell **out)
{
	LDAPMessage *answer = NULL, *message;
	struct cell *cell = cell_new();
	bool has_class;
	enum directory_result result =
	    search(directory, directory_suffix(directory), LDAP_SCOPE_SUBTREE,
		"(|(objectClass=postcellPool)(objectClass=postcellServer)"
		"(objectClass=postcellProxy)(objectClass=postcellHost))",
		&answer);

	*out = NULL;
	for (message = ldap_first_entry(directory->ldap, answer);
	     message && cell && result == DIRECTORY_DONE;
	     message = ldap_next_entry(directory->ldap, message)) {
		struct buf record = buf_bounded(RECORD_MAX);
		enum entry_kind kind;

		result =
		    make_record(directory, message, &record, &kind, &has_class);
		if (result == DIRECTORY_DONE && kind == ENTRY_CELL &&
		    cell_add(cell, buf_slice(&record)) < 0)
			abort();
		buf_free(&record);
	}
	(void)ldap_msgfree(answer);
	if (!cell || cell_finish(cell) < 0)
		abort();
	if (result == DIRECTORY_DONE)
		*out = cell;
	else
		cell_free(&cell);
	return result;
}

enum directory_result
directory_account(struct directory *directory, struct slice dn,
    struct buf *record, struct account *account, bool *has_class)
{
	LDAPMessage *answer = NULL, *message;
	char *base = directory_text(dn);
	enum entry_kind kind = ENTRY_OTHER;
	const char *why = "is no account";
	enum directory_result result = search(
	    directory, base, LDAP_SCOPE_BASE, "(objectClass=*)", &answer);

	message = ldap_first_entry(directory->ldap, answer);
	if (result == DIRECTORY_DONE && message)
		result =
		    make_record(directory, message, record, &kind, has_class);
	if (result == DIRECTORY_DONE &&
	    (kind != ENTRY_ACCOUNT ||
		account_read(account, buf_slice(record), &why) < 0))
		result = directory_keep_why(
		    directory, LDAP_NO_SUCH_OBJECT, "entry", dn, why);
	(void)ldap_msgfree(answer);
	free(base);
	return result;
}

bool
directory_value(const struct directory_entry *entry, const char *attribute,
    size_t index, struct slice *value)
{
	for (size_t i = 0; i < entry->count; i++)
		if (slice_is_nocase(entry->values[i].attribute, attribute) &&
		    index-- == 0) {
			*value = entry->values[i].value;
			return true;
		}
	return false;
}

void
directory_entry_free(struct directory_entry **entry)
{
	struct directory_entry *old = *entry;

	*entry = NULL;
	if (!old)
		return;
	values_free(old->kept);
	ldap_memfree(old->dn);
	free(old);
}

static struct directory_entry *
entry_of(LDAP *ldap, LDAPMessage *message)
{
	struct directory_entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		abort();
	entry->dn = ldap_get_dn(ldap, message);
	entry->kept = values_of(ldap, message);
	entry->values = entry->kept->list;
	entry->count = entry->kept->count;
	return entry;
}

enum directory_result
directory_find(struct directory *directory, const char *base, bool alone,
    const char *filter, size_t *count, struct directory_entry **first)
{
	char all[] = "*", operational[] = "+";
	char *attributes[] = { all, operational, NULL };
	struct timeval patience = { DIRECTORY_ANSWER_TIME, 0 };
	LDAPMessage *answer = NULL, *message;
	int code = ldap_search_ext_s(directory->ldap, base,
	    alone ? LDAP_SCOPE_BASE : LDAP_SCOPE_SUBTREE, filter, attributes, 0,
	    NULL, NULL, &patience, FOUND_MAX, &answer);

	*first = NULL;
	*count = 0;
	if (code == LDAP_SIZELIMIT_EXCEEDED)
		code = LDAP_SUCCESS;
	message = ldap_first_entry(directory->ldap, answer);
	if (code == LDAP_SUCCESS && message) {
		*count = (size_t)ldap_count_entries(directory->ldap, answer);
		*first = entry_of(directory->ldap, message);
	}
	(void)ldap_msgfree(answer);
	return directory_keep_why(
	    directory, code, "search", slice_from(base), NULL);
}

/* The next answer to a search; LDAP_SUCCESS with NULL at its end. */
static int
next_answer(struct directory *directory, int id, LDAPMessage **answer)
{
	struct timeval patience = { EACH_TIME, 0 };
	int code = LDAP_SUCCESS;
	int kind =
	    ldap_result(directory->ldap, id, LDAP_MSG_ONE, &patience, answer);

	if (kind == LDAP_RES_SEARCH_ENTRY)
		return LDAP_SUCCESS;
	if (kind <= 0) {
		*answer = NULL;
		return kind == 0 ? LDAP_TIMEOUT : LDAP_SERVER_DOWN;
	}
	if (kind == LDAP_RES_SEARCH_RESULT &&
	    ldap_parse_result(directory->ldap, *answer, &code, NULL, NULL, NULL,
		NULL, 0) != LDAP_SUCCESS)
		code = LDAP_DECODING_ERROR;
	(void)ldap_msgfree(*answer);
	*answer = NULL;
	return kind == LDAP_RES_SEARCH_RESULT ? code : LDAP_REFERRAL;
}

enum directory_result
directory_each(struct directory *directory, const char *base,
    const char *filter, directory_take *take, void *context)
{
	char all[] = "*", operational[] = "+";
	char *attributes[] = { all, operational, NULL };
	LDAPMessage *answer = NULL;
	bool goes_on = true;
	int id = 0;
	int code = ldap_search_ext(directory->ldap, base, LDAP_SCOPE_SUBTREE,
	    filter, attributes, 0, NULL, NULL, NULL, LDAP_NO_LIMIT, &id);

	while (code == LDAP_SUCCESS && goes_on) {
		struct directory_entry *entry;

		code = next_answer(directory, id, &answer);
		if (!answer)
			break;
		entry = entry_of(directory->ldap, answer);
		(void)ldap_msgfree(answer);
		goes_on = take(context, entry);
		directory_entry_free(&entry);
	}
	if (!goes_on)
		(void)ldap_abandon_ext(directory->ldap, id, NULL, NULL);
	return directory_keep_why(
	    directory, code, "search", slice_from(base), NULL);
}
