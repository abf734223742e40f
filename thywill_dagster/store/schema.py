"""What the application's tables look like, and whether they are a schema that we know.

Tables whose name begins with ``thywill_dagster_`` are ours: no function of this package counts them among
the application's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from thywill_dagster.errors import CouldNotLookError, RefusedError
from thywill_dagster.store.engine import driver_connection

OWN_PREFIX = "thywill_dagster_"
"""Tables and triggers of ours in the application's database."""

V1_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "user": ("id", "display_name", "created_at", "invited_by_user_id", "text_file_path"),
    "prayer": ("id", "author_id", "text", "created_at", "text_file_path"),
    "prayermark": ("id", "user_id", "prayer_id", "created_at", "text_file_path"),
    "prayer_attributes": ("id", "prayer_id", "attribute_name", "created_at", "created_by", "text_file_path"),
    "prayer_activity_log": ("id", "prayer_id", "user_id", "action", "created_at", "text_file_path"),
}
"""Without these there is nothing to reconcile. The other tables came and went with the application's
versions, so a site may lack them."""


@dataclass(frozen=True, slots=True)
class ColumnDescription:
    """One column as declared.

    Attributes:
        name: its name.
        type: the declared type, upper case, empty when none was declared.
        nullable: whether NULL is allowed.
        default: the SQL text of its default, None without one.
        primary_key_position: 1 for the first column of the primary key, 0 outside it.
    """

    name: str
    type: str
    nullable: bool
    default: str | None
    primary_key_position: int


@dataclass(frozen=True, slots=True)
class ForeignKeyDescription:
    """One declared foreign key; most references of the application are not declared."""

    columns: tuple[str, ...]
    table: str
    referenced_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IndexDescription:
    """One index, those behind UNIQUE and PRIMARY KEY constraints included.

    Attributes:
        name: its name.
        columns: its columns in order; an expression is the empty string.
        unique: whether it enforces uniqueness.
        partial: whether it has a WHERE clause and so enforces it for some rows only.
        origin: ``c`` for CREATE INDEX, ``u`` for a UNIQUE constraint, ``pk`` for a primary key.
    """

    name: str
    columns: tuple[str, ...]
    unique: bool
    partial: bool
    origin: str


@dataclass(frozen=True, slots=True)
class TableDescription:
    """One table of the application.

    Attributes:
        name: its name.
        columns: in the order of the table.
        foreign_keys: sorted by their columns.
        indexes: sorted by name.
        triggers: names of the triggers on it, ours left out.
        primary_key: the columns of the primary key in its order, empty without one.
        column_names: the names of the columns, in the order of the table.
    """

    name: str
    columns: tuple[ColumnDescription, ...]
    foreign_keys: tuple[ForeignKeyDescription, ...]
    indexes: tuple[IndexDescription, ...]
    triggers: tuple[str, ...]
    primary_key: tuple[str, ...]
    column_names: tuple[str, ...]

    @property
    def unique(self) -> tuple[tuple[str, ...], ...]:
        """The column sets that are unique over all rows, by constraint or by index."""
        return tuple(sorted({i.columns for i in self.indexes if i.unique and not i.partial}))

    def column(self, name: str) -> ColumnDescription | None:
        """The column of that name, None if the table lacks it."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, slots=True)
class SchemaDescription:
    """The application's tables.

    Attributes:
        tables: name to description, sorted by name.
    """

    tables: Mapping[str, TableDescription] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what decides what a guarded write means.

        Tables, columns with type, nullability, default and key, declared foreign keys and the
        application's triggers are in it. Indexes are not: the application adds some at start-up and we
        may add one ourselves, and neither makes a reviewed plan stale. UNIQUE *constraints* are in.
        """
        content = [
            [
                table.name,
                [[c.name, c.type, c.nullable, c.default, c.primary_key_position] for c in table.columns],
                [[k.columns, k.table, k.referenced_columns] for k in table.foreign_keys],
                sorted(index.columns for index in table.indexes if index.origin == "u"),
                table.triggers,
            ]
            for _, table in sorted(self.tables.items())
        ]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()

    @property
    def parts(self) -> Mapping[str, str]:
        """What the fingerprint is made of, one by one: the part in words to a short hash of what it says."""
        parts = {}
        for table in self.tables.values():
            for c in table.columns:
                parts[f"column {table.name}.{c.name}"] = _short_hash(
                    [c.type, c.nullable, c.default, c.primary_key_position]
                )
            keys = [[k.columns, k.table, k.referenced_columns] for k in table.foreign_keys]
            parts[f"the foreign keys of {table.name}"] = _short_hash(keys)
            unique = sorted(index.columns for index in table.indexes if index.origin == "u")
            parts[f"the unique constraints of {table.name}"] = _short_hash(unique)
            parts[f"the triggers of {table.name}"] = _short_hash(table.triggers)
        return parts

    def require_v1(self) -> None:
        """Makes sure that this is a ThyWill site whose rows refer to users by id.

        Raises:
            CouldNotLookError: it is the later schema with usernames as keys, or no ThyWill site; the
                message names what is missing.
        """
        prayer = self.tables.get("prayer")
        if prayer is not None and prayer.column("author_username") is not None:
            raise CouldNotLookError(
                "the database is of the later ThyWill schema (prayer.author_username, keyed by usernames),"
                " which is not supported yet; nothing was looked at"
            )
        missing = []
        for name, columns in V1_COLUMNS.items():
            table = self.tables.get(name)
            if table is None:
                missing.append(f"table {name}")
            else:
                missing += [f"column {name}.{column}" for column in columns if table.column(column) is None]
        if missing:
            raise CouldNotLookError(
                f"the database is not a ThyWill site: it lacks {', '.join(missing)}; check --database"
            )


DIFFERENCES_SHOWN = 5


def name_differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What came, went or changed between the :attr:`SchemaDescription.parts` of two moments, in words."""
    found = _find_differences(before, now)
    more = f" and {len(found) - DIFFERENCES_SHOWN} more" if len(found) > DIFFERENCES_SHOWN else ""
    return (", ".join(found[:DIFFERENCES_SHOWN]) or "the order of its columns changed") + more


def _find_differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Whole tables first."""
    tables_before, tables_now = _tables_of(before), _tables_of(now)
    found = [f"table {name} is gone" for name in sorted(tables_before - tables_now)]
    found += [f"table {name} is new" for name in sorted(tables_now - tables_before)]
    both = tables_before & tables_now
    for part in sorted(before.keys() | now.keys()):
        if _table_of(part) in both and before.get(part) != now.get(part):
            word = "is new" if part not in before else "is gone" if part not in now else "changed"
            found.append(f"{part} {word}")
    return found


def _tables_of(parts: Mapping[str, str]) -> set[str]:
    return {_table_of(part) for part in parts if not part.startswith("column ")}


def _table_of(part: str) -> str:
    if part.startswith("column "):
        return part.removeprefix("column ").partition(".")[0]
    return part.partition(" of ")[2]


def _short_hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:12]


def describe_schema(connection: Connection) -> SchemaDescription:
    """The application's tables as they are declared in this database; views and our own tables left out.

    The pragmas are asked rather than SQLAlchemy's reflection, which turns declared types into its own and
    leaves out some unique indexes.
    """
    names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")).scalars()
    own = [name for name in names if not name.startswith(("sqlite_", OWN_PREFIX))]
    return SchemaDescription({name: _describe_table(connection, name) for name in own})


def require_no_triggers(schema: SchemaDescription, tables: Iterable[str]) -> None:
    """Makes sure that a write to these tables changes nothing but what it says.

    Raises:
        RefusedError: a table has a trigger that is not ours.
    """
    for name in sorted(set(tables) & set(schema.tables)):
        if triggers := schema.tables[name].triggers:
            raise RefusedError(
                f"the table {name} has the trigger {triggers[0]}, which would change more than the plan says;"
                " remove it for the repair"
            )


def data_version(connection: Connection) -> int:
    """SQLite's count, for this connection, of the changes that others have committed; equal only if there were none.

    Asked of the driver, so that asking begins no transaction.
    """
    return int(driver_connection(connection).execute("PRAGMA data_version").fetchone()[0])


def schema_version(connection: Connection) -> int:
    """SQLite's count of schema changes: equal for one connection means that the schema is the same."""
    return int(connection.exec_driver_sql("PRAGMA schema_version").scalar_one())


def is_own(name: str) -> bool:
    """Whether a table or trigger is one of ours rather than the application's."""
    return name.startswith(OWN_PREFIX)


def _describe_table(connection: Connection, name: str) -> TableDescription:
    columns = connection.execute(
        text('SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_xinfo(:name) ORDER BY cid'),
        {"name": name},
    ).all()
    keys: dict[int, list[tuple[str, str, str]]] = {}
    for number, source, table, target in connection.execute(
        text('SELECT id, "from", "table", "to" FROM pragma_foreign_key_list(:name) ORDER BY id, seq'),
        {"name": name},
    ):
        keys.setdefault(number, []).append((source, table, target or ""))
    indexes = [
        IndexDescription(index, _index_columns(connection, index), bool(unique), bool(partial), origin)
        for index, unique, partial, origin in connection.execute(
            text('SELECT name, "unique", partial, origin FROM pragma_index_list(:name) ORDER BY name'),
            {"name": name},
        ).all()
    ]
    triggers = connection.execute(
        text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :name ORDER BY name"),
        {"name": name},
    ).scalars()
    return TableDescription(
        name=name,
        columns=tuple(ColumnDescription(c, t.upper(), not n, d, pk) for c, t, n, d, pk in columns),
        foreign_keys=tuple(
            sorted(
                (
                    ForeignKeyDescription(
                        tuple(source for source, _, _ in parts),
                        parts[0][1],
                        tuple(target for _, _, target in parts),
                    )
                    for parts in keys.values()
                ),
                key=lambda key: (key.columns, key.table),
            )
        ),
        indexes=tuple(indexes),
        triggers=tuple(trigger for trigger in triggers if not is_own(trigger)),
        primary_key=tuple(c for position, c in sorted((pk, c) for c, _, _, _, pk in columns) if position),
        column_names=tuple(c for c, _, _, _, _ in columns),
    )


def _index_columns(connection: Connection, index: str) -> tuple[str, ...]:
    names = connection.execute(
        text("SELECT name FROM pragma_index_info(:name) ORDER BY seqno"), {"name": index}
    ).scalars()
    return tuple(name or "" for name in names)
