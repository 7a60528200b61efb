"""A Kerberos realm for scenarios: the KDC of Heimdal on the cell's directory.

One slapd with the schema of integrated login, one replicad that keeps keys, the
KDC, kpasswdd and kadmin -l on postcell_hdb.so, and clients, each with files of
its own.
"""

import os
import pathlib
import pty
import re
import signal
import socket
import subprocess

import ldap

from conftest import NET
from directory import (ADMIN, PASSWORD, ROOT, SUFFIX, Directory,
                       base_ldif, wait_until)
from replicad import BUILD, Replicad
from sanitized import SHORT_LIVED

REALM = "REPLICA.TEST"
SERVERS = pathlib.Path("/usr/lib/heimdal-servers")
PEOPLE = f"ou=people,{SUFFIX}"
PRINCIPALS = f"ou=principals,{SUFFIX}"
KERBEROS_SCHEMAS = ["/etc/ldap/schema/hdb.schema",
                    str(ROOT / "schema/postcell-kerberos.schema")]
LIFE = ["--max-ticket-life=1d", "--max-renewable-life=1w", "--attributes=",
        "--expiration-time=never", "--pw-expiration-time=never",
        "--policy=default"]

CONFIG = """\
[libdefaults]
	default_realm = {realm}
	dns_lookup_kdc = no
	dns_lookup_realm = no
	plugin_dir = {plugins}
	{libdefaults}
[realms]
	{realm} = {{
{kdcs}
	}}
[logging]
	kdc = 0-/FILE:{folder}/kdc.log
	postcell = 0-/FILE:{folder}/postcell.log
	default = 0-/FILE:{folder}/krb5.log
[kdc]
	addresses = {address}
	ports = {port}
	num-kdc-processes = {workers}
	require-preauth = no
	enable-http = no
	database = {{
		dbname = {database}
		realm = {realm}
		mkey_file = {master_key}
		acl_file = {folder}/kadmind.acl
		log_file = /dev/null
	}}
[kadmin]
	default_keys = aes256-cts-hmac-sha1-96:pw-salt aes128-cts-hmac-sha1-96:pw-salt
[password_quality]
	policy_libraries = {module}
	policies = postcell:directory
[postcell]
{options}
"""


def plugins(folder, *names):
    """A folder of plug-ins with these of ours in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        target = folder / name
        target.unlink(missing_ok=True)
        target.symlink_to(BUILD / name)
    return folder


def quiet_port(kind, address):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


class Kdc:
    """KDC, kpasswdd and kadmin -l of one host, with that host's replica."""

    def __init__(self, folder, address, directories, replicad, master_key,
                 options=None, workers=2, database="postcell:"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.address, self.directories = address, directories
        self.replicad, self.master_key = replicad, pathlib.Path(master_key)
        self.workers, self.database = workers, database
        self.port = quiet_port(socket.SOCK_DGRAM, address)
        self.kpasswd_port = quiet_port(socket.SOCK_DGRAM, address)
        secret = self.folder / "password"
        secret.write_text(PASSWORD + "\n")
        self.options = {
            "replica": replicad.path, "realm": REALM,
            "lockout": self.folder / "lockout",
            "uris": " ".join(d.url for d in directories),
            "suffix": SUFFIX, "bind_dn": ADMIN, "password_file": secret,
            "starttls": "no", "timeout": 2, "lockout_limit": 10, "modify_passwords": "no"}
        self.options.update(options or {})
        self.kdcs = []  # as its own clients see them
        self.kpasswdds = []
        self.libdefaults = ""
        self.kdc = self.kpasswdd = None
        self.write_conf()

    @property
    def conf(self):
        return self.folder / "kdc.conf"

    def write_conf(self, path=None, modules=("postcell_hdb.so",)):
        kdcs = self.kdcs or [f"{self.address}:{self.port}"]
        kpasswdds = self.kpasswdds or [f"{self.address}:{self.kpasswd_port}"]
        (path or self.conf).write_text(CONFIG.format(
            realm=REALM, folder=self.folder, address=self.address,
            port=self.port,
            master_key=self.master_key, workers=self.workers,
            database=self.database, module=BUILD / "postcell_hdb.so",
            libdefaults=self.libdefaults,
            plugins=plugins(self.folder / "plugins", *modules),
            kdcs="\n".join([
                *(f"\t\tkdc = {each}" for each in kdcs),
                *(f"\t\tkpasswd_server = {each}" for each in kpasswdds)]),
            options="".join(f"\t{name} = {value}\n" for name, value
                            in self.options.items())))

    def kadmin(self, *words, check=True, text=None):
        done = subprocess.run(
            ["kadmin", "-c", self.conf, "-l", *words], capture_output=True,
            text=True, input=text, timeout=60, env=self.environment())
        assert not check or done.returncode == 0, done.stderr
        return done

    def environment(self, **more):
        return {**os.environ, **SHORT_LIVED, "KRB5_CONFIG": str(self.conf),
                **more}

    def found(self):
        """Makes the realm: krbtgt and the services of the KDC itself."""
        done = self.kadmin("init", "--realm-max-ticket-life=1d",
                           "--realm-max-renewable-life=1w", REALM)
        assert done.stderr == ""

    def add_service(self, name, keytab=None):
        self.kadmin("add", "--random-key", *LIFE, name)
        if keytab:
            self.kadmin("ext_keytab", "-k", keytab, name)

    def set_password(self, user, password):
        return self.kadmin("cpw", f"--password={password}", user)

    def start(self):
        self.kdc = self.spawn("kdc")
        wait_until(lambda: "KDC worker process started" in self.log(), 10,
                   "the KDC")
        return self

    def start_kpasswdd(self):
        self.kpasswdd = self.spawn(
            "kpasswdd", f"--addresses={self.address}",
            f"--port={self.kpasswd_port}")
        wait_until(lambda: self.is_bound(self.kpasswd_port), 10, "kpasswdd")
        return self

    def is_bound(self, port):
        number = f"{port:04X}"
        table = pathlib.Path("/proc/net/udp").read_text()
        return any(re.match(rf"\s*\d+: [0-9A-F]{{8}}:{number} ", line)
                   for line in table.splitlines())

    def spawn(self, program, *words):
        with open(self.folder / f"{program}.out", "ab") as log:
            return subprocess.Popen(
                [SERVERS / program, "-c", self.conf, *words], stdout=log,
                stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env=self.environment())

    def log(self, name="kdc.log"):
        path = self.folder / name
        return path.read_text(errors="replace") if path.exists() else ""

    def events(self, word):
        return [line for line in self.log("postcell.log").splitlines()
                if f"event={word}" in line]

    def send(self, number, *programs):
        """To all processes of the KDC, and of kpasswdd, or of one of them."""
        for name in programs or ("kdc", "kpasswdd"):
            process = getattr(self, name)
            if process and process.poll() is None:
                os.killpg(process.pid, number)

    def stop(self):
        self.send(signal.SIGCONT)
        for process in (self.kdc, self.kpasswdd):
            if process and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        self.kdc = self.kpasswdd = None

    kill = stop


class Client:
    """A person at a host of theirs: one credential cache."""

    def __init__(self, kdc, folder, conf=None):
        self.kdc = kdc
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.conf = conf or self.folder / "krb5.conf"
        if not conf:
            kdc.write_conf(self.conf, modules=("postcell_hdb.so",))
            text = re.sub(r"plugin_dir = .*", f"plugin_dir = {self.folder}/none",
                          self.conf.read_text())
            self.conf.write_text(text)
        self.cache = f"FILE:{self.folder}/ccache"

    def run(self, *words, text=None, timeout=60):
        return subprocess.run(
            [str(word) for word in words], capture_output=True, text=True,
            errors="replace", input=text, timeout=timeout,
            env={**os.environ, **SHORT_LIVED,
                 "KRB5_CONFIG": str(self.conf),
                 "KRB5CCNAME": self.cache})

    def kinit(self, name, password, *words, timeout=60):
        """Empty when it worked, else what it said."""
        secret = self.folder / "secret"
        secret.write_text(password + "\n")
        done = self.run("kinit", f"--password-file={secret}", *words, name,
                        timeout=timeout)
        return done.stderr.strip() or "?" if done.returncode else ""

    def kinit_keytab(self, name, keytab, *words):
        done = self.run("kinit", f"--keytab={keytab}", *words, name)
        return done.stderr.strip() or "?" if done.returncode else ""

    def get(self, service, *words):
        """A ticket for a service."""
        done = self.run("kgetcred", *words, service)
        return done.stderr.strip() or "?" if done.returncode else ""

    def kpasswd(self, name, *answers):
        """What it said, told at its terminal: the old password, the new twice."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.update(KRB5_CONFIG=str(self.conf),
                              KRB5CCNAME=self.cache)
            os.execvp("kpasswd", ["kpasswd", name])
        said = b""
        left = list(answers)
        try:
            while True:
                said += os.read(terminal, 4096)
                asked = said.rpartition(b"\n")[2].rstrip()
                if left and asked.endswith(b":"):
                    os.write(terminal, left.pop(0).encode() + b"\n")
                    said += b"\n"
        except OSError:  # it ended
            pass
        os.close(terminal)
        os.waitpid(pid, 0)
        return said.decode(errors="replace")

    def klist(self):
        return self.run("klist", "-v").stdout

    def destroy(self):
        self.run("kdestroy")


def make_master_key(path):
    subprocess.run(["kstash", "--random-key", f"--key-file={path}"],
                   check=True, capture_output=True)


def realm_ldif(people=0):
    return base_ldif(people) + "\n" + "\n".join([
        f"dn: {PRINCIPALS}", "objectClass: organizationalUnit",
        "ou: principals"]) + "\n"


class Realm:
    """All of it; each KDC has a replica of its own."""

    def __init__(self, folder, make_directory=None, options=None, people=12,
                 workers=2):
        self.folder = pathlib.Path(folder)
        self.master_key = self.folder / "master.key"
        self.options, self.people, self.workers = options, people, workers
        self.running = []
        self.clients = 0
        try:
            self.start(make_directory or self.make_directory)
        except BaseException:
            self.stop()
            raise

    def start(self, make_directory):
        make_master_key(self.master_key)
        self.directory = make_directory(self)
        ldif = realm_ldif(self.people)
        for each in self.directories:
            each.load(ldif)
        for each in self.directories:
            self.running.append(each)
            each.start()
        self.replicad = self.replica("replica")
        self.kdc = self.make_kdc("kdc", self.replicad)
        self.kdc.found()
        self.kdc.start()

    @staticmethod
    def make_directory(realm):
        address = f"{NET}.21"
        return Directory(realm.folder / "ldap", address,
                         quiet_port(socket.SOCK_STREAM, address),
                         schemas=KERBEROS_SCHEMAS)

    @property
    def directories(self):
        """In the order in which its hosts ask them."""
        return [self.directory, *self.directory.peers]

    def replica(self, name, start=True, keys="yes"):
        made = Replicad(self.folder / name, self.directories,
                        {"keys": keys == "yes"})
        made.conf.write_text(re.sub("keys = .*", f"keys = {keys}",
                                    made.conf.read_text()))
        self.running.append(made)
        return made.start() if start else made

    def make_kdc(self, name, replicad, last=61, **more):
        made = Kdc(self.folder / name, f"{NET}.{last}", self.directories,
                   replicad, self.master_key,
                   **{"options": self.options, "workers": self.workers,
                      **more})
        self.running.append(made)
        return made

    def client(self, kdc=None):
        self.clients += 1
        return Client(kdc or self.kdc, self.folder / f"client{self.clients}")

    def values(self, dn, attribute):
        connection = self.directory.connect()
        try:
            found = connection.search_s(dn, ldap.SCOPE_BASE,
                                        attrlist=[attribute])
        finally:
            connection.unbind_s()
        return sorted(v.decode() for v in found[0][1].get(attribute, []))

    def settle(self, kdc=None):
        """Until the replica of the KDC has what the directory has."""
        csns = self.directory.csns()
        replicad = (kdc or self.kdc).replicad
        wait_until(lambda: in_step(replicad, csns), 10,
                   "the replica in step")

    def set_password(self, user, password):
        self.kdc.set_password(user, password)
        self.settle()

    def modify(self, dn, **attributes):
        self.directory.modify(dn, **attributes)
        self.settle()

    def stop(self):
        for each in reversed(self.running):
            each.stop()


def in_step(replicad, csns):
    status = replicad.status()
    return status and sorted(str(status["csn"]).split()) == csns
