"""A proxy that can be reached by one address family alone: observers find it
out, names lose its addresses of the other one, and nobody declares it failed."""

import re
import socket
import subprocess

import ldap
import pytest

import slapd
import tls
from layout import ADMIN_DN, OBSERVERS, PORTS, PROXIES, SUFFIX
from nameservers import DOMAIN, Knot
from process import wait_until
from zoned import Zoned

MAIL = f"mail.{DOMAIN}"
NAME = "dual"
DN = f"cn={NAME},ou=proxies,{SUFFIX}"
PATIENCE = 30  # s, for observers, deciders and publishers together


def free_port():
    """Of ::1, which has no other addresses for other cells to be at."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as one:
        return one.getsockname()[1]


def has_ipv6():
    try:
        free_port()
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(
    not has_ipv6(), reason="this machine has no ::1, so nothing is shown of "
    "proxies with both address families")


def greets(place):
    try:
        with socket.create_connection(place, 5) as client:
            return client.recv(5) == b"* OK "
    except OSError:
        return False


class Dual:
    """A proxy with an address of each family: a daemon for each, so that one
    family can be there without the other."""

    def __init__(self, cell):
        self.cell = cell
        self.places = {4: (f"{cell.layout.net}.77", PORTS["imap"]),
                       6: ("::1", free_port())}
        self.processes = {}
        tls.make_certificate(cell.layout.tls, cell.layout.ca, NAME,
                             f"{NAME}.{DOMAIN}", [],
                             [address for address, _ in self.places.values()])
        for family in self.places:
            self.write(family)

    def conf(self, family):
        return self.cell.layout.conf / f"{NAME}{family}.conf"

    def write(self, family):
        run = self.cell.layout.run / f"{NAME}{family}"
        run.mkdir()
        text = (self.cell.layout.conf / "proxy1.conf").read_text()
        text = re.sub(r"(?ms)^(listen|network|auth|login|metrics|directory"
                      r"|probe) .*?^}\n", "", text)
        text = re.sub(r'run_dir = ".*"', f'run_dir = "{run}"', text)
        text = text.replace("proxy1.pem", f"{NAME}.pem")
        text = text.replace("proxy1.key", f"{NAME}.key")
        address, port = self.places[family]
        self.conf(family).write_text(
            text + f'listen imap {{ addresses = {{ "{address}" }}\n'
            f'port = {port} }}\n')

    def start(self, family):
        path = self.cell.layout.log / f"{NAME}{family}.log"
        with open(path, "ab") as log:
            self.processes[family] = subprocess.Popen(
                [self.cell.layout.build / "postcell-proxyd", "-c",
                 self.conf(family)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        assert wait_until(lambda: greets(self.places[family]), PATIENCE)

    def stop(self, family):
        process = self.processes.pop(family, None)
        if process:
            process.terminate()
            process.wait(PATIENCE)


@pytest.fixture
def directory(cell):
    return slapd.connect(cell.layout.ldap_uris[0], cell.layout.ca, ADMIN_DN,
                         cell.settings["admin_password"])


@pytest.fixture
def dual(cell, directory):
    proxy = Dual(cell)
    for family in proxy.places:
        proxy.start(family)
    services = [f"imap://{proxy.places[4][0]}:{proxy.places[4][1]}",
                f"imap://[::1]:{proxy.places[6][1]}"]
    directory.add_s(DN, [
        ("objectClass", [b"postcellProxy"]), ("cn", [NAME.encode()]),
        ("postcellSite", [b"here"]), ("postcellState", [b"up"]),
        ("postcellService", [each.encode() for each in services])])
    yield proxy
    directory.delete_s(DN)
    for family in proxy.places:
        proxy.stop(family)
    assert wait_until(lambda: not votes(directory), PATIENCE)


def votes(directory):
    """Of all observers, those that are about this proxy."""
    found = []
    for name in (*PROXIES, *OBSERVERS):
        entry = directory.search_s(f"cn={name},ou=proxies,{SUFFIX}",
                                   ldap.SCOPE_BASE,
                                   attrlist=["postcellVote"])[0][1]
        found += [vote.decode() for vote in entry.get("postcellVote", [])
                  if vote.decode().startswith(NAME)]
    return found


@pytest.fixture
def knot(cell, tmp_path):
    running = Knot(tmp_path / "dns", f"{cell.layout.net}.54", 16054).start()
    yield running
    running.stop()


@pytest.fixture
def zoned(cell, knot, tmp_path):
    """A publisher that has the addresses from the directory alone."""
    publisher = Zoned(
        tmp_path / "zoned", cell.layout.replica("proxy1"), [knot.endpoint],
        names=f'name "{MAIL}" {{ services = {{ "imap" }} }}\n'
        f'dns_servers = {{ "{cell.layout.dns}" }}')
    yield publisher.start()
    publisher.stop()


def test_a_family_that_fails(cell, directory, dual, zoned, knot):
    others = {cell.layout.addresses[name] for name in PROXIES}
    own = f"{NAME}.hosts.{DOMAIN}"

    def names_have(*families):
        a = {dual.places[4][0]} if 4 in families else set()
        aaaa = ["::1"] if 6 in families else []
        return (knot.addresses(MAIL) == others | a
                and knot.query(MAIL, "AAAA") == aaaa
                and knot.query(own, "AAAA") == aaaa
                and knot.addresses(own) == a)

    def all_say(vote):
        return votes(directory).count(vote) == len(PROXIES) + len(OBSERVERS)

    assert wait_until(lambda: names_have(4, 6), PATIENCE)
    for bad, good in ((6, 4), (4, 6)):
        dual.stop(bad)
        assert wait_until(lambda: all_say(f"{NAME}/ipv{bad} down"), PATIENCE)
        assert wait_until(lambda: names_have(good), PATIENCE)
        assert set(votes(directory)) == {f"{NAME}/ipv{bad} down"}
        dual.start(bad)
        assert wait_until(lambda: names_have(4, 6), PATIENCE)
        assert wait_until(lambda: not votes(directory), PATIENCE)
    # It never was declared failed for that.
    entry = directory.search_s(DN, ldap.SCOPE_BASE)[0][1]
    assert not [value for value in entry.get("postcellTransition", [])
                if b"failed" in value]
    # Both at once are another matter.
    dual.stop(4)
    dual.stop(6)
    assert wait_until(lambda: all_say(f"{NAME} down"), PATIENCE)
    assert not [vote for vote in votes(directory) if "/" in vote]
