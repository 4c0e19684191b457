"""Reads a webhook endpoint's URL strictly, and refuses what could lead anywhere but to a public receiver.

The rules hold when an endpoint is saved and again before each attempt. What a name resolves to is not known
here: the sender vets every address as it is about to be dialled.
"""

import re
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import quote

import idna
import msgspec

from crypto_orders.domain.networks import IPAddress, is_loopback, is_public

URL_LENGTH_MAX: Final = 2048
"""Characters of a webhook URL, as given and as kept; longer ones fail in proxies and servers on the way."""

PORTS: Final = frozenset({443, 8443})
"""Ports a receiver may listen on: a webhook must not become a way to talk to mail servers or databases."""

HOST_LENGTH_MAX: Final = 253
"""Characters of a host name (RFC 1035)."""

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_BRACKETED = re.compile(r"\[(?P<literal>[^\]]*)\](?P<port>:.*)?", re.DOTALL)
# Blanks, controls, backslash (some parsers take it for a slash) and halves of surrogate pairs.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\\\ud800-\udfff]")
# Underscores are no host names by RFC 952, but DNS carries them and some hosters hand such names out.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_PORT = re.compile(r":[0-9]{1,5}")
_ANY_PORT: Final = range(1, 65_536)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# RFC 3986 without its brackets' exceptions; the percent sign stays, so that escapes are kept as written.
_KEPT_IN_PATH: Final = "%/?:@!$&'()*+,;=-._~[]|"


class UrlProblem(StrEnum):
    """The rule a webhook URL breaks; stable words for clients."""

    TOO_LONG = "too_long"
    SCHEME = "scheme"
    CHARACTER = "character"
    CREDENTIALS = "credentials"
    FRAGMENT = "fragment"
    HOST = "host"
    PORT = "port"
    ADDRESS_SPELLING = "address_spelling"
    PRIVATE_ADDRESS = "private_address"
    PRIVATE_NAME = "private_name"
    OWN_HOST = "own_host"


class WebhookUrlError(ValueError):
    """A webhook URL breaks a rule: `problem` says which, the message says it in a plain sentence."""

    def __init__(self, problem: UrlProblem, sentence: str) -> None:
        super().__init__(sentence)
        self.problem = problem


class UrlPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment allows."""

    allow_insecure: bool = False
    """Permit http, loopback and any port (`ALLOW_INSECURE_WEBHOOKS`; never in production)."""
    own_hosts: frozenset[str] = frozenset()
    """This service's own public host names, lower-case ASCII: it sends no webhooks to itself."""
    ports: frozenset[int] = PORTS


class WebhookUrl(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook URL that passed the rules, ASCII throughout."""

    text: str
    """The URL as kept and shown: as given, with scheme and host in lower-case ASCII and the rest escaped."""
    tls: bool
    host: str
    """The host name, or the address of a literal without brackets."""
    port: int
    target: str
    """Path and query, as they go into the request line."""
    literal: IPAddress | None
    """The address when the host is a literal; such a host is never resolved."""

    @property
    def host_header(self) -> str:
        """The value of the Host header: brackets around IPv6, the port only where it is not the default."""
        host = f"[{self.host}]" if isinstance(self.literal, IPv6Address) else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def parse_webhook_url(text: str, policy: UrlPolicy) -> WebhookUrl:
    """Read a URL under a policy. Raises WebhookUrlError with the first rule it breaks."""
    if len(text) > URL_LENGTH_MAX:
        raise _too_long()
    if _FORBIDDEN.search(text):
        raise WebhookUrlError(
            UrlProblem.CHARACTER, "The URL contains a blank, a control character or a backslash."
        )
    match = _URL.fullmatch(text)
    scheme = match["scheme"].lower() if match else ""
    if match is None or scheme not in ({"https", "http"} if policy.allow_insecure else {"https"}):
        raise WebhookUrlError(UrlProblem.SCHEME, "The URL must start with https://.")
    if "@" in match["authority"]:
        raise WebhookUrlError(UrlProblem.CREDENTIALS, "The URL must not contain a user name or password.")
    if "#" in match["rest"]:
        raise WebhookUrlError(UrlProblem.FRAGMENT, "The URL must not have a fragment (#…).")
    tls = scheme == "https"
    host, literal, port_text = _split_authority(match["authority"])
    port = _port(port_text, tls=tls, policy=policy)
    _refuse_private(host, literal, policy)
    rest = quote(match["rest"], safe=_KEPT_IN_PATH)
    shown_host = f"[{host}]" if isinstance(literal, IPv6Address) else host
    kept = f"{scheme}://{shown_host}{port_text}{rest}"
    if len(kept) > URL_LENGTH_MAX:
        raise _too_long()
    return WebhookUrl(
        text=kept,
        tls=tls,
        host=host,
        port=port,
        target=rest if rest.startswith("/") else "/" + rest,
        literal=literal,
    )


def ascii_host(name: str) -> str:
    """Turn a host name into lower-case ASCII once (UTS 46, then IDNA 2008), without a trailing dot.

    Raises WebhookUrlError when it is no host name.
    """
    try:
        mapped = idna.uts46_remap(name, std3_rules=False, transitional=False).removesuffix(".")
        plain = mapped if mapped.isascii() else idna.encode(mapped).decode("ascii")
        labels = plain.split(".")
        for label in labels:
            if label.startswith("xn--"):
                idna.ulabel(label)
    except (idna.IDNAError, UnicodeError):
        raise _bad_host() from None
    if len(plain) > HOST_LENGTH_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        raise _bad_host()
    return plain


def _split_authority(authority: str) -> tuple[str, IPAddress | None, str]:
    """Split an authority into its host in ASCII, the address if it is a literal, and `:port` or nothing."""
    if authority.startswith("["):
        match = _BRACKETED.fullmatch(authority)
        literal = _ipv6(match["literal"]) if match else None
        if match is None or literal is None:
            raise _bad_host()
        return str(literal), literal, match["port"] or ""
    name, colon, port = authority.partition(":")
    host = ascii_host(name)
    if not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return host, None, colon + port
    # No name ends in a number, but resolvers take 2130706433, 0x7f.1, 0177.1 and 127.1 for addresses.
    try:
        return host, IPv4Address(host), colon + port
    except ValueError:
        raise WebhookUrlError(
            UrlProblem.ADDRESS_SPELLING, "An IPv4 address must be written as four decimal numbers."
        ) from None


def _ipv6(text: str) -> IPv6Address | None:
    # A zone id (fe80::1%eth0) names an interface of this machine, so it is never a public address.
    if "%" in text or not text.isascii():
        return None
    try:
        return IPv6Address(text)
    except ValueError:
        return None


def _port(text: str, *, tls: bool, policy: UrlPolicy) -> int:
    """Read `:port`; nothing is the scheme's default."""
    if not text:
        return 443 if tls else 80
    port = int(text[1:]) if _PORT.fullmatch(text) else 0
    if port in policy.ports or (policy.allow_insecure and port in _ANY_PORT):
        return port
    allowed = " or ".join(str(port) for port in sorted(policy.ports))
    raise WebhookUrlError(UrlProblem.PORT, f"The port must be {allowed}.")


def _refuse_private(host: str, literal: IPAddress | None, policy: UrlPolicy) -> None:
    local = is_loopback(literal) if literal is not None else _is_localhost(host)
    if policy.allow_insecure and local:
        # The demo runs on loopback under the same host as its receivers, so the next rule would refuse them.
        return
    if host in policy.own_hosts:
        raise WebhookUrlError(UrlProblem.OWN_HOST, "The URL points back at this service.")
    if literal is not None and not is_public(literal):
        raise WebhookUrlError(UrlProblem.PRIVATE_ADDRESS, "The URL's address is not on the public internet.")
    if literal is None and (local or "." not in host):
        raise WebhookUrlError(UrlProblem.PRIVATE_NAME, "The URL's host is not a public name.")


def _is_localhost(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _bad_host() -> WebhookUrlError:
    return WebhookUrlError(UrlProblem.HOST, "The URL's host is not a valid host name or address.")


def _too_long() -> WebhookUrlError:
    return WebhookUrlError(UrlProblem.TOO_LONG, f"The URL is longer than {URL_LENGTH_MAX} characters.")
