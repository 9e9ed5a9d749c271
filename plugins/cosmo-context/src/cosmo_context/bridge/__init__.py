"""From context Neurons to Neurons of the bus: prompts that are composed per TASK."""

from cosmo_context.bridge.composer import Compose
from cosmo_context.bridge.feeding import Feed, feed_task
from cosmo_context.bridge.memory import TraceMemory
from cosmo_context.bridge.prompted import with_prompt
from cosmo_context.bridge.recalling import Recalled, asked_words

__all__ = ["Compose", "Feed", "Recalled", "TraceMemory", "asked_words", "feed_task", "with_prompt"]
