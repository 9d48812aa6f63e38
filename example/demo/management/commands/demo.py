"""``manage.py demo``."""

from collections.abc import Iterable
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from example.crm.models import Lead
from example.demo import report

NAME: Final = "demo"
PASSWORD: Final = "demo"  # noqa: S105  it guards public data on 127.0.0.1, and is printed


class Command(BaseCommand):
    """Shows all of it; may be interrupted at any point and repeated."""

    help = "Load the data, fire the decays, print a report, and serve the pages until interrupted."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="Where to serve (default 8000).")
        parser.add_argument("--no-serve", action="store_true", help="Stop after the report.")

    def handle(self, *args: Any, port: int, no_serve: bool, verbosity: int, **options: Any) -> None:
        self._load(verbosity)
        self._report()
        self._make_user()
        if no_serve:
            return
        self._heading("Serving")
        self._lines([f"http://127.0.0.1:{port}/  (login: {NAME}, password: {PASSWORD})", ""])
        self.stdout.flush()
        # No autoreload: it would run all of this again in a process of its own.
        call_command("runserver", f"127.0.0.1:{port}", use_reloader=False)

    def _load(self, verbosity: int) -> None:
        self._heading("Making the tables")
        call_command("migrate", verbosity=0, interactive=False)
        self._heading("Loading when web features reached the browsers, but not what decays")
        call_command("load_features", verbosity=verbosity)
        self._heading("Simulating a year of leads")
        call_command("simulate_leads", verbosity=verbosity)
        self._heading("Simulating half a year of coaching")
        call_command("simulate_coaching", verbosity=verbosity)
        self._heading("Firing the decays that fell due: 30 months after all browsers had a feature")
        call_command("run_periodic_schedule", until=report.UNTIL.isoformat(), verbosity=verbosity)

    def _report(self) -> None:
        self._heading(f"Web features: levels at the end of each year, to {report.UNTIL:%Y-%m-%d}")
        self._lines(report.features())
        self._heading(f"Leads: levels at the end of each month, to {report.UNTIL:%Y-%m-%d}")
        self._lines(report.leads())
        self._heading(f"Coaching: levels at the end of each month, to {report.UNTIL:%Y-%m-%d}")
        self._lines(report.profiles())
        self._heading("One lead's audit trail")
        lead = Lead.objects.order_by("-stock_version", "pk")[0]
        call_command("stockflow", "audit", Lead._meta.label, str(lead.pk))

    def _make_user(self) -> None:
        users = get_user_model()
        user, _ = users.objects.get_or_create(username=NAME)
        user.is_staff = user.is_superuser = user.is_active = True
        user.set_password(PASSWORD)
        user.save()

    def _heading(self, text: str) -> None:
        self._lines(["", self.style.MIGRATE_HEADING(f"==> {text}")])
        self.stdout.flush()  # before a progress bar, which goes elsewhere

    def _lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.stdout.write(line)
