"""Each app has one chain of migrations, and the glossary lists every model."""

import re

import pytest
from django.apps import AppConfig, apps
from django.db.migrations.loader import MigrationLoader

from tests.guards.project import ROOT

APPS = [config for config in apps.get_app_configs() if config.name.startswith("conversations.")]
WITH_MODELS = [config for config in APPS if list(config.get_models())]


def test_the_glossary_lists_every_model() -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    nouns = set(re.findall(r"^\| ([^|]+?) \|", glossary, re.MULTILINE))
    models = {model.__name__ for config in APPS for model in config.get_models()}
    assert len(models) > 20
    assert models <= nouns, f"docs/glossary.md lacks {sorted(models - nouns)}"


@pytest.mark.parametrize("config", WITH_MODELS, ids=lambda config: config.label)
def test_migrations_form_one_chain(config: AppConfig) -> None:
    loader = MigrationLoader(None, ignore_no_migrations=True)
    own = {key: migration for key, migration in loader.disk_migrations.items() if key[0] == config.label}
    assert own
    parents = {
        key: [parent for parent in migration.dependencies if parent[0] == config.label]
        for key, migration in own.items()
    }
    in_order = sorted(own)
    assert [parents[key] for key in in_order] == [[], *([key] for key in in_order[:-1])]
    assert [key[1][:4] for key in in_order] == [f"{number:04}" for number in range(1, len(own) + 1)]
