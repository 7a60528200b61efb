"""Real slapds with postcell.so: realm, master key, accounts, what stands there."""

import base64
import os
import pathlib
import re
import subprocess

import ldap

from directory import ROOT, SUFFIX, Directory, base_ldif

BUILD = pathlib.Path(os.environ.get("POSTCELL_BUILD", ROOT / "build"))
MODULE = (BUILD / "postcell.so").resolve()
KSTASH = "/usr/sbin/kstash"
REALM = "REPLICA.TEST"
PEOPLE = f"ou=people,{SUFFIX}"
KERBEROS = ["/etc/ldap/schema/hdb.schema",
            str(ROOT / "schema/postcell-kerberos.schema")]
POLICY = f"cn=default,ou=policies,{SUFFIX}"
NET = os.environ.get("CELL_NET", "127.0.36")


def person_dn(uid):
    return f"uid={uid},{PEOPLE}"


def make_master_key(folder):
    """One file for all who share the realm, as Heimdal makes it."""
    path = folder / "m-key"
    conf = folder / "krb5.conf"
    conf.write_text(f"[libdefaults]\n\tdefault_realm = {REALM}\n"
                    "\tplugin_dir =\n")
    subprocess.run([KSTASH, "--random-key", f"--key-file={path}",
                    "--enctype=aes256-cts-hmac-sha1-96"],
                   check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL,
                   env={**os.environ, "KRB5_CONFIG": str(conf)})
    return path, conf


class Overlaid(Directory):
    """A Directory whose database has the overlay."""

    def __init__(self, folder, number, keys, options=(), policy=None, port=11389,
                 **more):
        super().__init__(folder, f"{NET}.{number}", port, number, **more)
        self.master_key, conf = keys
        self.environment = {"KRB5_CONFIG": str(conf)}
        self.options = {"realm": REALM, "master-key": f'"{self.master_key}"',
                        **dict(options)}
        self.policy = policy
        self.module = MODULE

    def overlay(self):
        lines = ["overlay postcell"]
        lines += [f"postcell-{name} {value}"
                  for name, value in self.options.items()
                  if value is not None]
        if self.policy is not None:
            lines += ["overlay ppolicy", f'ppolicy_default "{POLICY}"']
        return "\n".join(lines) + "\n"

    def configuration(self):
        text = super().configuration()
        text = text.replace("modulepath /usr/lib/ldap\n", "".join(
            f"include {path}\n" for path in KERBEROS)
            + f"modulepath /usr/lib/ldap:{self.module.parent}\n"
            + f"moduleload {self.module.name}\nmoduleload ppolicy\n", 1)
        return text + self.overlay()

    def load(self, ldif=None):
        text = ldif or base_ldif()
        if self.policy is not None:
            text += (f"\ndn: ou=policies,{SUFFIX}\n"
                     "objectClass: organizationalUnit\nou: policies\n"
                     f"\ndn: {POLICY}\nobjectClass: pwdPolicy\n"
                     "objectClass: device\ncn: default\n"
                     "pwdAttribute: userPassword\n"
                     + "".join(f"{name}: {value}\n"
                               for name, value in self.policy.items()))
        super().load(text)

    def add_account(self, uid, password=None, **attributes):
        values = {"objectClass": ["inetOrgPerson", "postcellAccount"],
                  **attributes}
        if password is not None:
            values["userPassword"] = password
        self.add_person(uid, **values)

    def entry(self, uid):
        """All of an account, as text but for what is none."""
        connection = self.connect()
        try:
            return connection.search_s(person_dn(uid), ldap.SCOPE_BASE,
                                       attrlist=["*", "+"])[0][1]
        finally:
            connection.unbind_s()

    def sets(self, uid):
        """Its key sets as (time, kvno, words), the newest last."""
        values = sorted(value.decode().split(" ") for value in
                        self.entry(uid).get("postcellKeys", []))
        return [(words[0], int(words[1]), words[2:]) for words in values]

    def bind(self, uid, password, dn=None):
        """None, or the error that it raised."""
        connection = ldap.initialize(self.url)
        connection.set_option(ldap.OPT_NETWORK_TIMEOUT, 5)
        connection.set_option(ldap.OPT_TIMEOUT, 60)
        try:
            connection.simple_bind_s(dn or person_dn(uid), password)
        except ldap.LDAPError as error:
            return error
        finally:
            connection.unbind_s()
        return None

    def as_user(self, uid, password):
        connection = ldap.initialize(self.url)
        connection.set_option(ldap.OPT_TIMEOUT, 60)
        connection.simple_bind_s(person_dn(uid), password)
        return connection

    def log_text(self):
        return (self.folder / "slapd.log").read_text(errors="replace")

    def memory_kib(self):
        """What is its own: pages of the database are not."""
        path = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup")
        return int(re.search(r"Pss_Anon:\s+(\d+)", path.read_text())[1])


def exop(connection, uid, old, new):
    """Password Modify; the new password where it was generated."""
    return connection.passwd_s(person_dn(uid), old, new)


def replace(connection, uid, password):
    connection.modify_s(person_dn(uid), [
        (ldap.MOD_REPLACE, "userPassword", [
            password if isinstance(password, bytes) else password.encode()])])


# Each changes a password, as whoever is connected: (connection, uid, old, new).
DOORS = {
    "exop": lambda own, uid, old, new: exop(own, uid, None, new),
    "exop with old": exop,
    "replace": lambda own, uid, old, new: replace(own, uid, new),
    "delete and add": lambda own, uid, old, new: own.modify_s(person_dn(uid), [
        (ldap.MOD_DELETE, "userPassword", [old.encode()]),
        (ldap.MOD_ADD, "userPassword", [new.encode()])])}
# People change their own, and see nobody's.
OWN_ACL = (
    "access to attrs=userPassword by self =xw by anonymous auth by * none\n"
    "access to * by * read")


def salted(password):
    """A hash as directories have it."""
    import hashlib
    salt = os.urandom(8)
    digest = hashlib.sha1(password.encode() + salt).digest()
    return "{SSHA}" + base64.b64encode(digest + salt).decode()
