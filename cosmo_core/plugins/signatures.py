"""Checking a plugin against the specifications, whole, before any of it is registered."""

from __future__ import annotations

import inspect
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from cosmo_core.errors import HookError
from cosmo_core.plugins import specs
from cosmo_core.plugins.specs import ASYNC_HOOKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pluggy

SPECS: Final[Mapping[str, Callable[..., Any]]] = {
    name: value for name, value in vars(specs).items() if name.startswith("cosmo_")
}
COMPOSITION_HOOKS: Final = frozenset(SPECS) - ASYNC_HOOKS - {"cosmo_error_info"}
NO_WRAPPERS: Final = (
    "a wrapper cannot span an await; to wrap Signals or Neurons, return a middleware or a wrapper"
)
NO_PLACES: Final = "order is the integer COSMO_ORDER of the plugin"
REFUSED_OPTIONS: Final = {
    "wrapper": NO_WRAPPERS,
    "hookwrapper": NO_WRAPPERS,
    "tryfirst": NO_PLACES,
    "trylast": NO_PLACES,
}


def check_plugin(marks: pluggy.PluginManager, name: str, plugin: object) -> None:
    """Refuse a plugin of which anything does not fit its specification.

    Args:
        marks: Finds the functions that are marked with ``hookimpl``.
        name: The name of the plugin.
        plugin: The module or object.

    Raises:
        HookError: What does not fit, with both signatures.
    """
    options = {attribute: marks.parse_hookimpl_opts(plugin, attribute) for attribute in dir(plugin)}
    marked = {attribute: mark for attribute, mark in options.items() if mark is not None}
    for hook in SPECS:
        if hook in options and hook not in marked:
            raise HookError(f"plugin {name!r}: {hook} is not a function marked with @hookimpl")
    if not marked:
        raise HookError(f"plugin {name!r} has no function marked with @hookimpl: {plugin!r}")
    for attribute, mark in marked.items():
        hook = mark["specname"] or attribute
        if hook in SPECS:
            _check_options(name, hook, mark)
            _check_function(name, hook, getattr(plugin, attribute))
        elif not mark["optionalhook"]:
            raise HookError(f"plugin {name!r}: there is no hook {hook}{_meant(hook, SPECS)}")


def parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """Give the names of the arguments that a function takes."""
    return tuple(_signature(function).parameters)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        # Annotations are lazy there; evaluating them would need what plugins import for type checkers only.
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.STRING)
    else:  # noqa: RET505 - without it a checker for 3.14 calls the rest unreachable
        return inspect.signature(function)


def _check_options(name: str, hook: str, mark: Mapping[str, Any]) -> None:
    for option, why in REFUSED_OPTIONS.items():
        if mark[option]:
            raise HookError(f"plugin {name!r}: {hook} uses {option}=True, which is refused: {why}")


def _check_function(name: str, hook: str, function: Callable[..., Any]) -> None:
    problem = _wrong_parameters(hook, function) or _wrong_kind(hook, function)
    if problem is not None:
        raise HookError(
            f"plugin {name!r}: {hook} {problem}\n"
            f"plugin:        {_shown(function)}\n"
            f"specification: {_shown(SPECS[hook])}"
        )


def _wrong_parameters(hook: str, function: Callable[..., Any]) -> str | None:
    allowed = parameters(SPECS[hook])
    for parameter in _signature(function).parameters.values():
        if parameter.name == "self":
            return "is a method of a class: register an instance, not the class"
        if parameter.name not in allowed:
            meant = _meant(parameter.name, allowed)
            return f"takes {parameter.name!r}, which the specification does not have{meant}"
        if parameter.kind is parameter.POSITIONAL_ONLY:
            return f"takes {parameter.name!r} by position only, and arguments are passed by name"
    return None


def _wrong_kind(hook: str, function: Callable[..., Any]) -> str | None:
    if inspect.isasyncgenfunction(function):
        return "is an async generator, which nothing would run"
    if inspect.iscoroutinefunction(function) and hook not in ASYNC_HOOKS:
        return "is a coroutine function, and only the life-cycle hooks may be: nothing would await it"
    if inspect.isgeneratorfunction(function) and hook not in COMPOSITION_HOOKS:
        return "is a generator, which nothing would run"
    return None


def _shown(function: Callable[..., Any]) -> str:
    signature = _signature(function)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    prefix = "async def" if inspect.iscoroutinefunction(function) else "def"
    names = signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    return f"{prefix} {function.__name__}{names}"


def _meant(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there is {', '.join(known)}"
