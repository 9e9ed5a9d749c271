"""The context Neuron, the nine that are always there, and the registry."""

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
