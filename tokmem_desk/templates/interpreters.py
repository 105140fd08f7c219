"""How interpreters and wrappers read their arguments, as far as it matters for what is code among them: tables only.

``tokmem_desk.templates.code_slots`` reads commands by them. Fields are written as in ``":ce eval print"``: letters of
short options behind a colon, long options as words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True, slots=True)
class Language:
    """How an interpreter reads its arguments. Letters are short options, words are long ones.

    Args:
        code: their value is code.
        values: their value stands behind them or in the next argument; it is no place for a slot.
        attached: what follows in the same argument is their value.
        script: their value is a file of code.
        data: their value may come from a slot.
        final: behind their value all else is data.
        first: what the first operand is, unless code was given.
        later: what the operands behind it are.
        reads: with one of these, operands may be commands (perl opens ``"ls |"``).
        apart: values never stand in the same argument as their letter.
        single: long options have a single dash.
        permutes: options may stand behind operands.
        plus: ``+text`` is code.
    """

    code: str = ""
    values: str = ""
    attached: str = ""
    script: str = ""
    data: str = ""
    final: str = ""
    first: Literal["file", "code", "data"] = "file"
    later: Literal["data", "code"] = "data"
    reads: str = ""
    apart: bool = False
    single: bool = False
    permutes: bool = False
    plus: bool = False

    def has(self, field: str, name: str) -> bool:
        """Whether ``name``, a letter or a long option that may be cut short, is one of a field's."""
        words = str(getattr(self, field)).split()
        if len(name) == 1:
            return name in words or any(name in word[1:] for word in words if word.startswith(":"))
        return name != "" and any(word.startswith(name) for word in words if not word.startswith(":"))


@dataclass(frozen=True, slots=True)
class Wrapper:
    """How a program reads its arguments that runs the command among them.

    Args:
        values: options with a value, written as for ``Language``.
        code: options whose value is a shell's script.
        attached: letters that take the rest of their argument.
        operands: how many stand before the command.
        assigns: whether ``NAME=value`` may stand there too.
    """

    values: str = ""
    code: str = ""
    attached: str = ""
    operands: int = 0
    assigns: bool = False

    def has(self, field: str, name: str) -> bool:
        """As for ``Language``."""
        return Language(values=self.values, code=self.code, attached=self.attached).has(field, name)


SHELLS = _words(
    "sh bash dash ash zsh ksh ksh93 mksh pdksh rbash rzsh rksh lksh oksh yash posh osh ysh hush bosh csh tcsh "
    "fish nu elvish xonsh cmd powershell pwsh"
)
POSIX = SHELLS - {"fish", "nu", "elvish", "xonsh", "cmd", "powershell", "pwsh"}

# Fields hold ":letters" and long words.
_PYTHON = Language(code=":c", script=":m", values=":WXQ check-hash-based-pycs", final=":cm")
_AWK = Language(
    code=":e source", script=":fEil file exec include load", data=":vF assign field-separator", first="code"
)
_VIM = Language(
    code=":c cmd", script=":Su", values=":TtqwWi", first="data", permutes=True, plus=True
)  # its operands are files to edit
_SQL = Language(code=":e execute init-command", values=":hPuDSp", first="data", permutes=True)
LANGUAGES: dict[str, Language] = {
    **dict.fromkeys(("python", "pypy", "py", "pythonw", "ipython", "jython", "micropython"), _PYTHON),
    "perl": Language(code=":eE", values=":I", attached=":iFMmxDVdCT", reads=":np"),
    "ruby": Language(code=":e", values=":rICE", attached=":iFxWTKS", reads=":np"),
    **dict.fromkeys(("lua", "luajit", "luau", "texlua"), Language(code=":e", values=":l")),
    **dict.fromkeys(
        ("node", "nodejs", "bun", "electron"),
        Language(
            code=":ep eval print",
            values=":rC require import loader experimental-loader conditions input-type title",
            apart=True,
        ),
    ),
    "deno": Language(code="eval"),
    **dict.fromkeys(
        ("php", "php-cgi"),
        Language(
            code=":rBRE run process-begin process-code process-end",
            script=":fF file process-file",
            values=":dczStg define php-ini",
        ),
    ),
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk", "original-awk", "goawk"), _AWK),
    **dict.fromkeys(
        ("sed", "gsed", "ssed"),
        Language(
            code=":e expression", script=":f file", values=":l line-length", attached=":i", first="code", permutes=True
        ),
    ),
    "osascript": Language(code=":e", values=":ls"),
    "expect": Language(code=":c", script=":fb"),
    **dict.fromkeys(("tclsh", "wish", "jimsh", "wscript", "cscript", "runghc", "ocaml"), Language(code=":e")),
    **dict.fromkeys(("r", "rscript", "littler"), Language(code=":e", script=":f file")),
    "julia": Language(code=":eE eval print", script=":L load", values=":pJtC project sysimage threads"),
    **dict.fromkeys(("elixir", "iex"), Language(code=":e eval rpc-eval", values=":rS", script="require")),
    "erl": Language(code="eval run s", values="name sname setcookie pa pz", single=True),
    **dict.fromkeys(("groovy", "scala", "kotlin", "ghc", "clojure", "clj", "bb"), Language(code=":e eval")),
    "guile": Language(code=":ce", script=":ls"),
    "racket": Language(code=":e eval", script=":frtul"),
    "sbcl": Language(code="eval", script="load script"),
    **dict.fromkeys(("octave", "octave-cli"), Language(code="eval")),
    "matlab": Language(code="r batch", values="sd logfile", single=True),
    **dict.fromkeys(
        ("emacs", "emacsclient"),
        Language(code=":e eval execute", script=":l load script", first="data", permutes=True),
    ),
    **dict.fromkeys(("vim", "vi", "nvim", "ex", "view", "gvim", "vimdiff", "rvim"), _VIM),
    "gdb": Language(
        code="ex iex eval-command init-eval-command", script="x command ix", first="data", single=True, permutes=True
    ),
    **dict.fromkeys(("mysql", "mariadb"), _SQL),
    "psql": Language(code=":c command", script=":f file", values=":dhpUoRFTPv", first="data", permutes=True),
    "sqlite3": Language(code="cmd init", values="separator nullvalue", first="data", later="code", single=True),
    "git": Language(code=":c config-env exec-path", values=":C git-dir work-tree namespace", first="data", apart=True),
    "tar": Language(
        code=":IF checkpoint-action to-command use-compress-program rsh-command info-script new-volume-script",
        values=":fCTXbgKNVHL file directory files-from exclude exclude-from",
        data=":fCTXbgKNVHL file directory files-from exclude exclude-from",
        first="data",
        permutes=True,
    ),
    "rsync": Language(code=":e rsh rsync-path", first="data", permutes=True),
    "fish": Language(code=":cC command init-command", values=":dofpD debug features profile"),
    "nu": Language(code=":ce commands execute", values=":I config env-config"),
    "elvish": Language(code=":c"),
    "xonsh": Language(code=":c", final=":c", values=":D rc"),
}

WRAPPERS: dict[str, Wrapper] = {
    "nice": Wrapper(":n adjustment"),
    **dict.fromkeys(
        (
            "nohup",
            "setsid",
            "command",
            "builtin",
            "noglob",
            "nocorrect",
            "busybox",
            "toybox",
            "coreutils",
            "unbuffer",
            "catchsegv",
            "torsocks",
            "torify",
            "fakeroot",
            "dbus-run-session",
            "winpty",
            "arch",
            "linux32",
            "linux64",
            "valgrind",
            "uvx",
            "pipx",
        ),
        Wrapper(),
    ),
    "exec": Wrapper(":a"),
    "timeout": Wrapper(":sk signal kill-after", operands=1),
    "gtimeout": Wrapper(":sk signal kill-after", operands=1),
    "xargs": Wrapper(":aEILnPds arg-file delimiter max-args max-procs max-chars process-slot-var", attached=":iel"),
    "sudo": Wrapper(
        ":ABCDghpRrtTUu user group host prompt chdir close-from role type chroot other-user command-timeout",
        assigns=True,
    ),
    "doas": Wrapper(":Cu"),
    "stdbuf": Wrapper(":ioe input output error"),
    "ionice": Wrapper(":cnpPu class classdata"),
    "chrt": Wrapper(":TPD", operands=1),
    "taskset": Wrapper(operands=1),
    "time": Wrapper(":fo format output"),
    "chroot": Wrapper("userspec groups", operands=1),
    "unshare": Wrapper(":SGRw setuid setgid root wd"),
    "nsenter": Wrapper(":tSG target setuid setgid"),
    "flock": Wrapper(":wE timeout wait conflict-exit-code", code=":c command", operands=1),
    "strace": Wrapper(":abeEIoOpPsSuUX output trace user string-limit"),
    "ltrace": Wrapper(":aAeFlnopsuwx output"),
    **dict.fromkeys(("gosu", "su-exec", "setuidgid", "s6-setuidgid"), Wrapper(operands=1)),
    "chpst": Wrapper(":uUebmdopfcrtn/nv"),
    "pkexec": Wrapper("user"),
    **dict.fromkeys(("systemd-run", "run0"), Wrapper(":pEtHMu unit property setenv description slice uid gid host")),
    "xvfb-run": Wrapper(":nesfpw server-num error-file server-args auth-file wait"),
    **dict.fromkeys(("proxychains", "proxychains4"), Wrapper(":f")),
    "caffeinate": Wrapper(":tw"),
    "setarch": Wrapper(operands=1),
    "prlimit": Wrapper(":p pid"),
    "numactl": Wrapper(":NCmipl cpunodebind physcpubind membind"),
    "rlwrap": Wrapper(":abBCDfFgHlmMPqsStwWz"),
    "entr": Wrapper(code=":s"),
    "npx": Wrapper(":p package", code=":c call"),
}

ALL_CODE = _words("eval watch parallel hyperfine tmux su runuser script make gmake mshta rundll32 wsl rsh sg")
"""Whatever stands behind these is handed to a shell, or may be."""

MANY = frozenset({"busybox", "toybox", "coreutils"})
"""One file that is many programs, chosen by the name of the link."""

KNOWN = frozenset((*SHELLS, *ALL_CODE, *LANGUAGES, *WRAPPERS, "env", "find", "ssh", "autossh", "slogin"))
"""Every name that a command is read by."""
