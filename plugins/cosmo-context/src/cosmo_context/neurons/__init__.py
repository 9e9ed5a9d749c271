"""The nine context Neurons that come with the package."""

from cosmo_context.neurons.entity import EntityNeuron
from cosmo_context.neurons.fact import FactNeuron
from cosmo_context.neurons.history import Conversation, HistoryNeuron
from cosmo_context.neurons.knowledge import KnowledgeNeuron
from cosmo_context.neurons.listing import ListNeuron
from cosmo_context.neurons.skill import SkillNeuron
from cosmo_context.neurons.system import SystemNeuron
from cosmo_context.neurons.task import TaskNeuron
from cosmo_context.neurons.todo import TodoNeuron
from cosmo_context.neurons.workspace import WorkspaceNeuron

__all__ = [
    "Conversation",
    "EntityNeuron",
    "FactNeuron",
    "HistoryNeuron",
    "KnowledgeNeuron",
    "ListNeuron",
    "SkillNeuron",
    "SystemNeuron",
    "TaskNeuron",
    "TodoNeuron",
    "WorkspaceNeuron",
]
