"""Dispatching: sending TASKs, open Pathways, deadlines, retries."""
