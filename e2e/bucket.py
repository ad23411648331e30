"""Somebody else's deployment script: fills a bucket in OTA.md's layout, and knows nothing of Updraft.

bucket.py ENDPOINT BUCKET make
bucket.py ENDPOINT BUCKET deploy PRODUCT VERSION IMAGE
bucket.py ENDPOINT BUCKET replace-production PRODUCT VERSION IMAGE
bucket.py ENDPOINT BUCKET put-text KEY TEXT
"""

import sys

import boto3
from botocore.config import Config


def put(s3, bucket, folder, version, image):
    s3.put_object(Bucket=bucket, Key=f"{folder}/firmware.bin", Body=image)
    s3.put_object(Bucket=bucket, Key=f"{folder}/metadata.json", Body=b"{}")
    s3.put_object(Bucket=bucket, Key=f"{folder}/version.txt", Body=version.encode())


def main(endpoint, bucket, what, *arguments):
    s3 = boto3.client("s3", endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"}))
    if what == "make":
        region = s3.meta.region_name
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    elif what in ("deploy", "replace-production"):
        product, version, path = arguments
        with open(path, "rb") as file:
            image = file.read()
        if what == "deploy":
            put(s3, bucket, f"{product}/releases/v{version}", version, image)
        put(s3, bucket, f"{product}/production", version, image)
    elif what == "put-text":
        key, text = arguments
        s3.put_object(Bucket=bucket, Key=key, Body=text.encode())
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
