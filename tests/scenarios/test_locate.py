"""Clients of a realm whose KDCs are not all there."""

import contextlib
import os
import re
import signal
import socket
import time

import pytest

from conftest import NET
from directory import SUFFIX, wait_until
from nameservers import Knot
from realm import REALM, Realm, plugins, quiet_port
from replicad import Replicad

# A silent KDC costs libkrb5 two seconds, a silent kpasswdd half a minute.
AT_MOST = 1.5
USER = ("user1", "first word")


@pytest.fixture(scope="module")
def realm(tmp_path_factory):
    """Three hosts with KDC and kpasswdd."""
    made = None
    try:
        made = Realm(tmp_path_factory.mktemp("locate"), workers=1)
        made.hosts = [made.make_kdc(f"kdc{i}", made.replicad, last=64 + i)
                      for i in range(3)]
        for host in made.hosts:
            host.start()
            host.start_kpasswdd()
        made.set_password(*USER)
        yield made
    finally:
        if made:
            made.stop()


def place(host):
    return f"{host.address}:{host.port}"


def make_client(realm, module=True, **options):
    """[realms] names all three, by address, with the module or without."""
    first = realm.hosts[0]
    first.kdcs = [place(host) for host in realm.hosts]
    first.kpasswdds = [f"{host.address}:{host.kpasswd_port}"
                       for host in realm.hosts]
    client = realm.client(first)
    first.kdcs, first.kpasswdds = [], []
    folder = client.folder / "memory"
    folder.mkdir(mode=0o700)
    options = {"kdcs": client.folder / "kdcs", "memory": folder,
               "patience": 1000, **options}
    text = client.conf.read_text().partition("[postcell]")[0]
    if module:
        text = re.sub(r"plugin_dir = .*", "plugin_dir = " + str(plugins(
            client.folder / "plugins", "postcell_locate.so")), text)
    client.conf.write_text(text + "[postcell]\n" + "".join(
        f"\t{name} = {value}\n" for name, value in options.items()))
    return client


def rewrite(client, pattern, text):
    client.conf.write_text(re.sub(pattern, text, client.conf.read_text()))


@contextlib.contextmanager
def silent(hosts, program):
    try:
        for host in hosts:
            host.send(signal.SIGSTOP, program)
        yield
    finally:
        for host in hosts:
            host.send(signal.SIGCONT, program)


def timed(act, *words):
    begin = time.monotonic()
    said = act(*words)
    return time.monotonic() - begin, said


def test_two_of_three_kdcs_are_silent(realm):
    """Whether it knows them or has to find out."""
    fresh = {}
    for count in 5 * (0, 2):
        with silent(realm.hosts[:count], "kdc"):
            client = make_client(realm)
            # The second time it knows.
            for name in (f"{count} silent", f"{count} silent, again"):
                taken, said = timed(client.kinit, *USER)
                assert said == "" and taken < AT_MOST
                fresh.setdefault(name, []).append(taken)
    print({name: [round(1000 * each) for each in sorted(times)]
           for name, times in fresh.items()}, "ms")
    with silent(realm.hosts[:2], "kdc"):
        taken, said = timed(make_client(realm, module=False).kinit, *USER)
        assert said == "" and taken > AT_MOST, "this proves nothing"
    print(f"without the module {1000 * taken:.0f} ms")


def test_two_of_three_kpasswdds_are_silent(realm):
    times = {}
    for count in (0, 2):
        with silent(realm.hosts[:count], "kpasswdd"):
            client = make_client(realm)
            realm.set_password("user2", "first word")
            word = f"another word {count}"
            taken, said = timed(client.kpasswd, "user2", "first word", word,
                                word)
            assert "Success" in said and taken < 2 * AT_MOST, said
            times[count] = round(1000 * taken)
    print(times, "ms")


def test_all_are_silent(realm):
    """Nothing is known, and nothing breaks; then one is back."""
    client = make_client(realm, patience=50, memory_time=0)
    with silent(realm.hosts, "kdc"):
        # Well below what libkrb5 then waits for each of them.
        assert "reach any KDC" in client.kinit(*USER, timeout=120)
    assert client.kinit(*USER) == ""


def test_memory(realm):
    """Who answered is asked, and nobody else, until it is forgotten."""
    client = make_client(realm)
    assert client.kinit(*USER) == ""
    memory = client.folder / "memory/postcell-kdcs"
    assert re.search(r"^kdc \S+ \d+ answered$", memory.read_text(), re.M)
    assert memory.stat().st_mode & 0o777 == 0o600
    now = int(time.time())
    lines = [f"kdc {place(host)} {now} {word}\n" for host, word in
             zip(realm.hosts, ("silent", "answered", "silent"))]
    memory.write_text("".join(lines))
    before = [host.log().count("AS-REQ") for host in realm.hosts]
    assert client.kinit(*USER) == ""
    asked = [host.log().count("AS-REQ") - count
             for host, count in zip(realm.hosts, before)]
    assert asked[0] == asked[2] == 0 and asked[1] > 0
    assert memory.read_text() == "".join(lines)
    # Of long ago, and of the future: they are asked again.
    for other in (now - 3600, now + 3600):
        memory.write_text("".join(lines).replace(str(now), str(other)) +
                          "rubbish\0\n")
        assert client.kinit(*USER) == ""
        assert any(now <= int(line.split()[2]) < now + 1800
                   for line in memory.read_text().splitlines()
                   if line.endswith("answered"))


def test_memory_of_others(realm):
    """It is neither read nor written where others could have written."""
    client = make_client(realm)
    memory = client.folder / "memory"
    memory.chmod(0o777)
    assert client.kinit(*USER) == ""
    assert not list(memory.iterdir())
    memory.chmod(0o700)
    (memory / "postcell-kdcs").symlink_to("/dev/zero")
    assert client.kinit(*USER) == ""
    assert not (memory / "postcell-kdcs").is_symlink()


class Silent:
    """An address where nobody answers; how often it was asked."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.socket.setblocking(False)

    @property
    def place(self):
        address, port = self.socket.getsockname()
        return f"{address} {port}"

    def asked(self):
        count = 0
        with contextlib.suppress(BlockingIOError):
            while self.socket.recv(65536):
                count += 1
        return count


def test_file(realm):
    """Who is down by the file is not asked; who may be written by others, not
    believed."""
    dead = Silent(f"{NET}.71")
    host = realm.hosts[0]
    client = make_client(realm, patience=0, site="south")
    rewrite(client, r"\t\tkdc = .*\n", "")
    # Without the file there is no KDC at all.
    assert "unable to reach any KDC" in client.kinit(*USER)
    kdcs = client.folder / "kdcs"
    live = f"kdc {REALM} {host.address} {host.port} kdc1 north up\n"
    kdcs.write_text(f"kdc {REALM} {dead.place} kdc0 south down\n{live}")
    kdcs.chmod(0o644)
    assert client.kinit(*USER) == ""
    assert dead.asked() == 0
    kdcs.write_text(f"kdc {REALM} {dead.place} kdc0 south up\n{live}")
    assert client.kinit(*USER) == ""
    assert dead.asked() > 0, "this proves nothing"
    kdcs.write_text(live)
    kdcs.chmod(0o666)
    assert "unable to reach any KDC" in client.kinit(*USER)
    kdcs.unlink()
    os.mkfifo(kdcs, 0o644)
    assert "unable to reach any KDC" in client.kinit(*USER)


@pytest.mark.parametrize("option, value", [
    ("patience", "soon"), ("memory_time", "-1"), ("patience", "1001")])
def test_no_locator_is_no_harm(realm, option, value):
    client = make_client(realm, **{option: value})
    assert client.kinit(*USER) == ""


@pytest.fixture
def names(tmp_path):
    """kdc2 is at an address that only this server knows."""
    address = f"{NET}.72"
    port = quiet_port(socket.SOCK_DGRAM, address)
    server = Knot(tmp_path / "dns", address, port,
                  extra=f"kdc2 A {NET}.66\n").start()
    yield server
    server.stop()


def test_file_of_replicad(realm, names, tmp_path):
    """It follows the map of the cell, names and transitions included."""
    kdcs = tmp_path / "realm/kdcs"
    for number, host in enumerate(realm.hosts):
        at = f"kdc2.{names.domain}" if number == 2 else host.address
        realm.directory.add(
            f"cn=kdc{number},ou=hosts,{SUFFIX}", objectClass="postcellHost",
            cn=f"kdc{number}", postcellState="up", postcellSite="south",
            postcellService=[f"kerberos://{at}:{host.port}",
                             f"kpasswd://{at}:{host.kpasswd_port}"])
    replicad = Replicad(tmp_path / "replicad", [realm.directory])
    with open(replicad.conf, "a") as conf:
        conf.write(f'locator {{\n\trealm = "{REALM}"\n\tfile = "{kdcs}"\n'
                   f'\tdns_servers = {{ "{names.endpoint}" }}\n}}\n')

    def lines(state="up", number=0):
        return {f"{service} {REALM} {host.address} {port} kdc{i} south "
                f"{state if i == number else 'up'}"
                for i, host in enumerate(realm.hosts) for service, port in
                (("kdc", host.port), ("kpasswd", host.kpasswd_port))}

    def written():
        return set(kdcs.read_text().splitlines()[1:]) if kdcs.exists() \
            else None

    replicad.start()
    try:
        replicad.wait_for(lambda: written() == lines(), what="the file")
        assert kdcs.stat().st_mode & 0o777 == 0o644
        moment = time.strftime("%Y%m%d%H%M%S.000000Z",
                               time.gmtime(time.time() + 2))
        realm.directory.modify(f"cn=kdc0,ou=hosts,{SUFFIX}",
                               postcellTransition=f"{moment} 0 down 100")
        replicad.wait_for(lambda: written() == lines("down"),
                          what="a transition that comes to pass")
        client = make_client(realm, kdcs=kdcs)
        rewrite(client, r"\t\tkdc = .*\n", "")
        assert client.kinit(*USER) == ""
        # At a start without the name server, those that have addresses.
        replicad.stop()
        names.stop()
        inode = kdcs.stat().st_ino
        replicad.start()
        replicad.wait_for(lambda: kdcs.stat().st_ino != inode, 20,
                          "the file, anew")
        assert {line for line in lines("down") if "kdc2" not in line} \
            == written()
    finally:
        replicad.stop()
        realm.directory.delete(*[f"cn=kdc{i},ou=hosts,{SUFFIX}"
                                 for i in range(3)])
    wait_until(kdcs.exists)
