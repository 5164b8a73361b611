"""An OpenID provider by https on loopback (oidc-provider-mock, on Authlib): one page, one table.

Clients have to register before it; who signs in types the name of an account that it knows.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import sys
from pathlib import Path

PEOPLE: dict[str, dict[str, object]] = {
    "anna": {"email": "anna@castle.example", "email_verified": True},
    "claims-to-be-anna": {"email": "anna@castle.example", "email_verified": False},
    "eve": {"email": "eve@elsewhere.example", "email_verified": True},
    "248289761001": {},
}
"""Subject -> claims."""


def make_certificate(folder: Path) -> Path:
    """Write a certificate for localhost that signs itself, `localhost.pem`, and `localhost.key`.

    Returns: the certificate's file.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "localhost.pem", folder / "localhost.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate


def main() -> None:
    """Serve: port, and a folder that holds the certificate."""
    from oidc_provider_mock import User, app
    from werkzeug.serving import make_server

    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    people = [User(sub=name, claims=claims) for name, claims in PEOPLE.items()]
    provider = app(require_client_registration=True, require_nonce=True, user_claims=people)
    server = make_server(
        "localhost",
        port,
        provider,
        threaded=True,
        ssl_context=(str(folder / "localhost.pem"), str(folder / "localhost.key")),
    )
    (folder / f"ready-{os.getpid()}").write_text(json.dumps({"port": port}))
    server.serve_forever()


if __name__ == "__main__":
    main()
