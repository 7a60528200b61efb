"""Real slapds for scenarios: one, or several in multi-provider delta-syncrepl.

Each has a folder, an address and a port of its own; nothing of the machine's
configuration is used.
"""

import os
import pathlib
import shutil
import subprocess
import time
import uuid

import ldap

from program import Program

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SLAPD = shutil.which("slapd", path="/usr/sbin:/usr/bin") or "slapd"
SLAPADD = shutil.which("slapadd", path="/usr/sbin:/usr/bin") or "slapadd"
SCHEMAS = ["/etc/ldap/schema/core.schema", "/etc/ldap/schema/cosine.schema",
           "/etc/ldap/schema/inetorgperson.schema"]
OWN_SCHEMAS = ["/etc/ldap/schema/misc.schema", str(ROOT / "schema/postcell.schema")]

SUFFIX = "dc=replica,dc=test"
ADMIN = f"cn=admin,{SUFFIX}"
PASSWORD = "secret"
# The identity of the replica: what it may read is for the test to say.
REPLICA = f"cn=replica,{SUFFIX}"
ACL = f"access to * by dn.exact=\"{REPLICA}\" read by * read"
LIMITS = f"limits dn.exact=\"{REPLICA}\" time=unlimited size=unlimited"


def wait_until(condition, timeout=10, what="condition"):
    """What the condition returns once it is true."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {timeout} s: {what}"
        time.sleep(0.01)


class Directory(Program):
    """One slapd. Peers are followed by delta-syncrepl."""

    must_end = False

    def __init__(self, folder, address, port, sid=1, own_schema=True,
                 acl=ACL, limits=LIMITS, extra="", schemas=()):
        self.folder = pathlib.Path(folder)
        self.address, self.port, self.sid = address, port, sid
        self.own_schema, self.acl, self.limits = own_schema, acl, limits
        self.extra, self.peers = extra, []
        self.schemas = list(schemas)  # besides
        self.tls_port = None  # ldaps, besides
        self.more_urls = []
        self.process = None
        self.environment = {}
        self.debug = "none"
        self.wrapper = []  # a command that becomes slapd
        self.tree = None  # folder that becomes cn=config
        for name in ("db", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    @property
    def url(self):
        return f"ldap://{self.address}:{self.port}"

    def configuration(self):
        schemas = SCHEMAS + (OWN_SCHEMAS if self.own_schema else []) \
            + self.schemas
        lines = [f"include {path}" for path in schemas]
        lines += [
            "modulepath /usr/lib/ldap", "moduleload back_mdb",
            "moduleload syncprov", "moduleload accesslog",
            f"serverID {self.sid}", self.extra,
            "database mdb", "suffix cn=log", f"rootdn {ADMIN}",
            f"directory {self.folder}/log", "maxsize 1073741824",
            "index entryCSN,objectClass,reqStart,reqEnd,reqResult,reqDN eq",
            "overlay syncprov", "syncprov-reloadhint TRUE",
            "syncprov-nopresent TRUE", "syncprov-checkpoint 1 1",
            "database mdb", f"suffix {SUFFIX}", f"rootdn {ADMIN}",
            f"rootpw {PASSWORD}", f"directory {self.folder}/db",
            "maxsize 1073741824", "index objectClass,uid,entryUUID,entryCSN eq",
            self.limits, self.acl,
        ]
        for peer in self.peers:
            lines.append(
                f"syncrepl rid={peer.sid:03d} provider={peer.url}"
                f" type=refreshAndPersist retry=\"1 +\" searchbase={SUFFIX}"
                f" bindmethod=simple binddn={ADMIN} credentials={PASSWORD}"
                " logbase=cn=log syncdata=accesslog logfilter="
                "\"(&(objectClass=auditWriteObject)(reqResult=0))\"")
        if self.peers:
            lines.append("multiprovider on")
        lines += ["overlay syncprov", "syncprov-checkpoint 1 1",
                  "overlay accesslog", "logdb cn=log", "logops writes",
                  "logsuccess TRUE"]
        return "\n".join(lines) + "\n"

    @property
    def conf(self):
        return self.folder / "slapd.conf"

    def write_conf(self):
        self.conf.write_text(self.configuration())

    def load(self, ldif):
        """Fills it while it is down."""
        self.write_conf()
        path = self.folder / "load.ldif"
        path.write_text(ldif)
        subprocess.run([SLAPADD, "-q", "-w", "-f", self.conf, "-b", SUFFIX,
                        "-S", str(self.sid), "-l", path], check=True,
                       stderr=subprocess.DEVNULL)

    def start(self):
        self.write_conf()
        urls = " ".join([self.url, *self.more_urls])
        if self.tls_port:
            urls += f" ldaps://{self.address}:{self.tls_port}"
        with open(self.folder / "slapd.log", "ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, SLAPD, "-f", self.conf,
                 *(["-F", self.tree] if self.tree else []),
                 "-h", urls, "-d", self.debug],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment})
        wait_until(self.answers, 20, f"slapd at {self.url}")
        return self

    def answers(self):
        assert self.process.poll() is None, \
            (self.folder / "slapd.log").read_text()
        try:
            self.connect().unbind_s()
            return True
        except ldap.LDAPError:
            return False

    def connect(self):
        connection = ldap.initialize(self.url)
        connection.set_option(ldap.OPT_NETWORK_TIMEOUT, 5)
        connection.set_option(ldap.OPT_TIMEOUT, 10)
        connection.simple_bind_s(ADMIN, PASSWORD)
        return connection

    def save(self, folder):
        """Copies the databases; it has to be down."""
        shutil.copytree(self.folder / "db", folder / "db")
        shutil.copytree(self.folder / "log", folder / "log")

    def restore(self, folder):
        for name in ("db", "log"):
            shutil.rmtree(self.folder / name)
            shutil.copytree(folder / name, self.folder / name)

    # What a test says of entries; each call is one connection.

    def add(self, dn, **attributes):
        values = [(name, [v.encode() for v in
                          (value if isinstance(value, list) else [value])])
                  for name, value in attributes.items()]
        connection = self.connect()
        connection.add_s(dn, values)
        connection.unbind_s()

    def modify(self, dn, **attributes):
        """Replaces; None deletes the attribute."""
        changes = [(ldap.MOD_REPLACE, name, None if value is None else
                    [v.encode() for v in
                     (value if isinstance(value, list) else [value])])
                   for name, value in attributes.items()]
        connection = self.connect()
        connection.modify_s(dn, changes)
        connection.unbind_s()

    def delete(self, *dns):
        connection = self.connect()
        for dn in dns:
            connection.delete_s(dn)
        connection.unbind_s()

    def rename(self, dn, rdn, parent=None):
        connection = self.connect()
        connection.rename_s(dn, rdn, parent)
        connection.unbind_s()

    def add_person(self, uid, parent=f"ou=people,{SUFFIX}", **attributes):
        person = {"objectClass": ["inetOrgPerson"], "cn": uid, "sn": uid,
                  "mail": f"{uid}@replica.test"}
        person.update(attributes)
        self.add(f"uid={uid},{parent}", uid=uid, **person)

    def csns(self):
        """contextCSN, sorted."""
        connection = self.connect()
        found = connection.search_s(SUFFIX, ldap.SCOPE_BASE,
                                    attrlist=["contextCSN"])
        connection.unbind_s()
        return sorted(v.decode() for v in found[0][1].get("contextCSN", []))


def base_ldif(people=0, own_schema=True, sid=1):
    """The tree, the replica's identity and that many accounts."""
    moment = "20260101000000"
    count = 0

    def entry(dn, *lines):
        nonlocal count
        count += 1
        return "\n".join([
            f"dn: {dn}", *lines, f"entryUUID: {uuid.uuid4()}",
            f"entryCSN: {moment}.{count:06d}Z#000000#{sid:03x}#000000"]) + "\n"

    entries = [
        entry(SUFFIX, "objectClass: organization", "objectClass: dcObject",
              "dc: replica", "o: replica"),
        entry(f"ou=people,{SUFFIX}", "objectClass: organizationalUnit",
              "ou: people"),
        entry(REPLICA, "objectClass: organizationalRole",
              "objectClass: simpleSecurityObject", "cn: replica",
              f"userPassword: {PASSWORD}"),
    ]
    if own_schema:
        entries += [entry(f"ou={name},{SUFFIX}",
                          "objectClass: organizationalUnit", f"ou: {name}")
                    for name in ("pools", "servers", "proxies", "hosts")]
        entries.append(entry(f"cn=main,ou=pools,{SUFFIX}",
                             "objectClass: postcellPool", "cn: main",
                             "postcellDefault: TRUE"))
        entries += [entry(f"cn=mbox{i},ou=servers,{SUFFIX}",
                          "objectClass: postcellServer", f"cn: mbox{i}",
                          "postcellPoolName: main",
                          f"postcellService: imap://127.0.10.9:1{i}43?tls=none",
                          "postcellState: up") for i in (1, 2, 3)]
    for i in range(people):
        entries.append(entry(
            f"uid=user{i},ou=people,{SUFFIX}", "objectClass: inetOrgPerson",
            f"uid: user{i}", f"cn: user{i}", "sn: User",
            f"mail: user{i}@replica.test"))
    return "\n".join(entries)
