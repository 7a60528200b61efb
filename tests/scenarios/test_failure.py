"""Servers and proxies that die, fall silent and come back, on a real cell.

What is promised is measured from the moment of the fault to what the directory
says, or to what a user sees. Nothing is proved by waiting: where nothing may
happen, the deciders' own word that they held back is waited for.
"""

import concurrent.futures
import contextlib
import os
import signal
import time

import ldap
import pytest

import daemons
import imap
import slapd
from cell import Cell
from layout import (ADMIN_DN, DAEMONS, DECIDERS, OBSERVERS, PEOPLE, PROXIES,
                    SERVERS, SUFFIX)
from process import wait_until

NET = os.environ.get("CELL_FAILURE_NET", "127.0.36")
RETURN_AFTER = 3  # s, instead of the 300 of a real cell
# s from the fault until `failed` is written. A machine that is busy with
# something else gets some more.
SLACK = float(os.environ.get("CELL_SLACK", "1"))
REFUSED = 2.0 + SLACK
SILENT = 4.0 + SLACK
LOGIN = 3.0 + SLACK  # s until a killed server's user is in elsewhere
SETTLES = 40  # s until all is as before
DECIDED = "event=decided "
HELD = "event=decision_held "

KINDS = {"server": "servers", "proxy": "proxies", "host": "hosts"}


class Failing:
    """A cell, and a look into its directory."""

    def __init__(self, cell, moves):
        self.cell = cell
        self.moves = moves
        self.directory = self.connect(cell.layout.ldap_uris[0])
        lines = cell.layout.users.read_text(encoding="utf-8").splitlines()
        self.people = [tuple(line.split("\t")) for line in lines]

    def connect(self, uri, dn=ADMIN_DN, name="admin"):
        return slapd.connect(uri, self.cell.layout.ca, dn,
                             self.cell.settings[f"{name}_password"])

    def values(self, name, attribute, kind="server", directory=None):
        found = (directory or self.directory).search_s(
            dn_of(name, kind), ldap.SCOPE_BASE, attrlist=[attribute])
        return sorted(value.decode()
                      for value in found[0][1].get(attribute, []))

    def newest(self, name, kind="server", directory=None):
        """(ramp, state, weight) of the newest transition, or three Nones."""
        values = self.values(name, "postcellTransition", kind, directory)
        return tuple(values[-1].split()[1:]) if values else (None,) * 3

    def state(self, name, kind="server", directory=None):
        return self.newest(name, kind, directory)[1]

    def votes(self):
        return [vote for name in (*PROXIES, *OBSERVERS)
                for vote in self.values(name, "postcellVote", "proxy")]

    def is_calm(self):
        """Everything is up, all observers say so, and nothing else."""
        return (not self.votes()
                and all(self.values(name, "postcellAlive", "proxy")
                        for name in (*PROXIES, *OBSERVERS))
                and all(self.state(name) == "up" for name in SERVERS)
                and all(self.state(name, "proxy") == "up" for name in PROXIES))

    def log(self, name):
        path = self.cell.layout.log / f"{name}.log"
        return path.read_text(errors="replace").splitlines()

    def said(self, event, since=None):
        """Lines of the deciders' logs with that word in them."""
        return [line for name in DECIDERS
                for line in self.log(name)[(since or {}).get(name, 0):]
                if event in line]

    def mark(self):
        return {name: len(self.log(name)) for name in DECIDERS}

    def signal(self, name, number):
        self.cell.processes.signal(name, number)

    def login(self, proxy, person):
        """The server that serves this person."""
        session = self.cell.login(self.cell.layout.addresses[proxy], *person)
        try:
            return session.served_by()
        finally:
            session.logout()

    def places(self):
        """Who serves whom now, seen through a proxy."""
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            return dict(zip(self.people, pool.map(
                lambda person: self.login("proxy1", person), self.people)))


def dn_of(name, kind="server"):
    return f"cn={name},ou={KINDS[kind]},{SUFFIX}"


@pytest.fixture(scope="module")
def failing(build):
    cell = Cell(build / "failure", net=NET, build=build)
    cell.stop()
    before = daemons.RETURN_AFTER, daemons.ON_MOVE
    daemons.RETURN_AFTER, daemons.ON_MOVE = RETURN_AFTER, "on_move"
    try:
        cell.start()
        yield Failing(cell, write_hook(cell.layout.run))
    finally:
        daemons.RETURN_AFTER, daemons.ON_MOVE = before
        cell.stop()


def write_hook(run):
    """A program that deciders, whoever they run as, leave its words in."""
    moves = run / "moves"
    moves.touch()
    moves.chmod(0o666)
    hook = run / "on_move"
    hook.write_text(f'#!/bin/sh\necho "$*" >> {moves}\n')
    hook.chmod(0o755)
    return moves


@pytest.fixture(autouse=True)
def calm(failing):
    """Begins and ends with a cell in which all is well."""
    assert wait_until(failing.is_calm, SETTLES, 0.1)
    yield
    for name in SERVERS:
        failing.signal(name, signal.SIGCONT)
    failing.cell.layout.mail.chmod(0o700)
    for server in failing.cell.servers():
        failing.cell.start_server(server.name)
    assert wait_until(failing.is_calm, SETTLES, 0.1)


def takes(condition, seconds):
    """s until it holds; fails when that takes longer."""
    start = time.monotonic()
    assert wait_until(condition, seconds, 0.005), \
        f"not within {seconds} s: {condition}"
    return time.monotonic() - start


@contextlib.contextmanager
def out_of_order(failing, name):
    """Killed, for the time of the block; then it comes back."""
    failing.signal(name, signal.SIGKILL)
    try:
        yield
    finally:
        assert wait_until(
            lambda: not failing.cell.processes.members(name), 5)
        failing.cell.start_server(name)


# -- who says what -----------------------------------------------------------


def test_observers_are_alive_and_say_nothing(failing):
    for name in (*PROXIES, *OBSERVERS):
        first = failing.values(name, "postcellAlive", "proxy")
        assert first
        assert wait_until(lambda: failing.values(
            name, "postcellAlive", "proxy") != first, 7)
    assert failing.votes() == []


def test_every_host_has_a_base(failing):
    for name in SERVERS:
        assert failing.values(name, "postcellTransition")[0].endswith(
            " up 100")
    for name in ("ldap1", "ldap2", "dns1"):
        assert failing.state(name, "host") == "up"


def test_who_may_write_what(failing):
    uri = failing.cell.layout.ldap_uris[0]
    vote = (ldap.MOD_ADD, "postcellVote", b"nobody down")
    value = b"20260101000000.000000Z 0 failed 100"
    transition = (ldap.MOD_ADD, "postcellTransition", value)
    wish = (ldap.MOD_REPLACE, "postcellState", b"down")
    cases = [
        ("proxy1", dn_of("proxy1", "proxy"), vote, True),
        ("proxy1", dn_of("proxy2", "proxy"), vote, False),
        ("proxy1", dn_of("mbox1"), transition, False),
        ("proxy1", dn_of("proxy1", "proxy"), transition, False),
        ("proxy1", dn_of("proxy1", "proxy"), wish, False),
        ("replica", dn_of("proxy1", "proxy"), vote, False),
        ("mbox1", dn_of("mbox1"), transition, False),
        ("decider1", dn_of("proxy1", "proxy"), vote, False),
        ("decider1", dn_of("mbox1"), wish, False),
        ("decider1", f"uid=anna,{PEOPLE}",
         (ldap.MOD_REPLACE, "sn", b"x"), False),
        ("decider1", dn_of("mbox1"), transition, True),
        ("decider1", dn_of("mbox1"),
         (ldap.MOD_DELETE, "postcellTransition", value), True),
        ("decider2", dn_of("dns1", "host"),
         (ldap.MOD_DELETE, "postcellTransition", value), None),
    ]
    for identity, dn, change, allowed in cases:
        connection = failing.connect(uri, f"cn={identity},{DAEMONS}", identity)
        try:
            connection.modify_s(dn, [change])
            done = True
        except ldap.INSUFFICIENT_ACCESS:
            done = False
        except ldap.NO_SUCH_ATTRIBUTE:
            done = None
        assert done == allowed, (identity, dn, change)


# -- servers -----------------------------------------------------------------


def test_users_of_a_killed_server_are_in_elsewhere_at_once(failing):
    places = failing.places()
    victim = "mbox2"
    lost = [person for person in places if places[person] == victim]
    assert lost
    mark = failing.mark()
    with out_of_order(failing, victim):
        start = time.monotonic()
        seconds = takes(lambda: failing.state(victim) == "failed", REFUSED)
        print(f"killed: failed after {seconds:.2f} s")
        for proxy in PROXIES:
            assert wait_until(lambda: attempt(failing, proxy, lost[0]),
                              start + LOGIN - time.monotonic()), proxy
        print(f"killed: logged in after {time.monotonic() - start:.2f} s")
        now = failing.places()
        assert victim not in now.values()
        assert [person for person in places if places[person] != victim
                and now[person] != places[person]] == []
        decided = [line for line in failing.said(DECIDED, mark)
                   if victim in line]
        assert len(decided) == 1, "the second decider leaves it to the first"
        assert "votes=2" in decided[0] or "votes=3" in decided[0]
        assert wait_until(lambda: f"server {victim} failed 100 failed\n"
                          in failing.moves.read_text(), 5)
    # It is back after three good probes and the time that the cell waits.
    assert wait_until(lambda: failing.state(victim) == "up", SETTLES, 0.05)
    assert failing.newest(victim) == ("60", "up", "100")


def attempt(failing, proxy, person):
    try:
        return failing.login(proxy, person)
    except (OSError, imap.Imap.error):
        return None


def test_a_server_that_falls_silent_fails(failing):
    victim = "mbox3"
    failing.signal(victim, signal.SIGSTOP)
    seconds = takes(lambda: failing.state(victim) == "failed", SILENT)
    print(f"stopped: failed after {seconds:.2f} s")
    stopped = time.monotonic()
    failing.signal(victim, signal.SIGCONT)
    assert wait_until(lambda: failing.state(victim) == "up", SETTLES, 0.05)
    print(f"continued: up after {time.monotonic() - stopped:.2f} s")


def test_what_strikes_all_moves_nobody(failing):
    """Each of them is up and greets, but nobody gets at the mail store."""
    mark = failing.mark()
    failing.cell.layout.mail.chmod(0o000)
    for name in SERVERS:
        assert wait_until(lambda: any(
            f'name="{name}"' in line for line in failing.said(HELD, mark)),
            SILENT + 4), name
    failing.cell.layout.mail.chmod(0o700)
    assert wait_until(failing.is_calm, SETTLES, 0.1)
    assert failing.said(DECIDED, mark) == []


def test_all_that_fall_silent_at_once_move_nobody(failing):
    mark = failing.mark()
    for name in SERVERS:
        failing.signal(name, signal.SIGSTOP)
    for name in SERVERS:
        assert wait_until(lambda: any(
            f'name="{name}"' in line for line in failing.said(HELD, mark)),
            SILENT + 4), name
    for name in SERVERS:
        failing.signal(name, signal.SIGCONT)
    assert wait_until(failing.is_calm, SETTLES, 0.1)
    assert failing.said(DECIDED, mark) == []


def test_one_observer_less_is_still_a_majority(failing):
    failing.signal("observer1", signal.SIGKILL)
    assert wait_until(lambda: not failing.cell.processes.members("observer1"),
                      5)
    with out_of_order(failing, "mbox1"):
        takes(lambda: failing.state("mbox1") == "failed", REFUSED)


def test_the_second_decider_decides_without_the_first(failing):
    failing.signal("replica1", signal.SIGSTOP)
    try:
        with out_of_order(failing, "mbox2"):
            seconds = takes(lambda: failing.state("mbox2") == "failed",
                            REFUSED + daemons.DECIDER_DELAY / 1000)
            print(f"killed, second decider: failed after {seconds:.2f} s")
    finally:
        failing.signal("replica1", signal.SIGCONT)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP],
                         ids=["killed", "silent"])
def test_a_server_fails_while_a_directory_server_does(failing, number):
    other = failing.connect(failing.cell.layout.ldap_uris[1])
    failing.signal("ldap1", number)
    try:
        failing.signal("mbox2", signal.SIGKILL)
        seconds = takes(
            lambda: failing.state("mbox2", directory=other) == "failed",
            10 + SLACK)
        print(f"with ldap1 {number.name}: failed after {seconds:.2f} s")
    finally:
        failing.signal("ldap1", signal.SIGCONT)
        failing.cell.start_server("ldap1")
        failing.directory = failing.connect(failing.cell.layout.ldap_uris[0])
    assert wait_until(lambda: failing.values("mbox2", "postcellTransition")
                      == failing.values("mbox2", "postcellTransition",
                                        directory=other), SETTLES, 0.1)


def test_a_raw_edit_of_the_wish_is_completed(failing):
    failing.directory.modify_s(dn_of("mbox3"), [
        (ldap.MOD_REPLACE, "postcellWeight", b"50")])
    seconds = takes(lambda: failing.newest("mbox3") == ("60", "up", "50"),
                    2 + SLACK)
    print(f"raw edit: completed after {seconds:.2f} s")
    failing.directory.modify_s(dn_of("mbox3"), [
        (ldap.MOD_REPLACE, "postcellWeight", b"100")])
    assert wait_until(
        lambda: failing.newest("mbox3") == ("60", "up", "100"), 2 + SLACK)


# -- proxies and other hosts -------------------------------------------------


def test_a_killed_proxy_fails_and_returns(failing):
    with out_of_order(failing, "proxy2"):
        seconds = takes(
            lambda: failing.state("proxy2", "proxy") == "failed", REFUSED)
        print(f"killed proxy: failed after {seconds:.2f} s")
    assert wait_until(
        lambda: failing.newest("proxy2", "proxy") == ("0", "up", "100"),
        SETTLES, 0.1)


def test_a_killed_directory_server_fails(failing):
    other = failing.connect(failing.cell.layout.ldap_uris[0])
    with out_of_order(failing, "ldap2"):
        takes(lambda: failing.state("ldap2", "host", other) == "failed",
              REFUSED + 3)
    assert wait_until(lambda: failing.state("ldap2", "host") == "up",
                      SETTLES, 0.1)
