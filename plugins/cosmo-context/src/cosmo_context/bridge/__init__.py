"""Neurons of the bus with composed prompts: each TASK gets a Context, from which its prompt is composed."""

from cosmo_context.bridge.feeding import Feed, Recalled, asked_words, feed_task
from cosmo_context.bridge.memory import TraceMemory
from cosmo_context.bridge.prompted import Compose, with_prompt

__all__ = ["Compose", "Feed", "Recalled", "TraceMemory", "asked_words", "feed_task", "with_prompt"]
