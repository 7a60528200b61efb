"""What no client says, and what no entry should hold: errors, no more."""

import base64
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from directory import wait_until
from realm import BUILD, PEOPLE, PRINCIPALS, REALM, Realm

ROGUE = BUILD / "tests/scenarios/rogue"
CHANGEPW = f"kadmin/changepw@{REALM}"
SERVICE, OTHER = "imap/mail.replica.test", "imap/mbox1.replica.test"
# What no door takes for a password; kpasswdd reads no larger datagrams.
NONE = [b"", b"\0", b"a\0b", b"first word\0", b"\xff\xfe", b"x" * 1025,
        b"y" * 7000]
# Kerberos errors, RFC 4120 section 7.5.9.
BAD_INTEGRITY = 31


def person(uid):
    return f"uid={uid},{PEOPLE}"


def keys(realm, uid):
    return realm.values(person(uid), "postcellKeys")


@pytest.fixture(scope="module")
def realm(tmp_path_factory):
    made = None
    try:
        made = Realm(tmp_path_factory.mktemp("rogue"),
                     options={"lockout_limit": 2000})
        made.kdc.start_kpasswdd()
        made.kdc.add_service(SERVICE, made.folder / "service.keytab")
        made.kdc.add_service(OTHER)
        made.settle()
        yield made
    finally:
        if made:
            made.stop()


@pytest.fixture(autouse=True)
def alive(realm):
    """Nobody died of it."""
    yield
    for process in (realm.kdc.kdc, realm.kdc.kpasswdd):
        assert process.poll() is None
    for log in (realm.kdc.log(), realm.kdc.log("kpasswdd.out")):
        assert "term signal" not in log and "core dumped" not in log


def rogue(realm, client, *words, secret=b""):
    """What it was answered, a line each."""
    kind, *rest = words
    port = realm.kdc.kpasswd_port if kind == "kpasswd" else realm.kdc.port
    done = subprocess.run(
        [ROGUE, kind, realm.kdc.address, str(port), client.cache, *rest],
        input=secret, capture_output=True, timeout=60,
        env={**os.environ, "KRB5_CONFIG": str(client.conf)})
    assert done.returncode == 0, done.stderr
    return done.stdout.decode(errors="replace").splitlines()


def member(realm, uid, service=CHANGEPW):
    """Somebody with a first ticket for that service."""
    realm.set_password(uid, "first word")
    client = realm.client()
    assert client.kinit(uid, "first word", f"--server={service}") == ""
    return client


def test_a_sound_request(realm):
    """That the tool says what kpasswdd understands."""
    client = member(realm, "user0")
    said, = rogue(realm, client, "kpasswd", CHANGEPW, "plain",
                  secret="grüße".encode())
    assert said.startswith("0 "), said
    realm.settle()
    assert client.kinit("user0", "grüße") == ""


@pytest.mark.parametrize("secret", NONE,
                         ids=lambda s: repr(s[:8]) + str(len(s)))
def test_kpasswd_takes_no_odd_password(realm, secret):
    client = member(realm, "user1")
    before = keys(realm, "user1")
    said, = rogue(realm, client, "kpasswd", CHANGEPW, "plain", secret=secret)
    assert re.match(r"[1-4] .", said), said
    assert keys(realm, "user1") == before
    assert client.kinit("user1", "first word") == ""


def test_kpasswdd_goes_on_after_a_datagram_too_large(realm):
    client = member(realm, "user1")
    before = keys(realm, "user1")
    assert rogue(realm, client, "kpasswd", CHANGEPW, "plain",
                 secret=b"y" * 60000) == ["silence"]
    assert keys(realm, "user1") == before
    said, = rogue(realm, client, "kpasswd", CHANGEPW, "plain",
                  secret=b"second word")
    assert said.startswith("0 "), said


@pytest.mark.parametrize("secret", [
    "x" * 1025, "y" * 100000, b"\xff\xfe", "z" * 1000000],
    ids=lambda s: repr(s[:4]) + str(len(s)))
def test_kadmin_takes_no_odd_password(realm, secret):
    """As a word, and where that is too long in a line that kadmin reads."""
    realm.set_password("user1", "first word")
    before = keys(realm, "user1")
    command = [b"cpw", b"--password=" + (
        secret if isinstance(secret, bytes) else secret.encode()), b"user1"]
    words, text = (command, None) if len(secret) <= 100000 else \
        ([], b" ".join(command) + b"\n")
    done = subprocess.run(
        ["kadmin", "-c", realm.kdc.conf, "-l", *words], input=text,
        capture_output=True, timeout=60, env=realm.kdc.environment())
    assert done.stderr.strip() and done.returncode in (0, 1), done
    assert keys(realm, "user1") == before
    client = realm.client()
    assert client.kinit("user1", "first word") == ""


@pytest.mark.parametrize("manner", ["key", "ticket"])
def test_forged_requests_to_kpasswdd(realm, manner):
    client = member(realm, "user2")
    before = keys(realm, "user2")
    said, = rogue(realm, client, "kpasswd", CHANGEPW, manner,
                  secret=b"second word")
    assert said == f"error {BAD_INTEGRITY}", said
    assert keys(realm, "user2") == before


def test_a_ticket_for_another_service_changes_nothing(realm):
    client = member(realm, "user2", f"{SERVICE}@{REALM}")
    before = keys(realm, "user2")
    said, = rogue(realm, client, "kpasswd", f"{SERVICE}@{REALM}", "plain",
                  secret=b"second word")
    assert said.startswith("error "), said
    assert keys(realm, "user2") == before


def test_a_ticket_by_a_ticket_changes_nothing(realm):
    """It takes the password: who finds a screen unlocked has only the TGT."""
    realm.set_password("user2", "first word")
    client = realm.client()
    assert client.kinit("user2", "first word") == ""
    if client.get(CHANGEPW) == "":
        before = keys(realm, "user2")
        said, = rogue(realm, client, "kpasswd", CHANGEPW, "plain",
                      secret=b"second word")
        assert said.startswith("error "), said
        assert keys(realm, "user2") == before


def test_a_replayed_change(realm):
    """It brings no old password back; at once, it is the same change."""
    client = member(realm, "user3")
    said = rogue(realm, client, "kpasswd", CHANGEPW, "twice",
                 secret=b"second word")
    assert said == ["0 Password changed"] * 2
    once = keys(realm, "user3")
    said, = rogue(realm, client, "kpasswd", CHANGEPW, "plain",
                  secret=b"third word")
    assert said.startswith("0 ")
    after = keys(realm, "user3")
    assert len(after) == len(once) + 1
    for word in (b"second word", b"first word"):
        said, = rogue(realm, client, "kpasswd", CHANGEPW, "plain", secret=word)
        assert said.startswith("4 ") and "had that password" in said, said
    assert keys(realm, "user3") == after
    realm.settle()
    assert client.kinit("user3", "third word") == ""
    # Who administers may.
    realm.set_password("user3", "first word")
    assert client.kinit("user3", "first word") == ""


@pytest.mark.parametrize("manner", ["none", "empty", "client"])
def test_requests_without_a_server(realm, manner):
    realm.set_password("user4", "first word")
    client = realm.client()
    assert client.kinit("user4", "first word") == ""
    assert rogue(realm, client, "tgs", "plain") == ["ticket"]
    said, = rogue(realm, client, "tgs", manner)
    assert re.fullmatch(r"error [1-9]\d*", said), said
    assert client.get(SERVICE) == ""


@pytest.mark.parametrize("name", [
    "USER4", "User4", "user4@replica.test", f"user4\\@{REALM}", "admin",
    f"admin\\@{REALM}", f"user4@{REALM.lower()}", "user4/", "/user4", "-user4",
    "", "\\n", "*", "user*", "(uid=user4)", "x" * 3000])
def test_names_that_are_nobody(realm, name):
    realm.set_password("user4", "first word")
    said = realm.client().kinit(name or "\"\"", "first word", "--")
    assert said != "" and "Password incorrect" not in said, said
    assert "cannot contact" not in said


def test_admin_of_two_spellings(realm):
    """`admin` and `admin@REALM` as a uid are two accounts, not one."""
    for uid, password in (("admin", "one word"),
                          (f"admin@{REALM}", "other word")):
        realm.directory.add(
            f"uid={uid},{PEOPLE}", objectClass="inetOrgPerson", uid=uid,
            cn=uid, sn=uid)
        realm.set_password(uid.replace("@", "\\@"), password)
    client = realm.client()
    assert client.kinit("admin", "one word") == ""
    assert client.kinit("admin", "other word") != ""
    assert client.kinit(f"admin\\@{REALM}", "other word") == ""
    assert client.kinit(f"admin\\@{REALM}", "one word") != ""


def test_delegation_without_a_rule(realm):
    """A service that may delegate nowhere, and one for somebody who is out."""
    realm.set_password("user5", "first word")
    front = realm.client()
    keytab = realm.folder / "service.keytab"
    assert front.kinit_keytab(SERVICE, keytab, "--forwardable") == ""
    own = [f"--impersonate=user5@{REALM}", "--no-store"]
    assert front.get(SERVICE, *own) == ""
    assert front.get(OTHER, *own) != ""
    user = realm.client()
    assert user.kinit("user5", "first word", "--forwardable") == ""
    assert user.get(SERVICE, "--forwardable") == ""
    done = front.run(BUILD / "tests/scenarios/delegate", "use", user.cache,
                     front.cache, OTHER)
    assert done.returncode != 0 and done.stdout == ""
    for status in ("disabled", "nologin moved away"):
        realm.modify(person("user5"), postcellStatus=status)
        assert front.get(SERVICE, *own) != "", status
    realm.modify(person("user5"), postcellStatus="active")
    assert front.get(SERVICE, *own) == ""


DER = {"absurd enctype": lambda der: der.replace(b"\xa0\x03\x02\x01\x12",
                                                 b"\xa0\x03\x02\x01\x7f"),
       "negative enctype": lambda der: der.replace(b"\xa0\x03\x02\x01\x12",
                                                   b"\xa0\x03\x02\x01\xed"),
       "short": lambda der: der[:-20], "long": lambda der: der + b"\0" * 30,
       "nothing": lambda der: b"", "zeros": lambda der: b"\0" * 100,
       "sealed with another": lambda der: der[:-5] + bytes(5)}


@pytest.mark.parametrize("damage", DER)
def test_damaged_keys(realm, damage):
    """In a person's entry and in a service's: errors, there and at once."""
    realm.set_password("user6", "first word")
    client = realm.client()
    assert client.kinit("user6", "first word") == ""
    service = f"krb5PrincipalName={OTHER}@{REALM},{PRINCIPALS}"
    for dn in (person("user6"), service):
        good = realm.values(dn, "postcellKeys")
        moment, _, *words = good[-1].split()
        bad = [base64.b64encode(DER[damage](base64.b64decode(word))).decode()
               for word in words]
        later = str(int(moment[:4]) + 1) + moment[4:]
        for number in (1000, 2147483647, 4294967295):
            realm.modify(dn, postcellKeys=[
                *good, f"{later} {number} {' '.join(bad)}"])
            for said in (client.kinit("user6", "first word"),
                         client.kinit("user6", "second word"),
                         client.get(OTHER)):
                assert "unable to reach any KDC" not in said
        if dn == service:
            realm.modify(dn, postcellKeys=good)
    # An administrator can repair it: a fresh password of the next version.
    realm.modify(person("user6"), postcellKeys=[
        value for value in realm.values(person("user6"), "postcellKeys")
        if value.split()[1] not in ("2147483647", "4294967295")])
    realm.set_password("user6", "third word")
    fresh = realm.client()
    assert fresh.kinit("user6", "third word") == ""
    assert fresh.get(OTHER) == ""


def test_tickets_while_the_directory_is_stopped(realm):
    """Under load, with logins that have something to tell it."""
    users = [f"user{i}" for i in range(7, 12)]
    for uid in users:
        realm.set_password(uid, "first word")
    taken, faults = [], []
    stop = threading.Event()

    def load(uid, client):
        while not stop.is_set():
            begin = time.monotonic()
            said = client.kinit(uid, "first word")
            taken.append(time.monotonic() - begin)
            faults.extend([said] if said else [])

    threads = [threading.Thread(target=load, args=(uid, realm.client()))
               for uid in users]
    realm.directory.send(signal.SIGSTOP)
    try:
        for thread in threads:
            thread.start()
        wait_until(lambda: len(taken) >= 60, 60, "tickets")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        realm.directory.send(signal.SIGCONT)
    assert not faults
    print(f"{len(taken)} kinits, at most {1000 * max(taken):.0f} ms")
    # What was to be told arrives once there is somebody to hear it.
    for uid in users:
        wait_until(lambda: realm.values(person(uid), "postcellLastLogin"), 30,
                   f"the last login of {uid}")
