"""Octets of one user's sessions, written down on request."""

import os
import re
import signal
import subprocess
import sys

import pytest

from house import BUILD, TIMEOUT, check_log, wait_until
from player import GOOD_LOGIN, Player, log_in

LOGIN = GOOD_LOGIN.split("\n")[1:7]
PIECE = re.compile(rb"(\d{14}\.\d{6}Z) ([CSL]) (\d+)\n")


@pytest.fixture
def proxy(make_proxy):
    running = make_proxy().start()
    yield running
    running.stop()
    check_log(running.log())


class Trace:
    def __init__(self, proxy, replica, folder, user="bob", seconds=60):
        self.folder = folder
        conf = proxy.folder / "ctl.conf"
        conf.write_text(f'run_dir = "{proxy.folder}/run"\n'
                        f'replica = "{replica.path}"\n')
        self.process = subprocess.Popen(
            [BUILD / "postcellctl", "-c", conf, "user", "trace", user, folder,
             "--for", str(seconds)], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)

    def begun(self):
        assert self.process.stdout.readline().startswith(b"tracing")
        return self

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=TIMEOUT)

    def heard(self, session, who):
        """All that one side said, by a session's number in order."""
        path = self.folder / f"{session}.raw"
        octets = path.read_bytes() if path.exists() else b""
        said, at = b"", 0
        while at < len(octets):
            head = PIECE.match(octets, at)
            assert head, octets[at:at + 80]
            size = int(head[3])
            if head.end() + size + 1 > len(octets):
                break
            if head[2] == who:
                said += octets[head.end():head.end() + size]
            at = head.end() + size
            assert octets[at:at + 1] == b"\n"
            at += 1
        return said


def play_login(proxy, servers, user="bob"):
    player = Player(proxy, servers)
    for line in LOGIN:
        if user != "bob" and line.startswith("b: L"):
            line = "b~ L .*"
        player.play_line(line.replace(" bob ", f" {user} "))
    return player


def close(*players):
    for player in players:
        player.client.close()
        player.server.close()


def test_octets_of_a_user(proxy, replica, servers, tmp_path):
    old = play_login(proxy, servers)
    old.play_line("C: 2 BEFORE")
    old.play_line("b: 2 BEFORE")
    trace = Trace(proxy, replica, tmp_path / "trace").begun()
    old_id = proxy.sessions()[0]["session"]
    new = play_login(proxy, servers)
    other = play_login(proxy, servers, "one")
    ids = {each["session"]: each["user"] for each in proxy.sessions()}
    new_id, = [each for each, user in ids.items()
               if user == "bob" and each != old_id]
    for number, player in enumerate([old, new, other]):
        player.play_line(f"C: 3 NOOP {number}")
        player.play_line(f"b: 3 NOOP {number}")
        player.play_line(f"B: 3 OK {number}")
        player.play_line(f"S: 3 OK {number}")
    for session, number in [(old_id, b"0"), (new_id, b"1")]:
        wait_until(lambda: trace.heard(session, b"C")
                   == b"3 NOOP " + number + b"\r\n", "the client's words")
        wait_until(lambda: trace.heard(session, b"S")
                   == b"3 OK " + number + b"\r\n", "the server's words")
    files = sorted(path.name for path in trace.folder.iterdir())
    assert files == sorted(f"{each}.raw" for each in (old_id, new_id))
    assert all(path.stat().st_mode & 0o777 == 0o600
               for path in trace.folder.iterdir())
    assert trace.folder.stat().st_mode & 0o777 == 0o700
    trace.end()
    for player in (old, new):
        player.play_line("C: 4 NOOP")
        player.play_line("b: 4 NOOP")
    assert b"4 NOOP" not in trace.heard(old_id, b"C")
    close(old, new, other)
    log_in(proxy, servers)


def test_what_comes_with_the_login(proxy, replica, servers, tmp_path):
    """Behind a login in one segment: told. The login: never."""
    trace = Trace(proxy, replica, tmp_path).begun()
    player = Player(proxy, servers)
    player.play_line(LOGIN[0])
    player.play_line("C: 1 LOGIN bob secret\\r\\n2 NOOP")
    player.play_line(LOGIN[2])
    player.play_line("b~ L .*")
    player.play_line("B: L OK in\\r\\n* 1 EXISTS")
    player.play_line("S: 1 OK in")
    player.play_line("S: * 1 EXISTS")
    player.play_line("b: 2 NOOP")
    session = proxy.sessions()[0]["session"]
    wait_until(lambda: trace.heard(session, b"C") == b"2 NOOP\r\n", "command")
    assert trace.heard(session, b"S") == b"* 1 EXISTS\r\n"
    text = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"secret" not in text and b"AGJvYgBzZWNyZXQ=" not in text
    trace.end()
    close(player)


def test_much(proxy, replica, servers, tmp_path):
    """What would have gone through the kernel unseen is seen; nothing is
    lost on its way to the client, whether the trace keeps up or not."""
    player = play_login(proxy, servers)
    trace = Trace(proxy, replica, tmp_path).begun()
    session = proxy.sessions()[0]["session"]
    line = b"x" * 1022 + b"\r\n"
    for _ in range(64):
        player.server.send(line * 64)
        player.client.expect(line * 64)
    player.server.send(b"end")
    player.client.expect(b"end")
    wait_until(lambda: trace.heard(session, b"S").endswith(b"end")
               or trace.heard(session, b"L"), "the end")
    heard = trace.heard(session, b"S")
    assert heard == line * 4096 + b"end" or trace.heard(session, b"L")
    trace.end()
    close(player)


def test_ends_by_itself(proxy, replica, servers, tmp_path):
    player = play_login(proxy, servers)
    trace = Trace(proxy, replica, tmp_path, seconds=1).begun()
    assert trace.process.wait(TIMEOUT) == 0
    player.play("C: 2 NOOP\nb: 2 NOOP\nB: 2 OK\nS: 2 OK\n")


def test_unknown_user(proxy, replica, tmp_path):
    trace = Trace(proxy, replica, tmp_path / "none", user="nosuch")
    assert trace.process.wait(TIMEOUT) != 0
    assert not trace.folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_only_root(proxy):
    """Also where others may use the control socket."""
    path = proxy.folder / "run" / "proxyd.sock"
    path.chmod(0o666)
    text = subprocess.run(
        [sys.executable, "-c", "import socket, sys\n"
         "control = socket.socket(socket.AF_UNIX)\n"
         "control.connect(sys.argv[1])\n"
         "control.sendall(b'trace ' + b'0' * 32 + b' 60\\n')\n"
         "print(control.recv(4096).decode())", path],
        user="nobody", check=True, capture_output=True, text=True).stdout
    assert "only root may trace sessions" in text
