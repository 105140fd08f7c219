"""The same memories behind ``serve``'s own engine and behind vLLM: how many answers are the same, and how many right.

Two servers run before, over one profile (docs/scale.md, "Our API in front of vLLM"):

    tokmem-desk serve --port 8901
    tokmem-desk serve --port 8902 --engine vllm --url URL --banks BANKS
    TOKMEM_TOKEN=… python -m benchmarks.engine_behind --own http://127.0.0.1:8901 --vllm http://127.0.0.1:8902 \\
        --data tokmem_desk/samples --out FILE.json

Asked are the test pairs of each procedure file whose name the profile has a memory of, by that name, one after the
other. Seconds are of the whole answer, over HTTP.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks.options import say
from profiles.files.atomic import write_text


def _sent(url: str, body: dict[str, Any] | None = None) -> Any:
    """What an address answers."""
    headers = {"Authorization": f"Bearer {os.environ['TOKMEM_TOKEN']}"}
    answered = httpx.request("GET" if body is None else "POST", url, json=body, headers=headers, timeout=600)
    return answered.raise_for_status().json()


def _answer(url: str, route: str, message: str) -> tuple[str, float]:
    began = time.perf_counter()
    body = {"model": route, "messages": [{"role": "user", "content": message}]}
    found = _sent(f"{url}/v1/chat/completions", body)
    return str(found["choices"][0]["message"]["content"]), time.perf_counter() - began


def compare(own: str, vllm: str, name: str, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """One procedure's answers, here and there.

    Args:
        own, vllm: URLs of both servers.
        name: of the procedure.
        pairs: messages with the right answers.
    """
    rows = []
    for message, right in pairs:
        (here, seconds_here), (there, seconds_there) = (_answer(url, name, message) for url in (own, vllm))
        rows.append((here, there, right, seconds_here, seconds_there))
    return {
        "procedure": name,
        "pairs": len(rows),
        "same": sum(here == there for here, there, *_ in rows),
        "right_own": sum(here == right for here, _, right, *_ in rows),
        "right_vllm": sum(there == right for _, there, right, *_ in rows),
        "seconds_own": round(statistics.median(row[3] for row in rows), 2),
        "seconds_vllm": round(statistics.median(row[4] for row in rows), 2),
    }


def main() -> int:
    """Compare, and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine_behind", description=__doc__.split("\n")[0])
    parser.add_argument("--own", required=True, metavar="URL")
    parser.add_argument("--vllm", required=True, metavar="URL")
    parser.add_argument("--data", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE")
    given = parser.parse_args()
    known = {one["id"] for one in _sent(f"{given.own}/v1/models")["data"]}
    found: dict[str, Any] = {"benchmark": "engine_behind", "cores": os.cpu_count(), "procedures": []}
    for file in sorted(given.data.glob("*.json")):
        read = json.loads(file.read_text(encoding="utf-8"))
        if read["name"] not in known:
            continue
        pairs = [(pair["input"], pair["response"]) for pair in read["test"]]
        found["procedures"].append(compare(given.own, given.vllm, read["name"], pairs))
        found["load"] = [round(value, 2) for value in os.getloadavg()]
        say(json.dumps(found["procedures"][-1]))
        write_text(given.out, json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
