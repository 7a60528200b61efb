"""ManageSieve through the proxies, by sieve-connect and by hand."""

import base64
import re
import subprocess

import pytest

from clients import TIMEOUT, Lines, address, faults_of
from layout import HOST, PORTS, PROXIES
from process import wait_until

both_proxies = pytest.mark.parametrize("proxy", PROXIES)


@pytest.fixture(scope="module")
def people(cell):
    lines = cell.layout.users.read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines]


class Sieve(Lines):
    def __init__(self, cell, proxy, **options):
        super().__init__(cell, proxy, "sieve", **options)
        self.capabilities = self.hear_capabilities()
        assert self.ask(b"STARTTLS").startswith(b"OK")
        self.start_tls()
        self.capabilities = self.hear_capabilities()

    def hear_capabilities(self):
        found = {}
        while (line := self.hear()).startswith(b'"'):
            words = re.findall(rb'"([^"]*)"', line)
            found[words[0]] = b" ".join(words[1:])
        assert line.startswith(b"OK"), line
        return found

    def log_in(self, login, password):
        secret = base64.b64encode(f"\0{login}\0{password}".encode())
        self.say(b'AUTHENTICATE "PLAIN" {%d+}' % len(secret), secret)
        return self.hear()


@both_proxies
def test_everybody_logs_in(cell, people, proxy):
    def attempt(login, password):
        session = Sieve(cell, proxy)
        assert session.log_in(login, password) == b'OK "Logged in."'
        assert session.ask(b'HAVESPACE "x" 100').startswith(b"OK")
        session.close()
    assert not faults_of(people, attempt)


def sieve_connect(cell, proxy, user, *words):
    return subprocess.run(
        ["sieve-connect", "-s", address(cell, proxy), "-p",
         str(PORTS["sieve"]), "-u", user, "-m", "PLAIN", "--passwordfd", "0",
         "--tlscafile", cell.layout.ca, "--tlshostname", HOST, *words],
        input=f"{user}-secret\n".encode(), capture_output=True,
        timeout=TIMEOUT)


@both_proxies
def test_sieve_connect_uploads_and_reads_back(cell, proxy, tmp_path):
    script = tmp_path / f"{proxy}.sieve"
    script.write_text('require "fileinto"; fileinto "Trash";\n')
    done = sieve_connect(cell, proxy, "gerda", "--localsieve", script,
                         "--remotesieve", proxy, "--upload")
    assert done.returncode == 0, done.stderr.decode()
    done = sieve_connect(cell, proxy, "gerda", "--list")
    assert proxy.encode() in done.stdout
    back = tmp_path / "back"
    done = sieve_connect(cell, proxy, "gerda", "--localsieve", back,
                         "--remotesieve", proxy, "--download")
    assert done.returncode == 0, done.stderr.decode()
    assert back.read_text() == script.read_text()


@both_proxies
def test_what_is_offered_before_login_holds_after_it(cell, proxy):
    def offered():
        session = Sieve(cell, proxy)
        session.close()
        return session.capabilities

    assert wait_until(lambda: b"fileinto" in offered()[b"SIEVE"], 15)
    session = Sieve(cell, proxy)
    before = session.capabilities
    assert session.log_in("anna", "anna-secret").startswith(b"OK")
    session.say(b"CAPABILITY")
    after = session.hear_capabilities()
    session.close()
    assert set(before[b"SIEVE"].split()) <= set(after[b"SIEVE"].split())
    assert b"Dovecot" in after[b"IMPLEMENTATION"]


@both_proxies
@pytest.mark.parametrize("login", ["anna", "nobody-of-that-name"])
def test_who_is_refused_may_try_again(cell, proxy, login):
    session = Sieve(cell, proxy)
    assert session.log_in(login, "wrong") == b'NO "Authentication failed."'
    assert session.log_in("anna", "anna-secret") == b'OK "Logged in."'
    session.close()


def test_nothing_survives_starttls(cell):
    session = Lines(cell, "proxy1", "sieve")
    while not session.hear().startswith(b"OK"):
        pass
    session.say(b"STARTTLS", b'NOOP "injected"')
    assert session.hear() == b'OK "Begin TLS negotiation now."'
    session.start_tls()
    while not (line := session.hear()).startswith(b"OK"):
        pass
    assert line == b'OK "TLS is on."'
    assert session.ask(b'NOOP "ours"') == b'OK (TAG "ours") "Done."'
    session.close()


def test_the_client_address_reaches_the_server(cell):
    source = f"{cell.layout.net}.79"
    session = Sieve(cell, "proxy1", source=source)
    assert session.log_in("hans", "hans-secret").startswith(b"OK")
    logs = list(cell.layout.log.glob("mbox*.log"))
    assert wait_until(lambda: any(
        re.search(rf"managesieve-login: .*rip={re.escape(source)},",
                  log.read_text()) for log in logs), 5)
    session.close()
