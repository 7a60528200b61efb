#include "proxy/auth_protocol.h"

#define HEAD_SIZE  6 /* octets before all else */
#define KEPT_SIZE  4
#define STAMP_SIZE 8

/* ---- writing ---- */

static void
write_number(struct buf *out, uint64_t number, size_t size)
{
	while (size-- > 0)
		buf_add_char(out, (char)(unsigned char)(number >> 8 * size));
}

static void
write_head(struct buf *out, uint32_t id, unsigned first, unsigned second)
{
	write_number(out, id, sizeof(id));
	buf_add_char(out, (char)(unsigned char)first);
	buf_add_char(out, (char)(unsigned char)second);
}

static void
write_text(struct buf *out, struct slice text)
{
	if (text.size > UINT16_MAX) {
		out->failed = true;
		return;
	}
	buf_add_char(out, (char)(unsigned char)(text.size >> 8));
	buf_add_char(out, (char)(unsigned char)text.size);
	buf_add_slice(out, text);
}

void
auth_request_write(struct buf *out, const struct auth_request *request)
{
	write_head(out, request->id, request->kind, request->service);
	write_number(out, request->kept, KEPT_SIZE);
	write_number(out, request->stamp, STAMP_SIZE);
	write_text(out, request->name);
	write_text(out, request->dn);
	write_text(out, request->principal);
	write_text(out, request->authorise);
	write_text(out, request->pool);
	write_text(out, request->host);
	write_text(out, request->message);
}

void
auth_answer_write(struct buf *out, const struct auth_answer *answer)
{
	write_head(out, answer->id, answer->verdict, answer->login);
	write_text(out, answer->name);
	write_text(out, answer->authorise);
	write_text(out, answer->password);
	write_text(out, answer->message);
	write_text(out, answer->why);
}

/* ---- reading ---- */

static unsigned
octet(struct slice datagram, size_t i)
{
	return (unsigned char)datagram.data[i];
}

static uint64_t
read_number(struct slice datagram, size_t begin, size_t size)
{
	uint64_t number = 0;

	for (size_t i = begin; i < begin + size; i++)
		number = number << 8 | octet(datagram, i);
	return number;
}

static uint32_t
read_id(struct slice datagram)
{
	return (uint32_t)read_number(datagram, 0, sizeof(uint32_t));
}

/* So many texts and nothing behind them. */
static int
read_texts(struct slice rest, struct slice **texts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t size;

		if (rest.size < 2)
			return -1;
		size = (size_t)octet(rest, 0) << 8 | octet(rest, 1);
		rest = slice_from_offset(rest, 2);
		if (rest.size < size)
			return -1;
		*texts[i] = slice_first(rest, size);
		rest = slice_from_offset(rest, size);
	}
	return rest.size == 0 ? 0 : -1;
}

int
auth_request_read(struct auth_request *request, struct slice datagram)
{
	struct slice *texts[] = { &request->name, &request->dn,
		&request->principal, &request->authorise, &request->pool,
		&request->host, &request->message };

	if (datagram.size < HEAD_SIZE + KEPT_SIZE + STAMP_SIZE ||
	    octet(datagram, 4) >= AUTH_KIND_COUNT ||
	    octet(datagram, 5) >= SERVICE_KIND_COUNT)
		return -1;
	request->id = read_id(datagram);
	request->kind = (enum auth_kind)octet(datagram, 4);
	request->service = (enum service_kind)octet(datagram, 5);
	request->kept = (uint32_t)read_number(datagram, HEAD_SIZE, KEPT_SIZE);
	request->stamp =
	    read_number(datagram, HEAD_SIZE + KEPT_SIZE, STAMP_SIZE);
	return read_texts(
	    slice_from_offset(datagram, HEAD_SIZE + KEPT_SIZE + STAMP_SIZE),
	    texts, ARRAY_SIZE(texts));
}

int
auth_answer_read(struct auth_answer *answer, struct slice datagram)
{
	struct slice *texts[] = { &answer->name, &answer->authorise,
		&answer->password, &answer->message, &answer->why };

	if (datagram.size < HEAD_SIZE ||
	    octet(datagram, 4) >= AUTH_VERDICT_COUNT ||
	    octet(datagram, 5) >= AUTH_LOGIN_COUNT)
		return -1;
	answer->id = read_id(datagram);
	answer->verdict = (enum auth_verdict)octet(datagram, 4);
	answer->login = (enum auth_login)octet(datagram, 5);
	return read_texts(
	    slice_from_offset(datagram, HEAD_SIZE), texts, ARRAY_SIZE(texts));
}
