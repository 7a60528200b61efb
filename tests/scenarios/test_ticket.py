"""The proxy at its servers as the user: by password, forwarded or by S4U2Proxy.

The servers know no master (but for one user), the KDC is ours, the clients are
MIT's library.
"""

import os
import signal
import subprocess

import pytest

from clients import TIMEOUT
from directory import wait_until
from realm import BUILD, REALM
from sanitized import SHORT_LIVED
from small import KINDS
from ticket import Ticket
from ticketed import (DOVECOT, NAMES, PROXY, STRICT, WORD, Place, leftovers,
                      person)

DELEGATE = BUILD / "tests/scenarios/delegate"
WRONG = "a NO [AUTHENTICATIONFAILED] Authentication failed."

kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def place(build):
    made = Place(build)
    before = os.environ.get("KRB5_CONFIG")
    try:
        made.begin()
        os.environ["KRB5_CONFIG"] = str(made.conf)
        made.start_proxy("proxy", PROXY)
        made.start_proxy("strict", STRICT, passwords="kdc", tickets=1,
                         ticket_time=3)
        yield made
        made.check_output("proxy")
        made.check_output("strict")
        assert not leftovers()
    finally:
        if before is None:
            os.environ.pop("KRB5_CONFIG", None)
        else:
            os.environ["KRB5_CONFIG"] = before
        made.stop()


@kinds
def test_by_evidence(place, kind):
    """S4U2Proxy: as the user, on behalf of this proxy's service."""
    server = f"{NAMES[kind]}/{DOVECOT}@{REALM}"
    good, reply = place.by_ticket(kind, "sue")
    assert good, (reply, place.output("proxy"))
    assert place.asked("constrained delegation", f"sue@{REALM}", server)
    # The next one finds it there.
    count = place.asked(server)
    assert place.by_ticket(kind, "sue")[0]
    assert place.asked(server) == count


@kinds
def test_by_what_was_forwarded(place, kind):
    server = f"{NAMES[kind]}/{DOVECOT}@{REALM}"
    good, reply = place.by_ticket(kind, "fay", forward=True)
    assert good, (reply, place.output("proxy"))
    assert place.asked("TGS-REQ", f"fay@{REALM}", server)
    assert not place.asked("constrained delegation", f"fay@{REALM}")
    count = place.asked(server)
    assert place.by_ticket(kind, "fay", forward=True)[0]
    assert place.asked(server) == count


@kinds
@pytest.mark.parametrize("proxy", ["proxy", "strict"])
def test_by_password(place, kind, proxy):
    """Verified by the directory, or by the KDC alone."""
    good, reply = place.by_password(kind, "pam", proxy=proxy)
    assert good, (reply, place.output(proxy))
    assert place.asked("AS-REQ", f"pam@{REALM}",
                       f"{NAMES[kind]}/{DOVECOT}@{REALM}")
    assert not place.by_password(kind, "pam", "wrong", proxy=proxy)[0]
    assert not place.by_password(kind, "nobody", proxy=proxy)[0]
    assert place.by_password(kind, "pam", proxy=proxy)[0]


def test_the_first_source_that_serves(place):
    """Forwarded or not, then something else."""
    assert place.by_ticket("imap", "ben", forward=True)[0]
    assert not place.asked("constrained delegation", f"ben@{REALM}")
    assert place.by_ticket("imap", "ben")[0]
    assert place.asked("constrained delegation", f"ben@{REALM}")
    assert not place.asked(f"oli@{REALM}", f"imap/{DOVECOT}@")
    assert place.by_ticket("imap", "oli")[0]  # the proxy's own
    assert not place.asked(f"oli@{REALM}", f"imap/{DOVECOT}@")
    assert place.by_ticket("imap", "oli", forward=True)[0]
    assert place.asked(f"oli@{REALM}", f"imap/{DOVECOT}@")


@pytest.mark.parametrize("user, word, said", [
    ("fay", "--forwardable", "needs a forwarded ticket"),
    ("sue", "--no-forwardable", "needs a forwardable ticket"),
    ("pam", "--forwardable", "needs a password"),
])
def test_without_a_source(place, user, word, said):
    """The user is told what is missing."""
    good, reply = place.by_ticket("imap", user, word)
    assert not good and said in reply, reply


def test_another_mailbox(place):
    """There is no ticket of its user, unless the proxy's own will do."""
    good, reply = place.by_password("imap", "pam", authorise="pia")
    assert not good and "Nobody but its user" in reply, reply
    assert place.by_password("imap", "pam", authorise="oli")[0]
    assert place.by_password("imap", "pam", authorise="pam")[0]
    assert place.by_password("imap", "pia", authorise="pam") == (False, WRONG)


def test_no_rule(place):
    """The KDC does not let the proxy go there: not the user's fault."""
    good, reply = place.by_ticket("imap", "rob")
    assert not good and "[UNAVAILABLE]" in reply, reply
    assert "kdc" in place.events("login_refused")[-1].lower()


def test_disabled(place):
    """Out at once where the replica says so, cached or not."""
    assert place.by_ticket("imap", "sam")[0]
    assert place.by_password("imap", "sam", proxy="strict")[0]
    cache = place.kinit("sam", "--forwardable")
    Ticket(cache, f"imap/{PROXY}@{REALM}")
    place.modify("sam", postcellStatus="disabled")
    try:
        assert place.by_ticket("imap", "sam", cache=cache) == (False, WRONG)
        assert place.by_password("imap", "sam", proxy="strict") == (
            False, WRONG)
    finally:
        place.modify("sam", postcellStatus="active")
    assert place.by_ticket("imap", "sam", cache=cache)[0]


def test_disabled_behind_our_back(place):
    """The replica stands still, the KDC knows: it has nobody impersonated, and
    what was kept ends soon."""
    assert place.by_password("imap", "sam", proxy="strict")[0]
    cache = place.kinit("sam", "--forwardable")
    Ticket(cache, f"imap/{PROXY}@{REALM}")
    place.modify("sam", description="drops what is kept")
    assert place.by_password("imap", "sam", proxy="strict")[0]
    place.replicad.send(signal.SIGSTOP)
    try:
        place.realm.modify(person("sam"), postcellStatus="disabled")
        good, reply = place.by_ticket("imap", "sam", cache=cache)
        assert not good and "[UNAVAILABLE]" in reply, reply
        assert place.asked("failed for delegation to sam@")
        wait_until(lambda: place.by_password(
            "imap", "sam", proxy="strict") == (False, WRONG), TIMEOUT)
    finally:
        place.replicad.send(signal.SIGCONT)
        place.modify("sam", postcellStatus="active")
    assert place.by_ticket("imap", "sam", cache=cache)[0]


def test_what_is_kept(place):
    """So many, by this very password, and of an account that is as it was."""
    server = f"imap/{DOVECOT}@{REALM}"

    def asks(user, password=WORD):
        before = place.asked("AS-REQ", f"{user}@{REALM}", server)
        good = place.by_password("imap", user, password, proxy="strict")[0]
        return good, place.asked("AS-REQ", f"{user}@{REALM}", server) > before

    assert asks("pia") == (True, True)
    assert asks("pia") == (True, False)
    assert asks("pia", "wrong") == (False, True)
    assert asks("pam") == (True, True)  # there is room for one
    assert asks("pia") == (True, True)
    place.modify("pia", description="another")
    assert asks("pia") == (True, True)
    place.realm.kdc.set_password("pia", "another word")
    place.modify("pia", description="yet another")
    try:
        assert asks("pia") == (False, True)
        assert asks("pia", "another word") == (True, True)
    finally:
        place.realm.kdc.set_password("pia", WORD)
        place.modify("pia", description="the first")


@pytest.mark.parametrize("password", ["", "x" * 4000, "gr\u00fc\u00dfe", "\x01"],
                         ids=["none", "long", "letters", "control"])
def test_odd_passwords(place, password):
    good, reply = place.by_password("imap", "pam", password, proxy="strict")
    assert not good, reply
    assert place.by_password("imap", "pam", proxy="strict")[0]


def delegate(place, *words):
    done = subprocess.run([DELEGATE, *words], capture_output=True, text=True,
                          env={**place.environment, **SHORT_LIVED},
                          timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["forge", "bare"])
def test_forged_evidence(place, kind):
    """Made with the proxy's key: it opens the proxy, and no server."""
    cache = f"FILE:{place.folder}/{kind}"
    place.modify("sue", description=kind)
    delegate(place, kind, place.folder / "proxy.keytab",
             f"imap/{PROXY}@{REALM}", f"sue@{REALM}", cache)
    good, reply = place.by_ticket("imap", "sue", cache=cache)
    assert not good and ("AUTHENTICATIONFAILED" in reply
                         or "UNAVAILABLE" in reply), reply
    assert place.by_ticket("imap", "sue")[0]


def test_a_ticket_of_the_past(place):
    """Its client believes it good."""
    cache = f"FILE:{place.folder}/stale"
    delegate(place, "stale", place.folder / "proxy.keytab",
             f"imap/{PROXY}@{REALM}", f"sue@{REALM}", cache)
    assert place.by_ticket("imap", "sue", cache=cache) == (False, WRONG)
    assert "expired" in place.events("login_failed")[-1]


def test_a_key_that_the_keytab_has_not(place):
    """The service's key was changed, and its keytab not."""
    name = f"sieve/{PROXY}"
    assert place.by_ticket("sieve", "sue")[0]
    place.realm.kdc.kadmin("cpw", "--random-key", name)
    place.realm.settle()
    assert not place.by_ticket("sieve", "sue")[0]
    place.realm.kdc.kadmin("ext_keytab", "-k", place.folder / "proxy.keytab",
                           name)
    assert place.by_ticket("sieve", "sue")[0]


def test_a_silent_kdc(place):
    """What is kept serves; the rest is told to come back, in time."""
    caches = {user: place.kinit(user, "--forwardable")
              for user in ("sue", "sam", "fay")}
    place.modify("sam", description="nothing of it is kept")
    assert place.by_ticket("imap", "sue", cache=caches["sue"])[0]
    for cache in caches.values():
        Ticket(cache, f"imap/{PROXY}@{REALM}")
    forwarding = Ticket(caches["fay"], f"imap/{PROXY}@{REALM}", forward=True)
    place.modify("fay", description="nor of this")
    place.signal_kdc(signal.SIGSTOP)
    try:
        assert place.by_ticket("imap", "sue", cache=caches["sue"])[0]
        for good, reply in (
                place.by_ticket("imap", "sam", cache=caches["sam"]),
                place.finish(place.client("imap"), "imap", "GSSAPI",
                             forwarding.first, forwarding.answer),
                place.by_password("imap", "pam", proxy="strict")):
            assert not good and "[UNAVAILABLE]" in reply, reply
    finally:
        place.signal_kdc(signal.SIGCONT)
    wait_until(lambda: place.by_ticket(
        "imap", "sam", cache=caches["sam"])[0], TIMEOUT)
    assert place.by_password("imap", "pam", proxy="strict")[0]


def test_no_kdc(place):
    """Nobody listens there: known at once, and no less temporary."""
    assert place.by_password("imap", "pam", proxy="strict")[0]
    place.modify("pam", description="nothing of it is kept")
    place.realm.kdc.stop()
    good, reply = place.by_password("imap", "pam", proxy="strict")
    assert not good and "[UNAVAILABLE]" in reply, reply
    place.realm.kdc.start()
    assert wait_until(lambda: place.by_password(
        "imap", "pam", proxy="strict")[0], TIMEOUT)
