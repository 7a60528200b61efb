"""The back ends: three Dovecots on one mail store."""

import grp
import os
import pwd
import shutil
import socket

import kerberos
import postfix
from layout import (DOMAIN, EXCHANGER_PORT, EXCHANGERS, PEOPLE, PORTS, PROXIES,
                    REALM, identity_dn)
from process import Trouble
from server import Server, find_program

# Owns the mail when root starts the cell; no account needs to be behind it.
MAIL_ID = 31143
# Dovecot 2.3 remembers what it looked up by the name in the ticket, which is the
# proxy's: the second user would get the first one's mailbox. A lookup with something
# of each session in it is never remembered.
BY_TICKET = ", =nopassword=y, =event_session=%{session}"
# Where mail and indexes are; mail: the shared store, name: the server's.
MAIL_LOCATION = "maildir:~/Maildir"


class Dovecot(Server):
    def __init__(self, layout, settings, name):
        super().__init__(layout, settings)
        self.name = name
        self.address = layout.addresses[name]
        self.endpoints = [(self.address, port, socket.SOCK_STREAM)
                          for kind, port in PORTS.items()
                          if not (postfix.is_used()
                                  and kind.startswith("submission"))]
        self.conf = layout.conf / f"{name}.conf"
        self.keytab = layout.run / name / "keytab"

    def keytabs(self):
        return [(self.keytab, kerberos.services(f"{self.name}.{DOMAIN}"))]

    def own_keytab(self, path):
        super().own_keytab(path)
        if os.getuid() == 0:
            shutil.chown(path, identities()["internal_user"])

    def make(self):
        run = self.layout.run / self.name
        run.mkdir(mode=0o755)
        self.write_conf(
            "dovecot.conf.in", self.conf.name, run=run, name=self.name,
            log=self.log, address=self.address, domain=DOMAIN,
            certificate=self.layout.tls / f"{self.name}.pem",
            key=self.layout.tls / f"{self.name}.key",
            ldap_conf=self.write_ldap_conf("ldap", bind="yes", more=""),
            ticket_conf=self.write_ldap_conf("ticket", bind="no",
                                             more=BY_TICKET),
            exchanger=self.layout.addresses[next(iter(EXCHANGERS))],
            exchanger_port=EXCHANGER_PORT,
            mail_location=MAIL_LOCATION.format(mail=self.layout.mail,
                                               name=self.name),
            keytab=self.keytab, krb5_conf=self.layout.servers_krb5_conf,
            proxies=",".join(f"{name}@{REALM}" for name in PROXIES),
            submission_protocol="" if postfix.is_used() else "submission",
            postfix_auth=postfix.AUTH_SOCKET,
            **identities(), **PORTS)

    def write_ldap_conf(self, kind, **values):
        return self.write_conf(
            "dovecot-ldap.conf.in", f"{self.name}-{kind}.conf",
            uris=" ".join(self.layout.ldap_uris), ca=self.layout.run / "ca.pem",
            dn=identity_dn(self.name), base=PEOPLE,
            password=self.settings[f"{self.name}_password"],
            mail=self.layout.mail, **values)

    def prepare(self):
        """Dovecot believes a pid file even when that process is a zombie."""
        (self.layout.run / self.name / "master.pid").unlink(missing_ok=True)

    def is_up(self):
        """It greets, which it does once it can authenticate."""
        try:
            with socket.create_connection((self.address, PORTS["imap"]),
                                          timeout=1) as connection:
                return connection.recv(64).startswith(b"* OK")
        except OSError:
            return False

    def command(self):
        return [find_program("dovecot"), "-F", "-c", self.conf]


def identities():
    """Users and jails: Dovecot's own for root, else whoever starts the cell."""
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        return {"internal_user": "dovecot", "internal_group": "dovecot",
                "login_user": "dovenull", "login_chroot": "login",
                "empty_chroot": "empty",
                "mail_uid": MAIL_ID, "mail_gid": MAIL_ID}
    try:
        user, group = pwd.getpwuid(uid).pw_name, grp.getgrgid(gid).gr_name
    except KeyError:
        raise Trouble("Dovecot needs a user and a group with names; "
                      f"{uid} and {gid} are not both in passwd and group"
                      ) from None
    return {"internal_user": user, "internal_group": group,
            "login_user": user, "login_chroot": "", "empty_chroot": "",
            "mail_uid": uid, "mail_gid": gid}


def make_store(layout):
    """The shared mail store; mailboxes appear in it at first use."""
    layout.mail.mkdir(mode=0o700)
    if os.getuid() == 0:
        os.chown(layout.mail, MAIL_ID, MAIL_ID)
