import pytest

from imgsvc.jobs import BudgetsConfig, JobAccount
from imgsvc.jobs.story import Story
from imgsvc.providers import ProviderCall
from jobs.backends import accept
from jobs.runners import RecordingBackend

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(("waited", "told"), [(0.0, {}), (1.0, {}), (1.5, {"waited": 1.5})])
async def test_a_wait_for_a_turn_is_told_of_if_it_took_more_than_a_second(
    backend: RecordingBackend, waited: float, told: dict[str, float]
) -> None:
    job = await accept(backend)
    account = JobAccount(ledger=backend.ledger, job=job, budgets=BudgetsConfig())
    story = Story(backend=backend, job_id=job.id, account=account)
    story.provider_called(
        ProviderCall(provider="openai", model="m", seconds=2, waited=waited, cost=0)
    )
    called = (await backend.events(job.id, after=1, limit=1))[0]
    assert (
        dict(called.data)
        == {"provider": "openai", "model": "m", "seconds": 2, "cost_usd": 0} | told
    )
