"""What clients may be called: what is shown in lists, logs and rows, and typed."""

CLIENT_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
"""The whole name."""

ISSUED_CLIENT_PATTERN = r"(?!(?i:cli):)[A-Za-z0-9._@:|/+=~-]{1,128}"
"""The same of a client of a token, which is called what its issuer calls it.

That is an id, a URL, an address or `auth0|…`; `cli:` is for who runs commands here.
"""
