#include "lib/query.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT(octets)                                                           \
	{                                                                      \
		(octets), sizeof(octets) - 1                                   \
	}

/* Section 4.2.2: length, id, flags, one question. */
#define DNS_ID    "PC"
#define DNS_ID_AT 2
/* RFC 4120 section 7.2.2: four octets of length before each message. */
#define KDC_MESSAGE_AT 4
#define KDC_AS_REP     0x6b /* [APPLICATION 11] */
#define KDC_ERROR      0x7e /* [APPLICATION 30] */
#define LDAP_SEQUENCE  0x30

static const struct query {
	const char *octets;
	size_t size;
} queries[SERVICE_KIND_COUNT] = {
	[SERVICE_DNS] =
	    TEXT("\x00\x11" DNS_ID "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00"
		 "\x00\x00\x06\x00\x01"),
	/* Message 1: bind, version 3, no name, no password. */
	[SERVICE_LDAP] = TEXT("\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03"
			      "\x04\x00\x80\x00"),
	/* AS-REQ: probe@INVALID for krbtgt/INVALID@INVALID, AES256. */
	[SERVICE_KERBEROS] =
	    TEXT("\x00\x00\x00\x7a"
		 "\x6a\x78\x30\x76\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a"
		 "\xa4\x6a\x30\x68\xa0\x07\x03\x05\x00\x00\x00\x00\x00"
		 "\xa1\x12\x30\x10\xa0\x03\x02\x01\x01\xa1\x09\x30\x07\x1b\x05"
		 "probe"
		 "\xa2\x09\x1b\x07"
		 "INVALID"
		 "\xa3\x1c\x30\x1a\xa0\x03\x02\x01\x02\xa1\x13\x30\x11\x1b\x06"
		 "krbtgt"
		 "\x1b\x07"
		 "INVALID"
		 "\xa5\x11\x18\x0f"
		 "19700101000000Z"
		 "\xa7\x06\x02\x04\x00\x50\x43\x01"
		 "\xa8\x05\x30\x03\x02\x01\x12"),
};

struct slice
query_text(enum service_kind kind)
{
	return slice_of(queries[kind].octets, queries[kind].size);
}

static uint8_t
octet(struct slice answer, size_t at)
{
	return (uint8_t)answer.data[at];
}

static enum query_result
good_if(bool good)
{
	return good ? QUERY_GOOD : QUERY_BAD;
}

enum query_result
query_check(enum service_kind kind, struct slice answer)
{
	if (kind == SERVICE_DNS) {
		if (answer.size < DNS_ID_AT + sizeof(DNS_ID) - 1)
			return QUERY_MORE;
		return good_if(octet(answer, DNS_ID_AT) == DNS_ID[0] &&
			       octet(answer, DNS_ID_AT + 1) == DNS_ID[1]);
	}
	if (kind == SERVICE_LDAP) {
		if (answer.size == 0)
			return QUERY_MORE;
		return good_if(octet(answer, 0) == LDAP_SEQUENCE);
	}
	if (answer.size <= KDC_MESSAGE_AT)
		return QUERY_MORE;
	return good_if(octet(answer, KDC_MESSAGE_AT) == KDC_AS_REP ||
		       octet(answer, KDC_MESSAGE_AT) == KDC_ERROR);
}

/* Length, version, length of an AP-REQ, and that AP-REQ. */
#define KPASSWD_QUERY    "\x00\x07\x00\x00\x00\x01\x00"
#define KPASSWD_HEAD     6
#define KPASSWD_SIZE_MAX UINT16_MAX

struct slice
query_datagram(enum service_kind kind)
{
	if (kind == SERVICE_KPASSWD)
		return slice_of(KPASSWD_QUERY, sizeof(KPASSWD_QUERY) - 1);
	return slice_from_offset(query_text(kind), KDC_MESSAGE_AT);
}

bool
query_is_answer(enum service_kind kind, struct slice datagram)
{
	if (kind == SERVICE_KPASSWD)
		return datagram.size > KPASSWD_HEAD &&
		       datagram.size <= KPASSWD_SIZE_MAX &&
		       (size_t)(octet(datagram, 0) << 8 | octet(datagram, 1)) ==
			   datagram.size;
	return datagram.size > 0 && (octet(datagram, 0) == KDC_AS_REP ||
					octet(datagram, 0) == KDC_ERROR);
}
