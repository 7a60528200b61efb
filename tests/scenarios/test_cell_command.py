"""`make cell` itself: twice in a row, after a crash, and without a trace."""

import contextlib
import os
import pathlib
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

import balancer
import imap
from cell import Cell
from conftest import ROOT, copy_of_the_tree
from layout import BALANCERS, HOST, PORTS
from process import all_pids, program_of, read_stat, wait_until

NET = os.environ.get("CELL_COMMAND_NET", "127.0.34")


class Command:
    """cell/cell.py on a folder of its own, as make calls it."""

    def __init__(self, folder, build, prefix=()):
        self.folder, self.build, self.prefix = folder, build, prefix

    def line(self, *arguments):
        return [*self.prefix, ROOT / "cell" / "cell.py", "--folder",
                self.folder, "--build", self.build, "--net", NET, *arguments]

    def run(self, *arguments):
        return subprocess.run(self.line(*arguments), timeout=120,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)

    def succeed(self, *arguments):
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout.decode()
        return done.stdout.decode()

    def facts(self):
        """As a shell understands them."""
        text = subprocess.run(
            ["sh", "-c", f". {shlex.quote(str(self.folder / 'env'))}; set"],
            check=True, stdout=subprocess.PIPE, env={}).stdout.decode()
        pairs = (line.split("=", 1) for line in text.splitlines()
                 if line.startswith(("CELL_", "KRB5")))
        return {name: shlex.split(value)[0] for name, value in pairs}

    def pids(self):
        folder = self.folder / "pids"
        return {path.stem: int(path.read_text())
                for path in folder.glob("*.pid")}

    def sessions(self):
        """The sessions of its servers, as a shell's ps would name them."""
        return set(self.pids().values())

    def kill_everything(self):
        """As a power cut would: no process of it can say farewell."""
        for pid in members_of(self.sessions()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self):
        """Whatever runs with this cell's folder or run folder in its words."""
        words = [str(self.folder)]
        if (self.folder / "run").is_symlink():
            words.append(os.readlink(self.folder / "run"))
        found = []
        for pid in all_pids():
            program = program_of(pid)
            if pid != os.getpid() and any(word in program for word in words):
                found.append(program)
        return found


class Make(Command):
    """`make cell` and `make cell-stop` in a copy of the tree."""

    def __init__(self, tree, prefix):
        super().__init__(tree / "build" / "cell", tree / "build", prefix)
        self.tree = tree

    def line(self, *arguments):
        target = {("start",): "cell", ("stop",): "cell-stop"}[arguments]
        # The objects of the copy are good, whoever built them, and how.
        return [*self.prefix, "make", "-C", self.tree, "BUILD=build", "SAN=",
                f"CELL_NET={NET}", target]


def members_of(sessions):
    """All processes of these sessions."""
    stats = ((pid, read_stat(pid)) for pid in all_pids())
    return [pid for pid, stat in stats
            if stat and stat[0] not in "ZX" and stat[1] in sessions]


def sockets():
    """What of the cell's network is bound, in the kernel's own words."""
    first, second, third = (int(octet) for octet in NET.split("."))
    end = f"{third:02X}{second:02X}{first:02X}:"  # little endian
    found = []
    for kind, bound in ("tcp", "0A"), ("udp", "07"):
        lines = pathlib.Path(f"/proc/net/{kind}").read_text().splitlines()[1:]
        found += [line for line in lines
                  if line.split()[1][2:].startswith(end)
                  and line.split()[3] == bound]
    return found


@pytest.fixture
def command(tmp_path, build):
    made = Command(tmp_path / "cell", build)
    yield made
    made.succeed("stop")


def log_in(facts):
    login, password = read_users(facts)[0]
    for address in facts["CELL_IPS"].split():
        session = imap.Imap(address, int(facts["CELL_IMAP"]),
                            facts["CELL_HOST"], facts["CELL_CA"])
        session.login_plain(login, password)
        session.logout()


def read_users(facts):
    with open(facts["CELL_USERS"], encoding="utf-8") as file:
        return [line.rstrip("\n").split("\t") for line in file]


def test_life_of_a_cell(command):
    told = command.succeed("start")
    facts, first = command.facts(), command.pids()
    run = os.readlink(command.folder / "run")
    assert HOST in told and "CELL_USERS" in told
    assert set(first) == {"ldap1", "ldap2", "dns1", "mbox1", "mbox2", "mbox3",
                          "replica1", "replica2", "replica3", "proxy1",
                          "proxy2", "observer1", "zone1", "zone2",
                          "mx1", "kdc1", "kdc2", "kpasswd1", "kpasswd2",
                          "replica-kdc1", "replica-kdc2",
                          *(BALANCERS if balancer.is_used() else ())}
    log_in(facts)
    assert "down" not in command.succeed("status")

    assert "runs already" in command.succeed("start")
    assert command.pids() == first

    command.succeed("restart", "mbox1")
    assert command.pids()["mbox1"] != first["mbox1"]

    for name in ("mbox2", "ldap1", "proxy1"):
        os.kill(first[name], signal.SIGKILL)
    assert "in part" in command.succeed("start")
    log_in(command.facts())

    sessions = command.sessions()
    command.succeed("stop")
    assert_nothing_is_left(command, run, sessions)
    command.succeed("stop")


def assert_nothing_is_left(command, run, sessions):
    """But the logs, which say why."""
    assert not members_of(sessions)
    assert not command.processes()
    assert not sockets()
    assert run not in pathlib.Path("/proc/net/unix").read_text()
    assert not os.path.lexists(run)
    assert [path.name for path in command.folder.iterdir()] == ["log"]


def test_a_new_build_replaces_the_daemons_that_run(command, tmp_path):
    new = tmp_path / "build"
    new.mkdir()
    for name in ("postcell-proxyd", "postcell-replicad", "postcell-zoned",
                 "postcellctl", "postcell.so", "postcell_hdb.so",
                 "postcell_locate.so"):
        shutil.copy(command.build / name, new)
    command.build = new
    command.succeed("start")
    before = command.pids()
    shutil.copy(new / "postcell-proxyd", new / "copy")
    os.replace(new / "copy", new / "postcell-proxyd")
    command.succeed("start")
    after = command.pids()
    assert {name for name in after if after[name] != before[name]} == {
        "proxy1", "proxy2", "observer1"}
    log_in(command.facts())


def test_start_after_everything_was_killed_half_way(command):
    command.succeed("start")
    command.kill_everything()
    left = os.readlink(command.folder / "run")
    (command.folder / "settings.json").unlink()
    command.succeed("start")
    assert not os.path.exists(left)
    log_in(command.facts())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("sign", ["conf/ldap1.conf", "pids/ldap2.pid",
                                  "pids/mbox3.pid"])
def test_interrupted_while_it_starts(command, sign, number):
    """Wherever it is interrupted, nothing of it is left."""
    starting = subprocess.Popen(
        command.line("start"), start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    path = command.folder / sign
    assert wait_until(path.exists, 20, pause=0.001)
    run = os.readlink(command.folder / "run")
    starting.send_signal(number)
    output = starting.communicate(timeout=60)[0].decode()
    assert starting.returncode == 130, output
    assert "interrupted" in output
    assert not command.processes()
    assert not os.path.exists(run)


def test_a_recycled_pid_is_left_alone(command):
    """A record of a dead server whose pid another program has by now."""
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        pids = command.folder / "pids"
        pids.mkdir(parents=True)
        (pids / "mbox1.pid").write_text(f"{bystander.pid}\n")
        (pids / ".mbox1").write_text(f"{bystander.pid} 1 1:1\n")
        command.succeed("stop")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_taken_port_is_named_with_its_holder(command):
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((f"{NET}.12", PORTS["imap"]))
        holder.listen()
        done = command.run("start")
    text = done.stdout.decode()
    assert done.returncode == 1
    assert f"{NET}.12:{PORTS['imap']} is taken by" in text
    assert f"pid {os.getpid()}" in text
    assert not command.processes()


@pytest.mark.parametrize("net", ["127.0.300", "10.0.0", "127.0.1.2", "x"])
def test_a_network_that_is_none(command, net):
    done = subprocess.run([*command.line("start"), "--net", net], timeout=60,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 1
    assert done.stdout == f"cell: {net!r} is not the first three octets of a " \
        "loopback network, like 127.0.31\n"
    assert not command.folder.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root has a /tmp of its own")
def test_no_room_below_tmp(build):
    """One line says so, and nothing of it stays there."""
    if build.resolve().is_relative_to("/tmp"):
        pytest.skip("what is to be started lies below /tmp itself")
    command = Command(build / "cell-without-room", build)
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c",
         "mount -t tmpfs -o size=4k tmpfs /tmp && echo x >/tmp/full && "
         '"$@"; status=$?; ls /tmp; exit $status', "sh",
         *command.line("start")], timeout=60, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    shutil.rmtree(command.folder)
    assert done.returncode == 1, done.stdout
    told, *left = done.stdout.splitlines()
    assert told.startswith("cell: No space left on device")
    assert left == ["full"]


def told_commands(text):
    """The indented command lines of the how-to, each with what it reads."""
    found, rest = [], iter(text.splitlines())
    for line in rest:
        if not line.startswith("    ") or line.strip().startswith("("):
            continue
        while line.endswith("\\"):
            line += "\n" + next(rest)
        if line.endswith("<<END"):
            while not line.endswith("\nEND"):
                line += "\n" + next(rest)
        found.append(line.strip())
    return found


def test_what_the_how_to_tells_works(command):
    command.succeed("start")
    told = told_commands(command.succeed("help"))
    source = told.pop(0)
    stop, = [line for line in told if line.endswith("cell stop")]
    told.remove(stop)
    assert source.startswith(". ") and source.endswith("cell/env")
    assert len(told) >= 24
    for line in told:
        dialogue = "a LOGIN anna anna-secret\nb LOGOUT\n"
        done = subprocess.run(
            ["sh", "-ec", f"{source}\n{line}\n"], cwd=ROOT, timeout=60,
            input=dialogue.encode() if "s_client" in line else b"",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = done.stdout.decode()
        assert done.returncode == 0, f"{line}\n{output}"
        for sign, what in TOLD_SIGNS.items():
            assert sign not in line or what in output, f"{line}\n{output}"


# A part of a command line of the how-to, and what it must print.
TOLD_SIGNS = {
    "CELL_USERS": "anna-secret",
    "imaps://": "INBOX",
    "pop3s://": "1 ",
    "s_client": "a OK",
    "kinit": "krbtgt/CELL.TEST@CELL.TEST",
    "kdig": f"{NET}.1",
    "AUTH=GSSAPI": "INBOX",
    "AUTH=EXTERNAL": "INBOX",
    "ldapadd": "adding new entry",
    "healthz": "ok",
    "logins_total": "postcell_proxy_logins_total",
    "getent": f"{NET}.1",
    "replica status": "accounts",
}


def test_facts_are_those_of_the_design(command):
    command.succeed("start")
    facts = command.facts()
    assert set(facts) == {f"CELL_{name}" for name in """
        DOMAIN HOST IPS CA IMAP IMAPS POP3 POP3S SUBMISSION SUBMISSIONS SIEVE
        LMTP LDAP_URIS LDAP_SUFFIX PEOPLE ADMIN_DN ADMIN_PW DNS USERS SERVERS
        CTL PIDS REALM SMTP METRICS WEB BALANCERS HOSTS CERTIFICATE
        SSO_IMAP SSO_IMAPS SSO_POP3 SSO_POP3S SSO_SUBMISSION SSO_SUBMISSIONS
        SSO_SIEVE""".split()} | {"KRB5_CONFIG", "KRB5CCNAME"}
    assert facts == Cell(command.folder).facts()
    assert len(facts["CELL_IPS"].split()) == 2
    assert os.path.isdir(facts["CELL_PIDS"])
    assert len(read_users(facts)) == 40


def test_make_cell_as_an_ordinary_user(build):
    """Twice in a row and after crashes, and nothing is left in the end."""
    home = pathlib.Path(tempfile.mkdtemp(prefix="cell-home-", dir="/tmp"))
    copy_of_the_tree(build, home / "tree")
    prefix, user = [], os.getuid()
    if user == 0:
        nobody = pwd.getpwnam("nobody")
        user = nobody.pw_uid
        prefix = ["setpriv", f"--reuid={user}", f"--regid={nobody.pw_gid}",
                  "--clear-groups"]
        for folder, _, names in os.walk(home):
            for name in (".", *names):
                os.chown(os.path.join(folder, name), user, nobody.pw_gid)
    command = Make(home / "tree", prefix)
    try:
        assert HOST in command.succeed("start")
        log_in(command.facts())
        first = command.pids()
        assert {os.stat(f"/proc/{pid}").st_uid
                for pid in members_of(command.sessions())} == {user}
        assert "runs already" in command.succeed("start")
        assert command.pids() == first
        command.kill_everything()
        command.succeed("start")
        log_in(command.facts())
        run = os.readlink(command.folder / "run")
        sessions = command.sessions()
        command.kill_everything()
        command.succeed("stop")
        assert_nothing_is_left(command, run, sessions)
    finally:
        command.succeed("stop")
        shutil.rmtree(home)
