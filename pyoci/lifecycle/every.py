"""One look at every container below a state root."""

from __future__ import annotations

from pyoci.errors import NotFoundError, OCIError
from pyoci.lifecycle.container import Found
from pyoci.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Seen = TypeVar("Seen")


def look(root: str, at: Callable[[Found], Seen], unknown: Callable[[str], Seen]) -> list[Seen]:
    """What each container shows, by id; one that is deleted while we look is left out.

    Args:
        root: state root.
        at: what one shows.
        unknown: the same of one of which that cannot be read: it is never hidden, nor are the others for its sake.
    """
    out = []
    for id in sorted(Store(root).ids()):
        # A second look tells what has ended or gone during the first from what cannot be read.
        for look_again in (True, False):
            try:
                with Found(root, id) as found:
                    out.append(at(found))
                break
            except NotFoundError:
                break
            except (OCIError, OSError):
                if not look_again:
                    out.append(unknown(id))
    return out
