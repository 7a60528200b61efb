#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "tests/zones/fixture.h"
#include "zones/update.h"

#define EPOCH(text) "_postcell-epoch.cell.test. 0 IN TXT \"" text "\"\n"

struct fixture {
	struct config *config;
	const struct config_zone *zone;
	struct update_question question;
};

static int
set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	fixture->config = fixture_config("");
	fixture->zone = fixture->config->zones.items;
	*state = fixture;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;

	update_question_free(&fixture->question);
	config_free(&fixture->config);
	free(fixture);
	return 0;
}

/* A section as text, spaces for tabs. */
static void
assert_section(ldns_rr_list *list, const char *expected)
{
	char *text = ldns_rr_list2str(list);

	for (char *c = text; *c; c++)
		if (*c == '\t')
			*c = ' ';
	assert_string_equal(text, expected);
	LDNS_FREE(text);
}

/* Makes an update and gives it back parsed, as a server would see it. */
static ldns_pkt *
change(struct fixture *fixture, const char *current, const char *target,
    const char *epochs)
{
	struct rrsets a = fixture_set(current), b = fixture_set(target);
	struct rrsets old = fixture_set(epochs), new = fixture_set(EPOCH("n"));
	const char *why = NULL;
	ldns_pkt *packet = NULL;

	assert_int_equal(update_change(&fixture->question, fixture->zone, &a,
			     &b, &old, fixture_first(&new), &why),
	    0);
	assert_int_equal(ldns_wire2pkt(&packet, fixture->question.wire,
			     fixture->question.size),
	    LDNS_STATUS_OK);
	assert_true(ldns_pkt_tsig_verify(packet, fixture->question.wire,
	    fixture->question.size, "k", FIXTURE_SECRET, NULL));
	rrsets_free(&a);
	rrsets_free(&b);
	rrsets_free(&old);
	rrsets_free(&new);
	return packet;
}

static void
test_change(void **state)
{
	struct fixture *fixture = *state;
	ldns_pkt *packet = change(fixture,
	    "a.cell.test. 30 IN A 192.0.2.1\n"
	    "b.cell.test. 30 IN A 192.0.2.1\n"
	    "c.cell.test. 30 IN A 192.0.2.1\n",
	    "a.cell.test. 30 IN A 192.0.2.2\n"
	    "a.cell.test. 30 IN A 192.0.2.3\n"
	    "c.cell.test. 30 IN A 192.0.2.1\n"
	    "b.cell.test. 60 IN CNAME a.cell.test.\n",
	    EPOCH("o"));

	assert_int_equal(ldns_pkt_get_opcode(packet), LDNS_PACKET_UPDATE);
	assert_section(ldns_pkt_question(packet), "cell.test. IN SOA\n");
	/* Value dependent: RFC 2136 section 2.4.2. */
	assert_section(ldns_pkt_answer(packet),
	    "_postcell-epoch.cell.test. 0 IN TXT \"o\"\n");
	assert_section(ldns_pkt_authority(packet),
	    "a.cell.test. 0 ANY A \\# 0\n"
	    "b.cell.test. 0 ANY A \\# 0\n"
	    "a.cell.test. 30 IN A 192.0.2.2\n"
	    "a.cell.test. 30 IN A 192.0.2.3\n"
	    "b.cell.test. 60 IN CNAME a.cell.test.\n"
	    "_postcell-epoch.cell.test. 0 ANY TXT \\# 0\n"
	    "_postcell-epoch.cell.test. 0 IN TXT \"n\"\n");
	ldns_pkt_free(packet);
}

static void
test_first_change(void **state)
{
	ldns_pkt *packet = change(*state, "", "", "");

	/* RRset does not exist: RFC 2136 section 2.4.3. */
	assert_section(ldns_pkt_answer(packet),
	    "_postcell-epoch.cell.test. 0 NONE TXT \\# 0\n");
	ldns_pkt_free(packet);
}

/* An answer to the question, made as a server would. */
static void
answer(struct fixture *fixture, ldns_pkt_rcode code, const char *secret,
    int id_change, uint8_t **wire, size_t *size)
{
	ldns_pkt *packet = ldns_pkt_new();

	ldns_pkt_set_id(packet, (uint16_t)(fixture->question.id + id_change));
	ldns_pkt_set_qr(packet, true);
	ldns_pkt_set_opcode(packet, fixture->question.opcode);
	ldns_pkt_set_rcode(packet, (uint8_t)code);
	if (secret)
		assert_int_equal(ldns_pkt_tsig_sign(packet, "k", secret, 300,
				     "hmac-sha256.", fixture->question.mac),
		    LDNS_STATUS_OK);
	assert_int_equal(ldns_pkt2wire(wire, packet, size), LDNS_STATUS_OK);
	ldns_pkt_free(packet);
}

static const struct {
	ldns_pkt_rcode code;
	const char *secret; /* NULL: not signed */
	int id_change;
	time_t late; /* s */
	enum update_result result;
	const char *why; /* a part of it */
} answers[] = {
	{ LDNS_RCODE_NOERROR, FIXTURE_SECRET, 0, 0, UPDATE_GOOD, NULL },
	{ LDNS_RCODE_NXRRSET, FIXTURE_SECRET, 0, 0, UPDATE_OVERTAKEN,
	    "faster" },
	{ LDNS_RCODE_YXRRSET, FIXTURE_SECRET, 0, 0, UPDATE_OVERTAKEN,
	    "faster" },
	{ LDNS_RCODE_REFUSED, FIXTURE_SECRET, 0, 0, UPDATE_BAD, "REFUSED" },
	{ LDNS_RCODE_REFUSED, NULL, 0, 0, UPDATE_BAD, "REFUSED" },
	{ LDNS_RCODE_NOTAUTH, NULL, 0, 0, UPDATE_BAD, "NOTAUTH" },
	{ LDNS_RCODE_SERVFAIL, NULL, 0, 0, UPDATE_BAD, "SERVFAIL" },
	{ 11, NULL, 0, 0, UPDATE_BAD, "unexpected" },
	/* What would change our mind must be signed. */
	{ LDNS_RCODE_NOERROR, NULL, 0, 0, UPDATE_BAD, "not signed" },
	{ LDNS_RCODE_NXRRSET, NULL, 0, 0, UPDATE_BAD, "not signed" },
	{ LDNS_RCODE_NOERROR, "YW5vdGhlciBzZWNyZXQsIGxvbmcgZW5vdWdoIQ==", 0, 0,
	    UPDATE_BAD, "signature" },
	{ LDNS_RCODE_NOERROR, FIXTURE_SECRET, 1, 0, UPDATE_BAD,
	    "another question" },
	{ LDNS_RCODE_NOERROR, FIXTURE_SECRET, 0, 1000, UPDATE_BAD,
	    "another time" },
	{ LDNS_RCODE_NOERROR, FIXTURE_SECRET, 0, -1000, UPDATE_BAD,
	    "another time" },
};

static void
test_answers(void **state)
{
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		const char *why = "";
		ldns_pkt *packet = NULL;
		enum update_result result;
		uint8_t *wire = NULL;
		size_t size;

		assert_int_equal(update_ask(&fixture->question, fixture->zone,
				     LDNS_RR_TYPE_SOA, &why),
		    0);
		answer(fixture, answers[i].code, answers[i].secret,
		    answers[i].id_change, &wire, &size);
		result = update_answer(&fixture->question, slice_of(wire, size),
		    time(NULL) + answers[i].late, &packet, &why);
		if (result != answers[i].result ||
		    (answers[i].why && !strstr(why, answers[i].why)))
			fail_msg("row %zu: %d %s", i, (int)result, why);
		assert_int_equal(packet != NULL, result == UPDATE_GOOD);
		ldns_pkt_free(packet);
		LDNS_FREE(wire);
		update_question_free(&fixture->question);
	}
}

/* No octet of a signed answer may be another one, but for TSIG's copy of the
 * ID (the sixth and fifth from the end): the ID itself is what is signed. */
static void
test_damaged_answers(void **state)
{
	struct fixture *fixture = *state;
	const char *why = "";
	uint8_t *wire = NULL;
	size_t size;

	assert_int_equal(update_ask(&fixture->question, fixture->zone,
			     LDNS_RR_TYPE_SOA, &why),
	    0);
	answer(fixture, LDNS_RCODE_NOERROR, FIXTURE_SECRET, 0, &wire, &size);
	for (size_t i = 0; i < size; i++) {
		ldns_pkt *packet = NULL;

		wire[i] ^= 0x01;
		if (update_answer(&fixture->question, slice_of(wire, size),
			time(NULL), &packet, &why) == UPDATE_GOOD &&
		    i != size - 6 && i != size - 5)
			fail_msg("octet %zu of %zu", i, size);
		wire[i] ^= 0x01;
		ldns_pkt_free(packet);
	}
	for (size_t i = 0; i < size; i++) {
		ldns_pkt *packet = NULL;

		assert_int_not_equal(
		    update_answer(&fixture->question, slice_of(wire, i),
			time(NULL), &packet, &why),
		    UPDATE_GOOD);
	}
	LDNS_FREE(wire);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_first_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_damaged_answers, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
