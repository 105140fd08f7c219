"""The text of the debug report: versions, paths and the last errors. It contains no text of chats and pairs."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from importlib import metadata

from textual.geometry import Size

from tui.kit.services import AppServices

PACKAGES = ("tokmem-desk", "textual", "torch", "transformers", "bitsandbytes", "safetensors")


def report(app: AppServices, size: Size, errors: Iterable[str]) -> str:
    """Versions, paths, the engine's state and log, settings that are not the default, and the last errors.

    Args:
        app: what it is about.
        size: of the terminal.
        errors: the last ones.
    """
    state = app.link.state
    lines = [
        f"Python {sys.version.split()[0]} on {platform.system()} {platform.release()} {platform.machine()}",
        *(f"{name} {_version(name)}" for name in PACKAGES),
        f"terminal {os.environ.get('TERM', '?')} {size.width}x{size.height}"
        + (", NO_COLOR" if os.environ.get("NO_COLOR") else ""),
        "",
        f"profile {app.profile}, revision {app.store.revision}",
        f"profile file {app.store.database_file}",
        f"settings {app.paths.config_file}",
        f"state {app.paths.state}",
        f"cache {app.paths.cache}",
        "",
        f"engine {state.phase}, process {app.link.client.pid or 'none'}",
        f"engine log {app.link.client.log_file}",
    ]
    if state.backbone is not None:
        backbone = state.backbone
        lines.append(f"backbone {backbone['id']} {backbone['fingerprint']} on {backbone['device']} {backbone['dtype']}")
        lines.append(f"because {backbone['reason']}")
    changed = [row for row in app.settings.show() if row.source != "default"]
    lines += [f"setting {row.key} = {row.value} ({row.source})" for row in changed]
    lines += ["", "Last errors:", *(list(errors) or ["none"])]
    if app.link.client.last_words:
        lines += ["", "End of the log of the engine that ended by itself:", app.link.client.last_words]
    tail = app.link.client.log_tail()
    lines += ["", "End of the engine's log:", tail or "empty"]
    return "\n".join(lines)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
