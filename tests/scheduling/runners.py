"""Projects that run the schedule by a task runner, each a process of its own beside the test.

``python -m tests.scheduling.runners DATABASE RUNNER`` works off what waits in that database.
"""

import os
import sys
from collections.abc import Callable

from django.conf import settings


def main() -> None:
    """Set Django up in the test's database, and run."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    settings.DATABASES["default"]["NAME"] = sys.argv[1]
    import django

    django.setup()
    RUNNERS[sys.argv[2]]()


def django_tasks() -> None:
    """Work off what ``django.tasks`` has enqueued, with the worker of its database backend."""
    from django.core.management import call_command

    call_command("db_worker", "--batch", "--no-startup-delay", verbosity=2)


def procrastinate() -> None:
    """Let procrastinate run its periodic task, in tables of a schema of their own."""
    import procrastinate
    from django.db import connection
    from psycopg.conninfo import make_conninfo

    from stockflow.scheduling.running import run_schedule

    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA runner")
    connection.close()
    known = connection.settings_dict
    names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD"}
    values = {name: known[key] for name, key in names.items() if known[key]}
    told = make_conninfo(dbname=str(known["NAME"]), options="-c search_path=runner", **values)
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=told))

    @app.periodic(cron="* * * * *")
    @app.task(name="stockflow", lock="stockflow", queueing_lock="stockflow")
    def stockflow(timestamp: int) -> str:
        return run_schedule()

    app.open()
    app.schema_manager.apply_schema()
    stockflow.defer(timestamp=0)  # type: ignore[call-arg]  # a periodic one is typed without its own
    app.close()
    app.run_worker(wait=False, install_signal_handlers=False)
    with app.open():
        found = [str(job.status) for job in app.job_manager.list_jobs(task="stockflow")]
    sys.stdout.write(" ".join(found))
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA runner CASCADE")


RUNNERS: dict[str, Callable[[], None]] = {
    "django-tasks": django_tasks,
    "procrastinate": procrastinate,
}

if __name__ == "__main__":
    main()
