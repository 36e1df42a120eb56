"""Creates the bucket or container of the store tests; object-store clients cannot.

    stores_create.py s3|azure ENDPOINT NAME KEY_ID SECRET
"""

import base64
import datetime
import hashlib
import hmac
import sys
import urllib.error
import urllib.request


def s3_request(endpoint, name, key_id, secret):
    """A PUT of the bucket, signed with AWS signature version 4."""
    now = datetime.datetime.now(datetime.timezone.utc)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    host, empty = endpoint.split("://")[1], hashlib.sha256(b"").hexdigest()
    signed = "host;x-amz-content-sha256;x-amz-date"
    canonical = f"PUT\n/{name}\n\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{stamp}\n\n{signed}\n{empty}"
    scope = f"{day}/us-east-1/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + secret).encode()
    for part in (day, "us-east-1", "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    authorization = f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={signed}, Signature={signature}"
    headers = {"x-amz-date": stamp, "x-amz-content-sha256": empty, "Authorization": authorization}
    return urllib.request.Request(f"{endpoint}/{name}", method="PUT", headers=headers)


def azure_request(endpoint, name, account, key):
    """A PUT of the container, signed with the account's shared key."""
    now = datetime.datetime.now(datetime.timezone.utc)
    date, version = now.strftime("%a, %d %b %Y %H:%M:%S GMT"), "2021-08-06"
    text = (
        "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n/{account}/{account}/{name}\nrestype:container"
    )
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date,
        "x-ms-version": version,
        "Content-Length": "0",
        "Authorization": f"SharedKey {account}:{base64.b64encode(digest).decode()}",
    }
    return urllib.request.Request(f"{endpoint}/{account}/{name}?restype=container", method="PUT", headers=headers)


def main():
    kind, endpoint, name, key_id, secret = sys.argv[1:]
    request = {"s3": s3_request, "azure": azure_request}[kind](endpoint, name, key_id, secret)
    try:
        urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        sys.exit(f"cannot create {name}: HTTP {error.code} {error.read()[:300]!r}")


main()
