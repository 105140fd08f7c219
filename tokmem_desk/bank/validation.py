"""Reading ``manifest.json`` of a bank file: every field is checked before it is believed. No files and no tensors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

from tokmem_desk.backbone.fingerprint import Fingerprint
from tokmem_desk.bank.manifest import (
    FORMAT,
    MANIFEST_FILE,
    MAX_COUNT,
    MAX_PROCEDURES,
    PROBE_FILE,
    TENSOR_FILE,
    VERSION,
    BankProcedure,
    FileRecord,
    LayerGroup,
    Manifest,
    RouterRecord,
    Span,
    figures,
    newest_version,
    plain_settings,
    version_number,
)
from tokmem_desk.errors import BadInputError, IncompatibleError, TokmemError, UsageError
from tokmem_desk.memory.steering import kinds
from tokmem_desk.procedures import check_name, may_name_group
from tokmem_desk.system.file_limits import MOST_LEVELS, levels
from tokmem_desk.templates.json_schema import MAX_SCHEMA_CHARACTERS, read_schema
from tokmem_desk.templates.patterns import PatternError, read_pattern
from tokmem_desk.templates.template import AnswerTemplate

if TYPE_CHECKING:
    from tokmem_desk.memory.steering_part import SteeringPart

_MAX_TEXT = 20_000
_LARGEST_FORM = 200_000
"""Characters of a form of answers as JSON; real ones have a few thousand."""
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_DAMAGED = "Ask for the file again: it was changed or cut on its way."


def read_manifest(data: bytes, source: str) -> Manifest:
    """Check and read a manifest.

    Args:
        source: what to call the file in an error.

    Raises:
        BadInputError: anything in it is not as the format demands.
        IncompatibleError: written for a newer format.
    """
    return _Reader(source).manifest(strict_json(data, f"The manifest of {source}"))


def strict_json(data: bytes, what: str) -> Any:
    """The value in JSON bytes; NaN, infinities, bad UTF-8 and endless nesting are refused.

    Raises:
        BadInputError: it is no such JSON.
    """
    try:
        value = _DECODER.decode(data.decode("utf-8"))
        # Halves of surrogate pairs pass as \u escapes and cannot be stored; looked for only where there are such.
        if _HALF.search(data):
            for piece in json.JSONEncoder(ensure_ascii=False).iterencode(value):
                piece.encode("utf-8")
    except RecursionError:
        raise BadInputError(f"{what} cannot be read (it is nested too deeply).", next_step=_DAMAGED) from None
    except ValueError as error:
        reason = str(error)[:80]
        if isinstance(error, UnicodeEncodeError):
            reason = "a text in it holds half a character"
        elif reason.startswith("Exceeds the limit"):
            reason = "a number in it has thousands of digits"
        raise BadInputError(f"{what} cannot be read ({reason}).", next_step=_DAMAGED) from None
    return value


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
"""Made once: there are files with a million lines."""


class _Reader:
    """Reads fields and says, when one is wrong, which and in what file."""

    def __init__(self, source: str) -> None:
        self._source = source

    def manifest(self, fields: Any) -> Manifest:
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise BadInputError(
                f"{self._source} is no file of procedures.", next_step="Give a file that 'bank export' wrote."
            )
        version = self.text(fields, "version", "", 40)
        if not re.fullmatch(r"\d{1,6}\.\d{1,6}\.\d{1,6}", version):
            self.fail("version", "is not a number like 1.0.0")
        if version_number(version)[0] > version_number(newest_version())[0]:
            raise IncompatibleError(
                f"{self._source} has format {version}; this program reads formats up to {newest_version()}.",
                next_step="Update tokmem-desk.",
            )
        backbone = self.table(fields, "backbone")
        entries = fields.get("procedures")
        if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_PROCEDURES:
            self.fail("procedures", "is not a list of procedures")
        groups = fields.get("layer_groups")
        if not isinstance(groups, list) or len(groups) > 1000:
            self.fail("layer_groups", "is not a list")
        generator = self.table(fields, "generator")
        manifest = Manifest(
            uuid=self.hexadecimal(fields, "uuid", "", 32),
            title=self.text(fields, "title"),
            created=self.text(fields, "created", "", 40),
            generator={str(key)[:100]: self.text(generator, key, "generator") for key in generator},
            licence=self.text(fields, "licence"),
            backbone=self._fingerprint(backbone),
            backbone_licence=self.text(backbone, "licence", "backbone"),
            groups=tuple(self._group(entry, f"layer_groups[{at}]") for at, entry in enumerate(groups)),
            router=self._router(self.table(fields, "router")),
            procedures=tuple(self._procedure(entry, f"procedures[{at}]") for at, entry in enumerate(entries)),
            files=self._files(self.table(fields, "files")),
            version=version,
        )
        self._check_whole(manifest)
        return manifest

    def _check_whole(self, manifest: Manifest) -> None:
        """What no procedure can tell alone: order, places one behind the other, nothing twice."""
        sketch = 0
        ends: dict[type[SteeringPart], int] = dict.fromkeys(kinds(), 0)
        for at, procedure in enumerate(manifest.procedures):
            where = f"procedures[{at}]"
            if procedure.row != at:
                self.fail(f"{where}.row", f"is {procedure.row}, not {at}")
            if procedure.sketch.offset != sketch:
                self.fail(f"{where}.sketch", "does not follow the procedure before")
            sketch += procedure.sketch.count
            for kind in kinds():
                span = procedure.span_of(kind)
                # A field that may be missing says nothing where there is nothing.
                there = kind in procedure.spans or not kind.optional_field
                if (there and span.offset != ends[kind]) or (kind.required and span.count < 1):
                    self.fail(f"{where}.{kind.field}", "does not follow the procedure before")
                if kind.settings_field is not None and bool(span.count) != bool(procedure.forms.get(kind)):
                    self.fail(f"{where}.{kind.field}", "does not fit its form")
                ends[kind] += span.count
        # What earlier formats could hold is not looked at: they are read as before.
        format_number = max(version_number(manifest.version), version_number(VERSION))[0]
        for kind, end in ends.items():
            if end and version_number(kind.bank_version)[0] > format_number:
                self.fail("version", f"is {manifest.version}, which has no {kind.field}")
            if end and kind.needs_layer_groups and not manifest.groups:
                self.fail("layer_groups", "is empty although there are keys and values")
        for at, procedure in enumerate(manifest.procedures):
            for kind, span in procedure.spans.items():
                if span.count and (fault := kind.count_fault(span.count, manifest.key_shapes)) is not None:
                    self.fail(f"procedures[{at}].{kind.field}", fault)
        for what, values in (("name", manifest.names), ("uuid", [one.uuid for one in manifest.procedures])):
            if len(set(values)) < len(values):
                self.fail("procedures", f"names a {what} twice")

    def _fingerprint(self, fields: dict[str, Any]) -> Fingerprint:
        values: dict[str, Any] = {}
        for name, kind in Fingerprint.__annotations__.items():
            if kind == "int":
                values[name] = self.whole(fields, name, "backbone")
            elif kind == "bool":
                values[name] = self.flag(fields, name, "backbone")
            else:
                values[name] = self.text(fields, name, "backbone")
        fingerprint = Fingerprint(**values)
        if fields.get("digest") != fingerprint.digest:
            self.fail("backbone.digest", "does not belong to the other fields")
        if not 1 <= fingerprint.hidden_size < 2**24:
            self.fail("backbone.hidden_size", "is out of range")
        return fingerprint

    def _group(self, entry: Any, where: str) -> LayerGroup:
        fields = self.object(entry, where)
        sizes = [self.whole(fields, name, where) for name in ("layers", "heads", "key_size", "value_size")]
        if not all(1 <= size <= 100_000 for size in sizes):
            self.fail(where, "has a size that is out of range")
        return LayerGroup(*sizes)

    def _router(self, fields: dict[str, Any]) -> RouterRecord:
        dimensions = self.whole(fields, "dimensions", "router")
        if not 1 <= dimensions <= 65_536:
            self.fail("router.dimensions", "is out of range")
        return RouterRecord(
            self.hexadecimal(fields, "digest", "router", 64),
            dimensions,
            self.shallow(fields, "configuration", "router"),
            self.shallow(fields, "calibration", "router"),
        )

    def _procedure(self, entry: Any, where: str) -> BankProcedure:
        fields = self.object(entry, where)
        name = self.text(fields, "name", where)
        try:
            check_name(name)
        except UsageError as error:
            self.fail(f"{where}.name", f"is not allowed: {error.message}")
        pattern = None if fields.get("pattern") is None else self.text(fields, "pattern", where)
        if pattern is not None:
            try:
                read_pattern(pattern)
            except PatternError as error:
                self.fail(f"{where}.pattern", str(error))
        threshold = fields.get("threshold")
        if threshold is not None and (type(threshold) not in (int, float) or not 0 <= threshold <= 1):
            self.fail(f"{where}.threshold", "is not a probability")
        return BankProcedure(
            uuid=self.hexadecimal(fields, "uuid", where, 32),
            name=name,
            description=self.text(fields, "description", where),
            pattern=pattern,
            threshold=None if threshold is None else float(threshold),
            version=self.whole(fields, "version", where),
            row=self.whole(fields, "row", where),
            sketch=self._span(fields, "sketch", where),
            spans={
                kind: self._span(fields, kind.field, where)
                for kind in kinds()
                if kind.field in fields or not kind.optional_field
            },
            forms={
                kind: self.shallow(fields, kind.settings_field[1], where)
                for kind in kinds()
                if kind.settings_field is not None and (kind.settings_field[1] in fields or not kind.optional_field)
            },
            tied=self.flag(fields, "tied", where),
            pair_count=self.whole(fields, "pair_count", where),
            pairs_digest=self.hexadecimal(fields, "pairs_digest", where, 64),
            settings=plain_settings(self.table(fields, "settings", where)),
            scores=figures(self.table(fields, "scores", where)),
            trained=self.text(fields, "trained", where, 40),
            output_schema=self._schema(fields, where),
            reads_conversation=self.flag(fields, "reads_conversation", where),
            group=self._group_name(fields, where),
            answer_form=self._form(fields, where),
            learned=self._learned(fields, where),
        )

    def _learned(self, fields: dict[str, Any], where: str) -> tuple[int, ...] | None:
        places = fields.get("learned")
        if places is None:
            return None
        if not isinstance(places, list) or not all(type(place) is int and 0 <= place < MAX_COUNT for place in places):
            self.fail(f"{where}.learned", "is not a list of places")
        if any(one >= other for one, other in pairwise(places)):
            self.fail(f"{where}.learned", "is not in order")
        return tuple(places)

    def _form(self, fields: dict[str, Any], where: str) -> dict[str, Any]:
        if not fields.get("answer_form"):
            return {}
        form = self.table(fields, "answer_form", where)
        try:
            if len(json.dumps(form)) > _LARGEST_FORM:
                self.fail(f"{where}.answer_form", "is too large")
            return AnswerTemplate.from_dict(form).as_dict()
        except (ValueError, RecursionError):
            self.fail(f"{where}.answer_form", "is no form of answers")

    def _group_name(self, fields: Mapping[str, Any], where: str) -> str:
        if "group" not in fields:
            return ""
        name = self.text(fields, "group", where)
        if not may_name_group(name):
            self.fail(f"{where}.group", "cannot name a group")
        return name

    def _schema(self, fields: Mapping[str, Any], where: str) -> str | None:
        if fields.get("output_schema") is None:
            return None
        try:
            return read_schema(self.text(fields, "output_schema", where, MAX_SCHEMA_CHARACTERS)).text
        except BadInputError as error:
            self.fail(f"{where}.output_schema", f"cannot be used: {error.message}")

    def _span(self, fields: Mapping[str, Any], name: str, where: str) -> Span:
        inner = self.table(fields, name, where)
        return Span(self.whole(inner, "offset", f"{where}.{name}"), self.whole(inner, "count", f"{where}.{name}"))

    def _files(self, fields: dict[str, Any]) -> dict[str, FileRecord]:
        records = {}
        for name, entry in fields.items():
            where = f"files[{name[:60]!r}]"
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) or name == MANIFEST_FILE:
                self.fail(where, "is not a plain name")
            inner = self.object(entry, where)
            records[name] = FileRecord(self.whole(inner, "bytes", where), self.hexadecimal(inner, "sha256", where, 64))
        for needed in (TENSOR_FILE, PROBE_FILE):
            if needed not in records:
                self.fail("files", f"does not list {needed}")
        return records

    # --- single values -----------------------------------------------------------------------------

    def fail(self, where: str, what: str) -> NoReturn:
        raise BadInputError(f"{self._source}: {where} in its manifest {what}.", next_step=_DAMAGED)

    def object(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fail(where, "is not an object")
        return value

    def table(self, fields: Mapping[str, Any], name: str, where: str = "") -> dict[str, Any]:
        return self.object(fields.get(name), _path(where, name))

    def shallow(self, fields: Mapping[str, Any], name: str, where: str = "") -> dict[str, Any]:
        """A table whose values nobody looks at here, but for how deep they are nested."""
        table = self.table(fields, name, where)
        if levels(table) > MOST_LEVELS:
            self.fail(_path(where, name), f"is nested more than {MOST_LEVELS} levels deep")
        return table

    def text(self, fields: Mapping[str, Any], name: str, where: str = "", longest: int = _MAX_TEXT) -> str:
        value = fields.get(name)
        if not isinstance(value, str) or len(value) > longest:
            self.fail(_path(where, name), "is not a text of usual length")
        if "\x00" in value:
            self.fail(_path(where, name), "holds a character that no text has")
        return value

    def hexadecimal(self, fields: Mapping[str, Any], name: str, where: str, digits: int) -> str:
        value = self.text(fields, name, where)
        if not re.fullmatch(f"[0-9a-f]{{{digits}}}", value):
            self.fail(_path(where, name), f"is not made of {digits} hexadecimal digits")
        return value

    def whole(self, fields: Mapping[str, Any], name: str, where: str = "") -> int:
        value = fields.get(name)
        if type(value) is not int or not 0 <= value <= MAX_COUNT:
            self.fail(_path(where, name), "is not a whole number in range")
        return value

    def flag(self, fields: Mapping[str, Any], name: str, where: str = "") -> bool:
        value = fields.get(name)
        if not isinstance(value, bool):
            self.fail(_path(where, name), "is neither true nor false")
        return value


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def damaged(source: str, reason: str) -> TokmemError:
    """The error for a bank that is not as it says."""
    return BadInputError(f"{source} is damaged: {reason}.", next_step=_DAMAGED)
