"""slapd-overlay/: transitions of wishes edited by hand, names, references,
postcellServer."""

import concurrent.futures
import subprocess

import ldap
from ldap.controls.simple import RelaxRulesControl
import pytest

from directory import SUFFIX, base_ldif, wait_until
from overlaid import BUILD, Overlaid, make_master_key, person_dn
from replicad import Replicad

SERVER = f"cn=mbox1,ou=servers,{SUFFIX}"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return make_master_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def slapd(tmp_path_factory, keys):
    made = Overlaid(tmp_path_factory.mktemp("slapd"), 5, keys)
    made.load()
    try:
        yield made.start()
    finally:
        made.stop()


def transitions(slapd, dn=SERVER):
    """As [time, ramp, state, weight], the newest last."""
    connection = slapd.connect()
    found = connection.search_s(dn, ldap.SCOPE_BASE,
                                attrlist=["postcellTransition"])[0][1]
    return sorted(value.decode().split() for value in
                  found.get("postcellTransition", []))


def add_server(slapd, name, **more):
    values = {"objectClass": "postcellServer", "postcellPoolName": "main",
              "postcellService": f"imap://{name}.test:143", **more}
    dn = f"cn={name},ou=servers,{SUFFIX}"
    slapd.add(dn, cn=name, **values)
    return dn


# -- transitions ------------------------------------------------------------


def test_a_new_host_has_its_first_transition(slapd):
    dn = add_server(slapd, "new1", postcellState="up", postcellWeight="70")
    (moment, ramp, state, weight), = transitions(slapd, dn)
    assert (ramp, state, weight) == ("0", "up", "70")
    dn = add_server(slapd, "new2")
    assert transitions(slapd, dn)[0][2:] == ["up", "100"]
    given = "20260102030405.000000Z 0 down 100"
    dn = add_server(slapd, "new3", postcellTransition=given)
    assert transitions(slapd, dn) == [given.split()]


def test_an_edited_wish_gets_its_transition_in_the_same_write(slapd):
    dn = add_server(slapd, "edited", postcellState="up")
    slapd.modify(dn, postcellState="drain")
    values = transitions(slapd, dn)
    assert [value[1:] for value in values] == [["0", "up", "100"],
                                               ["60", "drain", "100"]]
    slapd.modify(dn, postcellWeight="30")
    assert transitions(slapd, dn)[-1][1:] == ["60", "drain", "30"]
    slapd.modify(dn, postcellState="down")
    assert transitions(slapd, dn)[-1][1:] == ["0", "down", "30"]
    slapd.modify(dn, postcellState="up", postcellWeight=None)
    assert transitions(slapd, dn)[-1][1:] == ["60", "up", "100"]
    before = transitions(slapd, dn)
    slapd.modify(dn, postcellState="up")  # nothing changes
    slapd.modify(dn, postcellSite="here")
    assert transitions(slapd, dn) == before
    assert sorted(before) == before and len(before) == 5


def test_concurrent_edits_take_turns(slapd):
    """Each gets its transition, and the last one is the wish that stands."""
    dn = add_server(slapd, "busy", postcellState="up")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda weight: slapd.modify(
            dn, postcellWeight=str(weight)), range(1, 25)))
    connection = slapd.connect()
    wish = connection.search_s(dn, ldap.SCOPE_BASE)[0][1]["postcellWeight"]
    values = transitions(slapd, dn)
    assert values[-1][3].encode() == wish[0]
    assert {int(value[3]) for value in values} == {*range(1, 25), 100}


def test_who_writes_a_transition_knows_why(slapd):
    dn = add_server(slapd, "knowing", postcellState="up")
    slapd.connect().modify_s(dn, [
        (ldap.MOD_REPLACE, "postcellState", [b"drain"]),
        (ldap.MOD_ADD, "postcellTransition",
         [b"29990101000000.000000Z 7 drain 100"])])
    assert [value[1] for value in transitions(slapd, dn)] == ["0", "7"]


def test_old_transitions_are_pruned(slapd):
    dn = add_server(slapd, "old", postcellState="up", postcellTransition=[
        f"2026010203040{n}.000000Z 0 up {n}" for n in range(1, 6)])
    slapd.modify(dn, postcellState="down")
    values = transitions(slapd, dn)
    assert [value[2:] for value in values] == [["up", "5"], ["down", "100"]]


def test_a_host_without_history_gets_its_base(slapd):
    """What the wish was, as a value of the year 1970; the rest is for
    deciders, a guard later."""
    slapd.modify(SERVER, postcellState="drain")
    assert transitions(slapd) == [["19700101000000.000000Z", "0", "up", "100"]]


def test_the_weight_of_a_failed_host_is_a_wish(slapd):
    dn = add_server(slapd, "failed", postcellState="up", postcellTransition=[
        "20260102030405.000000Z 0 failed 100"])
    slapd.modify(dn, postcellWeight="30")
    assert len(transitions(slapd, dn)) == 1
    slapd.modify(dn, postcellState="down")
    assert transitions(slapd, dn)[-1][2:] == ["down", "30"]


@pytest.mark.parametrize("values", [
    {"postcellState": "failed"}, {"postcellState": "gone"},
    {"postcellWeight": "10001"}, {"postcellWeight": "-1"}])
def test_what_is_no_wish_is_refused(slapd, values):
    dn = f"cn=wishful,ou=servers,{SUFFIX}"
    try:
        add_server(slapd, "wishful")
    except ldap.ALREADY_EXISTS:
        pass
    before = transitions(slapd, dn)
    with pytest.raises(ldap.CONSTRAINT_VIOLATION):
        slapd.modify(dn, **values)
    with pytest.raises(ldap.CONSTRAINT_VIOLATION):
        add_server(slapd, "never", **values)
    assert transitions(slapd, dn) == before


def test_proxies_and_hosts_have_transitions_too(slapd):
    dn = f"cn=proxy1,ou=proxies,{SUFFIX}"
    slapd.add(dn, objectClass="postcellProxy", cn="proxy1", postcellState="up")
    slapd.modify(dn, postcellState="down")
    assert [value[2] for value in transitions(slapd, dn)] == ["up", "down"]


def test_replicated_writes_pass_untouched(tmp_path, keys):
    pair = [Overlaid(tmp_path / str(n), n, keys) for n in (6, 7)]
    pair[0].peers, pair[1].peers = [pair[1]], [pair[0]]
    ldif = base_ldif()
    try:
        for each in pair:
            each.load(ldif)
        for each in pair:
            each.start()
        dn = add_server(pair[0], "both", postcellState="up")
        pair[0].add_account("anna", "password")
        pair[0].modify(dn, postcellState="drain")
        wait_until(lambda: found(pair[1], dn)
                   and len(transitions(pair[1], dn)) == 2)
        assert transitions(pair[0], dn) == transitions(pair[1], dn)
        wait_until(lambda: pair[1].bind("anna", "password") is None)

        def settled():
            return pair[0].entry("anna") == pair[1].entry("anna")
        wait_until(settled, what="both the same")
        assert len(pair[1].sets("anna")) == 1
    finally:
        for each in pair:
            each.stop()


def found(slapd, dn):
    try:
        return slapd.connect().search_s(dn, ldap.SCOPE_BASE)
    except ldap.NO_SUCH_OBJECT:
        return None


# -- names --------------------------------------------------------------------


def test_a_name_leads_to_one_account(slapd):
    slapd.add_account("bert", mail="bert@cell.test",
                      mailLocalAddress=["b.b@cell.test"])
    taken = [
        {"mail": "BERT@cell.test"}, {"mail": "b.b@Cell.test"},
        {"mail": "x1@cell.test", "mailLocalAddress": "bert@cell.test"},
        {"mail": "x2@cell.test", "mailLocalAddress": "bert"},
    ]
    for number, values in enumerate(taken):
        with pytest.raises(ldap.CONSTRAINT_VIOLATION) as error:
            slapd.add_account(f"other{number}", **values)
        assert "another entry has the name" in error.value.args[0]["info"]
    slapd.add_account("carl", mail="carl@cell.test")
    for attribute, value in (("mail", "bert@cell.test"),
                             ("mailLocalAddress", "B.B@cell.test"),
                             ("uid", "bert@cell.test")):
        with pytest.raises(ldap.CONSTRAINT_VIOLATION):
            slapd.connect().modify_s(person_dn("carl"), [
                (ldap.MOD_ADD, attribute, [value.encode()])])
    with pytest.raises(ldap.CONSTRAINT_VIOLATION):
        slapd.rename(person_dn("carl"), "uid=bert@cell.test")
    # One's own names are one's own.
    slapd.modify(person_dn("bert"), mail="bert@cell.test",
                 mailLocalAddress=["bert@cell.test", "new@cell.test"])
    slapd.rename(person_dn("carl"), "uid=karl")
    slapd.add_account("carl", mail="other.carl@cell.test")


@pytest.mark.parametrize("first, second", [
    ({}, {"krb5PrincipalName": "pauline@REPLICA.TEST"}),
    ({"krb5PrincipalName": "paul@REPLICA.TEST"}, {})])
def test_principals_are_names(slapd, first, second):
    """pauline and paul: a uid is a principal of the realm as well."""
    classes = ["inetOrgPerson", "postcellAccount", "postcellLogin"]
    if first:
        slapd.add_account("first-paul", objectClass=classes, **first)
        with pytest.raises(ldap.CONSTRAINT_VIOLATION):
            slapd.add_account("paul", objectClass=classes)
    else:
        slapd.add_account("pauline", objectClass=classes)
        with pytest.raises(ldap.CONSTRAINT_VIOLATION):
            slapd.add_account("second-pauline", objectClass=classes, **second)


def test_concurrent_adds_give_a_name_once(slapd):
    def add(number):
        connection = slapd.connect()
        try:
            connection.add_s(person_dn(f"racer{number}"), [
                ("objectClass", [b"inetOrgPerson", b"postcellAccount"]),
                ("cn", b"x"), ("sn", b"x"),
                ("mail", f"race{number // 16}@cell.test".encode())])
            return "added"
        except (ldap.CONSTRAINT_VIOLATION, ldap.BUSY) as error:
            return type(error).__name__
        finally:
            connection.unbind_s()

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(add, range(160)))
    for race in range(10):
        assert answers[race * 16:race * 16 + 16].count("added") == 1
    # Nothing is held any more.
    slapd.delete(*[person_dn(f"racer{n}") for n, answer in enumerate(answers)
                   if answer == "added"])
    assert add(0) == "added"


# -- references -----------------------------------------------------------------


def test_references_lead_somewhere(slapd):
    with pytest.raises(ldap.CONSTRAINT_VIOLATION):
        slapd.add_account("lost", postcellPoolName="nowhere")
    with pytest.raises(ldap.CONSTRAINT_VIOLATION):
        slapd.add_account("lost", mailHost="nowhere")
    with pytest.raises(ldap.CONSTRAINT_VIOLATION):
        add_server(slapd, "lost", postcellPoolName="nowhere")
    slapd.add_account("found", postcellPoolName="MAIN", mailHost="MBOX2")
    slapd.modify(person_dn("found"), mailHost="127.0.10.9")  # by its address
    with pytest.raises(ldap.CONSTRAINT_VIOLATION):
        slapd.modify(person_dn("found"), mailHost="mbox99")
    with pytest.raises(ldap.UNWILLING_TO_PERFORM):
        slapd.delete(f"cn=main,ou=pools,{SUFFIX}")
    with pytest.raises(ldap.UNWILLING_TO_PERFORM):
        slapd.rename(f"cn=main,ou=pools,{SUFFIX}", "cn=other")
    pool = f"cn=spare,ou=pools,{SUFFIX}"
    slapd.add(pool, objectClass="postcellPool", cn="spare")
    slapd.delete(pool)


def test_a_server_goes_once_it_is_down_and_passed(slapd):
    dn = add_server(slapd, "leaving", postcellState="up")
    slapd.add(f"cn=second,ou=pools,{SUFFIX}", objectClass="postcellPool",
              cn="second")
    for _ in range(2):
        with pytest.raises(ldap.UNWILLING_TO_PERFORM):
            slapd.delete(dn)
        with pytest.raises(ldap.UNWILLING_TO_PERFORM):
            slapd.rename(dn, "cn=renamed")
        with pytest.raises(ldap.UNWILLING_TO_PERFORM):
            slapd.modify(dn, postcellPoolName="second")
        slapd.modify(dn, postcellState="down")  # too short a while ago
    gone = add_server(slapd, "gone", postcellState="down", postcellTransition=[
        "20260102030405.000000Z 0 down 100"])
    slapd.modify(gone, postcellPoolName="second")
    slapd.rename(gone, "cn=renamed")
    slapd.delete(f"cn=renamed,ou=servers,{SUFFIX}")


def test_who_manages_may_relax_the_rules(slapd):
    """With the control, and the right to manage, as ldapmodify -e relax."""
    relaxed = [RelaxRulesControl(True)]
    dn = add_server(slapd, "mistake", postcellState="up")
    admin = slapd.connect()
    admin.modify_ext_s(dn, [(ldap.MOD_REPLACE, "postcellPoolName",
                             [b"nowhere"])], serverctrls=relaxed)
    with pytest.raises(ldap.UNWILLING_TO_PERFORM):
        admin.delete_s(dn)
    admin.delete_ext_s(dn, serverctrls=relaxed)
    slapd.add_account("hilda", "password")
    with pytest.raises(ldap.LDAPError):
        slapd.as_user("hilda", "password").delete_ext_s(
            f"cn=mbox3,ou=servers,{SUFFIX}", serverctrls=relaxed)
    assert found(slapd, f"cn=mbox3,ou=servers,{SUFFIX}")


# -- postcellServer -------------------------------------------------------------


def test_the_server_is_shown_as_proxies_compute_it(tmp_path, keys):
    own = Overlaid(tmp_path / "slapd", 8, keys)
    own.load()
    try:
        own.start()
        for number in range(20):
            own.add_account(f"user{number}")
        own.add_account("pinned", mailHost="mbox2")
        own.add_person("plain")
        connection = own.connect()
        shown = {values["uid"][0].decode(): values.get("postcellServer")
                 for _, values in connection.search_s(
                     f"ou=people,{SUFFIX}", ldap.SCOPE_ONELEVEL,
                     attrlist=["uid", "postcellServer"])}
        assert shown["pinned"] == [b"mbox2"] and shown["plain"] is None
        # The same placement by the replica's reader.
        replica = Replicad(tmp_path / "replica", [own])
        replica.start()
        try:
            wait_until(lambda: replica.status()["accounts"] >= 22,
                       what="all accounts in the replica")
            for number in range(20):
                done = subprocess.run(
                    [BUILD / "postcellctl", "--replica", replica.path, "map",
                     f"user{number}"], stdout=subprocess.PIPE, check=True)
                assert shown[f"user{number}"][0] in done.stdout
        finally:
            replica.stop()
        assert len({tuple(shown[f"user{n}"]) for n in range(20)}) == 3
        # Only for who asks, never stored, never set by hand.
        assert "postcellServer" not in connection.search_s(
            person_dn("user1"), ldap.SCOPE_BASE)[0][1]
        with pytest.raises(ldap.CONSTRAINT_VIOLATION):
            own.modify(person_dn("user1"), postcellServer="mbox1")
    finally:
        own.stop()
