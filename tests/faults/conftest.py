"""The arena of the attacks serves here too: it looks round before and after."""

from tests.attacks.conftest import arena, build_program

__all__ = ["arena", "build_program"]
