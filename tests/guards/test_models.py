"""The data: one line of migrations, and a word in the glossary for each model."""

import re

from django.apps import apps
from django.db.migrations.loader import MigrationLoader

from tests.guards.project import ROOT

APP = "conversations"


def test_the_glossary_names_every_model() -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    nouns = set(re.findall(r"^\| ([^|]+?) \|", glossary, re.MULTILINE))
    models = {model.__name__ for model in apps.get_app_config(APP).get_models()}
    assert models
    assert models <= nouns, f"docs/glossary.md lacks {sorted(models - nouns)}"


def test_migrations_follow_one_another() -> None:
    loader = MigrationLoader(None, ignore_no_migrations=True)
    own = {key: migration for key, migration in loader.disk_migrations.items() if key[0] == APP}
    assert own
    parents = {
        key: [parent for parent in migration.dependencies if parent[0] == APP]
        for key, migration in own.items()
    }
    in_order = sorted(own)
    assert [parents[key] for key in in_order] == [[], *([key] for key in in_order[:-1])]
    assert [key[1][:4] for key in in_order] == [f"{number:04}" for number in range(1, len(own) + 1)]
