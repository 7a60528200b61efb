"""slapd-overlay/: integrated login on a real slapd."""

import base64
import concurrent.futures
import datetime
import hashlib
import hmac

import ldap
import ldap.extop
import pytest

from directory import SUFFIX, wait_until
from overlaid import (Overlaid, exop, make_master_key, person_dn, replace,
                      salted)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return make_master_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def slapd(tmp_path_factory, keys):
    made = Overlaid(tmp_path_factory.mktemp("slapd"), 1, keys)
    made.load()
    try:
        yield made.start()
    finally:
        made.stop()


def refused(error):
    return isinstance(error, ldap.INVALID_CREDENTIALS)


def test_an_added_password_becomes_keys(slapd):
    slapd.add_account("anna", "correct horse")
    entry = slapd.entry("anna")
    assert b"postcellLogin" in entry["objectClass"]
    (moment, kvno, words), = slapd.sets("anna")
    assert kvno == 1 and len(words) == 2
    assert entry["userPassword"] == [b"{K5KEY}" + words[0].encode()]
    assert slapd.bind("anna", "correct horse") is None
    assert refused(slapd.bind("anna", "correct hors"))
    assert refused(slapd.bind("anna", "Correct horse"))


def test_the_name_may_stand_in_the_dn_alone(slapd):
    """slapd itself puts it into the entry."""
    values = [("objectClass", [b"inetOrgPerson", b"postcellAccount"]),
              ("cn", b"x"), ("sn", b"x"), ("userPassword", b"password")]
    slapd.connect().add_s(person_dn("Änne"), values)
    assert slapd.entry("Änne")["uid"] == ["Änne".encode()]
    assert slapd.bind("Änne", "password") is None
    with pytest.raises(ldap.CONSTRAINT_VIOLATION):
        slapd.connect().add_s(f"cn=x+uid=änne,ou=people,{SUFFIX}", values[:-1])


@pytest.mark.parametrize("door", ["exop", "exop with old", "replace",
                                  "delete and add"])
def test_each_change_makes_new_keys(slapd, door):
    uid = "door-" + door.replace(" ", "-")
    slapd.add_account(uid, "first password")
    admin = slapd.connect()
    if door == "exop":
        exop(admin, uid, None, "second password")
    elif door == "exop with old":
        exop(admin, uid, "first password", "second password")
    elif door == "replace":
        replace(admin, uid, "second password")
    else:
        admin.modify_s(person_dn(uid), [
            (ldap.MOD_DELETE, "userPassword", [b"first password"]),
            (ldap.MOD_ADD, "userPassword", [b"second password"])])
    sets = slapd.sets(uid)
    assert [kvno for _, kvno, _ in sets] == [1, 2]
    assert slapd.entry(uid)["userPassword"] == [
        b"{K5KEY}" + sets[-1][2][0].encode()]
    assert refused(slapd.bind(uid, "first password"))
    assert slapd.bind(uid, "second password") is None


def test_a_wrong_old_password_changes_nothing(slapd):
    slapd.add_account("bert", "the right one")
    before = slapd.entry("bert")
    admin = slapd.connect()
    with pytest.raises(ldap.INVALID_CREDENTIALS):
        exop(admin, "bert", "the wrong one", "another")
    with pytest.raises(ldap.INVALID_CREDENTIALS):
        admin.modify_s(person_dn("bert"), [
            (ldap.MOD_DELETE, "userPassword", [b"the wrong one"]),
            (ldap.MOD_ADD, "userPassword", [b"another"])])
    assert slapd.entry("bert") == before
    assert slapd.bind("bert", "the right one") is None


def test_people_change_their_own(slapd, tmp_path, keys):
    own = Overlaid(tmp_path, 2, keys, acl=(
        "access to attrs=userPassword by self =xw by anonymous auth by * none\n"
        "access to attrs=postcellKeys by * none\naccess to * by * read"))
    own.load()
    try:
        own.start()
        own.add_account("carl", "first")
        own.add_account("cora", "hers")
        exop(own.as_user("carl", "first"), "carl", "first", "second")
        replace(own.as_user("carl", "second"), "carl", "third")
        assert own.bind("carl", "third") is None
        assert [kvno for _, kvno, _ in own.sets("carl")] == [1, 2, 3]
        with pytest.raises(ldap.INSUFFICIENT_ACCESS):
            exop(own.as_user("carl", "third"), "cora", None, "stolen")
        assert own.bind("cora", "hers") is None
        found = own.as_user("carl", "third").search_s(
            person_dn("carl"), ldap.SCOPE_BASE)[0][1]
        assert "postcellKeys" not in found and "userPassword" not in found
    finally:
        own.stop()


def test_a_generated_password_works(slapd):
    slapd.add_account("dora", "her own")
    answer = slapd.connect().passwd_s(person_dn("dora"), None, None,
                                      extract_newpw=True)
    assert slapd.bind("dora", answer[1].genPasswd.decode()) is None
    assert refused(slapd.bind("dora", "her own"))


def test_a_hash_becomes_keys_at_the_first_bind(slapd):
    slapd.add_account("emil", salted("old hash"))
    assert slapd.sets("emil") == []
    assert refused(slapd.bind("emil", "not it"))
    assert slapd.sets("emil") == []
    assert slapd.bind("emil", "old hash") is None
    (_, kvno, words), = slapd.sets("emil")
    assert kvno == 1
    assert slapd.entry("emil")["userPassword"] == [
        b"{K5KEY}" + words[0].encode()]
    assert b"postcellLogin" in slapd.entry("emil")["objectClass"]
    assert slapd.bind("emil", "old hash") is None
    assert refused(slapd.bind("emil", "not it"))


def test_an_account_with_keys_takes_no_hash(slapd):
    slapd.add_account("fred", "password")
    before = slapd.entry("fred")
    for value in (salted("other"), "{K5KEY}AAAA", "{CRYPT}x"):
        with pytest.raises(ldap.CONSTRAINT_VIOLATION):
            replace(slapd.connect(), "fred", value)
    with pytest.raises(ldap.UNWILLING_TO_PERFORM):
        slapd.connect().modify_s(person_dn("fred"),
                                 [(ldap.MOD_DELETE, "userPassword", None)])
    with pytest.raises(ldap.CONSTRAINT_VIOLATION):
        slapd.connect().modify_s(person_dn("fred"), [
            (ldap.MOD_REPLACE, "userPassword", [b"one", b"two"])])
    assert slapd.entry("fred") == before


# What no door takes for a password.
NONE = [b"", b"a\0b", b"\0", b"ab\0", b"\xff\xfe", b"x" * 1025, b"y" * 1000000]


@pytest.mark.parametrize("password", NONE, ids=lambda p: repr(p[:8]) + str(len(p)))
def test_what_is_no_password_is_refused_at_each_door(slapd, password):
    uid = f"none-{NONE.index(password)}"
    slapd.add_account(uid, "a good one")
    before = slapd.entry(uid)
    admin = slapd.connect()
    with pytest.raises(ldap.LDAPError):
        exop(admin, uid, None, password) if password else admin.extop_s(
            ldap.extop.ExtendedRequest("1.3.6.1.4.1.4203.1.11.1",
                                       empty_change(uid)))
    with pytest.raises(ldap.LDAPError):
        replace(admin, uid, password)
    with pytest.raises(ldap.LDAPError):
        exop(admin, uid, password, "another")
    with pytest.raises(ldap.LDAPError):
        admin.add_s(person_dn(f"new-{uid}"), [
            ("objectClass", [b"inetOrgPerson", b"postcellAccount"]),
            ("uid", f"new-{uid}".encode()), ("cn", b"x"), ("sn", b"x"),
            ("userPassword", password)])
    error = slapd.bind(uid, password)
    # slapd itself hangs up on a stranger who sends that much.
    assert isinstance(error, (ldap.INVALID_CREDENTIALS,
                              ldap.UNWILLING_TO_PERFORM) if len(password) < 2000
                      else ldap.SERVER_DOWN), error
    assert slapd.entry(uid) == before
    assert slapd.bind(uid, "a good one") is None


def empty_change(uid):
    """A Password Modify whose new password is there, and empty."""
    name = person_dn(uid).encode()
    body = b"\x80" + bytes([len(name)]) + name + b"\x82\x00"
    return b"\x30" + bytes([len(body)]) + body


def test_awkward_passwords_work(slapd):
    for number, password in enumerate(
            ["x", " ", "Grüße, §§ für 5 €", "пароль 密码", "{3}", "p" * 1024,
             "{SSHA}notahash", "\t\x7f"]):
        uid = f"awkward{number}"
        slapd.add_account(uid)
        exop(slapd.connect(), uid, None, password)
        assert slapd.bind(uid, password) is None
        assert refused(slapd.bind(uid, password + "x"))


@pytest.mark.parametrize("status, says", [
    ("disabled", None), ("nologin Come back on Monday", "Come back on Monday"),
    ("nologin", None), ("asleep", None)])
def test_status_refuses_whatever_the_password(slapd, status, says):
    uid = "status-" + status[:7].strip().replace(" ", "-") + str(bool(says))
    slapd.add_account(uid, "password")
    assert slapd.bind(uid, "password") is None
    slapd.modify(person_dn(uid), postcellStatus=status)
    answers = [slapd.bind(uid, text) for text in ("password", "wrong")]
    assert all(map(refused, answers))
    assert answers[0].args[0].get("info") == answers[1].args[0].get("info")
    if says:
        assert says in answers[0].args[0]["info"]
    with pytest.raises(ldap.INVALID_CREDENTIALS):
        exop(slapd.connect(), uid, "password", "another")
    slapd.modify(person_dn(uid), postcellStatus="active")
    assert slapd.bind(uid, "password") is None


@pytest.mark.parametrize("attribute, value", [
    ("krb5ValidEnd", "20200101000000Z"), ("krb5PasswordEnd", "20200101000000Z"),
    ("krb5ValidStart", "29990101000000Z"),
    ("postcellLocked", "20260102030405.000000Z locked -"),
    ("postcellLocked", "20260102030405.000000Z locked 29990101000000.000000Z")])
def test_expiry_and_locks_are_honoured(slapd, attribute, value):
    uid = f"expires{attribute}{len(value)}"
    slapd.add_account(uid, "password")
    assert slapd.bind(uid, "password") is None
    slapd.modify(person_dn(uid), **{attribute: value})
    assert refused(slapd.bind(uid, "password"))
    slapd.modify(person_dn(uid), **{attribute: None})
    assert slapd.bind(uid, "password") is None


def test_what_is_corrupt_is_an_error_and_no_more(slapd):
    slapd.add_account("gerd", "password")
    (moment, kvno, words), = slapd.sets("gerd")
    sealed = bytearray(base64.b64decode(words[0]))
    sealed[30] ^= 1
    for number, bad in enumerate(["AAAA", base64.b64encode(sealed).decode(),
                                  "MAA="]):
        slapd.connect().modify_s(person_dn("gerd"), [
            (ldap.MOD_ADD, "postcellKeys",
             [f"2999010100000{number}.000000Z 9 {bad}".encode()])])
        assert isinstance(slapd.bind("gerd", "password"), ldap.UNAVAILABLE)
    for value in (b"nonsense", b"20260102030405Z 0 AAAA", b"\xff"):
        with pytest.raises(ldap.INVALID_SYNTAX):
            slapd.connect().modify_s(person_dn("gerd"), [
                (ldap.MOD_ADD, "postcellKeys", [value])])
    with pytest.raises(ldap.UNWILLING_TO_PERFORM):
        slapd.modify(person_dn("gerd"), postcellKeys=None)
    exop(slapd.connect(), "gerd", None, "a new one")
    assert slapd.bind("gerd", "a new one") is None


@pytest.mark.parametrize("hashed", [
    "{CRYPT}$6$rounds=50000000$saltsalt$" + "x" * 86, "{CRYPT}$2b$31$" + "x" * 53,
    "{CRYPT}$y$jZT$saltsaltsalt$" + "x" * 43])
def test_an_absurd_hash_is_not_computed(slapd, hashed):
    uid = f"absurd{len(hashed)}"
    slapd.add_account(uid, hashed)
    assert isinstance(slapd.bind(uid, "password"), ldap.UNAVAILABLE)


def test_keys_that_a_kdc_brings_hold(slapd):
    """It writes postcellKeys alone; the rest of the entry follows."""
    slapd.add_account("hugo", "by ldap")
    slapd.add_account("hilda", "by kdc")
    stolen = slapd.sets("hilda")[-1]
    slapd.connect().modify_s(person_dn("hugo"), [
        (ldap.MOD_ADD, "postcellKeys",
         [" ".join(["29990101000000.000000Z", "2", *stolen[2]]).encode()])])
    assert slapd.bind("hugo", "by kdc") is None
    assert refused(slapd.bind("hugo", "by ldap"))
    assert slapd.entry("hugo")["userPassword"] == [
        b"{K5KEY}" + stolen[2][0].encode()]
    exop(slapd.connect(), "hugo", "by kdc", "again by ldap")
    assert [kvno for _, kvno, _ in slapd.sets("hugo")] == [1, 2, 3]
    assert slapd.bind("hugo", "again by ldap") is None


def test_a_kdc_may_be_the_first(slapd):
    slapd.add_account("first-by-kdc")
    value = slapd.entry("hilda")["postcellKeys"][0]
    slapd.connect().modify_s(person_dn("first-by-kdc"), [
        (ldap.MOD_ADD, "postcellKeys", [value])])
    assert b"postcellLogin" in slapd.entry("first-by-kdc")["objectClass"]
    assert slapd.bind("first-by-kdc", "by kdc") is None


def test_changes_at_one_provider_take_turns(slapd):
    """None is refused for another's sake, and none is lost."""
    slapd.add_account("irma", "0")

    def change(number):
        connection = slapd.connect()
        if number % 2:
            exop(connection, "irma", None, str(number))
        else:
            replace(connection, "irma", str(number))
        connection.unbind_s()

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        list(pool.map(change, range(1, 31)))
    sets = slapd.sets("irma")
    assert [kvno for _, kvno, _ in sets] == list(range(1, 32))
    assert slapd.entry("irma")["userPassword"] == [
        b"{K5KEY}" + sets[-1][2][0].encode()]
    assert [slapd.bind("irma", str(number)) is None
            for number in range(31)].count(True) == 1


def test_others_than_accounts_are_left_alone(slapd):
    dn = person_dn("daemon")
    slapd.add(dn, objectClass=["applicationProcess", "simpleSecurityObject",
                               "uidObject"], cn="daemon", uid="daemon",
              userPassword=salted("secret"))
    assert slapd.bind("daemon", "secret") is None
    assert slapd.entry("daemon")["userPassword"][0].startswith(b"{SSHA}")
    replace(slapd.connect(), "daemon", "in clear")
    assert slapd.entry("daemon")["userPassword"] == [b"in clear"]


def test_the_last_login_is_kept_to_the_day(slapd):
    slapd.add_account("ida", "password")
    assert "postcellLastLogin" not in slapd.entry("ida")
    assert refused(slapd.bind("ida", "wrong"))
    assert "postcellLastLogin" not in slapd.entry("ida")
    assert slapd.bind("ida", "password") is None
    first = slapd.entry("ida")
    assert first["postcellLastLogin"][0].endswith(b"000000Z")
    assert slapd.bind("ida", "password") is None
    assert slapd.entry("ida") == first


def test_scram_keys_where_they_are_wanted(tmp_path, keys):
    own = Overlaid(tmp_path, 2, keys, {"scram": 4096, "enctypes":
                   '"aes256-cts-hmac-sha1-96 aes256-cts-hmac-sha384-192"'})
    own.load()
    try:
        own.start()
        own.add_account("jan", "pencil")
        (_, _, words), = own.sets("jan")
        assert len(words) == 3
        rounds, salt, stored, server = words[2].split("=", 1)[1].split(":")
        salted_key = hashlib.pbkdf2_hmac("sha256", b"pencil",
                                         base64.b64decode(salt), int(rounds))
        client = hmac.new(salted_key, b"Client Key", "sha256").digest()
        assert base64.b64decode(stored) == hashlib.sha256(client).digest()
        assert base64.b64decode(server) == hmac.new(
            salted_key, b"Server Key", "sha256").digest()
        assert own.bind("jan", "pencil") is None
        # Forbidden by SASLprep: whole or not at all.
        before = own.entry("jan")
        with pytest.raises(ldap.OTHER):
            replace(own.connect(), "jan", "a\tb")
        assert own.entry("jan") == before
    finally:
        own.stop()


def end_after(days):
    day = datetime.datetime.utcnow() + datetime.timedelta(days=days)
    return day.strftime("%Y%m%d000000Z").encode()


@pytest.mark.parametrize("life, days", [(None, 365), (86400, 1), (0, None)])
def test_a_new_password_lives_anew(tmp_path, keys, life, days):
    """Where passwords end at all, and nobody says himself when."""
    own = Overlaid(tmp_path, 2, keys, {"password-life": life})
    own.load()
    past, current = "20200101000000Z", "first"
    try:
        own.start()
        own.add_account("lena", current)
        for number, change in enumerate((
                lambda text: exop(own.connect(), "lena", None, text),
                lambda text: replace(own.connect(), "lena", text))):
            own.modify(person_dn("lena"), krb5PasswordEnd=past)
            assert refused(own.bind("lena", current))
            days_there = [end_after(days)] if days else []
            current = f"second {number}"
            change(current)
            days_there += [end_after(days) if days else past.encode()]
            end, = own.entry("lena")["krb5PasswordEnd"]
            assert end in days_there  # midnight may have passed
            assert (own.bind("lena", current) is None) == bool(days)
        own.connect().modify_s(person_dn("lena"), [
            (ldap.MOD_REPLACE, "userPassword", [b"third"]),
            (ldap.MOD_REPLACE, "krb5PasswordEnd", [b"20990101000000Z"])])
        assert own.entry("lena")["krb5PasswordEnd"] == [b"20990101000000Z"]
        own.modify(person_dn("lena"), krb5PasswordEnd=None)
        replace(own.connect(), "lena", "fourth")
        assert "krb5PasswordEnd" not in own.entry("lena")
    finally:
        own.stop()


def test_old_keys_stay_for_the_life_of_tickets(tmp_path, keys):
    own = Overlaid(tmp_path, 2, keys, {"ticket-life": 1})
    own.load()
    try:
        own.start()
        own.add_account("karl", "1")
        for number in range(2, 5):
            wait_until(lambda: own.sets("karl")[-1][0]
                       < moment_before(1.2), what="a ticket's life")
            exop(own.connect(), "karl", None, str(number))
        assert [kvno for _, kvno, _ in own.sets("karl")] == [3, 4]
        assert own.bind("karl", "4") is None
        assert refused(own.bind("karl", "3"))
    finally:
        own.stop()


def moment_before(seconds):
    moment = datetime.datetime.utcnow() - datetime.timedelta(seconds=seconds)
    return moment.strftime("%Y%m%d%H%M%S.%fZ")
