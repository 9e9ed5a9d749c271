"""Prompts that are composed from context Neurons by priority and within a budget.

A context Neuron turns a `Context` into a fragment of a prompt, and a `PromptBuilder` composes fragments. A
context Neuron is not a Neuron of the bus; `with_prompt` makes one from a builder and an LLM Neuron.
"""

from cosmo_context.bridge import Compose, Feed, Recalled, TraceMemory, asked_words, feed_task, with_prompt
from cosmo_context.budget import Budget, approximate_tokens
from cosmo_context.builder import PromptBuilder
from cosmo_context.config import AutomationMode, ContextConfig, make_config
from cosmo_context.context import Checkpoint, Context
from cosmo_context.data import data
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
    Question,
    SkillNeuron,
    SystemNeuron,
    TaskNeuron,
    TodoNeuron,
    WorkspaceNeuron,
)
from cosmo_context.registry import Registry, neuron_registry
from cosmo_context.rendered import Divergence, Fragment, Rendered
from cosmo_context.state import ContextState
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
    "Question",
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
