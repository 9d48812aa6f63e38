"""The settings of the tests: SQLite in a file, or the PostgreSQL that DATABASE_URL names."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).parent


def database(url: str | None, suffix: str = "") -> dict[str, object]:
    """Return Django's settings for the database of *url*, or for another one beside it."""
    if not url:
        file = HERE / f"tests{suffix}.sqlite3"
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": file,
            # A file, not memory: threads and processes share it.
            "TEST": {"NAME": file},
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            },
        }
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/") + suffix,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        # Tests kill their own processes, never the server: what is committed need not wait for
        # the disk.
        "OPTIONS": {"options": "-c synchronous_commit=off"},
    }


URL = os.environ.get("DATABASE_URL")
DATABASES = {"default": database(URL), "other": database(URL, "_other")}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_tasks_db",
    "stockflow",
    "stockflow.projections",
    "tests.crm",
    "tests.browsers",
    "example.webplatform",
    "tests.example.apps.ExampleCrm",
    "example.coaching",
]
MIDDLEWARE = [
    "tests.web.csp.strict",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "tests.urls"
# What has no migrations cannot refer to what has, and a companion refers to users.
UNMIGRATED = (
    *("admin", "auth", "browsers", "contenttypes", "crm", "django_tasks_database", "example_crm"),
)
MIGRATION_MODULES = dict.fromkeys(UNMIGRATED)
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
SECRET_KEY = "tests"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STATIC_URL = "static/"
TIME_ZONE = "UTC"
USE_TZ = True
