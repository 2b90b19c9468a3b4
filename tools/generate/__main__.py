"""Write what is made from the table of verbs and flags.

usage: python -m tools.generate man|completion DIR      PREFIX/share is such a DIR
       python -m tools.generate verbs FILE              docs/verbs.md
"""

from __future__ import annotations

import sys
from pathlib import Path

from tools.generate import bash, fish, man, verbs, zsh


def files(what: str) -> dict[str, str]:
    """Path below a share folder → text."""
    if what == "man":
        return {f"man/man8/{name}": text for name, text in man.pages().items()}
    return {
        "bash-completion/completions/pyoci": bash.script(),
        "zsh/site-functions/_pyoci": zsh.script(),
        "fish/vendor_completions.d/pyoci.fish": fish.script(),
    }


def main(argv: list[str]) -> int:
    if len(argv) != 2 or argv[0] not in ("man", "completion", "verbs"):
        sys.stderr.write(__doc__ or "")
        return 2
    what, where = argv
    made = {where: verbs.document()} if what == "verbs" else {f"{where}/{p}": t for p, t in files(what).items()}
    for path, text in made.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    return 0


sys.exit(main(sys.argv[1:]))
