"""A certificate for the TLS cells, and its authority, made in each run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.settings import HOST


@dataclass(frozen=True)
class Certificate:
    """Paths of files in PEM format."""

    chain: str
    key: str
    authority: str


def make_certificate(folder: Path) -> Certificate:
    """Make a certificate for HOST with an elliptic curve key, the most common kind."""
    import trustme

    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    issued = authority.issue_cert(HOST, key_type=trustme.KeyType.ECDSA)
    chain, key, trusted = folder / "certificate.pem", folder / "key.pem", folder / "authority.pem"
    chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(trusted))
    return Certificate(str(chain), str(key), str(trusted))
