"""What a client of a key may be called: what is shown in lists, logs and rows, and typed."""

CLIENT_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
"""The whole name; a client of a token is called what its issuer calls it."""
