"""Postfix, where root starts the cell: its master needs that.

It is the mail exchanger, and on each server's address it takes what the people
submit, who log in by that server's Dovecot. All it has is in the cell's own
folders; the system's Postfix is not touched.
"""

import os
import shutil
import socket

from layout import (DOMAIN, EXCHANGER_PORT, EXCHANGERS, HUB_PORT, PORTS,
                    PROXIES, SERVERS)
from server import Server

OWNER = "postfix"
MASTER = "/usr/lib/postfix/sbin/master"
HERE = "127.0.0.0/8"
AUTH_SOCKET = "postfix-auth"

SUBMISSION = """\
{address}:{port} inet n - n - - smtpd
  -o smtpd_tls_cert_file={tls}.pem
  -o smtpd_tls_key_file={tls}.key
  -o {mode}
  -o smtpd_tls_auth_only=yes
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_sasl_type=dovecot
  -o smtpd_sasl_path=unix:{auth}
  -o smtpd_delay_reject=no
  -o smtpd_authorized_xclient_hosts={here}
  -o smtpd_client_restrictions=
  -o smtpd_sender_restrictions=permit_sasl_authenticated,reject
"""


def is_used():
    return os.getuid() == 0


def auth_socket(layout, server):
    """Of a server's Dovecot, for Postfix."""
    return layout.run / server / AUTH_SOCKET


class Postfix(Server):
    def __init__(self, layout, settings, name=next(iter(EXCHANGERS))):
        super().__init__(layout, settings)
        self.name = name
        self.address = layout.addresses[name]
        self.endpoints = [
            (self.address, port, socket.SOCK_STREAM)
            for port in (EXCHANGER_PORT, HUB_PORT)
        ] + [(layout.addresses[server], PORTS[kind], socket.SOCK_STREAM)
             for server in SERVERS for kind in ("submission", "submissions")]

    @property
    def folder(self):
        return self.layout.run / self.name

    def make(self):
        self.folder.mkdir(mode=0o755)
        for name in ("etc", "queue", "data"):
            (self.folder / name).mkdir(mode=0o755)
        shutil.chown(self.folder / "data", OWNER)
        proxies = [self.layout.addresses[name] for name in PROXIES]
        # Names of its own choice: Postfix insists on these.
        for template, file, values in (
                ("postfix-main.cf.in", "main.cf", dict(
                    name=self.name, domain=DOMAIN, run=self.folder,
                    ca=self.layout.run / "ca.pem",
                    lmtp=", ".join(f"inet:[{address}]:{PORTS['lmtp']}"
                                   for address in proxies))),
                ("postfix-master.cf.in", "master.cf", dict(
                    exchanger=f"{self.address}:{EXCHANGER_PORT}",
                    hub=f"{self.address}:{HUB_PORT}",
                    smtp=",".join(f"[{address}]:{HUB_PORT}"
                                  for address in proxies),
                    submissions=self.submissions()))):
            path = self.write_conf(template, f"{self.name}-{file}", **values)
            shutil.copyfile(path, self.folder / "etc" / file)

    def submissions(self):
        modes = {"submission": "smtpd_tls_security_level=may",
                 "submissions": "smtpd_tls_wrappermode=yes"}
        return "".join(
            SUBMISSION.format(
                address=self.layout.addresses[server], port=PORTS[kind],
                mode=mode, tls=self.layout.tls / server, here=HERE,
                auth=auth_socket(self.layout, server))
            for server in SERVERS for kind, mode in modes.items())

    def prepare(self):
        """What a killed predecessor left."""
        (self.folder / "queue" / "pid" / "master.pid").unlink(missing_ok=True)

    def command(self):
        """First the folders of the queue, which takes a while; then the master
        itself, as a leader of its own session."""
        return ["/bin/sh", "-c", 'postfix -c "$0" check && exec "$1" -s -c "$0"',
                self.folder / "etc", MASTER]
