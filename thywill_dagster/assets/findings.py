"""Who is who, and what is broken: one look at the site in the light of all rules.

Publishes the identity and integrity assets and their checks. They come out of one look, because each name
decides about relationships and each relationship about names; computing them apart would do the work twice.
"""

from collections.abc import Iterator

import dagster as dg

from thywill_dagster import answers, commands, looking
from thywill_dagster.assets.catalogue import asset_outs, frame_metadata
from thywill_dagster.assets.errors import clear_failures
from thywill_dagster.checks import integrity as checks
from thywill_dagster.identity.history_files import record_look as record_names
from thywill_dagster.identity.spellings import collect_spellings
from thywill_dagster.identity.username_mapping import map_spellings
from thywill_dagster.integrity.findings import findings_of
from thywill_dagster.monitoring.recording import record_look
from thywill_dagster.resources import RECORD_FRAMES, SiteResource
from thywill_dagster.site_folders import SiteFolders
from thywill_dagster.store.foreign_keys import count_violations

IDENTITY_ASSETS = ("username_spellings", "username_mapping", "username_conflicts", "username_changes")
FINDING_ASSETS = (
    "orphaned_prayers",
    "orphaned_prayer_marks",
    "dangling_references",
    "broken_archive_paths",
    "unarchived_records",
    "relationship_differences",
)
INPUTS = ("site_snapshot", *RECORD_FRAMES)
"""What a look is made from."""


@dg.multi_asset(
    name="findings",
    deps=INPUTS,
    outs=asset_outs([*IDENTITY_ASSETS, *FINDING_ASSETS, "invite_tree"]),
    check_specs=list(checks.SPECS.values()),
)
def findings(context: dg.AssetExecutionContext, site: SiteResource) -> Iterator[dg.Output | dg.AssetCheckResult]:
    """Maps every name to a user and finds every broken relationship."""
    with clear_failures():
        look = site.look()
        record_look(SiteFolders.of(site.settings()).looks, look)
        answer = commands.Answer.of(answers.result_of_look(look, report=None))
        commands.write_answer(site.settings(), context.run.run_id, answer)
    yield from _identity(site, look)
    for name in FINDING_ASSETS:
        found = findings_of(look.detection.findings, name)  # type: ignore[arg-type]
        yield dg.Output(found, output_name=name, metadata=frame_metadata(found))
    yield dg.Output(look.detection.tree, output_name="invite_tree", metadata=frame_metadata(look.detection.tree))
    yield from checks.check_findings(look)
    yield checks.check_foreign_keys(count_violations(look.snapshot.path), look)
    yield checks.check_agreement(look)


def _identity(site: SiteResource, look: looking.Look) -> Iterator[dg.Output | dg.AssetCheckResult]:
    spellings = collect_spellings(look.view.records)
    mapping = map_spellings(spellings, look.view.mapping)
    conflicts = looking.find_name_conflicts(look.view, mapping)
    history = record_names(SiteFolders.of(site.settings()).names, mapping, looked_at=look.snapshot.taken_at)
    changes = history.changes()
    for name, frame in zip(IDENTITY_ASSETS, (spellings, mapping, conflicts, changes), strict=True):
        yield dg.Output(frame, output_name=name, metadata=frame_metadata(frame))
    yield checks.check_names(conflicts, mapping)
    yield checks.check_changes(history.changes_noticed(look.snapshot.taken_at), mapping)
