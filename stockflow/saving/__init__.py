"""Saving an object: its row and its events together."""

from stockflow.saving.plans import begin as begin
from stockflow.saving.rows import RolledBack as RolledBack
from stockflow.saving.rows import update_table as update_table
from stockflow.saving.work import finish as finish
from stockflow.saving.work import unit_of_work as unit_of_work
