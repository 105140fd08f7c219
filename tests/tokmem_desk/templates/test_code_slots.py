"""Where a value would be code: every spelling of it, and what stays allowed."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from tokmem_desk.errors import BadInputError
from tokmem_desk.templates.command_line import check_template

SCHEMA = {"type": "object", "properties": {"x": {}, "y": {}}}

CODE = """
bash -c {x} | bash -c -- {x} | sh -c -x {x} | sh -xc {x} | sh -cx {x} | bash -lc {x} | bash -eo pipefail -c {x}
bash -o pipefail -c {x} | bash +x -c {x} | bash --norc -c {x} | bash --rcfile /dev/null -c {x} | /bin/bash -c {x}
bash -c {x?} | bash -c {x...} | sh -c 'echo {x}' | sh -{x} | sh -c{x} | bash --rcfile={x} a.sh | bash -o {x} -c ls
sh {x} | sh -- {x} | sh {x?} a.sh | sh -s {x} | ash -c {x} | dash -c {x} | zsh -c {x} | ksh -c {x} | mksh -c {x}
csh -c {x} | tcsh -c {x} | rbash -c {x} | busybox sh -c {x} | busybox ash -c {x} | toybox sh -c {x}
fish --command={x} | fish --command {x} | fish -c {x} | fish -c{x} | fish --comm {x} | fish -C {x} a.fish
fish --init-command={x} a.fish | nu -c {x} | nu --commands {x} | xonsh -c {x} | elvish -c {x} | bash5 -c {x}
env -S {x} | env -S 'bash -c' {x} | env -vS 'bash -c {x}' | env '-Sbash -c' {x} | env --split-string 'sh -c' {x}
env --split-string='sh -c' {x} | env --split-string={x} | env -iS 'A=1 sh -c' {x} | env A=1 bash -c {x} | env {x}
env -i bash -c {x} | env -u A -C /tmp bash -c {x} | env - bash -c {x} | env A=1 {x} ls | env LD_PRELOAD={x} ls
env PATH={x} ls | env BASH_ENV={x} bash a.sh | env PYTHONPATH={x} todo | env -- bash -c {x}
env -S 'env -S "sh -c"' {x} | nice bash -c {x} | nice -n 5 bash -c {x} | nice -5 bash -c {x}
nice --adjustment=5 bash -c {x} | nohup bash -c {x} | timeout 5 bash -c {x} | timeout -s KILL -k 1 5 sh -c {x}
timeout --signal=KILL 5 sh -c {x} | timeout 5 {x} | timeout {x...} ls | timeout {x?} 5 ls | xargs sh -c {x}
xargs -I{{}} sh -c {x} | xargs -n 1 -P 4 sh -c {x} | xargs {x} | sudo bash -c {x} | sudo -u me bash -c {x}
sudo -n -- bash -c {x} | sudo A=1 bash -c {x} | sudo {x} | doas sh -c {x} | setsid bash -c {x}
stdbuf -oL bash -c {x} | stdbuf -o L bash -c {x} | stdbuf --output=L bash -c {x} | command sh -c {x}
ionice -c 3 bash -c {x} | chrt 5 bash -c {x} | taskset 1 bash -c {x} | time -p bash -c {x} | flock f -c {x}
flock f sh -c {x} | chroot / sh -c {x} | unshare -r sh -c {x} | strace -f sh -c {x}
nice nohup env A=1 timeout 5 bash -c {x} | exec sh -c {x} | python -c {x} | python3 -c {x} | python3.11 -Ic {x}
python3.11 -c{x} | pypy3 -c {x} | python -W ignore -c {x} | python -Wignore -c {x} | python -X dev -c {x} | python {x}
python -m {x} | python -- {x} | python -Ic 'eval(1)' {x} | python -c 'import sys; exec(sys.argv[1])' {x}
/usr/bin/python3 -c {x} | python -W {x} a.py | python -{x} | perl -e {x} | perl -E {x} | perl -ne {x} | perl -lne {x}
perl -pie {x} | perl -i.bak -ne {x} | perl -0777ne {x} | perl -e 'print' -e {x} | perl -M{x} a.pl
perl -Mstrict -e {x} | perl {x} | perl -ne 'print' {x} | perl -pe 's/a/b/' -- {x} | perl -e 'while(<>){{}}' {x}
perl -w -e {x} | perl5.36 -e {x} | ruby -e {x} | ruby -rjson -e {x} | ruby -ne {x} | ruby {x} | ruby -r {x} a.rb
ruby -e 'eval ARGV[0]' {x} | node -e {x} | node --eval {x} | node --eval={x} | node -p {x} | node -pe {x}
node --print {x} | node --no-warnings -e {x} | node -r {x} a.js | node {x} | nodejs -e {x} | node18 -e {x}
bun -e {x} | deno eval {x} | deno eval -p {x} | php -r {x} | php -r{x} | php -d a=b -r {x} | php -d {x} a.php
php -f {x} | php -B {x} | php --run {x} | php8.2 -r {x} | lua -e {x} | lua -e{x} | lua5.4 -e {x} | luajit -e {x}
lua -l {x} a.lua | lua {x} | awk {x} | awk '/{x}/' f | gawk -e {x} | gawk --source {x} | gawk --source={x}
awk -f {x} f | awk -F: {x} | mawk -v a=b {x} | awk -v c={x} 'BEGIN {{ system(c) }}' | gawk -i {x} 'BEGIN {{}}'
sed {x} | sed -e {x} | sed -e 's/a/b/e' -e {x} | sed -n {x} | sed 's/a/{x}/' f | sed --expression={x} f | sed -f {x} f
sed -ne {x} f | sed --expr={x} f | sed f 's/a/b/' -e {x} | powershell -Command {x} | powershell -c {x}
powershell -EncodedCommand {x} | powershell -enc {x} | pwsh -NoProfile -Command {x} | pwsh -File {x} | powershell {x}
powershell.exe -Command 'echo' {x} | cmd /c {x} | cmd.exe /C 'echo {x}' | cmd /s /c {x} | cmd /k {x} | cmd /c echo {x}
cmd /cecho {x} | osascript -e {x} | osascript -l JavaScript -e {x} | osascript {x} | find . -exec sh -c {x} ;
find . -name a -execdir bash -c {x} {{}} + | find . -exec {x} ; | find . -ok sh -c {x} ; | find -- {x}
find . -exec env sh -c {x} ; | find . -type f -exec grep a {{}} ; -exec sh -c {x} ; | ssh host {x}
ssh -p 22 host 'echo {x}' | ssh host sh -c {x} | ssh -o {x} host | ssh -o ProxyCommand={x} host | ssh -t host -- {x}
eval {x} | sh -c 'eval "$1"' sh {x} | sh -c '"$@"' sh {x} | sh -c 'exec "$1"' sh {x} | sh -c '$1' sh {x}
sh -c '. "$1"' sh {x} | sh -c 'true; "$1"' sh {x} | bash -c 'bash -c "$1"' sh {x} | sh -c 'true && ${{1}}' sh {x}
watch {x} | watch ls {x} | parallel echo {x} | su me -c {x} | su - me --command={x} | runuser -u me -- sh -c {x}
script -c {x} f | make {x} | make 'CC={x}' | docker exec box sh -c {x} | docker run --rm image env sh -c {x}
kubectl exec pod -- bash -c {x} | git -c {x} log | git -c core.pager={x} log | vim -c {x} f | vim +{x} f
nvim --cmd {x} f | emacs --eval {x} | gdb -ex {x} a | psql -c {x} | psql --command={x} db | mysql -e {x}
sqlite3 db {x} | sqlite3 -cmd {x} db | tar --to-command={x} -xf f | tar -I {x} -xf f
tar --checkpoint-action=exec={x} -cf f g | rsync -e {x} a b | Rscript -e {x} | julia -E {x} | tclsh {x} | npx -c {x}
npx {x} | expect -c {x} | guile -c {x} | groovy -e {x} | elixir -e {x} | erl -eval {x} | matlab -batch {x} | {x}
{x} a | ./{x} | /opt/{x}/tool a | env ./{x} | nice -- {x} | {x...} | {x?} ls | nice -- todo {x}
sudo -- sed s/a/b/ {x} | env -- perl -e 1 {x}
ruby --disable gems -e {x} | bun --preload a.js -e {x} | cmd /q/c {x} | ssh -p22 host {x} | busybox env bash -c {x}
"""

DATA = """
todo {x} | todo add --list={x} -- {y} | /opt/todo {x...} | sh add.sh {x} | bash -e add.sh -c {x}
sh -c 'todo add "$1"' sh {x} | sh -c 'exec todo "$@"' sh {x} {y...} | bash -o pipefail -c 'todo "$1"' x {x}
bash -c -- -x {x} | sh -c 'x=$1; todo "$x"' sh {x} | env A=1 todo {x} | env TEXT={x} todo | env -i TEXT={x} sh add.sh
env -S 'sh add.sh' {x} | nice -n 5 todo {x} | nice todo -- {x} | timeout 5 todo {x} | timeout {y} todo {x}
nohup todo {x} | sudo -u me todo {x} | sudo -- todo -- {x} | sudo TEXT={x} todo | flock f todo {x}
xargs -n 1 todo {x} | stdbuf -oL todo {x} | python add.py {x} | python -m todo {x} | python -I -m todo --a={x}
python -c 'import sys; print(sys.argv)' {x} | python -c 'print("evaluate, source")' -- {x}
python3.11 -Ic 'print()' --a={x} | perl add.pl {x} | perl -e 'print $ARGV[0]' {x} | perl -Mutf8 -e 'print' -- {x}
ruby add.rb {x} | ruby -e 'puts ARGV' {x} | node add.js {x} | node -e 'console.log(process.argv)' {x}
node -pe 'process.argv' {x} | php add.php {x} | php -r 'print 1;' {x} | lua add.lua {x} | awk '{{ print }}' {x}
awk -v text={x} 'BEGIN {{ print text }}' | awk -F{x} 1 f | gawk -f add.awk {x} | sed s/a/b/ {x}
sed -n -e s/a/b/p {x} | sed -i.bak -e s/a/b/ -- {x} | find {x} -name a | find . -name {x}
find . -newer {x} -exec todo {y} {{}} ; | ssh {x} uptime | ssh -p 22 host uptime | pwsh -File add.ps1 {x}
osascript add.scpt {x} | git commit -m {x} | git log --grep={x} | grep -e {x} f | gcc -c {x} | tar -czf {x} d
tar czf {x} d | vim {x} | vim -c 'set nu' -- {x} | note tag python {x} | note add awk {x} | note eval {x}
docker run image {x} | fish add.fish {x} | fish -c 'todo $argv' {x} | busybox echo {x} | npx todo {x} | rsync -a {x} b
psql -d db -f a.sql | sqlite3 {x} .tables | {{x}} a | say -f {x} | notify-send {x} {y?} | bash.sh -c {x}
mybash -c {x}
"""


def templates(text: str) -> list[str]:
    return [one.strip() for row in text.strip().splitlines() for one in row.split(" | ") if one.strip()]


@pytest.mark.parametrize("command", templates(CODE))
def test_a_value_is_never_code(command: str) -> None:
    with pytest.raises(BadInputError) as caught:
        check_template(shlex.split(command), SCHEMA)
    assert "value" in caught.value.message and caught.value.next_step


@pytest.mark.parametrize("command", templates(DATA))
def test_a_value_that_is_data_is_allowed(command: str) -> None:
    check_template(shlex.split(command), SCHEMA)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_followed_to_the_program_that_they_lead_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link, twice = tmp_path / "helper", tmp_path / "other"
    link.symlink_to("/bin/sh")
    twice.symlink_to(link)
    for program in (str(link), str(twice), os.path.relpath(link)):
        with pytest.raises(BadInputError, match="would let a value"):
            check_template([program, "-c", "{x}"], SCHEMA)
        check_template([program, "add.sh", "{x}"], SCHEMA)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInputError, match="would let a value"):
        check_template(["nice", "helper", "-c", "{x}"], SCHEMA)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInputError, match="would let a value"):
        check_template(["./helper", "-c", "{x}"], SCHEMA)
    link.unlink()
    check_template(["./helper", "-c", "{x}"], SCHEMA)


def test_each_refusal_says_what_the_value_would_do() -> None:
    told = {
        "bash -c {x}": "part of a shell's script (bash)",
        "python -c {x}": "part of code that python runs",
        "python {x}": "choose what python runs",
        "env PATH={x} ls": "become an option of env",
        "nice -- todo {x}": "the -- before it belongs to another program",
        "sh -c 'eval \"$1\"' sh {x}": "evaluates its arguments",
    }
    for command, words in told.items():
        with pytest.raises(BadInputError) as caught:
            check_template(shlex.split(command), SCHEMA)
        assert words in caught.value.message, command
