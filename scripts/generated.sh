#!/usr/bin/env bash
# Fails when a generated file is not what its generator writes now. It runs the
# generators, so the files are up to date afterwards and only need a commit.
set -euo pipefail
cd "$(dirname "$0")/.."

before="$(mktemp)"
after="$(mktemp)"
trap 'rm -f "$before" "$after"' EXIT

# Every file that go generate may write, with its checksum.
state() {
	find docs internal cmd -type f ! -path '*/testdata/fuzz/*' -print0 | sort -z | xargs -0 sha256sum
}

state >"$before"
go generate ./...
state >"$after"
if ! changed="$(diff "$before" "$after")"; then
	{
		echo "generated files were out of date; commit what go generate wrote:"
		awk '/^>/{print "  " $3}' <<<"$changed"
	} >&2
	exit 1
fi
