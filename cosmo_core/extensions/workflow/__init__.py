"""Workflow Signals: FINAL, PLAN, AUDIT and others, and answers to CLARIFICATION and PERMISSION."""
