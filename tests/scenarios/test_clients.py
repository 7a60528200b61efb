"""Mail programs that no other scenario has: mutt, imapflow, nodemailer, LMTP by swaks,
and how programs find the cell knowing nothing but a mail address."""

import json
import os
import shutil
import subprocess
import xml.etree.ElementTree

import pytest

from clients import TIMEOUT, address
from conftest import ROOT
from layout import DOMAIN, HOST, PORTS, PROXIES, WEB_PORT
from process import wait_until

both_proxies = pytest.mark.parametrize("proxy", PROXIES)
both_tls = pytest.mark.parametrize("implicit", [False, True],
                                   ids=["starttls", "tls"])


def subjects(cell, login, subject, password=None):
    """How many mails of that subject are in the INBOX."""
    session = cell.login(address(cell, "proxy1"), login,
                         password or f"{login}-secret")
    try:
        session.select()
        found = session.search(None, "SUBJECT", f'"{subject}"')[1][0]
        return len(found.split())
    finally:
        session.logout()


# ---- mutt ----

def mutt(cell, proxy, user, folder, body, *words, implicit=True):
    """Without a terminal it sends, and stores what it sent by IMAP."""
    where = address(cell, proxy)
    scheme, imap, smtp = (("s", PORTS["imaps"], PORTS["submissions"])
                          if implicit else
                          ("", PORTS["imap"], PORTS["submission"]))
    (folder / "muttrc").write_text(f"""
set ssl_force_tls=yes
set ssl_starttls=yes
set ssl_verify_host=yes
set ssl_usesystemcerts=no
set ssl_ca_certificates_file="{cell.layout.ca}"
set certificate_file="{folder}/accepted"
set imap_user="{user}"
set imap_pass="{user}-secret"
set smtp_url="smtp{scheme}://{user}@{where}:{smtp}"
set smtp_pass="{user}-secret"
set from="{user}@{DOMAIN}"
set record="imap{scheme}://{where}:{imap}/INBOX"
set copy=yes
set confirmcreate=no
""")
    return subprocess.run(
        ["mutt", "-n", "-F", folder / "muttrc", *words], input=body,
        capture_output=True, timeout=TIMEOUT,
        env={**os.environ, "HOME": str(folder), "TERM": "dumb"})


@both_proxies
@both_tls
def test_mutt_sends_and_stores(cell, proxy, implicit, tmp_path):
    subject = f"mutt-{proxy}-{implicit}"
    done = mutt(cell, proxy, "clara", tmp_path, b"body of mutt\n", "-s",
                subject, "--", f"david@{DOMAIN}", implicit=implicit)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert wait_until(lambda: subjects(cell, "david", subject) == 1, TIMEOUT)
    assert subjects(cell, "clara", subject) == 1, "the copy, by IMAP"


def test_mutt_is_refused(cell, tmp_path):
    """A wrong password: nothing is sent, nothing stored."""
    done = mutt(cell, "proxy1", "clara", tmp_path, b"x\n", "-e",
                'set smtp_pass="wrong"', "-s", "mutt-refused", "--",
                f"david@{DOMAIN}")
    assert done.returncode != 0
    assert subjects(cell, "david", "mutt-refused") == 0


# ---- programs of Node.js ----

@pytest.fixture(scope="module")
def node(build):
    """Runs a program of tests/clients; its packages are installed once."""
    source, folder = ROOT / "tests" / "clients", build / "clients"
    if not shutil.which("npm"):
        pytest.skip("npm is not there: tools/bootstrap check installs it")
    folder.mkdir(parents=True, exist_ok=True)
    lock = "package-lock.json"
    is_new = not (folder / "node_modules").exists() or \
        (folder / lock).read_text() != (source / lock).read_text()
    for path in [*source.iterdir()]:
        shutil.copy(path, folder)
    if is_new:
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=folder, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            (folder / lock).unlink()
            pytest.skip("the registry of packages does not give what "
                        f"tests/clients needs: {done.stderr[-300:]}")

    def run(program, **question):
        done = subprocess.run(
            ["node", folder / program], input=json.dumps(question),
            capture_output=True, text=True, timeout=TIMEOUT)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)
    return run


def message(subject):
    return (f"From: a@{DOMAIN}\r\nSubject: {subject}\r\n\r\n"
            f"body of {subject}\r\n")


def auth(login, password=None):
    return {"user": login, "pass": password or f"{login}-secret"}


@both_proxies
@both_tls
@pytest.mark.parametrize("login, password", [
    ("eva", "eva-secret"), ("jörg", "Grüße, §§ für 5 €"),
    ('say"cheese"', 'double"quote"'), ("back\\slash", "ends with a \\")],
    ids=["plain", "utf8", "quotes", "backslash"])
def test_imapflow(cell, node, proxy, implicit, login, password):
    text = message(f"imapflow-{proxy}")
    answer = node("imapflow.js", address=address(cell, proxy), name=HOST,
                  port=PORTS["imaps" if implicit else "imap"],
                  secure=implicit, ca=str(cell.layout.ca),
                  auth=auth(login, password), message=text)
    assert answer.get("back") == text, answer
    assert answer["told"] >= 1


def test_imapflow_is_refused(cell, node):
    answer = node("imapflow.js", address=address(cell, "proxy1"), name=HOST,
                  port=PORTS["imaps"], secure=True, ca=str(cell.layout.ca),
                  auth=auth("eva", "wrong"), message="x")
    assert "Authentication failed" in answer["error"], answer


@both_proxies
@both_tls
@pytest.mark.parametrize("method", ["PLAIN", "LOGIN"])
def test_nodemailer(cell, node, proxy, implicit, method):
    subject = f"nodemailer-{proxy}-{implicit}-{method}"
    answer = node("nodemailer.js", address=address(cell, proxy), name=HOST,
                  port=PORTS["submissions" if implicit else "submission"],
                  secure=implicit, ca=str(cell.layout.ca), method=method,
                  auth=auth("felix"),
                  mail={"from": f"felix@{DOMAIN}", "to": f"gerda@{DOMAIN}",
                        "subject": subject, "text": ".dot\n.\nend"})
    assert answer.get("accepted") == [f"gerda@{DOMAIN}"], answer
    assert wait_until(lambda: subjects(cell, "gerda", subject) == 1, TIMEOUT)


# ---- finding the cell ----

def test_rfc_6186_by_imapflow(cell, node):
    """The program knows a mail domain and a name server, nothing else."""
    text = message("srv")
    answer = node("imapflow.js", dns=cell.layout.dns, service="imaps",
                  domain=DOMAIN, secure=True, ca=str(cell.layout.ca),
                  auth=auth("hans"), message=text)
    assert answer.get("back") == text, answer
    assert answer["place"]["address"] in {address(cell, name)
                                          for name in PROXIES}
    assert answer["place"]["port"] == PORTS["imaps"]


def test_rfc_6186_by_nodemailer(cell, node):
    answer = node("nodemailer.js", dns=cell.layout.dns, domain=DOMAIN,
                  service="submission", secure=False,
                  ca=str(cell.layout.ca), method="PLAIN", auth=auth("felix"),
                  mail={"from": f"felix@{DOMAIN}", "to": f"hans@{DOMAIN}",
                        "subject": "srv-sent", "text": "found"})
    assert answer.get("accepted") == [f"hans@{DOMAIN}"], answer
    assert wait_until(lambda: subjects(cell, "hans", "srv-sent") == 1, TIMEOUT)


def resolve(cell, name):
    done = subprocess.run(
        ["kdig", f"@{cell.layout.dns.split(':')[0]}", "-p",
         cell.layout.dns.split(":")[1], "+short", name],
        capture_output=True, text=True, timeout=TIMEOUT)
    return [line for line in done.stdout.split() if line[0].isdigit()]


def fetch(cell, host, path):
    """As Thunderbird fetches it, from where the cell's DNS says."""
    where = resolve(cell, host)
    assert where, f"{host} has no address"
    done = subprocess.run(
        ["curl", "-sS", "--fail", "--max-time", str(TIMEOUT), "--resolve",
         f"{host}:{WEB_PORT}:{where[0]}",
         f"http://{host}:{WEB_PORT}{path}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return xml.etree.ElementTree.fromstring(done.stdout)


@pytest.mark.parametrize("path", [
    "/mail/config-v1.1.xml", "/.well-known/autoconfig/mail/config-v1.1.xml"])
def test_autoconfig_ends_at_the_cell(cell, node, path):
    """What the document says is tried, each line of it."""
    user = f"ines@{DOMAIN}"
    root = fetch(cell, f"autoconfig.{DOMAIN}",
                 f"{path}?emailaddress={user}")
    provider = root.find("emailProvider")
    assert provider.get("id") == DOMAIN
    incoming = provider.findall("incomingServer")
    assert [(each.get("type"), each.find("socketType").text)
            for each in incoming] == [
        ("imap", "SSL"), ("imap", "STARTTLS"), ("pop3", "SSL"),
        ("pop3", "STARTTLS")]
    outgoing = provider.findall("outgoingServer")
    assert [each.find("socketType").text for each in outgoing] == [
        "SSL", "STARTTLS"]
    for server in incoming[:2] + outgoing:
        host = server.find("hostname").text
        place = {
            "address": resolve(cell, host)[0], "name": host,
            "port": int(server.find("port").text),
            "secure": server.find("socketType").text == "SSL",
            "ca": str(cell.layout.ca),
            "auth": auth(server.find("username").text.replace(
                "%EMAILADDRESS%", user), "ines-secret")}
        if server in outgoing:
            answer = node("nodemailer.js", method="PLAIN", **place,
                          mail={"from": user, "to": user,
                                "subject": "autoconfig", "text": "x"})
            assert answer.get("accepted") == [user], answer
        else:
            text = message("autoconfig")
            answer = node("imapflow.js", message=text, **place)
            assert answer.get("back") == text, answer


# ---- every port has its program ----

@both_proxies
@pytest.mark.parametrize("ssl, port", [("STARTTLS", "imap"),
                                       ("IMAPS", "imaps")])
def test_mbsync_fetches(cell, proxy, ssl, port, tmp_path):
    subject = f"mbsync-{proxy}-{port}"
    session = cell.login(address(cell, proxy), "olga", "olga-secret")
    session.append("INBOX", None, None,
                   f"Subject: {subject}\r\n\r\nx\r\n".encode())
    session.logout()
    hosts = tmp_path / "hosts"
    hosts.write_text(f"{address(cell, proxy)} {HOST}\n")
    (tmp_path / "mbsyncrc").write_text(f"""
IMAPAccount cell
Host {HOST}
Port {PORTS[port]}
SSLType {ssl}
SystemCertificates no
CertificateFile {cell.layout.ca}
User olga
Pass olga-secret

IMAPStore far
Account cell

MaildirStore near
Path {tmp_path}/
Inbox {tmp_path}/INBOX

Channel inbox
Far :far:
Near :near:
Create Near
SyncState *
""")
    done = subprocess.run(
        ["mbsync", "-c", tmp_path / "mbsyncrc", "inbox"], timeout=TIMEOUT,
        capture_output=True, env={**os.environ, "HOME": str(tmp_path),
                                  "LD_PRELOAD": "libnss_wrapper.so",
                                  "NSS_WRAPPER_HOSTS": str(hosts)})
    assert done.returncode == 0, done.stderr.decode()
    assert any(subject in path.read_text()
               for path in tmp_path.glob("INBOX/*/*"))


@both_proxies
@pytest.mark.parametrize("options", [[], ["-tls"]], ids=["plain", "tls"])
def test_swaks_delivers_by_lmtp(cell, proxy, options):
    """To two people at once, as a mail hub does, with an answer for each."""
    subject = f"lmtp-{proxy}-{len(options)}"
    done = subprocess.run(
        ["swaks", "--protocol", "LMTP", "--server", address(cell, proxy),
         "--port", str(PORTS["lmtp"]), "--from", f"a@{DOMAIN}", "--to",
         f"jakob@{DOMAIN},karin@{DOMAIN}", "--header", f"Subject: {subject}",
         *options], capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    for login in ("jakob", "karin"):
        assert subjects(cell, login, subject) == 1
