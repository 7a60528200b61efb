#!/usr/bin/python3
"""A mail exchanger that keeps nothing.

    exchange.py NAME ADDRESS:PORT LMTP-ADDRESS:PORT ...

Every command of a transaction goes on to the first LMTP server that answers,
and its answers come back, so that mail is either in its mailboxes or still
with the sender.
"""

import asyncio
import smtplib
import socket
import sys

from aiosmtpd.smtp import SMTP

MESSAGE_SIZE = 64 << 20  # octets
TIMEOUT = 60  # s, for an answer of LMTP


class Handler:
    """One sender's session."""

    def __init__(self, servers):
        self.servers = servers
        self.lmtp = None

    def connect(self):
        for address, port in self.servers:
            try:
                return smtplib.LMTP(address, port, timeout=TIMEOUT)
            except OSError:
                continue
        raise smtplib.SMTPServerDisconnected("no LMTP server answers")

    # Each of these gives the answers of the LMTP server.

    def mail(self, sender):
        if self.lmtp:
            self.lmtp.close()
        self.lmtp = self.connect()
        self.lmtp.ehlo()
        return [self.lmtp.mail(sender)]

    def recipient(self, name):
        return [self.lmtp.rcpt(name)]

    def data(self, content, count):
        first = self.lmtp.data(content)
        return [first, *(self.lmtp.getreply() for _ in range(count - 1))]

    async def ask(self, question, *words):
        """The worst of the answers."""
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(None, question, *words)
        except smtplib.SMTPResponseException as error:
            answers = [(error.smtp_code, error.smtp_error)]
        except (smtplib.SMTPException, OSError) as error:
            return f"451 4.4.1 {error}"
        code, text = max(answers)
        return f"{code} {text.decode(errors='replace').splitlines()[0]}"

    async def handle_MAIL(self, server, session, envelope, address, options):
        answer = await self.ask(self.mail, address)
        if answer.startswith("250"):
            envelope.mail_from = address
        return answer

    async def handle_RCPT(self, server, session, envelope, address, options):
        answer = await self.ask(self.recipient, address)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, session, envelope):
        return await self.ask(self.data, envelope.content,
                              len(envelope.rcpt_tos))


async def serve(name, listening, servers):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Handler(servers), hostname=name, enable_SMTPUTF8=True,
                     data_size_limit=MESSAGE_SIZE),
        *listening, family=socket.AF_INET)
    await server.serve_forever()


def endpoint(text):
    address, _, port = text.rpartition(":")
    return address, int(port)


def main():
    name, listening, *servers = sys.argv[1:]
    asyncio.run(serve(name, endpoint(listening),
                      [endpoint(text) for text in servers]))


if __name__ == "__main__":
    main()
