"""schema/: both forms are taken by a real slapd, and say the same."""

import shutil
import subprocess

import ldap
import pytest

from conftest import ROOT
from process import wait_until

PORT = 31389
ADDRESSES = {"conf": "127.0.33.1", "config": "127.0.33.2"}
PREREQUISITES = ("core", "cosine", "inetorgperson", "misc", "hdb")
FILES = ("postcell", "postcell-kerberos")
SUFFIX = "dc=schema,dc=test"
KINDS = ("attributeTypes", "objectClasses")

# What the rest of the house and its documents name.
ATTRIBUTES = {
    "postcellPoolName", "postcellGroup", "postcellMoved", "postcellStatus",
    "postcellFrom", "postcellRamp", "postcellGuard", "postcellFailback",
    "postcellMaxDown", "postcellAffinity", "postcellDefault",
    "postcellService", "postcellSite", "postcellState", "postcellWeight",
    "postcellTransition", "postcellVote", "postcellAlive",
    "postcellKeys", "postcellLocked", "postcellLastLogin",
}
CLASSES = {"postcellAccount", "postcellPool", "postcellServer",
           "postcellProxy", "postcellHost", "postcellPrincipal",
           "postcellLogin"}


def write_conf(folder, schemas):
    conf = folder / "slapd.conf"
    data = folder / "data"
    data.mkdir()
    conf.write_text("".join(f"include {path}\n" for path in schemas) + f"""
modulepath /usr/lib/ldap
moduleload back_mdb
database config
rootdn cn=config
rootpw secret
database mdb
suffix {SUFFIX}
rootdn cn=admin,{SUFFIX}
rootpw secret
directory {data}
""")
    return conf


def connect(address):
    connection = ldap.initialize(f"ldap://{address}:{PORT}")
    connection.set_option(ldap.OPT_TIMEOUT, 5)
    return connection


def answers(address):
    try:
        connect(address).search_s("", ldap.SCOPE_BASE)
        return True
    except ldap.LDAPError:
        return False


class Server:
    def __init__(self, folder, address, *options):
        self.address = address
        self.log = folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [shutil.which("slapd", path="/usr/sbin:/usr/bin"), *options,
                 "-h", f"ldap://{address}:{PORT}", "-d", "none"],
                stdout=log, stderr=log)
        if not wait_until(lambda: answers(address), 10):
            self.stop()
            pytest.fail(self.log.read_text())

    def stop(self):
        self.process.terminate()
        self.process.wait(10)

    def subschema(self):
        found = connect(self.address).search_s(
            "cn=Subschema", ldap.SCOPE_BASE, attrlist=list(KINDS))[0][1]
        return {kind: {value.decode() for value in found[kind]
                       if b"'postcell" in value} for kind in KINDS}


def stock_schemas():
    return [f"/etc/ldap/schema/{name}.schema" for name in PREREQUISITES]


def own_schemas(kind):
    return [ROOT / "schema" / f"{name}.{kind}" for name in FILES]


@pytest.fixture(scope="module")
def from_schema(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conf")
    conf = write_conf(folder, [*stock_schemas(), *own_schemas("schema")])
    server = Server(folder, ADDRESSES["conf"], "-f", conf)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def from_ldif(tmp_path_factory):
    """A server under cn=config that learns the schema while it runs."""
    folder = tmp_path_factory.mktemp("config")
    conf = write_conf(folder, stock_schemas())
    tree = folder / "slapd.d"
    tree.mkdir()
    server = Server(folder, ADDRESSES["config"], "-f", conf, "-F", tree)
    for path in own_schemas("ldif"):
        added = subprocess.run(
            ["ldapadd", "-x", "-H", f"ldap://{server.address}:{PORT}",
             "-D", "cn=config", "-w", "secret", "-f", path],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if added.returncode:
            server.stop()
            pytest.fail(added.stdout.decode())
    yield server
    server.stop()


def names(definitions):
    return {definition.split("NAME '")[1].split("'")[0]
            for definition in definitions}


def test_both_forms_say_the_same(from_schema, from_ldif):
    assert from_schema.subschema() == from_ldif.subschema()


def test_all_that_the_design_names_is_there(from_schema):
    found = from_schema.subschema()
    assert names(found["attributeTypes"]) == ATTRIBUTES
    assert names(found["objectClasses"]) == CLASSES


def test_one_arc(from_schema):
    found = from_schema.subschema()
    numbers = [definition.split()[1] for kind in KINDS
               for definition in found[kind]]
    assert len(set(numbers)) == len(ATTRIBUTES) + len(CLASSES)
    assert len({".".join(number.split(".")[:3]) for number in numbers}) == 1
    assert all(number.startswith("2.25.") for number in numbers)


@pytest.fixture(scope="module")
def tree(from_schema):
    connection = connect(from_schema.address)
    connection.simple_bind_s(f"cn=admin,{SUFFIX}", "secret")
    connection.add_s(SUFFIX, [("objectClass", [b"dcObject", b"organization"]),
                              ("dc", b"schema"), ("o", b"test")])
    connection.add_s(f"cn=mbox1,{SUFFIX}", [
        ("objectClass", b"postcellServer"), ("cn", b"mbox1"),
        ("postcellService", [b"imap://mbox1.cell.test:143?tls=starttls",
                             b"lmtp://[::1]:24?tls=none"]),
        ("postcellPoolName", b"Mail"), ("postcellSite", b"here"),
        ("postcellState", b"up"), ("postcellWeight", b"100"),
        ("postcellTransition", [b"20260102030405.000000Z 60 drain 100",
                                b"20260102030406.000000Z 60 up 100"])])
    connection.add_s(f"uid=anna,{SUFFIX}", [
        ("objectClass", [b"account", b"postcellAccount"]), ("uid", b"anna"),
        ("mail", b"anna@cell.test"), ("mailHost", b"mbox1"),
        ("mailLocalAddress", b"a@cell.test"), ("postcellPoolName", b"mail"),
        ("postcellGroup", "Büro".encode()), ("postcellStatus", b"active"),
        ("postcellMoved", b"20260102030405.000000Z - -"),
        ("postcellFrom", [b"office@cell.test", "büro@cell.test".encode()])])
    connection.add_s(f"cn=mail,{SUFFIX}", [
        ("objectClass", b"postcellPool"), ("cn", b"mail"),
        ("postcellRamp", b"60"), ("postcellGuard", b"1000"),
        ("postcellFailback", b"auto"), ("postcellMaxDown", b"1"),
        ("postcellAffinity", b"user"), ("postcellDefault", b"TRUE")])
    connection.add_s(f"cn=proxy1,{SUFFIX}", [
        ("objectClass", b"postcellProxy"), ("cn", b"proxy1"),
        ("postcellVote", b"mbox1 down"),
        ("postcellAlive", b"20260102030405.123456Z")])
    connection.add_s(f"cn=kdc1,{SUFFIX}", [
        ("objectClass", b"postcellHost"), ("cn", b"kdc1"),
        ("postcellService", b"kerberos://kdc1.cell.test")])
    connection.add_s(f"krb5PrincipalName=krbtgt/R@R,{SUFFIX}", [
        ("objectClass", [b"postcellPrincipal", b"postcellLogin"]),
        ("krb5PrincipalName", b"krbtgt/R@R"),
        ("postcellKeys", [b"20260102030405.000000Z 1 AAEC",
                          b"20260102030405.000001Z 1 AAED"]),
        ("postcellLocked", b"20260102030405.000000Z locked -"),
        ("postcellLastLogin", b"20260102000000Z"),
        ("krb5MaxLife", b"86400")])
    return connection


@pytest.mark.parametrize("name, attribute, value", [
    ("cn=mail", "postcellRamp", [b"soon"]),
    ("cn=mail", "postcellGuard", [b"1", b"2"]),
    ("cn=mail", "postcellDefault", [b"yes"]),
    ("cn=mbox1", "postcellWeight", [b"1.5"]),
    ("cn=mbox1", "postcellState", [b"up", b"down"]),
    ("cn=mbox1", "postcellService", ["imap://mböx1".encode()]),
    ("cn=proxy1", "postcellAlive", [b"now"]),
    ("uid=anna", "postcellPoolName", [b"mail", b"other"]),
    ("uid=anna", "mailHost", [b"mbox1", b"mbox2"]),
    ("uid=anna", "postcellWeight", [b"1"]),
    ("uid=anna", "postcellKeys", [b"20260102030405.000000Z 1 AAEC"]),
    ("krb5PrincipalName=krbtgt/R@R", "postcellLastLogin", [b"today"]),
])
def test_what_is_not_allowed(tree, name, attribute, value):
    with pytest.raises((ldap.INVALID_SYNTAX, ldap.CONSTRAINT_VIOLATION,
                        ldap.OBJECT_CLASS_VIOLATION)):
        tree.modify_s(f"{name},{SUFFIX}",
                      [(ldap.MOD_REPLACE, attribute, value)])


@pytest.mark.parametrize("name, attribute, value, found", [
    ("cn=mbox1", "postcellPoolName", b"mAIL", True),
    ("cn=mbox1", "postcellWeight", b"100", True),
    ("cn=mbox1", "postcellTransition",
     b"20260102030405.000000Z 60 drain 100", True),
    ("cn=mbox1", "postcellTransition",
     b"20260102030405.000000Z 60 DRAIN 100", False),
    ("uid=anna", "postcellGroup", "BÜRO".encode(), True),
    ("cn=mail", "postcellDefault", b"TRUE", True),
    ("krb5PrincipalName=krbtgt/R@R", "postcellKeys",
     b"20260102030405.000000Z 1 AAEC", True),
    ("krb5PrincipalName=krbtgt/R@R", "postcellKeys",
     b"20260102030405.000000Z 1 AAEc", False),
    ("krb5PrincipalName=krbtgt/R@R", "postcellLocked",
     b"20260102030405.000000Z locked -", True),
])
def test_how_values_compare(tree, name, attribute, value, found):
    assert tree.compare_s(f"{name},{SUFFIX}", attribute, value) == found
