"""Foreign keys follow the contract between subjects: they lead to the same subject or to a lower one."""

import re
import tomllib

import pytest
from django.apps import AppConfig, apps

from tests.guards.project import ROOT

WITH_MODELS = [
    config
    for config in apps.get_app_configs()
    if config.name.startswith("conversations.") and list(config.get_models())
]


def heights() -> dict[str, int]:
    """Return the position of each subject in the contract between subjects; 0 is the top."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = pyproject["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["id"] == "subjects"]
    return {name: height for height, layer in enumerate(layers) for name in re.findall(r"\w+", layer)}


@pytest.mark.parametrize("config", WITH_MODELS, ids=lambda config: config.label)
def test_foreign_keys_lead_to_the_same_subject_or_a_lower_one(config: AppConfig) -> None:
    subjects = heights()
    fields = [
        (field, field.related_model._meta.app_label)
        for model in config.get_models()
        for field in [*model._meta.fields, *model._meta.many_to_many]
        if field.is_relation and field.related_model
    ]
    upward = [
        str(field)
        for field, label in fields
        if label in subjects and label != config.label and subjects[label] <= subjects[config.label]
    ]
    assert not upward
