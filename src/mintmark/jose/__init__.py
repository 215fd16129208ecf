"""JWS, JWK and JWT on bytes and dicts (RFC 7515, 7517, 7518, 7519, 7638, 8037, with RFC 8725 as the rule of conduct).

No I/O, no clock, no randomness of its own, no OAuth. Every refusal is a `JoseError`.
"""
