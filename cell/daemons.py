"""Postcell's own daemons: on each proxy's host a replica and a proxy."""

import os
import pwd
import socket

from layout import (ADMIN_DN, DECIDERS, DOMAIN, HOST, HUB_PORT, PORTS,
                    PROXIES, PUBLISHERS, REALM,
                    REPLICAS, SUFFIX, WEB_PORT, identity_dn)

from process import Trouble
from server import Server

# Whom they become when root starts the cell.
USER = "nobody"
# s until a server that failed is used again
RETURN_AFTER = 300
# Program in the run folder that deciders run once a decision; "": none.
ON_MOVE = ""
# ms until a server that a probe hears nothing from is silent
PROBE_TIMEOUT = 1000
# ms that each decider leaves the one before it to write
DECIDER_DELAY = 500

# What the proxies listen for.
LISTENERS = ("imap", "imaps", "pop3", "pop3s", "submission", "submissions",
             "sieve", "lmtp")


class Daemon(Server):
    program = ""

    def __init__(self, layout, settings, name):
        super().__init__(layout, settings)
        self.name = name
        self.conf = layout.conf / f"{name}.conf"

    @property
    def path(self):
        return self.layout.build / self.program

    def write_password(self, file, name):
        """A file with that password, for a daemon to read."""
        path = self.layout.conf / file
        path.touch(mode=0o600)
        path.write_text(self.settings[f"{name}_password"] + "\n")
        return path

    def quoted_uris(self):
        return ", ".join(f'"{uri}"' for uri in self.layout.ldap_uris)

    def command(self):
        if not os.access(self.path, os.X_OK):
            raise Trouble(f"{self.path} is not there: run make first")
        return [self.path, "-c", self.conf]


DECIDER = """
decider {{
	bind_dn = "{dn}"
	password_file = "{password}"
	delay = {delay}
	return_after = {return_after}
	on_move = "{on_move}"
}}
"""

LISTENER = """
listen {kind} {{
	addresses = {{ "{address}" }}
	port = {port}
}}
"""


HUB_LISTENER = """
listen smtp {{
	addresses = {{ "{address}" }}
	port = {port}
	hub_networks = {{ "127.0.0.0/8" }}
}}
"""


class Replica(Daemon):
    program = "postcell-replicad"

    def __init__(self, layout, settings, name):
        super().__init__(layout, settings, name)
        self.host = REPLICAS[name]
        self.identity, self.keys = "replica", "no"

    def make(self):
        make_host_folder(self.layout, self.host)
        replica = self.layout.replica(self.host)
        own_folder(replica)
        password = self.write_password(f"{self.name}.password", self.identity)
        self.write_conf(
            "replicad.conf.in", self.conf.name, replica=replica, user=USER,
            map_size=256, providers=self.quoted_uris(), suffix=SUFFIX,
            bind_dn=identity_dn(self.identity),
            password_file=password, keys=self.keys,
            ca=self.layout.run / "ca.pem", decider=self.decider())

    def decider(self):
        """Its section, where it is one."""
        identity = DECIDERS.get(self.name)
        if not identity:
            return ""
        password = self.write_password(f"{identity}.password", identity)
        delay = list(DECIDERS).index(self.name) * DECIDER_DELAY
        return DECIDER.format(dn=identity_dn(identity),
                              password=password, delay=delay,
                              return_after=RETURN_AFTER,
                              on_move=self.layout.run / ON_MOVE if ON_MOVE else "")

    def is_up(self):
        """It has made its database, which the proxy opens."""
        return (self.layout.replica(self.host) / "data.mdb").exists()


class Proxy(Daemon):
    program = "postcell-proxyd"
    services = LISTENERS

    def __init__(self, layout, settings, name):
        super().__init__(layout, settings, name)
        self.address = layout.addresses.get(name)
        self.endpoints = [(self.address, PORTS[kind], socket.SOCK_STREAM)
                          for kind in self.services]

    def make(self):
        make_host_folder(self.layout, self.name)
        run = self.layout.run / self.name
        certificate = next(iter(PROXIES)) if not self.address else self.name
        self.write_conf(
            "proxyd.conf.in", self.conf.name, host_name=HOST, run=run,
            replica=self.layout.replica(self.name), user=USER,
            chroot=self.layout.run / "empty", dns=self.layout.dns,
            certificate=self.layout.tls / f"{certificate}.pem",
            key=self.layout.tls / f"{certificate}.key",
            ca=self.layout.run / "ca.pem", listeners=self.listeners(),
            uris=self.quoted_uris(), bind_dn=identity_dn(self.name),
            directory_password=self.write_password(
                f"{self.name}.password", self.name), name=self.name,
            probe_timeout=PROBE_TIMEOUT, probe_password=self.write_password(
                f"{self.name}-probe.password", "probe"))
        self.write_control_conf(run)

    def write_control_conf(self, run):
        """For postcellctl on this host; only the cell's owner may read it."""
        self.write_conf(
            "ctl.conf.in", control_conf(self.layout, self.name).name, run=run,
            replica=self.layout.replica(self.name), suffix=SUFFIX,
            uris=self.quoted_uris(), bind_dn=ADMIN_DN,
            password_file=self.write_password("ctl.password", "admin"),
            ca=self.layout.ca)

    def listeners(self):
        return "".join(LISTENER.format(kind=kind, address=self.address,
                                       port=PORTS[kind])
                       for kind in self.services) + HUB_LISTENER.format(
                           address=self.address, port=HUB_PORT)


class Observer(Proxy):
    """It accepts nobody, and has its say."""
    services = ()

    def listeners(self):
        return ""


ZONED_HOST = """
host "{name}" {{
	name = "{name}.{domain}"
	addresses = {{ "{address}" }}
}}
"""


class Publisher(Daemon):
    program = "postcell-zoned"

    def __init__(self, layout, settings, name):
        super().__init__(layout, settings, name)
        self.host = PUBLISHERS[name]

    @property
    def run(self):
        return self.layout.run / self.name

    def make(self):
        make_host_folder(self.layout, self.host)
        own_folder(self.run)
        secret = self.layout.conf / "zoned.secret"
        secret.touch(mode=0o600)
        secret.write_text(self.settings["tsig"] + "\n")
        self.write_conf(
            "zoned.conf.in", self.conf.name, name=self.name, user=USER,
            replica=self.layout.replica(self.host), domain=DOMAIN,
            run=self.run, dns=self.layout.dns, secret=secret,
            web=f"{self.layout.addresses[self.host]}:{WEB_PORT}",
            host_name=HOST, realm=REALM, hosts="".join(
                ZONED_HOST.format(name=name, domain=DOMAIN, address=address)
                for name, address in self.layout.addresses.items()))

    def is_up(self):
        """Its control socket is there."""
        return (self.run / "zoned.sock").exists()

    def prepare(self):
        (self.run / "zoned.sock").unlink(missing_ok=True)


def own_folder(path):
    """A folder of the user that a daemon becomes."""
    path.mkdir(mode=0o700)
    if os.getuid() == 0:
        account = pwd.getpwnam(USER)
        os.chown(path, account.pw_uid, account.pw_gid)


def make_host_folder(layout, host):
    (layout.run / host).mkdir(mode=0o755, exist_ok=True)
    (layout.run / "empty").mkdir(mode=0o755, exist_ok=True)


FIRST = next(iter(PROXIES))


def control_conf(layout, host):
    name = "ctl" if host == FIRST else f"ctl-{host}"
    return layout.conf / f"{name}.conf"


def control_command(layout, host=FIRST):
    """Command line of postcellctl for one proxy's host."""
    return [str(layout.build / "postcellctl"),
            "--config", str(control_conf(layout, host))]
