"""Mail programs of people who typed their password once, into kinit: each gets
in by its ticket, under the generic name, at every protocol.

The programs have nothing but the cell's krb5.conf, a ticket, and a file of
hosts instead of the system's.
"""

import os
import pathlib
import shutil
import subprocess

import pytest

from clients import TIMEOUT, address
from layout import DOMAIN, HOST, PROXIES, REALM, SSO_PORTS
from process import wait_until
from test_clients import subjects

both_proxies = pytest.mark.parametrize("proxy", PROXIES)
both_tls = pytest.mark.parametrize("implicit", [False, True],
                                   ids=["starttls", "tls"])
WRAPPER = "libnss_wrapper.so"


def has(name):
    """A library, or a module of SASL or Perl."""
    return any(any(pathlib.Path("/usr").glob(pattern)) for pattern in (
        f"lib/*/{name}", f"lib/*/sasl2/{name}", f"lib/*/perl5/*/{name}"))


def needs(name):
    return pytest.mark.skipif(not has(name), reason=f"{name} is not there: "
                              "tools/bootstrap check installs it")


class Desk:
    """Where somebody sits: an own folder, a ticket, and programs."""

    def __init__(self, cell, folder, user):
        self.cell, self.folder, self.user = cell, folder, user
        self.environment = {
            **os.environ, "HOME": str(folder), "TERM": "dumb",
            "KRB5_CONFIG": str(cell.layout.krb5_conf),
            "KRB5CCNAME": f"FILE:{folder}/ccache"}

    def kinit(self):
        self.run(["kinit", "--password-file=STDIN", f"{self.user}@{REALM}"],
                 f"{self.user}-secret\n")
        return self

    def meet(self, proxy):
        """The generic name leads to this proxy."""
        hosts = self.folder / "hosts"
        hosts.write_text(f"{address(self.cell, proxy)} {HOST}\n")
        self.environment.update(LD_PRELOAD=WRAPPER,
                                NSS_WRAPPER_HOSTS=str(hosts))
        return self

    def try_to(self, command, text=None):
        return subprocess.run(command, input=text, capture_output=True,
                              text=True, errors="replace", timeout=TIMEOUT,
                              env=self.environment, cwd=self.folder)

    def run(self, command, text=None):
        done = self.try_to(command, text)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout

    def put(self, subject):
        """A mail for the user."""
        session = self.cell.login(address(self.cell, "proxy1"), self.user,
                                  f"{self.user}-secret")
        session.append("INBOX", None, None,
                       f"Subject: {subject}\r\n\r\nbody of {subject}\r\n"
                       .encode())
        session.logout()

    def subjects(self, subject):
        return subjects(self.cell, self.user, subject)


@pytest.fixture
def desk(cell, tmp_path):
    return Desk(cell, tmp_path, "ines").kinit()


def curl(desk, proxy, scheme, port, *options):
    return desk.try_to([
        "curl", "-sS", "--max-time", str(TIMEOUT), "--ssl-reqd", "--cacert",
        desk.cell.layout.ca, "--resolve",
        f"{HOST}:{port}:{address(desk.cell, proxy)}", "-u",
        f"{desk.user}@{REALM}:", "--login-options", "AUTH=GSSAPI", *options,
        f"{scheme}://{HOST}:{port}/"])


# curl needs no wrapper: it takes addresses by option.

@both_proxies
@both_tls
@pytest.mark.parametrize("kind", ["imap", "pop3"])
def test_curl_reads(desk, proxy, kind, implicit):
    tls = "s" if implicit else ""
    done = curl(desk, proxy, kind + tls, SSO_PORTS[kind + tls])
    assert done.returncode == 0, done.stderr


@both_proxies
@both_tls
def test_curl_sends(desk, proxy, implicit):
    subject = f"ticket-curl-{proxy}-{implicit}"
    (desk.folder / "mail").write_text(f"Subject: {subject}\r\n\r\nx\r\n")
    done = curl(desk, proxy, "smtps" if implicit else "smtp",
                SSO_PORTS["submissions" if implicit else "submission"],
                "--mail-from", f"ines@{DOMAIN}", "--mail-rcpt",
                f"ines@{DOMAIN}", "-T", str(desk.folder / "mail"))
    assert done.returncode == 0, done.stderr
    assert wait_until(lambda: desk.subjects(subject) == 1, TIMEOUT)


def test_without_a_ticket(desk):
    desk.run(["kdestroy"])
    assert curl(desk, "proxy1", "imaps",
                SSO_PORTS["imaps"]).returncode != 0


@needs(WRAPPER)
@needs("libgssapiv2.so.2")
@both_proxies
@both_tls
def test_mbsync(desk, proxy, implicit):
    desk.put("ticket-mbsync")
    conf = desk.folder / "mbsyncrc"
    conf.write_text(f"""
IMAPAccount cell
Host {HOST}
Port {SSO_PORTS["imaps" if implicit else "imap"]}
SSLType {"IMAPS" if implicit else "STARTTLS"}
SystemCertificates no
CertificateFile {desk.cell.layout.ca}
AuthMechs GSSAPI
User {desk.user}

IMAPStore far
Account cell

MaildirStore near
Path {desk.folder}/
Inbox {desk.folder}/INBOX

Channel inbox
Far :far:
Near :near:
Create Near
SyncState *
""")
    desk.meet(proxy).run(["mbsync", "-c", conf, "inbox"])
    assert any("body of ticket-mbsync" in path.read_text()
               for path in desk.folder.glob("INBOX/*/*"))


@needs(WRAPPER)
@both_proxies
@both_tls
@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_fetchmail(desk, proxy, protocol, implicit):
    desk.put("ticket-fetchmail")
    conf = desk.folder / "fetchmailrc"
    port = SSO_PORTS[protocol + ("s" if implicit else "")]
    how = "ssl" if implicit else 'sslproto "tls1.2+"'
    conf.write_text(f"""
poll {HOST} protocol {protocol} service {port} auth gssapi
  user {desk.user} password none keep fetchall
  {how} sslcertck sslcertfile {desk.cell.layout.ca}
  mda "cat >>{desk.folder}/mail"
""")
    conf.chmod(0o600)
    desk.meet(proxy).run(["fetchmail", "-f", conf, "--nosyslog", "-v"])
    assert "body of ticket-fetchmail" in (desk.folder / "mail").read_text()


@needs(WRAPPER)
@both_proxies
@both_tls
def test_mutt(desk, proxy, implicit):
    subject = f"ticket-mutt-{proxy}-{implicit}"
    scheme, imap, smtp = (("s", SSO_PORTS["imaps"], SSO_PORTS["submissions"])
                          if implicit else
                          ("", SSO_PORTS["imap"], SSO_PORTS["submission"]))
    (desk.folder / "muttrc").write_text(f"""
set ssl_force_tls=yes
set ssl_starttls=yes
set ssl_verify_host=yes
set ssl_usesystemcerts=no
set ssl_ca_certificates_file="{desk.cell.layout.ca}"
set certificate_file="{desk.folder}/accepted"
set imap_user="{desk.user}"
set imap_authenticators="gssapi"
set smtp_authenticators="gssapi"
set smtp_url="smtp{scheme}://{desk.user}@{HOST}:{smtp}"
set from="{desk.user}@{DOMAIN}"
set record="imap{scheme}://{HOST}:{imap}/INBOX"
set copy=yes
set confirmcreate=no
""")
    desk.meet(proxy).run(
        ["mutt", "-n", "-F", desk.folder / "muttrc", "-s", subject, "--",
         f"hans@{DOMAIN}"], "body of mutt\n")
    assert wait_until(lambda: subjects(desk.cell, "hans", subject) == 1,
                      TIMEOUT)
    assert desk.subjects(subject) == 1, "the copy, by IMAP"


@needs(WRAPPER)
@both_proxies
@both_tls
def test_msmtp(desk, proxy, implicit):
    subject = f"ticket-msmtp-{proxy}-{implicit}"
    conf = desk.folder / "msmtprc"
    conf.write_text(f"""
account cell
host {HOST}
port {SSO_PORTS["submissions" if implicit else "submission"]}
auth gssapi
user {desk.user}
from {desk.user}@{DOMAIN}
tls on
tls_starttls {"off" if implicit else "on"}
tls_trust_file {desk.cell.layout.ca}
""")
    conf.chmod(0o600)
    desk.meet(proxy).run(
        ["msmtp", "-C", conf, "-a", "cell", f"{desk.user}@{DOMAIN}"],
        f"Subject: {subject}\r\n\r\nx\r\n")
    assert wait_until(lambda: desk.subjects(subject) == 1, TIMEOUT)


@needs(WRAPPER)
@needs("GSSAPI.pm")
@both_proxies
def test_sieve_connect(desk, proxy):
    script = desk.folder / "script"
    script.write_text("keep;\n")
    desk.meet(proxy).run(
        ["sieve-connect", "-s", HOST, "-p", str(SSO_PORTS["sieve"]), "-u",
         desk.user, "-m", "GSSAPI", "--tlscafile", desk.cell.layout.ca,
         "--localsieve", script, "--remotesieve",
         f"ticket-{proxy}", "--upload"])
    session_list = desk.run(
        ["sieve-connect", "-s", HOST, "-p", str(SSO_PORTS["sieve"]), "-u",
         desk.user, "-m", "GSSAPI", "--tlscafile", desk.cell.layout.ca,
         "--list"])
    assert f"ticket-{proxy}" in session_list


# ---- the directory ----

@needs("libgssapiv2.so.2")
def test_ldapwhoami(desk):
    """The same ticket opens the directory."""
    if not shutil.which("ldapwhoami"):
        pytest.skip("ldapwhoami is not there: tools/bootstrap cell installs it")
    uri = desk.cell.layout.ldap_uris[0]
    hosts = desk.folder / "hosts"
    hosts.write_text(f"{address(desk.cell, 'ldap1')} ldap1.{DOMAIN}\n")
    desk.environment.update(LD_PRELOAD=WRAPPER, NSS_WRAPPER_HOSTS=str(hosts),
                            LDAPTLS_CACERT=str(desk.cell.layout.ca))
    said = desk.run(["ldapwhoami", "-Q", "-ZZ", "-Y", "GSSAPI", "-H",
                     f"ldap://ldap1.{DOMAIN}:{uri.rpartition(':')[2]}"])
    assert said.strip() == f"dn:uid=ines,{desk.cell.facts()['CELL_PEOPLE']}"
