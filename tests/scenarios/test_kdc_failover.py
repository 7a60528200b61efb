"""Changes by a KDC's host while a directory server is away: at the next one."""

import signal
import socket
import time

import ldap
import pytest

from conftest import NET
from directory import Directory, wait_until
from realm import KERBEROS_SCHEMAS, PEOPLE, Realm, quiet_port

TIMEOUT = 2  # s, of each server
# One silence for what was open, one for what is new, on a busy machine.
WITHIN = 2 * TIMEOUT + 4


def person(uid):
    return f"uid={uid},{PEOPLE}"


def make_directory(realm):
    made = []
    for sid in (1, 2):
        address = f"{NET}.{20 + sid}"
        made.append(Directory(
            realm.folder / f"ldap{sid}", address,
            quiet_port(socket.SOCK_STREAM, address), sid=sid,
            schemas=KERBEROS_SCHEMAS))
    made[0].peers, made[1].peers = [made[1]], [made[0]]
    return made[0]


@pytest.fixture
def realm(tmp_path):
    made = None
    try:
        made = Realm(tmp_path, make_directory, options={"timeout": TIMEOUT})
        made.kdc.start_kpasswdd()
        yield made
    finally:
        if made:
            made.stop()


def keys(directory, uid):
    """None while it does not answer."""
    try:
        connection = directory.connect()
        found = connection.search_s(person(uid), ldap.SCOPE_BASE,
                                    attrlist=["postcellKeys"])
        connection.unbind_s()
    except ldap.LDAPError:
        return None
    return sorted(found[0][1].get("postcellKeys", []))


def timed(act):
    begin = time.monotonic()
    said = act()
    return time.monotonic() - begin, said


def change(realm, uid, number):
    """By both programs that write; how long each took."""
    by_kadmin, _ = timed(lambda: realm.kdc.set_password(
        uid, f"password {number}"))
    second = realm.directories[1]
    realm.kdc.replicad.wait_for(lambda: realm.client().kinit(
        uid, f"password {number}") == "", 10, "a ticket by the new password")
    by_kpasswd, said = timed(lambda: realm.client().kpasswd(
        uid, f"password {number}", f"word {number}", f"word {number}"))
    assert "Success" in said, said
    assert keys(second, uid)
    return by_kadmin, by_kpasswd


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL],
                         ids=["silent", "gone"])
def test_changes_go_to_the_next(realm, number):
    first, second = realm.directories
    realm.set_password("user1", "password 0")
    realm.set_password("user2", "password 0")
    # kpasswdd has the first one open.
    assert "Success" in realm.client().kpasswd(
        "user2", "password 0", "word 0", "word 0")
    wait_until(lambda: keys(first, "user2") == keys(second, "user2"))
    times = [[round(1000 * each) for each in change(realm, "user1", 1)]]
    # What only a server has that is killed, nobody has until it is back.
    wait_until(lambda: first.csns() == second.csns())
    if number == signal.SIGKILL:
        first.kill()
    else:
        first.send(number)
    try:
        for round_number in (2, 3):
            taken = change(realm, "user1", round_number)
            times.append([round(1000 * each) for each in taken])
            assert max(taken) < WITHIN
        # By now kpasswdd knows; kadmin is another process each time.
        assert number == signal.SIGKILL or taken[1] < TIMEOUT
    finally:
        if number == signal.SIGKILL:
            first.start()
        else:
            first.send(signal.SIGCONT)
    print(times, "ms, by kadmin and kpasswd, before and twice after")
    # Whoever was away learns of it; the last change holds at both.
    wait_until(lambda: keys(first, "user1") == keys(second, "user1"), 30)
    client = realm.client()
    assert client.kinit("user1", "word 3") == ""
    assert client.kinit("user1", "password 3") != ""


def test_all_are_away(realm):
    """Said within a bound, nothing is changed, and tickets go on."""
    realm.set_password("user1", "password 0")
    before = keys(realm.directory, "user1")
    for each in realm.directories:
        each.send(signal.SIGSTOP)
    try:
        client = realm.client()
        assert client.kinit("user1", "password 0") == ""
        taken, done = timed(lambda: realm.kdc.kadmin(
            "cpw", "--password=other", "user1", check=False))
        assert done.returncode != 0 and taken < 2 * WITHIN
        said = client.kpasswd("user1", "password 0", "other word",
                              "other word")
        assert "Success" not in said
    finally:
        for each in realm.directories:
            each.send(signal.SIGCONT)
    wait_until(lambda: keys(realm.directory, "user1") == before)
    assert client.kinit("user1", "password 0") == ""
