"""Mail from hubs where the configuration says other than by default."""

import pytest

from house import check_log
from player import Player


@pytest.fixture
def play(make_proxy, servers):
    """Plays dialogues with a proxy whose delivery section says that."""
    made = []

    def begin(delivery, text):
        if not made:
            made.append(make_proxy(
                options=f"delivery {{ {delivery} }}").start())
        Player(made[0], servers).play(text)

    yield begin
    for proxy in made:
        assert proxy.stop() == 0
        check_log(proxy.log())


ONE_TAKES_DATA = """
C: DATA
b: DATA
B: 354 go
S: 354 End data with <CR><LF>.<CR><LF>
"""


@pytest.mark.parametrize("way", ["lmtp", "smtp"])
def test_a_large_message_is_refused(play, way):
    play("message_size = 20", f"""
! hub {way}
C: MAIL FROM:<a@example.org> SIZE=21
S: 552 5.3.4 The message is too large.
C: MAIL FROM:<a@example.org> SIZE=18446744073709551616
S: 501 5.5.4 SIZE takes a number.
! mail
! recipient ann one
{ONE_TAKES_DATA}
C: 0123456789
b: 0123456789
C: 0123456789
b. -
C: .
S: 552 5.3.4 The message is too large.
C: NOOP
S: 250 2.0.0 Nothing happened.
""")
    play("", f"""
! hub {way}
! offers one CHUNKING
! mail
! recipient ann one
C- BDAT 20\\r\\n0123456789\\r\\n01234567
b: BDAT 20
! server reads 1 0123456789\\r\\n01234567
B: 250 ok
S: 250 2.0.0 Octets received.
C- BDAT 1 LAST\\r\\n8
b: BDAT 1 LAST
b. -
S: 552 5.3.4 The message is too large.
""")


def test_recipients_one_by_one(play):
    play("smtp_recipients = one", f"""
! hub smtp
! mail
! recipient ann one
C: RCPT TO:<abe@example.org>
S: 452 4.5.3 Send it to this recipient by itself.
{ONE_TAKES_DATA}
C: .
b: .
B: 250 2.0.0 ann
S: 250 2.0.0 ann
! hub lmtp
! mail
""")


ALL = """
! hub smtp
! mail
! recipient ann one
! recipient ben two
C: DATA
! at one
b: DATA
B: 354 go
! at two
b: DATA
"""


@pytest.mark.parametrize("rest", [
    # what one refuses at once nobody gets
    """
B: 452 4.3.1 full
S: 452 4.3.1 full
! at one
b. -
""",
    # nor what one loses
    """
B: 354 go
S: 354 End data with <CR><LF>.<CR><LF>
C: x
! at one
b: x
! at two
b: x
! server closes
! logged server_failed
C: y
C: .
! at one
b. -
S: 451 4.3.0 The server of the mailbox failed, try again later.
""",
    # after the end it is too late, and what counts is that nothing is lost
    """
B: 354 go
S: 354 End data with <CR><LF>.<CR><LF>
C: .
! at one
b: .
B: 250 2.0.0 ann
! at two
b: .
B: 550 5.7.1 no
S: 550 5.7.1 no
""", """
B: 354 go
S: 354 End data with <CR><LF>.<CR><LF>
C: .
! at one
b: .
B: 250 2.0.0 ann
! at two
b: .
B: 250 2.0.0 ben
S: 250 2.0.0 ann
"""], ids=["refused", "lost", "disagreed", "delivered"])
def test_all_or_nothing(play, rest):
    play("smtp_recipients = all", ALL + rest)


def received(count):
    return "".join(f"C: Received: from {number}\n" for number in range(count))


def took(count):
    return received(count).replace("C: ", "b: ")


@pytest.mark.parametrize("way", ["lmtp", "smtp"])
def test_a_message_that_goes_round_in_circles(play, way):
    """Its Received lines are counted; none is added."""
    play("hops = 3", f"""
! hub {way}
! mail
! recipient ann one
{ONE_TAKES_DATA}
{received(3)}
{took(3)}
C: X-Received: from elsewhere
C:
C: Received: is what this text is about
C: .
b: X-Received: from elsewhere
b:
b: Received: is what this text is about
b: .
B: 250 2.0.0 stored
S: 250 2.0.0 stored
! mail
! recipient ann one
{ONE_TAKES_DATA}
{received(3)}
{took(3)}
C- rEceiVed:
b. -
C:  from 4
C:
C: .
S: 554 5.4.6 The message goes round in circles.
C: NOOP
S: 250 2.0.0 Nothing happened.
""")


def test_a_message_in_chunks_that_goes_round_in_circles(play):
    """The name of the field may come in two pieces."""
    play("hops = 1", r"""
! hub lmtp
! offers one CHUNKING
! mail
! recipient ann one
C- BDAT 17\r\nReceived: a\r\nRece
b: BDAT 17
b: Received: a
! server reads 1 Rece
B: 250 go on
S: 250 2.0.0 Octets received.
C- BDAT 9 LAST\r\nived: b\r\n
S: 554 5.4.6 The message goes round in circles.
""")


# What less strict servers take for the end of a message (RFC 5321 section
# 4.1.1.4 knows one alone).
NO_ENDS = ["\\n.\\n", "\\n.\\r\\n", "\\r.\\r", "\\r\\n.\\n",
           "\\r\\n.\\r", "\\r.\\r\\n", "\\n.\\r"]


@pytest.mark.parametrize("drips", [False, True], ids=["at-once", "drips"])
@pytest.mark.parametrize("end", NO_ENDS)
@pytest.mark.parametrize("way", ["lmtp", "smtp"])
def test_what_is_no_end_smuggles_nothing(play, way, end, drips):
    """No server hears a command behind it, whatever the hub speaks."""
    play("", f"""
! hub {way}
! mail
! recipient ann one
{ONE_TAKES_DATA}
{"! client drips" if drips else ""}
C- text{end}MAIL FROM:<smuggled@example.org>\\r\\n
C- RCPT TO:<ben@example.org>\\r\\n.\\r\\n
! server sees_nothing smuggled
S: 550 5.6.0 The message has a CR or LF by itself.
C: NOOP
S: 250 2.0.0 Nothing happened.
""")
