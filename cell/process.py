"""Processes of a cell, known by pid files that outlive whoever started them.

Each server is the leader of a session of its own, so all that it forks can be
found again, even after it was killed. A pid alone proves nothing, for it may
belong to another program by now: the record keeps the start time as well.
"""

import os
import resource
import signal
import subprocess
import time

DESCRIPTORS = 16384
STOP_TIME = 8  # s, then SIGKILL


class Trouble(Exception):
    """What the user should read, without a trace."""


class Interruption:
    """A signal that asks to end, heeded only where that is safe.

    An exception out of a signal handler may hit a library between taking a
    lock and noting it; whoever cleans up then waits for that lock for ever.
    """

    pending = False

    @classmethod
    def listen(cls):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, cls.note)

    @classmethod
    def note(cls, number, frame):
        cls.pending = True

    @classmethod
    def heed(cls):
        if cls.pending:
            cls.ignore()
            raise KeyboardInterrupt

    @classmethod
    def ignore(cls):
        """From now on the work is cleaning up, and goes on to its end."""
        cls.pending = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def read_stat(pid):
    """(state, session, start time) of a process; None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return fields[0].decode(), int(fields[3]), int(fields[19])


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def program_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(
                errors="replace").strip()
    except OSError:
        return ""


def wait_until(condition, seconds, pause=0.02):
    """The condition's first true value, or its last when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        Interruption.heed()
        value = condition()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(pause)


def raise_descriptors():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(
        hard, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def identity(program):
    """Changes whenever the program is built anew."""
    stat = os.stat(program)
    return f"{stat.st_ino}:{stat.st_mtime_ns}"


class Processes:
    """folder/NAME.pid holds the pid alone, folder/.NAME pid, start time and the
    program's identity."""

    def __init__(self, folder):
        self.folder = folder
        self.children = []  # of this process, to be reaped

    def start(self, name, argv, log, environment=None):
        program = identity(argv[0])
        with open(log, "ab") as output:
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd="/", start_new_session=True,
                env={**os.environ, **(environment or {})},
                preexec_fn=raise_descriptors)
        self.children.append(child)
        stat = read_stat(child.pid)
        (self.folder / f".{name}").write_text(
            f"{child.pid} {stat[2]} {program}\n")
        (self.folder / f"{name}.pid").write_text(f"{child.pid}\n")

    def names(self):
        return sorted(path.name[1:] for path in self.folder.glob(".[a-z]*"))

    def record(self, name):
        try:
            pid, start, program = (self.folder / f".{name}").read_text().split()
            return int(pid), int(start), program
        except (OSError, ValueError):
            return None

    def reap(self):
        self.children = [child for child in self.children
                         if child.poll() is None]

    def pid(self, name):
        """The pid of a server that runs; None when it does not."""
        self.reap()
        record = self.record(name)
        stat = record and read_stat(record[0])
        if not stat or stat[0] in "ZX" or stat[2] != record[1]:
            return None
        return record[0]

    def is_outdated(self, name, program):
        """True when the program on disk is no longer the one that was started."""
        record = self.record(name)
        return record is not None and record[2] != identity(program)

    def members(self, name):
        """All that runs of a server: itself and what it forked."""
        self.reap()
        record = self.record(name)
        if not record:
            return []
        leader, start, _ = record
        stat = read_stat(leader)
        if stat and stat[2] != start:
            return []  # the pid, and so the session, is another's by now
        found = []
        for pid in all_pids():
            stat = read_stat(pid)
            if (stat and stat[0] not in "ZX" and stat[1] == leader
                    and stat[2] >= start):
                found.append(pid)
        return found

    def signal(self, name, number):
        for pid in self.members(name):
            send(pid, number)

    def stop(self, names):
        """Ends them all at once; the leader ends what it forked."""
        for name in names:
            pid = self.pid(name)
            if pid:
                send(pid, signal.SIGTERM)
                send(pid, signal.SIGCONT)
            else:
                self.signal(name, signal.SIGTERM)
        if not wait_until(lambda: not any(map(self.members, names)),
                          STOP_TIME):
            for name in names:
                self.signal(name, signal.SIGKILL)
            wait_until(lambda: not any(map(self.members, names)), STOP_TIME)
        for name in names:
            (self.folder / f"{name}.pid").unlink(missing_ok=True)
            (self.folder / f".{name}").unlink(missing_ok=True)


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
