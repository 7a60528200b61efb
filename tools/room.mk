.PHONY: lint
lint:
	@tools/bootstrap build check lint
	@LINT_PACKAGES="libevent libcares ldap lmdb openssl jansson libconfuse libsystemd libxxhash libutf8proc cmocka libseccomp ldns" tools/lint
