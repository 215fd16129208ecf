"""Hundreds of tokens that are almost good, and some that are: what `test_differential` shows to three verifiers.

Every builder yields pairs of a name and a token.
"""

from typing import Final

from tests.property.forge import ALGS, Forge
from tests.property.mutated_contents import (
    claim_values,
    header_additions,
    header_members,
    header_texts,
    issuers_and_audiences,
    payload_texts,
    times,
)
from tests.property.mutated_forms import encodings, structures
from tests.property.mutated_signatures import signatures

BUILDERS: Final = (
    header_members,
    header_additions,
    header_texts,
    payload_texts,
    claim_values,
    issuers_and_audiences,
    times,
    encodings,
    signatures,
    structures,
)


def corpus() -> dict[str, str]:
    """All tokens by an id such as ``RS256 times: exp now-30``."""
    found: dict[str, str] = {}
    for alg in ALGS:
        for builder in BUILDERS:
            for name, token in builder(Forge(alg)):
                identity = f"{alg} {builder.__name__}: {name}"
                assert identity not in found, identity
                found[identity] = token
    return found
