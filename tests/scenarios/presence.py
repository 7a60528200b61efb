"""Who was at which server, when: from the logs of all Dovecots of a cell.

A session is there from the line of its login to that of its end, a delivery
while it is stored. Two of one user at two servers at one moment are an
overlap: the one thing that must not be.
"""

import collections
import re
import time

STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.(\d{6}) (.*)")
LOGIN = re.compile(r"(?:imap|pop3)-login: Info: Login: user=<(.*)>, method=.*"
                   r"mpid=(\d+), .*session=<([^<>]*)>")
END = re.compile(r"(?:imap|pop3)\(.*\)<(\d+)><([^<>]*)>: Info: "
                 r"(?:Disconnected(?!: Server shutting down)|Logged out)")
SAVED = re.compile(r"lmtp\((.*)\)<\d+><[^<>]*>:.*\bmsgid=(\S*) took=(\d+): "
                   r"(?:stored|saved) mail")
# What Dovecot says when indexes were used by two at once. A client that is cut
# off in the middle of an APPEND is none.
CUT = re.compile(r"read\(<imap client>\) failed: ")
DAMAGE = re.compile(r"(?:imap|pop3|lmtp)\(.*\)(?:<\d+><[^<>]*>)?: "
                    r"(?:Error|Panic|Fatal|Warning): ")

Presence = collections.namedtuple("Presence", "user server begin end what")


def stamped(lines):
    """(time of day, text) of each line that has a stamp."""
    for line in lines:
        found = STAMP.match(line)
        if found:
            whole = time.strptime(found[1], "%Y-%m-%d %H:%M:%S")
            yield time.mktime(whole) + int(found[2]) / 1e6, found[3]


def read(server, lines, deaths=(), forgotten=None, now=None):
    """All that one server's log tells. Who was there when it died left then.

    Sessions without an end are there until now; they go to forgotten, if that
    list is given.
    """
    now = now or time.time()
    began, ended, found = {}, {}, []

    def leave(session, moment):
        user, begin = began.pop(session)
        found.append(Presence(user, server, min(begin, moment), moment,
                              session[1]))

    deaths = sorted(deaths)
    for moment, text in stamped(lines):
        while deaths and deaths[0] < moment:
            death = deaths.pop(0)
            for session in [name for name, (_, begin) in began.items()
                            if begin <= death]:
                leave(session, death)
        login, end, saved = (kind.match(text) for kind in (LOGIN, END, SAVED))
        if login:
            session = login[2], login[3]
            began[session] = login[1], moment
            # One whose client was gone already may end before its login is
            # logged.
            if session in ended:
                leave(session, ended.pop(session))
        elif end:
            session = end[1], end[2]
            if session in began:
                leave(session, moment)
            else:
                ended[session] = moment
        elif saved:
            found.append(Presence(saved[1], server,
                                  moment - int(saved[3]) / 1000, moment,
                                  saved[2]))
    for session in list(began):
        user, begin = began[session]
        death = next((d for d in deaths if d >= begin), None)
        leave(session, death or now)
        if forgotten is not None and death is None:
            forgotten.append(found.pop())
    return found


def overlaps(presences):
    """Pairs at two servers at one moment, of one user; each once."""
    pairs = []
    users = collections.defaultdict(list)
    for each in sorted(presences, key=lambda each: each.begin):
        here = users[each.user]
        here[:] = [other for other in here if other.end > each.begin]
        pairs += [(other, each) for other in here
                  if other.server != each.server]
        here.append(each)
    return pairs


def damage(lines):
    return [line for line in lines
            if DAMAGE.search(line) and not CUT.search(line)]
