#!/usr/bin/env bash
# A device that knows OTA.md and nothing else.
#   plain-device.sh ID PORT USERNAME PASSWORD VERSION NEXT_VERSION
# NEXT_VERSION is what the firmware that it will download has compiled in.
set -euo pipefail

readonly ID=$1 PORT=$2 USERNAME=$3 PASSWORD=$4 VERSION=$5 NEXT_VERSION=$6
readonly BROKER=(-h 127.0.0.1 -p "$PORT" -u "$USERNAME" -P "$PASSWORD" -q 1)
readonly SESSION=(-c -i "$ID" -t "devices/$ID/ota")

say() { mosquitto_pub "${BROKER[@]}" -t "devices/$ID/$1" -m "$2"; }

# The session first: a trigger that comes now, or came while this device was off, is kept. Then what runs here.
triggers() {
    mosquitto_sub "${BROKER[@]}" "${SESSION[@]}" -E
    say version "$VERSION"
    mosquitto_sub "${BROKER[@]}" "${SESSION[@]}"
}

triggers | while read -r url; do
    if curl --fail --silent --show-error --output firmware.part "$url"; then
        mv firmware.part firmware.bin
        say ota/status SUCCESS
        say version "$NEXT_VERSION"
    else
        say ota/status FAILED
    fi
done
