"""The realm: two KDCs with kpasswdd, a replica beside each, and its principals."""

import os
import pathlib
import socket
import subprocess

import slapd
import users
from daemons import Replica, make_host_folder
from layout import (DOMAIN, HOST, KDC_PORT, KDCS, KPASSWD_PORT, REALM,
                    SERVERS, SUFFIX, identity_dn)
from process import Trouble, wait_until
from server import Server, find_program, run

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
            lockout_limit=slapd.LOCKOUT_LIMIT, policy="",
            master_key=self.layout.master_key, module=module,
            replica=self.layout.replica(self.host),
            lockout=self.layout.run / "lockout",
            uris=" ".join(self.layout.ldap_uris), suffix=SUFFIX,
            bind_dn=identity_dn(self.host), password=password,
            ca=self.layout.ca)
        write_client_conf(self.layout)


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


def write_client_conf(layout):
    lines = [f"\t\tkdc = {layout.addresses[host]}:{KDC_PORT}" for host in KDCS]
    lines += [f"\t\tkpasswd_server = {layout.addresses[host]}:{KPASSWD_PORT}"
              for host in KDCS]
    layout.krb5_conf.write_text(CLIENT.format(
        realm=REALM, domain=DOMAIN, plugins=layout.conf / "no-plugins",
        kdcs="\n".join(lines)))


def kadmin(layout, *words):
    conf = layout.conf / f"{next(iter(KDCS))}.conf"
    return run([find_program("kadmin"), "-c", conf, "-l", *words],
               env={**os.environ, "KRB5_CONFIG": str(conf)})


def spelled(uid):
    """As kadmin reads a name; one that begins with "-" comes after "--"."""
    return "".join(f"\\{c}" if c in AWKWARD else c for c in uid)


def found(layout):
    """krbtgt, and services with their keytabs; users have keys once they log in."""
    kadmin(layout, "init", "--realm-max-ticket-life=1d",
           "--realm-max-renewable-life=1w", REALM)
    front = [f"{service}/{HOST}" for service in SERVICES]
    kadmin(layout, "add", "--random-key", *LIFE, *front)
    kadmin(layout, "ext_keytab", "-k", layout.conf / "front.keytab", *front)
    backs = []
    for name in SERVERS:
        own = [f"{service}/{name}.{DOMAIN}" for service in SERVICES]
        kadmin(layout, "add", "--random-key", *LIFE, *own)
        kadmin(layout, "ext_keytab", "-k", layout.conf / f"{name}.keytab", *own)
        backs += own
    for service, principal in zip(SERVICES, front):
        kadmin(layout, "modify", *[
            f"--constrained-delegation={back}@{REALM}" for back in backs
            if back.startswith(f"{service}/")], principal)


def kinit(layout, uid, password, cache):
    """Whether a ticket came."""
    done = subprocess.run(
        [find_program("kinit"), f"--cache={cache}", "--password-file=STDIN",
         "--", f"{spelled(uid)}@{REALM}"], input=password + "\n", text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "KRB5_CONFIG": str(layout.krb5_conf)})
    return done.returncode == 0


def wait_for_ticket(layout, seconds):
    user = users.all_users()[0]
    cache = layout.data / "first.ccache"
    if not wait_until(lambda: kinit(layout, user.uid, user.password, cache),
                      seconds, pause=0.1):
        raise Trouble(f"no ticket for {user.uid} within {seconds} s; the logs "
                      f"are in {layout.log}")
    cache.unlink()
