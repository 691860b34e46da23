"""Callbacks: where one may go, how it is sent, signed and repeated."""

from imgsvc.callbacks.connections import open_session
from imgsvc.callbacks.egress import EgressConfig
from imgsvc.callbacks.guard import EgressPolicy, check_url, is_forbidden
from imgsvc.callbacks.progress import Post, PostOutcome, ProgressSender
from imgsvc.callbacks.protocol import CallbacksConfig, Verdict, planned_delay, rewrite
from imgsvc.callbacks.sender import Attempt, CallbackSender, Delivery

__all__ = [
    "Attempt",
    "CallbackSender",
    "CallbacksConfig",
    "Delivery",
    "EgressConfig",
    "EgressPolicy",
    "Post",
    "PostOutcome",
    "ProgressSender",
    "Verdict",
    "check_url",
    "is_forbidden",
    "open_session",
    "planned_delay",
    "rewrite",
]
