"""Ids without a row of which the decisions file says whose they were.

The operator's word settles what the rows of such an id leave open, and what they tell of somebody without a
user. Where they name another user who is there, the two contradict each other and nothing is done.
"""

from __future__ import annotations

from dataclasses import replace

from thywill_dagster.identity.username_mapping import is_missing, is_user
from thywill_dagster.integrity.event_matching import LostReference
from thywill_dagster.integrity.reconciliation import Reconciliation
from thywill_dagster.integrity.site import SiteView

RULE = "decided_merge"


def follow_decided_ids(site: SiteView, reconciliation: Reconciliation) -> None:
    """Gives the rows of former ids to the users whom they were merged into.

    A name that all rows of such an id are told under means that user as well.
    """
    decided = {
        former: survivor
        for former, survivor in site.mapping.merges.items()
        if former not in site.display_names and survivor in site.display_names
    }
    if not decided:
        return
    line_of = {name: site.decisions.evidence(merge.line) for merge in site.decisions.merges for name in merge.users}
    for former, survivor in decided.items():
        identity = reconciliation.ids.get(former)
        if identity is not None and identity.person and is_missing(identity.person):
            reconciliation.decided[identity.person] = survivor
            reconciliation.ids[former] = replace(identity, person=survivor)

    def follow(lost: LostReference) -> LostReference:
        survivor = decided.get(lost.value or "")
        if survivor is None:
            named = reconciliation.decided.get(lost.person or "")
            return lost if named is None else replace(lost, person=named)
        if lost.person is not None and is_user(lost.person) and lost.person != survivor:
            reason = "the decisions file says whose this id is, and the archives name another user"
            return replace(lost, person=None, rule=RULE, reason=reason, is_silent=False)
        evidence = (*lost.evidence, line_of[str(lost.value)])
        return replace(lost, person=survivor, rule=RULE, evidence=evidence, reason="", is_silent=False, namesakes="")

    reconciliation.lost = [follow(lost) for lost in reconciliation.lost]
