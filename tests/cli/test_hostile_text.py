"""On a terminal no command prints what the terminal would obey; in a pipe, data stays as it is to the byte."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.banks import bank, bank_bytes, files_of, zipped
from tests.hostile import CONTROLS, HOSTILE, assert_obeyed_nothing, feed, leaves
from tokmem_desk.procedures import ExamplePair, Procedure
from tui.cli.console import Console
from tui.cli.main import main
from tui.kit.visible_text import VisibleStream, guarded, json_escaped

SHOWN = "␛]52;c;eA==␇"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Screen:
    """Runs commands on a terminal in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch

    def __call__(self, *arguments: str) -> str:
        out, err = Terminal(), Terminal()
        self._patch.setattr(sys, "stdout", out)
        self._patch.setattr(sys, "stderr", err)
        main(arguments)
        for stream in (out, err):
            assert_obeyed_nothing(stream.getvalue(), " ".join(arguments)[:60])
        return out.getvalue() + err.getvalue()


@pytest.fixture
def screen(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("TERM", "xterm")
    return Screen(monkeypatch)


@pytest.fixture
def fed(own_home: Path) -> list[str]:
    """A profile with hostile text in everything that it holds."""
    paths = AppPaths.resolve(own_home)
    schema = json.dumps({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]})
    with ProfileRegistry(paths) as registry:
        registry.create("second")
        active = registry.active()
        registry.tokens.create("editor", active.name)
        with registry.open() as store:
            pairs = (ExamplePair("in", '{"text": "a"}', ("also",)), ExamplePair("other", '{"text": "b"}'))
            store.procedures.add(Procedure("todo", pairs, pairs[:1], "words", output_schema=schema), source="file")
            store.procedures.set_group("todo", "things")
            store.commands.set("todo", ["note", "--", "{text}"])
            chat = store.chats.create("a title")
            store.messages.add(chat, "user", "a question")
            store.messages.add(chat, "assistant", "an answer", route="todo", probability=0.9)
            store.corrections.add("a question", "none", "todo")
            store.procedures.remove("todo")
            store.undo.take_back()
    return feed(paths.profile_folder(active.id) / "profile.sqlite") + feed(paths.registry_file)


def test_every_command_that_shows_what_is_stored(screen: Screen, fed: list[str], own_home: Path) -> None:
    assert {"procedures.name", "pairs.input", "messages.content", "conversations.title", "profiles.name"} <= set(fed)
    with ProfileRegistry(AppPaths.resolve(own_home)) as registry, registry.open() as store:
        [name] = [one.name for one in store.procedures.list()]
        profile = registry.active().name
    shown = {
        command: screen(*command)
        for command in (
            ("proc", "list"), ("proc", "show", name), ("proc", "history", name), ("proc", "command", name),
            ("proc", "schema", name), ("proc", "diff", name, "1"), ("proc", "reads", name, "message"),
            ("chats", "list"), ("chats", "show", "1"), ("chats", "export", "1"), ("profile", "list"), ("token", "list"),
            ("config", "show"), ("config", "path"),
            ("proc", "list", "--json"), ("proc", "show", name, "--json"), ("chats", "list", "--json"),
            ("chats", "export", "1", "--json"), ("profile", "list", "--json"),
            ("proc", "show", HOSTILE), ("--profile", HOSTILE, "proc", "list"), (HOSTILE,), ("proc", HOSTILE),
            ("bank", "inspect", f"{HOSTILE}.tokmem"), ("proc", "add", "x", "--pairs", HOSTILE),
            ("config", "set", HOSTILE, "x"),
            ("profile", "delete", profile), ("proc", "undo"),
        )
    }  # fmt: skip
    for command in (("proc", "list"), ("proc", "show", name), ("chats", "list"), ("chats", "export", "1")):
        assert SHOWN in shown[command], command
    told = json.loads(shown["proc", "show", name, "--json"].splitlines()[0])
    assert HOSTILE in told["description"] and told["name"] == name, "JSON is exact on a terminal too"


def test_in_a_pipe_data_is_exact_and_talk_is_not_obeyed(
    fed: list[str], own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chats", "export", "1"]) == 0
    assert HOSTILE in capsys.readouterr().out
    assert main(["proc", "show", HOSTILE]) == 1
    assert_obeyed_nothing(capsys.readouterr().err, "an error")
    assert main(["proc", "list", "--json"]) == 0
    line = capsys.readouterr().out
    assert_obeyed_nothing(line, "JSON")
    assert json_escaped(json.dumps(HOSTILE, ensure_ascii=False))[1:-1] in line


def test_every_field_of_a_manifest_and_a_file_s_name(screen: Screen, tmp_path: Path) -> None:
    files = files_of(bank_bytes(bank(2, with_pairs=True)))
    manifest = json.loads(files["manifest.json"])
    seen = 0
    for place, (where, changed) in enumerate(leaves(manifest, lambda value: f"{value}{HOSTILE}")):
        file = tmp_path / f"{place}\x1b]52;c;eA==\x07\x9b\u202e.tokmem"
        file.write_bytes(zipped({**files, "manifest.json": json.dumps(changed).encode()}))
        shown = screen("bank", "inspect", str(file))
        assert shown.strip(), where
        seen += SHOWN in shown
        screen("bank", "inspect", str(file), "--json")
    assert seen > 3


def test_whatever_else_prints_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    guard = guarded(sys.stderr)
    monkeypatch.setattr(sys, "stderr", guard)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    print(HOSTILE, file=sys.stderr)
    console = Console(out=out, environ={"TERM": "xterm"})
    console.progress(f"loading {HOSTILE}", done=True)
    console.error(HOSTILE)
    console.data(f"a\tb\n{CONTROLS}")
    monkeypatch.setattr("builtins.input", lambda: "y")
    monkeypatch.setattr("getpass.getpass", lambda question: print(question, file=sys.stderr) or "")
    assert console.ask(HOSTILE) and console.choose(HOSTILE, "y") == "y"
    console.ask_secret(HOSTILE)
    assert_obeyed_nothing(err.getvalue(), "stderr")
    assert_obeyed_nothing(out.getvalue(), "stdout")
    assert "ValueError: " + SHOWN in err.getvalue() and err.getvalue().count(SHOWN) == 7
    assert "\x1b[31m" in err.getvalue(), "our own colours stay"
    assert guarded(guard) is guard and isinstance(guard, VisibleStream)
    pipe = io.StringIO()
    assert guarded(pipe) is pipe
