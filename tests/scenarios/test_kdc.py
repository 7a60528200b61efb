"""Tickets from the replica, administration through the directory."""

import os
import re
import signal
import socket
import subprocess
import time

import ldap
import ldap.dn
import pytest

from directory import wait_until
from realm import (BUILD, PEOPLE, PRINCIPALS, REALM, Realm, make_master_key)

KRBTGT = f"krbtgt/{REALM}"
DELEGATE = BUILD / "tests/scenarios/delegate"
SERVICE = "imap/mail.replica.test"
BACK_END = "imap/mbox1.replica.test"


def person(uid):
    return f"uid={uid},{PEOPLE}"


def add_class(realm, uid, name):
    connection = realm.directory.connect()
    connection.modify_s(person(uid), [
        (ldap.MOD_ADD, "objectClass", [name.encode()])])
    connection.unbind_s()


@pytest.fixture(scope="module")
def realm(tmp_path_factory):
    made = None
    try:
        made = Realm(tmp_path_factory.mktemp("kdc"))
        yield made
    finally:
        if made:
            made.stop()


def test_login(realm):
    realm.set_password("user0", "first word")
    client = realm.client()
    assert client.kinit("user0", "first word") == ""
    assert "Password incorrect" in client.kinit("user0", "second word")
    assert "unknown" in client.kinit("nobody", "first word")
    # The day of it, and no more of it.
    wait_until(lambda: realm.values(person("user0"), "postcellLastLogin"))
    day, = realm.values(person("user0"), "postcellLastLogin")
    assert re.fullmatch(r"\d{8}000000Z", day)


def test_last_login_is_a_day(realm):
    """One write a day, however often somebody logs in."""
    for uid in ("daily", "other"):
        realm.directory.add_person(uid)
    dn = person("daily")
    realm.set_password("daily", "first word")
    realm.modify(dn, postcellLastLogin="20260101000000Z")
    client = realm.client()
    assert client.kinit("daily", "first word") == ""
    today = time.strftime("%Y%m%d000000Z", time.gmtime())
    wait_until(lambda: realm.values(dn, "postcellLastLogin") >= [today])
    realm.settle()
    before = realm.values(dn, "entryCSN")
    for _ in range(3):
        assert client.kinit("daily", "first word") == ""
        assert "Password incorrect" in client.kinit("daily", "second word")
    # What was told before is done once this is.
    realm.set_password("other", "first word")
    assert client.kinit("other", "first word") == ""
    wait_until(lambda: realm.values(person("other"), "postcellLastLogin"))
    assert realm.values(dn, "entryCSN") == before


def test_old_keys_stay_for_the_life_of_tickets(realm):
    """And no longer: what was superseded before that goes with a change."""
    realm.directory.add_person("long-since")
    dn = person("long-since")
    kdc = realm.make_kdc("short", realm.replicad, last=64, options={
        "ticket_life": 300, "renew_life": 600})
    realm.set_password("long-since", "first word")
    words = realm.values(dn, "postcellKeys")[-1].split()[2:]
    now = time.time()

    def value(age, kvno):
        moment = time.strftime("%Y%m%d%H%M%S.000000Z",
                               time.gmtime(now - age))
        return " ".join([moment, str(kvno), *words])

    # Superseded 1400, 500 and 400 s ago, and not yet.
    old = [value(2000, 1), value(1400, 2), value(500, 3), value(400, 4)]
    realm.modify(dn, postcellKeys=old)
    kdc.set_password("long-since", "second word")
    after = realm.values(dn, "postcellKeys")
    assert after[:-1] == sorted(old[1:]) and after[-1].split()[1] == "5"
    realm.settle()
    client = realm.client()
    assert client.kinit("long-since", "second word") == ""
    assert "Password incorrect" in client.kinit("long-since", "first word")


def test_names(realm):
    """A name is what it is, letter by letter; people are no servers."""
    realm.set_password("user0", "first word")
    client = realm.client()
    for name in ("USER0", "User0", "user0@replica.test", "user0/admin"):
        assert client.kinit(name, "first word") != "", name
    assert client.kinit(f"user0@{REALM}", "first word") == ""
    assert client.get("user1") != ""
    assert client.get(f"imap/{'x' * 500}") != ""
    realm.set_password("user0", "first word")
    for uid, spelled in [("-rf", "-rf"), ("erika@x.test", "erika\\@x.test"),
                         ("a/b", "a\\/b"), ("back\\slash", "back\\\\slash"),
                         ("jörg", "jörg")]:
        realm.directory.add_person(uid, mail="none@x.test") \
            if uid == "-rf" else realm.directory.add(
                f"uid={ldap.dn.escape_dn_chars(uid)},{PEOPLE}",
                objectClass="inetOrgPerson", uid=uid, cn=uid, sn=uid)
        realm.kdc.kadmin("cpw", "--password=first word", "--", spelled)
        realm.settle()
        assert client.kinit(f"{spelled}@{REALM}", "first word", "--") == "", \
            uid


def test_principal_and_uid_of_two(realm):
    """Whose ticket would it be? Nobody's."""
    add_class(realm, "user10", "postcellLogin")
    realm.set_password("user11", "first word")
    client = realm.client()
    assert client.kinit("user11", "first word") == ""
    realm.modify(person("user10"), krb5PrincipalName=f"user11@{REALM}")
    said = client.kinit("user11", "first word")
    assert "unable to reach any KDC" in said
    assert any("uid of another" in line
               for line in realm.kdc.events("silent"))
    realm.modify(person("user10"), krb5PrincipalName=None)
    assert client.kinit("user11", "first word") == ""


def test_directory_is_silent(realm):
    realm.set_password("user1", "first word")
    client = realm.client()
    realm.directory.send(signal.SIGSTOP)
    try:
        assert client.kinit("user1", "first word") == ""
        assert client.get("kadmin/changepw") != "?"
        assert "Password incorrect" in client.kinit("user1", "second word")
    finally:
        realm.directory.send(signal.SIGCONT)


def test_no_data_is_silence(realm):
    """Never "unknown": the client asks the next KDC, which knows."""
    realm.set_password("user1", "first word")
    empty = realm.replica("empty", start=False)
    other = realm.make_kdc("kdc2", empty, last=62).start()
    client = realm.client(other)
    assert "unable to reach any KDC" in client.kinit("user1", "first word")
    assert other.events("silent")
    other.kdcs = [f"{other.address}:{other.port}",
                  f"{realm.kdc.address}:{realm.kdc.port}"]
    both = realm.client(other)
    assert both.kinit("user1", "first word") == ""
    # Once it has data it answers.
    empty.start()
    assert client.kinit("user1", "first word") == ""
    other.stop()


def test_keys_are_for_kdcs_alone(realm):
    """Elsewhere a replica has neither keys nor principals."""
    realm.set_password("user2", "first word")
    plain = realm.replica("plain", keys="no")
    key = realm.values(person("user2"), "postcellKeys")[0].split()[2]
    data = b"".join(path.read_bytes() for path in plain.path.iterdir())
    assert b"user2@replica.test" in data
    assert key.encode() not in data and b"krbtgt/" not in data
    realm.settle()
    kept = (realm.replicad.path / "data.mdb").read_bytes()
    assert key.encode() in kept and b"krbtgt/" in kept
    plain.stop()


@pytest.mark.parametrize("status", ["disabled", "nologin moved away"])
def test_status(realm, status):
    """Out at once, with a ticket or without; the password makes no odds."""
    realm.set_password("user3", "first word")
    realm.modify(person("user3"), postcellStatus="active")
    client, other = realm.client(), realm.client()
    assert client.kinit("user3", "first word") == ""
    realm.modify(person("user3"), postcellStatus=status)
    right = other.kinit("user3", "first word")
    wrong = other.kinit("user3", "second word")
    assert right == wrong != ""
    assert client.get("kadmin/changepw") != ""
    realm.modify(person("user3"), postcellStatus="active")
    assert other.kinit("user3", "first word") == ""


def guess(realm, user, count):
    """That many at once, each in a process of its own."""
    clients = [realm.client() for _ in range(count)]
    running = []
    for number, client in enumerate(clients):
        secret = client.folder / "secret"
        secret.write_text(f"guess {number}\n")
        running.append(subprocess.Popen(
            ["kinit", f"--password-file={secret}", user],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "KRB5_CONFIG": str(client.conf),
                 "KRB5CCNAME": client.cache}))
    for process in running:
        assert process.wait(120) != 0


def verified(realm, user):
    """Guesses that were looked at and counted."""
    return sum(person(user) in line
               for line in realm.kdc.events("wrong_password"))


def test_lockout(realm):
    """No more guesses are verified than the limit, however many come."""
    realm.set_password("user4", "first word")
    guess(realm, "user4", 30)
    locked = wait_until(
        lambda: realm.values(person("user4"), "postcellLocked"))
    assert re.fullmatch(r"\S+ locked \S+Z", locked[0])
    realm.settle()
    client = realm.client()
    right = client.kinit("user4", "first word")
    wrong = client.kinit("user4", "second word")
    assert right == wrong != ""
    assert verified(realm, "user4") == 10
    assert len(realm.kdc.events("locked")) == 1
    # Somebody lets it in again.
    moment = time.strftime("%Y%m%d%H%M%S.000000Z", time.gmtime(
        time.time() + 1))
    connection = realm.directory.connect()
    connection.modify_s(person("user4"), [
        (ldap.MOD_ADD, "postcellLocked", [f"{moment} unlocked -".encode()])])
    connection.unbind_s()
    realm.settle()
    assert client.kinit("user4", "first word") == ""


def newest_keys(realm, uid):
    return realm.values(person(uid), "postcellKeys")[-1]


def test_kpasswd(realm):
    realm.set_password("user5", "first word")
    realm.kdc.start_kpasswdd()
    client = realm.client()
    before = realm.values(person("user5"), "postcellKeys")
    said = client.kpasswd("user5", "first word", "second word", "second word")
    assert "Success" in said, said
    after = realm.values(person("user5"), "postcellKeys")
    # Added, not replaced: tickets by old keys live on.
    assert set(before) < set(after) and len(after) == len(before) + 1
    assert int(after[-1].split()[1]) == int(before[-1].split()[1]) + 1
    realm.settle()
    assert client.kinit("user5", "second word") == ""
    assert "Password incorrect" in client.kinit("user5", "first word")


@pytest.fixture(scope="module")
def services(realm):
    """A generic service that may delegate to a back end, and its ticket."""
    folder = realm.folder / "services"
    folder.mkdir()
    keytab = folder / "front.keytab"
    realm.kdc.add_service(SERVICE, keytab)
    realm.kdc.add_service(BACK_END)
    realm.kdc.kadmin("modify", f"--constrained-delegation={BACK_END}@{REALM}",
                     SERVICE)
    realm.settle()
    front = realm.client()
    assert front.kinit_keytab(SERVICE, keytab) == ""
    return front, keytab


def delegate(client, *words):
    """(what it said, what went wrong)"""
    done = client.run(DELEGATE, *words)
    return done.stdout.strip(), done.stderr.strip()


def test_delegation(realm, services):
    """A service goes on as the user who gave it a ticket, to one place."""
    front, _ = services
    realm.set_password("user6", "first word")
    user = realm.client()
    assert user.kinit("user6", "first word", "--forwardable") == ""
    assert user.get(SERVICE, "--forwardable") == ""
    said, fault = delegate(front, "use", user.cache, front.cache, BACK_END)
    assert said == f"user6@{REALM}", fault
    # Nowhere else, and for nobody who is out by now.
    assert delegate(front, "use", user.cache, front.cache,
                    "kadmin/changepw")[0] == ""
    realm.modify(person("user6"), postcellStatus="disabled")
    assert delegate(front, "use", user.cache, front.cache, BACK_END)[0] == ""
    realm.modify(person("user6"), postcellStatus="active")
    said, fault = delegate(front, "use", user.cache, front.cache, BACK_END)
    assert said == f"user6@{REALM}", fault


@pytest.mark.parametrize("kind", ["forge", "bare"])
def test_forged_evidence(realm, services, kind):
    """With the service's key one can write any ticket: it is worth nothing."""
    front, keytab = services
    realm.set_password("user7", "first word")
    cache = f"FILE:{realm.folder}/forged.{kind}"
    _, fault = delegate(front, kind, keytab, f"{SERVICE}@{REALM}",
                        f"user7@{REALM}", cache)
    assert fault == ""
    said, fault = delegate(front, "use", cache, front.cache, BACK_END)
    assert (said, fault != "") == ("", True)


def test_old_keys(realm, services):
    """Tickets of before a change of keys stay good, logins do not."""
    realm.set_password("user8", "first word")
    client = realm.client()
    assert client.kinit("user8", "first word") == ""
    for _ in range(2):
        realm.kdc.kadmin("cpw", "--random-key", KRBTGT)
    realm.settle()
    fresh = realm.client()
    assert fresh.kinit("user8", "first word") == ""
    assert client.get(BACK_END) == "" and fresh.get(BACK_END) == ""


def test_master_key(realm):
    """What is wrong with it is said at start."""
    for name, make, said in [
            ("missing", lambda path: None, "cannot be read from"),
            ("other", make_master_key, "does not open the keys of")]:
        key = realm.folder / f"{name}.key"
        make(key)
        kdc = realm.make_kdc(f"kdc-{name}", realm.replicad, last=63)
        kdc.master_key = key
        kdc.write_conf()
        process = kdc.spawn("kdc")
        assert process.wait(20) != 0
        assert said in kdc.log()


def test_settings_are_checked(realm):
    for name, value in [("lockout_limit", "2001"), ("uris", "ldap://a"),
                        ("bind", "kerberos"), ("starttls", "perhaps"),
                        ("replica", "replica"), ("timeout", "soon")]:
        kdc = realm.make_kdc("kdc-bad", realm.replicad, last=63,
                             options={name: value, **(
                                 {"suffix": ""} if name == "uris" else {})})
        process = kdc.spawn("kdc")
        assert process.wait(20) != 0, name
        assert f"[postcell] {name}: " in kdc.log() or name == "uris"


def test_rubbish(realm):
    """Damaged keys, damaged requests: the KDC goes on."""
    realm.set_password("user9", "first word")
    client = realm.client()
    good = realm.values(person("user9"), "postcellKeys")
    time_word, number, key = good[-1].split()[:3]
    later = str(int(time_word[:4]) + 1) + time_word[4:]
    for text in (f"{later} 9 {key[:-8]}", f"{later} 9 AAAA", f"{later} 9",
                 f"{later} 0 {key}", "nonsense", f"{later} 9 {key[8:]}"):
        realm.modify(person("user9"), postcellKeys=[good[-1], text])
        client.kinit("user9", "first word")
        client.kinit("user9", "second word")
    realm.modify(person("user9"), postcellKeys=good)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for size in (0, 1, 7, 100, 1400):
            for first in (b"\x6a", b"\x6c", b"\x30", b"\0"):
                sender.sendto(first + os.urandom(size),
                              (realm.kdc.address, realm.kdc.port))
    assert client.kinit("user9", "first word") == ""
    assert "core dumped" not in realm.kdc.log()
    assert "term signal" not in realm.kdc.log()


def test_principals(realm):
    """kadmin makes and ends services; accounts are the directory's."""
    realm.kdc.add_service("pop/mail.replica.test")
    dn = f"krb5PrincipalName=pop/mail.replica.test@{REALM},{PRINCIPALS}"
    assert realm.values(dn, "postcellKeys")
    assert realm.kdc.kadmin("add", "--random-key", "--use-defaults",
                            "pop/mail.replica.test",
                            check=False).returncode != 0
    assert "pop/mail.replica.test" in realm.kdc.kadmin("list", "*").stdout
    realm.kdc.kadmin("del", "pop/mail.replica.test")
    with pytest.raises(ldap.NO_SUCH_OBJECT):
        realm.values(dn, "postcellKeys")
    done = realm.kdc.kadmin("del", "user0", check=False)
    assert "not permitted" in done.stderr
    assert realm.values(person("user0"), "uid") == ["user0"]


def test_only_the_difference(realm):
    """A change of one attribute leaves what others changed meanwhile."""
    realm.set_password("user2", "first word")
    keys = realm.values(person("user2"), "postcellKeys")
    realm.modify(person("user2"), description="by somebody else")
    realm.kdc.kadmin("modify", "--max-ticket-life=1h", "user2")
    assert realm.values(person("user2"), "krb5MaxLife") == ["3600"]
    assert realm.values(person("user2"), "krb5KDCFlags") == []
    assert realm.values(person("user2"), "krb5MaxRenew") == []
    assert realm.values(person("user2"), "postcellKeys") == keys
    realm.settle()
    client = realm.client()
    assert client.kinit("user2", "first word") == ""


def administer(realm, user, life, between):
    """Reads, lets others have their way, and stores; what it said."""
    process = subprocess.Popen(
        [BUILD / "tests/kdc-plugin/administer", f"{user}@{REALM}", str(life)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=realm.kdc.environment())
    assert process.stdout.readline() == "read\n"
    between()
    said, fault = process.communicate("go\n", timeout=30)
    return said + fault


def test_a_stale_read_undoes_nothing(realm):
    """Another change comes between reading and storing."""
    realm.set_password("user2", "first word")
    dn = person("user2")
    realm.modify(dn, krb5MaxLife="7200", krb5MaxRenew="86400")

    def change_other():
        realm.directory.modify(dn, krb5MaxRenew="90000", description="mine")

    def change_password():
        realm.set_password("user2", "second word")

    assert "stored" in administer(realm, "user2", 3600, change_other)
    assert realm.values(dn, "krb5MaxLife") == ["3600"]
    assert realm.values(dn, "krb5MaxRenew") == ["90000"]
    assert realm.values(dn, "description") == ["mine"]
    assert "stored" in administer(realm, "user2", 3500, change_password)
    assert realm.values(dn, "krb5MaxLife") == ["3500"]
    realm.settle()
    client = realm.client()
    assert client.kinit("user2", "second word") == ""
    # The same attribute: the one who comes second is told.
    said = administer(realm, "user2", 3400, lambda: realm.directory.modify(
        dn, krb5MaxLife="3300"))
    assert "another change came between" in said
    assert realm.values(dn, "krb5MaxLife") == ["3300"]
