"""A message as an e-mail, by an SMTP server of one's own.

``smtp://user:password@host:587`` speaks TLS where the server offers it, and always before it says a
password; ``smtps://`` from the first byte. ``Message-ID`` is the same when a message is sent again,
so that mail programs show it once.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

from agenticrs.platform.masking import masked
from agenticrs.platform.notices.message import Message, NotDelivered

_PORTS = {"smtp": 587, "smtps": 465}


class Mail:
    """Sends to some addresses."""

    name = "email"

    def __init__(
        self, server: str, sender: str, receivers: Sequence[str], *, timeout: float = 20.0
    ) -> None:
        self._server = urlsplit(server)
        self._sender = sender
        self._receivers = list(receivers)
        self._timeout = timeout

    def send(self, message: Message) -> None:
        """Send it; raises NotDelivered unless the server takes it for every receiver."""
        letter = self._letter(message)
        try:
            with self._connected() as smtp:
                refused = smtp.send_message(letter, self._sender, self._receivers)
        except (smtplib.SMTPException, OSError) as error:
            raise NotDelivered(f"the mail server refuses: {masked(str(error))}") from None
        if refused:
            raise NotDelivered(f"the mail server refuses {', '.join(sorted(refused))}")

    def _letter(self, message: Message) -> EmailMessage:
        letter = EmailMessage()
        letter["Subject"] = " ".join(f"AgenticRS: {message.subject}".split())
        letter["From"] = self._sender
        letter["To"] = ", ".join(self._receivers)
        letter["Date"] = format_datetime(message.at)
        domain = self._sender.rpartition("@")[2] or "localhost"
        letter["Message-ID"] = f"<{message.uid}@{domain}>"
        letter["Auto-Submitted"] = "auto-generated"
        paragraphs = [message.text, message.link, f"Surface {message.surface}, {message.event}."]
        text = "\n\n".join(filter(None, paragraphs)) + "\n"
        letter.set_content(text, cte="quoted-printable")  # not every server takes eight bits
        return letter

    def _connected(self) -> smtplib.SMTP:
        host = self._server.hostname or "localhost"
        port = self._server.port or _PORTS[self._server.scheme]
        context = ssl.create_default_context()
        if self._server.scheme == "smtps":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                host, port, timeout=self._timeout, context=context
            )
        else:
            smtp = smtplib.SMTP(host, port, timeout=self._timeout)
        try:
            smtp.ehlo()
            if self._server.scheme == "smtp" and smtp.has_extn("starttls"):
                smtp.starttls(context=context)
                smtp.ehlo()
            if self._server.username:
                self._log_in(smtp, self._server.username)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _log_in(self, smtp: smtplib.SMTP, name: str) -> None:
        if not isinstance(smtp.sock, ssl.SSLSocket):
            raise smtplib.SMTPException("it offers no TLS, and a password is not said in the open")
        smtp.login(unquote(name), unquote(self._server.password or ""))
