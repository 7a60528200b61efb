#include "replica/connection_tls.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lber.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct connection_tls {
	SSL_CTX *context; /* owned */
	SSL *ssl;         /* owned */
};

/* OpenSSL's own words, or the system's. */
static const char *
error_text(unsigned long error)
{
	const char *text = ERR_SYSTEM_ERROR(error)
			       ? strerrordesc_np(ERR_GET_REASON(error))
			       : ERR_reason_error_string(error);

	return text ? text : "unknown reason";
}

/* ---- the layer below libldap ---- */

static int
layer_setup(Sockbuf_IO_Desc *layer, void *ssl)
{
	layer->sbiod_pvt = ssl;
	return 0;
}

static int
layer_remove(Sockbuf_IO_Desc *layer)
{
	layer->sbiod_pvt = NULL;
	return 0;
}

static int
layer_control(Sockbuf_IO_Desc *layer, int option, void *argument)
{
	Sockbuf_IO_Desc *next = layer->sbiod_next;

	/* What OpenSSL holds the descriptor does not show. */
	if (option == LBER_SB_OPT_DATA_READY &&
	    SSL_pending(layer->sbiod_pvt) > 0)
		return 1;
	return next ? next->sbiod_io->sbi_ctrl(next, option, argument) : 0;
}

/* As read() and write() would say it. */
static ber_slen_t
layer_result(const SSL *ssl, int result)
{
	if (result > 0)
		return result;
	switch (SSL_get_error(ssl, result)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		errno = EWOULDBLOCK;
		return -1;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		errno = ECONNRESET;
		return -1;
	}
}

static int
at_most_int(ber_len_t size)
{
	return size > INT_MAX ? INT_MAX : (int)size;
}

static ber_slen_t
layer_read(Sockbuf_IO_Desc *layer, void *data, ber_len_t size)
{
	SSL *ssl = layer->sbiod_pvt;

	ERR_clear_error();
	return layer_result(ssl, SSL_read(ssl, data, at_most_int(size)));
}

static ber_slen_t
/* liblber says what its arguments are. */
/* NOLINTNEXTLINE(readability-non-const-parameter) */
layer_write(Sockbuf_IO_Desc *layer, void *data, ber_len_t size)
{
	SSL *ssl = layer->sbiod_pvt;

	ERR_clear_error();
	return layer_result(ssl, SSL_write(ssl, data, at_most_int(size)));
}

static int
layer_close(Sockbuf_IO_Desc *layer)
{
	ERR_clear_error();
	(void)SSL_shutdown(layer->sbiod_pvt);
	return 0;
}

/* Never written; liblber declares it without const. */
static Sockbuf_IO layer_calls = {
	.sbi_setup = layer_setup,
	.sbi_remove = layer_remove,
	.sbi_ctrl = layer_control,
	.sbi_read = layer_read,
	.sbi_write = layer_write,
	.sbi_close = layer_close,
};

int
connection_tls_attach(struct connection_tls *tls, LDAP *ldap)
{
	Sockbuf *buffer = NULL;

	if (ldap_get_option(ldap, LDAP_OPT_SOCKBUF, &buffer) !=
		LDAP_OPT_SUCCESS ||
	    !buffer)
		return -1;
	return ber_sockbuf_add_io(
	    buffer, &layer_calls, LBER_SBIOD_LEVEL_TRANSPORT, tls->ssl);
}

/* ---- the handshake ---- */

/* Names the file that cannot be used; NULL: all can. */
static const char *
load_files(SSL_CTX *context, const struct connection_tls_files *files)
{
	/* Of keys: it would be asked for at the terminal. */
	static char no_password[] = "";

	SSL_CTX_set_default_passwd_cb_userdata(context, no_password);
	if (files->ca_file[0] == '\0')
		SSL_CTX_set_default_verify_paths(context);
	else if (SSL_CTX_load_verify_file(context, files->ca_file) != 1)
		return files->ca_file;
	if (files->certificate[0] != '\0' &&
	    SSL_CTX_use_certificate_chain_file(context, files->certificate) !=
		1)
		return files->certificate;
	if (files->key[0] != '\0' && SSL_CTX_use_PrivateKey_file(context,
					 files->key, SSL_FILETYPE_PEM) != 1)
		return files->key;
	return NULL;
}

/* A name that is an address is verified as one, and never sent as SNI. */
static bool
set_host(SSL *ssl, const char *host)
{
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1)
		return true;
	/* Declared without const, never written. */
	return SSL_set1_host(ssl, host) == 1 &&
	       /* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	       SSL_set_tlsext_host_name(ssl, (char *)(uintptr_t)host) == 1;
}

struct connection_tls *
connection_tls_new(int fd, const char *host,
    const struct connection_tls_files *files, char *why, size_t why_size)
{
	struct connection_tls *tls = calloc(1, sizeof(*tls));
	const char *faulty = NULL;

	ERR_clear_error();
	if (tls)
		tls->context = SSL_CTX_new(TLS_client_method());
	if (tls && tls->context) {
		SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION);
		SSL_CTX_set_mode(
		    tls->context, SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
		SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
		faulty = load_files(tls->context, files);
		tls->ssl = SSL_new(tls->context);
	}
	if (tls && tls->ssl && !faulty && set_host(tls->ssl, host) &&
	    SSL_set_fd(tls->ssl, fd) == 1) {
		SSL_set_connect_state(tls->ssl);
		return tls;
	}
	(void)snprintf(why, why_size, "%s: %s", faulty ? faulty : host,
	    error_text(ERR_peek_error()));
	connection_tls_free(&tls);
	return NULL;
}

void
connection_tls_free(struct connection_tls **tls)
{
	struct connection_tls *old = *tls;

	*tls = NULL;
	if (!old)
		return;
	SSL_free(old->ssl);
	SSL_CTX_free(old->context);
	free(old);
}

static void
explain(
    const struct connection_tls *tls, int reason, char *why, size_t why_size)
{
	long verified = SSL_get_verify_result(tls->ssl);
	int error = errno;

	if (verified != X509_V_OK)
		(void)snprintf(why, why_size, "the server's certificate: %s",
		    X509_verify_cert_error_string(verified));
	else if (reason != SSL_ERROR_SYSCALL)
		(void)snprintf(
		    why, why_size, "%s", error_text(ERR_peek_error()));
	else
		(void)snprintf(why, why_size, "%s",
		    error ? strerrordesc_np(error)
			  : "the server closed the connection");
}

enum connection_tls_result
connection_tls_handshake(struct connection_tls *tls, char *why, size_t why_size)
{
	int result, reason;

	ERR_clear_error();
	errno = 0;
	result = SSL_do_handshake(tls->ssl);
	if (result == 1)
		return CONNECTION_TLS_DONE;
	reason = SSL_get_error(tls->ssl, result);
	if (reason == SSL_ERROR_WANT_READ)
		return CONNECTION_TLS_READ;
	if (reason == SSL_ERROR_WANT_WRITE)
		return CONNECTION_TLS_WRITE;
	explain(tls, reason, why, why_size);
	return CONNECTION_TLS_FAILED;
}
