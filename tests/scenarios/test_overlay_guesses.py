"""slapd-overlay/: what a stranger can learn, and what a session may still do."""

import base64
import contextlib

import ldap
import pytest

from directory import SUFFIX, wait_until
from overlaid import (DOORS, OWN_ACL, Overlaid, exop, make_master_key,
                      person_dn, replace, salted)


@pytest.fixture(scope="module")
def slapd(tmp_path_factory):
    keys = make_master_key(tmp_path_factory.mktemp("keys"))
    folder = tmp_path_factory.mktemp("slapd")
    made = Overlaid(folder, 5, keys, {
        "lockout": f'"{folder}/lockout"', "lockout-limit": 6,
        "lockout-window": 600}, acl=OWN_ACL)
    made.debug = "stats2"
    made.load()
    try:
        yield made.start()
    finally:
        made.stop()


# -- who is refused waits as long as any other ------------------------------


def derived(slapd):
    """Keys made of passwords that were refused, and what became of them."""
    return [line.split("why=")[1].strip('"') for line in
            slapd.log_text().splitlines() if "event=derived" in line]


def answer(slapd, dn, password):
    """What the client sees of a refused bind, and what it cost."""
    before = len(derived(slapd))
    error = slapd.bind(None, password, dn)
    assert isinstance(error, ldap.INVALID_CREDENTIALS), error
    said = {name: value for name, value in error.args[0].items()
            if name != "msgid"}
    # The line is there before the answer.
    return said, derived(slapd)[before:]


def test_refusals_look_alike(slapd):
    """One derivation each, whatever the reason, and the same words."""
    lock = "20260102030405.000000Z locked -"
    states = {
        "wrong": {}, "none": None, "disabled": {"postcellStatus": "disabled"},
        "nologin": {"postcellStatus": "nologin"},
        "locked": {"postcellLocked": lock},
        "expired": {"krb5ValidEnd": "20200101000000Z"},
        "outdated": {"krb5PasswordEnd": "20200101000000Z"},
        "early": {"krb5ValidStart": "29990101000000Z"}}
    for uid, attributes in states.items():
        slapd.add_account(uid, None if attributes is None else "password")
        if attributes:
            slapd.modify(person_dn(uid), **attributes)
    slapd.add_account("hashed", salted("password"))
    names = {uid: person_dn(uid) for uid in [*states, "hashed"]}
    names |= {"unknown": person_dn("unknown"), "tree": f"ou=people,{SUFFIX}",
              "deep": f"uid=x,ou=nowhere,ou=nowhere,{SUFFIX}",
              "suffix": SUFFIX}
    answers = {name: answer(slapd, dn, "a guess")
               for name, dn in names.items()}
    assert {len(work) for _, work in answers.values()} == {1}, answers
    words = [said for said, _ in answers.values()]
    assert all(said == words[0] for said in words), answers
    assert {name for name, (_, work) in answers.items()
            if work == ["to be compared"]} == {"wrong"}
    # The right password of one who may not come in is as good as a wrong one.
    for uid, attributes in states.items():
        if attributes:
            assert answer(slapd, person_dn(uid), "password") == (
                words[0], ["for nobody"]), uid


def test_what_is_no_password_costs_nothing_for_anybody(slapd):
    slapd.add_account("odd", "password")
    for password in (b"a\0b", b"\xff\xfe", b"x" * 1025):
        said = [answer(slapd, person_dn(uid), password)
                for uid in ("odd", "nobody")]
        assert said[0] == said[1] and said[0][1] == []


def test_guesses_beyond_the_limit_cost_the_same(slapd):
    slapd.add_account("guessed", "password")
    answers = [answer(slapd, person_dn("guessed"), f"guess {number}")
               for number in range(9)]
    assert [work for _, work in answers] == (
        [["to be compared"]] * 6 + [["for nobody"]] * 3)
    assert all(said == answers[0][0] for said, _ in answers)


def test_a_right_password_costs_once(slapd):
    slapd.add_account("right", "password")
    before = derived(slapd)
    for _ in range(3):
        assert slapd.bind("right", "password") is None
    assert derived(slapd) == before


# -- a session that is older than the reason to refuse it --------------------


@pytest.mark.parametrize("attribute, value", [
    ("postcellStatus", "disabled"), ("postcellStatus", "nologin Ask Anna"),
    ("postcellLocked", "20260102030405.000000Z locked -"),
    ("krb5ValidEnd", "20200101000000Z")])
def test_an_old_session_changes_nothing(slapd, attribute, value):
    uid = f"session-{attribute}-{len(value)}"
    slapd.add_account(uid, "password 1")
    session = slapd.as_user(uid, "password 1")
    slapd.modify(person_dn(uid), **{attribute: value})
    before = slapd.entry(uid)
    for change in DOORS.values():
        with pytest.raises((ldap.INSUFFICIENT_ACCESS,
                            ldap.INVALID_CREDENTIALS)) as refusal:
            change(session, uid, "password 1", "password 2")
        if "Ask Anna" in value:
            assert refusal.value.args[0]["info"] == "Ask Anna"
    assert slapd.entry(uid) == before
    # What an administrator does is another matter.
    exop(slapd.connect(), uid, None, "password 3")
    slapd.modify(person_dn(uid), **{attribute: None})
    assert slapd.bind(uid, "password 3") is None
    replace(session, uid, "password 4")
    assert slapd.bind(uid, "password 4") is None


def test_an_outdated_password_may_be_changed(slapd):
    slapd.add_account("outdated-own", "password 1")
    session = slapd.as_user("outdated-own", "password 1")
    slapd.modify(person_dn("outdated-own"), krb5PasswordEnd="20200101000000Z")
    replace(session, "outdated-own", "password 2")
    assert slapd.bind("outdated-own", "password 2") is None


# -- what stands in an entry and is rubbish ----------------------------------


def der(tag, *parts):
    octets = b"".join(parts)
    assert len(octets) < 128
    return bytes([tag, len(octets)]) + octets


def key(salt=b"salt", opaque=None, kind=18, size=32):
    """Heimdal's Key, not sealed, as hdb.asn1 has it."""
    number = kind.to_bytes(2, "big") if kind > 127 else bytes([kind])
    parts = [der(0xA0, der(2, b"\3")), der(0xA1, der(4, salt))]
    if opaque is not None:
        parts.append(der(0xA2, der(4, opaque)))
    return der(0x30,
               der(0xA1, der(0x30, der(0xA0, der(2, number)),
                             der(0xA1, der(4, b"k" * size)))),
               der(0xA2, der(0x30, *parts)))


# Each is what a directory may hold, by mistake or by malice.
KEYS = {
    "nothing": b"", "text": b"nonsense", "empty": b"\x30\x00",
    "cut": key()[:-3], "no iterations": key(opaque=b"\0\0\0\0"),
    "absurd iterations": key(opaque=b"\xff\xff\xff\xff"),
    "a million and one": key(opaque=(1000001).to_bytes(4, "big")),
    "odd iterations": key(opaque=b"\1\0\0\0\0"),
    "unknown kind": key(kind=999), "short": key(size=5)}
HASHES = ["{SSHA}", "{SSHA}AAAA", "{SSHA}!!!!", "{CRYPT}", "{CRYPT}$6$",
          "{CRYPT}$6$rounds=50000000$saltsalt$" + "x" * 86,
          "{CRYPT}$2b$31$" + "x" * 53, "{CRYPT}$y$jZT$salt$" + "x" * 43,
          "{CRYPT}$6$rounds=99999999999999999999$salt$x", "{K5KEY}",
          "{K5KEY}AAAA", "{UNKNOWN}x"]
REFUSED = (ldap.INVALID_CREDENTIALS, ldap.UNAVAILABLE)


def assert_rubbish_is_refused(slapd, uid, unusable):
    """At each door where the old password is asked for; an administrator
    mends it."""
    before = slapd.entry(uid)
    admin = slapd.connect()
    error = slapd.bind(uid, "password")
    assert isinstance(error, REFUSED), error
    if unusable:
        assert isinstance(error, ldap.UNAVAILABLE), error
    with pytest.raises(type(error)):
        exop(admin, uid, "password", "another")
    with pytest.raises(type(error)):
        admin.modify_s(person_dn(uid), [
            (ldap.MOD_DELETE, "userPassword", [b"password"]),
            (ldap.MOD_ADD, "userPassword", [b"another"])])
    assert slapd.entry(uid) == before
    exop(admin, uid, None, "a new one")
    assert slapd.bind(uid, "a new one") is None


@pytest.mark.parametrize("name", KEYS)
def test_rubbish_for_keys(slapd, name):
    uid = f"rubbish-{list(KEYS).index(name)}"
    slapd.add_account(uid, "password")
    value = b"29990101000000.000000Z 9 " + base64.b64encode(KEYS[name])
    change = [(ldap.MOD_ADD, "postcellKeys", [value])]
    with contextlib.suppress(ldap.INVALID_SYNTAX):
        slapd.connect().modify_s(person_dn(uid), change)
        assert_rubbish_is_refused(slapd, uid, name != "short")
        return
    assert name == "nothing"
    assert slapd.bind(uid, "password") is None


@pytest.mark.parametrize("name", KEYS)
def test_rubbish_for_keys_of_old(slapd, name):
    uid = f"old-{list(KEYS).index(name)}"
    slapd.add_person(uid, objectClass=["inetOrgPerson", "krb5Principal",
                                       "krb5KDCEntry"],
                     krb5PrincipalName=f"{uid}@REPLICA.TEST",
                     krb5KeyVersionNumber="4")
    slapd.connect().modify_s(person_dn(uid), [
        (ldap.MOD_ADD, "krb5Key", [KEYS[name]])])
    assert_rubbish_is_refused(slapd, uid, name != "short")
    assert [kvno for _, kvno, _ in slapd.sets(uid)] == [5]


def test_keys_of_old_become_ours(slapd):
    """As Heimdal's own back end for LDAP keeps them."""
    slapd.add_account("source", "password")
    sealed = base64.b64decode(slapd.sets("source")[-1][2][0])
    slapd.add_person("of-old", objectClass=["inetOrgPerson", "krb5Principal",
                                            "krb5KDCEntry"],
                     krb5PrincipalName="of-old@REPLICA.TEST",
                     krb5KeyVersionNumber="4")
    slapd.connect().modify_s(person_dn("of-old"), [
        (ldap.MOD_ADD, "krb5Key", [sealed])])
    assert isinstance(slapd.bind("of-old", "wrong"), ldap.INVALID_CREDENTIALS)
    assert slapd.sets("of-old") == []
    assert slapd.bind("of-old", "password") is None
    assert [kvno for _, kvno, _ in slapd.sets("of-old")] == [5]
    assert slapd.bind("of-old", "password") is None


@pytest.mark.parametrize("hashed", HASHES)
def test_rubbish_for_a_hash(slapd, hashed):
    uid = f"hash-{HASHES.index(hashed)}"
    slapd.add_account(uid)
    change = [(ldap.MOD_ADD, "userPassword", [hashed.encode()])]
    if hashed.startswith("{K5KEY}"):
        with pytest.raises(ldap.CONSTRAINT_VIOLATION):
            slapd.connect().modify_s(person_dn(uid), change)
        assert slapd.sets(uid) == []
        return
    slapd.connect().modify_s(person_dn(uid), change)
    if hashed.startswith("{UNKNOWN}"):  # a password like any other
        assert slapd.bind(uid, hashed) is None
        return
    assert_rubbish_is_refused(slapd, uid, False)


@pytest.mark.parametrize("password", [b"", b"a\0b", b"\0", b"\xff", b"x" * 1025,
                                      b"y" * 1000000],
                         ids=lambda p: repr(p[:4]) + str(len(p)))
def test_what_is_no_password_is_refused_by_modify(slapd, password):
    """As an old one, a new one, and beside a good one."""
    uid = f"modify-{len(password)}-{password[:1].hex()}"
    slapd.add_account(uid, "a good one")
    before = slapd.entry(uid)
    admin = slapd.connect()
    for changes in (
            [(ldap.MOD_DELETE, [password]), (ldap.MOD_ADD, [b"another"])],
            [(ldap.MOD_DELETE, [b"a good one"]), (ldap.MOD_ADD, [password])],
            [(ldap.MOD_REPLACE, [b"another", password])],
            [(ldap.MOD_ADD, [password])]):
        with pytest.raises(ldap.LDAPError):
            admin.modify_s(person_dn(uid), [
                (kind, "userPassword", values) for kind, values in changes])
    assert slapd.entry(uid) == before
    assert slapd.bind(uid, "a good one") is None
    wait_until(lambda: slapd.process.poll() is None, what="slapd")
