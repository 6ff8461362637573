"""Does with jwcrypto what the Go test asks for.

Reads one JSON document of jobs from standard input and writes one with the
results, in the same order, to standard output.
"""
import functools
import json
import sys

from jwcrypto import jwe, jwk, jws

ALGORITHMS = [
    "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW", "A256CBC-HS512", "A256GCM",
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
]


KINDS = {
    "RSA-OAEP-256": {"kty": "RSA", "size": 2048},
    "ECDH-ES+A256KW": {"kty": "EC", "crv": "P-256"},
    "RS256": {"kty": "RSA", "size": 2048},
    "PS256": {"kty": "RSA", "size": 2048},
    "ES256": {"kty": "EC", "crv": "P-256"},
    "ES384": {"kty": "EC", "crv": "P-384"},
    "ES512": {"kty": "EC", "crv": "P-521"},
    "EdDSA": {"kty": "OKP", "crv": "Ed25519"},
}


@functools.cache  # the library checks an RSA key for a long time
def parse(text):
    return jwk.JWK.from_json(text)


def key(job):
    return parse(json.dumps(job["key"]))


def generate(job):
    return {"key": jwk.JWK.generate(**KINDS[job["alg"]]).export(as_dict=True)}


def open_message(job):
    message = jwe.JWE(algs=ALGORITHMS)
    message.deserialize(job["compact"], key(job))
    return {"text": message.payload.decode()}


def seal(job):
    header = json.dumps({"alg": job["alg"], "enc": job["enc"]})
    message = jwe.JWE(job["payload"].encode(), protected=header, algs=ALGORITHMS)
    message.add_recipient(key(job))
    return {"text": message.serialize(compact=True)}


def verify(job):
    message = jws.JWS()
    message.allowed_algs = ALGORITHMS
    message.deserialize(job["compact"], key(job))
    return {"text": message.payload.decode()}


def sign(job):
    pair = jwk.JWK.generate(**KINDS[job["alg"]])
    message = jws.JWS(job["payload"].encode())
    message.allowed_algs = ALGORITHMS
    message.add_signature(pair, protected=json.dumps({"alg": job["alg"]}))
    return {"key": pair.export_public(as_dict=True), "text": message.serialize(compact=True)}


WORK = {"generate": generate, "open": open_message, "seal": seal, "verify": verify, "sign": sign}
json.dump([WORK[job["do"]](job) for job in json.load(sys.stdin)], sys.stdout)
