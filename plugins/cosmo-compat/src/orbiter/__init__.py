"""The import name ``orbiter.context`` for cosmo_context, so that programs written for it run.

Every name below it is an object of cosmo_context; nothing is wrapped.
"""
