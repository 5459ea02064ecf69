"""Things by name, each declared in the file that makes it: a new file in the right folder is all that it takes."""

import importlib
import pkgutil
from collections.abc import Iterator, MutableMapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(MutableMapping[str, T], Generic[T]):
    """What the modules of `package` declare, each in a mapping called `table`, and what is entered by hand.

    The modules are imported at the first look, in the order of their names, and not before. An own entry
    (`registry[name] = value`) is known in this process only and goes before a declared one of the same name.

    Looked at and not used: entry points (`importlib.metadata`), which know only what an installed distribution declares
    in a second place.
    """

    def __init__(self, package: str, table: str) -> None:
        self._package = package
        self._table = table
        self._entries: dict[str, T] = {}
        self._complete = False

    def __getitem__(self, name: str) -> T:
        return self._all()[name]

    def __setitem__(self, name: str, value: T) -> None:
        self._entries[name] = value

    def __delitem__(self, name: str) -> None:
        del self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"

    def _all(self) -> dict[str, T]:
        if not self._complete:
            self._entries = {**self._declared(), **self._entries}
            self._complete = True
        return self._entries

    def _declared(self) -> dict[str, T]:
        """What the modules declare.

        Raises:
            ValueError: two of them declare the same name.
        """
        found: dict[str, T] = {}
        folder = importlib.import_module(self._package).__path__
        for module in pkgutil.iter_modules(folder, f"{self._package}."):
            declared: dict[str, T] = getattr(importlib.import_module(module.name), self._table, {})
            if twice := sorted(found.keys() & declared.keys()):
                raise ValueError(
                    f"{module.name}: declares '{twice[0]}', which another module of its folder does already"
                )
            found |= declared
        return found
