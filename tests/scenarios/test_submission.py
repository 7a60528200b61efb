"""Submission through the proxies: from a mail program into a mailbox.

The way is long: proxy, submission server, exchanger, proxy again (LMTP), and
the recipient's own server.
"""

import base64
import re
import smtplib
import subprocess

import pytest

import postfix
from clients import TIMEOUT, Lines, address, context, curl, faults_of
from layout import HOST, PORTS, PROXIES
from process import wait_until

both_proxies = pytest.mark.parametrize("proxy", PROXIES)


@pytest.fixture(scope="module")
def people(cell):
    lines = cell.layout.users.read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines]


def open_smtp(cell, proxy, implicit=False, source=None):
    kind = smtplib.SMTP_SSL if implicit else smtplib.SMTP
    options = {"context": context(cell)} if implicit else {}

    class Smtp(kind):
        """The name is what the certificate must have, not what is asked."""

        def _get_socket(self, host, port, timeout):
            self._host = HOST
            return super()._get_socket(address(cell, proxy), port, timeout)

    session = Smtp(HOST, PORTS["submissions" if implicit else "submission"],
                   local_hostname="client.example", timeout=TIMEOUT,
                   source_address=(source, 0) if source else None, **options)
    if not implicit:
        session.starttls(context=context(cell))
    return session


def plain(login, password):
    return "PLAIN " + base64.b64encode(
        f"\0{login}\0{password}".encode()).decode()


def message(subject, text="hello"):
    return (f"From: anna@cell.test\r\nTo: someone@cell.test\r\n"
            f"Subject: {subject}\r\n\r\n{text}\r\n").encode()


def mails(cell, login, subject):
    """The mails of that subject, once they lie in the mailbox."""
    return wait_until(lambda: find_mails(cell, login, subject), TIMEOUT, 0.2)


def find_mails(cell, login, subject):
    session = cell.login(address(cell, "proxy1"), login, f"{login}-secret")
    try:
        session.select()
        numbers = session.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
        return [session.fetch(number.decode(), "(BODY.PEEK[])")[1][0][1]
                for number in numbers]
    finally:
        session.logout()


@both_proxies
@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "tls"])
def test_everybody_logs_in(cell, people, proxy, implicit):
    def attempt(login, password):
        session = open_smtp(cell, proxy, implicit)
        session.ehlo()
        answer = session.docmd("AUTH", plain(login, password))
        assert answer[0] == 235, answer
        assert session.docmd("MAIL", "FROM:<anna@cell.test>")[0] == 250
        session.quit()
    assert not faults_of(people, attempt)


@both_proxies
@pytest.mark.parametrize("url, options", [
    (f"smtps://{HOST}:{PORTS['submissions']}", ()),
    (f"smtp://{HOST}:{PORTS['submission']}", ("--ssl-reqd",)),
    (f"smtp://{HOST}:{PORTS['submission']}",
     ("--ssl-reqd", "--sasl-ir", "--login-options", "AUTH=LOGIN")),
], ids=["tls", "starttls", "login"])
def test_curl_sends(cell, proxy, url, options, tmp_path):
    subject = f"curl-{proxy}-{len(options)}"
    (tmp_path / "mail").write_bytes(message(subject, ".dot\r\n.\r\nend"))
    done = curl(cell, proxy, "anna", "anna-secret", url, *options,
                "--mail-from", "anna@cell.test", "--mail-rcpt",
                "ines@cell.test", "-T", str(tmp_path / "mail"))
    assert done.returncode == 0, done.stderr.decode()
    assert b"\r\n\r\n.dot\r\n.\r\nend\r\n" in mails(cell, "ines", subject)[0]


@both_proxies
@pytest.mark.parametrize("port, starttls", [
    ("submission", "on"), ("submissions", "off")])
def test_msmtp_sends(cell, proxy, port, starttls, tmp_path):
    subject = f"msmtp-{proxy}-{port}"
    conf = tmp_path / "msmtprc"
    conf.write_text(f"""
account cell
host {address(cell, proxy)}
port {PORTS[port]}
auth plain
user anna
passwordeval "echo anna-secret"
from anna@cell.test
tls on
tls_starttls {starttls}
tls_trust_file {cell.layout.ca}
tls_host_override {HOST}
""")
    conf.chmod(0o600)
    done = subprocess.run(
        ["msmtp", "-C", conf, "-a", "cell", "jakob@cell.test"],
        input=message(subject), capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr.decode()
    assert len(mails(cell, "jakob", subject)) == 1


@both_proxies
@pytest.mark.parametrize("port, how", [
    ("submission", "-tls"), ("submissions", "--tls-on-connect")])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_sends(cell, proxy, port, how, mechanism):
    subject = f"swaks-{proxy}-{port}-{mechanism}"
    done = subprocess.run(
        ["swaks", "--server", address(cell, proxy), "--port",
         str(PORTS[port]), how, "--tls-ca-path", cell.layout.ca,
         "--auth", mechanism, "--auth-user", "anna", "--auth-password",
         "anna-secret", "--from", "anna@cell.test", "--to",
         "karin@cell.test", "--header", f"Subject: {subject}", "--pipeline"],
        capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    assert len(mails(cell, "karin", subject)) == 1


@both_proxies
def test_2_megabytes_of_8_bit_arrive_as_they_were_sent(cell, proxy):
    subject = f"big-{proxy}"
    line = bytes(octet for octet in range(1, 256) if octet not in b"\r\n")
    text = (line + b"\r\n") * (2 << 20 >> 8)
    session = open_smtp(cell, proxy)
    session.login("anna", "anna-secret")
    session.sendmail("anna@cell.test", ["lukas@cell.test"],
                     message(subject) + text, ["BODY=8BITMIME"])
    session.quit()
    assert text in mails(cell, "lukas", subject)[0]


@both_proxies
def test_by_bdat(cell, proxy):
    subject = f"bdat-{proxy}"
    data = message(subject, "one\n.\r\ntwo")
    session = open_smtp(cell, proxy)
    session.login("anna", "anna-secret")
    assert session.has_extn("chunking")
    assert session.mail("anna@cell.test")[0] == 250
    assert session.rcpt("maria@cell.test")[0] == 250
    session.send(b"BDAT 10\r\n" + data[:10])
    assert session.getreply()[0] == 250
    session.send(b"BDAT %d LAST\r\n" % (len(data) - 10) + data[10:])
    assert session.getreply()[0] == 250
    session.quit()
    assert len(mails(cell, "maria", subject)) == 1


def test_what_is_offered_is_what_the_servers_have(cell):
    def offered():
        session = open_smtp(cell, "proxy2")
        session.ehlo()
        session.close()
        return session.esmtp_features

    assert wait_until(lambda: {"chunking", "8bitmime", "pipelining", "size"}
                      <= set(offered()), 15)
    assert "xclient" not in offered()
    assert ("dsn" in offered()) == postfix.is_used(), \
        "Dovecot 2.3 does not offer DSN"


@both_proxies
def test_the_server_knows_the_client(cell, proxy):
    """By XCLIENT: address and name, as the server writes them into mail."""
    source = f"{cell.layout.net}.80"
    subject = f"client-{proxy}"
    session = open_smtp(cell, proxy, source=source)
    session.login("anna", "anna-secret")
    session.sendmail("anna@cell.test", ["norbert@cell.test"],
                     message(subject))
    session.quit()
    mail = mails(cell, "norbert", subject)[0]
    assert re.search(rb"Received: from client\.example.*\[%s\]"
                     % re.escape(source.encode()), mail, re.S), mail
    logs, line = (("mx1.log", r"smtpd\[.*client=.*\[{}\],")
                  if postfix.is_used() else
                  ("mbox*.log", r"submission-login: .*rip={},"))
    assert any(re.search(line.format(re.escape(source)), log.read_text())
               for log in cell.layout.log.glob(logs))


@both_proxies
def test_commands_sent_ahead_go_to_the_server(cell, proxy):
    session = Lines(cell, proxy, "submissions", implicit=True)
    session.hear()
    session.say(b"EHLO client.example",
                f"AUTH {plain('anna', 'anna-secret')}".encode(),
                b"MAIL FROM:<anna@cell.test>", b"RCPT TO:<olga@cell.test>",
                b"QUIT")
    while session.hear()[3:4] == b"-":
        pass
    assert [session.hear()[:3] for _ in range(4)] == [b"235", b"250", b"250",
                                                      b"221"]
    session.close()


def test_no_mail_without_a_login(cell):
    session = Lines(cell, "proxy1", "submissions", implicit=True)
    session.hear()
    assert session.ask(b"MAIL FROM:<anna@cell.test>").startswith(b"530 5.7.0")
    session.close()


@pytest.mark.parametrize("login", ["anna", "nobody-of-that-name"])
def test_who_is_refused_learns_nothing_else(cell, login):
    session = open_smtp(cell, "proxy1")
    session.ehlo()
    assert session.docmd("AUTH", plain(login, "wrong")) == (
        535, b"5.7.8 Authentication failed.")
    session.close()


def test_nothing_survives_starttls(cell):
    session = Lines(cell, "proxy2", "submission")
    session.hear()
    session.say(b"EHLO before")
    while session.hear()[3:4] == b"-":
        pass
    session.say(b"STARTTLS", b"EHLO injected",
                f"AUTH {plain('anna', 'anna-secret')}".encode())
    assert session.hear().startswith(b"220 ")
    session.start_tls()
    assert session.ask(f"AUTH {plain('anna', 'anna-secret')}".encode()) == (
        b"503 5.5.1 EHLO comes first.")
    session.close()
