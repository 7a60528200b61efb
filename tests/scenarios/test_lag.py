"""Parts of a cell that stop, lag or flap: late is said, and never for long."""

import concurrent.futures
import contextlib
import os
import signal

import ldap
import pytest

import imap
from failing import (DECIDED, RETURN_AFTER, SETTLES, SILENT, failing_cell,
                     out_of_order)
from layout import POOL, SUFFIX
from process import wait_until

NET = os.environ.get("CELL_LAG_NET", "127.0.45")
CATCHES_UP = 10  # s until a part that went on is in step
VICTIM = "mbox1"


@pytest.fixture(scope="module")
def failing(build):
    with failing_cell(build / "lag", NET, build) as made:
        yield made


@pytest.fixture(autouse=True)
def calm(failing):
    yield
    failing.recover()


@contextlib.contextmanager
def drained(failing, name):
    failing.ctl("server", "drain", name, "--ramp", "0")
    try:
        yield
    finally:
        failing.ctl("server", "up", name, "--ramp", "0")


@contextlib.contextmanager
def session(failing, proxy, person):
    """One that stays, and who serves it."""
    made = failing.cell.login(failing.cell.layout.addresses[proxy], *person)
    try:
        yield made
    finally:
        made.shutdown()


def is_closed(made):
    try:
        made.noop()
    except (OSError, imap.Imap.abort):
        return True
    return False


def served_at(failing, proxy, person):
    try:
        return failing.login(proxy, person)
    except (OSError, imap.Imap.error):
        return None


def test_a_proxy_that_starts_waits_for_its_replica(failing):
    person = failing.somebody_at(VICTIM)
    failing.cell.stop_server("proxy2")
    failing.cell.stop_server("replica2")
    mark = len(failing.log("proxy2"))
    proxy = failing.cell.server("proxy2")
    with drained(failing, VICTIM):
        failing.cell.processes.start("proxy2", proxy.command(), proxy.log)
        assert wait_until(lambda: any(
            "event=waiting_for_replica" in line
            for line in failing.log("proxy2")[mark:]), 5)
        with concurrent.futures.ThreadPoolExecutor(1) as early:
            place = early.submit(failing.login, "proxy2", person)
            failing.cell.start_server("replica2")
            assert place.result() != VICTIM
        said = failing.log("proxy2")[mark:]
        assert not any("event=replica_old" in line for line in said)


def test_a_move_that_is_learnt_of_late_is_said(failing):
    """Its replica stands still while everybody else moves on."""
    person = failing.somebody_at(VICTIM)
    mark = len(failing.log("proxy2"))
    with session(failing, "proxy2", person) as stays:
        failing.signal("replica2", signal.SIGSTOP)
        with drained(failing, VICTIM):
            assert wait_until(lambda: served_at(failing, "proxy1", person)
                              not in (None, VICTIM), CATCHES_UP)
            assert not is_closed(stays)
            failing.signal("replica2", signal.SIGCONT)
            assert wait_until(lambda: is_closed(stays), CATCHES_UP)
    assert wait_until(lambda: any(
        "event=late_move" in line and f'server="{VICTIM}"' in line
        for line in failing.log("proxy2")[mark:]), 5)


def test_a_proxy_that_stood_still_lets_go_at_once(failing):
    person = failing.somebody_at(VICTIM)
    with session(failing, "proxy2", person) as stays:
        failing.signal("proxy2", signal.SIGSTOP)
        with drained(failing, VICTIM):
            assert wait_until(lambda: served_at(failing, "proxy1", person)
                              not in (None, VICTIM), CATCHES_UP)
            failing.signal("proxy2", signal.SIGCONT)
            assert wait_until(lambda: is_closed(stays), CATCHES_UP)
            assert wait_until(lambda: served_at(failing, "proxy2", person)
                              not in (None, VICTIM), CATCHES_UP)


def test_a_drain_goes_by_a_silent_directory(failing):
    """The command writes to the other one, and both proxies hear of it."""
    person = failing.somebody_at(VICTIM)
    failing.signal("ldap1", signal.SIGSTOP)
    with drained(failing, VICTIM):
        for proxy in ("proxy1", "proxy2"):
            assert wait_until(lambda p=proxy: served_at(failing, p, person)
                              not in (None, VICTIM), CATCHES_UP), proxy
        failing.signal("ldap1", signal.SIGCONT)


def test_a_flapping_server_returns_once(failing):
    """Failures are believed at once, returns only after a while."""
    mark = failing.mark()
    for _ in range(3):
        with out_of_order(failing, VICTIM):
            assert wait_until(lambda: failing.state(VICTIM) == "failed",
                              SILENT)
    assert wait_until(lambda: failing.state(VICTIM) == "up", SETTLES)
    decided = [line for line in failing.said(DECIDED, mark)
               if f'name="{VICTIM}"' in line]
    assert 2 <= len(decided) <= 4, decided


def test_manual_failback_is_left_to_the_administrator(failing):
    pool = f"cn={POOL},ou=pools,{SUFFIX}"
    failing.directory.modify_s(pool, [
        (ldap.MOD_REPLACE, "postcellFailback", b"manual")])
    try:
        with out_of_order(failing, VICTIM):
            assert wait_until(lambda: failing.state(VICTIM) == "failed",
                              SILENT)
        # Another change, which is decided later, shows that the deciders had
        # their chance.
        assert wait_until(lambda: not failing.votes(), SETTLES)
        with out_of_order(failing, "proxy2"):
            assert wait_until(
                lambda: failing.state("proxy2", "proxy") == "failed", SILENT)
        assert wait_until(lambda: failing.state("proxy2", "proxy") == "up",
                          RETURN_AFTER + SETTLES)
        assert failing.state(VICTIM) == "failed"
        failing.ctl("server", "up", VICTIM)
        assert failing.state(VICTIM) == "up"
    finally:
        failing.directory.modify_s(pool, [
            (ldap.MOD_REPLACE, "postcellFailback", b"auto")])
