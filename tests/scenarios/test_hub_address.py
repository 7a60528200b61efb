"""A real Dovecot is told by LMTP which hub a message comes from."""

import os
import smtplib

import pytest

from clients import TIMEOUT
from process import wait_until
from small import House, dovecot_conf, greets, make_certificate

NET = os.environ.get("HUB_ADDRESS_NET", "127.0.58")
DOVECOT, PROXY, HUB = f"{NET}.11", f"{NET}.1", f"{NET}.77"
PORTS = {"imap": 17143, "pop3": 17110, "submission": 17587, "sieve": 17419}
LMTP = 17024

LMTP_CONF = """
protocols = lmtp
haproxy_trusted_networks = 127.0.0.0/8
passdb {{
  driver = static
  args = nopassword=y
}}
service lmtp {{
  user = {mail_user}
  chroot =
  inet_listener lmtp {{
    address = {address}
    port = {port}
    haproxy = yes
  }}
}}
"""

CELL = f"""
dn: cn=main,ou=pools,o=x
objectClass: postcellPool
cn: main
postcellDefault: TRUE

dn: cn=mbox,ou=servers,o=x
objectClass: postcellServer
cn: mbox
postcellPoolName: main
postcellService: lmtp://{DOVECOT}:{LMTP}?tls=none&proxy=v2

dn: uid=bob,o=x
objectClass: inetOrgPerson
cn: bob
sn: bob
uid: bob
mail: bob@hub.test
"""


class Place(House):
    def __init__(self, build):
        super().__init__()
        self.build = build
        (self.folder / "empty").mkdir()
        make_certificate(self.folder, "server", DOVECOT)

    def begin(self):
        folder = self.folder
        (folder / "cell.ldif").write_text(CELL)
        conf = folder / "replicad.conf"
        conf.write_text(f'replica = "{folder}/replica"\nmap_size_max = 64\n'
                        f'user = ""\nsource = ldif\n'
                        f'ldif_file = "{folder}/cell.ldif"\n')
        self.start("replicad", [self.build / "postcell-replicad", "-c", conf],
                   lambda: (folder / "replica" / "data.mdb").exists())
        # Whoever asks without a header gets no greeting.
        self.start("dovecot", dovecot_conf(
            folder, DOVECOT, PORTS, "plain", LMTP_CONF.format(
                address=DOVECOT, port=LMTP,
                mail_user="" if os.geteuid() == 0 else "$default_internal_user")),
            lambda: "starting up" in self.log())
        conf = folder / "proxyd.conf"
        conf.write_text(f"""
host_name = "proxy.example.org"
replica = "{folder}/replica"
run_dir = "{folder}/proxy"
user = "nobody"
chroot = "{folder}/empty"
relays = 1
listen lmtp {{
	addresses = {{ "{PROXY}" }}
	port = {LMTP}
	tls = none
}}
""")
        self.start("proxyd", [self.build / "postcell-proxyd", "-c", conf],
                   lambda: greets(PROXY, LMTP))
        return self

    def log(self):
        path = self.folder / "dovecot.log"
        return path.read_text(errors="replace") if path.exists() else ""


@pytest.fixture(scope="module")
def place(build):
    made = Place(build)
    try:
        yield made.begin()
        made.check_output("proxyd")
    finally:
        made.stop()


def test_dovecot_knows_the_hub(place):
    with smtplib.LMTP(PROXY, LMTP, source_address=(HUB, 0)) as hub:
        hub.sendmail("a@example.org", ["bob@hub.test"],
                     "Subject: x\r\n\r\ntext\r\n")
    assert wait_until(lambda: f"Connect from {HUB}" in place.log(), TIMEOUT), \
        place.log()
    (mail,) = (place.folder / "mail" / "bob" / "Maildir" / "new").iterdir()
    text = mail.read_text()
    # The server's, and no other.
    assert text.count("Received: ") == 1
