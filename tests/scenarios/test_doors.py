"""One password, every door: each of them changes it, all of them know it."""

import re

import ldap
import pytest

from directory import REPLICA, SUFFIX, wait_until
from overlaid import Overlaid, exop, person_dn, replace, salted
from realm import REALM, Realm

LIMIT = 20  # more than the guesses of a test that means no harm
ACL = f"""\
access to attrs=postcellKeys,krb5Key by dn.exact="{REPLICA}" write by * none
access to attrs=userPassword by dn.exact="{REPLICA}" =w by self =xw \\
 by anonymous auth by * none
access to * by dn.exact="{REPLICA}" write by * read""".replace("\\\n ", "")


def make_directory(realm):
    conf = realm.folder / "slapd-krb5.conf"
    conf.write_text(f"[libdefaults]\n\tdefault_realm = {REALM}\n"
                    "\tplugin_dir =\n")
    return Overlaid(realm.folder / "ldap", 21, (realm.master_key, conf),
                    policy={"pwdMinLength": "6", "pwdCheckQuality": "2",
                            "pwdInHistory": "3"}, acl=ACL,
                    options={"lockout": realm.folder / "lockout",
                             "lockout-limit": LIMIT, "scram": "4096"})


@pytest.fixture(scope="module")
def realm(tmp_path_factory):
    made = None
    try:
        folder = tmp_path_factory.mktemp("doors")
        # As an identity of its own, that policies hold for.
        made = Realm(folder, make_directory, options={
            "bind_dn": REPLICA, "lockout": folder / "lockout",
            "lockout_limit": LIMIT, "modify_passwords": "yes",
            "policy": f"cn=default,ou=policies,{SUFFIX}"})
        made.kdc.start_kpasswdd()
        made.by_keys = made.make_kdc(
            "by-keys", made.replicad, last=62, options={
                "bind_dn": REPLICA, "lockout": folder / "lockout",
                "lockout_limit": LIMIT, "modify_passwords": "no"})
        yield made
    finally:
        if made:
            made.stop()


def ldappasswd(realm, uid, old, new):
    connection = realm.directory.as_user(uid, old)
    exop(connection, uid, old, new)
    connection.unbind_s()


def ldapmodify(realm, uid, old, new):
    connection = realm.directory.as_user(uid, old)
    replace(connection, uid, new)
    connection.unbind_s()


def kpasswd(realm, uid, old, new):
    realm.settle()
    said = realm.client().kpasswd(uid, old, new, new)
    assert "Success" in said, said


def kadmin(realm, uid, old, new):
    realm.kdc.set_password(uid, new)


def kadmin_keys(realm, uid, old, new):
    realm.by_keys.set_password(uid, new)


DOORS = [ldappasswd, ldapmodify, kpasswd, kadmin, kadmin_keys]


def assert_state(realm, uid, password, refused):
    """The same at all doors, and the same in the entry."""
    realm.settle()
    client = realm.client()
    assert client.kinit(uid, password) == ""
    assert "Password incorrect" in client.kinit(uid, refused)
    assert realm.directory.bind(uid, password) is None
    assert isinstance(realm.directory.bind(uid, refused),
                      ldap.INVALID_CREDENTIALS)
    entry = realm.directory.entry(uid)
    words = realm.directory.sets(uid)[-1][2]
    assert entry["userPassword"] == [b"{K5KEY}" + words[0].encode()]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_matrix(realm, door):
    uid = f"door-{door.__name__}"
    realm.directory.add_account(uid, "first password")
    assert_state(realm, uid, "first password", "second password")
    door(realm, uid, "first password", "second password")
    assert_state(realm, uid, "second password", "first password")
    assert [kvno for _, kvno, _ in realm.directory.sets(uid)] == [1, 2]


def test_doors_one_after_the_other(realm):
    uid = "all-doors"
    realm.directory.add_account(uid, "password 0")
    for number, door in enumerate(DOORS):
        door(realm, uid, f"password {number}", f"password {number + 1}")
        assert_state(realm, uid, f"password {number + 1}",
                     f"password {number}")


def test_first_bind(realm):
    """A hash becomes keys when its password is first heard."""
    uid = "old-hash"
    realm.directory.add_account(uid)
    realm.directory.modify(person_dn(uid), userPassword=salted("first password"))
    realm.settle()
    client = realm.client()
    assert client.kinit(uid, "first password") != ""
    assert realm.directory.bind(uid, "first password") is None
    wait_until(lambda: realm.directory.sets(uid))
    assert_state(realm, uid, "first password", "second password")


@pytest.mark.parametrize("door", DOORS[2:4], ids=lambda door: door.__name__)
def test_policy(realm, door):
    """Too short, and one of the last: refused whole, with the reason."""
    uid = f"policy-{door.__name__}"
    realm.directory.add_account(uid, "first password")
    ldappasswd(realm, uid, "first password", "second password")
    before = realm.directory.entry(uid)
    for bad in ("short", "first password"):
        with pytest.raises(AssertionError):
            door(realm, uid, "second password", bad)
    assert realm.directory.entry(uid)["postcellKeys"] == before["postcellKeys"]
    assert_state(realm, uid, "second password", "first password")


def test_failures_count_together(realm):
    """Guesses at both doors use up one limit, and unlocking opens both."""
    uid = "guessed"
    realm.directory.add_account(uid, "first password")
    realm.settle()
    client = realm.client()
    binds = LIMIT - 6
    for number in range(binds):
        realm.directory.bind(uid, f"guess {number}")
    for number in range(6):
        client.kinit(uid, f"guess {number}")
    values = wait_until(lambda: realm.values(person_dn(uid), "postcellLocked"))
    assert re.fullmatch(r"\S+ locked \S+Z", values[-1])
    realm.settle()
    assert client.kinit(uid, "first password") != ""
    assert realm.directory.bind(uid, "first password") is not None
    counted = sum(person_dn(uid) in line
                  for line in realm.kdc.events("wrong_password"))
    assert counted == LIMIT - binds
