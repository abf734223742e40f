"""What the operator decided about names: the text of the decisions file to validated decisions.

The file is YAML with up to four keys, each optional::

    aliases:                      # spelling in the archives -> name or id of the user it means
      Ann_Lee: Ann Lee
    distinct:                     # names that are different people, however alike they look
      - [Pat Doe, Pat_Doe]
    merge:                        # users who are one person, and which of them stays
      - survivor: Ann Lee
        users: [Annie, 0f3c...]
    never_restore:                # names or ids that must not come back; sha256: hides which
      - Old Name
      - sha256:9f86d081884c7d65...

Scalars are taken as they are written: an unquoted ``007`` or ``Yes`` is a name of these characters. A file that
says something twice, or two things that cannot both hold, is refused as a whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import yaml

from thywill_dagster.errors import UsageError
from thywill_dagster.identity.normalise import lookup_key, why_unusable

MAXIMUM_BYTES = 256 * 1024
"""Larger files are refused before they are read as YAML."""

MAXIMUM_TEXTS = 20_000
"""Keys, names and ids of a file."""

MAXIMUM_NAMES = 100
"""In one entry of ``distinct`` or ``merge``."""

MAXIMUM_DEPTH = 5
"""Of nested lists and mappings; the deepest legal file has four."""

SECTIONS = ("aliases", "distinct", "merge", "never_restore")

HASH_PREFIX = "sha256:"
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Alias:
    """A spelling means the user of this name or id."""

    spelling: str
    target: str
    line: int


@dataclass(frozen=True, slots=True)
class Distinct:
    """These names, or ids, are of different people, each of every other."""

    names: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Merge:
    """These users, by name or id, are one person; the survivor's row stays."""

    survivor: str
    users: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class NeverRestore:
    """A name, an id, or the SHA-256 of either, that no action may bring back."""

    entry: str
    line: int


@dataclass(frozen=True)
class Decisions:
    """A decisions file; without one, nothing is decided.

    Attributes:
        aliases: in the order of the file, as all others.
        distinct: each a group of different people.
        merges: each a group that is one person.
        never_restore: who must not come back.
        source: the file's name for messages and evidence.
    """

    aliases: tuple[Alias, ...] = ()
    distinct: tuple[Distinct, ...] = ()
    merges: tuple[Merge, ...] = ()
    never_restore: tuple[NeverRestore, ...] = ()
    source: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over what is decided, not over how it is written; empty if nothing is decided."""
        content = {
            "aliases": sorted([alias.spelling, alias.target] for alias in self.aliases),
            "distinct": sorted(sorted(group.names) for group in self.distinct),
            "merge": sorted([merge.survivor, *sorted(merge.users)] for merge in self.merges),
            "never_restore": sorted(entry.entry for entry in self.never_restore),
        }
        if not any(content.values()):
            return ""
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def forbidden(self, *, name: str = "", user_id: str = "") -> str:
        """Why a person must not be restored, inserted, imported or healed; empty if nothing forbids it.

        Args:
            name: display name, in any spelling that the application holds for the same.
            user_id: id of the user, if known.
        """
        entry = self.forbidding(name=name, user_id=user_id)
        return f"the decisions file says never ({self.evidence(entry.line)})" if entry is not None else ""

    def forbidding(self, *, name: str = "", user_id: str = "") -> NeverRestore | None:
        """The entry that forbids a person to come back."""
        if not self.never_restore:
            return None
        found = (self._forbidden_texts.get(text) for text in _forms_of(name, user_id))
        return next((entry for entry in found if entry is not None), None)

    def are_distinct(self, one: str, other: str) -> bool:
        """Whether two names, or ids, were said to be different people."""
        keys = frozenset({lookup_key(one), lookup_key(other)})
        return frozenset({one, other}) in self._distinct_texts or keys in self._distinct_keys

    def evidence(self, line: int) -> str:
        """``file:line``."""
        return f"{self.source}:{line}"

    @cached_property
    def _forbidden_texts(self) -> Mapping[str, NeverRestore]:
        texts = {entry.entry: entry for entry in self.never_restore}
        for entry in self.never_restore:
            if not entry.entry.startswith(HASH_PREFIX) and (key := lookup_key(entry.entry)):
                texts.setdefault(key, entry)
        return texts

    @cached_property
    def _distinct_texts(self) -> frozenset[frozenset[str]]:
        return frozenset(frozenset(pair) for group in self.distinct for pair in _pairs(group.names))

    @cached_property
    def _distinct_keys(self) -> frozenset[frozenset[str]]:
        return frozenset(
            frozenset(keys)
            for group in self.distinct
            for keys in _pairs([lookup_key(name) for name in group.names])
            if keys[0] != keys[1]
        )


NO_DECISIONS = Decisions()


def parse_decisions(text: str, source: str) -> Decisions:
    """Reads the text of a decisions file.

    Args:
        text: the file's content.
        source: the file's name, for messages.

    Raises:
        UsageError: the text is no valid decisions file; the message names file, line and what to do.
    """
    return _Parser(source).parse(text)


def render_decisions(decisions: Decisions) -> str:
    """The decisions as a file that :func:`parse_decisions` reads back to the same."""
    content = {
        "aliases": {alias.spelling: alias.target for alias in decisions.aliases},
        "distinct": [list(group.names) for group in decisions.distinct],
        "merge": [{"survivor": merge.survivor, "users": list(merge.users)} for merge in decisions.merges],
        "never_restore": [entry.entry for entry in decisions.never_restore],
    }
    return render_yaml({name: value for name, value in content.items() if value})


def render_yaml(content: object) -> str:
    """YAML as a person would write it: names unescaped, one entry on a line."""
    # Names are not folded over lines, so that a line can be found again by searching for the name.
    return yaml.dump(content, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=10**9)


class _Dumper(yaml.SafeDumper):
    """Quotes what does not print: YAML itself holds some of these characters for line breaks."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _represent_text)


def _forms_of(name: str, user_id: str) -> Iterator[str]:
    for text in (name, lookup_key(name), user_id):
        if text:
            yield text
            yield HASH_PREFIX + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _pairs(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            yield name, other


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source

    def parse(self, text: str) -> Decisions:
        if len(text.encode("utf-8", "surrogatepass")) > MAXIMUM_BYTES:
            raise self._error(1, f"the file is larger than {MAXIMUM_BYTES // 1024} KiB", "remove what is settled")
        root = self._compose(text)
        if root is None:
            return Decisions(source=self._source)
        sections = self._mapping(root, "the file")
        for name, (_, line) in sections.items():
            if name not in SECTIONS:
                raise self._error(line, f"there is no section {name!r}", f"use one of {', '.join(SECTIONS)}")
        nodes = {name: node for name, (node, _) in sections.items()}
        decisions = Decisions(
            aliases=tuple(self._aliases(nodes.get("aliases"))),
            distinct=tuple(self._distinct(nodes.get("distinct"))),
            merges=tuple(self._merges(nodes.get("merge"))),
            never_restore=tuple(self._never_restore(nodes.get("never_restore"))),
            source=self._source,
        )
        self._refuse_contradictions(decisions)
        return decisions

    # YAML.

    def _compose(self, text: str) -> yaml.Node | None:
        try:
            self._refuse_unsafe(yaml.parse(text, Loader=yaml.SafeLoader))
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._error(mark.line + 1 if mark else 1, f"this is no YAML: {error.problem}", "correct it") from None
        except yaml.YAMLError:
            raise self._error(1, "the file holds characters that YAML forbids", "save it as plain UTF-8 text") from None

    def _refuse_unsafe(self, events: Iterable[yaml.Event]) -> None:
        # Events are read one by one, so that nothing has been built yet when a file is refused.
        depth = scalars = documents = 0
        for event in events:
            line = _line(event)
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                raise self._error(line, "anchors and aliases of YAML (& and *) are not allowed", "write it out")
            if getattr(event, "tag", None) is not None:
                raise self._error(line, "tags of YAML (!) are not allowed", "quote the text if it begins with one")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            scalars += isinstance(event, yaml.ScalarEvent)
            documents += isinstance(event, yaml.DocumentStartEvent)
            if depth > MAXIMUM_DEPTH:
                raise self._error(line, "the nesting is too deep", "see the example in docs/identity.md")
            if scalars > MAXIMUM_TEXTS:
                raise self._error(
                    line, f"there are more than {MAXIMUM_TEXTS:,} names and ids", "remove what is settled"
                )
            if documents > 1:
                raise self._error(line, "there are several documents in one file", "remove the line ---")

    def _mapping(self, node: yaml.Node, what: str) -> dict[str, tuple[yaml.Node, int]]:
        if not isinstance(node, yaml.MappingNode):
            raise self._error(_line(node), f"{what} must be a mapping", "write NAME: VALUE lines")
        found: dict[str, tuple[yaml.Node, int]] = {}
        for key, value in node.value:
            name = self._text(key, f"a key of {what}")
            if name in found:
                raise self._error(_line(key), f"{name!r} stands twice in {what}", "keep one of the two")
            found[name] = (value, _line(key))
        return found

    def _list(self, node: yaml.Node | None, what: str) -> Sequence[yaml.Node]:
        if node is None or _is_null(node):
            return ()
        if not isinstance(node, yaml.SequenceNode):
            raise self._error(_line(node), f"{what} must be a list", "begin each entry with a dash")
        return node.value

    def _text(self, node: yaml.Node, what: str) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(_line(node), f"{what} must be a text", "write one name or id, quoted if need be")
        if _is_null(node) or node.value == "":
            raise self._error(_line(node), f"{what} is empty", "write a name or id; quote it if the name is null")
        return str(node.value)

    # Sections.

    def _aliases(self, node: yaml.Node | None) -> Iterator[Alias]:
        if node is None or _is_null(node):
            return
        for spelling, (value, line) in self._mapping(node, "aliases").items():
            target = self._text(value, f"the user that {spelling!r} means")
            self._require_usable(spelling, line)
            self._require_usable(target, line)
            if spelling == target:
                raise self._error(line, f"{spelling!r} is an alias of itself", "remove the entry")
            yield Alias(spelling, target, line)

    def _distinct(self, node: yaml.Node | None) -> Iterator[Distinct]:
        seen: dict[frozenset[str], int] = {}
        for entry in self._list(node, "distinct"):
            line = _line(entry)
            names = self._names(entry, "an entry of distinct")
            if len(names) < 2:
                raise self._error(line, "an entry of distinct needs two names or more", "write [NAME, OTHER NAME]")
            for pair in map(frozenset, _pairs(names)):
                if pair in seen:
                    raise self._error(
                        line, f"{_listed(pair)} stand in the entry of line {seen[pair]} already", "remove one of them"
                    )
                seen[pair] = line
            yield Distinct(names, line)

    def _merges(self, node: yaml.Node | None) -> Iterator[Merge]:
        seen: dict[str, int] = {}
        for entry in self._list(node, "merge"):
            line = _line(entry)
            parts = self._mapping(entry, "an entry of merge")
            for name in ("survivor", "users"):
                if name not in parts:
                    raise self._error(line, f"an entry of merge lacks {name}", "write survivor: NAME and users: [NAME]")
            if unknown := sorted(parts.keys() - {"survivor", "users"}):
                raise self._error(
                    parts[unknown[0]][1], f"an entry of merge has no {unknown[0]!r}", "use survivor and users"
                )
            survivor = self._text(parts["survivor"][0], "the survivor")
            self._require_usable(survivor, line)
            users = self._names(parts["users"][0], "the users of a merge")
            if not users:
                raise self._error(line, "a merge needs at least one user beside the survivor", "name who goes")
            for name in (survivor, *users):
                if name in seen:
                    where = "in this entry" if seen[name] == line else f"in the entry of line {seen[name]}"
                    raise self._error(line, f"{name!r} stands twice, also {where}", "name each user in one merge, once")
                seen[name] = line
            yield Merge(survivor, users, line)

    def _never_restore(self, node: yaml.Node | None) -> Iterator[NeverRestore]:
        seen: dict[str, int] = {}
        for item in self._list(node, "never_restore"):
            line = _line(item)
            entry = self._text(item, "an entry of never_restore")
            if entry.lower().startswith(HASH_PREFIX):
                entry = entry.lower()
                if not _HASH.fullmatch(entry.removeprefix(HASH_PREFIX)):
                    raise self._error(line, "sha256: is not followed by 64 hex digits", "write sha256:HASH")
            else:
                self._require_usable(entry, line)
            if entry in seen:
                # Whom a site has to forget is not repeated in messages.
                raise self._error(line, f"this entry stands in line {seen[entry]} already", "remove one of them")
            seen[entry] = line
            yield NeverRestore(entry, line)

    def _names(self, node: yaml.Node, what: str) -> tuple[str, ...]:
        names: list[str] = []
        items = self._list(node, what)
        if len(items) > MAXIMUM_NAMES:
            raise self._error(_line(node), f"{what} has more than {MAXIMUM_NAMES} names", "make several entries")
        for item in items:
            name = self._text(item, f"a name in {what}")
            self._require_usable(name, _line(item))
            if name in names:
                raise self._error(_line(item), f"{name!r} stands twice in one entry", "name it once")
            names.append(name)
        return tuple(names)

    def _require_usable(self, name: str, line: int) -> None:
        if why := why_unusable(name):
            raise self._error(line, why, "copy the name as username_conflicts shows it, or use the id")

    # What cannot all hold.

    def _refuse_contradictions(self, decisions: Decisions) -> None:
        targets = {alias.spelling: alias for alias in decisions.aliases}
        for alias in decisions.aliases:
            if (further := targets.get(alias.target)) is None:
                continue
            if further.target == alias.spelling:
                raise self._error(
                    alias.line,
                    f"{alias.spelling!r} and {alias.target!r} are aliases of one another (line {further.line})",
                    "keep the one that leads to the user",
                )
            raise self._error(
                alias.line,
                f"{alias.spelling!r} means {alias.target!r}, which is an alias itself (line {further.line})",
                f"let it mean {further.target!r}",
            )
        self._refuse_two_persons(decisions)
        self._refuse_joined_distinct(decisions)
        forbidden = {entry.entry: entry for entry in decisions.never_restore}
        for merge in decisions.merges:
            if entry := forbidden.get(merge.survivor):
                raise self._error(
                    merge.line,
                    f"the survivor of this merge is never to be restored (line {entry.line})",
                    "remove one of the two",
                )

    def _refuse_two_persons(self, decisions: Decisions) -> None:
        """A user who goes into one survivor cannot be the alias of somebody else."""
        survivor_of = {name: merge for merge in decisions.merges for name in merge.users}
        for alias in decisions.aliases:
            merge = survivor_of.get(alias.spelling)
            if merge is not None and alias.target not in (merge.survivor, *merge.users):
                raise self._error(
                    alias.line,
                    f"{alias.spelling!r} means {alias.target!r} here and {merge.survivor!r} in the merge of line"
                    f" {merge.line}",
                    "decide for one of the two",
                )

    def _refuse_joined_distinct(self, decisions: Decisions) -> None:
        joins = [(alias.line, alias.spelling, alias.target) for alias in decisions.aliases]
        joins += [(merge.line, merge.survivor, name) for merge in decisions.merges for name in merge.users]
        joined = _Groups(joins)
        for group in decisions.distinct:
            for one, other in _pairs(group.names):
                if joined.are_one(one, other):
                    count = next(n for n in range(len(joins) + 1) if _Groups(joins[:n]).are_one(one, other))
                    raise self._error(
                        group.line,
                        f"{one!r} and {other!r} are said to be distinct, but line {joins[count - 1][0]} joins them",
                        "remove one of the two",
                    )

    def _error(self, line: int, what: str, next_step: str) -> UsageError:
        return UsageError(f"{self._source}, line {line}: {what}; {next_step}")


class _Groups:
    """Names that decisions join into one person."""

    def __init__(self, joins: Iterable[tuple[int, str, str]]) -> None:
        self._above: dict[str, str] = {}
        for _, one, other in joins:
            self._above[self._top(one)] = self._top(other)

    def are_one(self, one: str, other: str) -> bool:
        return self._top(one) == self._top(other)

    def _top(self, name: str) -> str:
        while (above := self._above.get(name, name)) != name:
            name = above
        return name


def _line(node: yaml.Node | yaml.Event) -> int:
    return node.start_mark.line + 1 if node.start_mark is not None else 1


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _listed(names: Iterable[str]) -> str:
    return " and ".join(repr(name) for name in sorted(names))
