"""What ``orbiter.context`` offers itself; the rest is in its modules."""

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
