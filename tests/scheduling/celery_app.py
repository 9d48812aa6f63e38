"""A project with Celery, as SCHEDULE.md says, in the database of a test and a queue of its own."""

import os

from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
settings.DATABASES["default"]["NAME"] = os.environ["STOCKFLOW_TEST_DATABASE"]

QUEUE = os.environ["STOCKFLOW_TEST_QUEUE"]
REDIS = "redis://127.0.0.1:6379/0"

app = Celery("tests", broker=REDIS, backend=REDIS)
app.conf.task_default_queue = QUEUE
app.autodiscover_tasks(["stockflow.scheduling"], related_name="celery")
app.conf.beat_schedule = {
    "stockflow": {"task": "stockflow.run_schedule", "schedule": 1.0, "options": {"expires": 60}},
}
