"""The import name ``orbiter.context``, with which programs written for that library run on cosmo_context.

All names below it are objects of cosmo_context; nothing is wrapped.
"""
