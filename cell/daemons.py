"""Postcell's own daemons: on each proxy's host a replica and a proxy."""

import os
import pwd
import socket

from layout import ADMIN_DN, DAEMONS, HOST, PORTS, PROXIES, REPLICAS, SUFFIX

from process import Trouble
from server import Server

# Whom they become when root starts the cell.
USER = "nobody"

# What the proxies listen for.
LISTENERS = ("imap", "imaps", "pop3", "pop3s", "sieve", "lmtp")


class Daemon(Server):
    program = ""

    def __init__(self, layout, settings, name):
        super().__init__(layout, settings)
        self.name = name
        self.conf = layout.conf / f"{name}.conf"

    @property
    def path(self):
        return self.layout.build / self.program

    def command(self):
        if not os.access(self.path, os.X_OK):
            raise Trouble(f"{self.path} is not there: run make first")
        return [self.path, "-c", self.conf]


class Replica(Daemon):
    program = "postcell-replicad"

    def __init__(self, layout, settings, name):
        super().__init__(layout, settings, name)
        self.host = REPLICAS[name]

    def make(self):
        make_host_folder(self.layout, self.host)
        replica = self.layout.replica(self.host)
        replica.mkdir(mode=0o700)
        password = self.layout.conf / f"{self.name}.password"
        password.touch(mode=0o600)
        password.write_text(self.settings["replica_password"] + "\n")
        if os.getuid() == 0:
            account = pwd.getpwnam(USER)
            os.chown(replica, account.pw_uid, account.pw_gid)
        self.write_conf(
            "replicad.conf.in", self.conf.name, replica=replica, user=USER,
            providers=", ".join(f'"{uri}"' for uri in self.layout.ldap_uris),
            suffix=SUFFIX, bind_dn=f"cn=replica,{DAEMONS}",
            password_file=password, ca=self.layout.run / "ca.pem")

    def is_up(self):
        """It has made its database, which the proxy opens."""
        return (self.layout.replica(self.host) / "data.mdb").exists()


class Proxy(Daemon):
    program = "postcell-proxyd"

    def __init__(self, layout, settings, name):
        super().__init__(layout, settings, name)
        self.address = layout.addresses[name]
        self.endpoints = [(self.address, PORTS[kind], socket.SOCK_STREAM)
                          for kind in LISTENERS]

    def make(self):
        make_host_folder(self.layout, self.name)
        run = self.layout.run / self.name
        self.write_conf(
            "proxyd.conf.in", self.conf.name, host_name=HOST, run=run,
            replica=self.layout.replica(self.name), user=USER,
            chroot=self.layout.run / "empty", dns=self.layout.dns,
            certificate=self.layout.tls / f"{self.name}.pem",
            key=self.layout.tls / f"{self.name}.key", address=self.address,
            ca=self.layout.run / "ca.pem",
            **{kind: PORTS[kind] for kind in LISTENERS})
        self.write_control_conf(run)

    def write_control_conf(self, run):
        """For postcellctl on this host; only the cell's owner may read it."""
        password = self.layout.conf / "ctl.password"
        password.touch(mode=0o600)
        password.write_text(self.settings["admin_password"] + "\n")
        self.write_conf(
            "ctl.conf.in", control_conf(self.layout, self.name).name, run=run,
            replica=self.layout.replica(self.name), suffix=SUFFIX,
            uris=", ".join(f'"{uri}"' for uri in self.layout.ldap_uris),
            bind_dn=ADMIN_DN, password_file=password, ca=self.layout.ca)


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
