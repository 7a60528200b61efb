#include "tests/fuzz/auth_peer.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "proxy/auth_protocol.h"
#include "tests/fuzz/fuzz.h"

int
auth_peer_open(struct stage *stage)
{
	struct relay *relay = &stage->relay;
	int ends[2];

	stage->listener_config.authentication = CONFIG_VERIFY;
	stage->listener_config.mechanisms |=
	    1U << SASL_GSSAPI | 1U << SASL_EXTERNAL;
	relay->verdicts = verdicts_new(relay->base, &stage->config->auth);
	if (!relay->verdicts ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC,
		0, ends) < 0)
		abort();
	verdicts_add(relay->verdicts, ends[0]);
	return ends[1];
}

static enum auth_verdict
judge(const struct auth_request *request)
{
	if (slice_starts_nocase(request->message, "wrong"))
		return AUTH_REFUSED;
	if (slice_starts_nocase(request->message, "later"))
		return AUTH_UNAVAILABLE;
	return request->kind == AUTH_INITIATE || request->kind == AUTH_ACCEPT
		   ? AUTH_CHALLENGE
		   : AUTH_ACCEPTED;
}

static enum auth_login
login_of(const struct auth_request *request)
{
	if (slice_starts_nocase(request->message, "master") ||
	    request->kind == AUTH_GRANT)
		return AUTH_LOGIN_MASTER;
	if (slice_starts_nocase(request->message, "ticket"))
		return AUTH_LOGIN_GSSAPI;
	return AUTH_LOGIN_PASSWORD;
}

static void
answer(int fd, const struct auth_request *request)
{
	struct auth_answer answer = { .id = request->id,
		.verdict = judge(request),
		.login = login_of(request),
		.name = slice_from("u0@CELL.TEST"),
		.password = slice_from("m"),
		.message = slice_from("c"),
		.why = slice_from("it is so") };
	struct buf out = buf_bounded(AUTH_PROTOCOL_SIZE_MAX);

	if (request->kind != AUTH_CANCEL &&
	    !slice_starts_nocase(request->message, "silent")) {
		auth_answer_write(&out, &answer);
		(void)send(fd, out.data, out.size, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	buf_free(&out);
}

bool
auth_peer_turn(int fd)
{
	static char datagram[AUTH_PROTOCOL_SIZE_MAX];
	struct auth_request request;
	bool answered = false;
	ssize_t got;

	while (fd >= 0 &&
	       (got = recv(fd, datagram, sizeof(datagram), MSG_DONTWAIT)) > 0) {
		fuzz_require(auth_request_read(&request,
				 slice_of(datagram, (size_t)got)) == 0,
		    "a relay asks as it should");
		answer(fd, &request);
		answered = true;
	}
	return answered;
}
