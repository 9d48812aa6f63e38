"""The settings of the tests, with django-unfold's templates before the admin's own."""

from tests.settings import *  # noqa: F403  they are the same
from tests.settings import INSTALLED_APPS as USUAL
from tests.settings import MIDDLEWARE as GUARDED
from tests.settings import URL, database

DATABASES = {"default": database(URL, "_unfold")}
INSTALLED_APPS = ["unfold", *USUAL]
# Its pages are driven by a library that evaluates text, which a strict policy forbids.
MIDDLEWARE = [name for name in GUARDED if name != "tests.web.csp.strict"]
ROOT_URLCONF = "tests.unfold.urls"
