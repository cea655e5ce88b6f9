#!/usr/bin/env bash
# Fetch the runtime of the phone page from the npm package onnxruntime-web: ./renew.sh VERSION
set -euo pipefail
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
(cd "$folder" && npm pack --silent "onnxruntime-web@$1" >/dev/null && tar xzf ./*.tgz)
gzip -9 -n -c "$folder/package/dist/ort-wasm-simd-threaded.wasm" >ort.wasm.gz
gzip -9 -n -c "$folder/package/dist/ort.wasm.bundle.min.mjs" >ort.mjs.gz
sed -i "1s/Web [0-9.]*[0-9]/Web $1/" NOTICE.txt
sha256sum ort.mjs.gz ort.wasm.gz >SHA256SUMS
