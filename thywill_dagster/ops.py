"""Steps that are no assets: they take something back or put something in, and leave no data of their own."""

import dagster as dg
from pydantic import Field

from thywill_dagster import commands
from thywill_dagster.assets.errors import clear_failures
from thywill_dagster.assets.repair import WRITER_POOL
from thywill_dagster.repair.document import Table, render_markdown_table
from thywill_dagster.resources import SiteResource, utc_now

PROBLEMS_SHOWN = 20


class UndoConfig(dg.Config):
    """Which run is taken back."""

    run: str = Field(description="The journal's run, as the apply printed it: 20250901T120001-0a1b2c3d.")
    execute: bool = Field(default=False, description="Without it, only what would be taken back is listed.")


class GuardConfig(dg.Config):
    """Whether the guards are really changed."""

    execute: bool = Field(default=False, description="Without it, only what would be done is listed.")


@dg.op(pool=WRITER_POOL)
def take_back(context: dg.OpExecutionContext, config: UndoConfig, site: SiteResource) -> None:
    """Restores what every change of a run replaced, unless somebody changed it since."""
    settings = site.settings()
    with clear_failures():
        answer = commands.undo(settings, config.run, execute=config.execute, now=utc_now)
        commands.write_answer(settings, context.run.run_id, answer)
    _tell(context, answer)


@dg.op(pool=WRITER_POOL)
def put_guards_in(context: dg.OpExecutionContext, config: GuardConfig, site: SiteResource) -> None:
    """Puts triggers into the application's database that reject new orphans."""
    _set_guards(context, config, site, install=True)


@dg.op(pool=WRITER_POOL)
def take_guards_out(context: dg.OpExecutionContext, config: GuardConfig, site: SiteResource) -> None:
    """Takes the triggers out again."""
    _set_guards(context, config, site, install=False)


def _set_guards(context: dg.OpExecutionContext, config: GuardConfig, site: SiteResource, *, install: bool) -> None:
    settings = site.settings()
    with clear_failures():
        answer = commands.set_guards(settings, install=install, execute=config.execute, now=utc_now)
        commands.write_answer(settings, context.run.run_id, answer)
    _tell(context, answer)


def _tell(context: dg.OpExecutionContext, answer: commands.Answer) -> None:
    """The answer where the UI shows it: beside the step."""
    content = answer.content
    counted = ("planned", "applied", "skipped", "failed")
    changes = [(name, *(n[word] for word in counted)) for name, n in content["actions"].items() if n["planned"]]
    problems = [(problem["reason"],) for problem in content["problems"]]
    shown = Table(("what was left or could not be used",), problems[:PROBLEMS_SHOWN], len(problems))
    context.add_output_metadata(
        {
            "mode": content["mode"],
            "exit_status": answer.exit_status,
            **_as_table("changes", Table(("action", *counted), changes)),
            **_as_table("problems", shown),
            **({"backup": dg.MetadataValue.path(content["backup"])} if content["backup"] else {}),
            **({"journal_run": content["run_id"]} if content["run_id"] else {}),
            "answer": dg.MetadataValue.json({name: value for name, value in content.items() if value}),
        }
    )


def _as_table(name: str, table: Table) -> dict[str, dg.MetadataValue]:
    return {name: dg.MetadataValue.md(render_markdown_table(table))} if table.rows else {}
