"""The feed of a stock's line chart."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from stockflow.domain.errors import StockflowError
from stockflow.projections import registry
from stockflow.projections.feeds import line_chart_feed
from stockflow.projections.forms import FeedForm
from stockflow.projections.permissions import may_view


@require_safe
def line_chart(request: HttpRequest, slug: str) -> JsonResponse:
    """Send the last levels of one stock, to staff that may view its objects.

    ``?every=week&last=12&by=channel``; what cannot be asked for is answered by 400 with an
    ``error`` that says why.
    """
    stock = registry.declared.stocks.get(slug)
    if not getattr(request.user, "is_staff", False):
        return _refusal("Log in as staff to see numbers.", 403)
    if stock is None:
        return _refusal(f"There is no stock {slug!r}.", 404)
    if not may_view(request.user, [stock]):
        return _refusal(f"You may not view the objects of {slug!r}.", 403)
    form = FeedForm(request.GET)
    if not form.is_valid():
        said = [f"{name}: {' '.join(map(str, told))}" for name, told in form.errors.items()]
        return _refusal(" ".join(said), 400)
    try:
        return JsonResponse(line_chart_feed(stock, **form.asked()))
    except StockflowError as error:
        return _refusal(str(error), 400)


def _refusal(why: str, status: int) -> JsonResponse:
    return JsonResponse({"error": why}, status=status)
