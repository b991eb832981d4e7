"""Who may see which token: origins, the tokens that belong to them, and URLs that are safe to print."""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from hub import settings
from hub.errors import StorageError, UsageError

DEFAULT_PORTS = {"http": 80, "https": 443}
_HOSTNAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")


def origin(url: str) -> str:
    """Give scheme, host and port, all three written out: what a token belongs to.

    >>> origin("HTTPS://user:secret@Example.com/a?b=c")
    'https://example.com:443'
    """
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError as problem:  # a port that is no number, half an IPv6 address; it may quote the URL
        raise UsageError(f"not a URL: {redact(url)}") from problem
    host = parts.hostname or ""
    return f"{parts.scheme}://[{host}]:{port}" if ":" in host else f"{parts.scheme}://{host}:{port}"


def redact(url: str) -> str:
    """Give the URL as it may be printed and stored: no user, no password, no query (a signature may hide there).

    >>> redact("https://user:secret@example.com/model.bin?signature=abc")
    'https://example.com/model.bin?…'
    """
    match = re.match(r"([a-z][a-z0-9+.-]*://)?([^/?#]*)([^?#]*)(\?)?", url, re.IGNORECASE)
    scheme, host, path, query = match.groups(default="") if match else ("", "", "", "")
    if not scheme:
        return f"{host}{path}".rpartition("@")[2]
    host = host.rpartition("@")[2]
    if not re.fullmatch(
        r"[^:]*(:[0-9]*)?|\[.*", host
    ):  # a password with a slash in it looks like host and path
        return f"{scheme}…"
    return f"{scheme}{host}{path}{'?…' if query else ''}"


def without_userinfo(url: str) -> str:
    """Give the URL without `user:password@`, to send: the pair goes into a header instead."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Give the IP address a host is written as, in any notation (`2130706433` is 127.0.0.1), None for a name."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except (OSError, ValueError):
            return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine: nobody can listen on the way there."""
    numeric = address(host)
    return numeric.is_loopback if numeric else host == "localhost" or host.endswith(".localhost")


class Credentials:
    """Tokens by origin, from the environment and `HUB_HOME/credentials.json`.

    The file holds `{"https://host[:port]": "token"}` and must be readable by its owner alone. The variable for
    https://models.my-company.com is HUB_TOKEN_MODELS_MY__COMPANY_COM: `.` is `_` and `-` is `__`, so that no two
    hosts share one; a port other than 443 is appended (`_8443`).
    """

    def __init__(self, tokens: Mapping[str, str] | None = None) -> None:
        self._tokens = {origin(url): token for url, token in (tokens or {}).items()}

    def __repr__(
        self,
    ) -> str:  # the default would be harmless today; a dataclass some day would print the tokens
        return f"Credentials({', '.join(sorted(self._tokens))})"

    @classmethod
    def load(cls) -> Credentials:
        """Read `HUB_HOME/credentials.json` when there is one.

        Raises:
            StorageError: others can read the file, or it is not a JSON object of texts.
        """
        path = settings.home() / "credentials.json"
        try:
            with path.open(encoding="utf-8") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        except (OSError, UnicodeDecodeError) as problem:
            raise StorageError(f"{path}: cannot be read: {type(problem).__name__}") from None
        if os.name == "posix" and mode & 0o077:
            raise StorageError(
                f"{path}: expected a file that only its owner can read, found mode {mode & 0o777:04o}",
                hint=f"chmod 600 {path}",
            )
        return cls(_tokens(text, path))

    def authorization(self, url: str) -> str | None:
        """Give the Authorization header for this URL, None when nothing belongs to its origin.

        A token travels over https, or to this machine; a `user:password@` in the URL itself comes first.
        """
        parts = urlsplit(url)
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            return "Basic " + base64.b64encode(pair.encode()).decode("ascii")
        host = parts.hostname or ""
        if parts.scheme != "https" and not is_loopback(host):
            return None
        here = origin(url)
        token = self._tokens.get(here) or _token_of_environment(host, here)
        return f"Bearer {token}" if token else None


def _token_of_environment(host: str, here: str) -> str | None:
    if not _HOSTNAME.fullmatch(host):
        return None
    name = host.replace("-", "__").replace(".", "_").upper()
    port = here.rpartition(":")[2]
    default = here.startswith("https:") and port == "443"
    return os.environ.get(f"HUB_TOKEN_{name}" if default else f"HUB_TOKEN_{name}_{port}", "").strip() or None


def _tokens(text: str, path: Path) -> dict[str, str]:
    expected = 'expected {"https://host": "token", …}'
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # the message of json quotes nothing, but its `doc` holds the tokens
        raise StorageError(f"{path}: {expected}, found text that is not JSON") from None
    if not isinstance(found, dict) or not all(isinstance(token, str) and token for token in found.values()):
        raise StorageError(f"{path}: {expected}, found something else")
    if not all(url.startswith(("https://", "http://")) for url in found):
        raise StorageError(f"{path}: {expected}, found a key that is not a URL")
    return found
