/*
 * person: what an account is to be, as the operator or a file says it.
 *
 * Pure. Columns of a table and options have short names for what is asked for
 * most, and the directory's own names for everything; both become attributes
 * of an inetOrgPerson with postcellAccount.
 */
#ifndef CTL_PERSON_H
#define CTL_PERSON_H

#include <stdbool.h>
#include <stddef.h>

#include "ctl/directory.h"
#include "lib/buf.h"
#include "lib/slice.h"
#include "replica/entry.h"

#define PERSON_VALUES_MAX    96
#define PERSON_ATTRIBUTE_MAX 64
#define PERSON_PARTS_MAX     (PERSON_VALUES_MAX + 8)

struct person_value {
	char attribute[PERSON_ATTRIBUTE_MAX];
	struct slice value; /* borrowed from what it was taken from */
	bool given;         /* not made up here, so that it can differ */
};

struct person {
	struct slice uid; /* borrowed */
	struct person_value values[PERSON_VALUES_MAX];
	size_t count;
	struct slice password; /* cleartext; empty for none; borrowed */
	struct slice hash;     /* as userPassword has it; or empty; borrowed */
};

/* Whether a table may have a column of that name. */
bool person_knows(struct slice column);
/*
 * Takes a value by the name of a column or attribute; an empty one is none.
 * What directories make themselves is passed over. 0; or -1 with *why (static
 * text).
 */
int person_take(struct person *person, struct slice name, struct slice value,
    const char **why);
/* Is it whole? Makes up what is missing and must be. As above. */
int person_finish(struct person *person, const char **why);

/*
 * What to add, the hash included and the password not; `login`: with the class
 * postcellLogin. Returns how many of PERSON_PARTS_MAX; they borrow from person.
 */
size_t person_parts(
    const struct person *person, bool login, struct directory_part *parts);

/*
 * Adds a line for each given value that the entry has not, and for each value
 * of such an attribute that was not given.
 */
void person_compare(const struct person *person,
    const struct entry_value *values, size_t count, struct buf *out);

#endif
