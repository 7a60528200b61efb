"""Where everything of a cell is: names, addresses, ports, folders.

A cell lives in one /24 of loopback, named by its first three octets, and in
one folder. What must have a short path (sockets) or must be reached by other
users than the one who starts the cell (mail, replicas) lies in a run folder
below /tmp, to which the link `run` in the cell's folder points.
"""

import os
import pathlib
import re

DOMAIN = "cell.test"
HOST = "mail." + DOMAIN
SUFFIX = "dc=cell,dc=test"
REALM = "CELL.TEST"
PEOPLE = "ou=people," + SUFFIX
DAEMONS = "ou=daemons," + SUFFIX
ADMIN_DN = "cn=admin," + SUFFIX
POLICIES = "ou=policies," + SUFFIX
POLICY = "cn=default," + POLICIES  # of passwords
POOL = "mail"

# The same on each proxy and each server, all below the ephemeral range.
PORTS = {
    "imap": 31143, "imaps": 31993,
    "pop3": 31110, "pop3s": 31995,
    "submission": 31587, "submissions": 31465,
    "sieve": 31419, "lmtp": 31024,
}
LDAP_PORT = 31389
DNS_PORT = 31053
EXCHANGER_PORT = 31025
KDC_PORT = 31088
KPASSWD_PORT = 31464
HUB_PORT = 31026  # SMTP without a login: of the proxies, and of a hub for them
WEB_PORT = 31080
METRICS_PORT = 31909
# Of each proxy: where it verifies logins itself, and where balancers connect.
SSO_PORTS = {kind: port - 1000 for kind, port in PORTS.items()
             if kind != "lmtp"}
BALANCED_PORTS = {kind: port - 1000 for kind, port in SSO_PORTS.items()}

PROXIES = {"proxy1": 1, "proxy2": 2}
BALANCERS = {"lb1": 71}
SERVERS = {"mbox1": 11, "mbox2": 12, "mbox3": 13}
DIRECTORIES = {"ldap1": 21, "ldap2": 22}
DNS = {"dns1": 53}
EXCHANGERS = {"mx1": 41}
KDCS = {"kdc1": 61, "kdc2": 62}
OBSERVERS = {"observer1": 3}  # proxies without listeners: with two proxies a
#                               third one makes a majority of two
REPLICAS = {"replica1": "proxy1", "replica2": "proxy2",
            "replica3": "observer1"}  # and their hosts
# Who publishes the names, each beside a replica.
PUBLISHERS = {"zone1": "proxy1", "zone2": "proxy2"}
# Replicas that decide as well, in the order in which they have their say.
DECIDERS = {"replica1": "decider1", "replica2": "decider2"}

# Daemons with rights of their own, by the group of identities that has them.
GROUPS = {"sync": DIRECTORIES, "kdcs": KDCS, "deciders": DECIDERS.values(),
          "replicas": REPLICAS}

ROOT = pathlib.Path(__file__).resolve().parent.parent


def identity_dn(name):
    """Whom a daemon binds as."""
    for group, names in GROUPS.items():
        if name in names:
            return f"cn={name},ou={group},{DAEMONS}"
    return f"cn={name},{DAEMONS}"


class Layout:
    def __init__(self, folder, net):
        if not re.fullmatch(r"127(\.(\d\d?|1\d\d|2[0-4]\d|25[0-5])){2}", net):
            raise ValueError(f"{net!r} is not the first three octets of a "
                             "loopback network, like 127.0.31")
        self.folder = pathlib.Path(folder).resolve()
        self.net = net
        self.addresses = {
            name: f"{net}.{last}"
            for group in (PROXIES, OBSERVERS, SERVERS, DIRECTORIES, DNS,
                          EXCHANGERS, KDCS, BALANCERS)
            for name, last in group.items()
        }
        self.log = self.folder / "log"
        self.conf = self.folder / "conf"
        self.tls = self.folder / "tls"
        self.data = self.folder / "data"
        self.pids = self.folder / "pids"
        self.users = self.folder / "users"
        self.env = self.folder / "env"
        self.ca = self.folder / "ca.pem"
        self.krb5_conf = self.folder / "krb5.conf"
        self.hosts = self.folder / "hosts"
        self.certificate = self.folder / "certificate.pem"  # of the first user
        self.master_key = self.data / "m-key"

    @property
    def run(self):
        return pathlib.Path(os.readlink(self.folder / "run"))

    @property
    def servers_krb5_conf(self):
        """Of proxies and mail servers, whoever they become."""
        return self.run / "krb5.conf"

    @property
    def kdcs(self):
        """Which are up, by the map of the cell."""
        return self.run / "realm" / "kdcs"

    @property
    def mail(self):
        return self.run / "mail"

    def replica(self, host):
        return self.run / host / "replica"

    @property
    def ldap_uris(self):
        return [f"ldap://{self.addresses[name]}:{LDAP_PORT}"
                for name in DIRECTORIES]

    @property
    def dns(self):
        return f"{self.addresses['dns1']}:{DNS_PORT}"
