"""Finds slots of a command where a value would be code: a shell's script, a program's text, the program itself.

A command is read the way its programs read it: wrappers (``env``, ``timeout``, ``sudo``, ``find -exec``) are taken off,
interpreters' options are parsed one by one, links are followed to the program that they lead to. Behind a script that
stands in the command, values are its arguments and free. Before one, every slot is refused: it would choose what runs.
What a script does with its arguments is its own affair, except where it evaluates them in plain sight.

Runs nothing. A program that is not known here takes its arguments as data; a copy of a shell under another name, and a
script that calls one, are beyond what can be seen.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Literal

from tokmem_desk.templates.interpreters import (
    ALL_CODE,
    KNOWN,
    LANGUAGES,
    MANY,
    POSIX,
    SHELLS,
    WRAPPERS,
    Language,
    Wrapper,
)

Kind = Literal["option", "operand", "program", "setting", "dash", "evaluated"]
"""``option``: the value of an option that takes code; ``operand``: code by its place; ``program``: a program or script;
``setting``: part of an option that may change what runs; ``dash``: may be read as an option, the ``--`` being another
program's; ``evaluated``: an argument that the script itself evaluates."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One element of a command.

    Args:
        element: as written.
        text: up to the first slot, with ``{{`` and ``}}`` as braces.
        slot: whether there is one.
        vanishes: whether it may become no argument, or several.
    """

    element: str
    text: str
    slot: bool = False
    vanishes: bool = False


@dataclass(frozen=True, slots=True)
class CodeSlot:
    """A slot whose value would be code."""

    element: str
    program: str
    kind: Kind

    @property
    def sentence(self) -> str:
        """What is wrong with it."""
        what = f"{self.element!r} would let a value"
        match self.kind:
            case "program":
                return f"{what} choose what {self.program} runs."
            case "setting":
                return f"{what} become an option of {self.program}, which may change what runs."
            case "dash":
                return f"{what} become an option of {self.program}: the -- before it belongs to another program."
            case "evaluated":
                return f"{what} become code: the script for {self.program} evaluates its arguments."
            case _ if self.program in SHELLS:
                return f"{what} become part of a shell's script ({self.program})."
            case _:
                return f"{what} become part of code that {self.program} runs."


_SETTING_VARIABLES = re.compile(
    r"(LD|DYLD|BASH|PYTHON|PERL|RUBY|NODE|GIT|JAVA|LUA|PHP|SSH|ZDOT|R)_?\w*|_JAVA_OPTIONS|PATH|ENV|IFS|PS\d|PROMPT_COMMAND|"
    r"\w*(EDITOR|PAGER|SHELL|BROWSER|VISUAL)|LESSOPEN|LESSCLOSE|GCONV_PATH|TERMINFO|HOME|SHELLOPTS"
)
"""Variables that choose programs or code."""

_SCRIPT_EVALUATES = re.compile(
    r"\b(?:eval|source|xargs)\b|(?:^|\s)\.\s+[\"']?\$"
    r"|(?:^|[;&|({\n]|\b(?:then|do|else|exec|command|env|nohup|sudo|time)\s)\s*[\"']*\$(?:[@*0-9]|\{[@*0-9])"
    r"|\b(?:sh|bash|zsh|dash|ksh|ash|python[0-9.]*|perl|ruby|node)\s+-\w*[ce]"
)
"""Plain signs that a shell's script takes its arguments for code, or for a program."""

_CODE_EVALUATES = re.compile(
    r"(?<![\w/-])(?:eval|system|popen|passthru|shell_exec|instance_eval|class_eval|Function|execSync)(?![\w/-])|\bexec\s*\("
    r"|shell\s*=\s*True|do shell script"
)
"""The same for other languages. Within a path the words mean nothing."""

_VERSION = re.compile(r"(?<=[a-z])-?\d[\d.]*[a-z]?$")


def code_slot(arguments: Sequence[Argument]) -> CodeSlot | None:
    """The first slot of a command whose value would be code; None where all values are data.

    Args:
        arguments: the program, then its arguments.
    """
    return _command(list(arguments))


def _command(arguments: list[Argument]) -> CodeSlot | None:
    if not arguments or not any(one.slot for one in arguments):
        return None
    head = arguments[0]
    if head.slot:
        return CodeSlot(head.element, "this computer", "program")
    for name in _names(head.text):
        found = _read(name, arguments[1:])
        if found is not None:
            return found
    # Programs that are not known may run what stands among their arguments: docker exec box sh -c {x}.
    for place in range(1, len(arguments)):
        inner = arguments[place]
        if inner.slot:
            continue
        for name in _own_names(inner.text):
            found = _read(name, arguments[place + 1 :])
            if found is not None and found.kind == "option":
                return found
    return None


def _read(name: str, arguments: list[Argument]) -> CodeSlot | None:
    """Read the arguments of one program by its name."""
    if name in POSIX:
        return _shell(name, arguments)
    if name == "env":
        return _env(arguments)
    if name == "find":
        return _find(arguments)
    if name in ("ssh", "autossh", "slogin"):
        return _ssh(name, arguments)
    if name == "cmd":
        return _cmd(arguments)
    if name in ("powershell", "pwsh"):
        return _powershell(name, arguments)
    if name in ALL_CODE:
        return next((CodeSlot(one.element, name, "operand") for one in arguments if one.slot), None)
    if name == "deno" and arguments and arguments[0].text == "eval":
        return _interpreter(name, replace(LANGUAGES[name], first="code"), arguments[1:])
    if name in LANGUAGES:
        return _interpreter(name, LANGUAGES[name], arguments)
    if name in WRAPPERS:
        return _wrapper(name, WRAPPERS[name], arguments)
    return None


def _shell(name: str, arguments: list[Argument]) -> CodeSlot | None:
    """``sh [options] [-c SCRIPT | FILE] [arguments]``."""
    script, place, open_ = False, 0, True
    while place < len(arguments):
        one = arguments[place]
        place += 1
        if one.slot:
            if open_ and one.text[:1] in ("-", "+") and not script:
                return CodeSlot(one.element, name, "option" if "c" in one.text else "setting")
            return CodeSlot(one.element, name, "option" if script else "program")
        if open_ and one.text in ("--", "-"):
            open_ = False
        elif open_ and one.text.startswith("--"):
            place += one.text in ("--rcfile", "--init-file", "--emulate")
            script = script or one.text.startswith("--com")
        elif open_ and one.text[:1] in ("-", "+") and len(one.text) > 1:
            script = script or (one.text[0] == "-" and "c" in one.text)
            taken = one.text.lower().count("o") if name not in ("csh", "tcsh") else 0
            if slot := next((value for value in arguments[place : place + taken] if value.slot), None):
                return CodeSlot(slot.element, name, "setting")
            place += taken
        else:
            return _evaluated(name, one.text, arguments[place:]) if script else None
    return None


def _interpreter(name: str, language: Language, arguments: list[Argument]) -> CodeSlot | None:
    """Options, then a script or code or data, then its arguments."""
    given, reads, operands, code, place = language.first == "data", False, 0, "", 0
    while place < len(arguments):
        one = arguments[place]
        place += 1
        if one.text == "--" and not one.slot:
            rest = arguments[place:]
            if not given and rest and rest[0].slot:
                return CodeSlot(rest[0].element, name, "operand" if language.first == "code" else "program")
            return _operands(name, language, code, rest, operands, reads=reads)
        if language.plus and one.slot and one.text.startswith("+"):
            return CodeSlot(one.element, name, "option")
        if not (one.text.startswith("-") and len(one.text) > 1):
            if one.slot and not given:
                return CodeSlot(one.element, name, "operand" if language.first == "code" else "program")
            if one.slot and (reads or (language.later == "code" and operands)):
                return CodeSlot(one.element, name, "operand")
            if one.slot and (found := _evaluated(name, code, [one])):
                return found
            if language.first == "code" and language.data and not given and _CODE_EVALUATES.search(one.text):
                # awk: the variables before the program are values too
                return _evaluated(name, one.text, arguments)
            if not given and place > 1 and arguments[place - 2].text.startswith("--"):
                # A long option that is not known may have taken this for its value; the script would be further on.
                found = _interpreter(name, language, arguments[place:])
                if found is not None and found.kind == "option":
                    return found
            operands += 1
            given = True
            if not language.permutes and not one.vanishes:
                return _operands(name, language, code, arguments[place:], operands, reads=reads)
            continue
        if one.slot and one.text == "-":
            return CodeSlot(one.element, name, "option")
        # Options: which of its letters or which word takes what.
        for option, value in _options(language, one):
            kept = language.has("data", option)
            takes_code, takes_script = language.has("code", option), language.has("script", option)
            reads = reads or language.has("reads", option)
            if not (takes_code or takes_script or kept or language.has("values", option)):
                continue
            argument: Argument | None = one
            if value is None:
                argument = arguments[place] if place < len(arguments) else None
                value = "" if argument is None else argument.text
                place += 1
            if argument is not None and argument.slot and not (kept and (argument is one or not argument.vanishes)):
                kind: Kind = "option" if takes_code else "program" if takes_script else "setting"
                return CodeSlot(argument.element, name, kind)
            if takes_code or takes_script:
                given, code = True, code + "\n" + (value if takes_code else "")
            if language.has("final", option):
                return _operands(name, language, code, arguments[place:], operands, reads=False)
            break
        else:
            if one.slot:
                return CodeSlot(one.element, name, "setting")
    return None


def _options(language: Language | Wrapper, one: Argument) -> list[tuple[str, str | None]]:
    """The options in one argument, each with the value that stands in it too."""
    word = one.text.lstrip("-")
    dashes = len(one.text) - len(word)
    single = isinstance(language, Language) and language.single
    if dashes > 1 or single:
        name, equals, value = word.partition("=")
        long = name if len(name) > 1 else f"{name}"
        return [(long, value if equals or one.slot else None)]
    found: list[tuple[str, str | None]] = []
    apart = isinstance(language, Language) and language.apart
    takes = ("code", "values", "script", "data") if isinstance(language, Language) else ("code", "values")
    for place, letter in enumerate(word):
        if letter.isdigit():
            continue
        if language.has("attached", letter):
            found.append((letter, word[place + 1 :]))
            break
        if any(language.has(field, letter) for field in takes):
            rest = word[place + 1 :]
            found.append((letter, rest if (rest or one.slot) and not apart else None))
            if not apart:
                break
        else:
            found.append((letter, None))
    # One value belongs to all letters that stand together: node -pe CODE.
    return found


def _operands(
    name: str, language: Language, code: str, rest: list[Argument], before: int, *, reads: bool
) -> CodeSlot | None:
    """Arguments that no option can stand among."""
    for place, one in enumerate(rest):
        if one.slot and (reads or (language.later == "code" and place + before > 0)):
            return CodeSlot(one.element, name, "operand")
    return _evaluated(name, code, rest)


def _evaluated(name: str, script: str, rest: list[Argument]) -> CodeSlot | None:
    slot = next((one for one in rest if one.slot), None)
    if slot is None:
        return None
    signs = _SCRIPT_EVALUATES if name in SHELLS else _CODE_EVALUATES
    # perl opens what it is given where it reads "the files that were named": "ls |" would run.
    reads = name == "perl" and re.search(r"<(?:ARGV)?>", script)
    return CodeSlot(slot.element, name, "evaluated") if reads or signs.search(script) else None


def _wrapper(name: str, wrapper: Wrapper, arguments: list[Argument]) -> CodeSlot | None:
    """Options, operands of its own, then a command."""
    place, operands, closed = 0, wrapper.operands, False
    while place < len(arguments):
        one = arguments[place]
        place += 1
        if one.text == "--" and not one.slot and not closed:
            closed = True
        elif one.text.startswith("-") and len(one.text) > 1 and not closed:
            for option, value in _options(wrapper, one):
                code = wrapper.has("code", option)
                if not (code or wrapper.has("values", option)):
                    if one.slot and not (one.text.startswith("--") and "=" in one.text):
                        return CodeSlot(one.element, name, "setting")
                    continue
                argument: Argument | None = one
                if value is None:
                    argument = arguments[place] if place < len(arguments) else None
                    place += 1
                if argument is not None and argument.slot:
                    if code:
                        return CodeSlot(argument.element, name, "option")
                    if argument.vanishes and argument is not one:
                        return CodeSlot(argument.element, name, "setting")
                break
            else:
                if one.slot and not one.text.startswith("--"):
                    return CodeSlot(one.element, name, "setting")
        elif one.slot and one.text == "-" and not closed:
            return CodeSlot(one.element, name, "setting")
        elif wrapper.assigns and (variable := _variable(one.text)):
            if one.slot and _SETTING_VARIABLES.fullmatch(variable):
                return CodeSlot(one.element, name, "setting")
        elif operands and not (one.slot and one.vanishes):
            operands -= 1
        elif one.slot:
            return CodeSlot(one.element, name, "program")
        else:
            return _inner(arguments[place - 1 :], closed=closed)
    return None


def _inner(arguments: list[Argument], *, closed: bool) -> CodeSlot | None:
    """The command that a wrapper runs."""
    found = _command(arguments)
    if found is None and closed:
        for one in arguments:
            if one.text == "--" and not one.slot:
                break
            if one.slot and not one.text:
                return CodeSlot(one.element, arguments[0].text, "dash")
    return found


def _env(arguments: list[Argument]) -> CodeSlot | None:
    """``env [-i] [-u NAME] [-C DIR] [-S STRING] [NAME=value ...] command``."""
    place, closed = 0, False
    while place < len(arguments):
        one = arguments[place]
        place += 1
        option = not closed and one.text.startswith("-")
        if option and one.text == "--" and not one.slot:
            closed = True
        elif option:
            letters = "" if one.text.startswith("--") else one.text[1:]
            word, _, value = one.text[2:].partition("=")
            long = one.text.startswith("--") and word != ""
            if "S" in letters or (long and "split-string".startswith(word)):
                apart = letters.endswith("S") or (long and "=" not in one.text)
                source = one
                if apart and not one.slot:
                    if place >= len(arguments):
                        return None
                    source, place = arguments[place], place + 1
                if source.slot:
                    return CodeSlot(source.element, "env", "option")
                text = source.text if apart else value if long else letters.partition("S")[2]
                return _env([*(Argument(part, part) for part in _split(text)), *arguments[place:]])
            if one.slot:
                return CodeSlot(one.element, "env", "setting")
            if letters[-1:] in ("u", "C") or (long and "=" not in one.text and word in ("unset", "chdir")):
                if place < len(arguments) and arguments[place].slot:
                    return CodeSlot(arguments[place].element, "env", "setting")
                place += 1
        elif variable := _variable(one.text):
            if one.slot and _SETTING_VARIABLES.fullmatch(variable):
                return CodeSlot(one.element, "env", "setting")
        elif one.slot:
            return CodeSlot(one.element, "env", "program")
        else:
            return _inner(arguments[place - 1 :], closed=closed)
    return None


def _find(arguments: list[Argument]) -> CodeSlot | None:
    """Paths and tests are data; what stands behind ``-exec`` is a command."""
    place, closed = 0, False
    while place < len(arguments):
        one = arguments[place]
        place += 1
        if one.slot:
            if one.text.startswith("-") or (closed and not one.text):
                return CodeSlot(one.element, "find", "setting")
        elif one.text == "--":
            closed = True
        elif one.text in ("-exec", "-execdir", "-ok", "-okdir"):
            end = next((at for at in range(place, len(arguments)) if arguments[at].text in (";", "+")), len(arguments))
            found = _command(arguments[place:end])
            if found is not None:
                return found
            place = end + 1
    return None


def _ssh(name: str, arguments: list[Argument]) -> CodeSlot | None:
    """Behind the host, everything is put together and read by a shell over there."""
    place, host = 0, False
    while place < len(arguments):
        one = arguments[place]
        place += 1
        if host and one.slot:
            return CodeSlot(one.element, name, "operand")
        if one.text.startswith("-") and not host:
            if one.slot:
                return CodeSlot(one.element, name, "setting")
            if one.text[-1] in "BbcDEeFIiJLlmOopQRSWw" and len(one.text) == 2:
                if place < len(arguments) and arguments[place].slot:
                    return CodeSlot(arguments[place].element, name, "setting")
                place += 1
        elif not host:
            if one.slot and (one.vanishes or (not one.text and any(a.text == "--" for a in arguments[: place - 1]))):
                return CodeSlot(one.element, name, "setting")
            host = True
    return None


def _cmd(arguments: list[Argument]) -> CodeSlot | None:
    """Behind ``/c``, ``/k`` or ``/r`` everything is one script; before it nothing may be a slot either."""
    script = False
    for one in arguments:
        if one.slot:
            return CodeSlot(one.element, "cmd", "option" if script else "operand")
        script = script or re.match(r"/[a-z/]*[ckr]", one.text, re.IGNORECASE) is not None
    return None


def _powershell(name: str, arguments: list[Argument]) -> CodeSlot | None:
    """Behind ``-Command`` everything is one script, behind ``-File NAME`` everything is data."""
    script = False
    for place, one in enumerate(arguments):
        if one.slot:
            return CodeSlot(one.element, name, "option" if script else "operand")
        word = one.text.lstrip("-/\u2013\u2014\u2015").lower()
        script = script or (word != one.text.lower() and word[:1] in ("c", "e"))
        if word != one.text.lower() and word and "file".startswith(word):
            file = arguments[place + 1] if place + 1 < len(arguments) else None
            return CodeSlot(file.element, name, "program") if file is not None and file.slot else None
    return None


def _variable(text: str) -> str:
    """The name in ``NAME=…``, or nothing."""
    found = re.match(r"([A-Za-z_]\w*)=", text)
    return "" if found is None else found.group(1)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _names(program: str) -> list[str]:
    """What a program is known as: by its own name, and by that of the file that it leads to."""
    names = _own_names(program)
    found = shutil.which(program)
    if found is not None:
        led = _own_names(os.path.realpath(found))
        names += [name for name in led if name not in names and name not in MANY]
    return names


def _own_names(program: str) -> list[str]:
    name = PurePath(program.replace("\\", "/")).name.lower()
    name = name.removesuffix(".exe")
    stem = _VERSION.sub("", name)
    known = stem != name and len(stem) > 1 and (stem in LANGUAGES or stem in SHELLS)
    return [name] if name in KNOWN else [stem] if known else []
