"""postcell-replicad on real slapds: what following a directory can go wrong in."""

import itertools
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import ldap
import pytest

from exposition import parse
from directory import (ACL, LIMITS, REPLICA, SUFFIX, Directory, base_ldif,
                       wait_until)
from replicad import REPLICAD, Replicad

PEOPLE = f"ou=people,{SUFFIX}"


class Ports:
    """Free ones, begun anywhere, so that two runs at once do not meet."""

    def __init__(self):
        self.order = itertools.cycle(
            random.sample(range(10000, 11000), 1000))

    def __next__(self):
        while True:
            port = next(self.order)
            with socket.socket() as probe:
                try:
                    probe.bind(("0.0.0.0", port))
                    return port
                except OSError:
                    continue


ports = Ports()


def person(uid):
    return f"uid={uid},{PEOPLE}"


@pytest.fixture
def house(tmp_path):
    """Makes directories and replicads, and ends them all."""

    class House:
        def __init__(self):
            self.running = []

        def directory(self, name="d1", sid=1, **options):
            made = Directory(tmp_path / name, f"127.0.10.{sid}", next(ports),
                             sid, **options)
            self.running.append(made)
            return made

        def single(self, people=20, **options):
            made = self.directory(**options)
            made.load(base_ldif(people, made.own_schema))
            return made.start()

        def pair(self, people=20):
            first, second = (self.directory("d1", 1), self.directory("d2", 2))
            first.peers, second.peers = [second], [first]
            ldif = base_ldif(people)
            for each in (first, second):
                each.load(ldif)
                each.start()
            return first, second

        def replicad(self, *providers, name="r", **options):
            made = Replicad(tmp_path / name, providers, options)
            self.running.append(made)
            return made

    made = House()
    try:
        yield made
    finally:
        for each in reversed(made.running):
            each.stop(signal.SIGTERM if isinstance(each, Replicad)
                      else signal.SIGKILL)
    # A daemon built with sanitizers tells its faults in its log.
    for each in made.running:
        if isinstance(each, Replicad):
            assert "Sanitizer" not in each.log(), each.log()
            assert "runtime error" not in each.log(), each.log()


def in_step(replicad, provider):
    """Waits until the replica has all that the provider has."""
    wanted = provider.csns()
    replicad.wait_for(lambda: replicad.status()["csn"].split() == wanted,
                      15, f"csn {wanted}")


def same(replicad, provider):
    """Compares accounts and their addresses with what LDAP says."""
    connection = provider.connect()
    found = connection.search_s(PEOPLE, 1, "(uid=*)", ["uid", "mail"])
    connection.unbind_s()
    theirs = {e["uid"][0].decode():
              sorted(v.decode() for v in e.get("mail", [])) for _, e in found}
    ours = {e["uid"][0]: sorted(e.get("address", []))
            for e in replicad.dump() if "uid" in e}
    return ours == theirs


# Following


def test_fills_itself_with_thousands(house):
    provider = house.single(6000)
    replicad = house.replicad(provider).start()
    status = replicad.status()
    assert status["complete"]
    assert status["accounts"] == 6000
    assert status["names"] == 12000
    assert (status["pools"], status["hosts"]) == (1, 3)
    assert same(replicad, provider)
    assert replicad.get("USER17")["address"] == ["user17@replica.test"]
    assert replicad.get(" User17@Replica.TEST ")["uid"] == ["user17"]
    assert replicad.get_code("nobody") == 1
    assert replicad.host("mbox2")["service"] == \
        ["imap://127.0.10.9:1243?tls=none"]


def test_follows_changes(house):
    provider = house.single()
    replicad = house.replicad(provider).start()
    provider.add_person("anna")
    replicad.wait_for(lambda: replicad.get("anna"), 2)
    provider.modify(person("anna"), mail=["a@x.test", "b@x.test"])
    replicad.wait_for(lambda: replicad.get("b@x.test"), 2)
    assert replicad.get_code("anna@replica.test") == 1
    provider.rename(person("anna"), "uid=berta")
    replicad.wait_for(lambda: replicad.get("berta"), 2)
    assert replicad.get_code("anna") == 1
    assert replicad.get("a@x.test")["dn"] == person("berta")
    provider.delete(person("berta"))
    replicad.wait_for(lambda: replicad.get_code("berta") == 1, 2)
    assert replicad.get_code("a@x.test") == 1
    in_step(replicad, provider)
    assert replicad.status()["lag"] < 1


def test_an_account_that_loses_its_names_goes(house):
    provider = house.single()
    provider.add("cn=odd," + PEOPLE, objectClass="inetOrgPerson", cn="odd",
                 sn="odd", mail="odd@x.test")
    replicad = house.replicad(provider).start()
    assert replicad.get("odd@x.test")
    provider.modify("cn=odd," + PEOPLE, mail=None)
    replicad.wait_for(lambda: replicad.get_code("odd@x.test") == 1, 2)


def test_generation_counts_the_cell_and_nothing_else(house):
    provider = house.single()
    replicad = house.replicad(provider).start()
    before = replicad.status()["cell_generation"]
    provider.add_person("anna")
    replicad.wait_for(lambda: replicad.get("anna"), 2)
    assert replicad.status()["cell_generation"] == before
    provider.modify(f"cn=mbox1,ou=servers,{SUFFIX}", postcellState="down")
    replicad.wait_for(lambda: replicad.host("mbox1")["state"] == "down", 2)
    assert replicad.status()["cell_generation"] > before


def test_ambiguous_names(house):
    provider = house.single()
    replicad = house.replicad(provider).start()
    provider.add_person("anna", mail="shared@x.test")
    provider.add_person("berta", mail="SHARED@x.test")
    replicad.wait_for(lambda: replicad.get("berta"), 2)
    assert replicad.get_code("shared@x.test") == 65
    assert replicad.events("ambiguous_name")
    # The uid of one that is the address of another.
    provider.add_person("carla@x.test", mail="c@x.test")
    provider.add_person("dora", mail="carla@x.test")
    replicad.wait_for(lambda: replicad.get("dora"), 2)
    assert replicad.get_code("carla@x.test") == 65
    provider.delete(person("anna"), person("dora"))
    replicad.wait_for(lambda: replicad.get_code("anna") == 1, 2)
    replicad.wait_for(lambda: replicad.get_code("dora") == 1, 2)
    assert replicad.get("shared@x.test")["uid"] == ["berta"]
    assert replicad.get("carla@x.test")["address"] == ["c@x.test"]


def test_plain_directory_without_our_schema(house):
    provider = house.single(own_schema=False)
    replicad = house.replicad(provider).start()
    assert replicad.status()["accounts"] == 20
    provider.add_person("anna")
    replicad.wait_for(lambda: replicad.get("anna@replica.test"), 2)
    replicad.stop()
    provider.delete(person("anna"))
    replicad.start()
    assert replicad.get_code("anna") == 1


def test_account_filter(house):
    provider = house.single()
    provider.add_person("anna", title="boss")
    replicad = house.replicad(
        provider, account_filter="(&(uid=*)(title=boss))").start()
    assert replicad.status()["accounts"] == 1
    assert replicad.status()["hosts"] == 3
    provider.modify(person("user1"), title="boss")
    replicad.wait_for(lambda: replicad.get("user1"), 2)
    provider.modify(person("anna"), title="clerk")
    replicad.wait_for(lambda: replicad.get_code("anna") == 1, 2)


# Resuming


def change_much(provider):
    for i in range(5):
        provider.modify(person(f"user{i}"), mail=f"new{i}@replica.test")
    provider.delete(person("user10"), person("user11"))
    provider.add_person("anna")
    provider.rename(person("user12"), "uid=renamed")
    provider.modify(f"cn=mbox1,ou=servers,{SUFFIX}", postcellState="drain")


def test_resumes_after_restart_of_replicad(house):
    provider = house.single()
    replicad = house.replicad(provider).start()
    assert replicad.stop() == 0
    assert replicad.status()["state"].startswith("disconnected")
    change_much(provider)
    replicad.start()
    in_step(replicad, provider)
    assert same(replicad, provider)
    assert replicad.host("mbox1")["state"] == "drain"
    assert 'kind="from_cookie"' in replicad.events("refreshing")[-1]


def test_resumes_after_kill_of_replicad(house):
    provider = house.single()
    replicad = house.replicad(provider).start()
    provider.add_person("berta")
    replicad.wait_for(lambda: replicad.get("berta"), 2)
    replicad.kill()
    change_much(provider)
    replicad.start()
    assert same(replicad, provider)
    assert 'kind="from_cookie"' in replicad.events("refreshing")[-1]


def test_killed_while_it_fills_itself(house):
    provider = house.single(6000)
    replicad = house.replicad(provider).start(wait=None)
    wait_until(lambda: (replicad.status() or {"accounts": 0})["accounts"] > 0)
    replicad.kill()
    status = replicad.status()
    if not status["complete"]:
        assert replicad.get_code("user0") == 75
    replicad.start()
    assert replicad.status()["accounts"] == 6000
    assert same(replicad, provider)


def test_resumes_after_restart_of_provider(house):
    provider = house.single()
    replicad = house.replicad(provider).start()
    provider.stop()
    replicad.wait_state("disconnected")
    provider.start()
    change_much(provider)
    replicad.wait_state("connected")
    in_step(replicad, provider)
    assert same(replicad, provider)
    assert 'kind="from_cookie"' in replicad.events("refreshing")[-1]


def test_other_provider_with_the_cookie_of_the_first(house):
    first, second = house.pair()
    replicad = house.replicad(first, second).start()
    first.add_person("berta")
    second.add_person("carla")
    replicad.wait_for(lambda: replicad.get("berta") and replicad.get("carla"))
    wait_until(lambda: first.csns() == second.csns())
    in_step(replicad, first)
    first.stop()
    change_much(second)
    in_step(replicad, second)
    assert replicad.status()["source"] == second.url
    assert same(replicad, second)
    assert 'kind="from_cookie"' in replicad.events("refreshing")[-1]
    # And back, when the first has caught up.
    first.start()
    wait_until(lambda: first.csns() == second.csns())
    second.stop()
    first.add_person("dora")
    replicad.wait_for(lambda: replicad.get("dora"))
    assert same(replicad, first)
    assert 'kind="whole"' not in "".join(replicad.events("refreshing")[1:])


def test_changes_of_what_is_not_ours_move_the_cookie(house):
    first, second = house.pair()
    replicad = house.replicad(first, second).start()
    for each in (first, second):
        each.modify(REPLICA, description=each.url)
    wait_until(lambda: first.csns() == second.csns()
               and len(first.csns()) == 2)
    in_step(replicad, first)
    assert len(replicad.events("refreshing")) == 1


def test_burst_at_both_providers_and_a_kill(house):
    first, second = house.pair(200)
    replicad = house.replicad(first, second).start()
    connections = [first.connect(), second.connect()]
    for i in range(600):
        connections[i % 2].modify_s(
            person(f"user{i % 200}"),
            [(ldap.MOD_REPLACE, "mail", f"burst{i}@replica.test".encode())])
        if i in (200, 400):
            replicad.kill()
            replicad.start(wait=None)
        if i == 300:
            first.send(signal.SIGSTOP)
            connections[0] = connections[1]
    first.send(signal.SIGCONT)
    wait_until(lambda: first.csns() == second.csns(), 30)
    in_step(replicad, second)
    assert same(replicad, second)
    assert 'kind="whole"' not in "".join(replicad.events("refreshing")[1:])


# Failing over


def test_killed_provider(house):
    first, second = house.pair()
    replicad = house.replicad(first, second).start()
    first.kill()
    second.add_person("anna")
    replicad.wait_for(lambda: replicad.get("anna"), 3)
    assert replicad.status()["source"] == second.url


def test_silent_provider(house):
    first, second = house.pair()
    replicad = house.replicad(first, second).start()
    first.send(signal.SIGSTOP)
    stopped = time.monotonic()
    replicad.wait_for(lambda: replicad.status()["source"] == second.url, 5)
    assert time.monotonic() - stopped < 3
    assert "silent" in replicad.events("provider_lost")[-1]
    second.add_person("anna")
    replicad.wait_for(lambda: replicad.get("anna"), 3)
    # One that is silent from the start holds nobody up for long.
    second.kill()
    replicad.wait_state("disconnected")
    second.start()
    second.add_person("berta")
    replicad.wait_for(lambda: replicad.get("berta"), 10)


def test_directory_down_for_good(house):
    provider = house.single()
    replicad = house.replicad(provider).start()
    provider.stop()
    replicad.wait_state("disconnected")
    assert replicad.get("user1")
    replicad.stop()
    assert replicad.get("user1")
    replicad.start(wait="disconnected")
    assert replicad.get("user1@replica.test")
    assert replicad.host("mbox1")
    assert replicad.get_code("nobody") == 1
    provider.start()
    provider.add_person("anna")
    replicad.wait_for(lambda: replicad.get("anna"), 10)


def test_stale_after(house):
    provider = house.single()
    replicad = house.replicad(provider, stale_after=2).start()
    # In step and idle for longer than that: fresh all the same.
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert replicad.get("user1")
    provider.stop()
    replicad.wait_for(lambda: replicad.get_code("user1") == 75, 10)
    provider.start()
    replicad.wait_for(lambda: replicad.get("user1"), 10)


# What a provider may hide


def test_hidden_entry_csn(house):
    hidden = f"access to attrs=entryCSN by * none\n{ACL}"
    provider = house.single(acl=hidden)
    replicad = house.replicad(provider).start(wait="stopped")
    assert "entryCSN" in replicad.status()["state"]
    assert not replicad.status()["complete"]
    assert replicad.get_code("user1") == 75
    # Hidden later: nothing new comes, and that is said.
    provider.stop()
    provider.acl = ACL
    provider.start()
    replicad.process.send_signal(signal.SIGHUP)
    replicad.wait_state("connected")
    before = replicad.status()["csn"]
    provider.stop()
    replicad.wait_state("disconnected")
    provider.acl = hidden
    provider.start()
    provider.modify(person("user1"), mail="changed@replica.test")
    replicad.wait_state("stopped")
    assert "entryCSN" in replicad.status()["state"]
    assert replicad.status()["csn"] == before
    assert replicad.events("provider_stopped")
    provider.stop()
    provider.acl = ACL
    provider.start()
    replicad.process.send_signal(signal.SIGHUP)
    replicad.wait_for(lambda: replicad.get("changed@replica.test"))


def test_size_limit(house):
    provider = house.single(700, limits="")
    replicad = house.replicad(provider).start(wait="stopped")
    assert "size=unlimited" in replicad.status()["state"]
    assert not replicad.status()["complete"]
    provider.stop()
    provider.limits = LIMITS
    provider.start()
    replicad.process.send_signal(signal.SIGHUP)
    replicad.wait_state("connected")
    assert replicad.status()["accounts"] == 700
    # A limit that comes later prunes nothing.
    replicad.stop()
    provider.stop()
    provider.limits = "limits * size=100"
    provider.start()
    replicad.start("--reload", wait="stopped")
    assert replicad.status()["accounts"] == 700


def test_hidden_subtree_prunes_nothing(house):
    provider = house.single(30)
    replicad = house.replicad(provider).start()
    replicad.stop()
    provider.stop()
    provider.acl = (f'access to dn.subtree="{PEOPLE}" by * none\n{ACL}')
    provider.start()
    provider.modify(f"cn=mbox1,ou=servers,{SUFFIX}", postcellState="drain")
    replicad.start(wait="stopped")
    assert "prune_max" in replicad.status()["state"]
    assert replicad.status()["accounts"] == 30
    assert 'outcome="stopped"' in replicad.events("refreshed")[-1]
    # Pools and hosts are still followed.
    assert replicad.host("mbox1")["state"] == "drain"
    provider.modify(f"cn=mbox1,ou=servers,{SUFFIX}", postcellState="down")
    replicad.wait_for(lambda: replicad.host("mbox1")["state"] == "down", 3)
    provider.stop()
    provider.acl = ACL
    provider.start()
    provider.delete(person("user1"))
    replicad.process.send_signal(signal.SIGHUP)
    replicad.wait_state("connected")
    replicad.wait_for(lambda: replicad.status()["accounts"] == 29)
    assert same(replicad, provider)


def test_hidden_servers_are_not_dropped(house):
    provider = house.single()
    replicad = house.replicad(provider).start()
    replicad.stop()
    provider.stop()
    provider.acl = f'access to dn.subtree="ou=servers,{SUFFIX}" by * none\n{ACL}'
    provider.start()
    provider.add_person("anna")
    replicad.start(wait="stopped")
    assert replicad.status()["hosts"] == 3
    assert replicad.get("anna")


def test_prune_max_can_be_overruled(house):
    provider = house.single(30)
    replicad = house.replicad(provider).start()
    replicad.stop()
    provider.delete(*[person(f"user{i}") for i in range(20)])
    replicad.start(wait="stopped")
    assert replicad.status()["accounts"] == 30
    replicad.stop()
    replicad.start("--reload")
    assert replicad.status()["accounts"] == 10
    assert same(replicad, provider)


def test_no_syncprov_no_suffix_no_password(house, tmp_path):
    provider = house.single()
    replicad = house.replicad(provider, suffix="dc=nowhere").start(
        wait="stopped")
    assert "suffix" in replicad.status()["state"]
    replicad.stop()
    (tmp_path / "wrong").write_text("wrong\n")
    replicad.options.update(suffix=SUFFIX, password_file=str(tmp_path / "wrong"))
    replicad.write_conf()
    replicad.start(wait="disconnected: bind")
    assert "Invalid credentials" in replicad.status()["state"]


# Renames of what accounts lie below


def test_subtree_rename(house):
    provider = house.single()
    deep = f"ou=deep,{PEOPLE}"
    provider.add(deep, objectClass="organizationalUnit", ou="deep")
    provider.add_person("anna", parent=deep)
    replicad = house.replicad(provider).start()
    provider.rename(PEOPLE, "ou=folk")
    replicad.wait_for(lambda: replicad.get("user1")["dn"] ==
                      f"uid=user1,ou=folk,{SUFFIX}", 3)
    assert replicad.get("anna")["dn"] == f"uid=anna,ou=deep,ou=folk,{SUFFIX}"
    # While nobody looks.
    replicad.stop()
    provider.rename(f"ou=folk,{SUFFIX}", "ou=people")
    provider.rename(deep, "ou=deep", SUFFIX)
    replicad.start()
    assert replicad.get("user1")["dn"] == person("user1")
    assert replicad.get("anna")["dn"] == f"uid=anna,ou=deep,{SUFFIX}"
    provider.rename(f"uid=anna,ou=deep,{SUFFIX}", "uid=anna", PEOPLE)
    replicad.wait_for(
        lambda: replicad.get("anna")["dn"] == person("anna"), 3)


# Never backwards


def restored(provider, folder):
    """Takes it back to what it was when saved."""
    provider.stop()
    provider.restore(folder)
    provider.start()


@pytest.fixture
def aged(house, tmp_path):
    """A provider that was saved, went on, and its replica."""
    provider = house.single()
    replicad = house.replicad(provider).start()
    provider.add_person("before")
    provider.stop()
    provider.save(tmp_path / "saved")
    provider.start()
    provider.modify(person("user1"), mail="newer@replica.test")
    provider.add_person("after")
    provider.delete(person("user2"), person("before"))
    replicad.wait_state("connected")
    in_step(replicad, provider)
    return provider, replicad, tmp_path / "saved"


def test_restored_provider_takes_nothing_back(aged):
    provider, replicad, saved = aged
    restored(provider, saved)
    assert not same(replicad, provider)
    replicad.wait_for(lambda: any('outcome="provisional"' in line for line in
                                  replicad.events("refreshed")), 30)
    replicad.wait_state("connected")
    assert replicad.get("newer@replica.test")["uid"] == ["user1"]
    assert replicad.get("after")
    assert replicad.get_code("user2") == 1
    assert replicad.get_code("before") == 1
    # What it does from now on is followed, and once it is past what was seen
    # before, what it has lost is lost.
    provider.add_person("later")
    replicad.wait_for(lambda: replicad.get("later"), 5)
    replicad.wait_for(lambda: same(replicad, provider), 10)
    assert replicad.get_code("after") == 1
    assert replicad.get("user2") and replicad.get("before")
    in_step(replicad, provider)


def test_restored_provider_after_restart(aged):
    provider, replicad, saved = aged
    replicad.stop()
    restored(provider, saved)
    replicad.start(wait=None)
    replicad.wait_for(lambda: any('outcome="provisional"' in line for line in
                                  replicad.events("refreshed")), 30)
    replicad.wait_state("connected")
    assert replicad.get("newer@replica.test")
    assert replicad.get("after") and replicad.get_code("user2") == 1
    # It stays so after another restart.
    replicad.stop()
    replicad.start()
    assert replicad.get("after") and replicad.get_code("user2") == 1


def test_restored_provider_is_left_for_the_other(house, tmp_path):
    first, second = house.pair()
    replicad = house.replicad(first, second).start()
    first.stop()
    first.save(tmp_path / "saved")
    second.add_person("anna")
    second.delete(person("user1"))
    in_step(replicad, second)
    # The old copy does not follow the second one: it would catch up.
    first.peers = []
    replicad.stop()
    first.restore(tmp_path / "saved")
    first.start()
    replicad.start(wait=None)
    replicad.wait_for(lambda: replicad.status()["source"] == second.url
                      and replicad.status()["state"] == "connected", 20)
    assert replicad.events("provider_refused")
    assert replicad.get("anna") and replicad.get_code("user1") == 1
    assert 'kind="whole"' not in replicad.events("refreshing")[-1]


def test_entry_that_another_provider_knows_is_not_pruned(house):
    first, second = house.pair()
    replicad = house.replicad(first, second).start()
    # The second one is cut off; the first goes on and dies.
    second.stop()
    second.peers = []
    second.start()
    first.add_person("anna")
    first.modify(person("user1"), mail="newer@replica.test")
    in_step(replicad, first)
    first.kill()
    replicad.wait_for(lambda: any('outcome="provisional"' in line for line in
                                  replicad.events("refreshed")), 30)
    assert replicad.get("anna") and replicad.get("newer@replica.test")
    second.add_person("berta")
    replicad.wait_for(lambda: replicad.get("berta"), 5)
    assert replicad.get("anna")


# The database


def test_full_database(house):
    provider = house.single(6000)
    replicad = house.replicad(provider, map_size_max=1).start(wait="stopped")
    assert "MDB_MAP_FULL" in replicad.status()["state"]
    assert replicad.events("replica_full")
    replicad.stop()
    replicad.options["map_size_max"] = 64
    replicad.write_conf()
    replicad.start()
    assert same(replicad, provider)


def test_one_replicad_a_folder(house):
    provider = house.single()
    replicad = house.replicad(provider).start()
    done = subprocess.run([REPLICAD, "-c", replicad.conf], timeout=10,
                          capture_output=True, text=True)
    assert done.returncode == 73
    assert "another postcell-replicad" in done.stderr


# TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    for name in ("good", "other"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
             "/CN=localhost", "-addext", "subjectAltName=IP:127.0.10.1",
             "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"],
            check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
def test_tls(house, certificates, scheme):
    provider = house.directory(
        extra=f"TLSCertificateFile {certificates}/good.pem\n"
        f"TLSCertificateKeyFile {certificates}/good.key\n"
        "TLSVerifyClient never")
    provider.load(base_ldif(20))
    provider.tls_port = next(ports)
    provider.start()
    replicad = house.replicad(provider, tls="starttls",
                              ca_file=str(certificates / "good.pem"))
    if scheme == "ldaps":
        replicad.options["providers"] = [
            f"ldaps://{provider.address}:{provider.tls_port}"]
        replicad.write_conf()
    replicad.start()
    provider.add_person("anna")
    replicad.wait_for(lambda: replicad.get("anna"), 2)
    provider.send(signal.SIGSTOP)
    replicad.wait_state("disconnected", 5)
    provider.send(signal.SIGCONT)
    replicad.wait_state("connected", 10)
    replicad.stop()
    replicad.options["ca_file"] = str(certificates / "other.pem")
    replicad.write_conf()
    replicad.start(wait="disconnected: TLS")


# Other doors


def test_ldapi_external(house, tmp_path):
    path = tmp_path / "ldapi"
    provider = house.directory(
        extra=f'authz-regexp "gidNumber={os.getgid()}[+]uidNumber={os.getuid()}'
        f',cn=peercred,cn=external,cn=auth" "{REPLICA}"',
        acl=f'access to * by dn.exact="{REPLICA}" read by * none')
    url = "ldapi://" + str(path).replace("/", "%2F")
    provider.more_urls = [url]
    provider.load(base_ldif(20))
    provider.start()
    replicad = house.replicad(bind="external", providers=[url],
                              tls="starttls").start()
    assert replicad.status()["accounts"] == 20
    # Whom nothing is shown, is told so.
    replicad.stop()
    replicad.options.update(bind="simple", bind_dn="")
    replicad.write_conf()
    replicad.start(wait="stopped")
    assert replicad.status()["accounts"] == 20


def test_ipv6_and_names(house):
    provider = house.directory()
    port = next(ports)
    provider.more_urls = [f"ldap://[::1]:{port}", f"ldap://127.0.0.1:{port}"]
    provider.load(base_ldif(20))
    provider.start()
    for host in ("[::1]", "localhost"):
        replicad = house.replicad(
            name=f"r{len(host)}",
            providers=[f"ldap://no-such-host.invalid:{port}",
                       f"ldap://{host}:{port}"])
        replicad.start()
        assert replicad.status()["accounts"] == 20


# The process


def test_tells_systemd(house, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        provider = house.single()
        provider.stop()
        replicad = house.replicad(provider)
        replicad.environment = {"NOTIFY_SOCKET": path}
        replicad.start(wait="disconnected: connecting")
        # Not filled yet: not ready.
        notify.setblocking(False)
        with pytest.raises(BlockingIOError):
            notify.recv(100)
        notify.settimeout(10)
        provider.start()
        assert notify.recv(100) == b"READY=1"
        assert replicad.stop() == 0
        assert notify.recv(100) == b"STOPPING=1"
        # It has been filled: ready at once, directory or not.
        provider.stop()
        replicad.start(wait=None)
        assert notify.recv(100) == b"READY=1"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another")
def test_gives_up_root(house):
    provider = house.single()
    # The tests' own folder lies where only root may go.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="postcell-test-"))
    try:
        folder.chmod(0o755)
        replicad = house.replicad(provider, user="nobody",
                                  replica=str(folder / "replica"))
        replicad.path = folder / "replica"
        replicad.start()
        status = pathlib.Path(
            f"/proc/{replicad.process.pid}/status").read_text()
        nobody = pwd.getpwnam("nobody").pw_uid
        assert "Uid:" + f"\t{nobody}" * 4 in status
        assert (folder / "replica").stat().st_uid == nobody
        assert (folder / "replica").stat().st_mode & 0o007 == 0
        replicad.stop()
    finally:
        shutil.rmtree(folder)


# LDIF in place of a directory

LDIF = """version: 1
# a comment
 that goes on

dn: cn=main,ou=pools,o=x
objectClass: postcellPool
cn: main
postcellDefault: TRUE

dn: cn=mbox1,ou=servers,o=x
objectClass: postcellServer
cn: MBOX1
postcellService: imap://127.0.10.9:143
 ?tls=none

dn: uid=anna,o=x
objectClass: inetOrgPerson
uid: anna
mail:: w7ZAeC50ZXN0
mailHost: mbox1

dn: uid=berta,o=x
uid: berta
mail: berta@x.test
"""


@pytest.fixture
def accounts(house, tmp_path):
    path = tmp_path / "accounts.ldif"
    path.write_text(LDIF)
    replicad = house.replicad(source="ldif", ldif_file=str(path))
    return path, replicad.start()


def test_ldif(accounts):
    path, replicad = accounts
    assert replicad.get("anna")["address"] == ["ö@x.test"]
    assert replicad.get("anna")["pin"] == "mbox1"
    assert replicad.host("mbox1")["service"] == \
        ["imap://127.0.10.9:143?tls=none"]
    assert replicad.status()["source"] == str(path)
    identity = replicad.get("anna")["id"]
    # A change is noticed; an id stays what it was.
    path.write_text(LDIF + "\ndn: uid=carla,o=x\nuid: carla\n")
    replicad.wait_for(lambda: replicad.get("carla"), 6)
    assert replicad.get("anna")["id"] == identity
    # So is a file that takes its place.
    new = path.with_suffix(".new")
    new.write_text(LDIF.replace("uid: berta", "uid: dora"))
    new.replace(path)
    replicad.process.send_signal(signal.SIGHUP)
    replicad.wait_for(lambda: replicad.get("dora"), 6)
    assert replicad.get_code("berta") == 1
    assert replicad.get_code("carla") == 1


@pytest.mark.parametrize("text, line, why", [
    (LDIF + "\ndn: uid=x,o=x\nno colon here\n", 27, "ATTRIBUTE"),
    (LDIF.replace("w7ZAeC50ZXN0", "w7ZAeC50Z"), 19, "base64"),
    (LDIF + "\ndn: uid=x,o=x\nchangetype: modify\n", 27, "changes"),
    (LDIF + "\ndn: uid=x,o=x\njpegPhoto:< file:///etc/passwd\n", 27, "URL"),
    (LDIF + "\nuid: x\n", 26, "dn:"),
    (LDIF.replace("version: 1", "version: 2"), 1, "version"),
], ids=["colon", "base64", "change", "url", "dn", "version"])
def test_bad_ldif_changes_nothing(accounts, text, line, why):
    path, replicad = accounts
    path.write_text(text)
    replicad.process.send_signal(signal.SIGHUP)
    status = replicad.wait_state("stopped")
    assert f"{path}:{line}: " in status["state"]
    assert why in status["state"]
    assert replicad.get("anna") and replicad.get("berta")
    assert replicad.host("mbox1")
    check = subprocess.run([REPLICAD, "-n", "-c", replicad.conf],
                           capture_output=True, text=True)
    assert check.returncode == 65
    assert f"{path}:{line}: " in check.stderr
    path.write_text(LDIF)
    replicad.wait_state("connected")


def test_cut_or_missing_ldif_drops_nothing(accounts):
    path, replicad = accounts
    path.write_text(LDIF[:LDIF.index("dn: uid=anna")])
    replicad.process.send_signal(signal.SIGHUP)
    replicad.wait_state("stopped")
    assert replicad.get("anna") and replicad.get("berta")
    path.unlink()
    replicad.process.send_signal(signal.SIGHUP)
    replicad.wait_for(lambda: "No such file" in replicad.status()["state"])
    replicad.stop()
    replicad.start(wait="stopped")
    assert replicad.get("anna") and replicad.get("berta")


def test_ldif_after_ldap(house, tmp_path):
    """The other source is the truth, however much that drops."""
    provider = house.single()
    replicad = house.replicad(provider).start()
    replicad.stop()
    path = tmp_path / "accounts.ldif"
    path.write_text(LDIF)
    replicad.options.update(source="ldif", ldif_file=str(path))
    replicad.write_conf()
    replicad.start()
    assert replicad.status()["accounts"] == 2
    replicad.stop()
    replicad.options["source"] = "ldap"
    replicad.write_conf()
    replicad.start()
    assert same(replicad, provider)


# The command line


@pytest.mark.parametrize("text, line, why", [
    ("replica = \"/r\"\nsource = lda\n", 2, "source"),
    ("prune_max = 101\n", 1, "prune_max"),
    ("\n\nno_such_option = 1\n", 3, "no_such_option"),
])
def test_bad_configuration(tmp_path, text, line, why):
    path = tmp_path / "replicad.conf"
    path.write_text(text)
    done = subprocess.run([REPLICAD, "-n", "-c", path], capture_output=True,
                          text=True, timeout=10)
    assert done.returncode == 78
    assert done.stderr.startswith(f"{path}:{line}: ")
    assert why in done.stderr


def test_usage():
    for option in ("--help", "--version"):
        done = subprocess.run([REPLICAD, option], capture_output=True,
                              text=True, timeout=10)
        assert done.returncode == 0 and "postcell-replicad" in done.stdout
    done = subprocess.run([REPLICAD, "--nonsense"], capture_output=True,
                          text=True, timeout=10)
    assert done.returncode == 64


def test_metrics(house):
    """Whom it follows, how far, and what it holds; while the directory is down,
    too."""
    port = next(ports)
    directory = house.directory()
    directory.load(base_ldif(3))
    directory.start()
    replicad = house.replicad(directory)
    with open(replicad.conf, "a") as conf:
        conf.write(f'metrics {{ address = "127.0.10.250"\nport = {port}\n'
                   "stale_time = 10 }\n")
    replicad.start()

    def metrics():
        with urllib.request.urlopen(
                f"http://127.0.10.250:{port}/metrics", timeout=10) as answer:
            return {key: number for family in parse(
                answer.read().decode()).values()
                for key, number in family.samples.items()}

    directory.modify(person("user1"), description="changed")
    changed = time.time()
    csn = ("postcell_replica_csn_timestamp_seconds", (("sid", "001"),))
    wait_until(lambda: abs(metrics()[csn] - changed) < 5, what="CSN")
    found = metrics()
    assert found["postcell_replica_source_info",
                 (("source", directory.url),)] == 1
    assert found["postcell_replica_accounts", ()] == 3
    assert found["postcell_replica_connected", ()] == 1
    assert 0 <= found["postcell_replica_lag_seconds", ()] < 60
    directory.stop()
    wait_until(lambda: metrics()["postcell_replica_connected", ()] == 0,
               what="loss of the directory")
    assert metrics()["postcell_replica_accounts", ()] == 3
    with pytest.raises(urllib.error.HTTPError, match="503"):
        wait_until(lambda: urllib.request.urlopen(
            f"http://127.0.10.250:{port}/healthz", timeout=10).status != 200,
            30, "illness")
