"""Tables of the database and the records that their rows become: one declaration per column.

A record is a frozen dataclass whose fields are named like the columns. Where the value in the column is not the field's
own, the field says how it is stored::

    enabled: Annotated[bool, FLAG]
    group: Annotated[str, Stored(column="group_name")]

So a new column is a migration and a field. Reading, writing, undo and copying rows follow from the two.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, get_type_hints

from profiles.store.base import Row, as_json, from_json

Record = TypeVar("Record")


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """How a field of a record stands in its table."""

    column: str = ""
    """The column's name; empty: the field's."""
    encode: Callable[[Any], object] | None = None
    """From the field's value to the column's; None: the same."""
    decode: Callable[[Any], Any] | None = None
    """From the column's value to the field's; None: the same."""
    computed: bool = False
    """True: the value comes with the query (a count, a joined name), and the table has no such column."""


FLAG = Stored(encode=int, decode=bool)
"""True or False, stored as 1 or 0."""

COMPUTED = Stored(computed=True)

JSON = Stored(encode=as_json, decode=from_json)
"""A JSON object, or None."""

JSON_OBJECT = Stored(encode=as_json, decode=lambda text: from_json(text) or {})
"""A JSON object; NULL is read as an empty one."""

JSON_LIST = Stored(encode=as_json, decode=lambda text: None if text is None else tuple(json.loads(text)))
"""A tuple, stored as a JSON list, or None."""


class Table(Generic[Record]):
    """One table and the record that its rows become.

    Args:
        name: of the table.
        record: a dataclass; each field is a column, see ``Stored``.
    """

    def __init__(self, name: str, record: type[Record]) -> None:
        self.name = name
        self._record = record
        hints = get_type_hints(record, include_extras=True)
        self._fields = {
            field.name: next(
                (extra for extra in getattr(hints[field.name], "__metadata__", ()) if isinstance(extra, Stored)),
                Stored(),
            )
            for field in dataclasses.fields(record)  # type: ignore[arg-type]  # a dataclass, as documented
        }

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the record's fields stand in, in the order of the fields."""
        return tuple(stored.column or name for name, stored in self._fields.items() if not stored.computed)

    def record(self, row: Row) -> Record:
        """The record of a row, which must have all columns and computed values."""
        values = {}
        for name, stored in self._fields.items():
            value = row[stored.column or name]
            values[name] = value if stored.decode is None else stored.decode(value)
        return self._record(**values)

    def encode(self, values: Mapping[str, object]) -> dict[str, object]:
        """Values of fields as values of columns. A name that is no field is taken for a column."""
        encoded = {}
        for name, value in values.items():
            stored = self._fields.get(name, Stored())
            encoded[stored.column or name] = value if stored.encode is None else stored.encode(value)
        return encoded

    def insert(self, connection: sqlite3.Connection, **values: object) -> int:
        """Insert a row inside the caller's transaction.

        Args:
            connection: in a transaction.
            **values: by field or column; what is left out takes the column's default.

        Returns:
            The row's id; 0 where the table's key is a text.
        """
        columns = self.encode(values)
        cursor = connection.execute(
            f"INSERT INTO {self.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            list(columns.values()),
        )
        return int(cursor.lastrowid or 0)

    def update(self, connection: sqlite3.Connection, row_id: int | str, **values: object) -> bool:
        """Set columns of one row inside the caller's transaction.

        Args:
            connection: in a transaction.
            row_id: the row's ``id``.
            **values: by field or column.

        Returns:
            False where there is no such row.
        """
        columns = self.encode(values)
        assignments = ", ".join(f"{column} = ?" for column in columns)
        changed = connection.execute(f"UPDATE {self.name} SET {assignments} WHERE id = ?", (*columns.values(), row_id))
        return changed.rowcount > 0
