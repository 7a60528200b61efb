"""slapd-overlay/ at work: who waits for whom, and what hours of binds leave.

POSTCELL_SOAK=900 binds for so many seconds instead of some thousands of times.
"""

import concurrent.futures
import os
import time

import ldap
import pytest

from directory import SUFFIX
from overlaid import Overlaid, exop, make_master_key, person_dn, replace

SOAK = float(os.environ.get("POSTCELL_SOAK", 0))  # s
THREADS = 8
BINDS = 1200
GROWTH = 6000  # KiB, of all threads' arenas together


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return make_master_key(tmp_path_factory.mktemp("keys"))


# -- making keys holds nobody up ---------------------------------------------


@pytest.fixture(scope="module")
def slow(tmp_path_factory, keys):
    """So many iterations that making keys takes as long as many writes."""
    made = Overlaid(tmp_path_factory.mktemp("slow"), 6, keys,
                    {"scram": 300000})
    made.load()
    try:
        yield made.start()
    finally:
        made.stop()


def add(connection, uid, password):
    connection.add_s(person_dn(uid), [
        ("objectClass", [b"inetOrgPerson", b"postcellAccount"]),
        ("cn", b"x"), ("sn", b"x"), ("userPassword", password.encode())])


DOORS = {"exop": lambda connection, uid: exop(connection, uid, None, "second"),
         "replace": lambda connection, uid: replace(connection, uid, "second"),
         "add": lambda connection, uid: add(connection, f"new-{uid}", "second")}


@pytest.mark.parametrize("door", DOORS)
def test_others_go_on_while_keys_are_made(slow, door):
    """Writes that began and ended while a password was being changed."""
    uid = f"slow-{door}"
    slow.add_account(uid)
    admin, other = slow.connect(), slow.connect()
    admin.set_option(ldap.OPT_TIMEOUT, 60)
    done = 0
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for number in range(3):
            change = pool.submit(DOORS[door], admin,
                                 uid if door != "add" else f"{uid}{number}")
            while not change.done():
                other.modify_s(f"cn=mbox1,ou=servers,{SUFFIX}", [
                    (ldap.MOD_REPLACE, "description", [str(done).encode()])])
                done += not change.done()
            change.result()
    print(f"\n{done} writes within")
    # One that began before the change, and one held up by it, at each round.
    assert done > 15, done


def test_parallel_changes_lose_nothing(tmp_path, keys):
    """Beside a policy as well, which looks at an entry before its turn."""
    made = Overlaid(tmp_path, 7, keys, policy={"pwdInHistory": 3})
    made.load()
    made.start()
    try:
        made.add_account("irma", "password 0")

        def change(number):
            connection = made.connect()
            if number % 2:
                exop(connection, "irma", None, f"password {number}")
            else:
                replace(connection, "irma", f"password {number}")
            connection.unbind_s()

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            list(pool.map(change, range(1, 25)))
        sets = made.sets("irma")
        assert [kvno for _, kvno, _ in sets] == list(range(1, 26))
        entry = made.entry("irma")
        assert entry["userPassword"] == [
            b"{K5KEY}" + sets[-1][2][0].encode()]
        assert [made.bind("irma", f"password {number}") is None
                for number in range(25)].count(True) == 1
    finally:
        made.stop()


# -- hours of it ----------------------------------------------------------------


def test_binds_do_not_grow(tmp_path, keys):
    made = Overlaid(tmp_path, 7, keys, {
        "memory": 64, "lockout": f'"{tmp_path}/lockout"',
        "lockout-limit": 2000})
    made.load()
    made.start()
    try:
        for number in range(20):
            made.add_account(f"user{number}", f"password {number}")
        load(made, 600)  # threads, arenas and caches are there now
        samples, counted = [made.memory_kib()], 600
        end = time.monotonic() + SOAK
        while counted < BINDS or time.monotonic() < end:
            load(made, 400)
            counted += 400
            samples.append(made.memory_kib())
        print(f"\n{counted} rounds of binds, KiB: {samples}")
        assert samples[-1] - samples[0] < GROWTH
    finally:
        made.stop()


def load(made, rounds):
    """Right and wrong, known and unknown, and a change now and then."""
    def work(number):
        uid = f"user{number // 2 % 20}"
        password = uid.replace("user", "password ")
        good = made.bind(uid, password)
        bad = made.bind(uid if number % 2 else f"nobody{number}", "guess")
        if number % 25 == 0:
            exop(made.connect(), "user0", None, "password 0")
        return good is None and isinstance(bad, ldap.INVALID_CREDENTIALS)

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(work, range(rounds)))
