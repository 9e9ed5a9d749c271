"""A bus for agents: plain async functions, typed Signals, and plugins for everything that varies."""
