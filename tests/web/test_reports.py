"""A process in a template of a project's own."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.template import Context, Template, TemplateSyntaxError

from example.crm.models import Lead
from example.crm.stocks import sales
from stockflow.errors import InvalidDeclaration
from stockflow.testing import Clock
from tests.web.conftest import NOW

Show = Callable[..., str]


@pytest.fixture(name="show")
def _show(db: None, time: Clock) -> Show:
    root = User.objects.create_superuser("root")

    def show(text: str, **told: Any) -> str:
        return Template("{% load stockflow %}" + text).render(Context({"user": root, **told}))

    return show


def test_a_process_in_two_lines(show: Show, lead: Lead) -> None:
    """Loading the tags and naming the process shows pictures and tables."""
    text = show('{% process "sales" every="month" last=3 %}')

    assert text.count("<polyline") == 5
    assert text.count("Jan 2026") + text.count("Mar 2026") >= 2
    assert "Pipeline: roll-forward" in text
    assert "Dec 2025" not in text


def test_a_process_by_facet(show: Show, lead: Lead) -> None:
    """Each facet value has rows of its own, from opening to closing."""
    Lead.objects.create(channel="fair", owner=lead.owner)
    text = show('{% process_report process every="day" last=2 by="channel" as report %}'
                "{% for row in report.roll_forwards.0.rows %}"
                "{{ row.period }} {{ row.value }} {{ row.numbers|join:' ' }};{% endfor %}",
                process=sales)  # fmt: skip

    names = sales.report(NOW, NOW + timedelta(days=1), every="day")
    assert names.roll_forwards[0].names[:2] == ("Opening", "+ Arriving")
    assert text.split(";")[-3:] == [
        "2026-03-03 Trade fair 0 1 0 0 0 0 1 0",
        "2026-03-03 Web 0 1 0 0 0 0 1 0",
        "",
    ]


def test_a_page_has_the_style(show: Show, lead: Lead) -> None:
    """A report knows the file that it needs."""
    text = show('{% process_report "sales" as report %}{{ report.media }}')

    assert 'href="/static/stockflow/pages.css"' in text


@pytest.mark.parametrize("who", ["anonymous", "stranger"])
def test_who_may_not_see_sees_nothing(show: Show, lead: Lead, who: str) -> None:
    """Neither numbers nor names."""
    user = AnonymousUser() if who == "anonymous" else User.objects.create_user("stranger")
    text = show('{% process "sales" %}|{% stock_count "hot" %}', user=user)

    assert text.strip() == "|None"


def test_a_level(show: Show, lead: Lead) -> None:
    """One number, now or as of an instant."""
    before = NOW - timedelta(days=1)

    assert show('{% stock_count "hot" %}') == "1"
    assert show('{% stock_count "hot" at=before %}', before=before) == "0"


def test_nobody_asks(lead: Lead) -> None:
    """Without a request or a user nothing is shown to anybody."""
    with pytest.raises(InvalidDeclaration, match="does not know who asks: render the template"):
        Template('{% load stockflow %}{% process "sales" %}').render(Context())


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ('process "sails"', r"There is no process 'sails' \(declared: .*'sales'.*\): name one"),
        ('stock_count "hut"', r"There is no stock 'hut' \(declared: .*'hot'"),
    ],
)
def test_what_is_not_declared(show: Show, tag: str, message: str) -> None:
    """The error says what is."""
    with pytest.raises(InvalidDeclaration, match=message):
        show("{% " + tag + " %}")


def test_an_argument_that_there_is_not(show: Show) -> None:
    """A slip in a template is no silence."""
    with pytest.raises((TypeError, TemplateSyntaxError), match="evry"):
        show('{% process "sales" evry="month" %}')
