"""One account's password changed at two providers at one moment, with the
overlay: one of the two wins, the same one at both, and nothing is lost."""

import concurrent.futures
import threading
import time

import ldap
import pytest

from directory import base_ldif, wait_until
from overlaid import (Overlaid, exop, make_master_key, person_dn, replace,
                      salted)

ROUNDS = 100
OFFSETS = (0, 0.0005, 0.001, 0.002, 0.005)  # s, between the two changes
WITHIN = 5  # s, until both are the same


# With a policy there are replaced attributes in each write besides.
POLICIES = {"alone": None, "beside ppolicy": {"pwdInHistory": 3}}


@pytest.fixture(params=POLICIES)
def pair(tmp_path, request):
    keys = make_master_key(tmp_path)
    made = [Overlaid(tmp_path / f"d{sid}", sid, keys,
                     policy=POLICIES[request.param]) for sid in (1, 2)]
    made[0].peers, made[1].peers = [made[1]], [made[0]]
    ldif = base_ldif()
    try:
        for each in made:
            each.load(ldif)
        for each in made:
            each.start()
        # Each follows the other before anything is asked of both.
        for sender, receiver in (made, made[::-1]):
            uid = f"first{sender.sid}"
            sender.add_account(uid, "the first")
            wait_until(lambda r=receiver, u=uid: exists(r, u), 20,
                       f"{uid} at the other")
        yield made
    finally:
        for each in made:
            each.stop()


def state(provider, connection, uid):
    """What a login depends on: keys, versions, and the text for history."""
    found = connection.search_s(person_dn(uid), ldap.SCOPE_BASE, attrlist=[
        "postcellKeys", "userPassword", "objectClass"])[0][1]
    return {name: sorted(values) for name, values in found.items()}


def same(pair, connections, uid, count):
    states = [state(provider, connection, uid)
              for provider, connection in zip(pair, connections)]
    return states[0] == states[1] and len(
        states[0]["postcellKeys"]) == count and states[0]


def change_at_once(connections, uid, passwords, offset, doors):
    """Both have to be taken: neither provider knows of the other's."""
    barrier = threading.Barrier(2)

    def change(number):
        barrier.wait()
        time.sleep(offset * number)
        if doors[number] == "exop":
            exop(connections[number], uid, None, passwords[number])
        else:
            replace(connections[number], uid, passwords[number])

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(change, (0, 1)))


def test_one_winner_and_the_same_at_both(pair):
    writers = [each.connect() for each in pair]
    readers = [each.connect() for each in pair]
    winners = {0: 0, 1: 0}
    rounds = ROUNDS if pair[0].policy is None else ROUNDS // 4
    for number in range(rounds):
        # Some accounts are young, others have a past.
        uid = f"user{number // 5}"
        if number % 5 == 0:
            pair[0].add_account(uid, "the first")
            wait_until(lambda: pair[1].sets(uid) if exists(pair[1], uid)
                       else None, what=f"{uid} at the other")
        before = len(pair[0].sets(uid))
        passwords = [f"round {number} at {each}" for each in (1, 2)]
        doors = [("exop", "replace")[(number >> bit) & 1] for bit in (0, 1)]
        change_at_once(writers, uid, passwords, OFFSETS[number % 5], doors)
        end = time.monotonic() + WITHIN
        agreed = wait_until(
            lambda u=uid, n=before + 2: same(pair, readers, u, n), WITHIN,
            f"both the same in round {number}, {doors}: "
            f"{[state(p, r, uid) for p, r in zip(pair, readers)]}")
        assert time.monotonic() < end
        newest = max(agreed["postcellKeys"]).decode().split(" ")
        assert b"{K5KEY}" + newest[2].encode() in agreed["userPassword"]
        good = [[each.bind(uid, password) is None for password in passwords]
                for each in pair]
        assert good[0] == good[1] and sum(good[0]) == 1, (number, good)
        winners[good[0].index(True)] += 1
    assert sum(winners.values()) == rounds
    # Later changes find their way behind all that.
    for sender, receiver in (pair, pair[::-1]):
        exop(sender.connect(), "user0", None, f"at last {sender.sid}")
        wait_until(lambda r=receiver, s=sender:
                   r.bind("user0", f"at last {s.sid}") is None,
                   what="a later change at the other provider")


def test_first_binds_at_both(pair):
    """Each provider makes keys of the hash, and both keep to one of them."""
    readers = [each.connect() for each in pair]
    for number in range(20):
        uid = f"hashed{number}"
        pair[0].add_account(uid, salted("of old"))
        wait_until(lambda u=uid: exists(pair[1], u), what=f"{uid} at the other")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda each, u=uid: each.bind(u, "of old"),
                                    pair))
        assert answers == [None, None]
        agreed = wait_until(
            lambda u=uid: same(pair, readers, u, 1) or same(pair, readers, u, 2),
            WITHIN, f"both the same for {uid}")
        assert all(text.startswith(b"{K5KEY}")
                   for text in agreed["userPassword"])
        assert [each.bind(uid, "of old") for each in pair] == [None, None]
        assert all(each.bind(uid, "not it") for each in pair)


def exists(provider, uid):
    try:
        provider.entry(uid)
        return True
    except ldap.NO_SUCH_OBJECT:
        return False
