"""The base class of context Neurons, the nine built-in ones, and the registry."""

from cosmo_context import (
    EntityNeuron,
    FactNeuron,
    HistoryNeuron,
    KnowledgeNeuron,
    Neuron,
    SkillNeuron,
    SystemNeuron,
    TaskNeuron,
    TodoNeuron,
    WorkspaceNeuron,
    neuron_registry,
)

__all__ = [
    "EntityNeuron",
    "FactNeuron",
    "HistoryNeuron",
    "KnowledgeNeuron",
    "Neuron",
    "SkillNeuron",
    "SystemNeuron",
    "TaskNeuron",
    "TodoNeuron",
    "WorkspaceNeuron",
    "neuron_registry",
]
