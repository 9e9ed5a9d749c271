"""The names of ``orbiter.context`` itself; the others are in its modules."""

from cosmo_context import (
    AutomationMode,
    Checkpoint,
    Context,
    ContextConfig,
    ContextError,
    ContextState,
    Neuron,
    PromptBuilder,
    make_config,
    neuron_registry,
)

__all__ = [
    "AutomationMode",
    "Checkpoint",
    "Context",
    "ContextConfig",
    "ContextError",
    "ContextState",
    "Neuron",
    "PromptBuilder",
    "make_config",
    "neuron_registry",
]
