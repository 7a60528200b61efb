"""The realm: two KDCs with kpasswdd, a replica beside each, and its principals."""

import os
import pathlib
import secrets
import socket
import subprocess

import slapd
from daemons import Replica, make_host_folder
from layout import (DOMAIN, HOST, KDC_PORT, KDCS, KPASSWD_PORT, POLICY, REALM,
                    SERVERS, SUFFIX, identity_dn)
from process import Trouble, wait_until
from server import Server, find_program

# What mail programs ask tickets for, and what the proxies ask of servers.
SERVICES = ("imap", "pop", "smtp", "sieve")
LIFE = ["--max-ticket-life=1d", "--max-renewable-life=1w", "--attributes=",
        "--expiration-time=never", "--pw-expiration-time=never",
        "--policy=default"]
# kadmin takes these for patterns, and Kerberos for parts of names.
AWKWARD = "\\/@*?[] \t"

LISTEN = """\
	addresses = {address}
	ports = {port}
	num-kdc-processes = 2"""

CLIENT = """\
[libdefaults]
	default_realm = {realm}
	dns_lookup_kdc = no
	dns_lookup_realm = no
	dns_canonicalize_hostname = no
	rdns = no
	plugin_dir = {plugins}
[realms]
	{realm} = {{
{kdcs}
	}}
[domain_realm]
	.{domain} = {realm}
	{domain} = {realm}
"""

LOCATOR = """\
[postcell]
	kdcs = {kdcs}
	site = here
	memory = {memory}
"""


def services(host):
    return [f"{service}/{host}" for service in SERVICES]


class KeyReplica(Replica):
    """Beside a KDC: it keeps sealed keys, as the KDC's own identity."""

    def __init__(self, layout, settings, host):
        Server.__init__(self, layout, settings)
        self.name, self.host = f"replica-{host}", host
        self.conf = layout.conf / f"{self.name}.conf"
        self.identity, self.keys = host, "yes"

    def decider(self):
        return ""


class Kerberos(Server):
    """What KDC and kpasswdd of one host share."""

    program = ""

    def __init__(self, layout, settings, host):
        super().__init__(layout, settings)
        self.host = host
        self.address = layout.addresses[host]
        self.conf = layout.conf / f"{host}.conf"
        self.environment = {"KRB5_CONFIG": str(self.conf)}

    def command(self, *words):
        path = pathlib.Path("/usr/lib/heimdal-servers") / self.program
        if not path.exists():
            raise Trouble(f"{path} is not there: run tools/bootstrap cell")
        return [path, "-c", self.conf, *words]


class Kdc(Kerberos):
    program = "kdc"

    def __init__(self, layout, settings, host):
        super().__init__(layout, settings, host)
        self.name = host
        self.endpoints = [(self.address, KDC_PORT, kind) for kind in
                          (socket.SOCK_STREAM, socket.SOCK_DGRAM)]

    def make(self):
        make_host_folder(self.layout, self.host)
        password = self.layout.conf / f"{self.host}.password"
        password.touch(mode=0o600)
        password.write_text(self.settings[f"{self.host}_password"] + "\n")
        plugins = self.layout.conf / f"{self.host}.plugins"
        plugins.mkdir()
        module = self.layout.build / "postcell_hdb.so"
        (plugins / module.name).symlink_to(module)
        self.write_conf(
            "kdc.conf.in", self.conf.name, realm=REALM, plugins=plugins,
            kdc=f"{self.address}:{KDC_PORT}", listen=LISTEN.format(
                address=self.address, port=KDC_PORT), log=self.layout.log / self.host,
            lockout_limit=slapd.LOCKOUT_LIMIT, policy=f"\tpolicy = {POLICY}",
            master_key=self.layout.master_key, module=module,
            replica=self.layout.replica(self.host),
            lockout=self.layout.run / "lockout",
            uris=" ".join(self.layout.ldap_uris), suffix=SUFFIX,
            bind_dn=identity_dn(self.host), password=password,
            ca=self.layout.ca)

    def keytabs(self):
        return [(self.layout.conf / f"{self.host}.keytab",
                 [f"host/{self.host}.{DOMAIN}"])]


class Kpasswdd(Kerberos):
    program = "kpasswdd"

    def __init__(self, layout, settings, host):
        super().__init__(layout, settings, host)
        self.name = host.replace("kdc", "kpasswd")
        self.endpoints = [(self.address, KPASSWD_PORT, socket.SOCK_DGRAM)]

    def command(self):
        return super().command(f"--addresses={self.address}",
                               f"--port={KPASSWD_PORT}")

    def is_up(self):
        """Nothing else can have its port."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((self.address, KPASSWD_PORT))
            except OSError:
                return True
        return False


def write_client_conf(layout, path, plugins=None):
    lines = [f"\t\tkdc = {layout.addresses[host]}:{KDC_PORT}" for host in KDCS]
    lines += [f"\t\tkpasswd_server = {layout.addresses[host]}:{KPASSWD_PORT}"
              for host in KDCS]
    path.write_text(CLIENT.format(
        realm=REALM, domain=DOMAIN, plugins=plugins or layout.conf / "none",
        kdcs="\n".join(lines)))


def write_people_conf(layout):
    """For who sits at this host: which KDC is asked first says the map of the
    cell, to Heimdal's programs. MIT's go by the list."""
    plugins = layout.conf / "people.plugins"
    plugins.mkdir()
    module = layout.build / "postcell_locate.so"
    (plugins / module.name).symlink_to(module)
    write_client_conf(layout, layout.krb5_conf, plugins)
    memory = layout.folder / "who-answered"
    memory.mkdir(mode=0o700)
    with open(layout.krb5_conf, "a", encoding="utf-8") as conf:
        conf.write(LOCATOR.format(kdcs=layout.kdcs, memory=memory))


def spelled(uid):
    """As kadmin reads a name; one that begins with "-" comes after "--"."""
    return "".join(f"\\{c}" if c in AWKWARD else c for c in uid)


class Founding:
    """krbtgt, and services with their keytabs, made by kadmin while others
    work; users have keys once they log in."""

    def __init__(self, layout, servers):
        self.servers = servers
        conf = layout.conf / f"{next(iter(KDCS))}.conf"
        self.log = layout.log / "kadmin.log"
        text = "".join(" ".join(map(str, words)) + "\n"
                       for words in self.commands())
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [find_program("kadmin"), "-c", conf, "-l"],
                stdin=subprocess.PIPE, stdout=log, stderr=log,
                env={**os.environ, "KRB5_CONFIG": str(conf)})
        with self.process.stdin as commands:
            commands.write(text.encode())

    def keytabs(self):
        return [(server, *keytab) for server in self.servers
                for keytab in server.keytabs()]

    def commands(self):
        """All at once: each run of it looks for the directory anew."""
        keytabs = self.keytabs()
        names = dict.fromkeys(name for *_, names in keytabs for name in names)
        return [["init", "--realm-max-ticket-life=1d",
                 "--realm-max-renewable-life=1w", REALM],
                # As good as a random key, and one write instead of three.
                *(["add", f"--password={secrets.token_hex(32)}", *LIFE, name]
                  for name in names),
                *(["ext_keytab", "-k", path, *names]
                  for _, path, names in keytabs),
                *(delegation(service) for service in SERVICES)]

    def finish(self, seconds):
        if not wait_until(lambda: self.process.poll() is not None, seconds):
            raise Trouble(f"kadmin does not end; its log is {self.log}")
        for server, path, _ in self.keytabs():
            if not path.exists():
                raise Trouble(f"kadmin made no {path}; its log is {self.log}")
            server.own_keytab(path)

    def abandon(self):
        """Nothing, once it has finished."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def delegation(service):
    """The front's service may speak for users to the servers."""
    return ["modify", *(f"--constrained-delegation={service}/{name}.{DOMAIN}"
                        f"@{REALM}" for name in SERVERS), f"{service}/{HOST}"]


def kinit(layout, uid, password, cache):
    """Whether a ticket came."""
    done = subprocess.run(
        [find_program("kinit"), f"--cache={cache}", "--password-file=STDIN",
         "--", f"{spelled(uid)}@{REALM}"], input=password + "\n", text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "KRB5_CONFIG": str(layout.krb5_conf)})
    return done.returncode == 0


def wait_for_ticket(layout, user, seconds):
    cache = layout.data / "first.ccache"
    if not wait_until(lambda: kinit(layout, user.uid, user.password, cache),
                      seconds, pause=0.1):
        raise Trouble(f"no ticket for {user.uid} within {seconds} s; the logs "
                      f"are in {layout.log}")
    cache.unlink()
