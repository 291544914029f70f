#!/usr/bin/env bash
# Unpacks, once, the database servers that `make test-matrix` tests against
# beside the installed one: MariaDB and MySQL from Debian's unstable suite, into
# the user's cache folder. Prints one line per server, the installed one first:
# name, tab, path of the server program. Remove the folder to have newer ones unpacked.
#
# The packages are fetched and verified by apt with settings of its own, from
# the mirror that the system's apt uses, and their files are laid out with
# dpkg-deb: nothing is installed, configured or mounted, no device is made, and
# root is not needed. The servers run with the C library that came with them.
set -euo pipefail

say() { printf 'servers: %s\n' "$*" >&2; }
refuse() {
	local line
	for line in "$@"; do say "$line"; done
	exit 1
}

cache="${XDG_CACHE_HOME:-${HOME:?is not set, and neither is XDG_CACHE_HOME}/.cache}/backstay/servers"
work=
trap 'if [ -n "$work" ]; then rm -r -- "$work"; fi' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# prepare_apt makes a private apt in the folder $1: its own lists, its own empty
# record of what is installed, and of the system's settings only how to acquire
# files (proxies, and which ages of a mirror will do).
prepare_apt() {
	local dir="$1" site keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	command -v apt-get >/dev/null || refuse "this system has no apt-get; the servers come as Debian packages"
	# shellcheck disable=SC1091
	site="$(. /etc/os-release && apt-get indextargets --format '$(SITE)' \
		'Identifier: Packages' 'Component: main' "Release: ${VERSION_CODENAME:-none}" | head -n 1)"
	# Testing and unstable call themselves by no codename.
	[ -n "$site" ] || site="$(apt-get indextargets --format '$(SITE)' 'Identifier: Packages' 'Component: main' 'Origin: Debian' | head -n 1)"
	[ -n "$site" ] && [ -e "$keyring" ] ||
		refuse "apt knows no Debian mirror here (a Debian with debian-archive-keyring is needed)"
	mkdir -p "$dir/lists/partial" "$dir/archives/partial"
	: >"$dir/status"
	printf 'deb [signed-by=%s] %s unstable main\n' "$keyring" "$site" >"$dir/sources.list"
	{
		apt-config dump | grep '^Acquire::' | grep -v '^Acquire::IndexTargets' || true
		cat <<-CONFIG
			Dir::Etc::main "/dev/null";
			Dir::Etc::Parts "/dev/null";
			Dir::Etc::SourceList "$dir/sources.list";
			Dir::Etc::SourceParts "/dev/null";
			Dir::Etc::Preferences "/dev/null";
			Dir::Etc::PreferencesParts "/dev/null";
			Dir::State "$dir";
			Dir::State::status "$dir/status";
			Dir::State::extended_states "$dir/extended_states";
			Dir::Cache "$dir";
			Dir::Log "$dir";
			APT::Sandbox::User "";
			APT::Install-Recommends "false";
			Acquire::Languages "none";
			Acquire::Retries "3";
		CONFIG
	} >"$dir/apt.conf"
	APT_CONFIG="$dir/apt.conf" apt-get -q=2 update >&2 || refuse "apt-get could not read Debian's unstable suite; it says above why"
}

# wrap_programs replaces each program below $1 by a script that starts it with
# the loader and the libraries beside it.
wrap_programs() {
	local root="$1" loader libraries program real
	loader="$(cd "$root" && find . -name 'ld-linux*.so.*' -type f -printf '%P' -quit)"
	[ -n "$loader" ] || refuse "the unpacked packages hold no loader"
	libraries="$(dirname "$loader")"
	mkdir "$root/programs"
	for program in "$root"/usr/bin/* "$root"/usr/sbin/*; do
		[ -f "$program" ] && [ ! -L "$program" ] || continue
		[ "$(head -c 4 "$program")" = $'\x7fELF' ] || continue
		real="programs/${program##*/}"
		mv "$program" "$root/$real"
		cat >"$program" <<-WRAPPER
			#!/bin/sh
			root="\${0%/*}/../.."
			exec "\$root/$loader" --library-path "\$root/$libraries" "\$root/$real" "\$@"
		WRAPPER
		chmod 755 "$program"
	done
}

# unpack makes the folder of a server: its name, the program, Debian's packages.
unpack() {
	local name="$1" program="$2" deb
	shift 2
	say "unpacking $* of Debian's unstable suite into $cache/$name"
	work="$(mktemp -d "$cache/.new-XXXXXX")"
	prepare_apt "$work/apt"
	APT_CONFIG="$work/apt/apt.conf" apt-get -q=2 -y --download-only install "$@" >&2 ||
		refuse "$* could not be fetched; apt-get says above why"
	mkdir "$work/root"
	for deb in "$work"/apt/archives/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work/root" --no-same-owner --exclude './dev/*' \
			--exclude './usr/share/doc' --exclude './usr/share/man' --exclude './usr/share/locale'
	done
	wrap_programs "$work/root"
	"$work/root/$program" --no-defaults --version >&2 || refuse "the unpacked $program does not run"
	# In place only when it is whole.
	mv -T "$work/root" "$cache/$name"
	rm -r -- "$work"
	work=
}

# server prints a server's line, and unpacks it first where it is not there yet.
server() {
	local name="$1" program="$2"
	if [ ! -x "$cache/$name/$program" ]; then unpack "$@"; fi
	printf '%s\t%s\n' "$name" "$cache/$name/$program"
}

mkdir -p "$cache"
exec 9>"$cache/.lock" # two at once: the second finds the work done
flock 9
for work in "$cache"/.new-*; do # left by a run that was killed
	if [ -d "$work" ]; then rm -r -- "$work"; fi
done
work=
installed="$(command -v mariadbd || command -v mysqld)" || refuse "no server is installed; scripts/setup.sh installs one"
printf 'installed\t%s\n' "$installed"
# mariadb-install-db uses a program of the clients.
server mariadb usr/sbin/mariadbd mariadb-server-core mariadb-client-core
server mysql usr/sbin/mysqld mysql-server-core
