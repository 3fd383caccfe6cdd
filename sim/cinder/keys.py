"""The keys of encrypted volumes."""

from __future__ import annotations

import uuid

from castellan.common.exception import ManagedObjectNotFoundError
from castellan.common.objects.symmetric_key import SymmetricKey

from sim.cinder.database import Context


class KeyManager:
    """`castellan.key_manager.API`: the keys of encrypted volumes and of images made of them.

    It serves everyone, as Vault does for Cinder, and answers as Barbican does if a key is gone.
    """

    def __init__(self) -> None:
        self._keys: dict[str, SymmetricKey] = {}
        self._made = 0

    def create_key(self, context: Context, algorithm: str, length: int) -> str:
        """A new key; its content tells it from others, and is no secret."""
        return self.store(context, SymmetricKey(algorithm, length, str(self._made).encode()))

    def store(self, context: Context, key: SymmetricKey) -> str:
        """Keep a key under a new id."""
        self._made += 1
        key_id = str(uuid.UUID(int=self._made))
        self._keys[key_id] = key
        return key_id

    def get(self, context: Context, key_id: str) -> SymmetricKey:
        """A key; `ManagedObjectNotFoundError` if it is gone."""
        if key_id not in self._keys:
            raise ManagedObjectNotFoundError(uuid=key_id)
        return self._keys[key_id]

    def delete(self, context: Context, key_id: str) -> None:
        """Delete a key; `ManagedObjectNotFoundError` if it is gone."""
        self.get(context, key_id)
        del self._keys[key_id]
