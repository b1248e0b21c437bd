"""A complete chat with the real demo model. Checks the structure of the answer, not its content."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from conversations.llm import embedded
from tests.site import Site


@pytest.mark.skipif(not embedded.is_installed(), reason="The demo model's packages are not installed here.")
def test_a_chat_with_the_demo_model(tmp_path: Path) -> None:
    site = Site(tmp_path / "data")
    del site.settings["OPENAI_BASE_URL"], site.settings["CHAT_MODEL"]
    site.start_empty()
    assert "SmolLM2 135M (on this machine)" in site.web.output
    visitor = site.log_in()
    assert "SmolLM2 135M" in visitor.client.get("/").text
    with visitor.socket() as page:
        page.send(
            action="send",
            conversation="",
            client_id="4a1f1f0e-6c39-4d0e-8f0f-0a3f6e0c7b11",
            text="Name three colours.",
            max_tokens="24",
        )
        frames = page.until("The answer is complete", seconds=60)
    assert re.search(r"<(p|li|ol|ul)[ >]", frames)
    with closing(sqlite3.connect(tmp_path / "data" / "chat.sqlite3")) as database:
        [(status, reason, read, written, is_estimated, text)] = database.execute(
            "SELECT g.status, g.finish_reason, g.prompt_tokens, g.completion_tokens, g.usage_is_estimated, m.text "
            "FROM chat_generation g JOIN chat_message m ON m.id = g.message_id"
        ).fetchall()
    assert status == "complete"
    assert reason in {"stop", "length"}
    assert read > 10
    assert 0 < written <= 24
    assert not is_estimated
    assert text.strip()
    assert site.web.end() == 0
