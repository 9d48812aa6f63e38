"""Saving an object: its row and its events together."""

from stockflow.saving.plans import begin
from stockflow.saving.rows import update_table
from stockflow.saving.work import finish, unit_of_work

__all__ = ["begin", "finish", "unit_of_work", "update_table"]
