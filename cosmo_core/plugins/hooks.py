"""The hook plugins: validation against the specifications, registration, and the calls of the hooks.

The only module that uses pluggy beside `cosmo_core.plugins.specs`. pluggy recognises the marked functions and
stores the plugins; this module calls them, so that each result stays attributed to its plugin: it collects
contributions, asks for a decision, and runs the life cycle.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar

import attrs
import pluggy

from cosmo_core.arguments import did_you_mean
from cosmo_core.contracts.boundary import described, must_pass
from cosmo_core.errors import HookError, PluginConflictError
from cosmo_core.plugins import specs
from cosmo_core.plugins.shapes import ErrorInfo
from cosmo_core.plugins.specs import ASYNC_HOOKS

T = TypeVar("T")

_log = logging.getLogger("cosmo_core.plugins")

SPECS: Final[Mapping[str, Callable[..., Any]]] = {
    name: value for name, value in vars(specs).items() if name.startswith("cosmo_")
}
COMPOSITION_HOOKS: Final = frozenset(SPECS) - ASYNC_HOOKS - {"cosmo_error_info"}
NO_WRAPPERS: Final = (
    "a wrapper cannot span an await; to wrap Signals or Neurons, return a middleware or a wrapper"
)
NO_POSITIONS: Final = "set the integer COSMO_ORDER of the plugin instead"
REFUSED_OPTIONS: Final = {
    "wrapper": NO_WRAPPERS,
    "hookwrapper": NO_WRAPPERS,
    "tryfirst": NO_POSITIONS,
    "trylast": NO_POSITIONS,
}


# --- registered plugins -----------------------------------------------------------------------------


@attrs.frozen
class HookPlugin:
    """A registered hook plugin.

    Attributes:
        name: Its name.
        distribution: Its distribution; None if the program registered it itself.
        version: The version of that distribution.
        order: Its position: lower ones are called first, equal ones by name.
    """

    name: str
    distribution: str | None
    version: str | None
    order: int

    def __str__(self) -> str:
        origin = f"{self.distribution} {self.version}" if self.distribution else "this program"
        return f"plugin {self.name} of {origin}"

    @contextmanager
    def noting_errors(self) -> Iterator[None]:
        """Add a note with this plugin's name to any exception; one that is not an `Exception` is wrapped."""
        try:
            yield
        except BaseException as error:
            error.add_note(f"from {self}")
            if isinstance(error, Exception) or must_pass(error):
                raise
            raise HookError(f"{self} raised {described(error)}") from error


@attrs.frozen
class Implementation:
    """One plugin's function for one hook. Calling it passes only the arguments that the function takes."""

    plugin: HookPlugin
    hook: str
    function: Callable[..., Any]
    parameters: tuple[str, ...]

    def __call__(self, **arguments: Any) -> Any:
        """Call the function."""
        return self.function(**{name: arguments[name] for name in self.parameters})


class HookRegistry:
    """The registered hook plugins and their implementations of each hook."""

    def __init__(self) -> None:
        self._pluggy = pluggy.PluginManager(specs.PROJECT)
        self._pluggy.add_hookspecs(specs)
        self._plugins: dict[str, HookPlugin] = {}
        self._implementations: dict[str, tuple[Implementation, ...]] = {}

    @property
    def plugins(self) -> Sequence[HookPlugin]:
        """Every registered plugin."""
        return tuple(self._plugins.values())

    def implementations(self, hook: str) -> Sequence[Implementation]:
        """Return the implementations of a hook in the order ``(order, plugin name)``."""
        return self._implementations.get(hook, ())

    def register(
        self,
        plugin: object,
        name: str,
        *,
        order: int | None = None,
        distribution: str | None = None,
        version: str | None = None,
    ) -> None:
        """Register a plugin as a whole; if it is not valid, register nothing of it.

        Args:
            plugin: A module or object with functions marked with ``hookimpl``.
            name: A unique name.
            order: Its position; if None, ``COSMO_ORDER`` of the plugin, or 0.
            distribution: Its distribution; None for this program.
            version: The version of that distribution.

        Raises:
            HookError: The plugin does not fit the specifications.
            PluginConflictError: The name, or the plugin, is already registered.
        """
        if name in self._plugins:
            taken = self._plugins[name]
            raise PluginConflictError(f"the name {name!r} is already taken by {taken}: choose another")
        check_plugin(self._pluggy, name, plugin)
        record = HookPlugin(name, distribution, version, _order(name, plugin, order))
        try:
            self._pluggy.register(plugin, name)
        except ValueError as error:
            known = self._pluggy.get_name(plugin)
            raise PluginConflictError(
                f"plugin {name!r} equals plugin {known!r}, which is already registered"
            ) from error
        self._plugins[name] = record
        self._sort()

    def _sort(self) -> None:
        # pluggy's own order is the reverse of registration, which would be the order of directories.
        for caller in vars(self._pluggy.hook).values():
            found = [
                Implementation(
                    self._plugins[impl.plugin_name], caller.name, impl.function, parameters(impl.function)
                )
                for impl in caller.get_hookimpls()
            ]
            found.sort(key=lambda one: (one.plugin.order, one.plugin.name, one.function.__name__))
            self._implementations[caller.name] = tuple(found)


def _order(name: str, plugin: object, order: int | None) -> int:
    position = getattr(plugin, "COSMO_ORDER", 0) if order is None else order
    if type(position) is not int:
        raise HookError(f"plugin {name!r}: its order must be an integer, got {position!r}")
    return position


# --- validation -------------------------------------------------------------------------------------


def check_plugin(marks: pluggy.PluginManager, name: str, plugin: object) -> None:
    """Check a whole plugin against the specifications, before any of it is registered.

    Args:
        marks: Finds the functions that are marked with ``hookimpl``.
        name: The name of the plugin.
        plugin: The module or object.

    Raises:
        HookError: A function does not fit; the message shows its signature and the specification.
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
            raise HookError(f"plugin {name!r}: unknown hook {hook}; {did_you_mean(hook, SPECS)}")


def parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the parameters of a function."""
    return tuple(_signature(function).parameters)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        # Annotations are lazy there; evaluating them would need what plugins import for type checkers only.
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.STRING)
    else:  # noqa: RET505 - without it a checker for 3.14 calls the rest unreachable
        return inspect.signature(function)


def _check_options(name: str, hook: str, mark: Mapping[str, Any]) -> None:
    for option, reason in REFUSED_OPTIONS.items():
        if mark[option]:
            raise HookError(f"plugin {name!r}: {hook} uses {option}=True, which is not allowed: {reason}")


def _check_function(name: str, hook: str, function: Callable[..., Any]) -> None:
    problem = _wrong_parameters(hook, function) or _wrong_kind(hook, function)
    if problem is not None:
        raise HookError(
            f"plugin {name!r}: {hook} {problem}\n"
            f"plugin:        {_displayed(function)}\n"
            f"specification: {_displayed(SPECS[hook])}"
        )


def _wrong_parameters(hook: str, function: Callable[..., Any]) -> str | None:
    allowed = parameters(SPECS[hook])
    for parameter in _signature(function).parameters.values():
        if parameter.name == "self":
            return "is a method of a class: register an instance, not the class"
        if parameter.name not in allowed:
            suggestion = did_you_mean(parameter.name, allowed)
            return f"takes {parameter.name!r}, which the specification does not have; {suggestion}"
        if parameter.kind is parameter.POSITIONAL_ONLY:
            return f"takes {parameter.name!r} by position only, but arguments are passed by name"
    return None


def _wrong_kind(hook: str, function: Callable[..., Any]) -> str | None:
    if inspect.isasyncgenfunction(function):
        return "is an async generator, which nothing would run"
    if inspect.iscoroutinefunction(function) and hook not in ASYNC_HOOKS:
        return "is a coroutine function, which only the life-cycle hooks may be: nothing would await it"
    if inspect.isgeneratorfunction(function) and hook not in COMPOSITION_HOOKS:
        return "is a generator, which nothing would run"
    return None


def _displayed(function: Callable[..., Any]) -> str:
    signature = _signature(function)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    prefix = "async def" if inspect.iscoroutinefunction(function) else "def"
    names = signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    return f"{prefix} {function.__name__}{names}"


# --- composition hooks ------------------------------------------------------------------------------


@attrs.frozen
class Contribution(Generic[T]):
    """One value that a plugin contributed.

    Attributes:
        plugin: The name of the plugin.
        distribution: The distribution of the plugin; None if the program registered it itself.
        version: The version of that distribution.
        order: The position of the plugin; contributions come in the order ``(order, plugin)``.
        value: The contributed value.
    """

    plugin: str
    distribution: str | None
    version: str | None
    order: int
    value: T


def collect(
    implementations: Sequence[Implementation], arguments: Mapping[str, Any], *, plain: bool = False
) -> list[Contribution[Any]]:
    """Call a composition hook of every plugin, in order.

    Args:
        implementations: The functions to call.
        arguments: The arguments of the hook.
        plain: Whether to refuse coroutine functions as contributions.

    Raises:
        HookError: A plugin contributed a value of the wrong kind.
        Exception: The exception of a plugin, with a note that names the plugin.
    """
    found = []
    for implementation in implementations:
        plugin = implementation.plugin
        with plugin.noting_errors():
            for value in _values(implementation, implementation(**arguments)):
                _check(implementation, value, plain=plain)
                found.append(
                    Contribution(plugin.name, plugin.distribution, plugin.version, plugin.order, value)
                )
    return found


def _values(implementation: Implementation, result: Any) -> Iterable[Any]:
    if result is None:
        return ()
    if callable(result):
        return (result,)
    if isinstance(result, Iterable):
        return result
    if inspect.iscoroutine(result):
        result.close()
    raise _wrong_value(implementation, "must return a callable, several of them, or None", result)


def _check(implementation: Implementation, value: object, *, plain: bool) -> None:
    if not callable(value):
        raise _wrong_value(implementation, "must return callables", value)
    if plain and (inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(type(value).__call__)):
        raise _wrong_value(implementation, "must return plain functions, not coroutine functions", value)


def _wrong_value(implementation: Implementation, rule: str, value: object) -> HookError:
    return HookError(f"{implementation.plugin}: {implementation.hook} {rule}; got {value!r}")


# --- decision hooks ---------------------------------------------------------------------------------


def first_decision(
    implementations: Sequence[Implementation], arguments: Mapping[str, Any]
) -> ErrorInfo | None:
    """Return the first result that is not None; a plugin that fails is logged and skipped."""
    for implementation in implementations:
        try:
            with implementation.plugin.noting_errors():
                decision = _decide(implementation, arguments)
        except Exception:  # noqa: BLE001 - a fault of a plugin must not hide the error that it is asked about
            _log.warning("%s is skipped", implementation.plugin, exc_info=True)
        else:
            if decision is not None:
                return decision
    return None


def _decide(implementation: Implementation, arguments: Mapping[str, Any]) -> ErrorInfo | None:
    decision = implementation(**arguments)
    if decision is None or isinstance(decision, ErrorInfo):
        return decision
    raise HookError(f"{implementation.hook} must return an ErrorInfo or None; got {type(decision).__name__}")


# --- life-cycle hooks -------------------------------------------------------------------------------


async def run_started(
    started: Sequence[Implementation], stopping: Sequence[Implementation], arguments: Mapping[str, Any]
) -> None:
    """Run every started hook in order; if one fails, stop the plugins that have started.

    Args:
        started: The started hooks, in order.
        stopping: The stopping hooks, in the same order.
        arguments: The arguments of the hooks.

    Raises:
        BaseException: The exception of the hook that failed. Failures of stopping hooks are logged.
    """
    pending = [implementation.plugin for implementation in started]
    try:
        for implementation in started:
            await _run(implementation, arguments)
            pending.remove(implementation.plugin)
    except BaseException:
        opened = [implementation for implementation in stopping if implementation.plugin not in pending]
        try:
            await run_stopping(opened, arguments)
        except ExceptionGroup:
            _log.exception("plugins failed to stop after an aborted start")
        raise


async def run_stopping(stopping: Sequence[Implementation], arguments: Mapping[str, Any]) -> None:
    """Run every stopping hook in reverse order, even if others fail.

    Raises:
        ExceptionGroup: The exceptions of the hooks.
        CancelledError: The caller was cancelled meanwhile; the remaining hooks have run.
    """
    errors: list[Exception] = []
    interruption: BaseException | None = None
    for implementation in reversed(stopping):
        try:
            await _run(implementation, arguments)
        except Exception as error:  # noqa: BLE001 - gathered: the other plugins have to close too
            errors.append(error)
        except BaseException as error:  # noqa: BLE001 - raised below, for the same reason
            interruption = error if interruption is None else interruption
    group = ExceptionGroup("plugins failed to stop", errors) if errors else None
    if interruption is not None:
        raise interruption from group
    if group is not None:
        raise group


async def _run(implementation: Implementation, arguments: Mapping[str, Any]) -> None:
    with implementation.plugin.noting_errors():
        result = implementation(**arguments)
        if inspect.isawaitable(result):
            await result
