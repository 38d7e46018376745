#!/usr/bin/env bash
# Sends a signed app or disk image to the notary service, staples the ticket and lets Gatekeeper judge.
#   notarise.sh Facet.app|Facet.dmg KEYCHAIN        the keychain holds the notarytool profile "facet"
set -euo pipefail

readonly target=$1 keychain=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

upload=$target
if [ -d "$target" ]; then
  upload="$scratch/upload.zip"
  ditto -c -k --keepParent "$target" "$upload"
fi

profile=(--keychain-profile facet --keychain "$keychain")
xcrun notarytool submit "$upload" "${profile[@]}" --wait --output-format json | tee "$scratch/answer.json"
status=$(plutil -extract status raw -o - "$scratch/answer.json")
if [ "$status" != Accepted ]; then
  id=$(plutil -extract id raw -o - "$scratch/answer.json")
  xcrun notarytool log "$id" "${profile[@]}"
  exit 1
fi

xcrun stapler staple "$target"
xcrun stapler validate "$target"
if [ -d "$target" ]; then
  spctl --assess --type execute --verbose=2 "$target"
  syspolicy_check distribution "$target"
else
  spctl --assess --type open --context context:primary-signature --verbose=2 "$target"
fi
