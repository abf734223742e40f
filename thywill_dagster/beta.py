"""Owners of jobs, schedules and sensors are a beta feature of the pinned Dagster.

That is known; a warning per definition on the screen of everybody who runs a command helps nobody. Imported for its
effect, before anything is defined.
"""

import warnings

import dagster as dg

warnings.filterwarnings("ignore", message="Parameter `owners`", category=dg.BetaWarning)
