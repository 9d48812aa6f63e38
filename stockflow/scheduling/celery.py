"""The schedule as a task of Celery; needs the extra ``celery``.

In the project's own ``celery.py``, after ``app = Celery(...)``::

    app.autodiscover_tasks(["stockflow.scheduling"], related_name="celery")
    app.conf.beat_schedule = {
        "stockflow": {
            "task": "stockflow.run_schedule",
            "schedule": 60.0,
            "options": {"expires": 60},  # a worker that was down has one to catch up with
        },
    }
"""

from celery import shared_task

__all__ = ["run_schedule"]


@shared_task(name="stockflow.run_schedule")  # type: ignore[untyped-decorator]  # Celery has no types
def run_schedule(using: str = "default") -> str:
    """Run the schedule of the database *using* once; fails with what failed in it."""
    from stockflow.scheduling import running  # noqa: PLC0415  needs the app registry

    return running.run_schedule(using=using)
