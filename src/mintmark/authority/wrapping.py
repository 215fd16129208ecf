"""Encryption at rest of private keys and server secrets: AES-256-GCM under the master key (ADR 0018)."""

import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mintmark.authority.ports import Randomness

MASTER_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12


class MasterKeyError(Exception):
    """What is stored was encrypted under a master key that this process was not given, or it was tampered with."""


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """The master key (32 bytes) and the previous ones that may still open what they closed."""

    current: bytes = field(repr=False)
    previous: tuple[bytes, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if any(len(key) != MASTER_KEY_BYTES for key in (self.current, *self.previous)):
            raise ValueError("a master key is 32 bytes")

    def wrap(self, plaintext: bytes, *, name: str, randomness: Randomness) -> bytes:
        """Encrypt under the current master key; ``name`` is bound in, so two wrapped values cannot be exchanged."""
        nonce = randomness.bytes(_NONCE_BYTES)
        return _id(self.current) + nonce + AESGCM(self.current).encrypt(nonce, plaintext, name.encode())

    def unwrap(self, wrapped: bytes, *, name: str) -> bytes:
        """Decrypt what ``wrap`` made under any master key at hand.

        Raises:
            MasterKeyError: None of them fits, or the bytes or the name are not what was wrapped.
        """
        for key in (self.current, *self.previous):
            if wrapped.startswith(_id(key)):
                nonce, ciphertext = wrapped[_ID_BYTES : _ID_BYTES + _NONCE_BYTES], wrapped[_ID_BYTES + _NONCE_BYTES :]
                try:
                    return AESGCM(key).decrypt(nonce, ciphertext, name.encode())
                except (InvalidTag, ValueError):  # ValueError: cut short
                    continue
        raise MasterKeyError(
            f"{name} cannot be decrypted: give the master key it was written under as MINTMARK_MASTER_KEY, "
            "or list it in MINTMARK_PREVIOUS_MASTER_KEYS after a change"
        )

    def is_current(self, wrapped: bytes) -> bool:
        """Tell whether ``wrapped`` is under the current master key."""
        return wrapped.startswith(_id(self.current))


def _id(key: bytes) -> bytes:
    return hashlib.sha256(b"mintmark master key id\0" + key).digest()[:_ID_BYTES]
