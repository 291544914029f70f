#!/usr/bin/env bash
# Runs the fuzz targets of what reads bytes that somebody else wrote, each for
# FUZZ_TIME: archives, SQL dumps, PHP configuration. What a run finds wrong is
# left in the package's testdata/fuzz, where the next `make test` meets it;
# commit it with the fix. With package paths as arguments: those instead.
set -euo pipefail
cd "$(dirname "$0")/.."

time="${FUZZ_TIME:-10s}"
packages=("$@")
if [ "${#packages[@]}" -eq 0 ]; then
	packages=(./internal/archive/... ./internal/mysql/sqlcheck ./internal/mysql/sqlread ./internal/phpconf)
fi

found=0
while IFS=: read -r file target; do
	found=1
	package="./$(dirname "$file")"
	printf 'fuzz %s %s for %s\n' "$package" "$target" "$time"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 5x "$package"
done < <(go list -f '{{$d := .Dir}}{{range .TestGoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}' "${packages[@]}" |
	sed "s|^$PWD/||" | grep . | xargs grep -HoE '^func Fuzz[A-Za-z0-9]*' | sed 's/func //' | sort)
if [ "$found" -eq 0 ]; then
	echo "no fuzz target found in ${packages[*]}" >&2
	exit 1
fi
