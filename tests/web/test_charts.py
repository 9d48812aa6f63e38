"""Pictures: where lines and ticks go."""

from datetime import UTC, datetime, timedelta

import pytest

from stockflow.projections.answers import SeriesRow
from stockflow.projections.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, line_chart

START = datetime(2026, 1, 1, tzinfo=UTC)


def rows(*values: int, every: timedelta = timedelta(days=1)) -> list[SeriesRow]:
    """Return a series of adjoining buckets."""
    return [
        SeriesRow(START + n * every, START + (n + 1) * every, value)
        for n, value in enumerate(values)
    ]


def test_points_span_the_canvas() -> None:
    """The last value lies at the right edge, the highest tick at the top, zero at the bottom."""
    chart = line_chart("Levels", [("hot", rows(0, 10))], UTC)

    (line,) = chart.lines
    middle = (LEFT + WIDTH - RIGHT) / 2
    assert line.points == f"{middle},{HEIGHT - BOTTOM:.1f} {WIDTH - RIGHT:.1f},{TOP:.1f}"


@pytest.mark.parametrize(
    ("highest", "texts"),
    [
        (0, ["0", "1"]),
        (3, ["0", "1", "2", "3"]),
        (15_088, ["0", "5,000", "10,000", "15,000", "20,000"]),
    ],
)
def test_level_ticks_are_round(highest: int, texts: list[str]) -> None:
    """Ticks of levels are round numbers, from zero to above the highest."""
    chart = line_chart("Levels", [("hot", rows(0, highest))], UTC)

    assert [tick.text for tick in chart.levels] == texts


@pytest.mark.parametrize(
    ("every", "number", "first", "most"),
    [
        (timedelta(hours=1), 6, "00:00", 7),
        (timedelta(days=1), 9, "1 Jan", 10),
        (timedelta(weeks=1), 9, "5 Jan", 10),
        (timedelta(weeks=1), 40, "Jan 2026", 11),
        (timedelta(weeks=1), 110, "Jan 2026", 11),
        (timedelta(days=365), 9, "2026", 11),
        (timedelta(days=365), 60, "2030", 11),
    ],
    ids=["hours", "days", "weeks", "months", "quarters", "years", "decades"],
)
def test_time_ticks_are_periods(every: timedelta, number: int, first: str, most: int) -> None:
    """Ticks of time are the beginnings of periods, few enough to be read."""
    chart = line_chart("Levels", [("hot", rows(*range(number), every=every))], UTC)

    texts = [tick.text for tick in chart.instants]
    assert texts[0] == first
    assert 2 < len(texts) <= most


def test_many_lines() -> None:
    """Of many lines those that end highest have colours; grey ones lie below."""
    chart = line_chart("Levels", [(str(n), rows(n)) for n in range(10)], UTC)

    assert {line.name: line.colour for line in chart.lines} == {
        "0": 0,
        "1": 0,
        **{str(n): n - 1 for n in range(2, 10)},
    }
    assert [line.colour for line in chart.drawn[:2]] == [0, 0]


def test_nothing_to_draw() -> None:
    """Without rows there are no lines and no axes."""
    assert line_chart("Levels", [("hot", [])], UTC).levels == ()
