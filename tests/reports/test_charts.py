"""Charts: scales, ticks, and what is drawn, by hand-computed positions."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinup.plotting.curves import Curve
from spinup.reports.charts import MAX_POINTS, Axis, Line, draw_chart, format_number


def curve(x, y, spread=None):
    return Curve("a", np.array(x, float), np.array(y, float), None if spread is None else np.array(spread))


def points(text, kind):
    """The points of the first path of a class, as pairs."""
    (path, *_) = re.findall(rf'<path class="{kind}[^"]*"[^>]* d="M([^"]*?)Z?"', text)
    return [tuple(map(float, point.split())) for point in path.split("L")]


def test_ticks_are_round_numbers_at_their_places():
    axis = Axis(0.0, 100.0, ticks=4)
    assert axis.ticks == [(0.0, "0"), (0.25, "25"), (0.5, "50"), (0.75, "75"), (1.0, "100")]
    np.testing.assert_allclose(axis.shares(np.array([0.0, 30.0, 100.0])), [0, 0.3, 1])
    assert [text for _, text in Axis(0.0, 20_000.0, ticks=4).ticks] == ["0", "5k", "10k", "15k", "20k"]
    assert [text for _, text in Axis(-1500.0, 0.0, ticks=3).ticks] == ["-1500", "-1000", "-500", "0"]


def test_logarithmic_ticks_are_powers_of_ten():
    axis = Axis(0.01, 100.0, log=True)
    assert [text for _, text in axis.ticks] == ["0.01", "0.1", "1", "10", "100"]
    np.testing.assert_allclose(axis.shares(np.array([0.01, 1.0, 100.0])), [0, 0.5, 1])


@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300), st.booleans())
def test_any_finite_range_has_a_scale(a, b, padded):
    low, high = sorted((a, b))
    axis = Axis(low, high, padding=0.06 if padded else 0.0)
    shares = axis.shares(np.array([low, high]))
    assert ((shares > -1e-9) & (shares < 1 + 1e-9)).all()
    assert len(axis.ticks) <= 12
    assert all(0 <= share <= 1 for share, _ in axis.ticks)


def test_line_and_band_are_where_the_numbers_say():
    text = draw_chart("t", "x", [Line(3, curve([0, 5, 10], [0, 1, 2], [1, 1, 1]))])
    # y reaches from -1 to 3, with 6% of the range at both ends: 0 is at (0 + 1.24) / 4.48 from below.
    heights = [round(1000 * (1 - (y + 1.24) / 4.48), 1) for y in (0, 1, 2)]
    assert points(text, "line mean g3") == list(zip([0, 500, 1000], heights, strict=True))
    upper = [round(1000 * (1 - (y + 1.24) / 4.48), 1) for y in (1, 2, 3)]
    lower = [round(1000 * (1 - (y + 1.24) / 4.48), 1) for y in (-1, 0, 1)]
    expected = [*zip([0, 500, 1000], upper, strict=True), *zip([1000, 500, 0], lower[::-1], strict=True)]
    assert points(text, "band g3") == expected


def test_a_wide_positive_range_is_logarithmic_even_if_the_band_reaches_below_zero():
    text = draw_chart("loss", "x", [Line(0, curve([0, 1, 2], [0.1, 10, 1000], [0.2, 1, 1]))])
    assert 'data-log="1"' in text
    assert "logarithmic" in text
    heights = [y for _, y in points(text, "line")]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.3)
    assert "nan" not in text


def test_long_lines_keep_first_and_last_point():
    text = draw_chart("t", "x", [Line(0, curve(np.arange(10_000), np.zeros(10_000)))])
    drawn = points(text, "line")
    assert len(drawn) == MAX_POINTS
    assert (drawn[0][0], drawn[-1][0]) == (0, 1000)


def test_one_point_is_a_dot_and_no_point_no_chart():
    drawn = points(draw_chart("t", "x", [Line(0, curve([5], [7]))]), "line mean dot")
    assert drawn == [(500.0, 500.0)] * 2
    assert draw_chart("t", "x", [Line(0, curve([], []))]) == ""


def test_text_is_escaped():
    text = draw_chart("<b>", '"x', [Line(0, curve([0, 1], [0, 1]), label='"><i>')])
    assert "<b>" not in text
    assert "<i>" not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-145.216, "-145.2"), (12345.6, "12,346"), (2e12, "2e12"), (1.5e-7, "1.5e-7"), (math.nan, "")],
)
def test_format_number(value, text):
    assert format_number(value) == text
