#include "slapd-overlay/overlay.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "lib/name.h"

#define NAMES_MAX 256 /* of one operation */

/* A name that an operation under way is about to give to an entry. */
struct held {
	TAILQ_ENTRY(held) link;
	const void *owner; /* the operation's callback */
	size_t size;
	char text[]; /* normalised */
};

struct names {
	pthread_mutex_t mutex;
	TAILQ_HEAD(, held) held;
};

struct names *
names_new(void)
{
	struct names *names = calloc(1, sizeof(*names));

	if (!names)
		return NULL;
	TAILQ_INIT(&names->held);
	if (pthread_mutex_init(&names->mutex, NULL) == 0)
		return names;
	free(names);
	return NULL;
}

static void
drop(struct names *names, const void *owner)
{
	struct held *held = TAILQ_FIRST(&names->held);

	while (held) {
		struct held *next = TAILQ_NEXT(held, link);

		if (!owner || held->owner == owner) {
			TAILQ_REMOVE(&names->held, held, link);
			free(held);
		}
		held = next;
	}
}

void
names_free(struct names **names)
{
	if (!*names)
		return;
	drop(*names, NULL);
	(void)pthread_mutex_destroy(&(*names)->mutex);
	free(*names);
	*names = NULL;
}

/* ---- the names of an operation ---- */

static const enum attribute name_attributes[] = { ATTRIBUTE_UID, ATTRIBUTE_MAIL,
	ATTRIBUTE_ADDRESS, ATTRIBUTE_PRINCIPAL };

struct given {
	enum attribute attribute;
	struct slice name;
};

static bool
is_name(AttributeDescription *description, enum attribute *which)
{
	for (size_t i = 0; i < ARRAY_SIZE(name_attributes); i++)
		if (description &&
		    description == attribute(name_attributes[i])) {
			*which = name_attributes[i];
			return true;
		}
	return false;
}

static size_t
add_given(
    struct given *given, size_t count, enum attribute which, BerVarray values)
{
	for (size_t i = 0; values && values[i].bv_val && count < NAMES_MAX; i++)
		given[count++] = (struct given){ which, bv_slice(&values[i]) };
	return count;
}

static size_t
of_mods(struct given *given, const Modifications *mods)
{
	size_t count = 0;
	enum attribute which;

	for (; mods; mods = mods->sml_next)
		if ((mods->sml_op == LDAP_MOD_ADD ||
			mods->sml_op == LDAP_MOD_REPLACE ||
			mods->sml_op == SLAP_MOD_SOFTADD) &&
		    is_name(mods->sml_desc, &which))
			count =
			    add_given(given, count, which, mods->sml_values);
	return count;
}

/* ---- whether they are free ---- */

/* Holds a name for the owner; false when another operation does. */
static bool
hold(struct names *names, struct slice name, const void *owner)
{
	struct held *held;

	TAILQ_FOREACH (held, &names->held, link)
		if (slice_equal(slice_of(held->text, held->size), name))
			return held->owner == owner;
	held = malloc(sizeof(*held) + name.size);
	if (!held)
		return false;
	held->owner = owner;
	held->size = name.size;
	memcpy(held->text, name.data, name.size);
	TAILQ_INSERT_TAIL(&names->held, held, link);
	return true;
}

static bool
hold_all(struct names *names, const struct given *given, size_t count,
    const void *owner)
{
	struct buf folded = buf_bounded(NAME_SIZE_MAX);
	bool held = true;
	const char *why;

	(void)pthread_mutex_lock(&names->mutex);
	for (size_t i = 0; i < count && held; i++) {
		buf_clear(&folded);
		if (name_normalise(&folded, NAME_UID, given[i].name, &why) == 0)
			held = hold(names, buf_slice(&folded), owner);
	}
	if (!held)
		drop(names, owner);
	(void)pthread_mutex_unlock(&names->mutex);
	buf_free(&folded);
	return held;
}

static void
let_go(slap_callback *callback)
{
	struct names *names = callback->sc_private;

	(void)pthread_mutex_lock(&names->mutex);
	drop(names, callback);
	(void)pthread_mutex_unlock(&names->mutex);
}

/* Before the client is told, lest the next it asks comes too early. */
static int
release(Operation *op, SlapReply *rs)
{
	if (rs->sr_type == REP_RESULT)
		let_go(op->o_callback);
	return SLAP_CB_CONTINUE;
}

static int
forget(Operation *op, SlapReply *rs)
{
	slap_callback *callback = op->o_callback;

	(void)rs;
	let_go(callback);
	op->o_callback = callback->sc_next;
	op->o_tmpfree(callback, op->o_tmpmemctx);
	return 0;
}

struct finding {
	struct berval *ndn; /* whose the name may be */
	bool taken;
};

static bool
find(Entry *entry, void *data)
{
	struct finding *finding = data;

	if (!dn_match(&entry->e_nname, finding->ndn))
		finding->taken = true;
	return !finding->taken;
}

static void
add_term(struct buf *filter, enum attribute which, struct slice name,
    const char *realm)
{
	if (!attribute(which))
		return;
	buf_add_char(filter, '(');
	buf_add_slice(filter, bv_slice(&attribute(which)->ad_cname));
	buf_add_char(filter, '=');
	name_escape_filter(filter, name);
	if (realm) {
		buf_add_char(filter, '@');
		name_escape_filter(filter, slice_from(realm));
	}
	buf_add_char(filter, ')');
}

/*
 * Whatever attribute a name stands in, it may lead to one entry only. A uid is
 * a principal of the realm as well, and such a principal a uid.
 */
static void
make_filter(struct buf *filter, const struct given *given, const char *realm)
{
	struct slice local, domain;

	buf_add_string(filter, "(|");
	for (size_t i = 0; i < ARRAY_SIZE(name_attributes); i++)
		add_term(filter, name_attributes[i], given->name, NULL);
	if (realm && given->attribute == ATTRIBUTE_UID)
		add_term(filter, ATTRIBUTE_PRINCIPAL, given->name, realm);
	if (realm && given->attribute == ATTRIBUTE_PRINCIPAL &&
	    name_split_address(given->name, &local, &domain) &&
	    slice_is(domain, realm))
		add_term(filter, ATTRIBUTE_UID, local, NULL);
	buf_add_char(filter, ')');
}

/* LDAP_SUCCESS when nobody else has it. */
static int
look_up(Operation *op, const struct given *given, struct berval *ndn)
{
	struct buf filter = buf_bounded((size_t)64 << 10);
	struct finding finding = { ndn, false };
	int code = LDAP_OTHER;

	make_filter(&filter, given, overlay_of(op)->realm);
	if (!filter.failed)
		code = directory_search(
		    op, buf_string(&filter), 2, find, &finding);
	buf_free(&filter);
	return finding.taken ? LDAP_CONSTRAINT_VIOLATION : code;
}

static const char *
say_taken(Operation *op, struct slice name)
{
	struct buf text = buf_bounded((size_t)4 * NAME_SIZE_MAX);
	char *copy;

	buf_add_string(&text, "another entry has the name ");
	buf_add_quoted(&text, name);
	copy = op->o_tmpalloc(text.size + 1, op->o_tmpmemctx);
	memcpy(copy, buf_string(&text), text.size + 1);
	buf_free(&text);
	return copy;
}

/*
 * Between the look and the write of one operation no other may give the name
 * away, so it is held until the operation ends.
 */
static int
check(Operation *op, SlapReply *rs, const struct given *given, size_t count)
{
	struct names *names = overlay_of(op)->names;
	slap_callback *callback;
	int code = LDAP_SUCCESS;

	if (count == 0)
		return SLAP_CB_CONTINUE;
	if (count == NAMES_MAX) {
		rs->sr_text = "too many names at once";
		return LDAP_ADMINLIMIT_EXCEEDED;
	}
	callback = op->o_tmpcalloc(1, sizeof(*callback), op->o_tmpmemctx);
	callback->sc_private = names;
	callback->sc_response = release;
	callback->sc_cleanup = forget;
	if (!hold_all(names, given, count, callback)) {
		op->o_tmpfree(callback, op->o_tmpmemctx);
		rs->sr_text = "a name is being given to another entry just now";
		return LDAP_BUSY;
	}
	/* From here on the callback gives them back, at any end. */
	callback->sc_next = op->o_callback;
	op->o_callback = callback;
	for (size_t i = 0; i < count && code == LDAP_SUCCESS; i++) {
		code = look_up(op, &given[i], &op->o_req_ndn);
		if (code == LDAP_CONSTRAINT_VIOLATION)
			rs->sr_text = say_taken(op, given[i].name);
	}
	return code == LDAP_SUCCESS ? SLAP_CB_CONTINUE : code;
}

/* ---- hooks ---- */

int
names_modify(Operation *op, SlapReply *rs, Entry *entry)
{
	struct given given[NAMES_MAX];

	if (!overlay_of(op)->names || directory_is_relaxed(op, entry))
		return SLAP_CB_CONTINUE;
	return check(op, rs, given, of_mods(given, op->orm_modlist));
}

int
names_rename(Operation *op, SlapReply *rs, Entry *entry)
{
	struct given given[NAMES_MAX];

	if (!overlay_of(op)->names || directory_is_relaxed(op, entry))
		return SLAP_CB_CONTINUE;
	return check(op, rs, given, of_mods(given, op->orr_modlist));
}

int
names_add(Operation *op, SlapReply *rs)
{
	struct given given[NAMES_MAX];
	size_t count = 0;
	enum attribute which;

	if (!overlay_of(op)->names || directory_is_relaxed(op, NULL))
		return SLAP_CB_CONTINUE;
	for (Attribute *each = op->ora_e->e_attrs; each; each = each->a_next)
		if (is_name(each->a_desc, &which))
			count = add_given(given, count, which, each->a_vals);
	return check(op, rs, given, count);
}
