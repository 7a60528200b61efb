"""Users who are always there, mail that always comes: load for a cell.

    load.py SETTINGS

SETTINGS is a file of JSON: proxies (addresses), ports, host, ca, people (login,
password, mail), journal (a file), seed. It runs until its input ends and writes
what happened to the journal, a JSON object a line, each with the time of day.

Each user has one IMAP session after the other, through either proxy, appends,
reads and idles in it, and comes back at once when it is cut. Hubs deliver by
LMTP to several users at once and try again what was not accepted; others fetch
by POP3.
"""

import collections
import json
import pathlib
import poplib
import random
import socket
import ssl
import sys
import threading
import time
import uuid

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "cell"))

import imap  # noqa: E402

TIMEOUT = 40  # s for any answer
HUBS = 2  # for each proxy
FETCHERS = 1
RECIPIENTS = 3
LAST_TRIES = 20  # s for what is not accepted when the load ends
FAULTS = (OSError, EOFError, imap.Imap.error, poplib.error_proto)

Person = collections.namedtuple("Person", "login password mail")


class Load:
    def __init__(self, settings):
        self.settings = settings
        self.people = [Person(*words) for words in settings["people"]]
        self.context = ssl.create_default_context(cafile=settings["ca"])
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.journal = open(settings["journal"], "a", encoding="utf-8")

    def note(self, kind, **facts):
        line = json.dumps({"time": time.time(), "kind": kind, **facts})
        with self.lock:
            self.journal.write(line + "\n")
            self.journal.flush()

    def run(self):
        workers = [threading.Thread(target=self.live, args=(person, number))
                   for number, person in enumerate(self.people)]
        for number, proxy in enumerate(self.settings["proxies"]):
            for k in range(HUBS):
                workers.append(threading.Thread(
                    target=self.deliver, args=(proxy, f"{number}{k}")))
            for k in range(FETCHERS):
                workers.append(threading.Thread(
                    target=self.fetch, args=(proxy, f"{number}{k}")))
        for worker in workers:
            worker.start()
        sys.stdin.read()
        self.stopped.set()
        for worker in workers:
            worker.join()
        self.journal.close()

    def dice(self, *words):
        return random.Random(f"{self.settings['seed']} {words}")

    # -- IMAP -----------------------------------------------------------------

    def live(self, person, number):
        dice = self.dice("imap", number)
        self.stopped.wait(dice.random() * 2)
        while not self.stopped.is_set():
            session = None
            try:
                session = self.log_in(person, dice)
                self.use(session, person, dice)
                session.logout()
            except FAULTS as fault:
                self.note("cut" if session else "refused",
                          user=person.login, why=str(fault)[:200])
                if session:
                    session.shutdown()
                self.stopped.wait(0.05 + dice.random() / 4)

    def log_in(self, person, dice):
        begun = time.time()
        session = imap.Imap(dice.choice(self.settings["proxies"]),
                            self.settings["ports"]["imap"],
                            self.settings["host"], self.settings["ca"],
                            timeout=TIMEOUT)
        try:
            session.login_plain(person.login, person.password)
            session.select()
            self.note("login", user=person.login, begun=begun,
                      server=session.served_by())
        except BaseException:
            session.shutdown()
            raise
        return session

    def use(self, session, person, dice):
        until = time.monotonic() + 2 + dice.random() * 12
        while time.monotonic() < until and not self.stopped.is_set():
            what = dice.random()
            if what < 0.15:
                self.append(session, person)
            elif what < 0.5:
                idle(session, self.stopped, dice.random())
            else:
                session.noop()
            self.stopped.wait(dice.random() * 1.5)

    def append(self, session, person):
        name = f"append-{uuid.uuid4()}"
        self.note("try", user=person.login, id=name, begun=time.time())
        result = session.append("INBOX", None, None,
                                message(name, b"appended\r\n"))[0]
        if result == "OK":
            self.note("stored", user=person.login, id=name)

    # -- LMTP -----------------------------------------------------------------

    def deliver(self, proxy, name):
        dice = self.dice("lmtp", name)
        waiting = collections.deque()
        last = None
        hub = None
        while True:
            if self.stopped.is_set():
                last = last or time.monotonic() + LAST_TRIES
                if not waiting or time.monotonic() > last:
                    break
            if waiting and (self.stopped.is_set() or dice.random() < 0.5):
                ident, people = waiting.popleft()
            else:
                ident = f"lmtp-{uuid.uuid4()}"
                people = dice.sample(self.people, RECIPIENTS)
            try:
                hub = hub or Hub(self, proxy)
                hub.send(ident, people, dice)
            except FAULTS as fault:
                self.note("hub", why=str(fault)[:200])
                hub = None
            if people:
                waiting.append((ident, people))
            time.sleep(0.2 + dice.random() * 0.3)
        for ident, people in waiting:
            self.note("given_up", id=ident,
                      users=[person.login for person in people])

    # -- POP3 -----------------------------------------------------------------

    def fetch(self, proxy, name):
        dice = self.dice("pop3", name)
        while not self.stopped.is_set():
            person = dice.choice(self.people)
            try:
                session = poplib.POP3(proxy, self.settings["ports"]["pop3"],
                                      timeout=TIMEOUT)
                session.encoding = "utf-8"
                session.host = self.settings["host"]
                session.stls(self.context)
                session.user(person.login)
                session.pass_(person.password)
                count = session.stat()[0]
                for number in range(max(1, count - 2), count + 1):
                    session.retr(number)
                session.quit()
                self.note("fetched", user=person.login)
            except FAULTS as fault:
                self.note("unfetched", user=person.login,
                          why=str(fault)[:200])
            self.stopped.wait(0.2 + dice.random() * 0.6)


def idle(session, stopped, seconds):
    tag = session._new_tag()
    session.send(tag + b" IDLE\r\n")
    line = session.readline()
    while line.startswith(b"* "):
        line = session.readline()
    if not line.startswith(b"+"):
        raise session.abort(f"IDLE: {line!r}")
    stopped.wait(seconds)
    session.send(b"DONE\r\n")
    while not line.startswith(tag):
        line = session.readline()
        if not line:
            raise session.abort("closed while idle")


def message(name, body):
    return (f"From: <load@cell.test>\r\nMessage-ID: <{name}@cell.test>\r\n"
            f"Subject: {name}\r\n\r\n").encode() + body


class Hub:
    """One connection, for one message after the other."""

    def __init__(self, load, proxy):
        self.load = load
        self.socket = socket.create_connection(
            (proxy, load.settings["ports"]["lmtp"]), TIMEOUT)
        self.file = self.socket.makefile("rb")
        self.expect(b"220")
        self.command(b"LHLO hub.cell.test", b"250")

    def reply(self):
        while True:
            line = self.file.readline()
            if not line:
                raise EOFError("closed")
            if line[3:4] != b"-":
                return line

    def expect(self, code):
        line = self.reply()
        if not line.startswith(code):
            raise EOFError(line.decode(errors="replace"))

    def command(self, line, code):
        self.socket.sendall(line + b"\r\n")
        self.expect(code)

    def send(self, ident, people, dice):
        """Takes out of people whoever got it. Raises when the connection is
        of no use any more."""
        self.command(b"MAIL FROM:<load@cell.test>", b"250")
        accepted = []
        for person in people:
            self.socket.sendall(f"RCPT TO:<{person.mail}>\r\n".encode())
            line = self.reply()
            if line.startswith(b"250"):
                accepted.append(person)
            elif not line.startswith(b"451"):
                self.load.note("odd", user=person.login,
                               reply=line.decode(errors="replace"))
        if not accepted:
            self.command(b"RSET", b"250")
            return
        self.socket.sendall(b"DATA\r\n")
        if not self.reply().startswith(b"354"):
            self.command(b"RSET", b"250")
            return
        body = b"".join(b"line of a message %d\r\n" % k
                        for k in range(dice.choice((1, 50, 2000))))
        self.socket.sendall(message(ident, body))
        for person in accepted:
            self.load.note("try", user=person.login, id=ident,
                           begun=time.time())
        self.socket.sendall(b".\r\n")
        for person in accepted:
            line = self.reply()
            if line.startswith(b"250"):
                self.load.note("stored", user=person.login, id=ident)
                people.remove(person)
            else:
                self.load.note("deferred", user=person.login, id=ident,
                               reply=line.decode(errors="replace"))


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        Load(json.load(file)).run()
