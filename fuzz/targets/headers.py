"""The lists in headers: extensions, subprotocols and tokens."""

from wasclean.closing.errors import HandshakeError
from wasclean.model.heads import contains_token, header_items, is_token
from wasclean.opening.extensions import Extension
from wasclean.opening.headers import parse_extensions, parse_subprotocols, parse_tokens


def fuzz_one(data: bytes) -> None:
    """Run an input: the lines of one header, separated by LF."""
    values = data.decode("latin-1").split("\n")
    check_extensions(values)
    check_tokens(values)
    for value in values:
        check_header(value)


def check_extensions(values: list[str]) -> None:
    """Check that parsed extensions can be serialized and parsed again."""
    try:
        extensions = parse_extensions(values)
    except HandshakeError as error:
        assert error.status == 400
        return
    for name, parameters in extensions:
        assert is_token(name)
        assert all(is_token(parameter) for parameter, _ in parameters)
        assert all(value is None or is_token(value) for _, value in parameters)
    written = [write_extension(extension) for extension in extensions]
    assert parse_extensions([", ".join(written)]) == parse_extensions(written) == extensions


def write_extension(extension: Extension) -> str:
    """Serialize an extension (RFC 6455 section 9.1)."""
    name, parameters = extension
    return "; ".join([name, *(key if value is None else f"{key}={value}" for key, value in parameters)])


def check_tokens(values: list[str]) -> None:
    """Check that parsed tokens can be serialized and found, and that subprotocols are distinct tokens."""
    try:
        tokens = parse_tokens(values)
    except HandshakeError as error:
        assert error.status == 400
        tokens = None
    try:
        subprotocols = parse_subprotocols(values)
    except HandshakeError as error:
        assert error.status == 400
        assert not tokens or len(set(tokens)) < len(tokens)
    else:
        assert subprotocols == tokens
        assert len(set(tokens)) == len(tokens)
    if tokens is not None:
        assert parse_tokens([", ".join(tokens)]) == tokens
        assert all(is_token(token) and contains_token(values, token.lower()) for token in tokens)


def check_header(value: str) -> None:
    """Check that a value that a program may set as a header ends neither the line nor the head."""
    try:
        items = header_items([("Name", value)])
    except ValueError:
        assert not (value.isascii() and value.isprintable())
    else:
        assert items == [("Name", value)]
        assert not {"\r", "\n", "\0"} & set(value)
