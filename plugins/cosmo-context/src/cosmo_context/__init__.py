"""Prompts made of context Neurons: composed by priority, within a budget, and explained.

A context Neuron turns a `Context` into a fragment of a prompt; a `PromptBuilder` composes fragments. It is no
Neuron of the bus: `with_prompt` makes one of the two.
"""

from cosmo_context.bridge import Compose, Feed, Recalled, TraceMemory, asked_words, feed_task, with_prompt
from cosmo_context.budget import Budget
from cosmo_context.builder import PromptBuilder
from cosmo_context.config import AutomationMode, ContextConfig, make_config
from cosmo_context.context import Checkpoint, Context
from cosmo_context.data import data
from cosmo_context.divergence import Divergence
from cosmo_context.errors import (
    BudgetExceededError,
    ContextError,
    ContextNeuronError,
    PromptBuilderError,
    RegistryError,
    StateShapeError,
    VariableResolveError,
)
from cosmo_context.neuron import REQUIRED, Neuron, Stability, StateNeuron
from cosmo_context.neurons import (
    Conversation,
    EntityNeuron,
    FactNeuron,
    HistoryNeuron,
    KnowledgeNeuron,
    ListNeuron,
    SkillNeuron,
    SystemNeuron,
    TaskNeuron,
    TodoNeuron,
    WorkspaceNeuron,
)
from cosmo_context.registry import Registry, neuron_registry
from cosmo_context.rendered import Fragment, Rendered
from cosmo_context.state import ContextState
from cosmo_context.tokens import approximate_tokens
from cosmo_context.variables import DynamicVariableRegistry

COSMO_API = 1
"""The version of the plugin interface that this plugin is written for."""

__all__ = [
    "COSMO_API",
    "REQUIRED",
    "AutomationMode",
    "Budget",
    "BudgetExceededError",
    "Checkpoint",
    "Compose",
    "Context",
    "ContextConfig",
    "ContextError",
    "ContextNeuronError",
    "ContextState",
    "Conversation",
    "Divergence",
    "DynamicVariableRegistry",
    "EntityNeuron",
    "FactNeuron",
    "Feed",
    "Fragment",
    "HistoryNeuron",
    "KnowledgeNeuron",
    "ListNeuron",
    "Neuron",
    "PromptBuilder",
    "PromptBuilderError",
    "Recalled",
    "Registry",
    "RegistryError",
    "Rendered",
    "SkillNeuron",
    "Stability",
    "StateNeuron",
    "StateShapeError",
    "SystemNeuron",
    "TaskNeuron",
    "TodoNeuron",
    "TraceMemory",
    "VariableResolveError",
    "WorkspaceNeuron",
    "approximate_tokens",
    "asked_words",
    "data",
    "feed_task",
    "make_config",
    "neuron_registry",
    "with_prompt",
]
