"""A small program that downloads one model from the Hub: ``python hub_download.py ID [--offline | --look]``.

Run by ``fetch`` as a child process. It speaks JSON lines on stdout: first ``{"blobs", "total"}`` (where bytes will
gather, and how many), at the end ``{"folder", "revision", "licence"}`` or ``{"error", "text"}`` with exit code 1.
With ``--look`` nothing but ``config.json`` is fetched, and the end is ``{"config", "parameters", "weights"}``.
Files go to the Hub's own cache, where an interrupted download goes on.
"""

from __future__ import annotations

import argparse
import errno
import json
import shutil
import sys
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

WANTED = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "README.md")
UNWANTED = ("original/*", "onnx/*", "*/*.safetensors")
"""Weights in subfolders are other formats of the same model."""
COPIES = ("consolidated*.safetensors",)
"""Mistral's weights once more, beside those that transformers reads."""


LARGEST_CONFIG = 2**20
"""Bytes; a larger configuration is not looked at."""


class _Refused(Exception):
    """Ends the program with that error word and text."""


def main(arguments: list[str]) -> int:
    """Download; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("hub_id")
    parser.add_argument("--offline", action="store_true")
    parser.add_argument("--look", action="store_true")
    options = parser.parse_args(arguments)
    try:
        if options.offline:
            _tell(**_find_local(options.hub_id))
        else:
            _tell(**_download(options.hub_id, look=options.look))
    except _Refused as refused:
        _tell(error=refused.args[0], text=refused.args[1])
        return 1
    return 0


def _tell(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def _fields(file: Path) -> object:
    """A configuration; nothing where it is none, which is told when the model is converted."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}


def _find_local(hub_id: str) -> dict[str, object]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def find(unwanted: list[str]) -> str:
        return snapshot_download(hub_id, local_files_only=True, allow_patterns=[*WANTED], ignore_patterns=unwanted)

    try:
        folder = find([*UNWANTED, *COPIES])
        present = {file.name: 0 for file in Path(folder).iterdir()}
        if not _has_weights(_chosen(present, [*UNWANTED, *COPIES])):
            folder = find([*UNWANTED])
    except (LocalEntryNotFoundError, OSError) as error:
        raise _Refused("offline", str(error)) from error
    return {"folder": folder, "revision": Path(folder).name, "licence": ""}


def _download(hub_id: str, *, look: bool) -> dict[str, object]:
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )
    from huggingface_hub.file_download import repo_folder_name

    try:
        info = HfApi().model_info(hub_id, files_metadata=True)
        every = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        unwanted = [*UNWANTED, *COPIES]
        sizes = _chosen(every, unwanted)
        if not _has_weights(sizes):
            unwanted = [*UNWANTED]
            sizes = _chosen(every, unwanted)
        if not _has_weights(sizes):
            raise _Refused("weights", "no safetensors")
        if look:
            counted = getattr(info, "safetensors", None)
            weights = sum(size for name, size in sizes.items() if name.endswith(".safetensors"))
            fields: object = {}
            if 0 < every.get("config.json", 0) <= LARGEST_CONFIG:
                fields = _fields(Path(hf_hub_download(hub_id, "config.json", revision=getattr(info, "sha", None))))
            return {"config": fields, "parameters": getattr(counted, "total", None), "weights": weights}
        blobs = Path(HF_HUB_CACHE) / repo_folder_name(repo_id=hub_id, repo_type="model") / "blobs"
        total = sum(sizes.values())
        _tell(blobs=str(blobs), total=total)
        present = sum(file.stat().st_size for file in blobs.glob("*")) if blobs.exists() else 0
        _require_space(Path(HF_HUB_CACHE), total - present)
        folder = snapshot_download(hub_id, allow_patterns=[*WANTED], ignore_patterns=unwanted, max_workers=4)
    except OfflineModeIsEnabled:
        found = _find_local(hub_id)
        if look:
            return {"config": _fields(Path(str(found["folder"])) / "config.json"), "parameters": None, "weights": 0}
        return found
    except GatedRepoError as error:
        raise _Refused("gated", str(error)) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise _Refused("missing", str(error)) from error
    except LocalEntryNotFoundError as error:
        raise _Refused("network", str(error)) from error
    except HfHubHTTPError as error:
        raise _Refused("gated" if getattr(error.response, "status_code", 0) == 403 else "other", str(error)) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _Refused("disk", "the disk is full") from error
        raise _Refused("network", str(error)) from error
    except Exception as error:
        # The Hub's client changed its HTTP library twice; what is none of the above is the connection.
        if any(word in type(error).__name__ for word in ("Connect", "Timeout", "Proxy", "Network", "Protocol", "Read")):
            raise _Refused("network", str(error)) from error
        raise
    card = getattr(info, "card_data", None)
    licence = str(getattr(card, "license_name", None) or getattr(card, "license", None) or "")
    return {"folder": folder, "revision": Path(folder).name, "licence": licence}


def _chosen(sizes: dict[str, int], unwanted: list[str]) -> dict[str, int]:
    return {
        name: size
        for name, size in sizes.items()
        if any(fnmatch(name, p) for p in WANTED) and not any(fnmatch(name, p) for p in unwanted)
    }


def _has_weights(names: Iterable[str]) -> bool:
    return any(name.endswith(".safetensors") for name in names)


def _require_space(cache: Path, needed: int) -> None:
    place = cache
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise _Refused("disk", f"{needed / 2**20:,.0f} MiB are needed in {cache}, and {free / 2**20:,.0f} MiB are free")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
