"""All refusals have one base class, whose text can be shown to the user."""

import inspect
import pkgutil
from importlib import import_module

import conversations
from conversations.common.refusals import Refused


def test_every_exception_of_a_service_is_a_refusal() -> None:
    kinds = {"forms", "rules", "selectors", "services"}
    names = [
        found.name
        for found in pkgutil.walk_packages(conversations.__path__, "conversations.")
        if len(found.name.split(".")) > 2 and found.name.split(".")[2] in kinds
    ]
    modules = [import_module(name) for name in names]
    assert len(modules) > 20
    own = {
        found
        for module in modules
        for _name, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, Exception) and found.__module__ == module.__name__
    }
    assert own
    assert not {found.__qualname__ for found in own if not issubclass(found, Refused)}
