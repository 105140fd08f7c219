"""``profile lock``, ``unlock`` and ``passphrase``: encrypt a profile, decrypt it, change what opens it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from profiles.registry.registry import ProfileRegistry
from tokmem_desk.errors import LockedError, TokmemError
from tui.cli.changed import changed
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Actions
from tui.cli.passphrase import new_passphrase, profile_key, recovered_key
from tui.process.passphrase_variables import NEW_PASSPHRASE_VARIABLE, PASSPHRASE_VARIABLE

_KEEP = "Write the recovery key down and keep it where the passphrase is not. It is shown this once and kept nowhere."


def add_lock_actions(actions: Actions) -> None:
    """What can be typed behind ``profile`` about its lock."""
    for name, function, help_text in (
        ("lock", lock, "encrypt a profile with a passphrase; prints its recovery key, once"),
        ("unlock", unlock, "decrypt a profile and take its passphrase away"),
        ("passphrase", passphrase, "change the passphrase of a locked profile, or its recovery key"),
    ):
        action = actions.add(name, function, help_text)
        action.add_argument("name", metavar="NAME", nargs="?", help="default: the profile in use")
    # Of the last one, ``passphrase``.
    action.add_argument("--recovery", action="store_true", help="ask for the recovery key instead of the passphrase")
    action.add_argument("--recovery-file", metavar="FILE", type=Path, help="read the recovery key from its first line")
    action.add_argument(
        "--new-passphrase-file", metavar="FILE", type=Path, help="read the new one there (or TOKMEM_NEW_PASSPHRASE)"
    )
    action.add_argument(
        "--new-recovery-key", action="store_true", help="replace the recovery key and keep the passphrase"
    )


def lock(context: Context, options: argparse.Namespace) -> int:
    """Encrypt a profile with a passphrase."""
    name = _name(context, options)
    if context.profile.locked:
        raise TokmemError(
            f"The profile {name!r} is locked already.",
            next_step=f"To change its passphrase: tokmem-desk profile passphrase {name}",
        )
    passphrase = new_passphrase(context.console, name, options.passphrase_file, PASSPHRASE_VARIABLE)
    with ProfileRegistry(context.paths) as registry:
        registry.locks.add(
            name,
            passphrase,
            lambda done: _progress(context, "Encrypting", done),
            show=lambda recovery: _show_recovery(
                context, "profile lock", name, recovery, f"The profile {name} is encrypted now."
            ),
        )
        if registry.locks.not_erased is not None:
            raise registry.locks.not_erased
    return ExitCode.OK


def unlock(context: Context, options: argparse.Namespace) -> int:
    """Decrypt a profile for good."""
    name = _name(context, options)
    _refuse_unlocked(context, name)
    question = f"Take the lock off the profile {name!r}? Its data will lie readable on this disk."
    if not options.yes:
        if not context.console.can_ask:
            raise TokmemError(
                f"Decrypting {name!r} leaves its data readable on this disk.", next_step="Add --yes to do it."
            )
        if not context.console.ask(question):
            raise TokmemError("Nothing was changed.")
    key = profile_key(context.paths, context.console, name, options.passphrase_file)
    with ProfileRegistry(context.paths) as registry:
        registry.locks.remove(name, key, lambda done: _progress(context, "Decrypting", done))
        not_erased = registry.locks.not_erased
    context.console.end_progress()
    code = changed(context, "profile unlock", [name], f"The profile {name} has no lock any more.")
    if not_erased is not None:
        raise not_erased
    return code


def passphrase(context: Context, options: argparse.Namespace) -> int:
    """Change the passphrase, or make a new recovery key."""
    name = _name(context, options)
    _refuse_unlocked(context, name)
    by_recovery = options.recovery or options.recovery_file is not None
    if by_recovery:
        key = recovered_key(context.paths, context.console, name, options.recovery_file)
    else:
        key = profile_key(context.paths, context.console, name, options.passphrase_file)
    if options.new_recovery_key:
        with ProfileRegistry(context.paths) as registry:
            recovery = registry.locks.change_passphrase(name, key, new_recovery=True)
        assert recovery is not None
        _show_recovery(context, "profile passphrase", name, recovery, "The old recovery key opens nothing now.")
        return ExitCode.OK
    chosen = new_passphrase(context.console, name, options.new_passphrase_file, NEW_PASSPHRASE_VARIABLE)
    with ProfileRegistry(context.paths) as registry:
        registry.locks.change_passphrase(name, key, chosen)
    text = f"The profile {name} has a new passphrase. Its recovery key is the same as before."
    return changed(context, "profile passphrase", [name], text)


def _name(context: Context, options: argparse.Namespace) -> str:
    """The named profile, which is from now on the one in use; or the one in use."""
    if options.name is not None:
        options.profile = options.name
    return context.profile.name


def _refuse_unlocked(context: Context, name: str) -> None:
    if not context.profile.locked:
        raise LockedError(
            f"The profile {name!r} is not locked.", next_step=f"To lock it: tokmem-desk profile lock {name}"
        )


def _progress(context: Context, what: str, done: float) -> None:
    context.console.progress(f"{what}: {done:.0%}")


def _show_recovery(context: Context, action: str, name: str, recovery: str, text: str) -> None:
    """Show it at once: the output may be a pipe, whose reader waits for it."""
    context.console.end_progress()
    context.console.say(text)
    context.console.say(_KEEP)
    context.console.result({"action": action, "names": [name], "recovery_key": recovery}, recovery)
    sys.stdout.flush()
