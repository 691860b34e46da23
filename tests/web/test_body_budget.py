"""How room for bodies is shared out, without any."""

import pytest

from imgsvc.errors import ClientLimitReached, ServerBusy
from imgsvc.web.body_budget import BodyBudget


def test_a_body_that_grows_past_the_share_of_its_client_is_refused_and_counted_back() -> None:
    budget = BodyBudget(limit=100, of_client=50)
    with budget.share("ann", 0) as one, budget.share("ann", 0) as two:
        one.take(30)
        with pytest.raises(ClientLimitReached):
            two.take(21)
        two.take(20)
        with budget.share("bob", 50) as other:
            other.take(50)
            with pytest.raises(ServerBusy), budget.share("cy", 1):
                pass
    assert budget.used == 0
    with budget.share("ann", 50) as again:
        again.take(50)
