"""`python -m conformance`: run the suite, or the validation programs, over a runtime; write the matrix.

python -m conformance run [--runtime PATH] [--out FILE] [-k WORDS] [--validation DIR]
python -m conformance matrix --out DIR [--name NAME] RESULTS…
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from conformance.ground import Ground, die_with_parent

REPO = Path(__file__).resolve().parent.parent


def main() -> int:
    """The command line; the exit status is 1 where a requirement failed."""
    parser = argparse.ArgumentParser(
        prog="conformance", description="Ask a runtime for what the specification asks for"
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("run", help="run the suite over one runtime")
    one.add_argument("--runtime", default=str(REPO / ".venv/bin/pyoci"))
    one.add_argument("--out", type=Path, help="file that gets the results")
    one.add_argument("--validation", type=Path, help="folder of built validation programs, run as well")
    one.add_argument("--only-validation", action="store_true", help="run these alone")
    one.add_argument("-k", dest="words", help="as of pytest: a part of the suite")
    matrix = verbs.add_parser("matrix", help="write the matrix from results")
    matrix.add_argument("--out", type=Path, required=True)
    matrix.add_argument("--name", default="conformance", help="of the files, without what comes after the dot")
    matrix.add_argument("results", type=Path, nargs="+")
    options = parser.parse_args()
    if options.verb == "matrix":
        from conformance.matrix import write

        return write(options.out, options.results, options.name)
    return run(options)


def run(options: argparse.Namespace) -> int:
    """Run each part in a process of its own, and clean up behind it, whatever became of it."""
    out = options.out or REPO / "build/conformance" / f"{Path(options.runtime).name}.json"
    out = out.resolve()
    tag = f"pyoci-conformance-{os.getpid()}"
    environment = {**os.environ, "CONFORMANCE_TAG": tag, "PYTHONPATH": str(REPO)}
    status = 0
    try:
        if not options.only_validation:
            # -c: the project's own settings are those of its tests.
            command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", "-c", os.devnull]
            command += ["--rootdir", str(REPO), "--runtime", options.runtime, "--results", str(out)]
            command += ["-k", options.words] if options.words else []
            command += [str(REPO / "conformance/suite")]
            status = subprocess.run(
                command, env=environment, preexec_fn=die_with_parent, cwd=REPO, check=False
            ).returncode
        if options.validation:
            status |= validate(options, out, tag)
    finally:
        left = Ground(tag).clean()
    if left:
        print(f"conformance: left behind: {', '.join(left)}", file=sys.stderr)
    return 1 if status or left else 0


def validate(options: argparse.Namespace, out: Path, tag: str) -> int:
    """Run the validation programs in a child, which takes a mount namespace; add what they said to the results."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        from conformance import official

        os.close(read)
        programs = [p.as_dict() for p in official.run(options.validation, options.runtime, tag)]
        with open(write, "w") as pipe:
            json.dump(programs, pipe)
        os._exit(0)
    os.close(write)
    with open(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    if not text:
        return 1
    programs = json.loads(text)
    document = json.loads(out.read_text()) if out.exists() else {}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**document, "validation": programs}, indent=1) + "\n")
    for program in programs:
        if program["outcome"] != "pass":
            words = "; ".join(program["failed"]) or program["reason"]
            print(f"{program['outcome']}: {program['name']}: {words[:300]}")
    count = {word: sum(p["outcome"] == word for p in programs) for word in ("pass", "fail", "skip")}
    print(f"validation programs: {count['pass']} pass, {count['fail']} fail, {count['skip']} skip")
    return int(count["fail"] > 0)


if __name__ == "__main__":
    sys.exit(main())
