"""The cell's directory servers with the overlay: keys of its people, and who
may see them."""

import ldap
import pytest

import slapd
import users
from layout import ADMIN_DN, DIRECTORIES, KDCS, PEOPLE, identity_dn

from directory import wait_until


def connect(cell, name, url=None):
    dn, password = ((ADMIN_DN, cell.settings["admin_password"])
                    if name == "admin" else
                    (identity_dn(name), cell.settings[f"{name}_password"]))
    return slapd.connect(url or cell.layout.ldap_uris[0], cell.layout.ca, dn,
                         password)


def accounts(connection, base=PEOPLE):
    found = connection.search_s(base, ldap.SCOPE_SUBTREE,
                                "(objectClass=inetOrgPerson)", ["*", "+"])
    return {values["uid"][0].decode(): values for _, values in found}


def test_people_have_keys_after_their_first_login(cell):
    """Everybody logged in when the cell started; both servers know the keys."""
    found = [accounts(connect(cell, "admin", url))
             for url in cell.layout.ldap_uris]
    for user in users.all_users():
        for each in found:
            values = each[user.uid]
            if user.uid in users.PLAIN:
                assert values["userPassword"][0].startswith(b"{SSHA}")
            else:
                assert values["userPassword"][0].startswith(b"{K5KEY}"), user
                assert len(values["postcellKeys"]) == 1
    assert len(DIRECTORIES) == len(found)


def test_a_changed_password_works_at_the_mail_servers(cell):
    user = users.all_users()[3]
    dn, _ = users.entry(user)
    other = slapd.connect(cell.layout.ldap_uris[1], cell.layout.ca, dn,
                          user.password)
    other.passwd_s(dn, user.password, "changed for a while")
    try:
        def works():
            try:
                cell.login(cell.layout.addresses["proxy1"], user.login,
                           "changed for a while").logout()
                return True
            except Exception as error:  # whatever the session says
                assert "changed" not in str(error)
                return False

        wait_until(works, what="a login with the new password")
        with pytest.raises(ldap.INVALID_CREDENTIALS):
            slapd.connect(cell.layout.ldap_uris[0], cell.layout.ca, dn,
                          user.password)
    finally:
        # The owner could not, for it was the last one.
        with pytest.raises(ldap.CONSTRAINT_VIOLATION):
            other.passwd_s(dn, "changed for a while", user.password)
        connect(cell, "admin").passwd_s(dn, None, user.password)
    wait_until(lambda: binds(cell, dn, user.password),
               what="the old password at both")


def binds(cell, dn, password):
    try:
        for url in cell.layout.ldap_uris:
            slapd.connect(url, cell.layout.ca, dn, password).unbind_s()
        return True
    except ldap.INVALID_CREDENTIALS:
        return False


@pytest.mark.parametrize("password", ["2 short", "", "long enough\0"])
def test_what_is_no_good_password(cell, password):
    user = users.all_users()[3]
    dn, _ = users.entry(user)
    own = slapd.connect(cell.layout.ldap_uris[0], cell.layout.ca, dn,
                        user.password)
    with pytest.raises(ldap.LDAPError):
        own.modify_s(dn, [(ldap.MOD_REPLACE, "userPassword",
                           [password.encode()])])
    assert binds(cell, dn, user.password)


@pytest.mark.parametrize("name", [*slapd.identities(), "a user"])
def test_who_reads_keys(cell, name):
    """A stolen identity reads no key, unless it is a KDC's or replicates."""
    user = users.all_users()[0]
    dn, _ = users.entry(user)
    connection = (slapd.connect(cell.layout.ldap_uris[0], cell.layout.ca, dn,
                                user.password) if name == "a user"
                  else connect(cell, name))
    try:
        found = connection.search_s(PEOPLE, ldap.SCOPE_SUBTREE,
                                    "(objectClass=*)", ["*", "+"])
    except ldap.NO_SUCH_OBJECT:
        found = []
    seen = {attribute for _, values in found for attribute in values}
    assert ("postcellKeys" in seen) == (name in (*KDCS, *DIRECTORIES))
    assert ("userPassword" in seen) == (name in DIRECTORIES)
    assert ("pwdHistory" in seen) <= (name in (*KDCS, *DIRECTORIES))
    # Nor by guessing at them, nor in the log of changes.
    if name not in (*KDCS, *DIRECTORIES):
        assert not finds(connection, PEOPLE, "(postcellKeys=*)")
    assert finds(connection, "cn=log", "(reqDN=*)") == (name in DIRECTORIES)
    assert finds(connection, "cn=log", "(reqMod=postcellKeys*)") == (
        name in DIRECTORIES)


def finds(connection, base, text):
    try:
        return bool(connection.search_s(base, ldap.SCOPE_SUBTREE, text,
                                        ["1.1"]))
    except (ldap.NO_SUCH_OBJECT, ldap.INSUFFICIENT_ACCESS):
        return False


@pytest.mark.parametrize("name", [n for n in slapd.identities()
                                  if n not in KDCS])
def test_who_writes_keys(cell, name):
    user = users.all_users()[1]
    dn, _ = users.entry(user)
    connection = connect(cell, name)
    value = b"29990101000000.000000Z 9 AAAA"
    for attribute in ("postcellKeys", "userPassword", "postcellLocked"):
        with pytest.raises((ldap.INSUFFICIENT_ACCESS, ldap.NO_SUCH_OBJECT)):
            connection.modify_s(dn, [(ldap.MOD_ADD, attribute, [value])])
