"""Two nodes, each with a provider and a KDC: what one is told the other knows."""

import concurrent.futures
import os
import statistics
import subprocess
import time

import ldap
import pytest

from directory import wait_until
from overlaid import Overlaid, exop, person_dn
from realm import BUILD, REALM, Realm, in_step
from replicad import Replicad

LIMIT = 12
GUESSES = 200
BY_TICKET = 60  # of them
ROUNDS = 10
NO_PREAUTH = "126"  # so that anybody is told the version of the keys
WITHIN = 5  # s; what it should take is a matter of the figures


def options_of(folder, number):
    return {"lockout": folder / f"lockout{number}", "lockout-limit": LIMIT,
            "lockout-window": 3600, "memory": 0}


class Nodes:
    """Providers and KDCs, the first and the second."""

    def __init__(self, folder):
        self.folder = folder
        self.directories = []
        self.realm = Realm(folder, self.make_first, options={
            "lockout": folder / "lockout1", "lockout_limit": LIMIT,
            "lockout_window": 3600, "modify_passwords": "no"})
        try:
            self.kdcs = [self.realm.kdc, self.make_second()]
        except BaseException:
            self.realm.stop()
            raise

    def make_first(self, realm):
        conf = realm.folder / "slapd-krb5.conf"
        conf.write_text(f"[libdefaults]\n\tdefault_realm = {REALM}\n"
                        "\tplugin_dir =\n")
        for number in (1, 2):
            made = Overlaid(realm.folder / f"ldap{number}", 22 + number,
                            (realm.master_key, conf),
                            options=options_of(realm.folder, number))
            made.sid, made.debug = number, "stats2"
            self.directories.append(made)
        self.directories[0].peers = [self.directories[1]]
        self.directories[1].peers = [self.directories[0]]
        return self.directories[0]

    def make_second(self):
        second = self.directories[1]
        replicad = Replicad(self.folder / "replica2", [second])
        replicad.conf.write_text(replicad.conf.read_text() + "keys = yes\n")
        self.realm.running.append(replicad)
        replicad.start()
        return self.realm.make_kdc("kdc2", replicad, last=62, options={
            "lockout": self.folder / "lockout2", "lockout_limit": LIMIT,
            "lockout_window": 3600, "uris": second.url,
            "modify_passwords": "no"}).start()

    def settle(self):
        first, second = self.directories
        wait_until(lambda: first.csns() == second.csns(), what="the same")
        for each, kdc in zip(self.directories, self.kdcs):
            csns = each.csns()
            wait_until(lambda c=csns, k=kdc: in_step(k.replicad, c),
                       what="replicas in step")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    made = Nodes(tmp_path_factory.mktemp("nodes"))
    try:
        yield made
    finally:
        made.realm.stop()


def verified(nodes, uid):
    """Guesses that were looked at, by node: binds and tickets."""
    dn = person_dn(uid)
    return [sum(f'dn="{dn}"' in line or f"dn={dn} " in line
                for line in directory.log_text().splitlines()
                if "event=derived" in line and "to be compared" in line)
            + sum(dn in line for line in kdc.events("wrong_password"))
            for directory, kdc in zip(nodes.directories, nodes.kdcs)]


def test_guesses_at_all_doors_of_two_nodes(nodes):
    """Never more than the limit at each, however mixed and however many."""
    uid = "guessed"
    nodes.directories[0].add_account(uid, "password")
    nodes.settle()
    clients = [nodes.realm.client(kdc) for kdc in nodes.kdcs
               for _ in range(BY_TICKET // 2)]

    def guess(number):
        if number % 3 == 0 and number // 3 < BY_TICKET:
            return clients[number // 3].kinit(uid, f"guess {number}") != ""
        return isinstance(
            nodes.directories[number % 2].bind(uid, f"guess {number}"),
            ldap.INVALID_CREDENTIALS)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert all(pool.map(guess, range(GUESSES)))
    counts = verified(nodes, uid)
    assert max(counts) <= LIMIT, counts
    # Nobody was locked before some were: else this proves nothing.
    assert sum(counts) >= LIMIT, counts
    wait_until(lambda: all("postcellLocked" in each.entry(uid)
                           for each in nodes.directories), what="the lock")
    nodes.settle()
    for directory, kdc in zip(nodes.directories, nodes.kdcs):
        assert directory.bind(uid, "password") is not None
        assert nodes.realm.client(kdc).kinit(uid, "password") != ""
    assert verified(nodes, uid) == counts


def await_newest(kdc, uid, kvno):
    return subprocess.Popen(
        [BUILD / "tests/bench/asreq", "newest", kdc.address, str(kdc.port),
         REALM, uid, str(kvno)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "KRB5_CONFIG": str(kdc.conf)})


@pytest.mark.parametrize("sender, receiver", [(0, 1), (1, 0)])
def test_a_new_password_works_at_the_other_kdc(nodes, sender, receiver):
    """From the answer of one provider to a ticket of the other node's KDC."""
    directory, kdc = nodes.directories[sender], nodes.kdcs[receiver]
    admin, times = directory.connect(), []
    for number in range(ROUNDS):
        uid = f"moved{sender}{number}"
        directory.add_account(uid, "the old one", objectClass=[
            "inetOrgPerson", "postcellAccount", "postcellLogin"],
            krb5KDCFlags=NO_PREAUTH)
        nodes.settle()
        asking = await_newest(kdc, uid, 2)
        try:
            assert asking.stdout.readline() == "ready\n"
            exop(admin, uid, None, "the new one")
            changed = time.time()
            times.append(float(asking.communicate(timeout=30)[0]) - changed)
        finally:
            asking.kill()
            asking.wait()
        client = nodes.realm.client(kdc)
        assert client.kinit(uid, "the new one") == ""
        assert "Password incorrect" in client.kinit(uid, "the old one")
    print(f"\nat the other node after {statistics.median(times) * 1000:.0f}"
          f" ms, at most {max(times) * 1000:.0f}")
    assert max(times) < WITHIN
