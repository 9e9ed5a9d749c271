"""Watching Signals on the bus: by type and by trace."""
