"""The subjects of one namespace.

``cosmonapse.<namespace>.<TYPE>`` is the broadcast subject of a type. Two more tokens address one receiver:
``.neuron.<id>`` or ``.engram.<id>`` the hosts of that Neuron or Engram, ``.inbox.<id>`` one Dendrite (P-3.3).
An addressed Signal costs other Dendrites nothing; an observer subscribes to them with a wildcard.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cosmo_core.protocol.ids import check_token, is_token
from cosmo_core.protocol.signal_type import SignalType

ROOT: Final = "cosmonapse"


class Subjects:
    """Builds the subjects and patterns of one namespace.

    Args:
        namespace: A token; it separates this population from every other one on the bus.

    Raises:
        MalformedSignalError: The namespace is not a token.
    """

    __slots__ = ("_broadcast", "_engram", "_inbox", "_is_inbox", "_neuron", "_prefix")

    def __init__(self, namespace: str) -> None:
        self._prefix = f"{ROOT}.{check_token('namespace', namespace)}."
        # Joined once: formatting an enum member costs more than the rest of a subject.
        self._broadcast = {type: self._prefix + type.value for type in SignalType}
        self._engram = {type: subject + ".engram." for type, subject in self._broadcast.items()}
        self._neuron = {type: subject + ".neuron." for type, subject in self._broadcast.items()}
        self._inbox = {type: subject + ".inbox." for type, subject in self._broadcast.items()}
        # The same few inboxes come again and again; the cache is keyed by inbox, not by inbox and type.
        self._is_inbox = lru_cache(maxsize=1024)(is_token)

    def broadcast(self, type: SignalType) -> str:
        """Return the broadcast subject of a type."""
        return self._broadcast[type]

    def neuron(self, type: SignalType, neuron_id: str) -> str:
        """Return the subject of a type for the hosts of one Neuron."""
        return self._neuron[type] + neuron_id

    def engram(self, type: SignalType, engram_id: str) -> str:
        """Return the subject of a type for the hosts of one Engram."""
        return self._engram[type] + engram_id

    def inbox(self, type: SignalType, inbox: str) -> str:
        """Return the subject of a type for one Dendrite."""
        return self._inbox[type] + inbox

    def reply(self, type: SignalType, reply_to: object) -> str:
        """Return the subject of an answer: of the inbox, or the broadcast subject without one (P-3.8)."""
        if isinstance(reply_to, str) and self._is_inbox(reply_to):
            return self._inbox[type] + reply_to
        return self._broadcast[type]

    def addressed_pattern(self, type: SignalType) -> str:
        """Return the pattern for all Signals of a type that address one receiver."""
        return self._broadcast[type] + ".>"

    def inbox_pattern(self, inbox: str) -> str:
        """Return the pattern for all Signals to one Dendrite."""
        return f"{self._prefix}*.inbox.{inbox}"

    def type_of(self, pattern: str) -> SignalType | None:
        """Return the type that a pattern of this namespace matches; None if it matches several."""
        token = pattern.removeprefix(self._prefix).partition(".")[0]
        return SignalType(token) if token in SignalType.__members__ else None

    def namespace_pattern(self) -> str:
        """Return the pattern for all Signals of the namespace, addressed ones included."""
        return self._prefix + ">"
