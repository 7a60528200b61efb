"""A cell under load, and in trouble: who was where, and what became of mail.

For the scenarios that prove that nobody is on two servers.
"""

import collections
import contextlib
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import threading
import time

import ldap

import daemons
import imap
import presence
import slapd
import users
from cell import Cell
from layout import (ADMIN_DN, HOST, OBSERVERS, POOL, PORTS, PROXIES, SERVERS,
                    SUFFIX)
from process import wait_until

TROUBLE = float(os.environ.get("POSTCELL_PROOF_TIME", "60"))
# ms; a machine that is busy with other things needs more, or all are silent.
PROBE_TIMEOUT = int(os.environ.get("POSTCELL_PROOF_PROBE", "1500"))
SEED = os.environ.get("POSTCELL_PROOF_SEED", "1")
RAMP = 2  # s, of the pool
RETURN_AFTER = 2
SETTLES = 40
LOAD = pathlib.Path(__file__).with_name("load.py")
# A server that was stopped and goes on still works off what had reached it
# before it was left; that is the operator's to fence (lib/placement.h).
LEFTOVERS = 3  # s


@contextlib.contextmanager
def proving(folder, net, build, scratch):
    """A Proof with a cell of its own, which returns servers soon."""
    cell = Cell(folder, net=net, build=build)
    cell.stop()
    before = daemons.RETURN_AFTER, daemons.PROBE_TIMEOUT
    daemons.RETURN_AFTER = RETURN_AFTER
    daemons.PROBE_TIMEOUT = PROBE_TIMEOUT
    try:
        cell.start()
        made = Proof(cell, scratch)
        made.set_pool("postcellRamp", str(RAMP))
        made.calm()
        yield made
    finally:
        daemons.RETURN_AFTER, daemons.PROBE_TIMEOUT = before
        for name in SERVERS:
            cell.processes.signal(name, signal.SIGCONT)
        cell.stop()


class Follow(threading.Thread):
    """Stamps the lines of the proxies' logs, which have no time, as they come.
    """

    def __init__(self, paths):
        super().__init__(daemon=True)
        self.files = [open(path, errors="replace") for path in paths]
        self.lines = []
        self.ended = threading.Event()
        for file in self.files:
            file.seek(0, os.SEEK_END)

    def run(self):
        while not self.ended.wait(0.01):
            for file in self.files:
                for line in file.readlines():
                    self.lines.append((time.time(), line))

    def sessions(self):
        """(id, user, server, begin, end) of each session of a proxy."""
        for moment, line in list(self.lines):
            found = re.search(r'event=session_end session=(\S+) .* '
                              r'user="(.*?)" server="(.*?)" login_ms=\d+ .* '
                              r'ms=(\d+)', line)
            if found:
                yield (found[1], found[2], found[3],
                       moment - int(found[4]) / 1000, moment)

    def failures(self):
        """(server, moment) of each that a delivery left."""
        for moment, line in list(self.lines):
            found = re.search(r'event=server_failed .* server="(.*?)"', line)
            if found:
                yield found[1], moment


class Proof:
    def __init__(self, cell, folder):
        self.cell, self.folder = cell, folder
        self.people = users.all_users()
        self.deaths = collections.defaultdict(list)  # server: moments
        self.stops = []  # (server, stopped, continued)
        self.drains = []  # (server, moment)
        self.figures = collections.defaultdict(list)
        self.marks = {name: 0 for name in SERVERS}
        self.load = self.follow = None

    # -- the directory and the operator ---------------------------------------

    def connect(self):
        for uri in self.cell.layout.ldap_uris:
            try:
                return slapd.connect(uri, self.cell.layout.ca, ADMIN_DN,
                                     self.cell.settings["admin_password"])
            except ldap.SERVER_DOWN:
                continue
        raise AssertionError("no directory")

    def values(self, ou, name, attribute):
        connection = self.connect()
        try:
            found = connection.search_s(f"cn={name},ou={ou},{SUFFIX}",
                                        ldap.SCOPE_BASE, attrlist=[attribute])
            return sorted(value.decode()
                          for value in found[0][1].get(attribute, []))
        except ldap.SERVER_DOWN:
            return []
        finally:
            connection.unbind_s()

    def set_pool(self, attribute, value):
        connection = self.connect()
        connection.modify_s(f"cn={POOL},ou=pools,{SUFFIX}", [
            (ldap.MOD_REPLACE, attribute, [value.encode()])])
        connection.unbind_s()

    def state(self, name):
        values = self.values("servers", name, "postcellTransition")
        return values[-1].split()[2] if values else None

    def is_calm(self):
        return (all(self.state(name) == "up" for name in SERVERS)
                and not any(self.values("proxies", name, "postcellVote")
                            for name in (*PROXIES, *OBSERVERS)))

    def ctl(self, *words, host="proxy1"):
        done = subprocess.run(
            [*daemons.control_command(self.cell.layout, host), *words],
            capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def placed_at(self, server):
        """Somebody whom it serves."""
        def look():
            for person in self.people:
                done = subprocess.run(
                    [*daemons.control_command(self.cell.layout), "user",
                     "map", person.uid, "--host"],
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                    text=True, timeout=30)
                if done.stdout.split(".")[0].strip() == server:
                    return person
            return None
        found = wait_until(look, SETTLES)
        assert found, f"nobody is at {server}"
        return found

    # -- load -----------------------------------------------------------------

    def start(self):
        layout = self.cell.layout
        settings = self.folder / "load.json"
        self.journal = self.folder / f"journal-{time.time()}"
        settings.write_text(json.dumps({
            "proxies": [layout.addresses[name] for name in PROXIES],
            "ports": PORTS, "host": HOST, "ca": str(layout.ca),
            "journal": str(self.journal), "seed": SEED,
            "people": [(person.login, person.password, person.mail)
                       for person in self.people]}))
        self.marks = {name: len(self.log(name)) for name in SERVERS}
        self.deaths.clear()
        self.stops.clear()
        self.drains.clear()
        self.begun = time.time()
        self.follow = Follow([layout.log / f"{name}.log" for name in PROXIES])
        self.follow.start()
        self.load = subprocess.Popen([sys.executable, LOAD, settings],
                                     stdin=subprocess.PIPE)
        assert wait_until(lambda: self.journal.exists() and len(
            {line["user"] for line in self.happened("login")})
            > len(self.people) * 0.8, 30, 0.2)

    def stop(self):
        self.load.stdin.close()
        assert self.load.wait(120) == 0
        self.follow.ended.set()
        self.follow.join()

    def happened(self, kind):
        with open(self.journal, encoding="utf-8") as file:
            found = [json.loads(line) for line in file if line.endswith("\n")]
        return [line for line in found if line["kind"] == kind]

    def log(self, name):
        path = self.cell.layout.log / f"{name}.log"
        return path.read_text(errors="replace").splitlines()

    def new_lines(self, name):
        return self.log(name)[self.marks[name]:]

    # -- trouble --------------------------------------------------------------

    def login_elsewhere(self, person, since):
        """s until they are in, as a mail program does it that tries again."""
        def works():
            try:
                session = self.cell.login(
                    self.cell.layout.addresses["proxy1"], person.login,
                    person.password, timeout=15)
            except (OSError, EOFError, imap.Imap.error):
                return False
            session.logout()
            return True
        assert wait_until(works, 60, 0.02)
        return time.time() - since

    def kill(self, name):
        person = self.placed_at(name)
        moment = time.time()
        self.cell.processes.signal(name, signal.SIGKILL)
        assert wait_until(lambda: not self.cell.processes.members(name), 10)
        self.deaths[name].append(time.time())
        self.figures["login after kill"].append(
            self.login_elsewhere(person, moment))
        assert wait_until(lambda: self.state(name) == "failed", SETTLES)
        self.cell.start_server(name)

    def freeze(self, name):
        person = self.placed_at(name)
        moment = time.time()
        self.cell.processes.signal(name, signal.SIGSTOP)
        try:
            self.figures["login after stop"].append(
                self.login_elsewhere(person, moment))
            assert wait_until(lambda: self.state(name) == "failed", SETTLES)
        finally:
            self.cell.processes.signal(name, signal.SIGCONT)
            self.stops.append((name, moment, time.time()))

    def drain(self, name):
        self.drains.append((name, time.time()))
        self.ctl("server", "drain", name, "--ramp", "0")
        time.sleep(3)
        self.ctl("server", "up", name, "--ramp", str(RAMP), "--wait")

    def reweight(self, name):
        for weight in ("400", "30", "100"):
            begin = time.time()
            self.ctl("server", "weight", name, weight, "--ramp", "1")
            for host in PROXIES:
                assert wait_until(lambda h=host, w=weight: f" 1 up {w}" in
                                  self.ctl("replica", "dump", host=h), 10, 0)
            self.figures["change seen by both proxies"].append(
                time.time() - begin)
            time.sleep(1.5)

    def move_users(self):
        names = users.ORDINARY[::2]
        for number, name in enumerate(names):
            # Refused where a busy machine has just made that server fail.
            subprocess.run(
                [*daemons.control_command(self.cell.layout), "user", "move",
                 name, list(SERVERS)[number % 3]],
                capture_output=True, timeout=30)
        time.sleep(2)
        for name in names:
            self.ctl("user", "unpin", name)

    def restart_proxy(self, name, kill):
        if kill:
            self.cell.processes.signal(name, signal.SIGKILL)
            assert wait_until(
                lambda: not self.cell.processes.members(name), 10)
        else:
            self.cell.stop_server(name)
        self.cell.start_server(name)

    def restart_directory(self, name, kill):
        self.restart_proxy(name, kill)

    def calm(self):
        assert wait_until(self.is_calm, SETTLES, 0.2), [
            (name, self.state(name)) for name in SERVERS]

    def trouble(self):
        """One after the other, round and round; True while there is time."""
        mbox1, mbox2, mbox3 = SERVERS
        first, second = PROXIES
        steps = [
            (self.move_users,),
            (self.kill, mbox2), (self.calm,), (self.drain, mbox1),
            (self.freeze, mbox3), (self.calm,), (self.reweight, mbox1),
            (self.restart_proxy, second, False),
            (self.restart_directory, "ldap1", False), (self.drain, mbox2),
            (self.restart_proxy, first, True),
            (self.restart_directory, "ldap2", True), (self.calm,),
            (self.kill, mbox1), (self.calm,), (self.move_users,),
            (self.freeze, mbox2), (self.calm,), (self.drain, mbox3),
            (self.kill, mbox3), (self.calm,), (self.freeze, mbox1),
            (self.calm,), (self.reweight, mbox3),
        ]
        end = time.monotonic() + TROUBLE
        number = 0
        while time.monotonic() < end:
            action, *words = steps[number % len(steps)]
            print(f"{time.time() - self.begun:7.2f} {action.__name__}",
                  *words, flush=True)
            action(*words)
            number += 1
        self.calm()

    # -- the count ------------------------------------------------------------

    def presences(self):
        """All that was where; of stopped servers, until they were left."""
        found, forgotten = [], []
        for name in SERVERS:
            found += presence.read(name, self.new_lines(name),
                                   self.deaths[name], forgotten)
        proxied = collections.defaultdict(list)
        closed = {}
        for ident, user, server, begin, end in self.follow.sessions():
            proxied[user, server].append((begin, end))
            closed[ident, server] = end
        found += [self.until_closed(each, closed) for each in forgotten]
        return [kept for each in found
                if (kept := self.until_left(each, proxied))]

    def until_closed(self, each, closed):
        """Its end there is when the proxy closed its connection.

        Dovecot 2.3 now and then does not see that a client which was idle has
        gone: its process waits on, for nothing, and tells nothing of an end.
        """
        end = closed.get((each.what, each.server))
        if end is None:
            return each
        self.figures["ends that Dovecot did not see"].append(1)
        return each._replace(end=max(each.begin, min(each.end, end)))

    def until_left(self, each, proxied):
        """Its end there is when the proxies let go of it."""
        for name, stopped, continued in self.stops:
            if (name != each.server or each.end < stopped
                    or each.begin > continued + LEFTOVERS):
                continue
            if each.what.startswith("<"):
                ends = [end for server, end in self.follow.failures()
                        if server == name and stopped <= end <= continued]
            else:
                ends = [end for begin, end in proxied[each.user, name]
                        if begin <= each.begin + 1 and end >= stopped]
            left = max(ends, default=stopped)
            if left < each.begin:
                self.figures["left by stopped servers"].append(1)
                return None
            return each._replace(end=min(each.end, left))
        return each

    def mailboxes(self):
        """How often each message is there: {(login, id): copies}."""
        copies = collections.Counter()
        for person in self.people:
            session = self.cell.login(self.cell.layout.addresses["proxy1"],
                                      person.login, person.password)
            session.select()
            answer = session.fetch(
                "1:*", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")[1]
            for part in answer:
                if isinstance(part, tuple):
                    name = re.search(rb"<(.*?)@cell.test>", part[1])
                    copies[person.login, name and name[1].decode()] += 1
            session.logout()
        return copies

    def check_mail(self):
        """(lost, twice without a reason, twice with one)."""
        copies = self.mailboxes()
        tries = collections.Counter((line["user"], line["id"])
                                    for line in self.happened("try"))
        stored = {(line["user"], line["id"])
                  for line in self.happened("stored")}
        lost = [key for key in stored if copies[key] == 0]
        twice = {key for key in stored if copies[key] > 1}
        odd = [key for key in twice if copies[key] > tries[key]]
        return lost, odd, len(twice), len(stored)

    # -- what is shown --------------------------------------------------------

    def report(self, found, pairs, twice, stored):
        kinds = collections.Counter(
            "delivery" if each.what.startswith("<") else "session"
            for each in found)
        print(f"\n{dict(kinds)}, overlaps {len(pairs)}, stored {stored}, "
              f"twice {twice}")
        for name in ("left by stopped servers",
                     "ends that Dovecot did not see"):
            print(f"{name}: {len(self.figures.pop(name, []))}")
        for server, moment in self.drains:
            late = [each.begin - moment for each in found
                    if each.server == server
                    and not each.user.startswith("probe-")
                    and moment < each.begin < moment + 3]
            self.figures["last login after drain"].append(max(late, default=0))
        for name, values in self.figures.items():
            print(f"{name}: median {statistics.median(values):.2f} s, "
                  f"{[round(value, 2) for value in values]}")
        print(collections.Counter(
            line["kind"] for kind in ("login", "cut", "refused", "deferred",
                                      "hub", "fetched", "unfetched", "odd",
                                      "given_up")
            for line in self.happened(kind)))

    def told(self, pairs):
        """The overlaps, and what the logs say of these users meanwhile."""
        lines = []
        for a, b in pairs[:20]:
            lines.append(f"{a.user}: {a.server} {a.begin:.3f}-{a.end:.3f} "
                         f"{a.what}, {b.server} {b.begin:.3f}-{b.end:.3f} "
                         f"{b.what}")
        for user in sorted({a.user for a, _ in pairs[:20]}):
            begin = min(a.begin for a, _ in pairs if a.user == user) - 2
            end = max(a.end for a, _ in pairs if a.user == user) + 2
            lines += [f"{moment:.3f} {name}: {text}" for name in SERVERS
                      for moment, text in presence.stamped(self.log(name))
                      if begin < moment < end and user in text]
            lines += [f"{moment:.3f} proxies: {line.rstrip()}"
                      for moment, line in list(self.follow.lines)
                      if begin < moment < end and user in line]
        return "\n".join(lines)

    def damage(self):
        return [line for name in SERVERS
                for line in presence.damage(self.new_lines(name))]
