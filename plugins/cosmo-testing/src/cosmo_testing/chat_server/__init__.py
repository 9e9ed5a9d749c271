"""A chat server for tests and offline work: OpenAI's, TGI's and Ollama's API, without a model.

``python -m cosmo_testing.chat_server`` runs it as a program.
"""

from cosmo_testing.chat_server.server import ChatServer

__all__ = ["ChatServer"]
