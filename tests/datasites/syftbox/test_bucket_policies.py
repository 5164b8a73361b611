"""The policies of docs/deploy on a server that enforces them: who can read and write what."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasites.errors import TransportError
from datasites.syftbox.store import ObjectStore
from tests.servers import start_server

pytestmark = [pytest.mark.slow, pytest.mark.attack]
DEPLOY = Path(__file__).parents[3] / "docs" / "deploy"
SHOP, OTHER, DS = "a@shop.org", "b@shop.org", "ds@example.org"


@pytest.fixture(scope="module")
def parties(tmp_path_factory):
    import boto3
    import httpx

    server = start_server("s3", tmp_path_factory.mktemp("s3"))
    address = server.options["endpoint_url"]
    try:
        iam = boto3.client(
            "iam",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",  # noqa: S106
        )
        found = {}
        for email, kind in ((SHOP, "merchant"), (OTHER, "merchant"), (DS, "scientist")):
            text = (DEPLOY / f"s3-policy-{kind}.json").read_text().replace("BUCKET", "toys")
            text = text.replace("OWN-EMAIL", email).replace("SCIENTIST-EMAIL", DS)
            user = email.replace("@", "-")
            iam.create_user(UserName=user)
            iam.put_user_policy(UserName=user, PolicyName="toyfed", PolicyDocument=text)
            key = iam.create_access_key(UserName=user)["AccessKey"]
            signs = {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
            found[email] = ObjectStore("s3://toys", options=server.options | signs)
        httpx.post(f"{address}/moto-api/reset-auth", content=b"0").raise_for_status()
        yield found
    finally:
        server.kill()


def test_each_party_does_its_own_work(parties):
    for email, store in parties.items():
        store.put(f"{email}/version.json", b"1")
        assert store.get(f"{email}/version.json", 9) == b"1"
    parties[DS].put(f"{SHOP}/inbox/{DS}/msgv2_1", b"job")
    assert parties[SHOP].files(f"{SHOP}/inbox/{DS}") == [("msgv2_1", 3)]
    assert parties[SHOP].get(f"{SHOP}/inbox/{DS}/msgv2_1", 9) == b"job"
    parties[SHOP].delete(f"{SHOP}/inbox/{DS}/msgv2_1")
    parties[SHOP].put(f"{SHOP}/outbox/{DS}/reply", b"reply")
    assert parties[DS].get(f"{SHOP}/outbox/{DS}/reply", 9) == b"reply"
    parties[DS].put(f"{DS}/collections/p_t_h/parcel", b"state")
    assert parties[SHOP].get(f"{DS}/collections/p_t_h/parcel", 9) == b"state"


@pytest.mark.parametrize(
    ("who", "key"),
    [
        (SHOP, f"{OTHER}/version.json"),
        (SHOP, f"{OTHER}/inbox/{DS}/msgv2_1"),
        (SHOP, f"{OTHER}/outbox/{DS}/reply"),
        (SHOP, f"{DS}/bundles/{SHOP}.json"),
        (SHOP, f"{DS}/collections/p_t_h/parcel"),
        (DS, f"{SHOP}/version.json"),
        (DS, f"{SHOP}/bundles/{DS}.json"),
        (DS, f"{SHOP}/outbox/{DS}/reply"),
        (DS, f"{SHOP}/inbox/other@example.org/msgv2_1"),
    ],
)
def test_nobody_writes_where_another_alone_may(parties, who, key):
    with pytest.raises(TransportError, match="access was denied"):
        parties[who].put(key, b"forged")


def test_a_merchant_does_not_read_another_merchants_mail(parties):
    parties[OTHER].put(f"{OTHER}/outbox/{DS}/reply", b"x")
    with pytest.raises(TransportError, match="access was denied"):
        parties[SHOP].get(f"{OTHER}/outbox/{DS}/reply", 9)
