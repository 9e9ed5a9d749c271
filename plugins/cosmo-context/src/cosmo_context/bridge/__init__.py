"""From context Neurons to Neurons of the bus: prompts that are composed per TASK."""

from cosmo_context.bridge.feeding import Feed, feed_task
from cosmo_context.bridge.memory import TraceMemory
from cosmo_context.bridge.prompted import Compose, with_prompt

__all__ = ["Compose", "Feed", "TraceMemory", "feed_task", "with_prompt"]
