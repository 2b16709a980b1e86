"""Runs one target with atheris: ``python -m fuzz TARGET [options of libFuzzer] [inputs]``.

Without inputs it starts from the seeds and from .fuzz/TARGET/corpus, and adds inputs that reach new code to the latter.
An input that breaks a property is written to .fuzz/TARGET/found/, and ends the run with an error.
"""

import sys
from importlib import import_module
from pathlib import Path

import atheris

HERE = Path(__file__).parent
MEMORY = 1024  # MiB, limit of the process
PATIENCE = 10  # seconds, limit for one input


def main() -> None:
    """Fuzz until the time is over, or an input breaks a property."""
    target, *arguments = sys.argv[1:]
    kept = HERE.parent / ".fuzz" / target
    places = [kept / "corpus", kept / "found"]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    if all(argument.startswith("-") for argument in arguments):
        arguments += [str(places[0]), str(HERE / "seeds" / target)]
    own = [f"-dict={HERE / 'http.dict'}", f"-artifact_prefix={places[1]}/", "-keep_seed=1"]
    limits = [f"-rss_limit_mb={MEMORY}", f"-timeout={PATIENCE}"]
    with atheris.instrument_imports(include=["wasclean", "pure_wasclean"]):
        fuzz_one = import_module(f"fuzz.targets.{target}").fuzz_one
    atheris.Setup([sys.argv[0], *own, *limits, *arguments], fuzz_one)
    atheris.Fuzz()


main()
