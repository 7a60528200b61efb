"""The proxies: what they listen to, what they offer to whom, and how they log
in at the servers; and the observers, which accept nobody."""

import http.client
import socket

import daemons
import kerberos
from daemons import Daemon, make_host_folder
from layout import (ADMIN_DN, BALANCED_PORTS, BALANCERS, HOST, HUB_PORT,
                    METRICS_PORT, PORTS, PROXIES, REALM, SSO_PORTS, SUFFIX,
                    identity_dn)
from server import answers

LISTENER = """
listen {title} {{
	service = {kind}
	addresses = {{ "{address}" }}
	port = {port}
{options}}}
"""

HUB = """\
	hub_networks = { "127.0.0.0/8" }
"""

# Who connects here says whom for.
BALANCED = """\
	proxy_networks = {{ "{balancer}" }}
"""

# The proxy finds out who it is, by a password, or by a certificate where the
# client shows one.
SSO = """\
	authentication = verify
	client_certificate = ask
	mechanisms = { "PLAIN", "LOGIN", "EXTERNAL" }
"""

# Tickets are offered where people have some: programs on this host that know
# nothing of the cell's addresses. To others a mechanism that they cannot use
# would be a reason to give up.
OFFICE = """
network "127.0.0.1/32" {{
	listeners = {{ {listeners} }}
	mechanisms = {{ "PLAIN", "LOGIN", "EXTERNAL", "GSSAPI" }}
}}

auth {{
	keytab = "{front}"
	realm = "{realm}"
}}

# Whoever it was, the servers hear of it by this proxy's own ticket.
login cell {{
	as = gssapi
	user = "{name}@{realm}"
	keytab = "{own}"
}}
"""


class Proxy(Daemon):
    program = "postcell-proxyd"

    def __init__(self, layout, settings, name):
        super().__init__(layout, settings, name)
        self.address = layout.addresses[name]
        self.endpoints = [(self.address, port, socket.SOCK_STREAM)
                          for port in (METRICS_PORT, *self.ports())]
        self.environment = {"KRB5_CONFIG": str(layout.servers_krb5_conf)}

    @staticmethod
    def ports():
        return (*PORTS.values(), HUB_PORT, *SSO_PORTS.values(),
                *BALANCED_PORTS.values())

    def make(self):
        make_host_folder(self.layout, self.name)
        run = self.layout.run / self.name
        certificate = self.certificate()
        self.write_conf(
            "proxyd.conf.in", self.conf.name, host_name=HOST, run=run,
            replica=self.layout.replica(self.name), user=daemons.USER,
            chroot=self.layout.run / "empty", dns=self.layout.dns,
            certificate=self.layout.tls / f"{certificate}.pem",
            key=self.layout.tls / f"{certificate}.key",
            client_ca=self.layout.tls / "people.pem",
            ca=self.layout.run / "ca.pem", listeners=self.listeners(),
            uris=self.quoted_uris(), bind_dn=identity_dn(self.name),
            directory_password=self.write_password(
                f"{self.name}.password", self.name), name=self.name,
            address=self.address, metrics=METRICS_PORT,
            probe_timeout=daemons.PROBE_TIMEOUT,
            probe_password=self.write_password(
                f"{self.name}-probe.password", "probe"))
        self.write_control_conf(run)

    def certificate(self):
        return self.name

    def is_up(self):
        """By its own word: relays serve, and the replica is not stale."""
        try:
            connection = http.client.HTTPConnection(
                self.address, METRICS_PORT, timeout=1)
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def write_control_conf(self, run):
        """For postcellctl on this host; only the cell's owner may read it."""
        self.write_conf(
            "ctl.conf.in", daemons.control_conf(self.layout, self.name).name,
            run=run, replica=self.layout.replica(self.name), suffix=SUFFIX,
            uris=self.quoted_uris(), bind_dn=ADMIN_DN,
            password_file=self.write_password("ctl.password", "admin"),
            ca=self.layout.ca)

    def keytabs(self):
        """(file, principals) of the keys that its auth processes read."""
        run = self.layout.run / self.name
        return [(run / "front.keytab", kerberos.services(HOST)),
                (run / "own.keytab", [self.name])]

    def own_keytab(self, path):
        daemons.own_file(path)

    def listeners(self):
        groups = [
            ("", PORTS, ""), ("", {"smtp": HUB_PORT}, HUB),
            ("sso-", SSO_PORTS, SSO),
            ("balanced-", BALANCED_PORTS, BALANCED.format(
                balancer=self.layout.addresses[next(iter(BALANCERS))]))]
        (front, _), (own, _) = self.keytabs()
        return "".join(
            LISTENER.format(title=prefix + kind, kind=kind, port=port,
                            address=self.address, options=options)
            for prefix, ports, options in groups
            for kind, port in ports.items()) + OFFICE.format(
                listeners=", ".join(f'"sso-{kind}"' for kind in SSO_PORTS),
                front=front, own=own, name=self.name, realm=REALM)


class Observer(Proxy):
    """It accepts nobody, and has its say."""

    @staticmethod
    def ports():
        return ()

    def certificate(self):
        return next(iter(PROXIES))

    def is_up(self):
        return answers(self.address, METRICS_PORT)

    def keytabs(self):
        return []

    def listeners(self):
        return ""
