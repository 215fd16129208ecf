"""Mutations of what a token says: its header and its claims, in meaning and in spelling.

All are signed correctly over whatever is wrong with them: what is refused for its signature proves nothing about the rule it breaks.
"""

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from tests.property.forge import CLAIMS, NOW, Cases, Forge, shown
from tests.support.issuers import API, key
from tests.support.verifying import ISSUER


def header_members(forge: Forge) -> Cases:
    """Each member of the header with values it may and may not have."""
    others = ["RS256", "RS384", "RS512", "PS256", "PS384", "ES256", "ES384", "ES256K", "EdDSA", "Ed25519", "HS256"]
    nothings = ["none", "None", "NONE", "nOnE", "", " ", "null"]
    odd: list[Any] = [..., None, 1, True, [], [forge.alg], {}, forge.alg.lower(), forge.alg + " ", forge.alg + "\0"]
    for value in [*(other for other in others if other != forge.alg), *nothings, *odd]:
        yield f"alg={shown(value)}", forge.headed(alg=value)
    other_kid = key("differential-ES256" if forge.alg != "ES256" else "differential-RS256", "ES256").kid
    kids = ["", "unknown", "../../../dev/null", "' or 1=1 --", "/etc/passwd\0", "k" * 300, forge.key.kid.upper()]
    for value in [*odd[:-3], *kids, f" {forge.key.kid}", f"{forge.key.kid}\n"]:
        yield f"kid={shown(value)}", forge.headed(kid=value)
    yield "kid=of another key", forge.headed(kid=other_kid)
    kinds = ["AT+JWT", "at+JWT", "application/at+jwt", "APPLICATION/AT+JWT", "JWT", "jwt", "", "at", "+jwt", "at jwt"]
    kinds += ["at+jwt ", " at+jwt", "at+jwt;v=1", "at+jwt\0", "text/at+jwt", "application/application/at+jwt", "at-jwt"]
    kinds += ["id+jwt", "dpop+jwt", "logout+jwt", "secevent+jwt", "JOSE", "at+jwt+jwt", "\uff41t+jwt", "a\u0074+jwt"]
    for value in [..., None, 1, True, ["at+jwt"], {}, *kinds]:
        yield f"typ={shown(value)}", forge.headed(typ=value)


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
            yield f"{name}={shown(value)}", forge.headed(**{name: value})
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
                yield f"{name}={shown(value)}", forge.claiming(**{name: value})


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
            yield f"{name}={shown(value)}", forge.claiming(**{name: value})
    yield "exp before iat", forge.claiming(iat=NOW + 20, exp=NOW + 10)
    yield "exp before nbf", forge.claiming(nbf=NOW + 20, exp=NOW + 10)
    yield "nbf good", forge.claiming(nbf=NOW)
