/*
 * reuse: whether a password is one that an account has or had.
 *
 * kpasswdd keeps no memory of requests, so what somebody overheard can be said
 * once more until the clocks have moved on, and would bring back the password
 * that it was about. What is known are the keys that are kept for the life of
 * tickets, which is longer.
 */
#ifndef KDC_PLUGIN_REUSE_H
#define KDC_PLUGIN_REUSE_H

#include <stdint.h>

#include "kdc-plugin/compat.h"
#include "lib/account.h"
#include "lib/slice.h"

#define REUSE_JUST_NOW_S 60

enum reuse {
	REUSE_NONE,
	REUSE_JUST_NOW, /* it is the password, since less than a minute: the
			   same request once more, for want of an answer */
	REUSE_AGAIN     /* it is, or was */
};

/*
 * principal: the account's, for keys without a salt of their own. Keys that the
 * database's master key does not open are passed over.
 */
enum reuse reuse_find(krb5_context context, HDB *db,
    krb5_const_principal principal, const struct account *account,
    struct slice password, int64_t now_us);

#endif
