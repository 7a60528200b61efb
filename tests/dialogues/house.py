"""A proxyd with a replica of its own, for dialogues: no directory, no mail."""

import itertools
import json
import pathlib
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from sanitized import BUILD  # noqa: E402

PORTS = {"plain": 14001, "starttls": 14002, "tls": 14003,
         "one": 14011, "two": 14012, "three": 14013, "mta": 14014,
         "told": 14015}
CLOSED_PORT = 14004
FULL_PORT = 14997  # listens, and takes nobody
LISTENERS = {"plain": 14143, "starttls": 14144, "either": 14145, "tls": 14993}
HUB_LISTENERS = {"lmtp": 14024, "smtp": 14025, "smtp-starttls": 14026,
                 "smtp-elsewhere": 14027}
NETS = (40, 42)  # 127.0.N.x for proxies, 127.0.N+1.x for back ends
TIMEOUT = 10  # s, for anything that ought to be there at once



def take_net():
    """Addresses that no other run of the tests on this machine has."""
    for _ in range(6000):
        for net in NETS:
            lock = socket.socket()
            try:
                lock.bind((f"127.0.{net}.254", 14999))
                return net, lock
            except OSError:
                lock.close()
        time.sleep(0.1)
    raise AssertionError("other runs of these tests do not end")


NET, LOCK = take_net()
addresses = (f"127.0.{NET}.{number}" for number in itertools.count(1))
SERVER = f"127.0.{NET + 1}.1"  # scripted back ends; the certificate names it
STRANGER = f"127.0.{NET + 1}.2"  # the same, but not named by the certificate

POOLS = f"""
plain SCHEME://{SERVER}:{PORTS['plain']}?tls=none
starttls SCHEME://{SERVER}:{PORTS['starttls']}?tls=starttls
tls SCHEME://{SERVER}:{PORTS['tls']}?tls=implicit
headed SCHEME://{SERVER}:{PORTS['starttls']}?tls=starttls&proxy=v2
headedtls SCHEME://{SERVER}:{PORTS['plain']}?tls=implicit&proxy=v2
stranger SCHEME://{STRANGER}:{PORTS['starttls']}?tls=starttls
one lmtp://{SERVER}:{PORTS['one']}?tls=none
two lmtp://{SERVER}:{PORTS['two']}?tls=none
three lmtp://{SERVER}:{PORTS['three']}?tls=none
mta smtp://{SERVER}:{PORTS['mta']}?tls=none
told lmtp://{SERVER}:{PORTS['told']}?tls=none&proxy=v2
gone SCHEME://{SERVER}:{CLOSED_PORT}?tls=none
full imap://{SERVER}:{FULL_PORT}?tls=none
unnamed SCHEME://nosuch.invalid:143?tls=none
"""
# Of these a proxy cannot learn what they can do, and tries again and again.
UNTEACHABLE = ("stranger", "down", "headed", "headedtls", "full")

ACCOUNTS = r"""
bob plain
sue starttls
tim tls
stray stranger
hed headed
hid headedtls
gone gone
ful full
una unnamed
down down
no plain postcellStatus=nologin the office has moved
off plain postcellStatus=disabled
one plain mail=both@example.org
two plain mail=both@example.org
ann one mail=ann@example.org
abe one mail=abe@example.org
ben two mail=ben@example.org
cat three mail=cat@example.org
max mta mail=max@example.org
tom told mail=tom@example.org
o"dd\(*) plain
"""


# Dialogues fail logins on purpose, and from one address.
PATIENT = "delay = 0\nsession_attempts = 1000\naccount_attempts = 0\n" \
          "address_attempts = 0"


def wait_until(condition, what, timeout=TIMEOUT):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"in {timeout} s there was no {what}")


EC_KEY = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA_KEY = ("rsa:2048",)


def make_certificate(folder, name, addresses, key_kind=EC_KEY):
    """folder/NAME.pem and NAME.key, signed by itself."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", *key_kind, "-nodes",
         "-days", "30",
         "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key",
         "-out", folder / f"{name}.pem", "-addext",
         "subjectAltName=" + ",".join(f"IP:{each}" for each in addresses)],
        check=True, capture_output=True)


def directory(service):
    """The cell's entries as LDIF; its servers have that service alone."""
    blocks = []
    for line in POOLS.split("\n"):
        if not line:
            continue
        name, url = line.replace("SCHEME", service).split()
        if name in UNTEACHABLE and service != "imap":
            continue
        blocks += [f"dn: cn={name},ou=pools,o=x\nobjectClass: postcellPool\n"
                   f"cn: {name}\n",
                   f"dn: cn=mbox-{name},ou=servers,o=x\n"
                   f"objectClass: postcellServer\ncn: mbox-{name}\n"
                   f"postcellPoolName: {name}\npostcellService: {url}\n"]
    blocks.append("dn: cn=down,ou=pools,o=x\nobjectClass: postcellPool\n"
                  "cn: down\n")
    if service == "imap":
        blocks.append(
            "dn: cn=mbox-down,ou=servers,o=x\n"
            "objectClass: postcellServer\ncn: mbox-down\n"
            "postcellPoolName: down\npostcellState: down\n"
            f"postcellService: imap://{SERVER}:{PORTS['plain']}\n")
    for number, line in enumerate(ACCOUNTS.split("\n")):
        if not line:
            continue
        uid, pool, *more = line.split(" ", 2)
        extra = "".join(part.replace("=", ": ", 1) + "\n" for part in more)
        blocks.append(f"dn: cn={number},o=x\nobjectClass: postcellAccount\n"
                      f"uid: {uid}\npostcellPoolName: {pool}\n{extra}")
    return "\n".join(blocks)


class Replica:
    """What proxies read; replicad runs as long as this does."""

    def __init__(self, folder, service="imap", more="", entries=""):
        folder.mkdir(exist_ok=True)
        self.service = service
        self.path = folder / "replica"
        self.log = folder / "replicad.log"
        ldif = folder / "cell.ldif"
        ldif.write_text(directory(service) + entries)
        conf = folder / "replicad.conf"
        conf.write_text(f'replica = "{self.path}"\nmap_size_max = 64\n'
                        f'user = ""\nsource = ldif\nldif_file = "{ldif}"\n'
                        + more)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [BUILD / "postcell-replicad", "-c", conf],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self.is_filled, "replica")

    def is_filled(self):
        assert self.process.poll() is None, self.log.read_text()
        return subprocess.run(
            [BUILD / "postcellctl", "--replica", self.path, "replica", "get",
             "bob"], capture_output=True).returncode == 0

    def stop(self):
        self.process.terminate()
        self.process.wait(TIMEOUT)


class Proxy:
    """One proxyd on an address of its own.

    options, limits, backend, tls, failures: more lines for those parts of its
    configuration.
    """

    def __init__(self, folder, address, replica, options="", limits="",
                 backend="", tls="", relays=2, certificate=None,
                 failures=PATIENT):
        self.folder, self.address = folder, address
        self.service = replica.service
        self.relay_count = relays
        folder.mkdir(parents=True, exist_ok=True)
        self.conf = folder / "proxyd.conf"
        self.log_path = folder / "proxyd.log"
        self.certificate = folder / "proxy.pem"
        make_certificate(folder, "proxy", [address])
        empty = folder / "empty"
        empty.mkdir(exist_ok=True)
        self.text = f"""
host_name = "proxy.example.org"
replica = "{replica.path}"
start_wait = 0
run_dir = "{folder}/run"
user = "nobody"
chroot = "{empty}"
relays = {relays}
dns_servers = {{ "127.0.44.1:{CLOSED_PORT}" }}
{options}
tls {{
	certificate = "{folder}/proxy.pem"
	key = "{folder}/proxy.key"
	{tls}
}}
backend {{
	ca_file = "{certificate or replica.path.parent / 'server.pem'}"
	connect_timeout = 5
	{backend}
}}
limits {{
	{limits}
}}
failures {{
	{failures}
}}
"""
        for name, port in LISTENERS.items():
            tls = {"either": "starttls", "plain": "none",
                   "tls": "implicit"}.get(name, name)
            plaintext = "yes" if name in ("plain", "either") else "no"
            self.text += (f'listen {name} {{ service = {replica.service}\n'
                          f'addresses = {{ "{address}" }}\nport = {port}\n'
                          f'tls = {tls}\nplaintext = {plaintext} }}\n')
        listeners = HUB_LISTENERS if replica.service == "imap" else {}
        for name, port in listeners.items():
            service, _, kind = name.partition("-")
            tls = "starttls" if kind == "starttls" else "none"
            hubs = "192.0.2.0/24" if kind == "elsewhere" else "127.0.0.0/8"
            self.text += (f'listen {name} {{ service = {service}\n'
                          f'addresses = {{ "{address}" }}\nport = {port}\n'
                          f'tls = {tls}\nhub_networks = {{ "{hubs}" }} }}\n')
        self.process = None
        self.conf.write_text(self.text)

    def start(self, wait=True):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [BUILD / "postcell-proxyd", "-c", self.conf],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if wait:
            wait_until(self.is_ready, "proxy")
        return self

    def is_ready(self):
        assert self.process.poll() is None, self.log()
        try:
            return len(self.relays()) == self.relay_count
        except OSError:
            return False

    def stop(self):
        """Its exit status."""
        if not self.process:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(TIMEOUT)
        finally:
            self.process = None

    def log(self):
        return self.log_path.read_text(errors="backslashreplace")

    def events(self, name):
        return [line for line in self.log().splitlines()
                if f"event={name} " in line]

    def ask(self, verb):
        """An answer of the control socket."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(TIMEOUT)
            control.connect(str(self.folder / "run" / "proxyd.sock"))
            control.sendall(verb.encode() + b"\n")
            answer = b""
            while chunk := control.recv(65536):
                answer += chunk
        return json.loads(answer)

    def relays(self, generation=None):
        """Process ids of relays."""
        return [relay["pid"] for relay in self.ask("status")["relays"]
                if generation in (None, relay["generation"])]

    def sessions(self):
        return self.ask("who")["sessions"]

    def counters(self):
        return self.ask("status")["counters"]

    def reload(self):
        self.process.send_signal(signal.SIGHUP)


def process_status(pid):
    """/proc/PID/status as a dictionary."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines())


def memory(pid):
    """Resident memory in KiB."""
    return int(process_status(pid)["VmRSS"].split()[0])


def check_log(text):
    """Relays must not die; sanitizers tell their findings in the log."""
    faults = [line for line in text.splitlines()
              if "event=child_died" in line or "runtime error:" in line
              or ("ERROR: " in line and "Sanitizer" in line)]
    assert not faults, "\n".join(faults)
