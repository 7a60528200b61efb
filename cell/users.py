"""The people of the cell: 40 accounts, some of them awkward on purpose.

Whatever a directory, IMAP and a shell allow in names and passwords must work
end to end. Tabs and line ends are left out, for the list of users is a file of
lines `login TAB password`.
"""

import base64
import collections
import hashlib
import io
import os

import ldap.dn
import ldif

from layout import DOMAIN, PEOPLE, SERVERS

# login is what the person types; uid is what the directory has.
User = collections.namedtuple("User", "login password uid mail local")

ORDINARY = """anna bernd clara david eva felix gerda hans ines jakob karin
lukas maria norbert olga paul""".split()

# (login, password, uid or None where it is the login, mail or None)
AWKWARD = [
    ("anna maria", "two  words  apart", None, None),
    ("o'brien", "single'quote", None, None),
    ('say"cheese"', 'double"quote"', None, None),
    ("back\\slash", "ends with a \\", None, None),
    ("100%", "%u%n%d %s 100%", None, None),
    ("%user", "\\\"'`$HOME`'\"\\", None, None),
    ("jörg", "Grüße, §§ für 5 €", None, None),
    ("山田太郎", "пароль 密码", None, None),
    ("l" + "ong" * 66 + "g", "a name of 200 characters", None,
     "long@" + DOMAIN),
    ("wordy", "Passw0rd" * 25, None, None),
    ("erika@" + DOMAIN, "uid is an address", None, "erika@" + DOMAIN),
    ("karl+lists@" + DOMAIN, "with+detail", None, "karl@" + DOMAIN),
    ("Fritz.Meier@" + DOMAIN, "typed by mail", "fritz",
     "fritz.meier@" + DOMAIN),
    ("info@" + DOMAIN, "typed by alias", "irene", "irene@" + DOMAIN),
    ("GRETA", "typed in capitals", "greta", None),
    ("-dash", "-p --password", None, None),
    ("..dots.in.it.", "........", None, None),
    ("comma,plus+equals=;", "a,b+c=d;e<f>g#h", None, None),
    ("(star*)", "*)(uid=*))(|(uid=*", None, None),
    ("#hash", "#not a comment", None, None),
    ("<angle>&amp;", "]]><!-- & -->", None, None),
    ("{3}", "{SSHA}notahash{10+}", None, None),
    ("nil", "NIL", None, None),
    ("x", "ÿþ ÄÖÜ ¡¢£ ~", None, None),
]


def all_users():
    users = [User(name, f"{name}-secret", name, f"{name}@{DOMAIN}", None)
             for name in ORDINARY]
    for number, (login, password, uid, mail) in enumerate(AWKWARD, 1):
        alias = login if login.startswith("info@") else None
        users.append(User(login, password, uid or login,
                          mail or f"awkward{number}@{DOMAIN}", alias))
    return users


def probes(settings):
    """Accounts that observers log in with, one for each server."""
    return [User(f"probe-{name}", settings["probe_password"], f"probe-{name}",
                 f"probe-{name}@{DOMAIN}", None) for name in SERVERS]


def write_list(path):
    lines = [f"{user.login}\t{user.password}\n" for user in all_users()]
    path.write_text("".join(lines), encoding="utf-8")


def hash_password(password):
    """userPassword of RFC 2307 with a salt, for octets or text."""
    octets = password if isinstance(password, bytes) else password.encode()
    salt = os.urandom(8)
    digest = hashlib.sha1(octets + salt).digest()
    return b"{SSHA}" + base64.b64encode(digest + salt)


# They have nothing but what inetOrgPerson gives, and keep their hashes: one is
# of a password that is shorter than a new one may be.
PLAIN = ("nil", "x")


def entry(user):
    """DN and attributes."""
    attributes = {
        "objectClass": [b"inetOrgPerson"],
        "uid": [user.uid.encode()],
        "cn": [user.uid.encode()],
        "sn": [user.uid.encode()],
        "mail": [user.mail.encode()],
        "userPassword": [hash_password(user.password)],
    }
    if user.uid not in PLAIN:
        attributes["objectClass"].append(b"postcellAccount")
    if user.local:
        attributes["mailLocalAddress"] = [user.local.encode()]
    return f"uid={ldap.dn.escape_dn_chars(user.uid)},{PEOPLE}", attributes


def to_ldif(entries):
    text = io.StringIO()
    writer = ldif.LDIFWriter(text)
    for dn, attributes in entries:
        writer.unparse(dn, attributes)
    return text.getvalue()
