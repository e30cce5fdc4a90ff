"""What OpenAPI says of the server is what it does: requests made of the description, and of its opposite, by schemathesis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from codi2_model.serving.http.api import build_api
from codi2_model.serving.http.media import Limits

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")
# A random text is no data: URL and no model's name: a request of the right form may be refused all the same.
LEFT_OUT = [checks.positive_data_acceptance]
BOUNDED = settings(
    max_examples=60, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.fixture(scope="module")
def operations(engine: Any) -> Iterator[list[Any]]:
    from codi2_model.serving.deploy.settings import ServerSettings
    from codi2_model.serving.scheduler.pipeline import Pipeline

    chosen = ServerSettings(limits=Limits(steps=2, new_tokens=4))
    pipeline = Pipeline(engine, chosen)
    description = schemathesis.openapi.from_asgi(
        "/openapi.json", build_api(pipeline, chosen, sizes=lambda: {"image": 32, "video": 32})
    )
    yield [found.ok() for found in description.get_all_operations()]
    pipeline.close()


@pytest.mark.parametrize("mode", [*schemathesis.GenerationMode], ids=lambda mode: mode.value)
def test_the_server_answers_as_it_is_described(operations: list[Any], mode: Any) -> None:
    asked = 0
    for operation in operations:
        if mode is schemathesis.GenerationMode.NEGATIVE and not operation.body:
            continue  # nothing that could be wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @BOUNDED
        def check(case: Any) -> None:
            nonlocal asked
            asked += 1
            case.call_and_validate(excluded_checks=LEFT_OUT)

        check()
    assert asked > 200
