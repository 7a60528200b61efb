"""A cell in which something fails, and a look into its directory."""

import concurrent.futures
import contextlib
import os
import signal
import subprocess
import time

import ldap

import daemons
import sanitized
import slapd
from cell import Cell
from layout import ADMIN_DN, DECIDERS, OBSERVERS, PROXIES, SERVERS, SUFFIX
from process import wait_until

RETURN_AFTER = 3  # s, instead of the 300 of a real cell
# s from the fault until `failed` is written. A machine that is busy with
# something else gets some more, a build with sanitizers as well.
SLACK = float(os.environ.get("CELL_SLACK", sanitized.TIME))
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

    def recover(self):
        """All that was stopped or killed goes on; all is well again."""
        for name in self.cell.processes.names():
            self.signal(name, signal.SIGCONT)
        self.cell.layout.mail.chmod(0o700)
        for server in self.cell.servers():
            self.cell.start_server(server.name)
        self.directory = self.connect(self.cell.layout.ldap_uris[0])
        assert wait_until(self.is_calm, SETTLES, 0.1)

    def ctl(self, *words, host="proxy1"):
        done = subprocess.run(
            [*daemons.control_command(self.cell.layout, host), *words],
            capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def somebody_at(self, server):
        return next(person for person, place in self.places().items()
                    if place == server)

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


@contextlib.contextmanager
def failing_cell(folder, net, build):
    """A Failing with a cell of its own, which returns servers soon."""
    cell = Cell(folder, net=net, build=build)
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
