"""How long a million names take to become persons, beside a million look-ups in a plain dictionary.

    python benchmarks/resolve_usernames.py [--users N] [--lookups N] [--limit SECONDS]

The names are those of the users, one in ten in another spelling that the application holds for the same, one in
a hundred of nobody; they come in the order of chance, as lines of an archive do. Exit status 1 if resolving them
takes longer than the limit.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable

import pandas as pd

from thywill_dagster.identity.normalise import lookup_key
from thywill_dagster.identity.username_mapping import UsernameMapping

SYLLABLES = ("an", "bo", "cy", "da", "el", "fi", "go", "hu", "is", "jo", "ka", "lu", "mi", "no", "or", "pa")


def make_name(number: int) -> str:
    """A name of two words, another one for each number."""
    parts = [SYLLABLES[number >> shift & 15] for shift in (0, 4, 8, 12, 16)]
    return f"{''.join(parts[:3]).title()} {''.join(parts[3:]).title()}{number >> 20 or ''}"


def make_lookups(users: list[tuple[str, str]], count: int, rng: random.Random) -> list[str]:
    """Names as archive lines would hold them."""
    found = []
    for _ in range(count):
        name = users[rng.randrange(len(users))][1]
        chance = rng.random()
        if chance < 0.01:
            name += " the Other"
        elif chance < 0.11:
            name = name.upper() if chance < 0.06 else f"{name} "
        found.append(name)
    return found


def timed(work: Callable[[], object], repeats: int = 3) -> float:
    """Seconds of the fastest of some tries."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--lookups", type=int, default=1_000_000)
    parser.add_argument("--limit", type=float, default=2.0)
    options = parser.parse_args()

    users = [(f"{number:032x}", make_name(number)) for number in range(options.users)]
    lookups = make_lookups(users, options.lookups, random.Random(1))
    column = pd.Series(lookups, dtype="str")
    by_name = {name: user_id for user_id, name in users}

    baseline = timed(lambda: [by_name.get(name) for name in lookups])
    build = timed(lambda: UsernameMapping.build(users, []), repeats=1)
    mapping = UsernameMapping.build(users, [])
    lookup_key.cache_clear()
    cold = timed(lambda: [mapping.person_of(name) for name in lookups], repeats=1)
    warm = timed(lambda: [mapping.person_of(name) for name in lookups])
    lookup_key.cache_clear()
    bulk_cold = timed(lambda: mapping.persons_of(column), repeats=1)
    bulk = timed(lambda: mapping.persons_of(column))

    persons = mapping.persons_of(column)
    found = int((~persons.str.startswith("?")).sum())
    print(f"{options.lookups:,} names, {options.users:,} users, {found:,} resolved to a user")
    for label, seconds in (
        ("dictionary, baseline", baseline),
        ("build the mapping", build),
        ("one by one, first time", cold),
        ("one by one, again", warm),
        ("all at once, first time", bulk_cold),
        ("all at once, again", bulk),
    ):
        print(f"{label:<24} {seconds:7.3f} s   {seconds / baseline:6.1f} x baseline")
    slowest = max(cold, warm, bulk_cold, bulk)
    print(f"{'slowest':<24} {slowest:7.3f} s   limit {options.limit:.1f} s; with the build {slowest + build:.3f} s")
    return 0 if slowest <= options.limit else 1


if __name__ == "__main__":
    sys.exit(main())
