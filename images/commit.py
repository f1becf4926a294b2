"""A new image from a writable layer. Volumes are not in it: they are not in the union.

With SOURCE_DATE_EPOCH two commits of the same files give the same image (:mod:`images.clock`).
"""

from __future__ import annotations

import os

from images import clock, instructions
from overlay import layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from images.adding import Adding
    from images.config import Layer
    from images.references import Reference
    from images.store import Image, Store


def commit(
    store: Store,
    parent: Image,
    upper: str,
    running: dict[str, Any],
    name: Reference | None,
    *,
    changes: Iterable[str] = (),
    author: str = "",
    message: str = "",
) -> str:
    """Adds ``upper`` as a layer on top of ``parent``; returns the new image's id.

    ``running`` are the fields of the image's config object in which the container differs
    (Cmd, Env, ...); ``changes`` are instructions applied on top.
    """
    base = {**(parent.config.raw.get("config") or {}), **running}
    wanted = instructions.apply(base, changes)
    with store.adding() as adding:
        layer = _pack(adding, upper)
        created = clock.now()
        raw = dict(parent.config.raw)
        entry = {"created": created, "created_by": " ".join(wanted.get("Cmd") or [])}
        entry |= {"author": author} if author else {}
        entry |= {"comment": message} if message else {}
        diff_ids = [f"sha256:{d}" for d in (*parent.config.diff_ids, layer.diff_id)]
        raw |= {
            "config": wanted,
            "created": created,
            "history": [*(raw.get("history") or []), entry],
            "rootfs": {"diff_ids": diff_ids, "type": "layers"},
        }
        if author:
            raw["author"] = author
        below = store.layers(parent.id)
        return adding.image(raw, [*below, layer], [name] if name else [], "create")


def _pack(adding: Adding, upper: str) -> Layer:
    """The layer archive goes the way of every other archive: the container keeps its layer."""
    fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        digest = adding.make(lambda out: layers.pack(fd, out, clock.epoch()), layer=True)
    finally:
        os.close(fd)
    return adding.layers([(digest, "")])[0]
