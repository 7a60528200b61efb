"""What Postcell's own daemons share; replicas, and publishers of names."""

import os
import shutil

from layout import (DECIDERS, DOMAIN, HOST, PROXIES, PUBLISHERS, REALM,
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


LOCATOR = """
locator {{
	realm = "{realm}"
	file = "{file}"
	dns_servers = {{ "{dns}" }}
}}
"""


class Replica(Daemon):
    program = "postcell-replicad"

    def __init__(self, layout, settings, name):
        super().__init__(layout, settings, name)
        self.host = REPLICAS[name]
        self.identity, self.keys = name, "no"

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
            ca=self.layout.run / "ca.pem",
            decider=self.decider() + self.locator())

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

    def locator(self):
        """One of them tells the people at this host which KDC to ask."""
        if self.host != FIRST:
            return ""
        return LOCATOR.format(realm=REALM, file=self.layout.kdcs,
                              dns=self.layout.dns)

    def is_up(self):
        """It has made its database, which the proxy opens."""
        return (self.layout.replica(self.host) / "data.mdb").exists()


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
        """The host's, where postcellctl looks."""
        return self.layout.run / self.host

    def make(self):
        make_host_folder(self.layout, self.host)
        secret = self.layout.conf / f"{self.name}.secret"
        secret.touch(mode=0o600)
        secret.write_text(self.settings[f"{self.name}_tsig"] + "\n")
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


def own_folder(path, mode=0o700):
    """A folder of the user that a daemon becomes."""
    path.mkdir(mode=mode)
    if os.getuid() == 0:
        shutil.chown(path, USER)


def own_file(path):
    """A secret of that user's."""
    path.chmod(0o600)
    if os.getuid() == 0:
        shutil.chown(path, USER)


def make_host_folder(layout, host):
    """Of the daemons there, with their sockets."""
    if not (layout.run / host).exists():
        own_folder(layout.run / host, 0o755)
    (layout.run / "empty").mkdir(mode=0o755, exist_ok=True)


FIRST = next(iter(PROXIES))


def control_conf(layout, host):
    name = "ctl" if host == FIRST else f"ctl-{host}"
    return layout.conf / f"{name}.conf"


def control_command(layout, host=FIRST):
    """Command line of postcellctl for one proxy's host."""
    return [str(layout.build / "postcellctl"),
            "--config", str(control_conf(layout, host))]
