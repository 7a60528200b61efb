"""Real name servers for scenarios: Knot and BIND 9, as ordinary processes.

Each has a folder, an address and a port of its own; nothing of the machine's
configuration is used, and the packaged services stay off.
"""

import base64
import pathlib
import shutil
import socket
import subprocess

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsigkeyring
import dns.zone

from directory import wait_until
from program import Program

PATH = "/usr/sbin:/usr/bin"
KEY = "zoned.test"
SECRET = base64.b64encode(b"a secret of the tests, long enough").decode()
DOMAIN = "cell.test"

# What others keep in the zone; the publisher must never touch it.
FOREIGN = """
@ TXT "v=spf1 -all"
@ A 192.0.2.80
www A 192.0.2.80
mail TXT "not an address"
_imap._tcp TXT "neither"
other SRV 0 0 1 www
proxy9 A 192.0.2.99
"""


def zone_text(domain=DOMAIN, extra=""):
    return (f"$ORIGIN {domain}.\n$TTL 300\n"
            "@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\n"
            f"ns A 192.0.2.53\n{FOREIGN}{extra}\n")


class NameServer(Program):
    """One server with one zone that the test's key may update."""

    must_end = False

    program = None

    def __init__(self, folder, address, port, domain=DOMAIN,
                 rights="update transfer", extra=""):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.address, self.port, self.domain = address, port, domain
        self.rights = rights
        self.process = None
        self.zone_path = self.folder / "zone"
        self.zone_path.write_text(zone_text(domain, extra))

    @property
    def endpoint(self):
        return f"{self.address}:{self.port}"

    def start(self):
        (self.folder / "conf").write_text(self.configuration())
        program = shutil.which(self.program, path=PATH) or self.program
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [program, *self.arguments()], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, cwd=self.folder)
        try:
            wait_until(self.answers, 30, f"{self.program} at {self.endpoint}")
        except AssertionError as fault:
            self.stop()
            raise AssertionError(f"{fault}\n{self.log()}")
        return self

    def answers(self):
        assert self.process.poll() is None, self.log()
        try:
            query = dns.message.make_query(self.domain, "SOA")
            answer = dns.query.tcp(query, self.address, 1, port=self.port)
        except (OSError, EOFError, dns.exception.DNSException):
            return False
        return answer.rcode() == dns.rcode.NOERROR or not self.domain

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    # What it says.

    def query(self, name, kind="A", timeout=5):
        """The records' text of one name and type, sorted."""
        query = dns.message.make_query(name, kind)
        answer = dns.query.udp(query, self.address, timeout, port=self.port)
        return sorted(str(record) for found in answer.answer
                      for record in found
                      if dns.rdatatype.to_text(record.rdtype) == kind)

    def addresses(self, name):
        return set(self.query(name))

    def transfer(self):
        keyring = dns.tsigkeyring.from_text({KEY: SECRET})
        return dns.zone.from_xfr(dns.query.xfr(
            self.address, self.domain, port=self.port, keyring=keyring,
            keyname=KEY, lifetime=20, relativize=False), relativize=False)

    def records(self):
        """(name, type, TTL, text) of all that the zone has, but SOA."""
        return {(name.to_text().rstrip("."), dns.rdatatype.to_text(kind.rdtype),
                 kind.ttl, record.to_text())
                for name, node in self.transfer().items()
                for kind in node for record in kind
                if kind.rdtype != dns.rdatatype.SOA}

    def foreign(self):
        """What of the zone belongs to others."""
        names = {self.domain, f"www.{self.domain}", f"ns.{self.domain}",
                 f"other.{self.domain}", f"proxy9.{self.domain}"}
        return {record for record in self.records()
                if (record[0] in names and record[1] != "MX") or
                (record[1] == "TXT" and "epoch" not in record[0]
                 and "kerberos" not in record[0])}

    def epoch(self):
        found = [record[3] for record in self.records()
                 if record[0].startswith("_postcell-epoch.")]
        assert len(found) <= 1, found
        return found[0] if found else None


class Knot(NameServer):
    program = "knotd"

    def configuration(self):
        actions = ", ".join(self.rights.split())
        acl = f"    acl: a\nacl:\n  - id: a\n    key: {KEY}\n" \
              f"    action: [{actions}]\n" if actions else ""
        sections = acl.partition("acl:\n  - ")
        return f"""server:
    rundir: "{self.folder}"
    listen: {self.address}@{self.port}
    udp-workers: 1
    tcp-workers: 2
    background-workers: 1
database:
    storage: "{self.folder}"
    journal-db-max-size: 64M
    kasp-db-max-size: 16M
    timer-db-max-size: 16M
    catalog-db-max-size: 16M
log:
  - target: stderr
    any: info
key:
  - id: {KEY}
    algorithm: hmac-sha256
    secret: {SECRET}
{sections[1]}{sections[2]}
zone:
  - domain: {self.domain}
    storage: "{self.folder}"
    file: zone
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: changes
{"    acl: a" if actions else ""}
"""

    def arguments(self):
        return ["-c", self.folder / "conf"]


class Bind(NameServer):
    """It listens only on addresses that an interface has: of loopback's
    network that is 127.0.0.1 alone."""

    program = "named"

    def __init__(self, folder, address, port, **more):
        super().__init__(folder, "127.0.0.1", port, **more)

    def configuration(self):
        rights = self.rights.split()
        key = f"key \"{KEY}\";"
        return f"""options {{
    directory "{self.folder}";
    pid-file "{self.folder}/pid";
    session-keyfile "{self.folder}/session.key";
    managed-keys-directory "{self.folder}";
    listen-on port {self.port} {{ {self.address}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    notify no;
    dnssec-validation no;
}};
controls {{ }};
key "{KEY}" {{ algorithm hmac-sha256; secret "{SECRET}"; }};
zone "{self.domain}" {{
    type primary;
    file "{self.zone_path}";
    allow-update {{ {key if "update" in rights else "none;"} }};
    allow-transfer {{ {key if "transfer" in rights else "none;"} }};
}};
"""

    def arguments(self):
        return ["-g", "-c", self.folder / "conf", "-n", "1"]


class Nsd(NameServer):
    """It takes no updates: it reads its file again on SIGHUP."""

    program = "nsd"

    def configuration(self):
        return f"""server:
    server-count: 1
    ip-address: {self.address}@{self.port}
    do-ip6: no
    username: ""
    chroot: ""
    database: ""
    pidfile: "{self.folder}/pid"
    xfrdfile: ""
    zonelistfile: "{self.folder}/zone.list"
    zonesdir: "{self.folder}"
    xfrdir: "{self.folder}"
    zonefiles-check: yes
    cookie-secret-file: ""
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: {self.domain}
    zonefile: "{self.zone_path}"
"""

    def arguments(self):
        return ["-d", "-c", self.folder / "conf"]


class Babbler:
    """A server that answers every connection with octets of the test's."""

    def __init__(self, address, port, answer):
        self.socket = socket.create_server((address, port))
        self.endpoint, self.answer = f"{address}:{port}", answer
        self.asked = 0

    def serve(self):
        """Until the socket is closed; for a thread."""
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            self.asked += 1
            with client:
                client.settimeout(2)
                try:
                    question = client.recv(65536)
                    client.sendall(self.answer(question))
                    while client.recv(65536):
                        pass
                except OSError:
                    pass

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
