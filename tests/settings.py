"""The settings of the tests: SQLite in a file, or the PostgreSQL that DATABASE_URL names."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).parent


def database(url: str | None) -> dict[str, object]:
    """Return Django's settings for the database of *url*."""
    if not url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": HERE / "tests.sqlite3",
            # A file, not memory: threads and processes share it.
            "TEST": {"NAME": HERE / "tests.sqlite3"},
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            },
        }
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
    }


DATABASES = {"default": database(os.environ.get("DATABASE_URL"))}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "stockflow",
    "stockflow.projections",
    "tests.crm",
    "tests.browsers",
    "example.webplatform",
    "tests.example.apps.ExampleCrm",
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
MIGRATION_MODULES = {"crm": None, "browsers": None, "example_crm": None}
SECRET_KEY = "tests"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STATIC_URL = "static/"
TIME_ZONE = "UTC"
USE_TZ = True
