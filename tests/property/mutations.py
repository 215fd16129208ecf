"""Hundreds of tokens that are almost good, and some that are: what `test_differential` shows to three verifiers.

Every builder yields pairs of a name and a token. Most are signed correctly over whatever is wrong with them, for what
is refused for its signature proves nothing about the rule it breaks.
"""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256, sha512
from hmac import digest
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from tests.support.issuers import API, key
from tests.support.verifying import ISSUER

from mintmark.jose import base64url, jws
from mintmark.jose.algorithms import ALGORITHMS, Algorithm
from mintmark.jose.jwk import Key

NOW: Final = 1_800_000_000
LEEWAY: Final = 30
ALGS: Final[tuple[Algorithm, ...]] = ("RS256", "ES256", "EdDSA")
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_ORDER: Final = 2**252 + 27742317777372353535851937790883648493

CLAIMS: Final[dict[str, Any]] = {
    "iss": ISSUER,
    "aud": API,
    "sub": "usr_ada",
    "client_id": "web",
    "jti": "jti-1",
    "gid": "gid-1",
    "iat": NOW,
    "exp": NOW + 300,
    "scope": "orders:read",
}

Cases = Iterator[tuple[str, str]]


@dataclass(frozen=True)
class Forge:
    """Makes tokens signed by one key, whatever is in them."""

    alg: Algorithm

    @property
    def key(self) -> Key:
        return key(f"differential-{self.alg}", self.alg)

    @property
    def stranger(self) -> Key:
        """Another key of the same kind, which nobody publishes."""
        return key(f"stranger-{self.alg}", self.alg)

    @property
    def header(self) -> dict[str, Any]:
        return {"alg": self.alg, "kid": self.key.kid, "typ": "at+jwt"}

    def sign(self, message: bytes, signer: Key | None = None) -> bytes:
        signer = signer or self.key
        assert signer.signing is not None
        return ALGORITHMS[signer.alg].sign(signer.signing, message)

    def texts(self, header: bytes, payload: bytes, signer: Key | None = None) -> str:
        """A token of parts that are encoded already."""
        message = header + b"." + payload
        return jws.assemble(message, self.sign(message, signer))

    def raw(self, header: bytes | str | None = None, payload: bytes | str | None = None) -> str:
        """A token of any octets."""
        header = json.dumps(self.header) if header is None else header
        payload = json.dumps(CLAIMS) if payload is None else payload
        return self.texts(base64url.encode_bytes(_octets(header)), base64url.encode_bytes(_octets(payload)))

    def headed(self, **changed: Any) -> str:
        """A token with another header; a change to ``...`` leaves the member out."""
        return self.raw(header=json.dumps(_changed(self.header, changed)))

    def claiming(self, **changed: Any) -> str:
        """A token with other claims."""
        return self.raw(payload=json.dumps(_changed(CLAIMS, changed)))

    def signed_otherwise(self, sign: Callable[[bytes], bytes], **changed: Any) -> str:
        """A token with a signature that is not the key's own."""
        message = b".".join(
            base64url.encode_bytes(json.dumps(part).encode()) for part in (_changed(self.header, changed), CLAIMS)
        )
        return jws.assemble(message, sign(message))


def _octets(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _changed(good: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (good | changed).items() if value is not ...}


def header_members(forge: Forge) -> Cases:
    """Each member of the header with values it may and may not have."""
    others = ["RS256", "RS384", "RS512", "PS256", "PS384", "ES256", "ES384", "ES256K", "EdDSA", "Ed25519", "HS256"]
    nothings = ["none", "None", "NONE", "nOnE", "", " ", "null"]
    odd: list[Any] = [..., None, 1, True, [], [forge.alg], {}, forge.alg.lower(), forge.alg + " ", forge.alg + "\0"]
    for value in [*(other for other in others if other != forge.alg), *nothings, *odd]:
        yield f"alg={_name(value)}", forge.headed(alg=value)
    other_kid = key("differential-ES256" if forge.alg != "ES256" else "differential-RS256", "ES256").kid
    kids = ["", "unknown", "../../../dev/null", "' or 1=1 --", "/etc/passwd\0", "k" * 300, forge.key.kid.upper()]
    for value in [*odd[:-3], *kids, f" {forge.key.kid}", f"{forge.key.kid}\n"]:
        yield f"kid={_name(value)}", forge.headed(kid=value)
    yield "kid=of another key", forge.headed(kid=other_kid)
    kinds = ["AT+JWT", "at+JWT", "application/at+jwt", "APPLICATION/AT+JWT", "JWT", "jwt", "", "at", "+jwt", "at jwt"]
    kinds += ["at+jwt ", " at+jwt", "at+jwt;v=1", "at+jwt\0", "text/at+jwt", "application/application/at+jwt", "at-jwt"]
    kinds += ["id+jwt", "dpop+jwt", "logout+jwt", "secevent+jwt", "JOSE", "at+jwt+jwt", "\uff41t+jwt", "a\u0074+jwt"]
    for value in [..., None, 1, True, ["at+jwt"], {}, *kinds]:
        yield f"typ={_name(value)}", forge.headed(typ=value)


def header_additions(forge: Forge) -> Cases:
    """What else a header may carry."""
    public = forge.key.public_jwk()
    brought: dict[str, Any] = {
        "jwk": [public, forge.stranger.public_jwk(), {}, None],
        "jku": ["https://evil.example/jwks", "", None],
        "x5u": ["https://evil.example/cert"],
        "x5c": [[b64encode(b"no certificate").decode()], []],
        "crit": [[], ["exp"], ["b64"], ["alg"], ["foo"], "exp", None, {}],
        "b64": [False, True, None],
        "foo": ["bar", None, 1, {"a": [1]}],
        "x5t": ["dGh1bWI"],
        "cty": ["JWT"],
        "zip": ["DEF"],
        "enc": ["A256GCM"],
        "iss": ["https://evil.example"],
        "nonce": ["n"],
    }
    for name, values in brought.items():
        for value in values:
            yield f"{name}={_name(value)}", forge.headed(**{name: value})
    yield "crit and what it names", forge.headed(crit=["foo"], foo="bar")
    yield "b64 as RFC 7797 has it", forge.headed(crit=["b64"], b64=False)
    yield "63 more members", forge.headed(**{f"m{number}": "x" for number in range(63)})


def header_texts(forge: Forge) -> Cases:
    """The header as text."""
    yield from json_texts(forge, json.dumps(forge.header), ("alg", "kid", "typ"), lambda text: forge.raw(header=text))


def payload_texts(forge: Forge) -> Cases:
    """The claims as text."""
    yield from json_texts(forge, json.dumps(CLAIMS), tuple(CLAIMS), lambda text: forge.raw(payload=text))
    good = json.dumps(CLAIMS)[:-1]
    numbers = ["NaN", "Infinity", "-Infinity", "1e400", "1E2", "10" * 200, "01", "+1", "0x1", "1.", ".5", "-0", "1_0"]
    for number in numbers:
        yield f"extra number {number[:9]}", forge.raw(payload=f'{good}, "extra": {number}}}')
        yield f"exp number {number[:9]}", forge.raw(payload=good.replace(f"{NOW + 300}", number) + "}")
    yield "exp in exponents", forge.raw(payload=good.replace(f"{NOW + 300}", "1.8000003E+9") + "}")
    for depth in (20, 31, 32, 60, 2000):
        yield f"arrays {depth} deep", forge.raw(payload=f'{good}, "deep": {"[" * depth}{"]" * depth}}}')
        yield f"objects {depth} deep", forge.raw(payload=f'{good}, "deep": {_objects(depth)}}}')


def _objects(depth: int) -> str:
    return '{"a":' * (depth - 1) + "{}" + "}" * (depth - 1)


def json_texts(forge: Forge, good: str, names: tuple[str, ...], made: Callable[[bytes | str], str]) -> Cases:
    """Spellings of one JSON object."""
    document = json.loads(good)
    yield "compact", made(json.dumps(document, separators=(",", ":")))
    yield "indented", made(json.dumps(document, indent=2))
    yield "other order", made(json.dumps(document, sort_keys=True))
    yield "white space around", made(f" \t\r\n{good}\n ")
    for name in names:
        value = json.dumps(document[name])
        yield f"{name} twice, the same", made(f'{good[:-1]}, "{name}": {value}}}')
        yield f"{name} twice, first wrong", made(f'{{"{name}": "wrong", {good[1:]}')
        yield f"{name} twice, last wrong", made(f'{good[:-1]}, "{name}": "wrong"}}')
        escaped = f"\\u{ord(name[0]):04x}{name[1:]}"
        yield f"{name} escaped", made(good.replace(f'"{name}"', f'"{escaped}"'))
        yield f"{name} twice, once escaped", made(f'{good[:-1]}, "{escaped}": {value}}}')
    yield "an unknown member twice", made(f'{good[:-1]}, "u": 1, "u": 2}}')
    yield "a nested member twice", made(f'{good[:-1]}, "u": {{"a": 1, "a": 2}}}}')
    for said in (
        "",
        "null",
        "[]",
        f"[{good}]",
        f'"{len(good)}"',
        "1",
        "{}",
        "{",
        good[:-1],
        f"{good}{good}",
        f"{good}x",
    ):
        yield f"text {said[:2]}…{said[-2:]} of {len(said)}", made(said)
    yield "trailing comma", made(f"{good[:-1]},}}")
    yield "single quotes", made(good.replace('"', "'"))
    yield "comment", made(f"{good[:-1]} /* */}}")
    yield "byte order mark", made("\ufeff" + good)
    yield "utf-16", made(good.encode("utf-16"))
    yield "utf-32", made(good.encode("utf-32-le"))
    yield "latin-1", made(f'{good[:-1]}, "u": "é"}}'.encode("latin-1"))
    yield "overlong utf-8", made(good.encode()[:-1] + b', "u": "\xc0\xaf"}')
    yield "surrogate in utf-8", made(good.encode()[:-1] + b', "u": "\xed\xa0\x80"}')
    yield "lone surrogate escaped", made(good[:-1] + ', "u": "\\ud800"}')
    yield "surrogate pair escaped", made(good[:-1] + ', "u": "\\ud83d\\ude00"}')
    yield "control character", made(good[:-1] + ', "u": "\x01"}')
    yield "nul escaped", made(good[:-1] + ', "u": "\\u0000"}')
    yield "nul at the end", made(good + "\0")
    yield "empty name", made(good[:-1] + ', "": 1}')
    yield "__proto__", made(good[:-1] + ', "__proto__": {"exp": 9}}')


def claim_values(forge: Forge) -> Cases:
    """Each claim with values of every type, and without."""
    values: list[Any] = [..., None, True, False, 0, 1, -1, 1.5, "", "x", [], ["x"], [None], {}, {"x": 1}, 2**63, "é"]
    for name in (*CLAIMS, "nbf", "roles", "permissions", "auth_time", "acr", "amr", "cnf", "foo"):
        for value in values:
            if name in CLAIMS or value is not ...:
                yield f"{name}={_name(value)}", forge.claiming(**{name: value})


def issuers_and_audiences(forge: Forge) -> Cases:
    """What is almost our name, or the issuer's."""
    near: dict[str, Callable[[str], Any]] = {
        "prefix": lambda name: name[:-1],
        "suffix": lambda name: name + "x",
        "slash": lambda name: name + "/",
        "case": str.upper,
        "scheme": lambda name: name.replace("https", "http"),
        "space before": lambda name: " " + name,
        "space after": lambda name: name + " ",
        "nul": lambda name: name + "\0",
        "homoglyph": lambda name: name.replace("a", "\u0430"),
        "soft hyphen": lambda name: name + "\u00ad",
        "port": lambda name: name + ":443",
        "user": lambda name: name.replace("//", "//x@"),
        "fragment": lambda name: name + "#",
        "list": lambda name: [name],
        "number": lambda name: 1,
        "object": lambda name: {name: name},
    }
    for what, change in near.items():
        yield f"iss {what}", forge.claiming(iss=change(ISSUER))
        yield f"aud {what}", forge.claiming(aud=change(API))
        yield f"aud list of {what}", forge.claiming(aud=[change(API)])
        yield f"aud good and {what}", forge.claiming(aud=[API, change(API)])
    yield "aud twice in a list", forge.claiming(aud=[API, API])
    yield "aud with others", forge.claiming(aud=["https://a.example", API, "https://b.example"])
    yield "aud of others", forge.claiming(aud=["https://a.example", "https://b.example"])
    yield "aud in one text", forge.claiming(aud=f"https://a.example {API}")
    yield "aud null in a list", forge.claiming(aud=[API, None])
    yield "aud is the issuer", forge.claiming(aud=ISSUER)
    yield "aud is the client", forge.claiming(aud="web")


def times(forge: Forge) -> Cases:
    """Both sides of every limit in time."""
    offsets = [-(10**9), -86400, -31, -30.5, -30, -29.5, -29, -1, 0, 1, 29, 29.5, 30, 30.5, 31, 3600, 10**9]
    for name in ("exp", "nbf", "iat"):
        for offset in offsets:
            yield f"{name} now{offset:+}", forge.claiming(**{name: NOW + offset})
            if isinstance(offset, int):
                yield f"{name} now{offset:+} as text", forge.claiming(**{name: str(NOW + offset)})
        for value in (
            2**31,
            2**53 + 1,
            10**18,
            10**30,
            1e18,
            1e300,
            -1e300,
            [NOW],
            {"at": NOW},
            "2030-01-01T00:00:00Z",
        ):
            yield f"{name}={_name(value)}", forge.claiming(**{name: value})
    yield "exp before iat", forge.claiming(iat=NOW + 20, exp=NOW + 10)
    yield "exp before nbf", forge.claiming(nbf=NOW + 20, exp=NOW + 10)
    yield "nbf good", forge.claiming(nbf=NOW)


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


def signatures(forge: Forge) -> Cases:
    """Signatures that are not those of the key over these octets."""
    good = forge.raw()
    head, body, encoded = good.split(".")
    signature = base64url.decode(encoded)
    message = f"{head}.{body}".encode()
    other = json.dumps(CLAIMS | {"sub": "usr_eve"}).encode()
    changed = {
        "empty": b"",
        "one octet": b"\0",
        "truncated": signature[:-1],
        "without its first octet": signature[1:],
        "half": signature[: len(signature) // 2],
        "an octet more": signature + b"\0",
        "an octet before": b"\0" + signature,
        "twice": signature * 2,
        "reversed": signature[::-1],
        "zeros": bytes(len(signature)),
        "ones": b"\xff" * len(signature),
        "the message": message,
        "a digest": sha256(message).digest(),
        "a stranger's": forge.sign(message, forge.stranger),
        "over the header": forge.sign(head.encode()),
        "over the claims": forge.sign(body.encode()),
        "over the digest": forge.sign(sha256(message).digest()),
        "over other claims": forge.sign(f"{head}.{base64url.encode(other)}".encode()),
        "as text": encoded.encode(),
    }
    for what, forged in changed.items():
        yield what, jws.assemble(message, forged)
    for place in range(0, len(signature), len(signature) // 8):
        flipped = bytearray(signature)
        flipped[place] ^= 1
        yield f"bit {place}", jws.assemble(message, bytes(flipped))
    for name in ("sub", "exp", "scope"):
        edited = base64url.encode(json.dumps(CLAIMS | {name: "usr_eve" if name != "exp" else NOW + 9999}).encode())
        yield f"edited {name}", f"{head}.{edited}.{encoded}"
    yield from _confused(forge)
    yield from {"RS256": _rsa, "ES256": _ecdsa, "EdDSA": _eddsa}[forge.alg](forge, message, signature)


def _confused(forge: Forge) -> Cases:
    """The public key taken for a secret, and no key at all."""
    public: Any = forge.key.verifying
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = public.public_bytes(serialization.Encoding.PEM, spki)
    secrets = {
        "PEM": pem,
        "PEM without its newline": pem.strip(),
        "DER": public.public_bytes(serialization.Encoding.DER, spki),
        "JWK": json.dumps(forge.key.public_jwk()).encode(),
        "kid": forge.key.kid.encode(),
        "nothing": b"",
    }
    for what, secret in secrets.items():
        yield f"HS256 with the {what}", forge.signed_otherwise(partial(digest, secret, digest="sha256"), alg="HS256")
        yield (
            f"HMAC under its own name with the {what}",
            forge.signed_otherwise(partial(digest, secret, digest="sha256")),
        )
    for none in ("none", "None", "NONE", "nOnE", ""):
        yield f"unsigned, alg {none!r}", forge.signed_otherwise(lambda _: b"", alg=none)
        yield f"unsigned without kid, alg {none!r}", forge.signed_otherwise(lambda _: b"", alg=none, kid=...)
    yield (
        "own key in the header",
        forge.signed_otherwise(partial(forge.sign, signer=forge.stranger), jwk=forge.stranger.public_jwk()),
    )
    yield (
        "own kid in the header",
        forge.signed_otherwise(partial(forge.sign, signer=forge.stranger), kid=forge.stranger.kid),
    )
    for other in ALGS:
        if other != forge.alg:
            theirs = key(f"differential-{other}", other)
            yield (
                f"{other} with its own key, under this kid",
                forge.signed_otherwise(partial(forge.sign, signer=theirs), alg=other),
            )
            yield f"{other} signature under this alg", forge.signed_otherwise(partial(forge.sign, signer=theirs))


def _rsa(forge: Forge, message: bytes, signature: bytes) -> Cases:
    private = forge.key.signing
    assert isinstance(private, rsa.RSAPrivateKey)
    modulus = private.public_key().public_numbers().n
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    pkcs1 = padding.PKCS1v15()
    yield "PS256 under RS256", jws.assemble(message, private.sign(message, pss, hashes.SHA256()))
    yield "SHA-512 under RS256", jws.assemble(message, private.sign(message, pkcs1, hashes.SHA512()))
    yield "PS256 as it is", forge.signed_otherwise(lambda m: private.sign(m, pss, hashes.SHA256()), alg="PS256")
    yield "RS512 as it is", forge.signed_otherwise(lambda m: private.sign(m, pkcs1, hashes.SHA512()), alg="RS512")
    number = int.from_bytes(signature)
    yield "modulus minus it", jws.assemble(message, (modulus - number).to_bytes(256))
    yield "plus the modulus", jws.assemble(message, (number + modulus).to_bytes(257))
    yield "one", jws.assemble(message, (1).to_bytes(256))
    yield "the modulus", jws.assemble(message, modulus.to_bytes(256))
    yield "raw digest info", jws.assemble(message, sha512(message).digest() * 4)


def _ecdsa(forge: Forge, message: bytes, signature: bytes) -> Cases:
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    order = P256_ORDER

    def pair(one: int, two: int) -> str:
        return jws.assemble(message, one.to_bytes(32) + two.to_bytes(32))

    yield "DER", jws.assemble(message, encode_dss_signature(r, s))
    yield "r and s swapped", pair(s, r)
    yield "r zero", pair(0, s)
    yield "s zero", pair(r, 0)
    yield "both one", pair(1, 1)
    yield "r the order", pair(order, s)
    yield "s the order", pair(r, order)
    yield "s negated", pair(r, order - s)
    longer = ec.generate_private_key(ec.SECP384R1())
    r, s = decode_dss_signature(longer.sign(message, ec.ECDSA(hashes.SHA384())))
    yield "P-384", jws.assemble(message, r.to_bytes(48) + s.to_bytes(48))


def _eddsa(forge: Forge, message: bytes, signature: bytes) -> Cases:
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    yield "s plus the order", jws.assemble(message, r + (s + ED25519_ORDER).to_bytes(32, "little"))
    yield "s the order", jws.assemble(message, r + ED25519_ORDER.to_bytes(32, "little"))
    yield "r the neutral point", jws.assemble(message, (1).to_bytes(32, "little") + bytes(32))
    yield (
        "r of order eight",
        jws.assemble(
            message, bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a") + bytes(32)
        ),
    )
    private = forge.key.signing
    assert isinstance(private, ed25519.Ed25519PrivateKey)
    yield "over a digest", jws.assemble(message, private.sign(sha512(message).digest()))


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


def _name(value: Any) -> str:
    said = "absent" if value is ... else json.dumps(value)
    return said if len(said) < 60 else f"{said[:40]}… of {len(said)}"


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
