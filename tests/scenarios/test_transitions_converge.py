"""Two hands write one server's transitions at two providers at one moment.

Placement may rely on that: whatever is added and deleted, both providers, and
a replica of each, end with the same values, with all of them, and go on.
"""

import threading
import time

import ldap
import pytest

from directory import SUFFIX, Directory, base_ldif, wait_until
from replicad import Replicad

SERVER = f"cn=mbox1,ou=servers,{SUFFIX}"
OTHER = f"cn=mbox2,ou=servers,{SUFFIX}"
ROUNDS = 12
OFFSETS = (0, 0.0005, 0.001, 0.002)  # s, between the two writes
MANNERS = ("different", "same", "both delete", "one deletes")


@pytest.fixture
def pair(tmp_path):
    """Connections to two providers, and a replica of each."""
    made = [Directory(tmp_path / f"d{sid}", f"127.0.10.{100 + sid}", 10390 + sid,
                      sid) for sid in (1, 2)]
    replicas = [Replicad(tmp_path / f"r{each.sid}", [each]) for each in made]
    made[0].peers, made[1].peers = [made[1]], [made[0]]
    ldif = base_ldif()
    try:
        for each in made:
            each.load(ldif)
        connections = [each.start().connect() for each in made]
        yield connections, [each.start() for each in replicas]
    finally:
        for each in (*replicas, *made):
            each.stop()


def value(number, state):
    return f"2026010203{number // 60:02}{number % 60:02}.000000Z 0 {state} 100"


def values(connection, dn=SERVER):
    found = connection.search_s(dn, ldap.SCOPE_BASE,
                                attrlist=["postcellTransition"])
    return {text.decode()
            for text in found[0][1].get("postcellTransition", [])}


def change(connection, added, deleted=(), dn=SERVER):
    connection.modify_s(dn, [
        (kind, "postcellTransition", [text.encode() for text in texts])
        for kind, texts in ((ldap.MOD_ADD, added), (ldap.MOD_DELETE, deleted))
        if texts])


def at_once(pair, changes, offset):
    """Makes both changes; the later of two may find its work done."""

    def make(connection, texts, delay):
        time.sleep(delay)
        try:
            change(connection, *texts)
        except ldap.TYPE_OR_VALUE_EXISTS:
            assert changes[0] == changes[1]
        except ldap.NO_SUCH_ATTRIBUTE:
            # The other one has pruned already: as a decider does, add alone.
            change(connection, texts[0])

    threads = [threading.Thread(target=make, args=each)
               for each in zip(pair, changes, (0, offset))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("manner", MANNERS)
def test_all_end_with_all_values(pair, manner):
    pair, replicas = pair
    stand = {value(0, "up")}
    change(pair[0], stand)
    wait_until(lambda: values(pair[1]) == stand)
    for number in range(1, ROUNDS + 1):
        first = [value(number, "failed")]
        second = first if manner == "same" else [value(number, "up")]
        oldest = [min(stand)] if "delete" in manner else []
        changes = [(first, oldest),
                   (second, oldest if manner != "one deletes" else [])]
        stand = (stand | {*first, *second}) - {*oldest}
        at_once(pair, changes, OFFSETS[number % len(OFFSETS)])
        wait_until(lambda s=stand: values(pair[0]) == s == values(pair[1]),
                   what=f"{sorted(stand)} at both")
        for replica in replicas:
            wait_until(lambda r=replica, s=stand:
                       set(r.host("mbox1")["transition"]) == s,
                       what=f"{sorted(stand)} in both replicas")
        # The stream goes on behind a conflict.
        for sender, receiver in (pair, pair[::-1]):
            mark = value(number, "drain" if sender is pair[0] else "down")
            change(sender, [mark], dn=OTHER)
            wait_until(lambda r=receiver, m=mark: m in values(r, OTHER),
                       what="a later change at the other provider")
