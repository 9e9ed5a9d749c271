"""The registry: installed Neurons, and those of the program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any

import pytest

from cosmo_context import (
    Context,
    FactNeuron,
    Neuron,
    PromptBuilder,
    Registry,
    RegistryError,
    TodoNeuron,
    neuron_registry,
)
from cosmo_core import CosmoError, PluginError
from cosmo_core.plugins import PluginManager

PRIORITIES = {
    "entity": 60,
    "fact": 50,
    "history": 10,
    "knowledge": 20,
    "skill": 40,
    "system": 100,
    "task": 1,
    "todo": 2,
    "workspace": 30,
}


class WeatherNeuron(Neuron):
    def __init__(self) -> None:
        super().__init__("weather", priority=70)

    async def format(self, ctx: Context, **kwargs: Any) -> str:
        weather = ctx.state.get("weather")
        return f"<weather>Current weather: {weather}</weather>" if weather else ""


def installed(**environ: str) -> Registry:
    """Return a registry of installed Neurons with these plugin switches."""
    return Registry("mine", plugins=PluginManager.discover(environ=environ))


@pytest.fixture
def registry() -> Registry:
    """A registry in which the nine are installed."""
    return installed()


@pytest.fixture
def empty() -> Registry:
    """A registry without installed Neurons."""
    return Registry("mine", plugins=PluginManager(environ={}))


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Registry]:
    """Install a distribution with this source as module; its entry point is `sunny`."""

    def publish(source: str) -> Registry:
        info = tmp_path / "sunny-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sunny\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[cosmo.context_neurons]\nsunny = sunny_days:sunny\n")
        (tmp_path / "sunny_days.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "sunny_days", raising=False)
        return Registry("mine", plugins=PluginManager.discover(path=[str(tmp_path)], environ={}))

    return publish


# --- installed Neurons --------------------------------------------------------------------------------


@pytest.mark.parametrize("registry", [installed(), neuron_registry], ids=["own", "shared"])
def test_nine_neurons_are_installed(registry: Registry) -> None:
    assert set(registry.list_all()) >= set(PRIORITIES)
    assert {name: registry.get(name).priority for name in PRIORITIES} == PRIORITIES
    assert all(registry.get(name).name == name for name in PRIORITIES)


def test_nine_neurons_come_only_from_entry_points(registry: Registry) -> None:
    owner = installed(COSMO_DISABLE_PLUGINS="cosmo-context")
    assert not set(owner.list_all()) & set(PRIORITIES)
    assert "task" not in owner
    with pytest.raises(RegistryError, match=r"'task' .* is disabled: COSMO_DISABLE_PLUGINS"):
        owner.get("task")
    assert "task" in registry


def test_installed_neuron_can_be_disabled_and_replaced() -> None:
    registry = installed(COSMO_DISABLE_PLUGINS="todo")
    assert set(PRIORITIES) - set(registry.list_all()) == {"todo"}
    mine = registry.register("todo", TodoNeuron(priority=99))
    assert registry.get("todo") is mine


def test_installed_neuron_is_made_once(registry: Registry) -> None:
    assert registry.get("task") is registry.get("task")
    assert registry.get("task") is not installed().get("task")


def test_installed_class_is_instantiated(
    publish: Callable[[str], Registry],
) -> None:
    registry = publish("from cosmo_context import FactNeuron\nclass sunny(FactNeuron): pass\n")
    assert registry.list_all() == ["sunny"]
    assert type(registry.get("sunny")).__name__ == "sunny"


def test_installed_instance_is_used(publish: Callable[[str], Registry]) -> None:
    registry = publish("from cosmo_context import FactNeuron\nsunny = FactNeuron('sunny', priority=3)\n")
    assert repr(registry.get("sunny")) == "FactNeuron(name='sunny', priority=3)"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("class sunny:\n    pass\n", "TypeError: expected a cosmo_context.Neuron or a subclass of it"),
        ("sunny = 7\n", "TypeError: expected a cosmo_context.Neuron or a subclass of it, not 7"),
        ("class sunny:\n    def __init__(self, key): pass\n", "TypeError: .* missing 1 required positional"),
        ("def sunny():\n    return ''\n", "TypeError: expected a cosmo_context.Neuron"),
        ("class sunny:\n    def __init__(self): raise OSError('no sun')\n", "OSError: no sun"),
    ],
)
def test_unusable_entry_point_is_an_error_that_names_the_distribution(
    publish: Callable[[str], Registry], source: str, reason: str
) -> None:
    registry = publish(source)
    with pytest.raises(PluginError, match=rf"'sunny' of sunny 1\.0 cannot be made: {reason}") as caught:
        registry.get("sunny")
    assert isinstance(caught.value.__cause__, (TypeError, OSError))


def test_failing_import_is_a_plugin_error(publish: Callable[[str], Registry]) -> None:
    with pytest.raises(PluginError, match="no rain"):
        publish("raise ImportError('no rain')").get("sunny")


# --- registered Neurons -------------------------------------------------------------------------------


def test_instance_is_registered(empty: Registry) -> None:
    weather = WeatherNeuron()
    assert empty.register("weather", weather) is weather
    assert empty.get("weather") is weather


def test_class_is_instantiated(empty: Registry) -> None:
    assert empty.register("weather", WeatherNeuron) is WeatherNeuron
    assert isinstance(empty.get("weather"), WeatherNeuron)


def test_class_can_be_decorated(empty: Registry) -> None:
    @empty.register("rain")
    class RainNeuron(WeatherNeuron):
        pass

    assert isinstance(RainNeuron, type)
    assert isinstance(empty.get("rain"), RainNeuron)


def test_registered_name_can_differ_from_the_neurons_name(empty: Registry) -> None:
    empty.register("forecast", WeatherNeuron())
    assert empty.get("forecast").name == "weather"
    assert "weather" not in empty


def test_falsy_neuron_is_found(empty: Registry) -> None:
    class Falsy(WeatherNeuron, Sized):
        def __len__(self) -> int:
            return 0

    falsy = empty.register("falsy", Falsy())
    assert not falsy
    assert empty.get("falsy") is falsy


def test_name_can_be_registered_once(empty: Registry) -> None:
    first = empty.register("weather", WeatherNeuron())
    with pytest.raises(RegistryError, match=r"^'weather' is already registered in mine$"):
        empty.register("weather", WeatherNeuron())
    with pytest.raises(RegistryError, match=r"^'weather' is already registered in mine$"):
        empty.register("weather")(WeatherNeuron)
    assert empty.get("weather") is first


def test_installed_name_cannot_be_registered(registry: Registry) -> None:
    with pytest.raises(RegistryError, match=r"^'task' is already registered in mine$"):
        registry.register("task", WeatherNeuron())


@pytest.mark.parametrize("wrong", [None, "weather", 7, object, WeatherNeuron.format])
def test_other_object_is_refused_and_not_registered(empty: Registry, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"expected a cosmo_context\.Neuron or a subclass of it"):
        empty.register("weather", wrong)
    assert "weather" not in empty


def test_abstract_class_is_refused(empty: Registry) -> None:
    with pytest.raises(TypeError, match="abstract"):
        empty.register("weather", Neuron)
    assert len(empty) == 0


@pytest.mark.parametrize("name", [None, 7, ["weather"], WeatherNeuron()])
def test_registry_name_must_be_a_string(empty: Registry, name: Any) -> None:
    with pytest.raises(TypeError, match="name of a context Neuron must be a string, not"):
        empty.register(name, WeatherNeuron())
    with pytest.raises(TypeError, match="name of a context Neuron must be a string, not"):
        empty.get(name)


def test_unregistered_name_can_be_registered_again(registry: Registry) -> None:
    registry.register("weather", WeatherNeuron())
    registry.unregister("weather")
    assert "weather" not in registry
    again = registry.register("weather", WeatherNeuron())
    assert registry.get("weather") is again


@pytest.mark.parametrize("name", ["task", "unknown"])
def test_installed_neuron_cannot_be_unregistered(registry: Registry, name: str) -> None:
    registry.get("task")
    with pytest.raises(RegistryError, match=f"^the program did not register '{name}' in mine$"):
        registry.unregister(name)
    assert "task" in registry


def test_list_all_has_installed_names_first(registry: Registry) -> None:
    before = registry.list_all()
    registry.register("weather", WeatherNeuron())
    registry.register("aaa", FactNeuron())
    assert registry.list_all() == list(registry) == [*before, "weather", "aaa"]
    assert len(registry) == len(before) + 2
    assert "weather" in registry
    assert repr(registry) == f"<Registry 'mine' {registry.list_all()}>"
    registry.list_all().clear()
    assert len(registry) == len(before) + 2


def test_unknown_name_is_an_error_that_lists_known_names(registry: Registry) -> None:
    registry.register("weather", WeatherNeuron())
    with pytest.raises(RegistryError) as caught:
        registry.get("wether")
    message = str(caught.value)
    assert message.startswith("'wether' not found in mine: ")
    assert all(name in message for name in [*PRIORITIES, "weather"])
    assert isinstance(caught.value, LookupError)
    assert isinstance(caught.value, CosmoError)


def test_mistyped_name_gets_a_suggestion(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="did you mean 'knowledge'"):
        registry.get("knowlege")


# --- the seed's own example ---------------------------------------------------------------------------


async def test_default_registry_is_used_by_every_builder() -> None:
    neuron_registry.register("weather", WeatherNeuron())
    try:
        ctx = Context("task-123", state={"weather": "sunny"})
        prompt = await PromptBuilder(ctx).add("task").add("weather").add("system").build()
        task, weather, system = prompt.split("\n\n")
        assert task == "<task_info>\nTask ID: task-123\n</task_info>"
        assert weather == "<weather>Current weather: sunny</weather>"
        assert system.startswith("<system_info>\n")
    finally:
        neuron_registry.unregister("weather")


async def test_builder_can_use_another_registry(empty: Registry) -> None:
    empty.register("weather", WeatherNeuron())
    builder = PromptBuilder(Context("t", state={"weather": "sunny"}), registry=empty).add("weather")
    assert await builder.build() == "<weather>Current weather: sunny</weather>"
    assert "weather" not in neuron_registry
