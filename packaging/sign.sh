#!/usr/bin/env bash
# Signs a bundle inside-out: every Mach-O, then every framework, then the app with its entitlements.
#   sign.sh Facet.app entitlements.plist IDENTITY       IDENTITY is "Developer ID Application: …", or - for ad hoc
set -euo pipefail

readonly app=$1 entitlements=$2 identity=$3
readonly program="$app/Contents/MacOS/Facet"

# An ad-hoc signature has no team, and the hardened runtime refuses libraries without the same team.
if [ "$identity" = - ]; then
  options=(--force --sign -)
else
  options=(--force --timestamp --options runtime --sign "$identity")
fi

xattr -cr "$app"

find "$app/Contents" -type f ! -path "$program" -print0 |
  while IFS= read -r -d '' file; do
    case "$(head -c 4 "$file" | xxd -p)" in
      cffaedfe | cafebabe) printf '%s\0' "$file" ;;
    esac
  done | xargs -0 -n 40 codesign "${options[@]}"

find "$app/Contents" -depth -type d -name '*.framework' -print0 |
  xargs -0 -n 1 codesign "${options[@]}"

codesign "${options[@]}" --entitlements "$entitlements" "$app"
codesign --verify --deep --strict "$app"
