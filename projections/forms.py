"""What a page's address may ask for."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta, tzinfo
from typing import Any, Final

from dateutil.relativedelta import relativedelta
from django import forms
from django.utils import timezone

from stockflow import conf
from stockflow.domain.errors import InvalidBuckets
from stockflow.domain.intervals import GRAINS, buckets, start_of_day
from stockflow.projections.processes import Process

MOST_BUCKETS: Final = 1_000
"""The most rows that a page shows."""


class RangeForm(forms.Form):
    """The range of time of a process's page, how to cut it and what to split it by."""

    start = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}))
    end = forms.DateField(label="Before", widget=forms.DateInput(attrs={"type": "date"}))
    every = forms.ChoiceField(label="Every", choices=[(grain, grain) for grain in GRAINS])
    by = forms.ChoiceField(label="By", required=False)

    def __init__(self, process: Process, asked: Mapping[str, str], now: datetime) -> None:
        self.zone: tzinfo = conf.time_zone()
        today = now.astimezone(self.zone).date()
        usual = {
            "start": (today - relativedelta(years=1)).isoformat(),
            "end": (today + timedelta(days=1)).isoformat(),
            "every": "week",
        }
        super().__init__({**usual, **{name: text for name, text in asked.items() if text}})
        by: Any = self.fields["by"]
        by.choices = [("", "nothing"), *((facet.slug, facet.name) for facet in process.facets)]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        try:
            start, end = self._instant(cleaned["start"]), self._instant(cleaned["end"])
            if end <= start:
                raise forms.ValidationError(
                    f"No day is from {cleaned['start']} on and before {cleaned['end']}: "
                    "ask for a later end."
                )
            cut = buckets(
                start, end, cleaned["every"], self.zone, first_weekday=conf.first_weekday()
            )
        except InvalidBuckets as error:
            raise forms.ValidationError(str(error)) from None
        if len(cut) > MOST_BUCKETS:
            raise forms.ValidationError(
                f"{cleaned['start']} to {cleaned['end']} has {len(cut):,} rows of one "
                f"{cleaned['every']}, and a page shows {MOST_BUCKETS:,}: "
                "ask for a shorter range or a longer period."
            )
        return {**cleaned, "start": start, "end": end}

    def _instant(self, day: date) -> datetime:
        try:
            return start_of_day(day, self.zone)
        except (OverflowError, ValueError):
            raise forms.ValidationError(f"{day} is outside of the calendar.") from None


class FeedForm(forms.Form):
    """What the feed of a stock's chart may be asked for."""

    every = forms.ChoiceField(required=False, choices=[(grain, grain) for grain in GRAINS])
    last = forms.IntegerField(required=False, min_value=1, max_value=MOST_BUCKETS)
    by = forms.CharField(required=False)

    def asked(self) -> dict[str, Any]:
        """Return what was given, as arguments."""
        return {name: value for name, value in self.cleaned_data.items() if value}


class InstantForm(forms.Form):
    """The instant at which to look at a stock; now, if none is given."""

    at = forms.DateTimeField(
        label="As of",
        required=False,
        widget=forms.DateTimeInput(
            attrs={"type": "datetime-local", "step": 1}, format="%Y-%m-%dT%H:%M:%S"
        ),
    )

    def __init__(self, asked: Mapping[str, str], now: datetime) -> None:
        self.now = now
        super().__init__(asked)

    def clean_at(self) -> datetime | None:
        """Refuse an instant that is yet to come."""
        at: datetime | None = self.cleaned_data["at"]
        if at is not None:  # shown as its widget wants it, however it was written
            self.data = {"at": f"{timezone.localtime(at):%Y-%m-%dT%H:%M:%S}"}
        if at is not None and at > self.now:
            raise forms.ValidationError(
                f"{at:%Y-%m-%d %H:%M:%S} is yet to come: nobody knows who will be in the stock."
            )
        return at
