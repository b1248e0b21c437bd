"""Give the highlighting process enough time, so that no test depends on how busy the machine is."""

from collections.abc import Iterator

import pytest

from conversations.common.rendering import highlighting


@pytest.fixture(scope="package", autouse=True)
def unhurried_highlighting() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(highlighting, "TIME_LIMIT_SECONDS", 10.0)
        yield
