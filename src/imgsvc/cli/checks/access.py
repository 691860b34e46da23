"""Who may use the server, from where, over what, and what it may be made to call."""

import os
from datetime import UTC, datetime
from pathlib import Path

from imgsvc.cli.checks.report import Report
from imgsvc.config import Settings
from imgsvc.errors import ConfigurationError
from imgsvc.tls import Certificate
from imgsvc.web.auth.config import AuthConfig
from imgsvc.web.auth.key_sets import parse


def check_access(settings: Settings, report: Report) -> None:
    """Look at authentication, TLS, limits, egress, other sites' pages and the audit file."""
    _check_authentication(settings, report)
    _check_tls(settings, report)
    _check_limits(settings, report)
    _check_egress(settings, report)
    origins = settings.server.cors_origins
    report.ok(f"cors: pages of {', '.join(origins) or 'no other site'} may call the server")
    _check_audit_file(settings.logs.audit_file, report)


def _check_authentication(settings: Settings, report: Report) -> None:
    auth = settings.auth
    if not auth.takes_tokens and (unused := _set_for_tokens(auth)):
        report.note(f"auth.mode takes no tokens, so without effect: {', '.join(unused)}")
    if not auth.is_on:
        try:
            settings.check_authentication()
        except ConfigurationError as exc:
            report.fail(exc.message)
        else:
            if settings.server.is_loopback:
                report.ok("auth: none, and only this machine can reach the port")
            else:
                report.note("auth: none, so anybody who can reach the port can use the server")
        return
    report.ok(f"auth: {auth.mode}")
    has_key = settings.backend.has_key_in_force(settings.data_dir)
    if auth.mode == "api_key" and has_key is False:
        report.note("auth: there is no key in force; make one with `imgsvc keys create`")
    if auth.takes_tokens and auth.jwt_jwks_file is not None:
        _check_token_keys(auth.jwt_jwks_file, report)


def _set_for_tokens(auth: AuthConfig) -> list[str]:
    return [f"auth.{key}" for key in sorted(auth.model_fields_set) if key.startswith("jwt_")]


def _check_token_keys(file: Path, report: Report) -> None:
    try:
        count = len(parse(file.read_bytes()))
    except OSError as exc:
        report.fail(f"auth.jwt_jwks_file: {file} cannot be read ({exc.strerror})")
    except ValueError as exc:
        report.fail(f"auth.jwt_jwks_file: {file} is no JSON Web Key Set ({exc})")
    else:
        tell = report.ok if count else report.fail
        tell(f"auth: keys in {file} that tokens can be checked with: {count}")


def _check_tls(settings: Settings, report: Report) -> None:
    server = settings.server
    if server.tls_cert is not None and server.tls_key is not None:
        try:
            ends_at = Certificate(chain=server.tls_cert, key=server.tls_key).ends_at
        except ConfigurationError as exc:
            report.fail(exc.message)
        else:
            has_ended = ends_at < datetime.now(UTC)
            tell, verb = (report.note, "ended") if has_ended else (report.ok, "ends")
            tell(f"tls: the certificate in {server.tls_cert} {verb} on {ends_at:%Y-%m-%d}")
        if server.public_url is not None and server.public_url.startswith("http:"):
            report.note(f"tls: it is spoken, but server.public_url is {server.public_url}")
    elif server.over_tls:
        report.ok(f"tls: none here, so whatever answers at {server.public_url} must speak it")
    elif settings.shows_keys:
        report.note(
            "tls: none, so keys and pictures cross the network in clear text; set server.tls_cert"
            " and server.tls_key, or server.public_url if a proxy in front speaks TLS"
        )
    else:
        report.ok("tls: none")


def _check_limits(settings: Settings, report: Report) -> None:
    limits = settings.limits.model_dump(exclude_none=True)
    given = ", ".join(f"{name} = {value}" for name, value in limits.items())
    own = f"; others for {', '.join(settings.clients)}" if settings.clients else ""
    tell = report.note if settings.auth.is_on and not limits else report.ok
    tell(f"limits: of each client {given or 'none'}{own}")


def _check_egress(settings: Settings, report: Report) -> None:
    egress, callbacks = settings.egress, settings.callbacks
    inside = [*map(str, callbacks.allow_networks), *callbacks.allow_hosts]
    if settings.egress_policy(own_port=settings.server.port).allow_loopback:
        inside.insert(0, "loopback")
    scheme = "https alone" if egress.require_https else "http and https"
    way = "" if egress.proxy is None else ", through the proxy"
    report.ok(
        f"egress: callers' URLs may be {scheme}, on ports {', '.join(egress.ports)}{way}; of what"
        f" is not public: {', '.join(inside) or 'nothing'}"
    )


def _check_audit_file(file: Path | None, report: Report) -> None:
    if file is None:
        return
    folder = file.absolute().parent
    if file.is_dir():
        report.fail(f"logs.audit_file: {file} is a folder")
    elif file.exists() and not os.access(file, os.W_OK):
        report.fail(f"logs.audit_file: {file} cannot be written")
    elif not folder.is_dir():
        report.fail(f"logs.audit_file: there is no folder {folder}")
    elif not file.exists() and not os.access(folder, os.W_OK | os.X_OK):
        report.fail(f"logs.audit_file: {file} cannot be made")
    else:
        report.ok(f"audit log: also in {file}")
