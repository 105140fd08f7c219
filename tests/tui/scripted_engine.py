"""An engine for tests: a real process that speaks the real protocol and answers by simple rules, without a model.

Words in a message make it do something: ``!crash`` ends the process after two words, ``!slow`` answers word after
word until it is cancelled, ``!long`` reads until then, ``!oom`` fails, ``!markdown`` answers with a list and code,
``!doubt`` is unsure of the last value. A procedure answers with the response of its pair that shares most words with
the message; a message that shares fewer than two is ``none``.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from profiles.encryption.file_encryption import ProfileKey
from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.store.checkpoints import checkpoint_file
from profiles.store.store import ProfileStore
from tests import banks
from tokmem_desk.errors import (
    FetchError,
    IncompatibleError,
    InterruptedByUser,
    NotFoundError,
    OfflineError,
    OutOfMemoryError,
    TokmemError,
    UsageError,
)
from tokmem_desk.generation.answer_segment import AnswerValue
from tokmem_desk.models.catalogue import ADAPTED
from tokmem_desk.models.record import write_record
from tokmem_desk.models.store import ModelStore
from tokmem_desk.procedures import NONE_ROUTE
from tokmem_desk.templates.answer_values import ValuePlace, value_places
from tui.engine_client.protocol import encode

FINGERPRINT = banks.FINGERPRINT.digest
TIMING = {"prefill": 0.1, "route": 0.1, "first_token": 0.2, "total": 0.4, "tokens": 7}
UNFIT = "The answer does not fit the procedure's schema: 'hour' is a required property."

MARKDOWN = "A list:\n\n- one\n- **two**\n\n```python\nprint('[/INST]')\n```\n"
BACKBONE = {
    "id": "scripted/Tiny-Instruct",
    "fingerprint": FINGERPRINT,
    "family": "llama",
    "device": "cpu",
    "dtype": "bf16",
    "reason": "no CUDA device was found",
    "parameters": 2_000_000_000,
    "licence": "Apache-2.0",
    "span_default": 8,
    "router": banks.ROUTER_DIGEST,
    "prior": None,
    "identity": banks.FINGERPRINT.as_dict(),
}


class ScriptedEngine:
    """One process's worth of engine."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.cancelled: dict[int, str] = {}
        """How each request that is to end shall end."""
        self.loaded = False
        self.tasks: set[asyncio.Task[None]] = set()
        recording = json.loads(options.recording.read_text("utf-8")) if options.recording else {}
        self.recorded: dict[str, Any] = {one["text"]: one for one in recording.get("answers", ())}
        size = {"parameters": 1_000_000} if options.small else {}
        self.backbone = {**BACKBONE, **size, **recording.get("backbone", {})}

    def emit(self, request: dict[str, Any], event: str, **fields: Any) -> None:
        """Send one event."""
        sys.stdout.buffer.write(encode({"id": request["id"], "event": event, **fields}))
        sys.stdout.buffer.flush()

    async def serve(self) -> None:
        """Read requests until stdin ends."""
        reader = asyncio.StreamReader(limit=2**26)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            request = json.loads(line)
            if request["op"] == "cancel":
                self.cancelled[request["target"]] = request["how"]
                self.emit(request, "done", result={})
                continue
            task = asyncio.create_task(self.answer(request))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def answer(self, request: dict[str, Any]) -> None:
        """Do one request."""
        try:
            if request["op"] not in ("fetch", "status", "measure", "forget"):
                await self.load(request)
            do = getattr(self, f"do_{request['op']}", None)
            if do is None:  # an answer all the same, or the client would wait for ever
                raise UsageError(f"The scripted engine knows no request {request['op']!r}.")
            result = await do(request)
            self.emit(request, "done", result=result)
        except TokmemError as caught:
            self.emit(request, "error", error=caught.as_dict())

    async def load(self, request: dict[str, Any]) -> None:
        """Pretend to load."""
        if self.loaded:
            return
        if self.options.needs_download and not request.get("fetch"):
            raise OfflineError("The model is not on this machine yet; it is 92 MB.", next_step="Allow the download.")
        if self.options.refuse:
            raise IncompatibleError("The folder holds no causal language model.", next_step="Choose another model.")
        for percent in (0, 50, 100):
            self.emit(request, "progress", phase="load", fraction=percent / 100, text="weights")
            await asyncio.sleep(self.options.load_delay / 3)
        self.loaded = True

    async def do_load(self, request: dict[str, Any]) -> dict[str, Any]:
        """The backbone."""
        wanted = ModelStore(AppPaths.resolve(self.options.home).models).resolve(self.options.model)
        if self.options.model.endswith(ADAPTED):  # a backbone of its own, to which no memory belongs yet
            return {**BACKBONE, "id": wanted.id + ADAPTED, "fingerprint": "ada" + FINGERPRINT[3:]}
        return dict(self.backbone) if self.options.model == "default" else {**BACKBONE, "id": wanted.id}

    async def do_fit(self, request: dict[str, Any]) -> dict[str, Any]:
        """The model is known already; with ``--fit-waits`` that takes until it is cancelled."""
        while self.options.fit_waits and request["id"] not in self.cancelled:
            self.emit(request, "progress", phase="calibrate", fraction=0.4, text="texts")
            await asyncio.sleep(0.02)
        return {"id": BACKBONE["id"]}

    async def do_fetch(self, request: dict[str, Any]) -> dict[str, Any]:
        """Pretend to download; the model's folder and its record are real."""
        store = ModelStore(AppPaths.resolve(self.options.home).models)
        source = store.resolve(self.options.model)
        for percent in range(0, 101, 10):
            if request["id"] in self.cancelled:
                raise InterruptedByUser("Stopped while fetching.")
            if self.options.fetch_fails and percent == 50:
                raise FetchError("The package index could not be reached.", next_step="Check the network.")
            self.emit(request, "progress", phase="fetch", fraction=percent / 100, text=f"Fetching {source.id}")
            await asyncio.sleep(self.options.fetch_delay)
            waited = self.options.home / "fetch-has-waited"
            while self.options.fetch_waits_at == percent and request["id"] not in self.cancelled:
                if waited.exists():  # in an earlier run, which was paused
                    break
                await asyncio.sleep(0.02)
            if self.options.fetch_waits_at == percent:
                waited.touch()
        make_model(store, source.id)
        return {"id": source.id}

    async def do_forget(self, request: dict[str, Any]) -> dict[str, Any]:
        """Nothing is remembered of a profile here; that it was asked for is noted for a test."""
        (self.options.home / "forgotten").touch()
        return {}

    async def do_measure(self, request: dict[str, Any]) -> dict[str, Any]:
        numbers = {"flops": 2e11, "unpacked": 1e9, "one_row": 5e9, "bytes_per_second": 2e10, "operation_seconds": 5e-6}
        return {"device": "cpu", "dtype": "bfloat16", **numbers}

    async def do_status(self, request: dict[str, Any]) -> dict[str, Any]:
        """What is loaded."""
        device = {name: BACKBONE[name] for name in ("device", "dtype", "reason")}
        return {"loaded": self.loaded, "backbone": self.backbone, "memory_mb": 100, "jobs": [], **device}

    async def do_ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Route and answer."""
        text, wanted = request["text"], request["route"]
        if text in self.recorded:
            return self.replay(request, self.recorded[text])
        with self.store(request) as store:
            scores = scored(store, text)
            names = [record.name for record in store.procedures.list() if record.enabled]
            plans = store.plans.steps()
            with_schema = {record.name for record in store.procedures.list() if record.output_schema is not None}
        if wanted not in (*names, "auto", NONE_ROUTE):
            raise NotFoundError(f"There is no procedure {wanted!r}.")
        if self.options.problem:
            self.emit(request, "progress", phase="problem", fraction=None, text=self.options.problem)
        best, shared, response = scores[0] if scores else (NONE_ROUTE, 0, "")
        route = wanted if wanted != "auto" else best if shared >= 2 else NONE_ROUTE
        if route not in (best, NONE_ROUTE):
            response = next((answer for name, _, answer in scores if name == route), "")
        if route == NONE_ROUTE:
            told = [turn["content"] for turn in request["conversation"] if turn["role"] == "system"]
            response = f"You said: {text} ({len(request['conversation']) - len(told)} messages before)"
            response += "".join(f", as one who was told: {system}" for system in told)
        response = plans.get(route) or response
        response = held(response, request.get("asked"), text, plain=route == NONE_ROUTE)
        if "!markdown" in text:
            response = MARKDOWN
        if request["sample"]:
            response = f"Once more. {response}"
        rest = [{"route": name, "probability": 0.02} for name in [*names, NONE_ROUTE] if name != route]
        candidates = [{"route": route, "probability": 0.96}, *rest][:4]
        route_fields = {"route": route, "probability": 0.96, "candidates": candidates}
        if "!near" in text and wanted == "auto" and rest:
            route_fields["ambiguous"] = [route, rest[0]["route"]]
        if " && " in text or " >> " in text:
            return await self.answer_parts(request, text, names)
        for read in range(200, 200_000, 200) if "!long" in text else ():
            words = f"reading {read:,} of 200,000 tokens"
            self.emit(request, "progress", phase="read", fraction=read / 200_000, text=words)
            await asyncio.sleep(0.02)
            if request["id"] in self.cancelled:
                raise InterruptedByUser("Stopped while reading.")
        refers = "!refers" in text and request["conversation"] and request.get("references") is not False
        part, filled = referring(text, request["conversation"]) if refers else (text, {})
        self.emit(
            request,
            "route",
            **route_fields,
            forced=wanted != "auto",
            segment=0,
            part=part,
            call=route in with_schema,
            **({"plan": True} if route in plans else {}),
            **filled,
        )
        said, stopped = "", "repeats" if "!circles" in text else "end"
        words = response.split(" ") if "!slow" not in text else [f"word{place}" for place in range(20_000)]
        for place, word in enumerate(words):
            if request["id"] in self.cancelled:
                stopped = "cancelled"
                break
            if place == 2 and "!crash" in text:
                print("RuntimeError: scripted crash", file=sys.stderr, flush=True)
                os._exit(3)
            if place == 2 and "!oom" in text:
                raise OutOfMemoryError("The answer does not fit into memory.", next_step="Close other programs.")
            token = word if not place else f" {word}"
            said += token
            self.emit(request, "token", text=token)
            await asyncio.sleep(0.02 if "!slow" in text else self.options.token_delay)
        segment = {
            "route": route,
            "probability": 0.96,
            "part": part,
            "response": said,
            **filled,
            "arguments": json.loads(said) if route in with_schema and stopped == "end" else None,
            "problem": UNFIT if "!unfit" in text else "",
        }
        sure = sureness(said) if "!doubt" in text and route != NONE_ROUTE and stopped == "end" else {}
        logged = (
            {} if request.get("others") is None or "!copied" in text else {"tokens": tokens(said, request["others"])}
        )
        before = len(request["conversation"])
        context = {
            "tokens": 40 + 30 * before,
            "length": 2048,
            "messages_cut": max(0, before - self.options.context_messages),
        }
        return {
            **route_fields, "response": said, "timing": TIMING, "segments": [segment | sure], "stopped": stopped,
            "span": 0 if route == NONE_ROUTE else BACKBONE["span_default"], "context": context,
            **logged, "prompt_tokens": 11, **({"answer_probability": 0.41} if sure else {}),
        }  # fmt: skip

    async def do_vllm_prompt(self, request: dict[str, Any]) -> dict[str, Any]:
        """What vLLM is to be asked: a number for each letter; ``!here`` is a message that it cannot answer."""
        text, wanted = request["text"], request["route"]
        with self.store(request) as store:
            best, shared, _ = (scored(store, text) or [(NONE_ROUTE, 0, "")])[0]
            plan = store.plans.steps().get(wanted, "")
            schemas = {one.name: one.output_schema for one in store.procedures.list() if one.output_schema is not None}
        while "!slowly routed" in text:
            await asyncio.sleep(0.02)
            if request["id"] in self.cancelled:
                raise InterruptedByUser("Stopped before there was a route.")
        route = wanted if wanted != "auto" else best if shared >= 2 else NONE_ROUTE
        candidates = [{"route": route, "probability": 0.96}]
        routed = {"route": route, "probability": 0.96, "candidates": candidates, "forced": False, "segment": 0,
                  "part": text, "call": route in schemas, "guest": False}  # fmt: skip
        if "!here" in text:
            return {"routed": routed, "here": "several requests"}
        ids = [ord(letter) for letter in text]
        found = {"routed": routed, "here": "", "ids": ids, "span": 0, "limit": request.get("max_tokens") or 99,
                 "stop_ids": [2], "stop_text": None, "length": 2048, "messages_cut": 0}  # fmt: skip
        if plan:
            return {**found, "text": plan}
        if route == NONE_ROUTE:
            drawn = {"draw": {"temperature": 0.7, "top_p": 0.9}} if request["sample"] else {}
            return {**found, "stop_text": "###", **drawn}
        if route in schemas:
            found.update(structured={"grammar": "start: /.*/"}, schema=schemas[route])
        params = {"tokmem": {"person": "p", "message": "m", "memory": route, "rows": 1}}
        steered = {"embeds": "AAAA", "salt": f"salt of {route}", "params": params}
        return {**found, "span": 8, "reading": {"tokmem": {"person": "p", "read": "m"}}, "steered": steered}

    def replay(self, request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        """What the real engine has answered once."""
        routed = {name: answer[name] for name in ("route", "probability", "candidates")}
        self.emit(request, "route", **routed, forced=False, segment=0, part=answer["text"])
        self.emit(request, "token", text=answer["response"])
        return answer

    async def answer_parts(self, request: dict[str, Any], text: str, names: list[str]) -> dict[str, Any]:
        """One segment for each part of a message between ``&&``, to the procedures in turn; ``>>`` makes a chain."""
        segments: list[dict[str, Any]] = []
        for place, part in enumerate(re.split(" && | >> ", text)):
            follows = {"follows": segments[-1]["route"]} if place and ">>" in text else {}
            route = names[place % len(names)] if names else NONE_ROUTE
            candidates = [{"route": route, "probability": 0.9}]
            if place:
                self.emit(request, "token", text="\n")
            self.emit(
                request, "route", route=route, probability=0.9, candidates=candidates, forced=False, segment=place,
                part=part, **follows,
            )  # fmt: skip
            self.emit(request, "token", text=f"done {part}")
            segments.append(
                {"route": route, "probability": 0.9, "part": part, "response": f"done {part}", "arguments": None}
                | {"problem": ""}
                | follows
            )
        return {
            "route": segments[0]["route"],
            "probability": 0.9,
            "candidates": [{"route": segments[0]["route"], "probability": 0.9}],
            "response": "\n".join(s["response"] for s in segments),
            "timing": TIMING,
            "segments": segments,
            "stopped": "end",
            "span": BACKBONE["span_default"],
            "context": {"tokens": 40, "length": 2048, "messages_cut": 0},
            "prompt_tokens": 11,
        }

    async def do_title(self, request: dict[str, Any]) -> dict[str, Any]:
        """The title that the options name; with ``--title-waits`` not before it is cancelled."""
        while self.options.title_waits and request["id"] not in self.cancelled:
            await asyncio.sleep(0.02)
        return {"title": "" if request["id"] in self.cancelled else self.options.title}

    async def do_tokens(self, request: dict[str, Any]) -> dict[str, Any]:
        """A token is a word; the context has 2,048."""
        return {"counts": [len(text.split()) for text in request["texts"]], "length": 2048}

    async def do_embed(self, request: dict[str, Any]) -> dict[str, Any]:
        """A vector of two numbers for each text."""
        self.store(request).close()
        return {"vectors": [[1.0, len(text) / 128] for text in request["texts"]], "tokens": 3 * len(request["texts"])}

    async def do_route(self, request: dict[str, Any]) -> dict[str, Any]:
        """Route without answering."""
        routes = []
        with self.store(request) as store:
            for text in request["texts"]:
                best, shared, _ = (scored(store, text) or [(NONE_ROUTE, 0, "")])[0]
                route = best if shared >= 2 else NONE_ROUTE
                candidates = [{"route": route, "probability": 0.96}]
                routed: dict[str, Any] = {"route": route, "probability": 0.96, "candidates": candidates}
                routes.append(routed | ({"ambiguous": [route, NONE_ROUTE]} if "!near" in text else {}))
        return {"routes": routes}

    async def do_reach(self, request: dict[str, Any]) -> dict[str, Any]:
        """Messages that begin with the same word go elsewhere."""
        first = request["text"].split()[0]
        return {
            "elsewhere": sum(text.split()[:1] == [first] for text in request["texts"]),
            "of": len(request["texts"]),
        }

    async def do_eval(self, request: dict[str, Any]) -> dict[str, Any]:
        """A plausible measurement, the same every time."""
        with self.store(request) as store:
            names = request["names"] or [memory.procedure for memory in store.memories.all_active(FINGERPRINT)]
            card = scorecard(store, names[0], steps=1)
        scores = {"exact_match": 0.75, "rouge_l": 0.88, "e2e_exact_match": 0.7, "e2e_rouge_l": 0.85, "form_valid": None}
        return {
            **scores, "routing_accuracy": 0.92, "known_recall": 0.9, "none_auroc": 0.97, "false_trigger_rate": 0.05,
            "calibration_error": 0.04, "confusion": card["confusion"], "per_procedure": dict.fromkeys(names, scores),
        }  # fmt: skip

    async def do_train(self, request: dict[str, Any]) -> dict[str, Any]:
        """Pretend to learn; the memories are real rows with files."""
        trained = []
        steps = self.options.steps
        with self.store(request) as store:
            names = request["names"] or store.procedures.to_train(FINGERPRINT)
            for name in names:
                procedure = store.procedures.with_pairs(name)
                probe = (procedure.held_out or procedure.pairs)[0]
                last = 0
                for step in range(self.begin(store, name), steps + 1):
                    if request["id"] in self.cancelled:
                        break
                    if step % 5 == 0:
                        store.files.write(self.checkpoint(store, name), str(step).encode())
                    if self.options.crash_at_step == step:
                        os._exit(3)
                    last = step
                    loss = 3.0 * 0.9**step
                    got = probe.response if step * 2 > steps else probe.response[: len(probe.response) // 2]
                    self.emit(
                        request, "progress", procedure=name, phase="train", step=step, steps=steps, loss=loss,
                        held_out_loss=loss + 0.2, best_held_out_loss=loss + 0.2, eta_s=float(steps - step),
                        sample={"input": probe.input, "expected": probe.response, "got": got},
                        note=self.options.note if step == 2 else None,
                    )  # fmt: skip
                    await asyncio.sleep(self.options.step_delay)
                    while self.options.wait_at_step == step and request["id"] not in self.cancelled:
                        if (self.options.home / "go-on").exists():
                            break
                        await asyncio.sleep(0.02)
                if self.cancelled.get(request["id"]) == "pause":
                    store.files.write(self.checkpoint(store, name), str(last).encode())
                if self.cancelled.get(request["id"], "keep") != "keep":
                    break
                self.checkpoint(store, name).unlink(missing_ok=True)
                if last:
                    cancelled = request["id"] in self.cancelled
                    if not cancelled:
                        self.emit(request, "progress", procedure=name, phase="evaluate", step=50, steps=100)
                        await asyncio.sleep(self.options.step_delay)
                    if request.get("improve"):
                        trained += [] if cancelled else [self.improve(store, name, last, request.get("job"))]
                        continue
                    trained.append(self.remember(store, name, last, request.get("job"), measured=not cancelled))
        return {"cancelled": request["id"] in self.cancelled, "trained": trained}

    async def do_overlap(self, request: dict[str, Any]) -> dict[str, Any]:
        """A pair goes where a pair with the same first two words is."""
        name = request["name"]
        with self.store(request) as store:
            pairs = [record.pair for record in store.pairs.list(name)]
            others = {
                memory.procedure: [record.input for record in store.pairs.list(memory.procedure)]
                for memory in store.memories.all_active(FINGERPRINT)
                if memory.procedure != name
            }
        going = {
            other: [place for place, pair in enumerate(pairs) if head(pair.input) in [head(text) for text in texts]]
            for other, texts in others.items()
        }
        to = [{"name": other, "count": len(found), "pairs": found} for other, found in going.items() if found]
        gone = sum(one["count"] for one in to)
        coming = [{"name": one["name"], "count": 1, "of": len(others[one["name"]])} for one in to]
        none = [place for place, pair in enumerate(pairs) if pair.input.startswith("zzz")]
        return {
            "name": name,
            "pairs": len(pairs),
            "own": len(pairs) - gone - len(none),
            "none": len(none),
            "none_pairs": none,
            "to": to,
            "from": coming,
        }

    async def do_effect(self, request: dict[str, Any]) -> dict[str, Any]:
        """Fixed probabilities."""
        with self.store(request) as store:
            threshold = store.procedures.get(request["name"]).threshold
        return {
            "name": request["name"],
            "threshold": threshold,
            "measured_on": "held_out",
            "own": {"of": 6, "taken": [0.99, 0.97, 0.9, 0.8, 0.62]},
            "others": [{"name": "neighbour", "of": 4, "taken": [0.7]}],
            "chat": {"of": 100, "taken": [0.83, 0.55]},
        }

    async def do_draft(self, request: dict[str, Any]) -> dict[str, Any]:
        """Pairs with numbers, until it is stopped."""
        made = 0
        for number in range(1, request["count"] + 1):
            await asyncio.sleep(self.options.token_delay)
            if request["id"] in self.cancelled:
                break
            fits = None if number % 2 else False
            sure = None if fits is False else number != 5
            self.emit(request, "draft", input=f"drafted {number}", response=f"answer {number}", fits=fits, sure=sure)
            made = number
        return {"drafted": made, "attempts": made, "cancelled": request["id"] in self.cancelled}

    async def do_draft_from_text(self, request: dict[str, Any]) -> dict[str, Any]:
        """The same; two more were of no use."""
        return {**await self.do_draft(request), "refused": {"double": 1, "repeats": 1}}

    def checkpoint(self, store: ProfileStore, name: str) -> Path:
        """Where the last step is kept."""
        return checkpoint_file(AppPaths.resolve(self.options.home), store, name, FINGERPRINT)

    def begin(self, store: ProfileStore, name: str) -> int:
        """The step to begin with."""
        try:
            return int(store.files.read(self.checkpoint(store, name))) + 1
        except FileNotFoundError:
            return 1

    def remember(
        self, store: ProfileStore, name: str, steps: int, job: int | None, *, measured: bool
    ) -> dict[str, Any]:
        """Write a candidate memory."""
        procedure = store.procedures.with_pairs(name)
        card = scorecard(store, name, steps) if measured else {"seconds": 1.0, "steps": steps, "advice": []}
        file = store.memories.write(banks.memory_file(store.procedures.get(name).id))
        record = store.memories.add(
            store.procedures.get(name).id, FINGERPRINT, file, procedure.pairs, {}, card, job_id=job
        )
        return {"name": name, "memory_id": record.id, "scorecard": card}

    def improve(self, store: ProfileStore, name: str, steps: int, job: int | None) -> dict[str, Any]:
        """Write a candidate that was made from verdicts; ``!worse`` in a message makes it one that is worse."""
        verdicts, earlier = store.verdicts.of(name), store.memories.active(name, FINGERPRINT)
        assert earlier is not None
        now = 0.25 if any("!worse" in one.input for one in verdicts) else 1.0
        said = {"before": {"right": 0.5, "alike": 0.5}, "now": {"right": now, "alike": now}}
        made = self.remember(store, name, steps, job, measured=True)
        made["scorecard"]["verdicts"] = {"learned": len(verdicts), "held_out": 2, **said}
        store.verdicts.mark([made["memory_id"], earlier.id], verdicts)
        with store._database.writing() as connection:
            connection.execute(
                "UPDATE memories SET scorecard = ? WHERE id = ?", (json.dumps(made["scorecard"]), made["memory_id"])
            )
        return made

    async def do_bank_probes(self, request: dict[str, Any]) -> dict[str, Any]:
        """Probes that hold here."""
        made = banks.bank(1)
        with self.store(request) as store:
            uuids = {record.name: record.uuid for record in store.procedures.list()}
        probes = [replace(banks.probes(1)[0], procedure=uuids[name]).as_dict() for name in request["names"]]
        return {
            "probes": probes[:50],
            "fingerprint": FINGERPRINT,
            "recipe": banks.ROUTER_DIGEST,
            "licence": BACKBONE["licence"],
            "configuration": made.configuration,
            "calibration": made.calibration,
            "anchors": base64.b64encode(made.anchors).decode(),
            "fresh": {},
        }

    async def do_bank_check(self, request: dict[str, Any]) -> dict[str, Any]:
        """All probes pass, unless a memory's name says otherwise."""
        results = []
        names = {one["uuid"]: one["name"] for one in request["memories"]}
        with self.store(request) as store:
            for one in request["memories"]:
                assert store.memories.read(one["file"], store.banks.quarantine_folder / request["folder"])
        for place, probe in enumerate(request["probes"]):
            name = names[probe["procedure"]]
            self.emit(
                request,
                "progress",
                phase="probe",
                fraction=place / len(request["probes"]),
                text="Answering its test messages",
            )
            await asyncio.sleep(self.options.step_delay)
            if request["id"] in self.cancelled:
                return {"cancelled": True}
            reason = "its answer begins differently (by 3.20 nats)" if "broken" in name else None
            results.append({"procedure": name, "passed": reason is None, "reason": reason})
        files = {one["uuid"]: one["file"] for one in request["memories"]}
        passed = all(one["passed"] for one in results)
        return {"cancelled": False, "passed": passed, "turned": False, "probes": results, "files": files}

    def store(self, request: dict[str, Any]) -> ProfileStore:
        """The profile of a request."""
        with ProfileRegistry(AppPaths.resolve(self.options.home)) as registry:
            key = ProfileKey.from_text(request["key"]) if request.get("key") else None
            return registry.open(request["profile"], key=key)


def tokens(said: str, others: int) -> list[dict[str, Any]]:
    """The words of an answer as its tokens, each half as likely as it could be."""
    words = [word if not place else f" {word}" for place, word in enumerate(said.split(" "))]
    return [
        {
            "text": word,
            "log": -0.5,
            "others": [[word, -0.5], *([f" no{n}", -1.0 - n] for n in range(others - 1))][:others],
        }
        for word in words
    ]


def held(response: str, asked: dict[str, Any] | None, text: str, *, plain: bool) -> str:
    """The answer in the form that was asked for: the smallest object that fits."""
    if asked is None:
        return response
    if "schema" in asked:
        return json.dumps(smallest(asked["schema"], asked["schema"]))
    if asked.get("json_object"):
        return json.dumps({"said": text})
    if plain and "calls" in asked and not (asked["text_too"] and "!call" not in text):
        call = asked["calls"][0]
        schema = call.get("parameters") or {"type": "object"}
        return json.dumps({"name": call["name"], "arguments": smallest(schema, schema)})
    return str(asked.get("beginning", "")) + response


def smallest(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """A small value that fits a plain schema."""
    if "$ref" in schema:
        at: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        return smallest(at, root)
    if "const" in schema or "enum" in schema:
        return schema.get("const", next(iter(schema.get("enum", [])), None))
    for key in ("anyOf", "allOf", "oneOf"):
        if key in schema:
            return smallest(schema[key][0], root)
    if schema.get("type") == "object":
        named = schema.get("properties", {})
        return {name: smallest(named[name], root) for name in schema.get("required", ()) if name in named}
    return {"string": "word", "integer": 1, "number": 1.5, "boolean": True, "array": []}.get(str(schema.get("type")))


def sureness(response: str) -> dict[str, Any]:
    """Doubt about the last value of an answer (of a JSON object, else the last word), which has two runners-up."""
    is_object = response.startswith("{")
    if is_object:
        places = value_places(None, "", response)
    else:
        places = [ValuePlace(word.start(), word.end()) for word in re.finditer(r"\S+", response)]
    last = len(places) - 1
    others = ('"later"', '"never"') if is_object else ("later", "never")
    values = [
        AnswerValue(
            place.start,
            place.end,
            response[place.start : place.end],
            0.41 if at == last else 0.98,
            place.name,
            others if at == last else (),
        )
        for at, place in enumerate(places)
    ]
    return {"answer_probability": 0.41, "slots": [value.as_dict() for value in values]}


def referring(text: str, conversation: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """A message in which "it" is the last word that was typed before."""
    value = conversation[-2]["content"].split()[-1]
    at = text.index("it")
    filled = {"words": "it", "value": value, "source": "message", "back": 0, "start": at, "end": at + len(value)}
    return text[:at] + value + text[at + 2 :], {"typed": text, "filled": [filled]}


def head(text: str) -> tuple[str, ...]:
    """What makes two messages alike here."""
    return tuple(text.lower().split()[:2])


def make_model(store: ModelStore, model_id: str) -> None:
    """Put a converted model of that id into the store, as far as lists can tell."""
    source = store.resolve(model_id)
    folder = store.folder / source.slug
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(300_000))
    facts = {"revision": "", "weights_sha256": "0" * 64, "quantisation": "4 bit (nf4)", "reason": "scripted"}
    licence = source.entry.licence if source.entry else "unknown"
    write_record(folder, lambda: False, id=source.id, source=f"{source.kind}: {source.id}", licence=licence, **facts)


def scored(store: ProfileStore, text: str) -> list[tuple[str, int, str]]:
    """Name, shared words and best response of every procedure that can answer, best first."""
    words = set(text.lower().split())
    found = []
    for memory in store.memories.all_active(FINGERPRINT):
        pairs = [record.pair for record in store.pairs.list(memory.procedure)]
        best = max(pairs, key=lambda pair: len(words & set(pair.input.lower().split())))
        found.append((memory.procedure, len(words & set(best.input.lower().split())), best.response))
    return sorted(found, key=lambda one: -one[1])


def scorecard(store: ProfileStore, name: str, steps: int) -> dict[str, Any]:
    """A plausible scorecard, the same every time."""
    procedure = store.procedures.with_pairs(name)
    probe = procedure.held_out or procedure.pairs
    labels = [*sorted({name, *(record.name for record in store.procedures.list())}), NONE_ROUTE]
    counts = [[0] * len(labels) for _ in labels]
    own = labels.index(name)
    counts[own][own], counts[own][-1], counts[-1][-1] = 11, 1, 20
    return {
        "pairs": len(procedure.pairs),
        "held_out": len(procedure.held_out) or max(1, len(probe) // 6),
        "held_out_source": "test" if procedure.held_out else "split",
        "routing_accuracy": 11 / 12,
        "false_trigger_rate": 0.05,
        "exact_match": 0.75,
        "rouge_l": 0.88,
        "form_valid": 1.0 if procedure.pattern else None,
        "base": {"exact_match": 0.0, "rouge_l": 0.21},
        "before": earlier(store, name),
        "prompt": {"exact_match": 0.5, "rouge_l": 0.7, "tokens": 640},
        "confusion": {"labels": labels, "counts": counts},
        "samples": [
            {"input": pair.input, "expected": pair.response, "got": got, "base": "Sure! Here is what I can do."}
            for pair, got in zip(probe[:2], (probe[0].response, "something else"), strict=False)
        ],
        "advice": ["One message went to plain chat: two or three more pairs like it would help."],
        "seconds": 42.0,
        "span": 8,
        "steps": steps,
    }


def earlier(store: ProfileStore, name: str) -> dict[str, Any] | None:
    """What the memory so far would have scored."""
    record = store.memories.active(name, FINGERPRINT)
    if record is None:
        return None
    now = {"exact_match": 0.75, "rouge_l": 0.88, "routing_accuracy": 1.0, "false_trigger_rate": 0.05}
    before = {"exact_match": 0.5, "rouge_l": 0.71, "routing_accuracy": 0.5, "false_trigger_rate": 0.05}
    return {"version": record.version, "held_out": 2, **before, "now": now}


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--small", action="store_true", help="say that the model is a small one")
    parser.add_argument("--title", default="", help="what it calls every conversation")
    parser.add_argument("--fit-waits", action="store_true")
    parser.add_argument("--title-waits", action="store_true")
    parser.add_argument("--load-delay", type=float, default=0.0)
    parser.add_argument("--token-delay", type=float, default=0.0)
    parser.add_argument("--step-delay", type=float, default=0.0)
    parser.add_argument("--problem", default="")
    parser.add_argument("--note")
    parser.add_argument("--context-messages", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--crash-at-step", type=int, default=0)
    parser.add_argument("--wait-at-step", type=int, default=0)
    parser.add_argument("--recording", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--fetch-delay", type=float, default=0.0)
    parser.add_argument("--fetch-waits-at", type=int, default=-1)
    parser.add_argument("--fetch-fails", action="store_true")
    parser.add_argument("--needs-download", action="store_true")
    parser.add_argument("--refuse", action="store_true")
    asyncio.run(ScriptedEngine(parser.parse_args()).serve())


if __name__ == "__main__":
    main()
