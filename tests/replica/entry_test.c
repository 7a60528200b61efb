#include "replica/entry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/account.h"
#include "lib/cell.h"
#include "lib/record.h"

#define VALUES_MAX 16

/* `attribute=value` words, ending in NULL, become an entry. */
struct sample {
	struct entry entry;
	struct entry_value values[VALUES_MAX];
};

static void
sample_fill(struct sample *sample, const char *dn, const char *const *words)
{
	size_t count = 0;

	for (; words[count]; count++) {
		struct slice word = slice_from(words[count]);
		size_t at = slice_find(word, '=');

		assert_true(count < VALUES_MAX);
		sample->values[count] =
		    (struct entry_value){ slice_first(word, at),
			    slice_from_offset(word, at + 1) };
	}
	sample->entry = (struct entry){ .dn = slice_from(dn),
		.values = sample->values,
		.value_count = count };
}

static enum entry_kind
make_for(bool keys, const char *dn, const char *const *words, struct buf *out,
    uint8_t id[LAYOUT_ID_SIZE])
{
	struct sample sample;
	enum entry_kind kind = ENTRY_OTHER;
	const char *why = NULL;

	sample_fill(&sample, dn, words);
	sample.entry.keys = keys;
	buf_clear(out);
	assert_int_equal(entry_make(&sample.entry, out, id, &kind, &why), 0);
	return kind;
}

static enum entry_kind
make(const char *dn, const char *const *words, struct buf *out,
    uint8_t id[LAYOUT_ID_SIZE])
{
	return make_for(false, dn, words, out, id);
}

/* All values of a tag, parted by "|". */
static void
assert_field(struct slice record, uint8_t tag, const char *expected)
{
	struct buf text = buf_bounded(4096);
	struct record_field field;

	while (record_next(&record, &field)) {
		if (field.tag != tag)
			continue;
		if (text.size > 0)
			(void)buf_add_char(&text, '|');
		(void)buf_add_slice(&text, field.value);
	}
	assert_string_equal(buf_string(&text), expected);
	buf_free(&text);
}

static void
test_account(void **state)
{
	static const char *const words[] = { "objectClass=inetOrgPerson",
		"mailLocalAddress=c@x.test", "mail=A@X.test",
		"mail;lang-de=b@x.test", "uid=Anna", "uid=anna2",
		"mailHost=MBOX1.x.test", "postcellGroup= The  Team ",
		"postcellPoolName=Main", "postcellStatus=nologin moved",
		"krb5PrincipalName=anna@X.TEST",
		"entryUUID=00112233-4455-6677-8899-AABBCCDDEEFF",
		"entryCSN=20260102030405.000001Z#000000#001#000000", NULL };
	static const uint8_t expected_id[LAYOUT_ID_SIZE] = { 0x00, 0x11, 0x22,
		0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc,
		0xdd, 0xee, 0xff };
	struct buf out = buf_bounded(LAYOUT_RECORD_MAX);
	uint8_t id[LAYOUT_ID_SIZE];
	struct account account;
	const char *why;

	(void)state;
	assert_int_equal(make("uid=Anna,o=x", words, &out, id), ENTRY_ACCOUNT);
	assert_memory_equal(id, expected_id, sizeof(id));
	assert_field(buf_slice(&out), ACCOUNT_UID, "Anna|anna2");
	assert_field(
	    buf_slice(&out), ACCOUNT_ADDRESS, "A@X.test|b@x.test|c@x.test");
	assert_field(buf_slice(&out), ACCOUNT_PIN, "mbox1.x.test");
	assert_field(buf_slice(&out), ACCOUNT_GROUP, "the team");
	assert_field(buf_slice(&out), ACCOUNT_POOL, "main");
	assert_int_equal(account_read(&account, buf_slice(&out), &why), 0);
	assert_int_equal(account.status, ACCOUNT_NOLOGIN);
	assert_true(slice_is(account.dn, "uid=Anna,o=x"));
	assert_memory_equal(account.id.data, expected_id, sizeof(id));
	buf_free(&out);
}

/* What could end a command of a protocol is no name. */
static void
test_names_with_control_octets(void **state)
{
	static const char *const words[] = { "uid=a\r\nQUIT", "uid=anna",
		"mail=a\n@x.test", "mail=\x7f@x.test", "mail=anna@x.test",
		"mailLocalAddress=\x01@x.test", "mailRoutingAddress=b\r@x.test",
		"postcellStatus=nologin a\tb", NULL };
	static const char *const nobody[] = { "objectClass=postcellAccount",
		"uid=a\r\nQUIT", "mail=a\n@x.test", NULL };
	struct buf out = buf_bounded(LAYOUT_RECORD_MAX);
	uint8_t id[LAYOUT_ID_SIZE];

	(void)state;
	assert_int_equal(make("cn=a,o=x", words, &out, id), ENTRY_ACCOUNT);
	assert_field(buf_slice(&out), ACCOUNT_UID, "anna");
	assert_field(buf_slice(&out), ACCOUNT_ADDRESS, "anna@x.test");
	assert_field(buf_slice(&out), ACCOUNT_ROUTING, "");
	assert_field(buf_slice(&out), ACCOUNT_STATUS, "nologin a\tb");
	/* Whoever has no other is nobody. */
	assert_int_equal(make("cn=a,o=x", nobody, &out, id), ENTRY_OTHER);
	buf_free(&out);
}

/* Sealed keys are for KDCs alone, and so are principals. */
static void
test_keys(void **state)
{
	static const char *const words[] = { "uid=anna",
		"postcellKeys=20260102030405.000000Z 2 bbbb",
		"postcellKeys=20260102030404.000000Z 1 aaaa",
		"postcellLocked=20260102030405.000000Z unlocked -",
		"krb5KDCFlags=126", "krb5Key=\001\002", NULL };
	static const char *const service[] = { "objectClass=postcellPrincipal",
		"krb5PrincipalName=imap/mail@X.TEST",
		"postcellKeys=20260102030405.000000Z 2 bbbb", NULL };
	struct buf out = buf_bounded(LAYOUT_RECORD_MAX);
	uint8_t id[LAYOUT_ID_SIZE];
	struct account account;
	const char *why;

	(void)state;
	assert_int_equal(make("uid=anna,o=x", words, &out, id), ENTRY_ACCOUNT);
	assert_field(buf_slice(&out), ACCOUNT_KEYS, "");
	assert_field(buf_slice(&out), ACCOUNT_LOCKED, "");
	assert_field(buf_slice(&out), ACCOUNT_KDC_FLAGS, "");
	assert_field(buf_slice(&out), ACCOUNT_OLD_KEY, "");
	assert_int_equal(make("cn=imap,o=x", service, &out, id), ENTRY_OTHER);

	assert_int_equal(
	    make_for(true, "uid=anna,o=x", words, &out, id), ENTRY_ACCOUNT);
	assert_field(buf_slice(&out), ACCOUNT_KEYS,
	    "20260102030405.000000Z 2 bbbb|20260102030404.000000Z 1 aaaa");
	assert_field(buf_slice(&out), ACCOUNT_LOCKED,
	    "20260102030405.000000Z unlocked -");
	assert_field(buf_slice(&out), ACCOUNT_KDC_FLAGS, "126");
	assert_field(buf_slice(&out), ACCOUNT_OLD_KEY, "\001\002");
	assert_int_equal(
	    make_for(true, "cn=imap,o=x", service, &out, id), ENTRY_ACCOUNT);
	assert_int_equal(account_read(&account, buf_slice(&out), &why), 0);
	assert_true(slice_is(account.principal, "imap/mail@X.TEST"));
	assert_int_equal(account.uid.size, 0);
	buf_free(&out);
}

static void
test_kinds(void **state)
{
	static const struct {
		const char *words[4];
		enum entry_kind kind;
	} rows[] = {
		{ { "objectClass=person", "uid=a", NULL }, ENTRY_ACCOUNT },
		{ { "mail=a@x", NULL }, ENTRY_ACCOUNT },
		{ { "mailLocalAddress=a@x", NULL }, ENTRY_ACCOUNT },
		{ { "cn=a", NULL }, ENTRY_OTHER },
		{ { "krb5PrincipalName=a@X", NULL }, ENTRY_OTHER },
		{ { "objectClass=postcellPool", "cn=a", NULL }, ENTRY_CELL },
		{ { "objectClass=POSTCELLSERVER", "cn=a", "uid=a", NULL },
		    ENTRY_CELL },
		{ { "objectClass=organizationalUnit", "ou=a", NULL },
		    ENTRY_CONTAINER },
		{ { "objectClass=organizationalUnit", "uid=a", NULL },
		    ENTRY_CONTAINER },
		{ { "objectClass=organization", "objectClass=postcellAccount",
		      "mail=a@x", NULL },
		    ENTRY_ACCOUNT },
	};
	struct buf out = buf_bounded(LAYOUT_RECORD_MAX);
	uint8_t id[LAYOUT_ID_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(
		    make("cn=a,o=x", rows[i].words, &out, id), rows[i].kind);
	buf_free(&out);
}

static void
test_server(void **state)
{
	static const char *const words[] = { "objectClass=top",
		"objectClass=postcellServer", "cn=MBOX1",
		"postcellService=imap://mbox1:143", "postcellWeight=50",
		"postcellService=lmtp://mbox1:24", "postcellState=drain",
		NULL };
	struct buf out = buf_bounded(LAYOUT_RECORD_MAX);
	uint8_t id[LAYOUT_ID_SIZE];

	(void)state;
	assert_int_equal(make("cn=MBOX1,o=x", words, &out, id), ENTRY_CELL);
	assert_field(buf_slice(&out), CELL_KIND, "server");
	assert_field(buf_slice(&out), CELL_NAME, "mbox1");
	assert_field(
	    buf_slice(&out), CELL_SERVICE, "imap://mbox1:143|lmtp://mbox1:24");
	assert_field(buf_slice(&out), CELL_STATE, "drain");
	assert_field(buf_slice(&out), CELL_WEIGHT, "50");
	buf_free(&out);
}

/* The id of an entry without entryUUID is that of its DN, however spelled. */
static void
test_id_of_dn(void **state)
{
	static const char *const words[] = { "uid=a", NULL };
	struct buf out = buf_bounded(LAYOUT_RECORD_MAX);
	uint8_t one[LAYOUT_ID_SIZE], same[LAYOUT_ID_SIZE],
	    other[LAYOUT_ID_SIZE];

	(void)state;
	(void)make("uid=anna,o=x", words, &out, one);
	(void)make("UID=Anna , O=X", words, &out, same);
	(void)make("uid=annao,o=x", words, &out, other);
	assert_memory_equal(one, same, sizeof(one));
	assert_memory_not_equal(one, other, sizeof(one));
	buf_free(&out);
}

static void
test_bad(void **state)
{
	static const struct {
		const char *dn;
		const char *words[3];
	} rows[] = {
		{ "no dn at all", { "uid=a", NULL } },
		{ "", { "uid=a", NULL } },
		{ "uid=a,o=x",
		    { "uid=a", "entryUUID=00112233-4455-6677-8899", NULL } },
		{ "uid=a,o=x",
		    { "uid=a", "entryUUID=00112233-4455-6677-8899-aabbccddeefg",
			NULL } },
	};
	struct buf out = buf_bounded(LAYOUT_RECORD_MAX);
	struct buf small = buf_bounded(8);
	uint8_t id[LAYOUT_ID_SIZE];
	struct sample sample;
	enum entry_kind kind;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *why = NULL;

		sample_fill(&sample, rows[i].dn, rows[i].words);
		assert_int_equal(
		    entry_make(&sample.entry, &out, id, &kind, &why), -1);
		assert_non_null(why);
	}
	sample.entry.dn = slice_from("uid=a,o=x");
	sample.entry.value_count = 1;
	{
		const char *why = NULL;

		assert_int_equal(
		    entry_make(&sample.entry, &small, id, &kind, &why), -1);
		assert_non_null(why);
	}
	buf_free(&out);
	buf_free(&small);
}

static void
test_dn_below(void **state)
{
	static const struct {
		const char *dn, *base;
		bool below;
	} rows[] = {
		{ "uid=a,ou=people,o=x", "ou=people,o=x", true },
		{ "uid=a,ou=p,ou=people,o=x", "ou=PEOPLE,o=X", true },
		{ "ou=people,o=x", "ou=people,o=x", false },
		{ "uid=a,ou=morepeople,o=x", "people,o=x", false },
		{ "uid=a\\,o=x", "o=x", false },
		{ "uid=a,o=x", "", false },
		{ "o=x", "uid=a,o=x", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(entry_dn_below(slice_from(rows[i].dn),
				     slice_from(rows[i].base)),
		    rows[i].below);
}

static void
test_move(void **state)
{
	static const char *const words[] = { "uid=a", "mail=a@x", NULL };
	struct buf out = buf_bounded(LAYOUT_RECORD_MAX);
	struct buf moved = buf_bounded(LAYOUT_RECORD_MAX);
	uint8_t id[LAYOUT_ID_SIZE];

	(void)state;
	(void)make("uid=a,o=x", words, &out, id);
	assert_int_equal(
	    entry_record_move(&moved, buf_slice(&out), slice_from("uid=a,o=y")),
	    0);
	assert_true(slice_is(entry_record_dn(buf_slice(&moved)), "uid=a,o=y"));
	assert_field(buf_slice(&moved), ACCOUNT_ADDRESS, "a@x");
	assert_int_equal(moved.size, out.size);
	buf_free(&out);
	buf_free(&moved);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_account),
		cmocka_unit_test(test_names_with_control_octets),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_server),
		cmocka_unit_test(test_id_of_dn),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_dn_below),
		cmocka_unit_test(test_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
