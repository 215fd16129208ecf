"""Mutations of how a token is written: its base64url, its parts, its length."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator

from tests.property.forge import CLAIMS, Cases, Forge

from mintmark.jose import base64url, jws


def encodings(forge: Forge) -> Cases:
    """What base64url leaves room for. Signed over as it stands, so only the encoding is wrong."""
    header, payload = json.dumps(forge.header), json.dumps(CLAIMS)
    for rest in (1, 2):
        odd = {"header": header, "payload": payload}
        for part, text in odd.items():
            text += " " * ((rest - len(text)) % 3)  # noqa: PLW2901
            encoded = base64url.encode_bytes(text.encode())
            parts = {name: base64url.encode_bytes(value.encode()) for name, value in odd.items()}
            for what, spoilt in _spoilt(encoded):
                both = parts | {part: spoilt}
                yield f"{part} {rest} over, {what}", forge.texts(both["header"], both["payload"])
    good = forge.raw()
    head, body, signature = good.split(".")
    for what, spoilt in _spoilt(signature.encode()):
        yield f"signature {what}", f"{head}.{body}.{spoilt.decode()}"
    around = {
        "space": " ",
        "tab": "\t",
        "newline": "\n",
        "crlf": "\r\n",
        "nbsp": "\u00a0",
        "nul": "\0",
        "bom": "\ufeff",
    }
    for what, char in around.items():
        yield f"{what} before", char + good
        yield f"{what} after", good + char
        yield f"{what} at the dot", f"{head}{char}.{body}.{signature}"
        yield f"{what} in the signature", f"{head}.{body}.{signature[:9]}{char}{signature[9:]}"
    yield "Bearer before", f"Bearer {good}"
    yield "in quotes", f'"{good}"'
    yield "percent-encoded dots", good.replace(".", "%2E")
    yield "ideographic full stops", good.replace(".", "\u3002")
    yield "fullwidth letters", f"\uff45{good[1:]}"
    yield "standard alphabet", _standard(good)


def _spoilt(encoded: bytes) -> Iterator[tuple[str, bytes]]:
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(encoded[-1:])
    yield "padded", encoded + b"=" * (-len(encoded) % 4)
    yield "padded too much", encoded + b"===="
    yield "one character more", encoded + b"A"
    yield "stray bits", encoded[:-1] + alphabet[last ^ 1 : (last ^ 1) + 1]
    yield "white space inside", encoded[:8] + b" " + encoded[8:]
    yield "newline at the end", encoded + b"\n"
    yield "foreign character", encoded[:8] + b"!" + encoded[8:]
    yield "percent-encoded padding", encoded + b"%3D"


def _standard(token: str) -> str:
    return token.replace("-", "+").replace("_", "/") + ("" if "-" in token or "_" in token else "+")


def structures(forge: Forge) -> Cases:
    """Other forms than three parts."""
    good = forge.raw()
    head, body, signature = good.split(".")
    yield "good", good
    yield "once more", forge.raw()
    flat = {"protected": head, "payload": body, "signature": signature}
    encrypted = base64url.encode(json.dumps({"alg": "dir", "enc": "A256GCM", "typ": "at+jwt"}).encode())
    shapes = {
        "empty": "",
        "dots": "..",
        "one part": head,
        "two parts": f"{head}.{body}",
        "two parts and a dot": f"{head}.{body}.",
        "four parts": f"{good}.{signature}",
        "a dot after": f"{good}.",
        "a dot before": f".{good}",
        "five parts": f"{good}.{body}.{signature}",
        "JWE": f"{encrypted}..{base64url.encode(bytes(12))}.{body}.{base64url.encode(bytes(16))}",
        "JWE as signed": f"{encrypted}.{body}.{signature}",
        "detached payload": f"{head}..{signature}",
        "no header": f".{body}.{signature}",
        "parts swapped": f"{body}.{head}.{signature}",
        "flattened JSON": json.dumps(flat),
        "general JSON": json.dumps({"payload": body, "signatures": [flat]}),
        "JSON in base64url": base64url.encode(json.dumps(flat).encode()),
        "twice": f"{good}{good}",
        "two with a comma": f"{good},{good}",
        "padded as a whole": urlsafe_b64encode(good.encode()).decode(),
        "colons for dots": good.replace(".", ":"),
    }
    yield from shapes.items()
    yield "a token in a token", forge.raw(json.dumps({**forge.header, "cty": "JWT"}), good)
    empty = forge.claiming(filler="")
    for size in (8_000, jws.MAX_BYTES, jws.MAX_BYTES + 1, 3 * jws.MAX_BYTES):
        yield f"{size} octets", _of_size(forge, size, len(empty))


def _of_size(forge: Forge, size: int, least: int) -> str:
    filler = "x" * ((size - least) * 3 // 4)
    while len(made := forge.claiming(filler=filler)) < size:
        filler += "x"
    while len(made) > size:
        filler = filler[:-1]
        made = forge.claiming(filler=filler)
    return made
