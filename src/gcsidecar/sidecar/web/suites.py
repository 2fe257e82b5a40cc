"""Cipher suites and curves by the names that Go has for them, which the web config uses, and OpenSSL's for the same.

Names only; those that Go calls insecure are left out, as the exporter toolkit leaves them out.
"""

from __future__ import annotations

_WITH_ECDHE = {
    "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
    "AES_128_CBC_SHA": "AES128-SHA",
    "AES_256_CBC_SHA": "AES256-SHA",
}

SUITES_TLS12 = {
    f"TLS_ECDHE_{kind}_WITH_{go}": f"ECDHE-{kind}-{openssl}"
    for kind in ("ECDSA", "RSA")
    for go, openssl in _WITH_ECDHE.items()
}
# Which of these are used can't be chosen, neither in Go nor in Python's ssl: all of them are.
SUITES_TLS13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")

CURVES = {"X25519": "X25519", "CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1"}
