#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run_build_test.sh LIBRARY PLACE: what `./run build` leaves at dist/libpartage.so is the file that the build makes at PLACE of its folder, and so the kind of
# file that abi_test.cc reads there: LIBRARY. The compiling is left out: cmake and ninja are stand-ins that note what they are asked for.
set -euo pipefail
library=$1 place=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
mkdir -p "$folder/tools" "$folder/stand-ins"
cp "$here/../../../run" "$folder/run"

cat >"$folder/tools/setup.sh" <<'TEXT'
build_packages=()
say() { :; }
die() { echo "$*" >&2; exit 1; }
need_packages() { :; }
need_zig() { touch zig-is-there; }
TEXT

cat >"$folder/stand-ins/cmake" <<'TEXT'
#!/usr/bin/env bash
[[ " $* " == *" --preset release "* ]] && mkdir -p build/release && touch build/release/build.ninja
TEXT

# ninja -C FOLDER --quiet TARGET…: what was asked for, where the real one puts it. Without zig there is no such target.
cat >"$folder/stand-ins/ninja" <<'TEXT'
#!/usr/bin/env bash
set -e
[[ $1 == -C && $3 == --quiet ]]
for target in "${@:4}"; do
  if [[ $target == partage_library ]]; then
    [[ -e zig-is-there ]]
    install -D "$LIBRARY" "$2/$PLACE"
  else
    mkdir -p "$2/bin"
    echo "$target" >"$2/bin/$target"
    chmod +x "$2/bin/$target"
  fi
done
TEXT
chmod +x "$folder/stand-ins/"*

cd "$folder"
PATH=$folder/stand-ins:$PATH LIBRARY=$library PLACE=$place ./run build
cmp "$library" dist/libpartage.so
[[ -x dist/libpartage.so ]]
for program in partage-scheduler partagectl partage-limits partage-top; do [[ $(<"dist/$program") == "$program" ]]; done
[[ $(find dist -type f | wc -l) == 5 ]]

# A second build replaces what has changed.
printf 'another' >changed
PATH=$folder/stand-ins:$PATH LIBRARY=$folder/changed PLACE=$place ./run build
cmp changed dist/libpartage.so
echo "dist/libpartage.so is the build's $place"
