"""Sending TASKs and following them: options, open Pathways, deadlines, retries."""
