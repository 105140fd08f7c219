"""``serve``: the memories for other programs of this computer, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from profiles.files.atomic import storage_error
from profiles.files.paths import private_folder
from profiles.registry.registry import ProfileRegistry
from tokmem_desk.errors import BusyError, TokmemError, UsageError
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Parser, port_option
from tui.process.log_redaction import QuietFormatter

if TYPE_CHECKING:
    from tui.serve.vllm_server import VllmServer

HOST = "127.0.0.1"
"""No option changes this: whoever reaches the port may try tokens, so only this computer does."""

KEY_VARIABLE = "TOKMEM_VLLM_KEY"
"""What the vLLM server was started with as --api-key."""

FIRST_TOKEN = "first"  # noqa: S105 - its name
STOP_SECONDS = 3
"""How long answers that are being sent may take to end after Ctrl-C."""

HEAD_LIMIT = 64 * 1024
"""Bytes of a request's head."""


def arguments(parser: Parser) -> None:
    """What can be typed behind ``serve``."""
    port_option(parser, 8642)
    parser.add_argument(
        "--engine",
        choices=("own", "vllm"),
        default="own",
        help="what generates answers: this program's own engine (default), or a vLLM server with our connector",
    )
    parser.add_argument("--url", metavar="URL", help="with --engine vllm: where it listens, as http://127.0.0.1:8000")
    parser.add_argument(
        "--banks",
        metavar="FOLDER",
        help="with --engine vllm: where it finds memories, a folder or URL; those that answer are put there",
    )


def run(context: Context, options: argparse.Namespace) -> int:
    """Load the model and answer requests.

    Raises:
        UsageError: options that do not go together.
        VllmError: the vLLM server is not there, or is not what it has to be.
    """
    console = context.console
    _check(options)
    with listen(options.port) as listener:
        backbone = context.engine.load()
        link = context.engine.link
        link.may_fetch = False  # what was agreed to was fetched just now; a client cannot agree
        server = None
        if options.engine == "vllm":
            from tui.serve.vllm_link import VllmLink
            from tui.serve.vllm_server import VllmServer

            # A relative folder is one of here; the engine's process has another.
            banks = options.banks if "://" in options.banks else str(Path(options.banks).expanduser().absolute())
            server = VllmServer(options.url, backbone["fingerprint"], os.environ.get(KEY_VARIABLE, ""))
            link = VllmLink(link, server, banks)
            context.engine.run(_checked(server))
            console.say(f"Answers come from vLLM at {server.url}; memories that answer are put in {banks}")
        token = _first_token(context)
        address = f"http://{HOST}:{listener.getsockname()[1]}/v1"
        console.say(f"{backbone['id']} answers at {address}  (Ctrl-C ends)")
        if token is not None:
            console.say(f"A token for the profile {context.profile.name}, shown this once:")
        elif not console.json_output:
            console.say("Tokens: tokmem-desk token list")
        facts = {"url": address, "backbone": backbone["id"], "profile": context.profile.name, "token": token}
        console.result(facts, token or "")

        # Imported this late: a web server is of no use to the other commands.
        import uvicorn

        from tui.serve.app import ApiServer
        from tui.serve.connections import BoundedConnection

        log_to(context.paths.logs / "serve.log", "uvicorn", "tui.serve", "asyncio")
        keys = {} if context.key is None else {context.profile.name: context.key}
        config = uvicorn.Config(
            ApiServer(context.paths, link, backbone, keys).app(),
            http=BoundedConnection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_SECONDS,
            h11_max_incomplete_event_size=HEAD_LIMIT,
        )
        context.engine.run(_serve(uvicorn.Server(config), listener, server))
    return ExitCode.OK


def _check(options: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    of_vllm = {"--url": options.url, "--banks": options.banks}
    for name, value in of_vllm.items():
        if options.engine == "vllm" and not value:
            raise UsageError(f"--engine vllm needs {name}.", next_step="See docs/scale.md.")
        if options.engine != "vllm" and value is not None:
            raise UsageError(f"{name} is for another engine.", next_step="Add --engine vllm.")


async def _checked(server: VllmServer) -> None:
    """See that a vLLM server is what it has to be. Its connections belong to this loop, so none is kept."""
    try:
        await server.check()
    finally:
        await server.close()


async def _serve(server: object, listener: socket.socket, vllm: VllmServer | None) -> None:
    import uvicorn

    assert isinstance(server, uvicorn.Server)
    try:
        await server.serve(sockets=[listener])
    except asyncio.CancelledError:
        # Ctrl-C: the server has closed its connections, and raises the signal again for us.
        raise KeyboardInterrupt from None
    finally:
        if vllm is not None:
            await vllm.close()


def listen(port: int) -> socket.socket:
    """A socket on this computer's own address.

    Raises:
        BusyError: another program has the port.
        TokmemError: the system refuses it.
    """
    # Only where the protocol is named does asyncio send small pieces at once. Otherwise the end of each answer waits
    # for the client's word that it has the beginning: a twenty-fifth of a second.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name != "nt":  # there it would let two programs share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as caught:
        listener.close()
        if caught.errno == errno.EADDRINUSE:
            raise BusyError(
                f"Port {port} is in use by another program.", next_step="Choose another: --port N, or 0 for any."
            ) from caught
        raise TokmemError(
            f"The port {port} cannot be used: {caught.strerror or caught}.", next_step="Choose another: --port N."
        ) from caught
    return listener


def _first_token(context: Context) -> str | None:
    """A token for the profile in use when there is none for anybody."""
    with ProfileRegistry(context.paths) as registry:
        if registry.tokens.exist():
            return None
        return registry.tokens.create(FIRST_TOKEN, context.profile.name, key=context.key)


def log_to(file: Path, *names: str) -> None:
    """Send what a server has to say to a private file instead of the terminal.

    Args:
        file: made with its folder.
        names: of the loggers.

    Raises:
        StorageError: the file could not be opened.
    """
    private_folder(file.parent)
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        handler = logging.FileHandler(file, encoding="utf-8")
    except OSError as caught:
        raise storage_error(f"The log {file} could not be opened", caught) from caught
    handler.setFormatter(QuietFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    for name in names:
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.WARNING)
