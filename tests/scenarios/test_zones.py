"""postcell-zoned against real Knot and BIND 9."""

import hashlib
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
import xml.etree.ElementTree

import dns.name
import dns.query
import dns.resolver
import dns.tsigkeyring
import dns.update
import pytest

from directory import ROOT, SUFFIX, Directory, base_ldif, wait_until
from nameservers import (KEY, PATH, SECRET, Babbler, Bind, DOMAIN, Knot,
                         Nsd)
from replicad import Replicad
from zoned import NAMES, ZONED, CellFile, Zoned, address, transition

MAIL = f"mail.{DOMAIN}"
ALL = {address(i) for i in (1, 2, 3)}
DNS = ("127.0.60.1", 16001)
DNS2 = ("127.0.61.1", 16002)


@pytest.fixture
def replica(tmp_path):
    """A replica that follows a file; .cell is the file."""
    cell = CellFile(tmp_path / "cell.ldif")
    replicad = Replicad(tmp_path / "replica", options={
        "source": "ldif", "ldif_file": str(cell.path)})
    replicad.start(wait="connected")
    replicad.cell = cell
    cell.replicad = replicad
    yield replicad
    replicad.stop()


@pytest.fixture(params=[Knot, Bind], ids=["knot", "bind"])
def server(request, tmp_path):
    running = request.param(tmp_path / "dns", *DNS).start()
    yield running
    running.stop()


@pytest.fixture
def knot(tmp_path):
    running = Knot(tmp_path / "dns", *DNS).start()
    yield running
    running.stop()


@pytest.fixture
def publisher(replica, tmp_path):
    """Makes publishers of the replica's cell, and ends them."""
    made = []

    def make(servers, name="zoned", **options):
        made.append(Zoned(tmp_path / name, replica.path, servers, **options))
        return made[-1]
    yield make
    for each in made:
        assert each.stop() in (None, 0), each.log()
        check_log(each)


def check_log(zoned):
    """A build with sanitizers tells its faults in the log."""
    assert "Sanitizer" not in zoned.log() and \
        "runtime error" not in zoned.log(), zoned.log()


@pytest.fixture
def zoned(publisher, server):
    return publisher([server.endpoint])


def wait_addresses(server, expected, timeout, name=MAIL):
    """Until they are the answer, by the server's word; how long it took."""
    begin = time.monotonic()
    wait_until(lambda: server.addresses(name) == expected, timeout,
               f"{name} is {expected}, not {server.addresses(name)}")
    return time.monotonic() - begin


def check_zone_text(path, domain=DOMAIN):
    for command in (["named-checkzone", "-q", "-k", "fail", "-n", "fail",
                     domain, path],
                    ["kzonecheck", "-o", domain, path]):
        program = shutil.which(command[0], path=PATH)
        assert program, command[0]
        done = subprocess.run([program, *command[1:]], capture_output=True,
                              text=True, timeout=30)
        assert done.returncode == 0, (command, done.stdout, done.stderr)


# ---- what is published ----

def test_publishes_the_cell(zoned, server, tmp_path):
    before = server.foreign()
    assert len(before) > 6
    zoned.start().wait_settled()
    assert server.addresses(MAIL) == ALL
    assert server.query(MAIL, "AAAA") == [f"2001:db8::{i}" for i in (1, 2, 3)]
    assert server.addresses(f"proxy2.hosts.{DOMAIN}") == {address(2)}
    assert server.query(DOMAIN, "MX") == [
        f"10 proxy{i}.hosts.{DOMAIN}." for i in (1, 2, 3)]
    # proxy2 is in the south, the domain's sites are north, then south.
    assert server.query(f"_imap._tcp.{DOMAIN}", "SRV") == [
        f"10 100 143 proxy1.hosts.{DOMAIN}.",
        f"10 100 143 proxy3.hosts.{DOMAIN}.",
        f"20 100 143 proxy2.hosts.{DOMAIN}."]
    assert server.query(f"_pop3._tcp.{DOMAIN}", "SRV") == ["0 0 0 ."]
    for kind in ("_kerberos._udp", "_kerberos._tcp"):
        assert server.query(f"{kind}.{DOMAIN}", "SRV") == [
            f"20 100 88 kdc1.{DOMAIN}."]
    assert server.query(f"_kpasswd._udp.{DOMAIN}", "SRV") == [
        f"20 100 464 kdc1.{DOMAIN}."]
    assert server.query(f"_kerberos.{DOMAIN}", "TXT") == ['"CELL.TEST"']
    assert server.query(f"autoconfig.{DOMAIN}", "CNAME") == [f"www.{DOMAIN}."]
    assert '"v=1"' in server.epoch()
    assert server.foreign() == before
    text = tmp_path / "transferred"
    server.transfer().to_file(str(text), relativize=False)
    check_zone_text(text)


def test_clients_find_the_cell(zoned, server):
    """RFC 6186 section 3.4: SRV, its target's address, in order."""
    zoned.start().wait_settled()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [server.address], server.port
    for service, port in (("imap", 143), ("imaps", 993),
                          ("submission", 587), ("sieve", 4190)):
        found = resolver.resolve(f"_{service}._tcp.{DOMAIN}", "SRV")
        best = min(found, key=lambda record: record.priority)
        assert best.port == port
        assert {str(a) for a in resolver.resolve(best.target, "A")} <= ALL
    pop3 = resolver.resolve(f"_pop3._tcp.{DOMAIN}", "SRV")
    assert [r.target for r in pop3] == [dns.name.root]
    site = resolver.resolve(f"autoconfig.{DOMAIN}", "A")
    assert [str(a) for a in site] == ["192.0.2.80"]


def test_drain_and_return(zoned, server, replica):
    zoned.start().wait_settled()
    replica.cell.set("proxy2", "drain")
    assert wait_addresses(server, ALL - {address(2)}, 2) < 2
    wait_until(lambda: len(server.query(f"_imap._tcp.{DOMAIN}", "SRV")) == 2,
               2, "SRV without proxy2")
    # A drained host keeps its own name: sessions may still look it up.
    assert server.addresses(f"proxy2.hosts.{DOMAIN}") == {address(2)}
    replica.cell.set("proxy2", "up")
    wait_addresses(server, ALL, 5)


def test_failure_and_return(zoned, server, replica):
    zoned.options["return_delay"] = 2
    zoned.start().wait_settled()
    replica.cell.set("proxy1", "failed")
    wait_addresses(server, ALL - {address(1)}, 2)
    replica.cell.set("proxy1", "up")
    begin = time.monotonic()
    wait_addresses(server, ALL, 5)
    assert time.monotonic() - begin > 1.5, "hysteresis was not kept"


def test_a_planned_drain_needs_no_event(zoned, knot_only, replica):
    replica.cell.set("proxy3", "up", offset=-60)
    zoned.start().wait_settled()
    replica.cell.set("proxy3", "drain", offset=1.5)
    begin = time.monotonic()
    wait_addresses(knot_only, ALL - {address(3)}, 4)
    assert time.monotonic() - begin > 1


@pytest.fixture
def knot_only(server):
    if not isinstance(server, Knot):
        pytest.skip("once is enough")
    return server


def test_never_empty(publisher, knot, replica):
    zoned = publisher([knot.endpoint]).start()
    zoned.wait_settled()
    replica.cell.set("proxy1", "failed")
    replica.cell.set("proxy2", "failed")
    wait_until(lambda: zoned.events("plan_note"), 5, "it says why")
    zoned.wait_settled()
    assert knot.addresses(MAIL) == ALL, "one of three up is below 34 %"
    replica.cell.set("proxy1", "drain")
    # Drain beats health, and one of two is 50 %.
    wait_addresses(knot, {address(3)}, 3)
    for name in ("proxy2", "proxy3"):
        replica.cell.set(name, "drain")
    wait_addresses(knot, ALL, 3)
    for name in ("proxy1", "proxy2", "proxy3"):
        replica.cell.set(name, "down")
    wait_until(lambda: "are down" in str(zoned.show()["notes"]), 5, "note")
    zoned.wait_settled()
    assert knot.addresses(MAIL) == ALL
    # An empty directory is a mistake, not a wish.
    kept = knot.records()
    for name in list(replica.cell.entries):
        del replica.cell.entries[name]
    replica.cell.write()
    wait_until(lambda: zoned.show()["fault"] or replica.log().count("prune"),
               10, "it says that nothing is published")
    assert knot.records() == kept


def test_address_families(publisher, knot, replica):
    zoned = publisher([knot.endpoint]).start()
    zoned.wait_settled()
    replica.cell.entries["proxy1"]["postcellVote"] = ["proxy1/ipv6 down"]
    replica.cell.write()
    wait_until(lambda: knot.query(MAIL, "AAAA") ==
               ["2001:db8::2", "2001:db8::3"], 3, "AAAA without proxy1")
    assert knot.addresses(MAIL) == ALL


def test_addresses_by_name(publisher, knot, replica):
    """Service URLs may name hosts: c-ares asks the cell's own DNS."""
    replica.cell.entries["proxy1"]["postcellService"] = [
        f"{scheme}://proxy9.{DOMAIN}" for scheme in ("imap", "submission")]
    replica.cell.write()
    wait_until(lambda: "proxy9" in str(replica.host("proxy1")), 5, "replica")
    zoned = publisher([knot.endpoint])
    zoned.names = f'dns_servers = {{ "{knot.endpoint}" }}\n{NAMES}'
    zoned.start().wait_settled()
    assert knot.addresses(MAIL) == {address(2), address(3), "192.0.2.99"}
    assert f"10 100 143 proxy9.{DOMAIN}." in \
        knot.query(f"_imap._tcp.{DOMAIN}", "SRV")


def test_tlsa(publisher, knot, tmp_path):
    key, pem = tmp_path / "key", tmp_path / "pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                    "-out", pem, "-subj", "/CN=mail", "-days", "2"],
                   check=True, capture_output=True)
    public = subprocess.run(["openssl", "pkey", "-in", key, "-pubout",
                             "-outform", "DER"], check=True,
                            capture_output=True).stdout
    zoned = publisher([knot.endpoint])
    zoned.names = NAMES + f"""tlsa "{MAIL}" {{
        certificates = {{ "{pem}" }}
        ports = {{ "25", "993" }}
    }}"""
    zoned.start().wait_settled()
    for port in (25, 993):
        assert knot.query(f"_{port}._tcp.{MAIL}", "TLSA") == [
            f"3 1 1 {hashlib.sha256(public).hexdigest()}"]
    # A file that is gone for a moment takes no record away.
    pem.unlink()
    zoned.process.send_signal(signal.SIGHUP)
    wait_until(lambda: zoned.events("certificate_unread"), 5, "warning")
    zoned.wait_settled()
    assert knot.query(f"_25._tcp.{MAIL}", "TLSA")


def test_changes_come_in_steps(publisher, knot, replica):
    zoned = publisher([knot.endpoint], change_max=4, change_interval=50)
    zoned.start()
    wait_until(lambda: zoned.events("zone_updated"), 5, "an update")
    zoned.wait_settled(30)
    sizes = [int(re.search(r"records=(\d+)", line)[1])
             for line in zoned.events("zone_updated")]
    assert max(sizes) <= 4 and len(sizes) > 8, sizes
    assert knot.addresses(MAIL) == ALL


# ---- trouble ----

def test_drift_is_repaired(zoned, server):
    zoned.start().wait_settled()
    good = {r for r in server.records() if "epoch" not in r[0]}
    update = dns.update.UpdateMessage(
        DOMAIN, keyring=dns.tsigkeyring.from_text({KEY: SECRET}), keyname=KEY)
    update.delete("mail", "A")
    update.add("imap", 30, "A", "203.0.113.1")
    update.add("mine", 30, "A", "203.0.113.1")
    assert dns.query.tcp(update, server.address, 5,
                         port=server.port).rcode() == 0
    assert server.addresses(MAIL) == set()
    wait_addresses(server, ALL, 8)
    wait_until(lambda: server.addresses(f"imap.{DOMAIN}") == ALL, 5, "imap")
    assert zoned.events("zone_drifted")
    assert {r for r in server.records() if "epoch" not in r[0]} - good == \
        {(f"mine.{DOMAIN}", "A", 30, "203.0.113.1")}


@pytest.mark.parametrize("kind", [Knot, Bind])
def test_others_are_in_the_way(publisher, replica, kind, tmp_path):
    """A server silently takes no CNAME where other records are."""
    server = kind(tmp_path / "dns", *DNS,
                  extra="autoconfig A 192.0.2.80").start()
    try:
        zoned = publisher([server.endpoint], check_interval=60).start()
        wait_until(lambda: zoned.events("zone_failed"), 10, "it says so")
        assert "in the way" in zoned.log()
        updates = len(zoned.events("zone_updated"))
        assert updates <= 3
        # All else goes its way.
        replica.cell.set("proxy1", "drain")
        wait_addresses(server, ALL - {address(1)}, 2)
        assert server.addresses(f"autoconfig.{DOMAIN}") == {"192.0.2.80"}
    finally:
        server.stop()


def test_primary_stopped_then_all_catches_up(zoned, server, replica):
    zoned.start().wait_settled()
    server.send(signal.SIGSTOP)
    replica.cell.set("proxy1", "drain")
    wait_until(lambda: zoned.show()["targets"][0]["state"] == "failing", 10,
               "it notices")
    replica.cell.set("proxy2", "drain")
    replica.cell.set("proxy1", "up")
    server.send(signal.SIGCONT)
    wait_addresses(server, ALL - {address(2)}, 10)
    zoned.wait_settled()
    assert zoned.events("zone_reached")


def test_primary_stopped_for_long(zoned, server, replica):
    """The pauses have grown by then, but never beyond retry_max."""
    timeout, retry_max = zoned.options["timeout"], 4
    zoned.options["retry_max"] = retry_max
    zoned.start().wait_settled()
    server.send(signal.SIGSTOP)

    def failures():
        return zoned.show()["targets"][0]["failures"]

    for count, name in enumerate(("proxy1", "proxy2", "proxy1"), 1):
        replica.cell.set(name, "up" if count == 3 else "drain")
        wait_until(lambda: failures() >= 2 * count, 60, "another failure")
    pauses = [int(re.search(r"retry_ms=(\d+)", line)[1])
              for line in zoned.events("zone_failed")]
    assert max(pauses) > 1000 * retry_max / 2
    assert max(pauses) <= 1000 * retry_max
    server.send(signal.SIGCONT)
    wait_addresses(server, ALL - {address(2)}, retry_max + 2 * timeout + 2)
    zoned.wait_settled()


def test_primary_killed_then_all_catches_up(zoned, server, replica):
    zoned.start().wait_settled()
    before = server.foreign()
    server.stop(signal.SIGKILL)
    replica.cell.set("proxy3", "drain")
    wait_until(lambda: zoned.show()["targets"][0]["state"] == "failing", 10,
               "it notices")
    server.start()
    wait_addresses(server, ALL - {address(3)}, 10)
    assert server.foreign() == before


def test_several_primaries(publisher, knot, replica, tmp_path):
    """One dead primary keeps nothing from the others."""
    bind = Bind(tmp_path / "bind", *DNS2).start()
    try:
        zoned = publisher([knot.endpoint, bind.endpoint, "127.0.62.1:16003"])
        zoned.start()
        for each in (knot, bind):
            wait_addresses(each, ALL, 10)
        replica.cell.set("proxy1", "drain")
        for each in (knot, bind):
            wait_addresses(each, ALL - {address(1)}, 2)
        wait_until(lambda: [t["state"] for t in zoned.show()["targets"]] ==
                   ["settled", "settled", "failing"], 5, "the states")
    finally:
        bind.stop()


def assert_failed(zoned, server, words):
    """--once says why and changes nothing."""
    before = server.records() if server else None
    done = zoned.run("--once")
    assert done.returncode == 69, done.stderr
    assert words in done.stderr, done.stderr
    if server:
        assert server.records() == before


def test_wrong_secret(zoned, server):
    zoned.secret = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    assert_failed(zoned, server, "BADSIG")


def test_unknown_key(zoned, server):
    zoned.key = "nobody.test"
    assert_failed(zoned, server, "BADKEY")


@pytest.mark.parametrize("kind", [Knot, Bind])
def test_refused_update(publisher, kind, tmp_path):
    server = kind(tmp_path / "dns", *DNS, rights="transfer").start()
    try:
        assert_failed(publisher([server.endpoint]), server,
                      "the server refuses it"
                      if kind is Bind else "the server ")
    finally:
        server.stop()


@pytest.mark.parametrize("kind", [Knot, Bind])
def test_refused_transfer(publisher, kind, tmp_path):
    server = kind(tmp_path / "dns", *DNS, rights="update").start()
    try:
        assert_failed(publisher([server.endpoint]), None, "the server ")
        assert server.addresses(MAIL) == set()
    finally:
        server.stop()


def test_zone_that_does_not_exist(publisher, server):
    zoned = publisher([server.endpoint])
    zoned.domain = "nowhere.test"
    zoned.zone_lines, zoned.names = "", 'name "mail.nowhere.test" {}\n'
    assert_failed(zoned, server, "the server ")


GARBAGE = {
    "nothing": (lambda q: b"", "closed the connection too early"),
    "noise": (lambda q: b"\x00\x20" + bytes(range(32)), "malformed"),
    "short": (lambda q: b"\x00\x01x", "malformed"),
    "cut": (lambda q: b"\xff\xff" + b"x" * 100, "does not answer"),
    "echo": (lambda q: q, "another question"),
    "unsigned": (lambda q: b"\x00\x0c" + q[2:4] + b"\x84\x00" + bytes(8),
                 "not signed"),
    "other id": (lambda q: b"\x00\x0c" + bytes([q[2] ^ 1]) + q[3:4] +
                 b"\x84\x00" + bytes(8), "another question"),
    "text": (lambda q: b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not answer"),
    "endless": (lambda q: (b"\x00\x0c" + q[2:4] + b"\x84\x00" + bytes(8)) *
                100000, "not signed"),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage(publisher, name):
    answer, words = GARBAGE[name]
    babbler = Babbler("127.0.63.1", 16010, answer)
    thread = threading.Thread(target=babbler.serve)
    thread.start()
    try:
        if name == "nothing":
            babbler.answer = lambda q: (_ for _ in ()).throw(OSError())
        assert_failed(publisher([babbler.endpoint]), None, words)
        assert babbler.asked >= 3
    finally:
        babbler.close()
        thread.join()


# ---- several publishers ----

def proxy_dn(i):
    return f"cn=proxy{i},ou=proxies,{SUFFIX}"


@pytest.fixture
def directory(tmp_path):
    made = Directory(tmp_path / "ldap", "127.0.64.1", 16389)
    made.load(base_ldif())
    made.start()
    for i in range(1, 7):
        made.add(proxy_dn(i), objectClass="postcellProxy", cn=f"proxy{i}",
                 postcellState="up", postcellService=CellFile.services(i))
    yield made
    made.stop()


def newest_csn(epoch):
    return max(re.findall(r'csn=([^"]+)', epoch or ""), default="")


def watch_epochs(server, seen, stop):
    while not stop.is_set():
        found = server.query(f"_postcell-epoch.{DOMAIN}", "TXT")
        if found and (not seen or seen[-1] != newest_csn(found[0])):
            seen.append(newest_csn(found[0]))
        time.sleep(0.002)


def give_way(seen):
    """Until something more was published, if it is: changes come so fast that
    a slow machine would make one update of them all."""
    before = len(seen)
    end = time.monotonic() + 3
    while len(seen) == before and time.monotonic() < end:
        time.sleep(0.01)


def test_two_publishers(directory, server, tmp_path):
    replicas, publishers, seen = [], [], []
    stop = threading.Event()
    watcher = threading.Thread(target=watch_epochs, args=(server, seen, stop))
    before = server.foreign()
    dice = random.Random(5)
    expected = {address(i) for i in range(1, 7)}
    try:
        for i in (1, 2):
            replicas.append(Replicad(tmp_path / f"replica{i}",
                                     [directory]).start())
            publishers.append(Zoned(tmp_path / f"zoned{i}", replicas[-1].path,
                                    [server.endpoint], return_delay=0,
                                    fail_open=0, timeout=5).start())
        wait_addresses(server, expected, 10)
        watcher.start()
        states = dict.fromkeys(range(1, 7), "up")
        connection = directory.connect()
        for round_number in range(500):
            i = dice.randint(1, 6)
            states[i] = dice.choice(["up", "drain", "down"])
            if not any(s == "up" for s in states.values()):
                states[i] = "up"
            connection.modify_s(proxy_dn(i), [
                (2, "postcellState", states[i].encode()),
                (2, "postcellTransition", transition(states[i]).encode())])
            if round_number % 20 == 19:
                give_way(seen)
            if round_number == 250:
                publishers[0].stop(signal.SIGKILL)
            if round_number == 300:
                publishers[0].start()
        connection.unbind_s()
        expected = {address(i) for i, s in states.items() if s == "up"}
        wait_addresses(server, expected, 10)
        for each in publishers:
            each.wait_settled()
        assert server.addresses(MAIL) == expected
        assert len(server.query(f"_imap._tcp.{DOMAIN}", "SRV")) == \
            len(expected)
        assert newest_csn(server.epoch()) <= max(directory.csns())
        assert server.foreign() == before
        counts = [each.show()["targets"][0]["updates"] for each in publishers]
        assert sum(counts) > 10, counts
        assert not any(each.events("zone_failed") for each in publishers)
    finally:
        stop.set()
        if watcher.is_alive():
            watcher.join()
        for each in publishers:
            each.stop()
            check_log(each)
        for each in replicas:
            each.stop()
    assert len(seen) > 10 and seen == sorted(seen), \
        "an older state replaced a newer one"


def test_older_data_replaces_nothing(directory, server, tmp_path):
    """A publisher whose replica stands still must not undo what is newer."""
    old = Replicad(tmp_path / "replica1", [directory]).start()
    new = Replicad(tmp_path / "replica2", [directory]).start()
    publishers = [Zoned(tmp_path / "zoned1", old.path, [server.endpoint]),
                  Zoned(tmp_path / "zoned2", new.path, [server.endpoint])]
    try:
        publishers[0].start().wait_settled()
        old.process.send_signal(signal.SIGSTOP)
        directory.modify(proxy_dn(1), postcellState="drain",
                         postcellTransition=transition("drain"))
        publishers[1].start()
        rest = {address(i) for i in range(2, 7)}
        wait_addresses(server, rest, 5)
        wait_until(lambda: publishers[0].show()["targets"][0]["state"] ==
                   "deferred", 10, "the old one steps back")
        assert server.addresses(MAIL) == rest
        assert publishers[0].events("zone_deferred")
        old.process.send_signal(signal.SIGCONT)
        for each in publishers:
            each.wait_settled()
        assert server.addresses(MAIL) == rest
    finally:
        for each in publishers:
            each.stop()
            check_log(each)
        old.process.send_signal(signal.SIGCONT)
        old.stop()
        new.stop()


# ---- zone files ----

@pytest.fixture
def file_zone(publisher, knot, tmp_path):
    """A publisher that writes a file, for a base with the highest serial."""
    base, target = tmp_path / "base", tmp_path / "published"
    base.write_text(knot.zone_path.read_text().replace(
        "hostmaster 1 ", "hostmaster 4294967294 ") +
        f"{MAIL}. A 203.0.113.9\n")
    zoned = publisher([])
    zoned.target, zoned.base, zoned.ran = target, base, tmp_path / "ran"
    zoned.zone_lines = f'base = "{base}"\nfile = "{target}"\n' \
        f'hosts = "hosts.{DOMAIN}"\nhook = "echo x >>{zoned.ran}"'
    return zoned


def serial_of(path):
    return int(re.search(r"SOA\s+\S+\s+\S+\s+(\d+)", path.read_text())[1])


def test_zone_file(file_zone, replica):
    file_zone.start().wait_settled()
    text = file_zone.target.read_text()
    check_zone_text(file_zone.target)
    assert serial_of(file_zone.target) == 4294967294
    assert "203.0.113.9" not in text and "192.0.2.99" in text
    assert "v=spf1" in text
    for i, serial in enumerate((4294967295, 1), 1):
        replica.cell.set("proxy2", ("up", "drain")[i % 2])
        wait_until(lambda: serial_of(file_zone.target) == serial, 5,
                   f"serial {serial}")
        file_zone.wait_settled()
        check_zone_text(file_zone.target)
        wait_until(lambda: len(file_zone.ran.read_text().split()) == i + 1,
                   5, "the hook ran")
    assert text.splitlines()[2:] == \
        file_zone.target.read_text().splitlines()[2:]


def test_zone_file_for_nsd(publisher, replica, tmp_path):
    nsd = Nsd(tmp_path / "nsd", *DNS2)
    base = tmp_path / "base"
    base.write_text(nsd.zone_path.read_text())
    nsd.start()
    zoned = publisher([])
    zoned.zone_lines = f'base = "{base}"\nfile = "{nsd.zone_path}"\n' \
        f'hosts = "hosts.{DOMAIN}"\nhook = "kill -HUP {nsd.process.pid}"'
    try:
        zoned.start()
        wait_addresses(nsd, ALL, 5)
        replica.cell.set("proxy2", "drain")
        wait_addresses(nsd, ALL - {address(2)}, 2)
        replica.cell.set("proxy2", "up")
        wait_addresses(nsd, ALL, 5)
        assert nsd.addresses(f"www.{DOMAIN}") == {"192.0.2.80"}
    finally:
        nsd.stop()


def test_zone_file_trouble(file_zone, replica):
    file_zone.start().wait_settled()
    good = file_zone.target.read_text()
    base = file_zone.base.read_text()
    file_zone.base.write_text("this is no zone\n")
    replica.cell.set("proxy2", "drain")
    wait_until(lambda: file_zone.events("zone_failed"), 5, "it says so")
    assert file_zone.target.read_text() == good
    file_zone.base.write_text(base)
    wait_until(lambda: f"imap.{DOMAIN}.\t30\tIN\tA\t{address(2)}" not in
               file_zone.target.read_text(), 5, "the change came")
    file_zone.wait_settled()


def test_zone_file_hook_is_run_again(file_zone):
    once = file_zone.folder / "once"
    file_zone.zone_lines = file_zone.zone_lines.replace(
        "echo x >>", f"test -e {once} || {{ touch {once}; exit 1; }}; "
        "echo x >>")
    file_zone.start().wait_settled()
    assert file_zone.ran.exists()
    assert any("hook" in line for line in file_zone.events("zone_failed"))


# ---- the commands ----

def test_once_and_diff(zoned, server):
    before = server.records()
    done = zoned.run("--diff")
    assert done.returncode == 1, done.stderr
    assert f"+ {MAIL}.\t30\tIN\tA\t{address(1)}" in done.stdout
    assert server.records() == before
    done = zoned.run("--once")
    assert done.returncode == 0, done.stderr
    assert server.addresses(MAIL) == ALL
    done = zoned.run("--diff")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


def test_show_diff_and_metrics(publisher, knot, replica):
    zoned = publisher([knot.endpoint], metrics="127.0.60.9:16080")
    zoned.start().wait_settled()
    shown = zoned.ctl("show", json_form=False)
    assert shown.returncode == 0
    assert re.search(rf"zone  {DOMAIN} .* settled", shown.stdout)
    assert re.search(r"proxy proxy1 .* up ", shown.stdout)
    done = zoned.ctl("diff", json_form=False)
    assert (done.returncode, done.stdout) == (0, "")
    with urllib.request.urlopen("http://127.0.60.9:16080/metrics",
                                timeout=5) as answer:
        text = answer.read().decode()
    assert f'postcell_zone_settled{{zone="{DOMAIN}",' \
        f'server="{knot.endpoint}"}} 1\n' in text
    knot.stop()
    replica.cell.set("proxy1", "drain")
    wait_until(lambda: zoned.ctl("diff", json_form=False).returncode == 1, 10,
               "a difference")


# ---- autoconfig ----

WEB = ("127.0.60.9", 16081)
WELL_KNOWN = "/.well-known/autoconfig/mail/config-v1.1.xml"


def fetch(path, host, *options):
    """Status and text, as curl gets them from that name."""
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "10", "-w", "\n%{http_code}",
         "--resolve", f"{host}:{WEB[1]}:{WEB[0]}", *options,
         f"http://{host}:{WEB[1]}{path}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text, _, status = done.stdout.rpartition("\n")
    return int(status), text


def servers_of(text):
    """(type, host, port, TLS, login) of each server of a document."""
    root = xml.etree.ElementTree.fromstring(text)
    assert (root.tag, root.get("version")) == ("clientConfig", "1.1")
    provider = root.find("emailProvider")
    assert provider.find("domain").text == provider.get("id")
    found = []
    for kind in ("incomingServer", "outgoingServer"):
        for server in provider.findall(kind):
            assert server.find("authentication").text == "password-cleartext"
            found.append((server.get("type"), *(
                server.find(each).text for each in
                ("hostname", "port", "socketType", "username"))))
    return found


@pytest.fixture
def web(publisher, knot):
    zoned = publisher([knot.endpoint], web=f"{WEB[0]}:{WEB[1]}")
    zoned.start().wait_settled()
    return zoned


def test_autoconfig(web, knot, replica):
    # By SRV there are IMAP with both kinds of TLS and submission with one.
    user = "%EMAILADDRESS%"
    expected = [("imap", MAIL, "993", "SSL", user),
                ("imap", MAIL, "143", "STARTTLS", user),
                ("smtp", MAIL, "587", "STARTTLS", user)]
    for path, host in (("/mail/config-v1.1.xml", f"autoconfig.{DOMAIN}"),
                       (WELL_KNOWN, DOMAIN), (WELL_KNOWN, DOMAIN.upper()),
                       (f"{WELL_KNOWN}?emailaddress=a%40{DOMAIN}", "x.test"),
                       (f"{WELL_KNOWN}?emailaddress=a@{DOMAIN}", "x.test")):
        status, text = fetch(path, host)
        assert status == 200, (path, host, text)
        assert servers_of(text) == expected
    # What the cell takes back is no longer in the document.
    for name in ("proxy1", "proxy2", "proxy3"):
        replica.cell.entries[name]["postcellService"] = [
            each for each in replica.cell.entries[name]["postcellService"]
            if not each.startswith(("imaps:", "submission:"))]
    replica.cell.write()
    wait_until(lambda: knot.query(f"_imaps._tcp.{DOMAIN}", "SRV") ==
               ["0 0 0 ."], 5, "no imaps")
    assert servers_of(fetch(WELL_KNOWN, DOMAIN)[1]) == expected[1:2]


def test_autoconfig_refuses(web):
    for path, host, *options in (
            ("/", DOMAIN), ("/metrics", DOMAIN), (WELL_KNOWN, "other.test"),
            (f"{WELL_KNOWN}?emailaddress=a@other.test", "other.test"),
            (f"{WELL_KNOWN}?emailaddress=%", "other.test"),
            (WELL_KNOWN, f"autoconfig.autoconfig.{DOMAIN}")):
        assert fetch(path, host, *options)[0] == 404, (path, host)
    assert fetch(WELL_KNOWN, DOMAIN, "-d", "x=y")[0] == 405
    status, text = fetch(WELL_KNOWN, DOMAIN, "-I")
    assert status == 200 and "<" not in text
    assert fetch(WELL_KNOWN, DOMAIN, "-H", "X: " + "y" * 9000)[0] == 431


def test_autoconfig_strangers(web, knot, replica):
    """More visitors than there is room for, none of whom says anything."""
    silent = [socket.create_connection(WEB, 10) for _ in range(200)]
    try:
        assert fetch(WELL_KNOWN, DOMAIN)[0] == 200
        descriptors = pathlib.Path(f"/proc/{web.process.pid}/fd")
        assert len(list(descriptors.iterdir())) < 120
        for garbage in (b"\0" * 20000, b"\x16\x03\x01" * 100 + b"\n",
                        b"GET " + b"/" * 20000, b"\r\n"):
            with socket.create_connection(WEB, 10) as stranger:
                stranger.sendall(garbage)
                try:
                    answer = stranger.recv(100)
                except ConnectionResetError:
                    continue
                assert answer[:10] == b"HTTP/1.1 4", answer
        with socket.create_connection(WEB, 10) as slow:
            for octet in b"GET / HTTP/1.0\r\n\r\n":
                slow.sendall(bytes([octet]))
            assert slow.recv(100).startswith(b"HTTP/1.1 404")
        # Names are published meanwhile.
        replica.cell.set("proxy2", "drain")
        wait_addresses(knot, ALL - {address(2)}, 5)
    finally:
        for each in silent:
            each.close()


@pytest.mark.parametrize("text, words", [
    ('fail_open = 101', ":3: fail_open is 101, but must be 0 to 100"),
    ('metrics = "somewhere"', "metrics is not ADDRESS:PORT"),
    ('web = { "somewhere" }', 'web has "somewhere"'),
    ('name "mail.other.test" {}', 'lies in no zone'),
    (f'name "x.{DOMAIN}" {{ services = {{ "gopher" }} }}',
     'no such service: "gopher"'),
    (f'domain "x.{DOMAIN}" {{ srv = {{ "gopher" }} }}', 'srv has no "gopher"'),
    ('zone "z.test" {}', 'key_name must name a key section'),
    ('zone "z.test" { driver = file }', 'driver = file needs base and file'),
    ('key "k" { secret_file = "/nonexistent" }', 'cannot be read'),
    (f'tlsa "{MAIL}" {{ certificates = {{ "/nonexistent" }}\n'
     'ports = { "25" } }', 'no certificate can be read'),
    ('nonsense = 1', "nonsense"),
])
def test_bad_configuration(tmp_path, text, words):
    zoned = Zoned(tmp_path / "zoned", "/nonexistent", ["127.0.60.1:16001"])
    zoned.write_conf()
    path = tmp_path / "bad.conf"
    path.write_text(zoned.conf.read_text().replace(
        'user = ""\n', f'{text}\nuser = ""\n'))
    done = subprocess.run([ZONED, "-n", "-c", path], capture_output=True,
                          text=True, timeout=10)
    assert done.returncode == 78, done
    assert words in done.stderr and str(path) in done.stderr


def test_example_is_sound(tmp_path):
    text = (ROOT / "examples" / "zoned.conf").read_text()
    secret, pem = tmp_path / "secret", tmp_path / "pem"
    secret.write_text(SECRET + "\n")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                    tmp_path / "key", "-out", pem, "-subj", "/CN=x"],
                   check=True, capture_output=True)
    text = re.sub(r'"[^"]*\.secret"', f'"{secret}"', text)
    text = re.sub(r'"[^"]*\.pem"', f'"{pem}"', text)
    path = tmp_path / "zoned.conf"
    path.write_text(text)
    done = subprocess.run([ZONED, "-n", "-c", path], capture_output=True,
                          text=True, timeout=10)
    assert (done.returncode, done.stderr) == (0, "")
