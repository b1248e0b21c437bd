"""Each effect of a decision is one class, and listing it is enough to use it everywhere."""

import inspect
import pkgutil
from importlib import import_module

import conversations
from conversations.review.models import ReviewEvent
from conversations.review.services import effects

MODULES = [
    info.name
    for info in pkgutil.walk_packages(conversations.__path__, "conversations.")
    if ".services.effects" in info.name
]
KINDS = {
    found
    for name in MODULES
    for _name, found in inspect.getmembers(import_module(name), inspect.isclass)
    if issubclass(found, effects.Effect) and not inspect.isabstract(found)
}


def test_every_effect_is_listed_once() -> None:
    listed = [*effects.EFFECTS, *effects.CONSEQUENCES]
    assert len(listed) == len(set(listed))
    assert len({name.split(".")[1] for name in MODULES}) > 1
    assert set(listed) == KINDS


def test_effects_share_no_fields_and_no_log_names() -> None:
    fields = [name for kind in effects.EFFECTS for name in kind.fields]
    names = [name for kind in effects.EFFECTS for name in kind.labels]
    assert len(fields) == len(set(fields))
    assert len(names) == len(set(names))


def test_every_effect_declares_its_outcomes_and_log_entries() -> None:
    typed = {
        name: 7 if name == "suspension_days" else "x" for kind in effects.EFFECTS for name in kind.fields
    }
    chosen = effects.read(typed)
    assert [type(effect) for effect in chosen] == list(effects.EFFECTS)
    for effect in chosen:
        assert effect.outcomes <= set(ReviewEvent.Outcome.values) - {""}
        assert effect.outcomes
        assert list(effect.log()) == list(effect.labels)
        assert not effect.switch or effect.switch in effect.fields
    assert effects.read({}) == ()
