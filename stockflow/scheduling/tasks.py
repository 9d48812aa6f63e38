"""The schedule as a task of ``django.tasks``; before Django 6, of its backport (extra ``tasks``).

Something must enqueue it now and then, since ``django.tasks`` has no clock of its own::

    run_schedule.enqueue()
    run_schedule.enqueue(using="archive")
"""

from importlib import import_module
from importlib.util import find_spec

__all__ = ["run_schedule"]

_tasks = import_module("django.tasks" if find_spec("django.tasks") else "django_tasks")


@_tasks.task()  # type: ignore[untyped-decorator]  # which of the two it is, is known when it runs
def run_schedule(using: str = "default") -> str:
    """Run the schedule of the database *using* once; fails with what failed in it."""
    from stockflow.scheduling import running  # noqa: PLC0415  needs the app registry

    return running.run_schedule(using=using)
