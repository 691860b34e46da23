"""Callbacks: where one may go, how it is sent, signed and repeated."""

from imgsvc.callbacks.connections import open_session, proxy_secrets
from imgsvc.callbacks.egress import EgressConfig
from imgsvc.callbacks.guard import EgressPolicy, check_url, is_forbidden, plain_host
from imgsvc.callbacks.progress import Post, PostOutcome, ProgressSender
from imgsvc.callbacks.protocol import (
    CallbacksConfig,
    HostName,
    SigningSecret,
    Verdict,
    planned_delay,
    rewrite,
)
from imgsvc.callbacks.sender import Attempt, CallbackSender, Delivery

__all__ = [
    "Attempt",
    "CallbackSender",
    "CallbacksConfig",
    "Delivery",
    "EgressConfig",
    "EgressPolicy",
    "HostName",
    "Post",
    "PostOutcome",
    "ProgressSender",
    "SigningSecret",
    "Verdict",
    "check_url",
    "is_forbidden",
    "open_session",
    "plain_host",
    "planned_delay",
    "proxy_secrets",
    "rewrite",
]
