"""The two directory servers, and what stands in the directory at first."""

import socket

import ldap

import users
from layout import (ADMIN_DN, DAEMONS, DECIDERS, DIRECTORIES, DNS, DNS_PORT,
                    DOMAIN, GROUPS, KDC_PORT, KDCS, KPASSWD_PORT, LDAP_PORT,
                    OBSERVERS, POLICY, POOL, PORTS, PROXIES, REALM, REPLICAS,
                    ROOT, SERVERS, SUFFIX, identity_dn)
from server import Server, find_program, run

# Heimdal's, which hdb's own entries and ours are made of.
HDB_SCHEMA = "/etc/ldap/schema/hdb.schema"
PASSWORD_MIN = "8"  # characters
PASSWORD_HISTORY = "3"  # passwords that may not come back

# Wrong passwords until an account is locked: all clients of a cell of tests
# are one host.
LOCKOUT_LIMIT = 50

# What is written outlives who wrote it; a demo need not outlive the machine.
UNSYNCED = "envflags nosync"

# Whoever has a ticket is who it says.
TICKETS = """\
sasl-host {name}.{domain}
sasl-realm {realm}
authz-regexp "uid=([^,/]+),(cn={cell},)?cn=gssapi,cn=auth" "uid=$1,ou=people,{suffix}"
"""

POLICED = """
overlay ppolicy
ppolicy_default "{policy}"
"""

# Who is followed, and as whom.
PEER = """\
syncrepl rid={rid:03} provider={provider}
	type=refreshAndPersist retry="1 10 5 +" keepalive=60:5:5
	searchbase="{suffix}"
	bindmethod=simple binddn="{dn}" credentials="{password}"
	starttls=critical tls_cacert="{ca}" tls_reqcert=demand
	logbase=cn=log logfilter="(&(objectClass=auditWriteObject)(reqResult=0))"
	syncdata=accesslog
multiprovider on
"""


class Slapd(Server):
    def __init__(self, layout, settings, name):
        super().__init__(layout, settings)
        self.name = name
        self.address = layout.addresses[name]
        self.endpoints = [(self.address, LDAP_PORT, socket.SOCK_STREAM)]
        self.conf = layout.conf / f"{name}.conf"
        # Its own, for Heimdal loads all plugins that the machine's names.
        self.krb5_conf = layout.conf / "slapd-krb5.conf"
        self.keytab = layout.conf / f"{name}.keytab"
        self.environment = {"KRB5_CONFIG": str(self.krb5_conf),
                            "KRB5_KTNAME": f"FILE:{self.keytab}"}

    @property
    def url(self):
        return f"ldap://{self.address}:{LDAP_PORT}"

    def make(self):
        data = self.layout.data / self.name
        (data / "db").mkdir(parents=True)
        (data / "log").mkdir()
        number = list(DIRECTORIES).index(self.name) + 1
        make_master_key(self.layout)
        self.write_conf("slapd-krb5.conf.in", self.krb5_conf.name, realm=REALM,
                        plugins=self.layout.conf / "none")
        other, = [uri for uri in self.layout.ldap_uris if uri != self.url]
        self.write_conf(
            "slapd.conf.in", self.conf.name, id=number,
            hdb_schema=HDB_SCHEMA, schemas=ROOT / "schema",
            modules=f"/usr/lib/ldap:{self.layout.build}", realm=REALM,
            administration=TICKETS.format(name=self.name, domain=DOMAIN,
                                          realm=REALM, cell=REALM.lower(),
                                          suffix=SUFFIX),
            policy=POLICED.format(policy=POLICY),
            size=f"{256 << 20}\n{UNSYNCED}",
            master_key=self.layout.master_key,
            lockout=self.layout.run / "lockout",
            lockout_limit=LOCKOUT_LIMIT, ca=self.layout.ca,
            certificate=self.layout.tls / f"{self.name}.pem",
            key=self.layout.tls / f"{self.name}.key", data=data,
            suffix=SUFFIX, admin_dn=ADMIN_DN,
            root_password=f'rootpw "{self.settings["admin_password"]}"',
            peers=PEER.format(
                rid=number, provider=other, suffix=SUFFIX, ca=self.layout.ca,
                dn=identity_dn(self.name),
                password=self.settings[f"{self.name}_password"]))

    def keytabs(self):
        return [(self.keytab, [f"ldap/{self.name}.{DOMAIN}"])]

    def command(self):
        # Level "none" keeps it in the foreground and shows what is urgent.
        return [find_program("slapd"), "-f", self.conf, "-h", self.url,
                "-d", "none"]

    def is_up(self):
        """It answers, and its copy of the tree is there."""
        connection = ldap.initialize(self.url)
        connection.set_option(ldap.OPT_NETWORK_TIMEOUT, 1)
        connection.set_option(ldap.OPT_TIMEOUT, 1)
        try:
            found = connection.search_s("", ldap.SCOPE_BASE,
                                        attrlist=["namingContexts"])
            return SUFFIX.encode() in found[0][1]["namingContexts"]
        except ldap.LDAPError:
            return False
        finally:
            connection.unbind_s()


def make_master_key(layout):
    """One for all who hold the realm's keys."""
    if not layout.master_key.exists():
        run([find_program("kstash"), "--random-key",
             "--enctype=aes256-cts-hmac-sha1-96",
             f"--key-file={layout.master_key}"])
        layout.master_key.chmod(0o600)


def fill(directories, settings):
    """Writes the same entries into both, operational attributes included."""
    first, *others = directories
    source = first.layout.data / "cell.ldif"
    source.touch(mode=0o600)
    source.write_text(users.to_ldif(entries(first.layout, settings)))
    slapadd(first, source)
    copy = first.layout.data / "copy.ldif"
    copy.touch(mode=0o600)
    copy.write_bytes(run([find_program("slapcat"), "-f", first.conf,
                          "-b", SUFFIX]))
    for other in others:
        slapadd(other, copy)
    source.unlink()
    copy.unlink()


def slapadd(directory, ldif):
    run([find_program("slapadd"), "-q", "-w", "-S", "1", "-f", directory.conf,
         "-b", SUFFIX, "-l", ldif])


def identities():
    """Daemons that the directory knows, each by a name of its own."""
    return [*REPLICAS, *SERVERS, *PROXIES, *OBSERVERS, *DECIDERS.values(),
            *KDCS, *DIRECTORIES]


def entries(layout, settings):
    """The whole tree, parents first."""
    yield SUFFIX, attributes(["dcObject", "organization"], dc="cell",
                             o="The demo cell")
    for unit in ("people", "pools", "servers", "proxies", "hosts", "daemons",
                 "principals", "policies"):
        yield f"ou={unit},{SUFFIX}", attributes(["organizationalUnit"], ou=unit)
    yield POLICY, attributes(
        ["device", "pwdPolicy"], cn="default", pwdAttribute="userPassword",
        pwdCheckQuality="2", pwdMinLength=PASSWORD_MIN,
        pwdInHistory=PASSWORD_HISTORY)
    for group in GROUPS:
        yield f"ou={group},{DAEMONS}", attributes(["organizationalUnit"],
                                                  ou=group)
    for name in identities():
        yield identity_dn(name), attributes(
            ["applicationProcess", "simpleSecurityObject"], cn=name,
            userPassword=users.hash_password(settings[f"{name}_password"]))
    yield f"cn={POOL},ou=pools,{SUFFIX}", attributes(
        ["postcellPool"], cn=POOL, postcellDefault="TRUE",
        description="All servers of the demo cell")
    for name in SERVERS:
        yield f"cn={name},ou=servers,{SUFFIX}", attributes(
            ["postcellServer"], cn=name, postcellPoolName=POOL,
            postcellService=mail_services(name, PORTS), postcellState="up",
            postcellWeight="100", postcellSite="here")
    for name in PROXIES:
        yield f"cn={name},ou=proxies,{SUFFIX}", attributes(
            ["postcellProxy"], cn=name, postcellState="up",
            postcellService=mail_services(name, PORTS),
            postcellSite="here")
    for name in OBSERVERS:
        yield f"cn={name},ou=proxies,{SUFFIX}", attributes(
            ["postcellProxy"], cn=name, postcellState="up",
            postcellSite="here", description="It observes, and proxies nothing")
    yield from other_hosts()
    for user in (*users.all_users(), *users.probes(settings)):
        yield users.entry(user)


def other_hosts():
    services = {name: f"ldap://{name}.{DOMAIN}:{LDAP_PORT}?tls=starttls"
                for name in DIRECTORIES}
    services.update({name: f"dns://{name}.{DOMAIN}:{DNS_PORT}" for name in DNS})
    services.update({name: [
        f"kerberos://{name}.{DOMAIN}:{KDC_PORT}",
        f"kpasswd://{name}.{DOMAIN}:{KPASSWD_PORT}"] for name in KDCS})
    for name, service in services.items():
        yield f"cn={name},ou=hosts,{SUFFIX}", attributes(
            ["postcellHost"], cn=name, postcellService=service,
            postcellState="up", postcellSite="here")


def mail_services(name, kinds):
    return [service_url(name, kind) for kind in kinds]


def service_url(name, kind):
    """Schemes that end in s mean implicit TLS; LMTP alone has STARTTLS too."""
    return f"{kind}://{name}.{DOMAIN}:{PORTS[kind]}"


def attributes(classes, **values):
    found = {"objectClass": [name.encode() for name in classes]}
    for name, value in values.items():
        listed = value if isinstance(value, list) else [value]
        found[name] = [item if isinstance(item, bytes) else item.encode()
                       for item in listed]
    return found


def connect(url, ca_file, dn, password):
    """A bound connection, for the scenarios and whoever else needs one."""
    connection = ldap.initialize(url)
    connection.set_option(ldap.OPT_X_TLS_CACERTFILE, str(ca_file))
    connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
    connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
    connection.set_option(ldap.OPT_NETWORK_TIMEOUT, 5)
    connection.set_option(ldap.OPT_TIMEOUT, 10)
    connection.set_option(ldap.OPT_REFERRALS, 0)
    connection.start_tls_s()
    connection.simple_bind_s(dn, password)
    return connection
