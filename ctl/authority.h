/*
 * authority: certificates of the cell's own hosts, by openssl(1).
 *
 * All return EX_OK, or an exit status after a complaint.
 */
#ifndef CTL_AUTHORITY_H
#define CTL_AUTHORITY_H

/* FOLDER/ca.pem and FOLDER/ca.key, for ten years. */
int authority_make(const char *folder, const char *domain);
/*
 * FOLDER/NAME.pem and NAME.key, signed by the authority in `from`, for a host
 * of that name or address.
 */
int authority_certify(
    const char *from, const char *folder, const char *name, const char *host);

#endif
