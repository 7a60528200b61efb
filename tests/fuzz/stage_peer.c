/* The other ends of the relay's connections. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/stage.h"

#define PEER_MAX ((size_t)4 << 20) /* octets said, or heard, in one play */

void
stage_peer_open(struct stage_peer *peer, int fd)
{
	*peer = (struct stage_peer){ .fd = fd };
	peer->unsent = buf_bounded(PEER_MAX);
	peer->said = buf_bounded(PEER_MAX);
	peer->heard = buf_bounded(PEER_MAX);
}

void
stage_hang_up(struct stage_peer *peer)
{
	SSL_free(peer->ssl);
	peer->ssl = NULL;
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
}

void
stage_peer_close(struct stage_peer *peer)
{
	stage_hang_up(peer);
	buf_free(&peer->unsent);
	buf_free(&peer->said);
	buf_free(&peer->heard);
}

void
stage_say(struct stage_peer *peer, struct slice octets)
{
	if (peer->fd < 0 || peer->ending)
		return;
	buf_add_slice(&peer->unsent, octets);
	buf_add_slice(&peer->said, octets);
}

void
stage_begin_tls(struct stage_peer *peer, bool as_client)
{
	struct stage_world *world = stage_world();

	if (peer->fd < 0 || peer->ssl)
		return;
	peer->ssl = SSL_new(as_client ? world->client : world->server);
	if (!peer->ssl || SSL_set_fd(peer->ssl, peer->fd) != 1)
		abort();
	if (as_client)
		SSL_set_connect_state(peer->ssl);
	else
		SSL_set_accept_state(peer->ssl);
	peer->secured = true;
	buf_clear(&peer->unsent);
	buf_clear(&peer->said);
	buf_clear(&peer->heard);
}

bool
stage_is_secured(const struct stage_peer *peer)
{
	return peer->ssl && SSL_is_init_finished(peer->ssl);
}

/* Octets moved; 0: none now; -1: no more will. */
static ssize_t
tls_result(struct stage_peer *peer, int returned)
{
	int error = SSL_get_error(peer->ssl, returned);

	ERR_clear_error();
	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE
		   ? 0
		   : -1;
}

static ssize_t
put(struct stage_peer *peer)
{
	int size = (int)peer->unsent.size, sent;

	if (!peer->ssl)
		return send(peer->fd, peer->unsent.data, peer->unsent.size,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
	sent = SSL_write(peer->ssl, peer->unsent.data, size);
	return sent > 0 ? sent : tls_result(peer, sent);
}

static ssize_t
take(struct stage_peer *peer, char *room, size_t size)
{
	ssize_t got;

	if (peer->ssl) {
		got = SSL_read(peer->ssl, room, (int)size);
		return got > 0 ? got : tls_result(peer, (int)got);
	}
	got = recv(peer->fd, room, size, MSG_DONTWAIT);
	if (got < 0)
		return errno == EAGAIN ? 0 : -1;
	return got == 0 ? -1 : got;
}

static bool
say_more(struct stage_peer *peer)
{
	ssize_t sent;

	if (peer->unsent.size == 0) {
		if (peer->ending && !peer->ended)
			shutdown(peer->fd, SHUT_WR);
		return false;
	}
	sent = put(peer);
	if (sent > 0)
		buf_consume(&peer->unsent, (size_t)sent);
	else if (sent < 0 && (peer->ssl || errno != EAGAIN))
		buf_clear(&peer->unsent);
	return sent > 0;
}

static bool
hear_more(struct stage_peer *peer)
{
	static char octets[16384];
	ssize_t got;

	if (peer->paused || peer->ended)
		return false;
	got = take(peer, octets, sizeof(octets));
	if (got < 0)
		peer->ended = true;
	if (got > 0 && buf_add(&peer->heard, octets, (size_t)got) < 0)
		fuzz_require(false, "what a peer is told is bounded");
	return got != 0;
}

/* TLS moves octets that are nobody's. */
static uint64_t
tls_moved(const struct stage_peer *peer)
{
	return peer->ssl ? BIO_number_read(SSL_get_rbio(peer->ssl)) +
			       BIO_number_written(SSL_get_wbio(peer->ssl))
			 : 0;
}

bool
stage_peer_turn(struct stage_peer *peer)
{
	uint64_t before = tls_moved(peer);
	bool moved;

	if (peer->fd < 0)
		return false;
	moved = say_more(peer);
	while (hear_more(peer))
		moved = true;
	return moved || tls_moved(peer) != before;
}
