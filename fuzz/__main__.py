"""Runs one target with atheris: ``python -m fuzz TARGET [options of libFuzzer] [inputs]``.

Without inputs the seeds and .fuzz/TARGET/corpus are where it starts, and the latter gets what it finds. An input that
breaks a property goes to .fuzz/TARGET/found/, and ends the run with an error.
"""

import sys
from importlib import import_module
from pathlib import Path

import atheris

HERE = Path(__file__).parent
MEMORY = 1024  # MiB that an input may take, with all that is loaded
PATIENCE = 10  # seconds for an input


def main() -> None:
    """Fuzz until the time is up, or something is found."""
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
