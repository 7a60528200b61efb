#include "proxy/tls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

/* Adds "FILE: text" with OpenSSL's own reason, or the system's. */
static void
complain(struct buf *errors, const char *file, const char *text)
{
	unsigned long error = ERR_peek_error();
	const char *reason = ERR_reason_error_string(error);

	if (ERR_SYSTEM_ERROR(error))
		reason = strerrordesc_np(ERR_GET_REASON(error));
	buf_printf(errors, "%s: %s: %s\n", file, text,
	    reason ? reason : "unknown reason");
	ERR_clear_error();
}

static SSL_CTX *
new_context(const SSL_METHOD *method)
{
	SSL_CTX *context = SSL_CTX_new(method);

	if (!context)
		return NULL;
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_options(context,
	    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
		SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
	/* Idle sessions hold no record buffers, and writes may resume from
	 * elsewhere. */
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS |
				      SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* Header and body of a record by one call of the system. */
	SSL_CTX_set_read_ahead(context, 1);
	return context;
}

SSL_CTX *
tls_front_context(const struct config_tls *tls, struct buf *errors)
{
	SSL_CTX *context;

	if (!tls->certificate)
		return NULL;
	context = new_context(TLS_server_method());
	if (!context) {
		buf_add_string(errors, "out of memory\n");
		return NULL;
	}
	if (tls->protocol_min == 1)
		SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
	/* One ticket, and no cache: sessions live with the clients. */
	SSL_CTX_set_num_tickets(context, 1);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(
	    context, (const unsigned char *)"postcell", 8);
	if (tls->ciphers && SSL_CTX_set_cipher_list(context, tls->ciphers) != 1)
		complain(errors, tls->ciphers, "not a list of ciphers");
	if (SSL_CTX_use_certificate_chain_file(context, tls->certificate) != 1)
		complain(errors, tls->certificate,
		    "not a usable certificate in PEM");
	else if (SSL_CTX_use_PrivateKey_file(
		     context, tls->key, SSL_FILETYPE_PEM) != 1)
		complain(errors, tls->key, "not the certificate's key in PEM");
	return context;
}

SSL_CTX *
tls_back_context(const struct config_backend *backend, struct buf *errors)
{
	SSL_CTX *context = new_context(TLS_client_method());

	if (!context) {
		buf_add_string(errors, "out of memory\n");
		return NULL;
	}
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	if (backend->ca_file) {
		if (SSL_CTX_load_verify_file(context, backend->ca_file) != 1)
			complain(errors, backend->ca_file,
			    "no usable CA certificates in PEM");
	} else {
		SSL_CTX_set_default_verify_paths(context);
	}
	if (backend->verify)
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	return context;
}
