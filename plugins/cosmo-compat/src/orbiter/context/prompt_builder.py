"""The PromptBuilder."""

from cosmo_context import PromptBuilder, PromptBuilderError

__all__ = ["PromptBuilder", "PromptBuilderError"]
