"""Servers and proxies that die, fall silent and come back, on a real cell.

What is promised is measured from the moment of the fault to what the directory
says, or to what a user sees. Nothing is proved by waiting: where nothing may
happen, the deciders' own word that they held back is waited for.
"""

import contextlib
import os
import pathlib
import signal
import time

import ldap
import pytest

import daemons
import imap
from failing import (DECIDED, HELD, LOGIN, REFUSED, SETTLES, SILENT, SLACK,
                     dn_of, failing_cell, out_of_order, takes)
from layout import OBSERVERS, PEOPLE, PROXIES, SERVERS, identity_dn
from process import wait_until

NET = os.environ.get("CELL_FAILURE_NET", "127.0.36")


@pytest.fixture(scope="module")
def failing(build):
    with failing_cell(build / "failure", NET, build) as made:
        yield made


@pytest.fixture(autouse=True)
def calm(failing):
    """Begins and ends with a cell in which all is well."""
    assert wait_until(failing.is_calm, SETTLES, 0.1)
    yield
    failing.recover()


# -- who says what -----------------------------------------------------------


def test_observers_are_alive_and_say_nothing(failing):
    for name in (*PROXIES, *OBSERVERS):
        first = failing.values(name, "postcellAlive", "proxy")
        assert first
        assert wait_until(lambda: failing.values(
            name, "postcellAlive", "proxy") != first, 7)
    assert failing.votes() == []


def children(failing, name):
    """Pids of a proxy's processes by what they are: health, auth, relay."""
    found = {}
    for pid in failing.cell.processes.members(name):
        with contextlib.suppress(OSError):
            comm = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
            found.setdefault(comm, set()).add(pid)
    return found


@pytest.mark.parametrize("name", ["proxy1", "observer1"])
def test_a_reload_goes_on_observing(failing, name):
    before = children(failing, name)
    assert before["auth"] and len(before["health"]) == 1
    os.kill(failing.cell.processes.pid(name), signal.SIGHUP)

    def is_replaced():
        now = children(failing, name)
        return all(len(now.get(role, ())) == len(before[role])
                   and not now[role] & before[role]
                   for role in ("auth", "health"))
    assert wait_until(is_replaced, 10)
    alive = failing.values(name, "postcellAlive", "proxy")
    assert wait_until(lambda: failing.values(
        name, "postcellAlive", "proxy") != alive, 10)


@pytest.mark.parametrize("role", ["auth", "health"])
def test_an_observer_that_lost_a_process_starts_it_again(failing, role):
    before = children(failing, "observer1")[role]
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: children(failing, "observer1").get(
        role, before) - before, 10)
    alive = failing.values("observer1", "postcellAlive", "proxy")
    assert wait_until(lambda: failing.values(
        "observer1", "postcellAlive", "proxy") != alive, 12)


def test_every_host_has_a_base(failing):
    for name in SERVERS:
        assert failing.values(name, "postcellTransition")[0].endswith(
            " up 100")
    for name in ("ldap1", "ldap2", "dns1"):
        assert failing.state(name, "host") == "up"


def test_who_may_write_what(failing):
    uri = failing.cell.layout.ldap_uris[0]
    vote = (ldap.MOD_ADD, "postcellVote", b"nobody down")
    value = b"19700101000000.000001Z 0 up 100"
    transition = (ldap.MOD_ADD, "postcellTransition", value)
    wish = (ldap.MOD_REPLACE, "postcellState", b"down")
    cases = [
        ("proxy1", dn_of("proxy1", "proxy"), vote, True),
        ("proxy1", dn_of("proxy2", "proxy"), vote, False),
        ("proxy1", dn_of("mbox1"), transition, False),
        ("proxy1", dn_of("proxy1", "proxy"), transition, False),
        ("proxy1", dn_of("proxy1", "proxy"), wish, False),
        ("replica1", dn_of("proxy1", "proxy"), vote, False),
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
        connection = failing.connect(uri, identity_dn(identity), identity)
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
    assert wait_until(lambda: failing.state("mbox2", directory=other) == "up",
                      10)
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


def test_a_killed_kdc_fails_and_returns(failing):
    with out_of_order(failing, "kdc2"):
        takes(lambda: failing.state("kdc2", "host") == "failed", REFUSED)
    assert wait_until(lambda: failing.state("kdc2", "host") == "up",
                      SETTLES, 0.1)
