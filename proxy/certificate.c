#include "proxy/certificate.h"

#include <openssl/x509v3.h>

static int
add_text(struct buf *name, const ASN1_STRING *text)
{
	unsigned char *octets = NULL;
	int size = ASN1_STRING_to_UTF8(&octets, text);
	struct slice value = slice_of(octets, size > 0 ? (size_t)size : 0);
	int result = -1;

	/* An embedded NUL is how one name was made to look like another. */
	if (size > 0 && slice_find(value, '\0') == SIZE_MAX)
		result = buf_add_slice(name, value);
	OPENSSL_free(octets);
	return result;
}

static int
read_subject(const X509 *certificate, int nid, struct buf *name)
{
	const X509_NAME *subject = X509_get_subject_name(certificate);
	int first = X509_NAME_get_index_by_NID(subject, nid, -1);

	if (first < 0 || X509_NAME_get_index_by_NID(subject, nid, first) >= 0)
		return -1;
	return add_text(name,
	    X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, first)));
}

static int
read_alternative_email(const X509 *certificate, struct buf *name)
{
	GENERAL_NAMES *names =
	    X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	int count = 0, result = -1;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *each = sk_GENERAL_NAME_value(names, i);

		if (each->type == GEN_EMAIL && count++ == 0)
			result = add_text(name, each->d.rfc822Name);
	}
	GENERAL_NAMES_free(names);
	return count == 1 ? result : -1;
}

int
certificate_read_name(
    SSL *ssl, enum config_certificate_name field, struct buf *name)
{
	const X509 *certificate = SSL_get0_peer_certificate(ssl);

	buf_clear(name);
	if (!certificate || SSL_get_verify_result(ssl) != X509_V_OK)
		return -1;
	switch (field) {
	case CONFIG_CERTIFICATE_CN:
		return read_subject(certificate, NID_commonName, name);
	case CONFIG_CERTIFICATE_UID:
		return read_subject(certificate, NID_userId, name);
	case CONFIG_CERTIFICATE_EMAIL:
		break;
	}
	if (read_alternative_email(certificate, name) == 0)
		return 0;
	buf_clear(name);
	return read_subject(certificate, NID_pkcs9_emailAddress, name);
}
